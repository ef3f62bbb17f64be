/* SPDX-License-Identifier: Apache-2.0
 *
 * Cookies, read from a request that has nothing but headers. */
#include "http/web.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/text.h"

/* A request with headers and a pool is all that these functions look at. */
static h2o_req_t *new_request(void)
{
    h2o_req_t *req = h2o_mem_alloc(sizeof(*req));
    memset(req, 0, sizeof(*req));
    h2o_mem_init_pool(&req->pool);
    return req;
}

static void free_request(h2o_req_t *req)
{
    h2o_mem_clear_pool(&req->pool);
    free(req);
}

static void add_cookies(h2o_req_t *req, h2o_iovec_t value)
{
    h2o_add_header(&req->pool, &req->headers, H2O_TOKEN_COOKIE, NULL,
                   text_dup_iovec(&req->pool, value), value.len);
}

static void test_one_cookie(void **state)
{
    static const struct {
        const char *headers[3];
        const char *value; /* of __Host-s; NULL: absent */
    } cases[] = {
        {{NULL}, NULL},
        {{""}, NULL},
        {{"__Host-s=abc"}, "abc"},
        {{"__Host-s="}, ""},
        {{"a=1; __Host-s=abc; b=2"}, "abc"},
        {{"a=1;__Host-s=abc;b=2"}, "abc"},
        {{"a=1 ;  __Host-s = abc \t; b=2"}, "abc"},
        {{";;; __Host-s=abc;;"}, "abc"},
        {{"a=1", "__Host-s=abc", "b=2"}, "abc"}, /* as HTTP/2 splits them */
        {{"a=1", "", "__Host-s=abc"}, "abc"},
        {{"__Host-s=a=b=="}, "a=b=="},
        {{"__Host-s=\"abc\""}, "\"abc\""}, /* as it is */
        {{"__Host-s=a b"}, "a b"},
        {{"__Host-s"}, NULL},
        {{"=__Host-s=abc"}, NULL}, /* a cookie without a name that would look like ours */
        {{"__Host-S=abc"}, NULL},
        {{"x__Host-s=abc"}, NULL},
        {{"__Host-s2=abc"}, NULL},
        {{"__Host-s=1; __Host-s=2"}, NULL},
        {{"__Host-s=1; __Host-s=1"}, NULL},
        {{"__Host-s=1", "__Host-s=2"}, NULL},
        {{"__Host-s=; __Host-s=2"}, NULL},
        {{"__Host-s=a\x01"}, NULL},
        {{"a=\r\n; __Host-s=abc"}, NULL},
        {{"a=1", "b=\x7f", "__Host-s=abc"}, NULL},
        {{"a=\xc3\xa9; __Host-s=abc"}, "abc"}, /* other people's cookies may be anything */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        h2o_req_t *req = new_request();
        for (size_t h = 0; h < 3 && cases[i].headers[h] != NULL; h++)
            add_cookies(req, iovec_of(cases[i].headers[h]));
        h2o_iovec_t value = web_cookie(req, "__Host-s");
        if ((value.base == NULL) != (cases[i].value == NULL))
            fail_msg("case %zu: %s", i, cases[i].headers[0]);
        if (cases[i].value != NULL)
            assert_true(iovec_equal(value, cases[i].value));
        free_request(req);
    }
}

static void test_nul_is_malformed(void **state)
{
    h2o_req_t *req = new_request();
    (void)state;
    add_cookies(req, h2o_iovec_init("__Host-s=a\0b", 12));
    assert_null(web_cookie(req, "__Host-s").base);
    free_request(req);
}

/* peers 55: a bomb of cookies (CVE-2024-24814) */
static void test_length_is_bounded(void **state)
{
    char long_value[16384];
    (void)state;
    memset(long_value, 'x', sizeof(long_value));
    memcpy(long_value, "__Host-s=", 9);
    h2o_req_t *req = new_request();
    add_cookies(req, h2o_iovec_init(long_value, 16382));
    assert_int_equal(web_cookie(req, "__Host-s").len, 16382 - 9);
    free_request(req);

    req = new_request();
    add_cookies(req, h2o_iovec_init(long_value, 16383));
    assert_null(web_cookie(req, "__Host-s").base);
    free_request(req);

    req = new_request(); /* empty headers count too */
    add_cookies(req, iovec_of("__Host-s=abc"));
    for (int i = 0; i < 9000; i++)
        add_cookies(req, iovec_of(""));
    assert_null(web_cookie(req, "__Host-s").base);
    free_request(req);
}

static void on_each(void *ctx, h2o_iovec_t name, h2o_iovec_t value)
{
    struct text *out = ctx;
    text_add(out, name.base, name.len);
    text_add_string(out, ":");
    text_add(out, value.base, value.len);
    text_add_string(out, " ");
}

static void test_each_with_a_prefix(void **state)
{
    h2o_req_t *req = new_request();
    struct text out;
    (void)state;
    text_init(&out, &req->pool);
    add_cookies(req, iovec_of("a=1; __Host-p1=x; __Host-q=2"));
    add_cookies(req, iovec_of("__Host-p2=y; __Host-p1=z; __Host-p"));
    web_cookies_each(req, "__Host-p", on_each, &out);
    assert_string_equal(out.bytes, "__Host-p1:x __Host-p2:y __Host-p1:z ");
    add_cookies(req, iovec_of("b=\x02"));
    out.len = 0;
    web_cookies_each(req, "__Host-p", on_each, &out);
    assert_int_equal(out.len, 0);
    free_request(req);
}

static void test_setting(void **state)
{
    static const struct {
        int64_t max_age_s;
        const char *value, *expected;
    } cases[] = {
        {-1, "abc-_09", "__Host-s=abc-_09; Path=/; Secure; HttpOnly; SameSite=Lax"},
        {600, "abc", "__Host-s=abc; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600"},
        {0, "", "__Host-s=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"},
    };
    h2o_req_t *req = new_request();
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        web_set_cookie(req, "__Host-s", iovec_of(cases[i].value), cases[i].max_age_s);
        assert_int_equal(req->res.headers.size, i + 1);
        assert_ptr_equal(req->res.headers.entries[i].name, &H2O_TOKEN_SET_COOKIE->buf);
        assert_true(iovec_equal(req->res.headers.entries[i].value, cases[i].expected));
    }
    free_request(req);
}

static void add_header(h2o_req_t *req, const char *name, const char *value)
{
    h2o_add_header_by_str(&req->pool, &req->headers, name, strlen(name), 1, NULL, value,
                          strlen(value));
}

/* Design section 11; peers 52: a change asked for by another site is refused. */
static void test_same_origin(void **state)
{
    static const struct {
        const char *site, *other_site, *origin, *other_origin;
        bool same;
    } cases[] = {
        {"same-origin", NULL, NULL, NULL, true},
        {"same-origin", NULL, "https://evil.example", NULL, true}, /* the browser knows better */
        {"same-site", NULL, "https://a.example", NULL, false},
        {"cross-site", NULL, "https://a.example", NULL, false},
        {"none", NULL, "https://a.example", NULL, false},
        {"", NULL, "https://a.example", NULL, false},
        {"Same-Origin", NULL, "https://a.example", NULL, false},
        {"same-origin", "same-origin", NULL, NULL, false},
        {"same-origin", "cross-site", NULL, NULL, false},
        {"same-origin, same-origin", NULL, NULL, NULL, false},
        {NULL, NULL, "https://a.example", NULL, true},
        {NULL, NULL, "https://a.example/", NULL, false},
        {NULL, NULL, "https://A.example", NULL, false},
        {NULL, NULL, "http://a.example", NULL, false},
        {NULL, NULL, "https://a.example:8443", NULL, false},
        {NULL, NULL, "https://a.example.evil.example", NULL, false},
        {NULL, NULL, "null", NULL, false},
        {NULL, NULL, "", NULL, false},
        {NULL, NULL, "https://a.example", "https://a.example", false},
        {NULL, NULL, NULL, NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *headers[][2] = {{"sec-fetch-site", cases[i].site},
                                    {"sec-fetch-site", cases[i].other_site},
                                    {"origin", cases[i].origin},
                                    {"origin", cases[i].other_origin}};
        h2o_req_t *req = new_request();
        for (size_t h = 0; h < 4; h++)
            if (headers[h][1] != NULL)
                add_header(req, headers[h][0], headers[h][1]);
        if (web_same_origin(req, "https://a.example") != cases[i].same)
            fail_msg("case %zu", i);
        free_request(req);
    }
}

static void test_media_types(void **state)
{
    static const struct {
        const char *accept, *other_accept, *content_type, *other_content_type;
        bool wants_json, is_form;
    } cases[] = {
        {NULL, NULL, NULL, NULL, false, false},
        {"application/json", NULL, "application/x-www-form-urlencoded", NULL, true, true},
        {"Application/JSON ; q=0.9", NULL, "APPLICATION/x-www-form-urlencoded;charset=UTF-8", NULL,
         true, true},
        {"text/html,application/json", NULL, "application/x-www-form-urlencoded2", NULL, false,
         false},
        {"application/json", "text/html", "text/plain", NULL, false, false},
        {"text/plain, ,application/json", NULL, "", NULL, true, false},
        {"application/json5, */*", NULL, "application/x-www-form-urlencoded",
         "application/x-www-form-urlencoded", false, false},
        {"", NULL, " application/x-www-form-urlencoded ", NULL, false, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *headers[][2] = {{"accept", cases[i].accept},
                                    {"accept", cases[i].other_accept},
                                    {"content-type", cases[i].content_type},
                                    {"content-type", cases[i].other_content_type}};
        h2o_req_t *req = new_request();
        for (size_t h = 0; h < 4; h++)
            if (headers[h][1] != NULL)
                add_header(req, headers[h][0], headers[h][1]);
        if (web_wants_json(req) != cases[i].wants_json ||
            web_content_type_is(req, "application/x-www-form-urlencoded") != cases[i].is_form)
            fail_msg("case %zu", i);
        free_request(req);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_cookie),        cmocka_unit_test(test_nul_is_malformed),
        cmocka_unit_test(test_length_is_bounded), cmocka_unit_test(test_each_with_a_prefix),
        cmocka_unit_test(test_setting),           cmocka_unit_test(test_same_origin),
        cmocka_unit_test(test_media_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
