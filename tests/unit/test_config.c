/* SPDX-License-Identifier: Apache-2.0
 *
 * Configs as data (tests/data/config): what loads and what is then effective, and what each broken one is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>

#include "config_parts.h"

struct loaded {
    h2o_mem_pool_t pool;
    struct config_problems problems;
    struct config *config;
};

static void setup(struct loaded *self)
{
    *self = (struct loaded){.config = NULL};
    h2o_mem_init_pool(&self->pool);
    text_init(&self->problems.text, &self->pool);
}

static void teardown(struct loaded *self)
{
    config_free(self->config);
    h2o_mem_clear_pool(&self->pool);
}

static void load_text(struct loaded *self, const char *bytes, size_t len)
{
    setup(self);
    self->config = config_load_bytes("x.yaml", bytes, len, &self->problems);
    assert_true((self->config == NULL) == (self->problems.count != 0));
}

static const char *complaints(const struct loaded *self)
{
    return self->problems.text.bytes == NULL ? "" : self->problems.text.bytes;
}

static char *read_data(h2o_mem_pool_t *pool, const char *name, size_t *len)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/config/%s", TEST_DATA, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s is missing", path);
    char *bytes = h2o_mem_alloc_pool(pool, 65536);
    *len = fread(bytes, 1, 65535, file);
    bytes[*len] = '\0';
    fclose(file);
    return bytes;
}

/* Calls each with the names of the folder's *.yaml files; returns how many there were. */
static unsigned each_file(const char *folder, void (*each)(const char *name))
{
    char path[512];
    unsigned count = 0;
    snprintf(path, sizeof(path), "%s/config/%s", TEST_DATA, folder);
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (len < 6 || strcmp(entry->d_name + len - 5, ".yaml") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        each(path);
        count++;
    }
    closedir(directory);
    return count;
}

/* ---- broken ones ---- */

static const char *wanted_complaints(h2o_mem_pool_t *pool, const char *bytes)
{
    struct text wanted;
    text_init(&wanted, pool);
    text_add_string(&wanted, "");
    for (const char *line = bytes; *line != '\0'; line += strcspn(line, "\n") + 1) {
        if (strncmp(line, "#!", 2) != 0)
            continue;
        text_add_string(&wanted, "x.yaml");
        text_add(&wanted, line + 2, strcspn(line, "\n") - 1);
    }
    return wanted.bytes;
}

static unsigned wrong; /* files that were told something else */

static void is_told(const char *name)
{
    struct loaded data, self;
    size_t len;
    setup(&data);
    const char *bytes = read_data(&data.pool, name, &len);
    const char *wanted = wanted_complaints(&data.pool, bytes);
    load_text(&self, bytes, len);
    if (strcmp(complaints(&self), wanted) != 0) {
        fprintf(stderr, "%s is told\n%sinstead of\n%s", name, complaints(&self), wanted);
        wrong++;
    }
    teardown(&self);
    teardown(&data);
}

static void test_broken(void **state)
{
    (void)state;
    assert_true(each_file("broken", is_told) >= 15);
    assert_int_equal(wrong, 0);
}

/* What can't carry its complaints with it as a comment. */
static const struct {
    const char *bytes;
    size_t len;
    const char *complaint;
} junk[] = {
#define JUNK(text, complaint)                                                                      \
    {                                                                                              \
        (text), sizeof(text) - 1, (complaint)                                                      \
    }
    JUNK("", "x.yaml:1:1: the file is empty\n"),
    JUNK("\n\n", "x.yaml:1:1: the file is empty\n"),
    JUNK("---\n", "x.yaml:2:1: the file is empty\n"),
    JUNK("- x", "x.yaml:1:1: must be a mapping (\"key: value\")\n"),
    JUNK("portal:\n\turl: x\n",
         "x.yaml:2:1: not valid YAML: a tab; YAML is indented with spaces\n"),
    JUNK("\1\2\3\377", "x.yaml:1:1: not valid YAML: control characters are not allowed\n"),
    JUNK("a: b\n\n \0", "x.yaml:3:2: not valid YAML: control characters are not allowed\n"),
    JUNK("\377\376p\0o\0", "x.yaml:1:1: not valid YAML: invalid leading UTF-8 octet\n"),
    JUNK("a: \303\050", "x.yaml:1:5: not valid YAML: invalid trailing UTF-8 octet\n"),
    JUNK("a: \355\240\200", "x.yaml:1:4: not valid YAML: invalid Unicode character\n"),
    JUNK("workers: \"1\\0 2\"", "x.yaml:1:10: workers: has a NUL character\n"),
    JUNK("\"workers\\0\": 1", "x.yaml:1:1: a key must be a word of 1 to 64 characters\n"),
    JUNK("? [a]\n: b", "x.yaml:1:3: a key must be a word\n"),
    JUNK("workers: !!int 3", "x.yaml:1:10: workers: YAML anchors and tags are not supported\n"),
    JUNK("workers: *a", "x.yaml:1:10: workers: YAML aliases are not supported\n"),
    JUNK("\"a\\e[31m\": 1", "x.yaml:1:1: a?[31m: unknown key (known here: portal, webhook, "
                            "proxy, operations, oidc, outgoing, users, "
                            "identity, tokens, store, log, workers, clusters)\n"),
#undef JUNK
};

static void test_junk(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
        struct loaded self;
        load_text(&self, junk[i].bytes, junk[i].len);
        assert_null(self.config);
        assert_string_equal(complaints(&self), junk[i].complaint);
        teardown(&self);
    }
}

static void test_huge(void **state)
{
    (void)state;
    struct loaded self;
    size_t len = 1024 * 1024 + 1;
    char *bytes = malloc(len);
    memset(bytes, '#', len);
    load_text(&self, bytes, len);
    assert_string_equal(complaints(&self), "x.yaml: is larger than 1048576 bytes\n");
    teardown(&self);

    /* As many values as fit: ends in bounded time with one complaint. */
    memcpy(bytes, "log: [", 6);
    for (size_t i = 6; i + 2 <= len; i += 2)
        memcpy(bytes + i, "a,", 2);
    load_text(&self, bytes, len - 1);
    assert_string_equal(complaints(&self), "x.yaml:1:40005: log: too many values in this file\n");
    teardown(&self);
    free(bytes);
}

/* Whether a config that is fine by itself still is with one key more. */
static bool loads_with(const char *key, const char *value)
{
    struct loaded self;
    struct text all;
    size_t len;
    setup(&self);
    const char *minimal = read_data(&self.pool, "good/minimal.yaml", &len);
    text_init(&all, &self.pool);
    text_add(&all, minimal, len);
    text_add_format(&all, "%s: %s\n", key, value);
    self.config = config_load_bytes("x.yaml", all.bytes, all.len, &self.problems);
    bool fine = self.config != NULL;
    teardown(&self);
    return fine;
}

static char *times(h2o_mem_pool_t *pool, const char *before, size_t count, const char *after)
{
    struct text out;
    text_init(&out, pool);
    text_add_string(&out, before);
    for (size_t i = 0; i < count; i++)
        text_add_string(&out, "x");
    text_add_string(&out, after);
    return out.bytes;
}

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        const char *key, *before, *after;
        size_t most;
    } table[] = {
        {"users", "{username_prefix: ", "}", 256},
        {"users", "{groups_prefix: ", "}", 256},
        {"users", "{allowed_groups: [", "]}", 4096},
        {"clusters", "[{name: ", "}]", 63},
    };
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        size_t most = table[i].most;
        assert_true(loads_with(table[i].key, times(&pool, table[i].before, most, table[i].after)));
        assert_false(
            loads_with(table[i].key, times(&pool, table[i].before, most + 1, table[i].after)));
    }
    h2o_mem_clear_pool(&pool);
}

static void test_cluster_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool fine;
    } table[] = {{"a", true},     {"0", true},         {"a-b.c", true},    {"k8s-prod.eu", true},
                 {"-a", false},   {"a-", false},       {".a", false},      {"a.", false},
                 {"A", false},    {"a_b", false},      {"a/b", false},     {"a b", false},
                 {"\"\"", false}, {"\xc3\xbc", false}, {"\"a\\n\"", false}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char value[64];
        snprintf(value, sizeof(value), "[{name: %s}]", table[i].name);
        if (loads_with("clusters", value) != table[i].fine)
            fail_msg("%s", table[i].name);
    }
}

static void test_many_keys(void **state)
{
    (void)state;
    struct loaded self;
    h2o_mem_pool_t pool;
    struct text text;
    h2o_mem_init_pool(&pool);
    text_init(&text, &pool);
    for (int i = 0; i < 101; i++)
        text_add_format(&text, "k%d: x\n", i);
    load_text(&self, text.bytes, text.len);
    assert_string_equal(complaints(&self),
                        "x.yaml:101:1: k100: one key too many in this mapping\n");
    teardown(&self);
    h2o_mem_clear_pool(&pool);
}

static void test_files(void **state)
{
    (void)state;
    struct loaded self;
    setup(&self);
    assert_null(config_load("/nonexistent/postern.yaml", &self.problems));
    assert_string_equal(complaints(&self),
                        "/nonexistent/postern.yaml: can't be read: No such file or directory\n");
    teardown(&self);
    setup(&self);
    assert_null(config_load(TEST_DATA, &self.problems));
    assert_string_equal(complaints(&self), TEST_DATA ": can't be read: Is a directory\n");
    teardown(&self);
    setup(&self);
    self.config = config_load(TEST_DATA "/config/good/minimal.yaml", &self.problems);
    assert_non_null(self.config);
    assert_string_equal(self.config->path, TEST_DATA "/config/good/minimal.yaml");
    teardown(&self);
}

/* ---- good ones ---- */

static char *printed(struct loaded *self, const struct config *config)
{
    struct text out;
    text_init(&out, &self->pool);
    config_print(config, &out);
    return out.bytes;
}

static void prints_and_loads_again(const char *name)
{
    struct loaded data, first, second;
    size_t len;
    char golden[300];
    setup(&data);
    const char *bytes = read_data(&data.pool, name, &len);
    load_text(&first, bytes, len);
    if (first.config == NULL)
        fail_msg("%s is told %s", name, complaints(&first));
    const char *once = printed(&first, first.config);
    snprintf(golden, sizeof(golden), "%.*s.printed", (int)strlen(name) - 5, name);
    assert_string_equal(once, read_data(&data.pool, golden, &len));
    load_text(&second, once, strlen(once));
    if (second.config == NULL)
        fail_msg("%s printed is told %s", name, complaints(&second));
    assert_string_equal(printed(&second, second.config), once);
    teardown(&second);
    teardown(&first);
    teardown(&data);
}

static void test_issuer_paths(void **state)
{
    (void)state;
    static const char *const good[] = {"", "/a", "/auth/idp/k8sIdp", "/a-b_c~d.e/0"};
    static const char *const bad[] = {"auth",   "/",     "/auth/", "//auth",   "/a//b",
                                      "/./a",   "/a/..", "/.well", "/a?b",     "/a#b",
                                      "/a%20b", "/a b",  "/a\\b",  "/\xc3\xbc"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_null(config_path_problem(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (config_path_problem(bad[i]) == NULL)
            fail_msg("%s", bad[i]);
    char longest[130] = "/";
    memset(longest + 1, 'a', 127);
    assert_null(config_path_problem(longest));
    longest[128] = 'a';
    assert_non_null(config_path_problem(longest));
}

static void test_good(void **state)
{
    (void)state;
    assert_true(each_file("good", prints_and_loads_again) >= 3);
}

static void test_defaults(void **state)
{
    (void)state;
    struct loaded self;
    setup(&self);
    self.config = config_load(TEST_DATA "/config/good/minimal.yaml", &self.problems);
    const struct config *config = self.config;
    assert_true(config->has_portal);
    assert_false(config->has_webhook);
    assert_string_equal(config->portal.listen.host, "0.0.0.0");
    assert_int_equal(config->portal.listen.port, 8443);
    assert_string_equal(config->portal.title, "Kubernetes at login.k8s.example.com");
    assert_string_equal(config->portal.issuer, "https://login.k8s.example.com");
    assert_null(config->portal.tls.client_ca_file);
    assert_int_equal(config->portal.session_idle_ms, 15 * 60 * 1000);
    assert_int_equal(config->portal.session_per_user, 20);
    assert_int_equal(config->oidc.scopes.count, 5);
    assert_string_equal(config->oidc.claims[USER_DISPLAY_NAME], "name");
    assert_int_equal(config->users.username_claim, USER_SUB);
    assert_string_equal(config->users.groups_prefix, "");
    assert_int_equal(config->identity.stale_if_error_ms, 10 * 60 * 1000);
    assert_int_equal(config->tokens.leeway_ms, 60 * 1000);
    assert_int_equal(config->tokens.rotate_every_ms, 30 * INT64_C(86400000));
    assert_int_equal(config->store.kind, STORE_SQLITE);
    assert_int_equal(config->workers, 0);
    teardown(&self);
}

static void test_everything(void **state)
{
    (void)state;
    struct loaded self;
    setup(&self);
    self.config = config_load(TEST_DATA "/config/good/everything.yaml", &self.problems);
    const struct config *config = self.config;
    assert_string_equal(config->portal.listen.host, "::");
    assert_string_equal(config->portal.title, "Kubernetes \"prod\" für Übermut\xe2\x80\xa8");
    assert_string_equal(config->portal.issuer, "https://[2001:db8::1]:8443/auth/idp/k8sIdp");
    assert_int_equal(config->clusters[0].authentication, AUTHENTICATION_OIDC);
    assert_int_equal(config->clusters[1].authentication, AUTHENTICATION_WEBHOOK);
    assert_int_equal(config->portal.link_count, 2);
    assert_string_equal(config->portal.links[0].groups.entries[0], "k8s-admins");
    assert_int_equal(config->portal.links[1].groups.count, 0);
    assert_int_equal(config->identity.fresh_ms, 250);
    assert_int_equal(config->tokens.leeway_ms, 0);
    assert_int_equal(config->users.username_claim, USER_EMAIL);
    assert_string_equal(config->oidc.claims[USER_SUB], "login");
    assert_string_equal(config->clusters[0].client_ca_file, "/etc/postern/other-ca.crt");
    assert_string_equal(config->clusters[1].client_ca_file, "/etc/postern/clients-ca.crt");
    assert_string_equal(config->clusters[1].audience, "stage.eu-1");
    assert_string_equal(config->clusters[1].client_names.entries[0], "kube-apiserver.stage.eu-1");
    assert_int_equal(config->clusters[1].client_names.count, 1);
    teardown(&self);
}

/* Complaints of other folders find their line too. */
static void test_complain_later(void **state)
{
    (void)state;
    struct loaded self;
    setup(&self);
    self.config = config_load(TEST_DATA "/config/good/minimal.yaml", &self.problems);
    config_complain(&self.problems, self.config, "portal.tls", "%s", "expired\nlong ago");
    assert_string_equal(complaints(&self),
                        TEST_DATA "/config/good/minimal.yaml:4:3: portal.tls: expired?long ago\n");
    assert_int_equal(self.problems.count, 1);
    teardown(&self);
}

/* ---- single values ---- */

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: none */
    } table[] = {
        {"0s", 0},
        {"250ms", 250},
        {"30s", 30000},
        {"15m", 900000},
        {"12h", 43200000},
        {"30d", 2592000000},
        {"36500d", INT64_C(3153600000000)},
        {"36501d", -1},
        {"", -1},
        {"s", -1},
        {"30", -1},
        {"30 s", -1},
        {" 30s", -1},
        {"30s ", -1},
        {"+30s", -1},
        {"-30s", -1},
        {"1.5h", -1},
        {"1h30m", -1},
        {"030s", -1},
        {"30S", -1},
        {"99999999999999999999ms", -1},
        {"9223372036854775807d", -1},
        {"1w", -1},
        {"0x10s", -1},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        int64_t ms = -1;
        bool fine = config_parse_duration(table[i].text, &ms);
        assert_int_equal(fine, table[i].ms != -1);
        assert_int_equal(ms, table[i].ms);
    }
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host; /* NULL: none */
        int port;
    } table[] = {
        {"0.0.0.0:8443", "0.0.0.0", 8443},
        {"[::1]:1", "::1", 1},
        {"[2001:db8::1]:65535", "2001:db8::1", 65535},
        {"", NULL, 0},
        {":8443", NULL, 0},
        {"*:8443", NULL, 0},
        {"localhost:8443", NULL, 0},
        {"127.0.0.1", NULL, 0},
        {"127.0.0.1:", NULL, 0},
        {"127.0.0.1:0", NULL, 0},
        {"127.0.0.1:65536", NULL, 0},
        {"127.0.0.1:08443", NULL, 0},
        {"127.0.0.1:84x", NULL, 0},
        {"127.0.0.1: 84", NULL, 0},
        {"127.1:84", NULL, 0},
        {"127.0.0.256:84", NULL, 0},
        {"::1:84", NULL, 0},
        {"[::1]", NULL, 0},
        {"[::1", NULL, 0},
        {"[::1]84", NULL, 0},
        {"[127.0.0.1]:84", NULL, 0},
        {"[fe80::1%eth0]:84", NULL, 0},
        {"[]:84", NULL, 0},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct config_address address;
        bool fine = config_parse_address(table[i].text, &address);
        assert_int_equal(fine, table[i].host != NULL);
        if (!fine)
            continue;
        assert_string_equal(address.text, table[i].text);
        assert_string_equal(address.host, table[i].host);
        assert_int_equal(address.port, table[i].port);
        free(address.text);
        free(address.host);
    }
}

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool origin, base, link;
    } table[] = {
        {"https://a.example.com", true, true, true},
        {"https://a.example.com:8443", true, true, true},
        {"https://[::1]:8443", true, true, true},
        {"https://10.0.0.1", true, true, true},
        {"https://A.example.com", false, true, true},
        {"https://a.example.com:443", false, true, true},
        {"https://a.example.com/", false, false, true},
        {"https://a.example.com/oauth2/default", false, true, true},
        {"https://a.example.com/x/", false, false, true},
        {"https://a.example.com?x", false, false, true},
        {"https://a.example.com/#x", false, false, true},
        {"http://a.example.com", false, false, true},
        {"HTTPS://a.example.com", false, false, false},
        {"//a.example.com", false, false, false},
        {"javascript:alert(1)", false, false, false},
        {"ftp://a.example.com", false, false, false},
        {"https://", false, false, false},
        {"https:///x", false, false, false},
        {"https://:8443", false, false, false},
        {"https://u@a.example.com", false, false, false},
        {"https://u:p@a.example.com", false, false, false},
        {"https://a.example.com:", false, false, false},
        {"https://a.example.com:0", false, false, false},
        {"https://a.example.com:99999", false, false, false},
        {"https://a.example.com:84:43", false, false, false},
        {"https://[::1", false, false, false},
        {"https://[nonsense]", false, false, false},
        {"https://[::1]x", false, false, false},
        {"https://a b", false, false, false},
        {"https://a\\b", false, false, false},
        {"https://a.example.com/\"x", false, false, false},
        {"https://\xc3\xbc.example.com", false, false, false},
        {"https://a%2eb", false, false, false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if ((config_url_problem(table[i].url, CONFIG_URL_ORIGIN) == NULL) != table[i].origin ||
            (config_url_problem(table[i].url, CONFIG_URL_BASE) == NULL) != table[i].base ||
            (config_url_problem(table[i].url, CONFIG_URL_LINK) == NULL) != table[i].link)
            fail_msg("%s", table[i].url);
    }
}

static void test_proxies(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool fine;
    } table[] = {
        {"http://outgoing.example.com:3128", true},
        {"http://[2001:db8::1]:3128", true},
        {"http://10.0.0.1:8080", true},
        {"http://outgoing.example.com", false},
        {"http://[2001:db8::1]", false},
        {"https://outgoing.example.com:3128", false},
        {"http://u:p@outgoing.example.com:1", false},
        {"http://outgoing.example.com:3128/", false},
        {"http://outgoing.example.com:3128?x", false},
        {"socks5://outgoing.example.com:1080", false},
        {"outgoing.example.com:3128", false},
        {"http://:3128", false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if ((config_url_problem(table[i].url, CONFIG_URL_PROXY) == NULL) != table[i].fine)
            fail_msg("%s", table[i].url);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken),         cmocka_unit_test(test_junk),
        cmocka_unit_test(test_huge),           cmocka_unit_test(test_files),
        cmocka_unit_test(test_issuer_paths),   cmocka_unit_test(test_good),
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_everything),
        cmocka_unit_test(test_complain_later), cmocka_unit_test(test_durations),
        cmocka_unit_test(test_addresses),      cmocka_unit_test(test_urls),
        cmocka_unit_test(test_proxies),        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_cluster_names),  cmocka_unit_test(test_many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
