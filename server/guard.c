/* SPDX-License-Identifier: Apache-2.0
 *
 * See guard.h. Requests are noted by a handler that answers none of them, and leave when their pool goes:
 * at the end of the answer, at a reset, or with the connection. */
#include "guard.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/web.h"

#define FEW_BYTES 65536 /* what a connection may always hold: any request without a large body */
#define HURRY_MS  10000

const struct guard_limits GUARD_LIMITS = {
    .request_ms = 30000,
    .completion_ms = 60000,
    .trickle_bytes = 4096, /* an hour of an API server's PINGs, which are no request either */
    .silence_ms = 600000,
    .flood_bytes = 2097152, /* a hundred reviews at once are a tenth of it */
    .request_headers = 100, /* as h2o's HTTP/1.1 has it; an API server sends eight */
    .open_headers = 5000,   /* fifty on each of a hundred streams */
    .resets = 200,
    .reset_window_ms = 10000,
};

const struct guard_limits GUARD_PROXY_LIMITS = {
    .request_ms = 0,
    .completion_ms = 300000, /* a body may take its time */
    .trickle_bytes = 4096,
    .silence_ms = 600000,
    .flood_bytes = PROXY_MAX_BODY + 2097152,
    .unfinished_bytes =
        (size_t)128 * 1024 * 1024, /* sixteen bodies of the largest; strangers may send them, too */
    .request_headers = 100,
    .open_headers = 5000,
    .resets = 200,
    .reset_window_ms = 10000,
};

static const char *const REASON_NAMES[GUARD_REASONS] = {"stalled", "trickle",    "resets",
                                                        "flood",   "proxy_line", "untrusted"};

struct noted { /* one request in flight; lives in its pool */
    h2o_linklist_t link;
    struct guard *guard;
    h2o_req_t *req;
    int64_t began_ms;
    size_t written; /* bytes on its connection by then */
};

void guard_counters(struct metrics *metrics, const char *listener,
                    struct counter *out[GUARD_REASONS])
{
    for (int i = 0; i < GUARD_REASONS; ++i) {
        char labels[128];
        snprintf(labels, sizeof(labels), "listener=\"%s\",reason=\"%s\"", listener,
                 REASON_NAMES[i]);
        out[i] = metrics_counter(metrics, "postern_connections_ended_total",
                                 "Connections that were ended because of what they did.", labels);
    }
}

void guard_init(struct guard *self, h2o_socket_t *socket, const struct guard_limits *limits,
                struct counter **ended, atomic_size_t *unfinished)
{
    *self = (struct guard){.limits = limits,
                           .ended = ended,
                           .socket = socket,
                           .completed_ms = clock_mono_ms(),
                           .unfinished = unfinished};
    h2o_linklist_init_anchor(&self->requests);
}

void guard_end(struct guard *self, enum guard_reason reason)
{
    if (self->shut)
        return;
    self->shut = true;
    counter_add(self->ended != NULL ? self->ended[reason] : NULL, 1);
    log_warn("connection ended", LOG_STR("reason", REASON_NAMES[reason]),
             LOG_INT("bytes", (int64_t)self->unjudged));
    shutdown(h2o_socket_get_fd(self->socket), SHUT_RDWR);
}

/* ---- what all connections have sent of requests that are not whole ---- */

static void release(struct guard *self)
{
    atomic_fetch_sub(self->unfinished, self->held);
    self->held = 0;
}

void guard_dispose(struct guard *self)
{
    release(self);
}

static void hold(struct guard *self, size_t len)
{
    size_t most = self->limits->unfinished_bytes;
    if (most == 0)
        return;
    self->held += len;
    if (atomic_fetch_add(self->unfinished, len) + len > most && self->held > FEW_BYTES)
        guard_end(self, GUARD_FLOOD);
}

/* Who came first must not keep everybody else out: while it is crowded, a body has to be quick. */
static bool dawdles(const struct guard *self, int64_t since_ms)
{
    return self->held > FEW_BYTES && since_ms > HURRY_MS &&
           atomic_load(self->unfinished) > self->limits->unfinished_bytes / 2;
}

/* ---- input ---- */

/* A tunnel has no requests to judge it by. */
static bool is_taken_over(const struct guard *self)
{
    const struct web_connection *connection = self->socket->on_close.data;
    return connection != NULL && connection->taken_over;
}

/* OpenSSL calls this around each read of ciphertext; an error here ends the connection in h2o. */
/* NOLINTNEXTLINE(readability-function-size): its parameters are OpenSSL's */
static long on_bio(BIO *bio, int operation, const char *bytes, size_t len, int argi, long argl,
                   int result, size_t *processed) /* NOLINT(readability-non-const-parameter) */
{
    (void)bytes, (void)len, (void)argi, (void)argl;
    struct guard *self = (struct guard *)BIO_get_callback_arg(bio);
    if (operation != (BIO_CB_READ | BIO_CB_RETURN) || result <= 0 || processed == NULL ||
        is_taken_over(self))
        return result;
    self->bytes += *processed;
    self->unjudged += *processed;
    hold(self, *processed);
    if (self->unjudged > self->limits->flood_bytes)
        guard_end(self, GUARD_FLOOD);
    return self->shut ? 0 : result;
}

void guard_watch_input(struct guard *self, const SSL *ssl)
{
    BIO *bio = SSL_get_rbio(ssl);
    BIO_set_callback_arg(bio, (char *)self);
    BIO_set_callback_ex(bio, on_bio);
}

/* ---- requests ---- */

static void note_reset(struct guard *self)
{
    int64_t now_ms = clock_mono_ms();
    if (now_ms - self->resets_since_ms > self->limits->reset_window_ms) {
        self->resets = 0;
        self->resets_since_ms = now_ms;
    }
    if (++self->resets >= self->limits->resets)
        guard_end(self, GUARD_RESETS);
}

static void on_request_gone(void *ctx)
{
    struct noted *noted = ctx;
    h2o_linklist_unlink(&noted->link);
    /* Given up before there was an answer, or before any of it could leave. */
    if (noted->req->res.status == 0 || noted->guard->socket->bytes_written == noted->written)
        note_reset(noted->guard);
}

struct guard_handler {
    h2o_handler_t super;
    struct guard *(*find)(h2o_req_t *req);
};

struct header_count {
    const h2o_conn_t *conn;
    size_t headers;
};

static int add_headers(h2o_req_t *req, void *ctx)
{
    struct header_count *count = ctx;
    if (req->conn == count->conn)
        count->headers += req->headers.size;
    return 0;
}

/* The headers of all streams that are open, also of those whose request never becomes complete. */
static size_t open_headers(const h2o_req_t *req)
{
    struct header_count count = {.conn = req->conn};
    req->conn->ctx->globalconf->http2.callbacks.foreach_request(req->conn->ctx, add_headers,
                                                                &count);
    return count.headers;
}

/* A completed request must not make us forget what others on its connection have sent and still hold: now and
 * then they are looked at. */
static void judge_input(struct guard *self, const h2o_req_t *req)
{
    const struct guard_limits *limits = self->limits;
    if (req->version >= 0x200 && self->unjudged <= limits->flood_bytes / 16)
        return;
    if (req->version >= 0x200 && open_headers(req) > limits->open_headers)
        guard_end(self, GUARD_FLOOD);
    self->unjudged = 0;
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    struct guard *guard = ((struct guard_handler *)handler)->find(req);
    if (guard == NULL)
        return -1;
    if (req->headers.size > guard->limits->request_headers)
        guard_end(guard, GUARD_FLOOD);
    struct noted *noted = h2o_mem_alloc_shared(&req->pool, sizeof(*noted), on_request_gone);
    *noted = (struct noted){.guard = guard,
                            .req = req,
                            .began_ms = clock_mono_ms(),
                            .written = guard->socket->bytes_written};
    h2o_linklist_insert(&guard->requests, &noted->link);
    guard->completed_ms = noted->began_ms;
    guard->bytes = 0;
    release(guard);
    judge_input(guard, req);
    return -1; /* the next handler answers */
}

void guard_register(h2o_hostconf_t *host, struct guard *(*find)(h2o_req_t *req))
{
    for (size_t i = 0; i < host->paths.size; ++i) {
        h2o_pathconf_t *path = &host->paths.entries[i];
        struct guard_handler *handler =
            (struct guard_handler *)h2o_create_handler(path, sizeof(*handler));
        handler->super.on_req = on_request;
        handler->find = find;
        for (size_t at = path->handlers.size - 1; at > 0; --at) /* to the front */
            path->handlers.entries[at] = path->handlers.entries[at - 1];
        path->handlers.entries[0] = &handler->super;
    }
}

/* ---- the watch ---- */

void guard_check(struct guard *self, int64_t now_mono_ms)
{
    const struct guard_limits *limits = self->limits;
    if (is_taken_over(self))
        return;
    if (!h2o_linklist_is_empty(&self->requests)) {
        struct noted *oldest = H2O_STRUCT_FROM_MEMBER(struct noted, link, self->requests.next);
        if (limits->request_ms != 0 && now_mono_ms - oldest->began_ms > limits->request_ms)
            guard_end(self, GUARD_STALLED);
        return;
    }
    int64_t since_ms = now_mono_ms - self->completed_ms;
    bool trickles = since_ms > limits->completion_ms && self->bytes > limits->trickle_bytes;
    if (dawdles(self, since_ms))
        guard_end(self, GUARD_FLOOD);
    if (trickles || since_ms > limits->silence_ms)
        guard_end(self, GUARD_TRICKLE);
}
