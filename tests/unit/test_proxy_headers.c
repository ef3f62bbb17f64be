/* SPDX-License-Identifier: Apache-2.0 */
#include "headers.h"
#include "plain.h"
#include "target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

static h2o_socket_t connection; /* what h2o read is looked at once more */
static h2o_conn_t conn;

static h2o_socket_t *get_socket(h2o_conn_t *self)
{
    (void)self;
    return &connection;
}

static const h2o_conn_callbacks_t callbacks = {.get_socket = get_socket};

/* A request as h2o hands it over, of a head's lines behind the first. */
static void begin(h2o_req_t *req, const char *raw)
{
    static h2o_buffer_t *input;
    memset(req, 0, sizeof(*req));
    h2o_mem_init_pool(&req->pool);
    conn.callbacks = &callbacks;
    req->conn = &conn;
    req->version = 0x101;
    req->input.method = iovec_of("GET");
    req->input.authority = iovec_of("app.example.com");
    req->res.content_length = SIZE_MAX;
    if (input == NULL)
        h2o_buffer_init(&input, &h2o_socket_buffer_prototype);
    h2o_buffer_consume(&input, input->size);
    h2o_buffer_reserve(&input, strlen(raw) + 1);
    memcpy(input->bytes, raw, strlen(raw));
    input->size = strlen(raw);
    connection.input = input;
}

static void add(h2o_req_t *req, const char *name, const char *value)
{
    char *lower = text_dup(&req->pool, name);
    h2o_strtolower(lower, strlen(lower));
    h2o_add_header_by_str(&req->pool, &req->headers, lower, strlen(lower), 1, name, value,
                          strlen(value));
}

#define HEAD "GET / HTTP/1.1\r\nHost: app.example.com\r\n"

/* What goes on of one header beside the Connection header. */
static const char *forwarded(const char *connected, const char *name, const char *value,
                             const struct header_rules *rules)
{
    static char out[1024];
    h2o_req_t req;
    struct header_list list;
    begin(&req, HEAD "\r\n");
    if (connected != NULL)
        add(&req, "Connection", connected);
    add(&req, name, value);
    assert_true(headers_forward(&req, rules, &list, NULL));
    assert_true(list.count <= 1);
    out[0] = '\0';
    if (list.count == 1)
        snprintf(out, sizeof(out), "%.*s: %.*s", (int)list.entries[0].name.len,
                 list.entries[0].name.base, (int)list.entries[0].value.len,
                 list.entries[0].value.base);
    h2o_mem_clear_pool(&req.pool);
    return out;
}

static void test_request_headers(void **state) /* peers 29, 30, 32, 38 */
{
    static const char *const drop[] = {"x-forwarded-id-token", "kubeconfig", NULL};
    static const char *const cookies[] = {"headlamp-auth-*", "token", NULL};
    static const struct header_rules rules = {drop, cookies};
    static const struct {
        const char *connection, *name, *value, *goes_on;
    } cases[] = {
        {NULL, "Accept", "a/b", "Accept: a/b"},
        {NULL, "X-CSRF-TOKEN", "t", "X-CSRF-TOKEN: t"},
        {NULL, "Sec-WebSocket-Key", "k", "Sec-WebSocket-Key: k"},
        {NULL, "X-Stream-Protocol-Version", "v4", "X-Stream-Protocol-Version: v4"},
        {NULL, "Impersonate-User", "x", ""},
        {NULL, "IMPERSONATE-GROUP", "x", ""},
        {NULL, "impersonate_user", "x", ""},
        {NULL, "Impersonate.Uid", "x", ""},
        {NULL, "Impersonate-Extra-scopes%2f", "x", ""},
        {NULL, "Impersonate_Extra_Anything", "x", ""},
        {NULL, "X-Remote-User", "x", ""},
        {NULL, "X_Remote_Group", "x", ""},
        {NULL, "x-remote-extra-a", "x", ""},
        {NULL, "Authorization", "Bearer x", ""},
        {NULL, "AUTHORIZATION", "Bearer x", ""},
        {NULL, "X-Forwarded-For", "1.2.3.4", ""},
        {NULL, "X_Forwarded_Host", "evil", ""},
        {NULL, "Forwarded", "for=x", ""},
        {NULL, "X-Real-IP", "x", ""},
        {NULL, "Proxy-Authorization", "x", ""},
        {NULL, "Keep-Alive", "x", ""},
        {NULL, "TE", "trailers", ""},
        {NULL, "Transfer_Encoding", "chunked", ""},
        {NULL, "Content_Length", "5", ""},
        {NULL, "KUBECONFIG", "x", ""},
        {"X-Mine", "x-mine", "v", ""},
        {"close, X_Mine", "X-Mine", "v", ""},
        {"keep-alive", "X-Mine", "v", "X-Mine: v"},
        {NULL, "Cookie", "a=1; b=2", "Cookie: a=1; b=2"},
        {NULL, "Cookie", "__Host-postern=s", ""},
        {NULL, "Cookie", "a=1;__host-POSTERN-app=s ;b=2", "Cookie: a=1; b=2"},
        {NULL, "Cookie", "headlamp-auth-main.0=x; token=y; tokens=z", "Cookie: tokens=z"},
        {NULL, "Cookie", "lonely; =x; a=b=c", "Cookie: a=b=c"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i)
        assert_string_equal(forwarded(cases[i].connection, cases[i].name, cases[i].value, &rules),
                            cases[i].goes_on);
}

static void test_bytes(void **state) /* peers 35 */
{
    static const struct {
        const char *raw;
        bool good;
    } cases[] = {
        {HEAD "\r\n", true},
        {"\r\n" HEAD "\r\n", true},
        {HEAD "Content-Length: 5\r\n\r\nhello", true},
        {HEAD "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true},
        {HEAD "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", false},
        {HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", false},
        {HEAD "Transfer-Encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n", false},
        {HEAD "HOST: other\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", false},
        {HEAD "Upgrade: a\r\nUpgrade: b\r\n\r\n", false},
        {HEAD "X: a\r\n b\r\n\r\n", false},
        {HEAD "X: a\r\n\tb\r\n\r\n", false},
        {HEAD "X: a\n\r\n", false},
        {HEAD "X: a\rb\r\n\r\n", false},
        {HEAD "X : a\r\n\r\n", false},
        {HEAD ": a\r\n\r\n", false},
        {HEAD "no colon\r\n\r\n", false},
        {HEAD "X: a\r\n\n", false},
        {HEAD, false},
        {"", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        if (headers_check_bytes(iovec_of(cases[i].raw), NULL) != cases[i].good)
            fail_msg("%s", cases[i].raw);
    }
}

static void test_targets(void **state) /* peers 35, 36 */
{
    static const char *const good[] = {
        "/",        "/a",    "/a/b?c=/../d",   "/a%2Fb", "/a.b/..c/...",
        "/a;b=c/d", "/a//b", "/.well-known/x", "/?%zz",  "/?q=\\d"};
    static const char *const bad[] = {
        "",       "*",         "//a",     "http://x/",   "/a/../b",       "/..",
        "/a/.",   "/%2e%2e/a", "/.%2E/a", "/a/..;x/b",   "/%2e%2e%3bx/a", "/a%00",
        "/a#b",   "/a\\b",     "/..%2fa", "/a%2F..%2fb", "/a/x%2f%2e.",   "/a/b%2f..;c",
        "/a%5cb", "/a%",       "/a%2",    "/a%zz",       "/a b",          "/\x80"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); ++i)
        if (!target_check(iovec_of(good[i]), NULL))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); ++i)
        if (target_check(iovec_of(bad[i]), NULL))
            fail_msg("%s", bad[i]);
}

static void test_answers(void **state) /* peers 38 */
{
    static const struct {
        int status;
        const char *name, *value, *comes_back; /* NULL: the answer is refused */
    } cases[] = {
        {200, "Content-Type", "a/b", "a/b"},
        {200, "Set-Cookie", "a=1; Path=/; HttpOnly", "a=1; Path=/; HttpOnly"},
        {200, "Set-Cookie", "a=1; Domain=example.com; Path=/", "a=1; Path=/"},
        {200, "Set-Cookie", "a=1;DOMAIN = example.com", "a=1"},
        {200, "Set-Cookie", "__Host-postern=x; Path=/; Secure", ""},
        {200, "Set-Cookie", " __HOST-Postern-app =x", ""},
        {200, "Strict-Transport-Security", "max-age=0", ""},
        {200, "Clear-Site-Data", "\"cookies\"", ""},
        {200, "Keep-Alive", "timeout=5", ""},
        {200, "Upgrade", "h2c", ""},
        {101, "Upgrade", "SPDY/3.1", "SPDY/3.1"},
        {200, "Date", "now", ""},
        {200, "Content-Length", "-1", NULL},
        {200, "Content-Length", "5, 5", NULL},
        {200, "", "folded", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        h2o_req_t req, from;
        begin(&from, "");
        begin(&req, "");
        add(&from, cases[i].name, cases[i].value);
        const struct upstream_head head = {cases[i].status, from.headers.entries,
                                           from.headers.size};
        assert_int_equal(headers_back(&req, &head, NULL), cases[i].comes_back != NULL);
        if (cases[i].comes_back != NULL) {
            bool some = *cases[i].comes_back != '\0';
            assert_int_equal(req.res.headers.size, some);
            if (some)
                assert_true(iovec_equal(req.res.headers.entries[0].value, cases[i].comes_back));
        }
        h2o_mem_clear_pool(&from.pool);
        h2o_mem_clear_pool(&req.pool);
    }
}

static void test_answer_lengths(void **state)
{
    h2o_req_t req, from;
    (void)state;
    begin(&from, "");
    begin(&req, "");
    add(&from, "Content-Length", "5");
    struct upstream_head head = {200, from.headers.entries, from.headers.size};
    assert_true(headers_back(&req, &head, NULL));
    assert_int_equal(req.res.content_length, 5);
    add(&from, "Transfer-Encoding", "chunked");
    head = (struct upstream_head){200, from.headers.entries, from.headers.size};
    assert_false(headers_back(&req, &head, NULL));
    h2o_mem_clear_pool(&from.pool);
    h2o_mem_clear_pool(&req.pool);
}

static void test_methods(void **state)
{
    static const struct {
        const char *method;
        bool good;
    } cases[] = {{"GET", true},    {"PROPFIND", true}, {"TRACE", false}, {"trace", false},
                 {"TRACK", false}, {"CONNECT", false}, {"", false},      {"GET\t", false}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        h2o_req_t req;
        struct header_list list;
        begin(&req, HEAD "\r\n");
        req.input.method = iovec_of(cases[i].method);
        assert_int_equal(headers_forward(&req, NULL, &list, NULL), cases[i].good);
        h2o_mem_clear_pool(&req.pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_headers), cmocka_unit_test(test_methods),
        cmocka_unit_test(test_bytes),           cmocka_unit_test(test_targets),
        cmocka_unit_test(test_answers),         cmocka_unit_test(test_answer_lengths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
