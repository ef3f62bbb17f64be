/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands and files against golden texts (tests/data/commands), and what is refused. */
#include "commands.h"

#include "support_pool.h"

static char name[] = "prod-eu", server[] = "https://api.prod-eu.example:6443", audience[] = "prod";
static char vpn[] = "prod-eu.vpn", vpn_server[] = "https://10.8.0.1:6443/k8s";
static struct config_server additional[] = {{vpn, vpn_server}};
static struct config_cluster cluster = {.name = name, .server = server, .audience = audience};

#define PEM(text) "-----BEGIN CERTIFICATE-----\n" text "\n-----END CERTIFICATE-----\n"

static struct command_facts plain(void)
{
    return (struct command_facts){.cluster = &cluster,
                                  .issuer = "https://login.example.test",
                                  .username = "ada@example.test",
                                  .id_token = "eyJh.eyJi.c2ln",
                                  .refresh_token = "cmVmcmVzaA"};
}

static struct command_facts everything(void)
{
    struct command_facts facts = plain();
    cluster.additional_servers = additional;
    cluster.additional_server_count = 1;
    facts.api_ca = PEM("QVBJ\nQ0E=") PEM("VFdP");
    facts.portal_ca = PEM("UE9SVEFM");
    facts.username = "okta:o'hara $(id) <x>";
    return facts;
}

/* ---- golden texts; POSTERN_WRITE_GOLDEN=1 writes them, to be read before they are committed ---- */

static void compare(const char *file, const char *text)
{
    char path[512], golden[16384];
    snprintf(path, sizeof(path), TEST_DATA "/commands/%s", file);
    FILE *in;
    if (getenv("POSTERN_WRITE_GOLDEN") != NULL) { /* NOLINT(concurrency-mt-unsafe) */
        in = fopen(path, "wb");
        assert_non_null(in);
        fputs(text, in);
        fclose(in);
    }
    in = fopen(path, "rb");
    if (in == NULL)
        fail_msg("%s is missing", path);
    size_t len = fread(golden, 1, sizeof(golden) - 1, in);
    golden[len] = '\0';
    fclose(in);
    assert_string_equal(text, golden);
}

static const char *make(const struct command_facts *facts, enum command_kind kind)
{
    struct error err = {.kind = ERROR_NONE};
    const char *out = NULL;
    if (!command_make(&test_pool, facts, kind, &out, &err))
        fail_msg("refused: %s", err.text);
    assert_int_equal(out[0], ' ');
    assert_null(strchr(out, '\n'));
    return out;
}

static void test_golden(void **state)
{
    struct command_facts facts = plain();
    (void)state;
    cluster.additional_server_count = 0;
    compare("plain.sh", make(&facts, COMMAND_BASH));
    compare("plain.ps1", make(&facts, COMMAND_POWERSHELL));
    compare("plain.exec.sh", make(&facts, COMMAND_EXEC));
    compare("plain.kubeconfig", kubeconfig_make(&test_pool, &facts, COMMAND_BASH));
    facts = everything();
    compare("everything.sh", make(&facts, COMMAND_BASH));
    compare("everything.ps1", make(&facts, COMMAND_POWERSHELL));
    compare("everything.exec.sh", make(&facts, COMMAND_EXEC));
    compare("everything.kubeconfig", kubeconfig_make(&test_pool, &facts, COMMAND_BASH));
    compare("everything.exec.kubeconfig", kubeconfig_make(&test_pool, &facts, COMMAND_EXEC));
}

/* What the plugin's command and file need is no secret, and is not taken along. */
static void test_plugin_has_no_token(void **state)
{
    struct command_facts facts = everything();
    (void)state;
    const char *texts[] = {make(&facts, COMMAND_EXEC),
                           kubeconfig_make(&test_pool, &facts, COMMAND_EXEC)};
    for (size_t i = 0; i < 2; i++) {
        assert_null(strstr(texts[i], facts.id_token));
        assert_null(strstr(texts[i], facts.refresh_token));
    }
}

static void refused(const struct command_facts *facts, enum command_kind kind, const char *why)
{
    struct error err = {.kind = ERROR_NONE};
    const char *out = NULL;
    assert_false(command_make(&test_pool, facts, kind, &out, &err));
    assert_null(out);
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static void test_refused(void **state)
{
    struct command_facts facts = plain();
    (void)state;
    facts.username = "a\nb";
    for (enum command_kind kind = COMMAND_BASH; kind <= COMMAND_EXEC; kind++)
        refused(&facts, kind, "control characters");
    facts.username = "a\" --server=https://evil \"";
    refused(&facts, COMMAND_POWERSHELL, "double quote");
    make(&facts, COMMAND_BASH);
    char odd[] = "a,b";
    struct config_cluster other = cluster;
    other.audience = odd;
    facts = plain();
    facts.cluster = &other;
    refused(&facts, COMMAND_BASH, "client-id");
    refused(&facts, COMMAND_EXEC, "client-id");
    facts = plain();
    facts.issuer = "https://a,b";
    refused(&facts, COMMAND_POWERSHELL, "issuer");
}

static void test_pieces(void **state)
{
    struct command_facts facts = plain();
    (void)state;
    assert_null(command_base64(&test_pool, NULL));
    assert_string_equal(command_base64(&test_pool, "a"), "YQ==");
    assert_string_equal(command_base64(&test_pool, "ab\xff\xfe"), "YWL//g==");
    assert_string_equal(command_curl(&test_pool, &facts),
                        "curl --header \"Authorization: Bearer $TOKEN\" "
                        "'https://api.prod-eu.example:6443/version'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_plugin_has_no_token),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_pieces),
    };
    return cmocka_run_group_tests(tests, pool_set_up, pool_tear_down);
}
