/* SPDX-License-Identifier: Apache-2.0
 *
 * What Okta's documents must say before they are believed: the id_token's claims (peers 6, 7, 15, 16, 55), the
 * mapping to our words, and the discovery document (peers 58). */
#include "support_pool.h"
#include "tsv.h"

#include "base/text.h"
#include "claims.h"
#include "id_token.h"
#include "provider.h"

#define ISSUER  "https://acme.okta.test"
#define CLIENT  "0oa1client2ID3xyz4k7"
#define NOW_S   INT64_C(1790000000)
#define SUBJECT "00u1abcd2EFGH3ijk4l5"

static char *read_data(const char *name)
{
    FILE *file = fopen(text_format(&test_pool, "%s/okta/%s", TEST_DATA, name), "r");
    assert_non_null(file);
    char *text = h2o_mem_alloc_pool(&test_pool, 8192);
    size_t len = fread(text, 1, 8191, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

static struct json *parse(const char *text)
{
    struct json *value;
    struct error err = {0};
    if (!json_parse(&test_pool, iovec_of(text), NULL, &value, &err))
        fail_msg("%s: %s", err.text, text);
    return value;
}

/* The object's text with one member set to raw JSON, or left out. */
static const char *bent(const char *object, const char *name, const char *raw)
{
    struct text out;
    text_init(&out, &test_pool);
    text_add_string(&out, "{");
    for (const struct json *member = parse(object)->first; member != NULL; member = member->next) {
        if (strcmp(member->key.base, name) == 0)
            continue;
        struct json_writer *writer = json_writer_new(&test_pool);
        h2o_iovec_t value;
        json_put_tree(writer, member);
        assert_true(json_writer_end(writer, &value, NULL));
        text_add_format(&out, "%s\"%s\":%s", out.len > 1 ? "," : "", member->key.base, value.base);
    }
    if (raw != NULL)
        text_add_format(&out, "%s\"%s\":%s", out.len > 1 ? "," : "", name, raw);
    text_add_string(&out, "}");
    return out.bytes;
}

/* ---- id_token ---- */

static struct id_token_rules good_rules(void)
{
    return (struct id_token_rules){.issuer = ISSUER,
                                   .client_id = CLIENT,
                                   .nonce = "n-0S6_WzA2Mj",
                                   .access_token = iovec_of("the-access-token"),
                                   .now_s = NOW_S};
}

static void judge_row(const struct tsv_row *row)
{
    char value[2048];
    const char *subject = NULL, *raw = tsv_text(row->fields[1], value, sizeof(value));
    const char *object = bent(read_data("id_token_thin.json"), "at_hash", NULL);
    struct id_token_rules rules = good_rules();
    struct error err = {0};
    bool good = id_token_judge(parse(bent(object, row->fields[0], raw)), &rules, &subject, &err);
    if (good != (strcmp(row->fields[2], "yes") == 0))
        fail_msg("line %u: %s", row->line, good ? "good" : err.text);
    assert_int_equal(good, subject != NULL);
    if (!good) {
        assert_int_equal(err.kind, ERROR_REJECTED);
        if (strstr(err.text, row->fields[3]) == NULL)
            fail_msg("line %u: \"%s\" does not say \"%s\"", row->line, err.text, row->fields[3]);
    }
}

static void test_id_token_table(void **state)
{
    (void)state;
    tsv_each("okta/id_token.tsv", judge_row);
}

static void test_id_token_of_a_refresh(void **state)
{
    (void)state;
    struct json *claims =
        parse(bent(bent(read_data("id_token_thin.json"), "nonce", NULL), "at_hash", NULL));
    struct id_token_rules rules = good_rules();
    const char *subject = NULL;
    assert_false(id_token_judge(claims, &rules, &subject, NULL));
    rules.nonce = NULL;
    assert_true(id_token_judge(claims, &rules, &subject, NULL));
    assert_string_equal(subject, SUBJECT);
    rules.subject = SUBJECT;
    assert_true(id_token_judge(claims, &rules, &subject, NULL));
    rules.subject = "00u9other";
    assert_false(id_token_judge(claims, &rules, &subject, NULL));
}

/* OIDC Core 12.2: one that is older than the refresh says what was true before. */
static void test_id_token_is_new(void **state)
{
    (void)state;
    static const struct {
        const char *claims;
        bool is_new;
    } table[] = {
        {"{\"iat\":1790000000}", true},
        {"{\"iat\":1790003600}", true},
        {"{\"iat\":1789999880}", true},
        {"{\"iat\":1789999879}", false},
        {"{\"iat\":0}", false},
        {"{}", false},
        {"{\"iat\":\"1790000000\"}", false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct error err = {0};
        if (id_token_is_new(parse(table[i].claims), NOW_S, &err) != table[i].is_new)
            fail_msg("%s: %s", table[i].claims, err.text);
        assert_int_equal(err.kind, table[i].is_new ? ERROR_NONE : ERROR_REJECTED);
    }
}

/* An empty nonce of ours must never equal an empty one of theirs. */
static void test_empty_nonce(void **state)
{
    (void)state;
    struct json *claims =
        parse(bent(bent(read_data("id_token_thin.json"), "at_hash", NULL), "nonce", "\"\""));
    struct id_token_rules rules = good_rules();
    const char *subject;
    rules.nonce = "";
    assert_false(id_token_judge(claims, &rules, &subject, NULL));
}

/* D17: acr is one of those that were asked for; auth_time is there and not before the sign-in. */
static void test_demands(void **state)
{
    (void)state;
    static char two[] = "urn:okta:loa:2fa:any", phr[] = "phr";
    static char *entries[] = {two, phr};
    static const struct config_strings wanted = {entries, 2}, any = {NULL, 0};
    static const struct {
        const char *claims;
        bool fresh, with_acr;
        const char *code; /* NULL: met */
    } table[] = {
        {"{}", false, false, NULL},
        {"{\"auth_time\":1789999880,\"acr\":\"x\"}", true, false, NULL},
        {"{\"auth_time\":1789999879}", true, false, "not_authenticated_anew"},
        {"{}", true, false, "not_authenticated_anew"},
        {"{\"auth_time\":\"1790000000\"}", true, false, "not_authenticated_anew"},
        {"{\"auth_time\":-1}", true, false, "not_authenticated_anew"},
        {"{\"acr\":\"phr\"}", false, true, NULL},
        {"{\"acr\":\"urn:okta:loa:2fa:any\"}", false, true, NULL},
        {"{\"acr\":\"urn:okta:loa:1fa:any\"}", false, true, "acr_not_met"},
        {"{\"acr\":\"phr \"}", false, true, "acr_not_met"},
        {"{\"acr\":\"\"}", false, true, "acr_not_met"},
        {"{\"acr\":[\"phr\"]}", false, true, "acr_not_met"},
        {"{}", false, true, "acr_not_met"},
        {"{\"auth_time\":1790000000}", true, true, "acr_not_met"},
        {"{\"acr\":\"phr\"}", true, true, "not_authenticated_anew"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct id_token_demands demands = {.fresh = table[i].fresh,
                                                 .begun_s = NOW_S,
                                                 .acr_values = table[i].with_acr ? &wanted : &any};
        const char *code = NULL;
        struct error err = {0};
        bool met = id_token_meets(parse(table[i].claims), &demands, &code, &err);
        if (met != (table[i].code == NULL) || (!met && strcmp(code, table[i].code) != 0))
            fail_msg("row %zu: %s", i, met ? "met" : code);
        assert_int_equal(err.kind, met ? ERROR_NONE : ERROR_REJECTED);
    }
}

/* ---- claims ---- */

static struct config mapping(void)
{
    struct config config = {0};
    static char *const names[USER_ATTRIBUTES] = {
        [USER_SUB] = (char *)(uintptr_t) "sub",
        [USER_EMAIL] = (char *)(uintptr_t) "email",
        [USER_GIVEN_NAME] = (char *)(uintptr_t) "given_name",
        [USER_FAMILY_NAME] = (char *)(uintptr_t) "family_name",
        [USER_DISPLAY_NAME] = (char *)(uintptr_t) "name",
    };
    memcpy(config.oidc.claims, names, sizeof(names));
    config.oidc.claim_groups = (char *)(uintptr_t) "groups";
    return config;
}

static bool map(const char *object, struct user_claims *out, struct error *err)
{
    struct config config = mapping();
    const struct claims_source source = {SUBJECT, parse(object)};
    return claims_map(&test_pool, &config, &source, out, err);
}

static void test_claims_of_userinfo(void **state)
{
    (void)state;
    struct user_claims claims;
    assert_true(map(read_data("userinfo.json"), &claims, NULL));
    assert_string_equal(claims.uid, SUBJECT);
    assert_string_equal(claims.attributes[USER_SUB], SUBJECT);
    assert_string_equal(claims.attributes[USER_EMAIL], "ada@example.test");
    assert_string_equal(claims.attributes[USER_GIVEN_NAME], "Ada");
    assert_string_equal(claims.attributes[USER_FAMILY_NAME], "Example");
    assert_string_equal(claims.attributes[USER_DISPLAY_NAME], "Ada Example");
    assert_true(claims.email_verified);
    assert_true(claims.groups_present);
    assert_int_equal(claims.group_count, 3);
    assert_string_equal(claims.groups[2], "k8s team, EU");
}

/* Nothing is made up, and none is not an empty text. */
static void test_claims_that_are_not_there(void **state)
{
    (void)state;
    struct user_claims claims;
    assert_true(map("{\"sub\":\"" SUBJECT "\",\"email_verified\":true}", &claims, NULL));
    assert_null(claims.attributes[USER_EMAIL]);
    assert_null(claims.attributes[USER_DISPLAY_NAME]);
    assert_false(claims.email_verified);
    assert_false(claims.groups_present);
    assert_int_equal(claims.group_count, 0);
}

static void test_groups(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool good, present;
        size_t count;
    } cases[] = {
        {"[]", true, true, 0},
        {"[\"a\"]", true, true, 1},
        {"[\"a\",\"a\"]", true, true, 2},
        {"\"only\"", true, true, 1},
        {"null", true, false, 0},
        {NULL, true, false, 0},
        {"7", false, false, 0},
        {"true", false, false, 0},
        {"{\"a\":1}", false, false, 0},
        {"[{\"name\":\"a\"}]", false, false, 0},
        {"[\"a\",null]", false, false, 0},
        {"[[\"a\"]]", false, false, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct user_claims claims;
        struct error err = {0};
        const char *userinfo = bent(read_data("userinfo.json"), "groups", cases[i].json);
        bool good = map(userinfo, &claims, &err);
        if (good != cases[i].good)
            fail_msg("groups %s: %s", cases[i].json, err.text);
        if (!good) {
            assert_int_equal(err.kind, ERROR_BAD_INPUT);
            continue;
        }
        assert_int_equal(claims.groups_present, cases[i].present);
        assert_int_equal(claims.group_count, cases[i].count);
        for (size_t g = 0; g < claims.group_count; g++)
            assert_non_null(claims.groups[g]);
    }
}

/* 0, 1, 99, 100, 5000 groups: all of them, none invented */
static void test_many_groups(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 99, 100, 5000};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct text list;
        struct user_claims claims;
        text_init(&list, &test_pool);
        text_add_string(&list, "[");
        for (size_t g = 0; g < counts[i]; g++)
            text_add_format(&list, "%s\"group %zu\"", g > 0 ? "," : "", g);
        text_add_string(&list, "]");
        assert_true(map(bent(read_data("userinfo.json"), "groups", list.bytes), &claims, NULL));
        assert_int_equal(claims.group_count, counts[i]);
        if (counts[i] > 0)
            assert_string_equal(claims.groups[counts[i] - 1],
                                text_format(&test_pool, "group %zu", counts[i] - 1));
    }
}

static void test_email_verified(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool verified;
    } cases[] = {{"true", true},  {"false", false}, {"\"true\"", false},    {"1", false},
                 {"null", false}, {NULL, false},    {"{\"a\":true}", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct user_claims claims;
        assert_true(
            map(bent(read_data("userinfo.json"), "email_verified", cases[i].json), &claims, NULL));
        assert_int_equal(claims.email_verified, cases[i].verified);
    }
}

/* peers 15, and claims of wrong types */
static void test_claims_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *json;
        enum error_kind kind;
    } cases[] = {
        {"sub", "\"00u9evil9evil9evil9e\"", ERROR_REJECTED},
        {"sub", "\"" SUBJECT " \"", ERROR_REJECTED},
        {"sub", "\"\"", ERROR_REJECTED},
        {"sub", NULL, ERROR_BAD_INPUT},
        {"sub", "[\"" SUBJECT "\"]", ERROR_BAD_INPUT},
        {"sub", "null", ERROR_BAD_INPUT},
        {"email", "[\"a@b.test\"]", ERROR_BAD_INPUT},
        {"name", "7", ERROR_BAD_INPUT},
        {"given_name", "{}", ERROR_BAD_INPUT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct user_claims claims;
        struct error err = {0};
        assert_false(
            map(bent(read_data("userinfo.json"), cases[i].name, cases[i].json), &claims, &err));
        assert_int_equal(err.kind, cases[i].kind);
        assert_null(strstr(err.text, "evil"));
    }
}

/* ---- discovery ---- */

static bool read_provider(const char *body, const char *issuer, struct provider **out,
                          struct error *err)
{
    return provider_parse(iovec_of(body), issuer, out, err);
}

static void test_discovery(void **state)
{
    (void)state;
    struct provider *provider;
    assert_true(read_provider(read_data("discovery.json"), ISSUER, &provider, NULL));
    assert_string_equal(provider->authorization_endpoint, ISSUER "/oauth2/v1/authorize");
    assert_string_equal(provider->token_endpoint, ISSUER "/oauth2/v1/token");
    assert_string_equal(provider->userinfo_endpoint, ISSUER "/oauth2/v1/userinfo");
    assert_string_equal(provider->jwks_uri, ISSUER "/oauth2/v1/keys");
    assert_string_equal(provider->revocation_endpoint, ISSUER "/oauth2/v1/revoke");
    assert_string_equal(provider->end_session_endpoint, ISSUER "/oauth2/v1/logout");
    provider_free(provider);
}

static void test_discovery_without_optional(void **state)
{
    (void)state;
    static const char *const optional[] = {
        "userinfo_endpoint", "revocation_endpoint", "end_session_endpoint",
        "code_challenge_methods_supported", "id_token_signing_alg_values_supported"};
    const char *body = read_data("discovery.json");
    struct provider *provider;
    for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++)
        body = bent(body, optional[i], NULL);
    assert_true(read_provider(body, ISSUER, &provider, NULL));
    assert_null(provider->userinfo_endpoint);
    assert_null(provider->revocation_endpoint);
    assert_null(provider->end_session_endpoint);
    provider_free(provider);
}

/* the same host in other spellings */
static void test_discovery_host_spellings(void **state)
{
    (void)state;
    static const char *const good[] = {"\"https://ACME.okta.test/k\"",
                                       "\"https://acme.okta.test:443/k\"",
                                       "\"HTTPS://acme.okta.test/k?client_id=x\""};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct provider *provider;
        assert_true(read_provider(bent(read_data("discovery.json"), "jwks_uri", good[i]), ISSUER,
                                  &provider, NULL));
        provider_free(provider);
    }
}

static void test_discovery_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *json, *words;
    } cases[] = {
        {"issuer", "\"https://acme.okta.test/\"", "\"https://acme.okta.test/\""},
        {"issuer", "\"https://Acme.okta.test\"", "Acme"},
        {"issuer", "\"https://evil.test\\u001b[2J\"", "https://evil.test?[2J"},
        {"issuer", "\"\"", "issuer"},
        {"issuer", "[]", "issuer"},
        {"issuer", NULL, "issuer"},
        {"authorization_endpoint", NULL, "authorization_endpoint"},
        {"token_endpoint", NULL, "token_endpoint"},
        {"jwks_uri", NULL, "jwks_uri"},
        {"jwks_uri", "null", "jwks_uri"},
        {"userinfo_endpoint", "7", "userinfo_endpoint"},
        /* peers 58 */
        {"jwks_uri", "\"http://acme.okta.test/keys\"", "https"},
        {"jwks_uri", "\"file:///etc/passwd\"", "https"},
        {"jwks_uri", "\"https://169.254.169.254/latest/meta-data\"", "host"},
        {"jwks_uri", "\"https://127.0.0.1/keys\"", "host"},
        {"jwks_uri", "\"https://[::1]/keys\"", "host"},
        {"jwks_uri", "\"https://evil.test/keys\"", "host"},
        {"jwks_uri", "\"https://acme.okta.test.evil.test/keys\"", "host"},
        {"jwks_uri", "\"https://evil-acme.okta.test/keys\"", "host"},
        {"jwks_uri", "\"https://acme.okta.test:8443/keys\"", "host"},
        {"jwks_uri", "\"https://acme.okta.test@evil.test/keys\"", "https"},
        {"jwks_uri", "\"https://acme.okta.test\\\\@evil.test/keys\"", "https"},
        {"jwks_uri", "\"https://acme.okta.test#@evil.test/keys\"", "https"},
        {"jwks_uri", "\"https:///keys\"", "https"},
        {"jwks_uri", "\"https://\"", "https"},
        {"jwks_uri", "\"//acme.okta.test/keys\"", "https"},
        {"jwks_uri", "\"/keys\"", "https"},
        {"jwks_uri", "\"https://acme.okta.test/ke ys\"", "https"},
        {"jwks_uri", "\"https://acme.okta.test/k\\r\\nHost: evil\"", "https"},
        {"jwks_uri", "\"\"", "https"},
        {"token_endpoint", "\"https://evil.test/token\"", "host"},
        {"userinfo_endpoint", "\"https://evil.test/userinfo\"", "host"},
        {"revocation_endpoint", "\"https://evil.test/revoke\"", "host"},
        {"authorization_endpoint", "\"https://evil.test/authorize\"", "host"},
        {"end_session_endpoint", "\"javascript:alert(1)\"", "https"},
        {"id_token_signing_alg_values_supported", "[\"HS256\"]", "RS256"},
        {"id_token_signing_alg_values_supported", "\"RS256\"", "RS256"},
        {"code_challenge_methods_supported", "[\"plain\"]", "S256"},
        {"code_challenge_methods_supported", "[]", "S256"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct provider *provider;
        struct error err = {0};
        const char *body = bent(read_data("discovery.json"), cases[i].name, cases[i].json);
        if (read_provider(body, ISSUER, &provider, &err))
            fail_msg("accepted: %s %s", cases[i].name, cases[i].json);
        assert_int_equal(err.kind, ERROR_BAD_INPUT);
        if (strstr(err.text, cases[i].words) == NULL)
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].json, err.text, cases[i].words);
        for (const char *c = err.text; *c != '\0'; c++)
            assert_true(*c >= ' ' && *c <= '~');
    }
}

static void test_authority(void **state)
{
    (void)state;
    static const struct {
        const char *url, *authority;
    } cases[] = {
        {"https://acme.okta.test", "acme.okta.test"},
        {"https://acme.okta.test:8443/x", "acme.okta.test:8443"},
        {"https://acme.okta.test?x", "acme.okta.test"},
        {"https://[::1]:8443/", "[::1]:8443"},
        {"https://user@acme.okta.test/", NULL},
        {"https://acme.okta.test/#x", NULL},
        {"https:acme.okta.test", NULL},
        {"http://acme.okta.test", NULL},
        {"https://", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        h2o_iovec_t authority = provider_authority(cases[i].url);
        assert_int_equal(authority.base == NULL, cases[i].authority == NULL);
        if (authority.base != NULL)
            assert_true(iovec_equal(authority, cases[i].authority));
    }
}

static void test_discovery_junk(void **state)
{
    (void)state;
    static const char *const bodies[] = {"",     "{",      "[]",
                                         "null", "<html>", "{\"issuer\":\"" ISSUER "\"}"};
    struct provider *provider;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        assert_false(read_provider(bodies[i], ISSUER, &provider, NULL));
    assert_false(read_provider(bent(read_data("discovery.json"), "jwks_uri",
                                    text_format(&test_pool, "\"" ISSUER "/%01024d\"", 0)),
                               ISSUER, &provider, NULL));
    assert_false(read_provider(
        text_format(&test_pool, "{\"x\":\"%070000d\",%s", 0, read_data("discovery.json") + 1),
        ISSUER, &provider, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(test_id_token_table),
        POOLED(test_id_token_of_a_refresh),
        POOLED(test_id_token_is_new),
        POOLED(test_empty_nonce),
        POOLED(test_demands),
        POOLED(test_claims_of_userinfo),
        POOLED(test_claims_that_are_not_there),
        POOLED(test_groups),
        POOLED(test_many_groups),
        POOLED(test_email_verified),
        POOLED(test_claims_refused),
        POOLED(test_discovery),
        POOLED(test_discovery_without_optional),
        POOLED(test_discovery_host_spellings),
        POOLED(test_discovery_refused),
        POOLED(test_authority),
        POOLED(test_discovery_junk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
