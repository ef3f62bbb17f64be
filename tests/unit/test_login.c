/* SPDX-License-Identifier: Apache-2.0
 *
 * What `postern login` judges by itself: the id_token's words and times, the cache's text, what client-go asks and gets,
 * discovery, and the request that the browser comes back with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "base/text.h"
#include "cache.h"
#include "callback.h"
#include "exec_credential.h"
#include "issuer.h"
#include "terminal.h"

#define NOW_S INT64_C(1790000000)

static h2o_mem_pool_t pool;

static h2o_iovec_t token_of(const char *payload)
{
    h2o_iovec_t part = base64url_encode(&pool, payload, strlen(payload));
    return iovec_of(text_format(&pool, "eyJhbGciOiJFUzI1NiJ9.%s.c2ln", part.base));
}

/* ---- id_token ---- */

#define WORDS "\"iss\":\"https://i\",\"aud\":\"c\",\"sub\":\"ada\",\"nonce\":\"n\""
#define TIMES "\"iat\":1790000000,\"exp\":1790000060"

static void test_id_token(void **state)
{
    static const struct {
        const char *payload;
        const char *complaint; /* NULL: good */
    } cases[] = {
        {"{" WORDS "," TIMES "}", NULL},
        {"{\"iss\":\"https://i\",\"aud\":[\"c\"],\"sub\":\"ada\",\"nonce\":\"n\"," TIMES "}", NULL},
        {"{\"iss\":\"https://i/\",\"aud\":\"c\",\"sub\":\"ada\",\"nonce\":\"n\"," TIMES "}",
         "another issuer"},
        {"{\"iss\":\"https://i\",\"aud\":\"d\",\"sub\":\"ada\",\"nonce\":\"n\"," TIMES "}",
         "another client"},
        {"{\"iss\":\"https://i\",\"aud\":[\"c\",\"d\"],\"sub\":\"ada\",\"nonce\":\"n\"," TIMES "}",
         "another client"},
        {"{\"iss\":\"https://i\",\"sub\":\"ada\",\"nonce\":\"n\"," TIMES "}", "another client"},
        {"{\"iss\":\"https://i\",\"aud\":\"c\",\"sub\":\"ada\",\"nonce\":\"m\"," TIMES "}",
         "another sign-in"},
        {"{\"iss\":\"https://i\",\"aud\":\"c\",\"sub\":\"ada\"," TIMES "}", "another sign-in"},
        {"{\"iss\":\"https://i\",\"aud\":\"c\",\"sub\":\"eve\",\"nonce\":\"n\"," TIMES "}",
         "another person"},
        {"{" WORDS "}", "iat"},
        {"{" WORDS ",\"iat\":1790000060,\"exp\":1790000000}", "make no sense"},
        {"{" WORDS ",\"iat\":1789990000,\"exp\":1789999000}", "is the clock right"},
        {"{" WORDS ",\"iat\":1790000400,\"exp\":1790000460}", "is the clock right"},
        {"{" WORDS ",\"iat\":0,\"exp\":9223372036854775807}", "make no sense"},
        {"[]", "iss"},
    };
    struct id_token_expected expected = {"https://i", "c", "n", "ada", NOW_S};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = {.kind = ERROR_NONE};
        int64_t expires_s = 0;
        bool good = login_token_judge(token_of(cases[i].payload), &expected, &expires_s, &err);
        if (good != (cases[i].complaint == NULL) ||
            (!good && strstr(err.text, cases[i].complaint) == NULL))
            fail_msg("%s: %s", cases[i].payload, err.text);
        if (good)
            assert_int_equal(expires_s, NOW_S + 60);
    }
    assert_false(login_token_judge(iovec_of("a.b"), &expected, &(int64_t){0}, NULL));
}

/* The length of life counts, so a clock that is a little wrong does not matter. */
static void test_clock(void **state)
{
    struct id_token_expected expected = {"https://i", "c", NULL, NULL, NOW_S};
    int64_t expires_s = 0;
    (void)state;
    for (int64_t off_s = -200; off_s <= 200; off_s += 100) {
        expected.now_s = NOW_S + off_s;
        bool good =
            login_token_judge(token_of("{" WORDS "," TIMES "}"), &expected, &expires_s, NULL);
        assert_true(good);
        assert_int_equal(expires_s - expected.now_s, 60);
    }
}

static void test_good(void **state)
{
    struct login_tokens tokens = {.received_s = NOW_S, .expires_s = NOW_S + 60};
    (void)state;
    assert_false(login_tokens_good(&tokens, NOW_S)); /* there is none */
    secret_set(&tokens.id_token, "x", 1);
    assert_true(login_tokens_good(&tokens, NOW_S));
    assert_true(login_tokens_good(&tokens, NOW_S + 49));
    assert_false(login_tokens_good(&tokens, NOW_S + 50));
    assert_false(login_tokens_good(&tokens, NOW_S - 11)); /* the clock was set back */
    login_tokens_dispose(&tokens);
}

/* ---- cache ---- */

static void test_cache_text(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"{\"id_token\":\"a.b.c\",\"received_at\":1,\"expires_at\":2,\"refresh_token\":\"r\"}",
         true},
        {"{\"received_at\":1,\"expires_at\":2}", true},
        {"{\"received_at\":1,\"expires_at\":2,\"later\":[{}]}", true},
        {"{\"received_at\":2,\"expires_at\":1}", false},
        {"{\"received_at\":-1,\"expires_at\":1}", false},
        {"{\"received_at\":1,\"expires_at\":9223372036854775807}", false},
        {"{\"received_at\":1}", false},
        {"{\"received_at\":1,\"expires_at\":2,\"id_token\":[]}", false},
        {"{\"received_at\":1,\"expires_at\":2}x", false},
        {"[]", false},
        {"", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct login_tokens tokens = {.received_s = 0};
        struct error err = {.kind = ERROR_NONE};
        bool good = cache_parse(iovec_of(cases[i].text), &tokens, &err);
        if (good != cases[i].good || (!good && err.kind != ERROR_BAD_INPUT))
            fail_msg("%s: %s", cases[i].text, err.text);
        login_tokens_dispose(&tokens);
    }
}

/* ---- client-go ---- */

static void test_exec(void **state)
{
    struct exec_info info;
    h2o_iovec_t line;
    (void)state;
    assert_true(exec_info_read(&pool, NULL, &info, NULL));
    assert_false(info.interactive);
    assert_true(exec_credential_make(&pool, &info, iovec_of("a.b.c"), 1, &line, NULL));
    assert_string_equal(line.base, "{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":"
                                   "\"ExecCredential\",\"status\":{\"token\":\"a.b.c\","
                                   "\"expirationTimestamp\":\"1970-01-01T00:00:01Z\"}}\n");
    assert_true(
        exec_info_read(&pool,
                       "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication."
                       "k8s.io/v1beta1\",\"spec\":{\"interactive\":true,\"cluster\":{}}}",
                       &info, NULL));
    assert_true(info.interactive);
    assert_string_equal(info.api_version, "client.authentication.k8s.io/v1beta1");
}

/* ---- discovery ---- */

static void test_places(void **state)
{
    static const struct {
        const char *document;
        bool good;
    } cases[] = {
        {"{\"issuer\":\"https://i\",\"token_endpoint\":\"https://i/t\"}", true},
        {"{\"issuer\":\"https://i\",\"token_endpoint\":\"https://i/t\","
         "\"authorization_endpoint\":\"https://i/a?b=c\"}",
         true},
        {"{\"issuer\":\"https://i/\",\"token_endpoint\":\"https://i/t\"}", false},
        {"{\"issuer\":\"https://i\"}", false},
        {"{\"issuer\":\"https://i\",\"token_endpoint\":\"http://i/t\"}", false},
        {"{\"issuer\":\"https://i\",\"token_endpoint\":\"https://i/t\","
         "\"authorization_endpoint\":\"https://i/a#b\"}",
         false},
        {"{\"issuer\":\"https://i\",\"token_endpoint\":\"https://i/t\","
         "\"authorization_endpoint\":\"https://i/\\u001b[2J\"}",
         false},
        {"{\"issuer\":\"https://i\",\"token_endpoint\":[]}", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json *document;
        struct issuer_places places;
        assert_true(json_parse(&pool, iovec_of(cases[i].document), NULL, &document, NULL));
        if (login_issuer_places_read(&pool, "https://i", document, &places, NULL) != cases[i].good)
            fail_msg("%s", cases[i].document);
    }
}

/* ---- the browser's request ---- */

static void test_callback(void **state)
{
    static const struct {
        const char *line;
        enum callback_kind kind;
    } cases[] = {
        {"GET /callback?code=c&state=s HTTP/1.1", CALLBACK_CODE},
        {"GET /callback?state=s&iss=https%3A%2F%2Fi&code=c HTTP/1.0", CALLBACK_CODE},
        {"GET /callback?code=c&state=s&iss=https%3A%2F%2Fj HTTP/1.1", CALLBACK_REFUSED},
        {"GET /callback?code=c&state=s&iss= HTTP/1.1", CALLBACK_REFUSED},
        {"GET /callback?code=&state=s HTTP/1.1", CALLBACK_REFUSED},
        {"GET /callback?state=s HTTP/1.1", CALLBACK_REFUSED},
        {"GET /callback?error=access_denied&state=s HTTP/1.1", CALLBACK_REFUSED},
        {"GET /callback?error=e&code=c&state=s HTTP/1.1", CALLBACK_REFUSED},
        {"GET /callback?code=c&state=t HTTP/1.1", CALLBACK_FOREIGN},
        {"GET /callback?code=c&state=ss HTTP/1.1", CALLBACK_FOREIGN},
        {"GET /callback?code=c&state= HTTP/1.1", CALLBACK_FOREIGN},
        {"GET /callback?code=c HTTP/1.1", CALLBACK_FOREIGN},
        {"GET /callback?error=access_denied HTTP/1.1", CALLBACK_FOREIGN},
        {"GET /callback?code=c&state=s&state=s HTTP/1.1", CALLBACK_FOREIGN},
        {"GET /callback?code=c&code=c&state=s HTTP/1.1", CALLBACK_FOREIGN},
        {"POST /callback?code=c&state=s HTTP/1.1", CALLBACK_FOREIGN},
        {"GET /callback/?code=c&state=s HTTP/1.1", CALLBACK_FOREIGN},
        {"GET /callbacks?code=c&state=s HTTP/1.1", CALLBACK_FOREIGN},
        {"GET http://127.0.0.1/callback?code=c&state=s HTTP/1.1", CALLBACK_FOREIGN},
        {"GET /callback?code=c&state=s", CALLBACK_FOREIGN},
        {"GET /callback?code=c&state=s x HTTP/1.1", CALLBACK_FOREIGN},
        {"GET /callback? HTTP/1.1", CALLBACK_FOREIGN},
        {"GET /callback HTTP/1.1", CALLBACK_FOREIGN},
        {"", CALLBACK_FOREIGN},
    };
    struct callback_expected expected = {.state = "s", .issuer = "https://i"};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = {.kind = ERROR_NONE};
        h2o_iovec_t code = {NULL, 0};
        const char *head = text_format(&pool, "%s\r\nhost: x\r\n\r\n", cases[i].line);
        enum callback_kind kind = callback_parse(&pool, iovec_of(head), &expected, &code, &err);
        if (kind != cases[i].kind || (kind == CALLBACK_REFUSED) != (err.kind != ERROR_NONE))
            fail_msg("%s: %d %s", cases[i].line, (int)kind, err.text);
        assert_true(kind != CALLBACK_CODE || iovec_equal(code, "c"));
    }
    expected.iss_needed = true;
    assert_int_equal(callback_parse(&pool,
                                    iovec_of("GET /callback?code=c&state=s HTTP/1.1\r\n\r\n"),
                                    &expected, &(h2o_iovec_t){NULL, 0}, NULL),
                     CALLBACK_REFUSED);
}

static void test_clean(void **state)
{
    char text[] = "a \x1b[2J\xc2\x9b\r\nb~\x7f";
    (void)state;
    assert_string_equal(terminal_clean(text), "a ?[2J????b~?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_token), cmocka_unit_test(test_clock),
        cmocka_unit_test(test_good),     cmocka_unit_test(test_cache_text),
        cmocka_unit_test(test_exec),     cmocka_unit_test(test_places),
        cmocka_unit_test(test_callback), cmocka_unit_test(test_clean),
    };
    h2o_mem_init_pool(&pool);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    h2o_mem_clear_pool(&pool);
    return failed;
}
