/* SPDX-License-Identifier: Apache-2.0
 *
 * The fetch thread against a real TLS server on loopback, with HTTP/2, and a CA made here. The
 * environment names a proxy that refuses everything: whoever asks it fails. */
#include "http/fetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/text.h"
#include "support_tls.h"
#include "test_server.h"

static struct test_server server;
static char folder[] = "/tmp/postern-fetch-XXXXXX";
static char ca_path[64], other_ca_path[64];
static atomic_uint hanging;         /* requests that wait for ever at the server, now */
static _Atomic uint64_t stuck_conn; /* the connection on which /sticky hangs; 0: the next one */

static SSL_CTX *make_tls(void)
{
    EVP_PKEY *other_key = EVP_EC_gen("P-256");
    X509 *other = certificate_new(other_key);
    certificate_write(other_ca_path, other);
    X509_free(other);
    EVP_PKEY_free(other_key);
    SSL_CTX *tls = tls_server_new(ca_path);
    h2o_ssl_register_alpn_protocols(tls, h2o_http2_alpn_protocols);
    return tls;
}

/* ---- the server ---- */

static void on_hanging_end(void *memory)
{
    (void)memory;
    atomic_fetch_sub(&hanging, 1);
}

static void hang(h2o_req_t *req)
{
    h2o_mem_alloc_shared(&req->pool, 1, on_hanging_end);
    atomic_fetch_add(&hanging, 1);
}

static void serve_ok(h2o_req_t *req)
{
    web_add_header(req, "www-authenticate", "Bearer error=\"x\"");
    web_add_header(req, "x-rate-limit-limit", "600");
    web_add_header(req, "x-rate-limit-remaining", "599");
    web_add_header(req, "x-rate-limit-reset", "1600000000");
    web_cache(req, "max-age=60");
    web_send(req, 200, "application/json", iovec_of("hello"));
}

static void serve_echo(h2o_req_t *req)
{
    struct text out;
    const char *names[] = {"authorization", "content-type", "user-agent",
                           "accept",        "expect",       "cookie"};
    text_init(&out, &req->pool);
    text_add(&out, req->method.base, req->method.len);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        h2o_iovec_t value = web_header(req, names[i]);
        text_add_string(&out, "|");
        text_add(&out, value.base, value.len);
    }
    text_add_string(&out, "|");
    text_add(&out, req->entity.base, req->entity.len);
    web_send(req, 200, "text/plain", text_iovec(&out));
}

static void serve_size(h2o_req_t *req, const char *number)
{
    size_t len = strtoul(number, NULL, 10);
    char *bytes = h2o_mem_alloc_pool(&req->pool, len + 1);
    memset(bytes, 'x', len);
    web_send(req, 200, "text/plain", h2o_iovec_init(bytes, len));
}

static void serve_long_head(h2o_req_t *req)
{
    char value[8001];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (int i = 0; i < 10; i++)
        web_add_header(req, text_format(&req->pool, "x-long-%d", i), value);
    web_send(req, 200, "text/plain", iovec_of(""));
}

/* The first connection that comes here is stuck from then on; the others answer. */
static void serve_sticky(h2o_req_t *req)
{
    uint64_t none = 0;
    atomic_compare_exchange_strong(&stuck_conn, &none, req->conn->id);
    if (atomic_load(&stuck_conn) == req->conn->id)
        hang(req);
    else
        web_send(req, 200, "text/plain", iovec_of("unstuck"));
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    (void)handler;
    const char *path = text_dup_iovec(&req->pool, web_path(req));
    if (strcmp(path, "/ok") == 0)
        serve_ok(req);
    else if (strcmp(path, "/echo") == 0)
        serve_echo(req);
    else if (strncmp(path, "/size/", 6) == 0)
        serve_size(req, path + 6);
    else if (strcmp(path, "/long-head") == 0)
        serve_long_head(req);
    else if (strcmp(path, "/redirect") == 0)
        web_redirect(req, "/ok");
    else if (strcmp(path, "/500") == 0)
        web_send(req, 500, NULL, (h2o_iovec_t){NULL, 0});
    else if (strcmp(path, "/sticky") == 0)
        serve_sticky(req);
    else
        hang(req);
    return 0;
}

/* ---- asking ---- */

/* One asking loop with its fetcher, and what came back; the texts are copies. */
struct asker {
    struct loop *loop;
    struct fetcher *fetcher;
    h2o_mem_pool_t pool;
    unsigned expected, answered, failed; /* the loop stops when as many came as were expected */
    struct fetch_result last;
    struct error err; /* the last one's */
};

static void asker_open(struct asker *self)
{
    struct fetch_options options = {.ca_file = ca_path};
    struct error err = {.kind = ERROR_NONE};
    *self = (struct asker){.loop = loop_new()};
    h2o_mem_init_pool(&self->pool);
    assert_true(fetcher_start(&options, &self->fetcher, &err));
}

static void asker_close(struct asker *self)
{
    fetcher_stop(self->fetcher);
    loop_free(self->loop); /* what was on its way comes home first */
    fetcher_free(self->fetcher);
    h2o_mem_clear_pool(&self->pool);
}

static h2o_iovec_t keep(struct asker *self, h2o_iovec_t value)
{
    return value.base == NULL ? value
                              : h2o_iovec_init(text_dup_iovec(&self->pool, value), value.len);
}

static void on_answer(void *ctx, const struct fetch_result *result, const struct error *err)
{
    struct asker *self = ctx;
    self->answered++;
    self->err = *err;
    assert_int_equal(result == NULL, err->kind != ERROR_NONE);
    if (result == NULL)
        self->failed++;
    if (result != NULL) {
        assert_int_equal(result->body.base[result->body.len], '\0');
        self->last = (struct fetch_result){result->status,
                                           keep(self, result->body),
                                           keep(self, result->content_type),
                                           keep(self, result->date),
                                           keep(self, result->www_authenticate),
                                           keep(self, result->cache_control),
                                           keep(self, result->rate_limit),
                                           keep(self, result->rate_remaining),
                                           keep(self, result->rate_reset)};
    }
    if (self->answered == self->expected)
        loop_stop(self->loop);
}

static void on_never(void *ctx, const struct fetch_result *result, const struct error *err)
{
    (void)ctx, (void)result, (void)err;
    fail_msg("a cancelled fetch called back");
}

static const char *url_of(struct asker *self, const char *path)
{
    return text_format(&self->pool, "https://127.0.0.1:%u%s", server.port, path);
}

static struct fetch *start(struct asker *self, struct fetch_request request, fetch_cb cb)
{
    if (request.method == NULL)
        request.method = "GET";
    return fetch_start(self->fetcher, self->loop, &request, cb, self);
}

/* Asks and waits for the end of it. */
static void ask(struct asker *self, struct fetch_request request)
{
    self->answered = 0;
    self->expected = 1;
    start(self, request, on_answer);
    assert_int_equal(self->answered, 0); /* never before fetch_start returns */
    loop_run(self->loop);
    assert_int_equal(self->answered, 1);
}

static void get(struct asker *self, const char *path)
{
    ask(self, (struct fetch_request){.url = url_of(self, path)});
}

static void assert_text(h2o_iovec_t value, const char *expected)
{
    assert_non_null(value.base);
    assert_string_equal(value.base, expected);
    assert_int_equal(value.len, strlen(expected));
}

static void assert_status(const struct asker *self, int status)
{
    if (self->err.kind != ERROR_NONE)
        fail_msg("%s", self->err.text);
    assert_int_equal(self->last.status, status);
}

static void assert_failed_with(const struct asker *self, const char *words)
{
    assert_int_not_equal(self->err.kind, ERROR_NONE);
    if (strstr(self->err.text, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", self->err.text, words);
}

/* Waits, looking each 10 ms on the asking loop, until so many hang at the server. */
struct watch {
    struct loop_timer timer;
    struct loop *loop;
    unsigned wanted;
};

static void on_look(struct loop_timer *timer)
{
    struct watch *self = H2O_STRUCT_FROM_MEMBER(struct watch, timer, timer);
    if (atomic_load(&hanging) == self->wanted)
        loop_stop(self->loop);
    else
        loop_timer_start(self->loop, timer, 10, on_look);
}

static void wait_for_hanging(struct asker *self, unsigned wanted)
{
    struct watch watch = {.loop = self->loop, .wanted = wanted};
    loop_timer_start(self->loop, &watch.timer, 0, on_look);
    loop_run(self->loop);
    assert_int_equal(atomic_load(&hanging), wanted);
}

/* Until the server knows that nobody waits any more. */
static void wait_for_calm(void)
{
    struct asker asker;
    asker_open(&asker);
    wait_for_hanging(&asker, 0);
    asker_close(&asker);
}

/* ---- tests ---- */

static void test_answer_with_its_headers(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    get(&asker, "/ok");
    assert_status(&asker, 200);
    assert_text(asker.last.body, "hello");
    assert_text(asker.last.content_type, "application/json");
    assert_text(asker.last.www_authenticate, "Bearer error=\"x\"");
    assert_text(asker.last.cache_control, "max-age=60");
    assert_text(asker.last.rate_limit, "600");
    assert_text(asker.last.rate_remaining, "599");
    assert_text(asker.last.rate_reset, "1600000000");
    assert_non_null(strstr(asker.last.date.base, " GMT"));
    asker_close(&asker);
}

static void test_any_status_is_a_result(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    get(&asker, "/500");
    assert_status(&asker, 500);
    assert_int_equal(asker.last.body.len, 0);
    assert_null(asker.last.content_type.base);
    asker_close(&asker);
}

static void test_post_sends_what_was_given(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    ask(&asker, (struct fetch_request){.method = "POST",
                                       .url = url_of(&asker, "/echo"),
                                       .content_type = iovec_of("text/x"),
                                       .body = iovec_of("a=1"),
                                       .authorization = iovec_of("Basic abc")});
    assert_text(asker.last.body, "POST|Basic abc|text/x|postern|application/json, */*;q=0.5|||a=1");
    ask(&asker, (struct fetch_request){.method = "POST", .url = url_of(&asker, "/echo")});
    assert_text(asker.last.body, "POST|||postern|application/json, */*;q=0.5|||");
    get(&asker, "/echo");
    assert_text(asker.last.body, "GET|||postern|application/json, */*;q=0.5|||");
    asker_close(&asker);
}

/* peers 58: 1 MiB cap, no redirects, https only */
static void test_body_cap(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    ask(&asker, (struct fetch_request){.url = url_of(&asker, "/size/20000"), .max_body = 20000});
    assert_int_equal(asker.last.body.len, 20000);
    ask(&asker, (struct fetch_request){.url = url_of(&asker, "/size/20001"), .max_body = 20000});
    assert_failed_with(&asker, "the answer is larger than allowed");
    assert_int_equal(asker.err.kind, ERROR_UPSTREAM);
    get(&asker, "/size/1048577"); /* the default */
    assert_failed_with(&asker, "the answer is larger than allowed");
    get(&asker, "/size/1048576");
    assert_int_equal(asker.last.body.len, 1048576);
    asker_close(&asker);
}

static void test_head_cap(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    get(&asker, "/long-head");
    assert_failed_with(&asker, "the answer's head is larger than allowed");
    asker_close(&asker);
}

static void test_time_out_names_the_host_only(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    ask(&asker, (struct fetch_request){.url = url_of(&asker, "/hang?code=planted"),
                                       .authorization = iovec_of("Bearer planted"),
                                       .timeout_ms = 100});
    assert_int_equal(asker.err.kind, ERROR_UPSTREAM);
    assert_failed_with(&asker, "GET 127.0.0.1:");
    assert_failed_with(&asker, "timed out");
    assert_null(strstr(asker.err.text, "planted"));
    assert_null(strstr(asker.err.text, "hang"));
    asker_close(&asker);
    wait_for_calm();
}

static void test_cancel_in_flight(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    struct fetch *fetch =
        start(&asker, (struct fetch_request){.url = url_of(&asker, "/hang")}, on_never);
    wait_for_hanging(&asker, 1);
    fetch_cancel(fetch);
    unsigned connections = atomic_load(&server.accepted);
    get(&asker, "/ok");
    assert_status(&asker, 200);
    assert_int_equal(atomic_load(&server.accepted), connections);
    wait_for_hanging(&asker, 0); /* curl resets that stream when it next uses the connection */
    asker_close(&asker);
}

static void test_cancel_at_once(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    for (int i = 0; i < 50; i++)
        fetch_cancel(start(&asker, (struct fetch_request){.url = url_of(&asker, "/ok")}, on_never));
    get(&asker, "/ok");
    assert_status(&asker, 200);
    asker_close(&asker);
}

static void test_connection_refused(void **state)
{
    struct asker asker;
    uint16_t port;
    (void)state;
    int fd = test_bind(&port);
    asker_open(&asker);
    ask(&asker,
        (struct fetch_request){.url = text_format(&asker.pool, "https://127.0.0.1:%u/x?y", port)});
    assert_int_equal(asker.err.kind, ERROR_UPSTREAM);
    assert_failed_with(&asker, text_format(&asker.pool, "GET 127.0.0.1:%u: ", port));
    asker_close(&asker);
    close(fd);
}

static void test_wrong_ca_and_wrong_name(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    ask(&asker, (struct fetch_request){.url = url_of(&asker, "/ok"), .ca_file = other_ca_path});
    assert_failed_with(&asker, "SSL certificate problem");
    ask(&asker, (struct fetch_request){
                    .url = text_format(&asker.pool, "https://localhost:%u/ok", server.port)});
    assert_failed_with(&asker, "localhost");
    ask(&asker, (struct fetch_request){.url = url_of(&asker, "/ok"), .ca_file = "/nonexistent"});
    assert_failed_with(&asker, "/nonexistent");
    get(&asker, "/ok");
    assert_status(&asker, 200);
    asker_close(&asker);
}

/* peers 58 */
static void test_refused_requests(void **state)
{
    static const char *const urls[] = {
        "http://127.0.0.1/",  "ftp://127.0.0.1/", "file:///etc/passwd",
        "127.0.0.1/",         "https://",         "",
        "https:/127.0.0.1/x", "//127.0.0.1/",     "gopher://127.0.0.1/"};
    struct asker asker;
    (void)state;
    asker_open(&asker);
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        ask(&asker, (struct fetch_request){.url = urls[i]});
        assert_int_equal(asker.err.kind, ERROR_INTERNAL);
    }
    ask(&asker, (struct fetch_request){
                    .url = text_format(&asker.pool, "https://u:p@127.0.0.1:%u/ok", server.port)});
    assert_int_not_equal(asker.err.kind, ERROR_NONE);
    ask(&asker, (struct fetch_request){.url = url_of(&asker, "/ok"),
                                       .authorization = iovec_of("Bearer x\r\nhost: y")});
    assert_failed_with(&asker, "line break");
    asker_close(&asker);
}

static void test_redirect_is_not_followed(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    get(&asker, "/redirect");
    assert_status(&asker, 303);
    asker_close(&asker);
}

static void test_connection_is_used_again(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    get(&asker, "/ok");
    unsigned connections = atomic_load(&server.accepted);
    for (int i = 0; i < 5; i++)
        get(&asker, "/ok");
    assert_int_equal(atomic_load(&server.accepted), connections);
    asker_close(&asker);
}

static void start_hanging(struct asker *self, enum fetch_lane lane, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        start(self, (struct fetch_request){.lane = lane, .url = url_of(self, "/hang")}, on_answer);
}

static void test_a_full_lane_delays_no_other(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    start_hanging(&asker, FETCH_IDENTITY, 30);
    wait_for_hanging(&asker, 20); /* the lane's cap; ten wait */
    get(&asker, "/ok");
    assert_status(&asker, 200);
    assert_int_equal(atomic_load(&hanging), 20);
    asker.answered = 0;
    asker.expected = 30;
    asker_close(&asker);
    assert_int_equal(asker.failed, 30); /* each is told at the stop */
    wait_for_calm();
}

static void test_no_turn_in_time(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    start_hanging(&asker, FETCH_IDENTITY, 20);
    wait_for_hanging(&asker, 20);
    struct fetch_request request = {.lane = FETCH_IDENTITY, .url = url_of(&asker, "/ok")};
    fetch_cancel(start(&asker, request, on_never)); /* leaves the queue */
    request.timeout_ms = 60;
    ask(&asker, request);
    assert_failed_with(&asker, "no turn in time");
    assert_int_equal(atomic_load(&hanging), 20);
    asker_close(&asker);
    wait_for_calm();
}

static void test_waiting_is_bounded(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    start_hanging(&asker, FETCH_IDENTITY, 20);
    wait_for_hanging(&asker, 20);
    start_hanging(&asker, FETCH_IDENTITY, 4096 + 5);
    asker.expected = 5;
    loop_run(asker.loop);
    assert_failed_with(&asker, "too many requests wait");
    assert_int_equal(asker.failed, 5);
    asker_close(&asker);
    assert_int_equal(asker.failed, 20 + 4096 + 5);
    wait_for_calm();
}

static void on_stopped(void *ctx, const struct fetch_result *result, const struct error *err)
{
    struct asker *self = ctx;
    on_answer(ctx, result, err);
    if (self->answered == 1) /* tries again, as callbacks do */
        start(self, (struct fetch_request){.url = url_of(self, "/ok")}, on_answer);
}

static void test_stop_with_requests_in_flight(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    asker.expected = 2;
    start(&asker, (struct fetch_request){.url = url_of(&asker, "/hang")}, on_stopped);
    wait_for_hanging(&asker, 1);
    fetcher_stop(asker.fetcher);
    fetcher_stop(asker.fetcher); /* once more does nothing */
    loop_run(asker.loop);
    assert_int_equal(asker.failed, 2);
    assert_failed_with(&asker, "fetching has stopped");
    asker_close(&asker);
    wait_for_calm();
}

/* A request that times out on a connection must not drag the next ones with it, also while others hang there. */
static void test_a_stuck_connection_is_left(void **state)
{
    struct asker asker;
    (void)state;
    asker_open(&asker);
    atomic_store(&stuck_conn, 0);
    struct fetch *holder =
        start(&asker, (struct fetch_request){.url = url_of(&asker, "/sticky")}, on_never);
    wait_for_hanging(&asker, 1);
    struct fetch_request request = {.url = url_of(&asker, "/sticky"), .timeout_ms = 100};
    ask(&asker, request);
    assert_failed_with(&asker, "timed out");
    request.timeout_ms = 0;
    ask(&asker, request);
    assert_int_equal(asker.err.kind, ERROR_NONE);
    assert_text(asker.last.body, "unstuck");
    fetch_cancel(holder);
    asker_close(&asker);
    wait_for_calm();
}

static int set_up(void **state)
{
    (void)state;
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    setenv("HTTPS_PROXY", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(ca_path, sizeof(ca_path), "%s/ca.pem", folder);
    snprintf(other_ca_path, sizeof(other_ca_path), "%s/other.pem", folder);
    server.on_req = on_request;
    server.tls = make_tls();
    test_server_start(&server);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_server_stop(&server);
    unlink(ca_path);
    unlink(other_ca_path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer_with_its_headers),
        cmocka_unit_test(test_any_status_is_a_result),
        cmocka_unit_test(test_post_sends_what_was_given),
        cmocka_unit_test(test_body_cap),
        cmocka_unit_test(test_head_cap),
        cmocka_unit_test(test_time_out_names_the_host_only),
        cmocka_unit_test(test_cancel_in_flight),
        cmocka_unit_test(test_cancel_at_once),
        cmocka_unit_test(test_connection_refused),
        cmocka_unit_test(test_wrong_ca_and_wrong_name),
        cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_redirect_is_not_followed),
        cmocka_unit_test(test_connection_is_used_again),
        cmocka_unit_test(test_a_full_lane_delays_no_other),
        cmocka_unit_test(test_no_turn_in_time),
        cmocka_unit_test(test_waiting_is_bounded),
        cmocka_unit_test(test_stop_with_requests_in_flight),
        cmocka_unit_test(test_a_stuck_connection_is_left),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
