/* SPDX-License-Identifier: Apache-2.0
 *
 * portal/authorize_request: which addresses are a program on this computer, what a request must hold, and that our own
 * words for it mean the same. (peers 43, 44, 49) */
#include "authorize_request.h"

#include "support_pool.h"

#include "base/text.h"

#define CHALLENGE "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
#define PKCE      "&code_challenge=" CHALLENGE "&code_challenge_method=S256"
#define REDIRECT  "redirect_uri=http%3A%2F%2F127.0.0.1%3A8000%2Fcb"
#define GOOD      "response_type=code&scope=openid&" REDIRECT PKCE

static char audience[] = "prod";
static const struct config_cluster cluster = {.name = audience, .audience = audience};

static enum authorize_verdict judge(const char *query, struct authorize_request *out,
                                    struct authorize_error *error)
{
    struct web_form form;
    assert_true(web_form_parse(&test_pool, iovec_of(query), &form, NULL));
    *error = (struct authorize_error){NULL, NULL};
    return authorize_judge(&test_pool, &form, &cluster, out, error);
}

static void test_loopback(void **state)
{
    static const struct {
        const char *uri, *origin, *port;
    } rows[] = {
        {"http://127.0.0.1:8000", "http://127.0.0.1:8000", "8000"},
        {"http://127.0.0.1:1/", "http://127.0.0.1:1", "1"},
        {"http://127.0.0.1:65535/a?b=c", "http://127.0.0.1:65535", "65535"},
        {"http://[::1]:8000/cb", "http://[::1]:8000", "8000"},
        {"http://localhost:18000/cb/%41?x=@:/?", "http://localhost:18000", "18000"},
        {"", NULL, NULL},
        {"http://127.0.0.1:", NULL, NULL},
        {"http://127.0.0.1:0", NULL, NULL},
        {"http://127.0.0.1:080", NULL, NULL},
        {"http://127.0.0.1:65536", NULL, NULL},
        {"http://127.0.0.1:4294967297", NULL, NULL},
        {"http://127.0.0.1:80?x", NULL, NULL},
        {"http://127.0.0.1:80.evil.test/", NULL, NULL},
        {"http://127.0.0.1:80@evil.test/", NULL, NULL},
        {"http://127.0.0.1.evil.test:80/", NULL, NULL},
        {"http://127.0.0.1:80/#", NULL, NULL},
        {"http://127.0.0.1:80\\evil.test/", NULL, NULL},
        {"http://127.0.0.1:80/\\", NULL, NULL},
        {"http://127.0.0.1:80/%4", NULL, NULL},
        {"http://127.0.0.1:80/%4g", NULL, NULL},
        {"http://127.0.0.1:80/\x7f", NULL, NULL},
        {"http://127.0.0.1:80/\xc3\xa4", NULL, NULL},
        {"https://127.0.0.1:80/", NULL, NULL},
        {"Http://127.0.0.1:80/", NULL, NULL},
        {"http://Localhost:80/", NULL, NULL},
        {"http://[::1]80/", NULL, NULL},
        {"http://[::1]@evil.test:80/", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *origin = NULL, *port = NULL;
        bool good = authorize_is_loopback(&test_pool, iovec_of(rows[i].uri), &origin, &port);
        if (good != (rows[i].origin != NULL))
            fail_msg("%s", rows[i].uri);
        if (good) {
            assert_string_equal(origin, rows[i].origin);
            assert_string_equal(port, rows[i].port);
        }
    }
    char longest[512] = "http://127.0.0.1:1/";
    memset(longest + 19, 'x', sizeof(longest) - 19);
    const char *origin, *port;
    assert_true(authorize_is_loopback(&test_pool, h2o_iovec_init(longest, 511), &origin, &port));
    assert_false(authorize_is_loopback(&test_pool, h2o_iovec_init(longest, 512), &origin, &port));
    assert_false(authorize_is_loopback(&test_pool, h2o_iovec_init("http://127.0.0.1:1/\0", 20),
                                       &origin, &port));
    assert_false(authorize_is_loopback(&test_pool, (h2o_iovec_t){NULL, 0}, &origin, &port));
}

static void test_errors(void **state)
{
    static const struct {
        const char *query, *error;
    } rows[] = {
        {GOOD, NULL},
        {GOOD "&state=&nonce=&prompt=login%20consent&login_hint=ada&max_age=0", NULL},
        {"response_type=code&scope=profile+openid&" REDIRECT PKCE, NULL},
        {"scope=openid&" REDIRECT PKCE, "invalid_request"},
        {"response_type=token&scope=openid&" REDIRECT PKCE, "unsupported_response_type"},
        {"response_type=code&" REDIRECT PKCE, "invalid_scope"},
        {"response_type=code&scope=openid2&" REDIRECT PKCE, "invalid_scope"},
        {"response_type=code&scope=openid&" REDIRECT, "invalid_request"},
        {"response_type=code&scope=openid&" REDIRECT "&code_challenge=" CHALLENGE,
         "invalid_request"},
        {"response_type=code&scope=openid&" REDIRECT "&code_challenge=" CHALLENGE
         "&code_challenge_method=plain",
         "invalid_request"},
        {GOOD "&response_mode=query", NULL},
        {GOOD "&response_mode=form_post", "invalid_request"},
        {GOOD "&request=", "request_not_supported"},
        {GOOD "&request_uri=x", "request_uri_not_supported"},
        {GOOD "&prompt=none", "interaction_required"},
        {GOOD "&nonce=%0a", "invalid_request"},
        {GOOD "&state=%c3%a4", "invalid_request"},
    };
    struct authorize_request request;
    struct authorize_error error;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum authorize_verdict verdict = judge(rows[i].query, &request, &error);
        if (verdict != (rows[i].error == NULL ? AUTHORIZE_GOOD : AUTHORIZE_BAD_REQUEST))
            fail_msg("%s: %d", rows[i].query, verdict);
        if (rows[i].error != NULL)
            assert_string_equal(error.error, rows[i].error);
    }
}

static void test_client_and_address_come_first(void **state)
{
    struct authorize_request request;
    struct authorize_error error;
    struct web_form form;
    (void)state;
    assert_int_equal(judge("response_type=token", &request, &error), AUTHORIZE_BAD_REDIRECT);
    assert_true(web_form_parse(&test_pool, iovec_of(GOOD), &form, NULL));
    assert_int_equal(authorize_judge(&test_pool, &form, NULL, &request, &error),
                     AUTHORIZE_BAD_CLIENT);
}

static void test_lengths(void **state)
{
    struct authorize_request request;
    struct authorize_error error;
    char filler[600];
    (void)state;
    memset(filler, 'x', sizeof(filler));
    const char *longest =
        text_format(&test_pool, "%s&state=%.512s&nonce=%.255s", GOOD, filler, filler);
    assert_int_equal(judge(longest, &request, &error), AUTHORIZE_GOOD);
    const char *path = authorize_path(&test_pool, &request);
    assert_true(strlen(path) <= AUTHORIZE_PATH_MAX);
    assert_string_equal(web_return_to(&test_pool, iovec_of(path)), path);
    longest = text_format(&test_pool, "%s&state=%.513s", GOOD, filler);
    assert_int_equal(judge(longest, &request, &error), AUTHORIZE_BAD_REQUEST);
    assert_null(request.state.base);
    longest = text_format(&test_pool, "%s&nonce=%.256s", GOOD, filler);
    assert_int_equal(judge(longest, &request, &error), AUTHORIZE_BAD_REQUEST);
    /* each short enough, and all together too long to come back to after a sign-in */
    for (char *c = filler; c < filler + sizeof(filler); c++)
        *c = '+';
    longest = text_format(&test_pool, "%s&state=x%%20%.512s&nonce=y", GOOD, "");
    assert_int_equal(judge(longest, &request, &error), AUTHORIZE_GOOD);
    struct text query;
    text_init(&query, &test_pool);
    text_add_string(&query, GOOD);
    web_form_add(&query, "state", h2o_iovec_init(filler, 400));
    assert_int_equal(judge(query.bytes, &request, &error), AUTHORIZE_BAD_REQUEST);
}

static void test_answers(void **state)
{
    static const struct authorize_error denied = {"access_denied", "no & no"};
    struct authorize_request request;
    struct authorize_error error;
    (void)state;
    assert_int_equal(judge(GOOD "&state=a+b%26", &request, &error), AUTHORIZE_GOOD);
    assert_string_equal(authorize_code_url(&test_pool, &request, "https://p/x", "C"),
                        "http://127.0.0.1:8000/cb?code=C&state=a%20b%26&iss=https%3A%2F%2Fp%2Fx");
    assert_string_equal(authorize_error_url(&test_pool, &request, "https://p", &denied),
                        "http://127.0.0.1:8000/cb?error=access_denied&error_description=no%20%26%"
                        "20no&state=a%20b%26&iss=https%3A%2F%2Fp");
    memcpy(request.bound.redirect_uri, "http://[::1]:1/?x", 18);
    request.state = (h2o_iovec_t){NULL, 0};
    assert_string_equal(authorize_code_url(&test_pool, &request, "i", "C"),
                        "http://[::1]:1/?x&code=C&iss=i");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(test_loopback), POOLED(test_errors),  POOLED(test_client_and_address_come_first),
        POOLED(test_lengths),  POOLED(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
