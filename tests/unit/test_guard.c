/* SPDX-License-Identifier: Apache-2.0
 *
 * The guard's limits, small ones, on real h2o connections: HTTP/1.1 and HTTP/2 without TLS, client and
 * server on one thread. Time is a parameter of guard_check; what arrives over TLS comes through a BIO. */
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <h2o/http1.h>
#include <h2o/http2.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"
#include "http/web.h"

static const struct guard_limits LIMITS = {.request_ms = 30000,
                                           .completion_ms = 60000,
                                           .trickle_bytes = 100,
                                           .silence_ms = 600000,
                                           .flood_bytes = 1600,
                                           .request_headers = 20,
                                           .open_headers = 50,
                                           .resets = 5,
                                           .reset_window_ms = 10000};

struct connection { /* as in server/listener.c */
    struct web_connection web;
    struct guard guard;
};

static struct {
    struct loop *loop;
    h2o_globalconf_t conf;
    h2o_context_t ctx;
    h2o_accept_ctx_t accept;
    struct metrics *metrics;
    struct counter *ended[GUARD_REASONS];
    struct connection *connection; /* the one that a test has; NULL when it is gone */
    int client;                    /* the other end */
    unsigned answered;             /* requests to /answer, one of /hang is never answered */
    atomic_size_t unfinished;
} world;

/* ---- the server ---- */

static struct guard *find(h2o_req_t *req)
{
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    return &((struct connection *)socket->on_close.data)->guard;
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    (void)handler;
    if (h2o_memis(req->path.base, req->path.len, H2O_STRLIT("/hang")))
        return 0;
    ++world.answered;
    web_send(req, 200, "text/plain", h2o_iovec_init(H2O_STRLIT("yes")));
    return 0;
}

static void on_close(void *data)
{
    guard_dispose(&world.connection->guard);
    free(data);
    world.connection = NULL;
}

static int make_world(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    world.loop = loop_new();
    h2o_config_init(&world.conf);
    h2o_hostconf_t *host =
        h2o_config_register_host(&world.conf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = on_request;
    guard_register(host, find);
    h2o_context_init(&world.ctx, loop_h2o(world.loop), &world.conf);
    web_context_set_loop(&world.ctx, world.loop);
    world.accept = (h2o_accept_ctx_t){.ctx = &world.ctx, .hosts = world.conf.hosts};
    world.metrics = metrics_new();
    guard_counters(world.metrics, "test", world.ended);
    return 0;
}

/* A fresh connection, and the counters that it starts from. */
static int connect_client(void **state)
{
    int fds[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    h2o_socket_t *socket = h2o_evloop_socket_create(loop_h2o(world.loop), fds[0],
                                                    H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION);
    world.client = fds[1];
    world.answered = 0;
    atomic_store(&world.unfinished, 0);
    world.connection = h2o_mem_alloc(sizeof(*world.connection));
    *world.connection = (struct connection){.web = {NULL}};
    guard_init(&world.connection->guard, socket, &LIMITS, world.ended, &world.unfinished);
    socket->on_close.cb = on_close;
    socket->on_close.data = world.connection;
    h2o_accept(&world.accept, socket);
    return 0;
}

static void turn(void)
{
    h2o_evloop_run(loop_h2o(world.loop), 5);
}

static int disconnect_client(void **state)
{
    (void)state;
    close(world.client);
    for (int i = 0; i < 1000 && world.connection != NULL; ++i)
        turn();
    assert_null(world.connection);
    return 0;
}

static unsigned ended(enum guard_reason reason)
{
    static uint64_t seen[GUARD_REASONS]; /* by earlier tests */
    uint64_t now = counter_value(world.ended[reason]), before = seen[reason];
    seen[reason] = now;
    return (unsigned)(now - before);
}

static void assert_ended(enum guard_reason reason)
{
    for (int i = 0; i < GUARD_REASONS; ++i)
        assert_int_equal(ended((enum guard_reason)i), i == (int)reason);
}

static void assert_goes_on(void)
{
    for (int i = 0; i < GUARD_REASONS; ++i)
        assert_int_equal(ended((enum guard_reason)i), 0);
    assert_non_null(world.connection);
    assert_false(world.connection->guard.shut);
}

/* ---- the client ---- */

static void client_send(const void *bytes, size_t len)
{
    assert_int_equal(send(world.client, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    for (int i = 0; i < 20; ++i)
        turn();
}

static void ask_http1(const char *path)
{
    char request[128];
    int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    client_send(request, (size_t)len);
}

struct block { /* frames to be sent at once */
    unsigned char bytes[65536];
    size_t len;
};

static void add_frame(struct block *out, unsigned type, unsigned flags, unsigned stream,
                      h2o_iovec_t payload)
{
    unsigned char head[9] = {0,
                             (unsigned char)(payload.len >> 8),
                             (unsigned char)payload.len,
                             (unsigned char)type,
                             (unsigned char)flags,
                             0,
                             0,
                             (unsigned char)(stream >> 8),
                             (unsigned char)stream};
    assert_true(out->len + sizeof(head) + payload.len <= sizeof(out->bytes));
    memcpy(out->bytes + out->len, head, sizeof(head));
    h2o_memcpy(out->bytes + out->len + sizeof(head), payload.base, payload.len);
    out->len += sizeof(head) + payload.len;
}

/* GET of a path, with so many one-byte headers more (accept-encoding of HPACK's static table). */
static void add_request(struct block *out, unsigned stream, const char *path, bool complete,
                        size_t headers)
{
    char block[512] = {(char)0x82, (char)0x87, 0x04, (char)strlen(path)};
    size_t len = 4 + strlen(path);
    h2o_memcpy(block + 4, path, strlen(path));
    h2o_memcpy(block + len, "\x01\x01x", 3); /* :authority */
    len += 3;
    assert_true(len + headers <= sizeof(block));
    memset(block + len, 0x90, headers);
    add_frame(out, 1, complete ? 5 : 4, stream, h2o_iovec_init(block, len + headers));
}

static void begin_http2(unsigned window)
{
    static struct block out;
    unsigned char settings[6] = {0, 4, 0, 0, (unsigned char)(window >> 8), (unsigned char)window};
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    out.len = sizeof(preface) - 1;
    memcpy(out.bytes, preface, out.len);
    add_frame(&out, 4, 0, 0, h2o_iovec_init(settings, sizeof(settings)));
    client_send(out.bytes, out.len);
}

static void send_block(struct block *out)
{
    client_send(out->bytes, out->len);
    out->len = 0;
}

/* What arrives over TLS passes a BIO; this one holds bytes that nobody decrypts. */
static size_t receive_over_tls(SSL *ssl, size_t len)
{
    char bytes[4096] = {0};
    int read = 0;
    assert_true(len <= sizeof(bytes));
    assert_int_equal(BIO_write(SSL_get_rbio(ssl), bytes, (int)len), (int)len);
    read = BIO_read(SSL_get_rbio(ssl), bytes, (int)len);
    return read < 0 ? 0 : (size_t)read;
}

static SSL *watched_input(SSL_CTX **ctx)
{
    *ctx = SSL_CTX_new(TLS_server_method());
    SSL *ssl = SSL_new(*ctx);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    guard_watch_input(&world.connection->guard, ssl);
    return ssl;
}

static void free_input(SSL *ssl, SSL_CTX *ctx)
{
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

static void check_after(int64_t ms)
{
    guard_check(&world.connection->guard, clock_mono_ms() + ms);
}

/* ---- tests ---- */

static void test_request_that_is_not_answered(void **state)
{
    static struct block out;
    (void)state;
    begin_http2(65535);
    add_request(&out, 1, "/hang", true, 0);
    send_block(&out);
    check_after(LIMITS.request_ms - 1000);
    assert_goes_on();
    check_after(LIMITS.request_ms + 1000);
    assert_ended(GUARD_STALLED);
    check_after(LIMITS.request_ms + 2000); /* once is enough */
    assert_int_equal(ended(GUARD_STALLED), 0);
}

/* peers 21, 25: an answer is ready, but its reader opens no window. */
static void test_zero_window(void **state)
{
    static struct block out;
    (void)state;
    begin_http2(0);
    add_request(&out, 1, "/answer", true, 0);
    send_block(&out);
    assert_int_equal(world.answered, 1);
    check_after(LIMITS.request_ms - 1000);
    assert_goes_on();
    check_after(LIMITS.request_ms + 1000);
    assert_ended(GUARD_STALLED);
}

static void test_answered_requests_do_not_stall(void **state)
{
    static struct block out;
    (void)state;
    begin_http2(65535);
    for (unsigned i = 0; i < 10; ++i)
        add_request(&out, 1 + 2 * i, "/answer", true, 0);
    send_block(&out);
    assert_int_equal(world.answered, 10);
    check_after(LIMITS.request_ms + 1000);
    assert_goes_on();
}

/* peers 21: a body or a head that comes byte by byte, and never wholly. */
static void test_trickle(void **state)
{
    SSL_CTX *ctx;
    SSL *ssl = watched_input(&ctx);
    (void)state;
    assert_int_equal(receive_over_tls(ssl, LIMITS.trickle_bytes + 1), LIMITS.trickle_bytes + 1);
    check_after(LIMITS.completion_ms - 1000);
    assert_goes_on();
    check_after(LIMITS.completion_ms + 1000);
    assert_ended(GUARD_TRICKLE);
    free_input(ssl, ctx);
}

/* An API server's PINGs on a connection without questions. */
static void test_idle_is_no_trickle(void **state)
{
    SSL_CTX *ctx;
    SSL *ssl = watched_input(&ctx);
    (void)state;
    receive_over_tls(ssl, LIMITS.trickle_bytes - 1);
    check_after(LIMITS.completion_ms + 1000);
    assert_goes_on();
    check_after(LIMITS.silence_ms + 1000);
    assert_ended(GUARD_TRICKLE);
    free_input(ssl, ctx);
}

static void test_completed_request_begins_anew(void **state)
{
    SSL_CTX *ctx;
    SSL *ssl = watched_input(&ctx);
    (void)state;
    receive_over_tls(ssl, LIMITS.flood_bytes - 1);
    ask_http1("/answer");
    assert_int_equal(world.answered, 1);
    assert_int_equal(receive_over_tls(ssl, LIMITS.trickle_bytes), LIMITS.trickle_bytes);
    check_after(LIMITS.completion_ms + 1000);
    assert_goes_on();
    free_input(ssl, ctx);
}

static void test_flood(void **state)
{
    SSL_CTX *ctx;
    SSL *ssl = watched_input(&ctx);
    (void)state;
    assert_int_equal(receive_over_tls(ssl, LIMITS.flood_bytes), LIMITS.flood_bytes);
    assert_goes_on();
    assert_int_equal(receive_over_tls(ssl, 1), 0); /* which ends it in h2o */
    assert_ended(GUARD_FLOOD);
    assert_int_equal(receive_over_tls(ssl, 1), 0);
    free_input(ssl, ctx);
}

/* CVE-2023-44487, for a request that waits and one that is answered at once. */
static void send_resets(const char *path, unsigned first, unsigned count)
{
    static struct block out;
    for (unsigned i = 0; i < count; ++i) {
        add_request(&out, first + 2 * i, path, true, 0);
        add_frame(&out, 3, 0, first + 2 * i, h2o_iovec_init("\0\0\0\x08", 4));
    }
    send_block(&out);
}

static void test_resets(void **state)
{
    (void)state;
    begin_http2(65535);
    send_resets("/hang", 1, LIMITS.resets - 1);
    assert_goes_on();
    send_resets("/hang", 101, 1);
    assert_ended(GUARD_RESETS);
}

static void test_resets_before_the_answer_left(void **state)
{
    (void)state;
    begin_http2(65535);
    send_resets("/answer", 1, LIMITS.resets);
    assert_ended(GUARD_RESETS);
}

/* CVE-2025-8671: the client makes us reset the stream. */
static void test_resets_by_us(void **state)
{
    static struct block out;
    (void)state;
    begin_http2(65535);
    for (unsigned i = 0; i < LIMITS.resets; ++i) {
        add_request(&out, 1 + 2 * i, "/hang", true, 0);
        add_frame(&out, 8, 0, 1 + 2 * i, h2o_iovec_init("\0\0\0\0", 4));
    }
    send_block(&out);
    assert_ended(GUARD_RESETS);
}

static void test_few_resets_in_a_while(void **state)
{
    (void)state;
    begin_http2(65535);
    send_resets("/hang", 1, LIMITS.resets - 1);
    world.connection->guard.resets_since_ms -= LIMITS.reset_window_ms + 1;
    send_resets("/hang", 101, LIMITS.resets - 1);
    assert_goes_on();
}

/* peers 25: over HTTP/2 h2o counts no headers. */
static void test_request_of_many_headers(void **state)
{
    static struct block out;
    (void)state;
    begin_http2(65535);
    add_request(&out, 1, "/answer", true, LIMITS.request_headers);
    send_block(&out);
    assert_goes_on();
    add_request(&out, 3, "/answer", true, LIMITS.request_headers + 1);
    send_block(&out);
    assert_ended(GUARD_FLOOD);
}

/* Complete requests between them do not hide what unfinished ones hold. */
static void test_headers_of_unfinished_requests(void **state)
{
    static struct block out;
    SSL_CTX *ctx;
    SSL *ssl = watched_input(&ctx);
    (void)state;
    begin_http2(65535);
    add_request(&out, 1, "/answer", false, LIMITS.open_headers / 2);
    send_block(&out);
    receive_over_tls(ssl, LIMITS.flood_bytes / 2);
    add_request(&out, 3, "/answer", true, 0);
    send_block(&out);
    assert_goes_on();
    add_request(&out, 5, "/answer", false, LIMITS.open_headers / 2 + 1);
    send_block(&out);
    receive_over_tls(ssl, LIMITS.flood_bytes / 2);
    add_request(&out, 7, "/answer", true, 0);
    send_block(&out);
    assert_ended(GUARD_FLOOD);
    free_input(ssl, ctx);
}

/* ---- the proxy's listener ---- */

static const int64_t HOURS_MS = INT64_C(12) * 3600 * 1000;

static void test_proxy_silent_watch(void **state)
{
    static struct block out;
    (void)state;
    world.connection->guard.limits = &GUARD_PROXY_LIMITS;
    begin_http2(65535); /* whose client's end is noticed before the answer */
    add_request(&out, 1, "/hang", true, 0);
    send_block(&out);
    check_after(HOURS_MS);
    assert_goes_on();
}

static void test_proxy_silent_tunnel(void **state)
{
    SSL_CTX *ctx;
    SSL *ssl = watched_input(&ctx);
    (void)state;
    world.connection->guard.limits = &GUARD_PROXY_LIMITS;
    world.connection->web.taken_over = true;
    for (size_t i = 0; i <= GUARD_PROXY_LIMITS.flood_bytes / 4096 + 1; ++i)
        assert_int_equal(receive_over_tls(ssl, 4096), 4096);
    check_after(HOURS_MS);
    assert_goes_on();
    free_input(ssl, ctx);
}

/* peers 21: neither a head nor a body may come for ever, nor may a connection be idle for ever. */
static void test_proxy_slow_request(void **state)
{
    SSL_CTX *ctx;
    SSL *ssl = watched_input(&ctx);
    (void)state;
    world.connection->guard.limits = &GUARD_PROXY_LIMITS;
    client_send("POST /answer HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab", 55);
    receive_over_tls(ssl, 4096);
    receive_over_tls(ssl, GUARD_PROXY_LIMITS.trickle_bytes + 1 - 4096);
    check_after(GUARD_PROXY_LIMITS.completion_ms - 1000);
    assert_goes_on();
    check_after(GUARD_PROXY_LIMITS.completion_ms + 1000);
    assert_ended(GUARD_TRICKLE);
    free_input(ssl, ctx);
}

/* peers 21: strangers may send bodies, too, so what all of them hold is limited, and whoever sends little goes on. */
static void test_proxy_bodies_of_all(void **state)
{
    SSL_CTX *ctx;
    SSL *ssl = watched_input(&ctx);
    size_t others = GUARD_PROXY_LIMITS.unfinished_bytes - 1;
    (void)state;
    world.connection->guard.limits = &GUARD_PROXY_LIMITS;
    atomic_store(&world.unfinished, others);
    for (size_t i = 0; i < 65536 / 4096; ++i)
        assert_int_equal(receive_over_tls(ssl, 4096), 4096);
    assert_int_equal(atomic_load(&world.unfinished), others + 65536);
    assert_goes_on();
    receive_over_tls(ssl, 1);
    assert_ended(GUARD_FLOOD);
    free_input(ssl, ctx);
}

static void test_proxy_dawdler(void **state)
{
    SSL_CTX *ctx;
    SSL *ssl = watched_input(&ctx);
    (void)state;
    world.connection->guard.limits = &GUARD_PROXY_LIMITS;
    for (size_t i = 0; i < 2 * 65536 / 4096; ++i)
        assert_int_equal(receive_over_tls(ssl, 4096), 4096);
    check_after(GUARD_PROXY_LIMITS.completion_ms - 1000); /* it is in nobody's way */
    atomic_fetch_add(&world.unfinished, GUARD_PROXY_LIMITS.unfinished_bytes / 2);
    check_after(9000);
    assert_goes_on();
    check_after(11000);
    assert_ended(GUARD_FLOOD);
    free_input(ssl, ctx);
}

/* A request that is whole holds nothing of that any more, nor does a connection that is gone. */
static void test_proxy_gives_back(void **state)
{
    SSL_CTX *ctx;
    SSL *ssl = watched_input(&ctx);
    world.connection->guard.limits = &GUARD_PROXY_LIMITS;
    receive_over_tls(ssl, 4096);
    assert_int_equal(atomic_load(&world.unfinished), 4096);
    client_send("GET /answer HTTP/1.1\r\nHost: x\r\n\r\n", 33);
    while (world.answered == 0)
        turn();
    assert_int_equal(atomic_load(&world.unfinished), 0);
    receive_over_tls(ssl, 4096);
    disconnect_client(state);
    assert_int_equal(atomic_load(&world.unfinished), 0);
    free_input(ssl, ctx);
    connect_client(state); /* for the teardown */
}

static void test_proxy_unused_connection(void **state)
{
    (void)state;
    world.connection->guard.limits = &GUARD_PROXY_LIMITS;
    check_after(GUARD_PROXY_LIMITS.silence_ms - 1000);
    assert_goes_on();
    check_after(GUARD_PROXY_LIMITS.silence_ms + 1000);
    assert_ended(GUARD_TRICKLE);
}

#define ON_CONNECTION(test) cmocka_unit_test_setup_teardown(test, connect_client, disconnect_client)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_CONNECTION(test_request_that_is_not_answered),
        ON_CONNECTION(test_zero_window),
        ON_CONNECTION(test_answered_requests_do_not_stall),
        ON_CONNECTION(test_trickle),
        ON_CONNECTION(test_idle_is_no_trickle),
        ON_CONNECTION(test_completed_request_begins_anew),
        ON_CONNECTION(test_flood),
        ON_CONNECTION(test_resets),
        ON_CONNECTION(test_resets_before_the_answer_left),
        ON_CONNECTION(test_resets_by_us),
        ON_CONNECTION(test_few_resets_in_a_while),
        ON_CONNECTION(test_request_of_many_headers),
        ON_CONNECTION(test_headers_of_unfinished_requests),
        ON_CONNECTION(test_proxy_silent_watch),
        ON_CONNECTION(test_proxy_silent_tunnel),
        ON_CONNECTION(test_proxy_slow_request),
        ON_CONNECTION(test_proxy_bodies_of_all),
        ON_CONNECTION(test_proxy_dawdler),
        ON_CONNECTION(test_proxy_gives_back),
        ON_CONNECTION(test_proxy_unused_connection),
    };
    return cmocka_run_group_tests(tests, make_world, NULL);
}
