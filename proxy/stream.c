/* SPDX-License-Identifier: Apache-2.0
 *
 * See stream.h. One struct exchange lives as long as its request: dial → on_connect (sends what stream_head.c wrote) → on_head →
 * on_body until the end. h2o's client reports an end and is gone then, so self->client is forgotten first in each
 * callback. Deadlines are judged by the worker's tick (streams.h), not by timers of their own. */
#include "stream.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/web.h"
#include "plain.h"
#include "stream_head.h"
#include "tunnel.h"

#define PIECE    65536 /* what is written at once, and what may wait while the client is written to */
#define HEAD_MS  60000
#define STALL_MS 300000 /* one piece, and the client takes nothing of it */

struct exchange {
    h2o_generator_t generator; /* first */
    h2o_req_t *req;
    struct proxy_request request;
    h2o_http1client_ctx_t client_ctx;
    h2o_http1client_t *client;  /* NULL: none, or it is done */
    struct stream_entry *entry; /* NULL: answered, or handed over to a tunnel */
    h2o_iovec_t wire[2];        /* head and body as they are sent */
    h2o_doublebuffer_t sending;
    h2o_buffer_t *rest;               /* what had come at the answer's end */
    h2o_socket_cb paused;             /* what read the upstream; NULL: it is read */
    h2o_socket_cb written, read_head; /* h2o's own, behind ours */
    h2o_timeout_entry_t connected;
    int64_t began_us, head_deadline_ms, active_ms;
    bool dialing, reused, retried;
    bool started, head_sent, writing, ended, failed, chunked;
};

/* ---- answers of our own ---- */

int proxy_failure_status(enum proxy_failure failure)
{
    switch (failure) {
    case PROXY_TIMEOUT:
        return 504;
    case PROXY_CUT:
        return 401;
    case PROXY_UNREACHABLE:
    case PROXY_BROKEN:
        break;
    }
    return 502;
}

const char *proxy_failure_text(enum proxy_failure failure)
{
    switch (failure) {
    case PROXY_TIMEOUT:
        return "The server behind this address did not answer in time. Try again in a moment.";
    case PROXY_CUT:
        return "Your session has ended. Sign in again.";
    case PROXY_UNREACHABLE:
        return "The server behind this address can't be reached. Try again in a moment.";
    case PROXY_BROKEN:
        break;
    }
    return "The server behind this address broke off. Try again in a moment.";
}

static const char *failure_title(enum proxy_failure failure)
{
    if (failure == PROXY_CUT)
        return "Session ended";
    return failure == PROXY_TIMEOUT ? "Gateway timeout" : "Bad gateway";
}

static void count_failure(struct exchange *self, enum proxy_failure failure)
{
    static const enum upstream_result results[] = {[PROXY_UNREACHABLE] = UPSTREAM_UNREACHABLE,
                                                   [PROXY_BROKEN] = UPSTREAM_BROKEN,
                                                   [PROXY_TIMEOUT] = UPSTREAM_TIMEOUT};
    if (failure != PROXY_CUT)
        upstream_count(self->request.upstream, results[failure]);
}

static void forget_client(struct exchange *self)
{
    h2o_http1client_t *client = self->client;
    self->client = NULL;
    self->paused = NULL;
    if (client != NULL)
        h2o_http1client_cancel(client);
}

/* Before any answer. The request may be gone when this returns. */
static void fail(struct exchange *self, enum proxy_failure failure, const char *reason)
{
    h2o_req_t *req = self->req;
    forget_client(self);
    stream_entry_free(self->entry);
    self->entry = NULL;
    count_failure(self, failure);
    if (failure != PROXY_CUT)
        log_warn("proxy: no answer from upstream",
                 LOG_STR("upstream", upstream_name(self->request.upstream)),
                 LOG_STR("reason", reason), LOG_STR("request_id", web_request_id(req)));
    if (self->request.on_failure != NULL)
        self->request.on_failure(self->request.ctx, req, failure);
    else
        web_problem(req, proxy_failure_status(failure), failure_title(failure),
                    proxy_failure_text(failure));
}

/* Nobody is there to read it: the connection goes, and the access line says 499. */
static void leave_unanswered(struct exchange *self)
{
    h2o_req_t *req = self->req;
    forget_client(self);
    stream_entry_free(self->entry);
    self->entry = NULL;
    req->http1_is_persistent = 0;
    web_send(req, 499, NULL, (h2o_iovec_t){NULL, 0});
}

/* Within an answer: the client must see that it is not whole. self may be gone when this returns. */
static void break_off(struct exchange *self)
{
    forget_client(self);
    self->failed = true;
    shutdown(h2o_socket_get_fd(self->entry->client), SHUT_RDWR);
    if (!self->writing) /* else that write fails now */
        h2o_send(self->req, NULL, 0, H2O_SEND_STATE_ERROR);
}

/* ---- the answer's body ---- */

/* What was received goes out, a piece at a time. self may be gone when this returns. */
static void send_more(struct exchange *self)
{
    h2o_buffer_t **from = self->ended ? &self->rest : &self->client->sock->input;
    h2o_iovec_t piece = h2o_doublebuffer_prepare(&self->sending, from, PIECE);
    bool last = self->ended && (*from)->size == 0 && piece.len == self->sending.buf->size;
    if (piece.len == 0 && !last && self->head_sent)
        return;
    self->head_sent = true;
    self->writing = true;
    self->active_ms = clock_mono_ms();
    atomic_fetch_add_explicit(&self->entry->bytes_down, piece.len, memory_order_relaxed);
    h2o_send(self->req, &piece, piece.len != 0,
             last ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

static void on_proceed(h2o_generator_t *generator, h2o_req_t *req)
{
    struct exchange *self = (struct exchange *)generator;
    self->writing = false;
    self->active_ms = clock_mono_ms();
    if (self->sending.bytes_inflight != 0)
        h2o_doublebuffer_consume(&self->sending);
    if (self->failed) {
        h2o_send(req, NULL, 0, H2O_SEND_STATE_ERROR);
        return;
    }
    bool open = !self->ended;
    send_more(self);
    if (open && self->paused != NULL && self->client->sock->input->size < PIECE) {
        h2o_socket_read_start(self->client->sock, self->paused);
        self->paused = NULL;
    }
}

static void on_end(struct exchange *self, h2o_http1client_t *client)
{
    /* A chunked body that ends with its connection and not with its last chunk is not whole, which h2o's
     * client does not tell: the connection's end has brought no bytes. */
    if (self->chunked && client->sock->bytes_read == 0)
        self->failed = true;
    self->rest = client->sock->input;
    h2o_buffer_init(&client->sock->input, &h2o_socket_buffer_prototype);
    self->client = NULL;
    self->paused = NULL;
    self->ended = true;
}

static int on_body(h2o_http1client_t *client, const char *errstr)
{
    struct exchange *self = client->data;
    self->active_ms = clock_mono_ms();
    if (errstr == h2o_http1client_error_is_eos) {
        on_end(self, client);
    } else if (errstr != NULL) {
        self->client = NULL;
        self->paused = NULL;
        self->failed = true;
    }
    if (self->failed) {
        upstream_count(self->request.upstream, UPSTREAM_BROKEN);
        log_warn("proxy: upstream broke off",
                 LOG_STR("upstream", upstream_name(self->request.upstream)),
                 LOG_STR("reason", errstr));
        break_off(self);
        return 0;
    }
    if (!self->writing) {
        send_more(self);
    } else if (!self->ended && self->paused == NULL && client->sock->input->size >= PIECE) {
        self->paused = client->sock->_cb.read;
        h2o_socket_read_stop(client->sock);
    }
    return 0;
}

/* ---- the answer's head ---- */

static bool has_no_body(const struct exchange *self)
{
    int status = self->req->res.status;
    return status == 204 || status == 304 || iovec_equal(self->req->input.method, "HEAD");
}

/* h2o's chunked encoding is for status 200 only; the answers of others would end with their connection, cut or
 * not. The filter is chosen now and the status written later. */
static void start_answer(struct exchange *self)
{
    h2o_req_t *req = self->req;
    int status = req->res.status;
    bool unknown_length = req->res.content_length == SIZE_MAX && !has_no_body(self);
    if (unknown_length && req->version < 0x101)
        req->http1_is_persistent = 0;
    if (unknown_length)
        req->res.status = 200;
    h2o_start_response(req, &self->generator);
    req->res.status = status;
    self->started = true;
}

/* Events come when there are some (HTML, "Server-sent events"). */
static bool is_event_stream(h2o_req_t *req)
{
    static const char type[] = "text/event-stream";
    ssize_t at = h2o_find_header(&req->res.headers, H2O_TOKEN_CONTENT_TYPE, -1);
    if (at == -1)
        return false;
    h2o_iovec_t value = req->res.headers.entries[at].value;
    return plain_is_exactly(plain_trim(plain_take(&value, ';')), type);
}

/* Now: a watch may have nothing to say for long. h2o's chunked encoding keeps an empty piece to itself, and with it
 * the head, so this goes around it. */
static void send_head(struct exchange *self)
{
    h2o_ostream_t *last = self->req->_ostr_top;
    while (last->next != NULL)
        last = last->next;
    self->head_sent = true;
    self->writing = true;
    last->do_send(last, self->req, NULL, 0, H2O_SEND_STATE_IN_PROGRESS);
}

static h2o_http1client_body_cb answer(struct exchange *self, bool whole, size_t waiting)
{
    if (is_event_stream(self->req))
        self->request.idle_ms = 0;
    if (self->request.on_response_head != NULL)
        self->request.on_response_head(self->request.ctx, self->req);
    start_answer(self);
    if (whole) {
        /* A body where none may be (of a HEAD, say): its rest would be the next request's answer. */
        if (waiting != 0)
            h2o_socket_close(h2o_http1client_steal_socket(self->client));
        self->client = NULL;
        self->ended = true;
        h2o_buffer_init(&self->rest, &h2o_socket_buffer_prototype);
        send_more(self);
        return NULL;
    }
    if (waiting == 0) { /* else the body's first bytes, which come next, go with it */
        send_head(self);
    }
    return on_body;
}

static void become_tunnel(struct exchange *self, size_t head_len)
{
    h2o_socket_t *upstream = h2o_http1client_steal_socket(self->client);
    struct stream_entry *entry = self->entry;
    h2o_buffer_consume(&upstream->input, head_len);
    self->client = NULL;
    self->entry = NULL;
    if (self->request.on_response_head != NULL)
        self->request.on_response_head(self->request.ctx, self->req);
    tunnel_start(self->req, upstream, entry, self->request.idle_ms);
}

/* The connection is closed with it: nothing that comes after such a head is an answer. */
static void refuse_answer(struct exchange *self, const char *reason)
{
    h2o_socket_close(h2o_http1client_steal_socket(self->client));
    self->client = NULL;
    fail(self, PROXY_BROKEN, reason);
}

static bool may_retry(const struct exchange *self)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS"};
    bool safe = false;
    for (size_t i = 0; i < 3; ++i)
        safe = safe || iovec_equal(self->request.method, methods[i]);
    return safe && self->reused && !self->retried && self->wire[1].len == 0;
}

static void dial(struct exchange *self, bool fresh);

static void on_no_head(struct exchange *self, h2o_http1client_t *client, const char *reason)
{
    bool silent = client->sock == NULL || client->sock->input->size == 0;
    self->client = NULL;
    if (silent && may_retry(self)) { /* it was closed while we took it */
        self->retried = true;
        dial(self, true);
    } else {
        fail(self, PROXY_BROKEN, reason);
    }
}

static bool is_chunked(const struct upstream_head *head)
{
    for (size_t i = 0; i < head->header_count; ++i)
        if (plain_is_exactly(*head->headers[i].name, "transfer-encoding") &&
            h2o_memis(head->headers[i].value.base, head->headers[i].value.len,
                      H2O_STRLIT("chunked")))
            return true;
    return false;
}

/* Its parameters are h2o's. */
/* NOLINTNEXTLINE(readability-function-size) */
static h2o_http1client_body_cb on_head(h2o_http1client_t *client, const char *errstr,
                                       int minor_version, int status, h2o_iovec_t msg,
                                       h2o_header_t *headers, size_t count, int head_len)
{
    struct exchange *self = client->data;
    struct upstream_head head = {.status = status, .headers = headers, .header_count = count};
    struct error err = {.kind = ERROR_NONE};
    (void)minor_version;
    if (errstr != NULL && errstr != h2o_http1client_error_is_eos) {
        on_no_head(self, client, errstr);
        return NULL;
    }
    if (!headers_back(self->req, &head, &err) || (status == 101 && !self->request.upgrade)) {
        refuse_answer(self, err.kind != ERROR_NONE ? err.text : "101 was not asked for");
        return NULL;
    }
    self->req->res.reason = h2o_strdup(&self->req->pool, msg.base, msg.len).base;
    self->chunked = is_chunked(&head);
    self->active_ms = clock_mono_ms();
    upstream_count(self->request.upstream, UPSTREAM_OK);
    upstream_observe_us(self->request.upstream, clock_mono_us() - self->began_us);
    if (status == 101) {
        become_tunnel(self, (size_t)head_len);
        return NULL;
    }
    return answer(self, errstr != NULL, client->sock->input->size - (size_t)head_len);
}

/* ---- the sockets ---- */

/* Half-open connections are found out: an idle stream has nothing else that would. */
static void keep_alive(h2o_socket_t *socket)
{
    static const int one = 1, idle_s = 60, interval_s = 15, probes = 4;
    int fd = h2o_socket_get_fd(socket);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

/* h2o reads a connection until nothing is left: what is left is what the kernel has. */
static void bound_input(h2o_socket_t *socket)
{
    static const int bytes = 262144;
    setsockopt(h2o_socket_get_fd(socket), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

/* ---- before h2o reads the answer's head ---- */

/* h2o's client aborts the process at a length that is no number, and reads a head however long it gets: the
 * bytes are looked at before it gets them. */
static void on_head_bytes(h2o_socket_t *socket, const char *errstr)
{
    struct exchange *self = ((h2o_http1client_t *)socket->data)->data;
    h2o_iovec_t bytes = h2o_iovec_init(socket->input->bytes, socket->input->size);
    struct error err;
    if (errstr != NULL || headers_check_answer(bytes, &err))
        self->read_head(socket, errstr);
    else
        fail(self, PROXY_BROKEN, err.text);
}

static void watch_head(struct exchange *self);

static void on_written(h2o_socket_t *socket, const char *errstr)
{
    struct exchange *self = ((h2o_http1client_t *)socket->data)->data;
    h2o_mem_addref_shared(self); /* it may be over within */
    self->written(socket, errstr);
    watch_head(self);
    h2o_mem_release_shared(self);
}

/* Comes between the socket and h2o's client, which is writing the request or waits for the answer. */
static void watch_head(struct exchange *self)
{
    h2o_socket_t *socket = self->client != NULL ? self->client->sock : NULL;
    if (socket == NULL || self->started)
        return;
    if (socket->_cb.write != NULL && socket->_cb.write != on_written) {
        self->written = socket->_cb.write;
        socket->_cb.write = on_written;
    } else if (socket->_cb.read != NULL && socket->_cb.read != on_head_bytes) {
        self->read_head = socket->_cb.read;
        socket->_cb.read = on_head_bytes;
    }
}

/* Runs in the turn of the loop in which the connection came to be, and nothing is read before the next. */
static void on_connected(h2o_timeout_entry_t *entry)
{
    watch_head(H2O_STRUCT_FROM_MEMBER(struct exchange, connected, entry));
}

/* ---- connecting ---- */

static h2o_http1client_head_cb on_connect(h2o_http1client_t *client, const char *errstr,
                                          h2o_iovec_t **bufs, size_t *count, int *method_is_head)
{
    struct exchange *self = client->data;
    if (errstr != NULL) {
        self->client = NULL;
        fail(self, PROXY_UNREACHABLE, errstr);
        return NULL;
    }
    self->reused = self->dialing;
    if (!self->reused) {
        bound_input(client->sock);
        h2o_timeout_link(self->req->conn->ctx->loop, &self->req->conn->ctx->zero_timeout,
                         &self->connected);
    }
    if (self->request.idle_ms == 0)
        keep_alive(client->sock);
    *bufs = self->wire;
    *count = self->wire[1].len != 0 ? 2 : 1;
    *method_is_head = iovec_equal(self->request.method, "HEAD");
    return on_head;
}

/* An upgrade has a connection of its own, which nobody else gets whatever is answered (peers 33). */
static void dial(struct exchange *self, bool fresh)
{
    const struct upstream_dial call = {.client = &self->client,
                                       .data = self,
                                       .ctx = &self->client_ctx,
                                       .cb = on_connect,
                                       .fresh = fresh};
    h2o_mem_addref_shared(self); /* it may be over within */
    self->dialing = true;
    self->reused = false;
    upstream_connect(self->request.upstream, &call);
    self->dialing = false;
    if (self->reused)
        watch_head(self);
    h2o_mem_release_shared(self);
}

/* ---- the watch ---- */

static void watch_answer(struct exchange *self, int64_t now_ms)
{
    int64_t quiet_ms = now_ms - self->active_ms, idle_ms = self->request.idle_ms;
    if (self->writing ? quiet_ms > STALL_MS : (idle_ms != 0 && quiet_ms > idle_ms))
        break_off(self);
}

static void on_tick(struct stream_entry *entry, int64_t now_ms, bool may_go_on, bool client_gone)
{
    struct exchange *self = entry->ctx;
    if (self->failed)
        return;
    if (self->started && (client_gone || !may_go_on))
        break_off(self);
    else if (self->started)
        watch_answer(self, now_ms);
    else if (client_gone)
        leave_unanswered(self);
    else if (!may_go_on)
        fail(self, PROXY_CUT, NULL);
    else if (now_ms > self->head_deadline_ms)
        fail(self, PROXY_TIMEOUT, "timeout");
}

/* ---- the beginning and the end ---- */

static void on_dispose(void *ctx)
{
    struct exchange *self = ctx;
    if (h2o_timeout_is_linked(&self->connected))
        h2o_timeout_unlink(&self->connected);
    forget_client(self);
    stream_entry_free(self->entry);
    h2o_doublebuffer_dispose(&self->sending);
    if (self->rest != NULL)
        h2o_buffer_dispose(&self->rest);
}

void proxy_forward(h2o_req_t *req, const struct proxy_request *request)
{
    struct exchange *self = h2o_mem_alloc_shared(&req->pool, sizeof(*self), on_dispose);
    int64_t head_ms = request->head_ms != 0 ? request->head_ms : HEAD_MS;
    assert(!request->upgrade || req->upgrade.base != NULL);
    *self = (struct exchange){.generator = {on_proceed, NULL},
                              .req = req,
                              .request = *request,
                              .connected = {.cb = on_connected},
                              .began_us = clock_mono_us(),
                              .head_deadline_ms = clock_mono_ms() + head_ms};
    self->client_ctx =
        (h2o_http1client_ctx_t){.loop = req->conn->ctx->loop,
                                .getaddr_receiver = &req->conn->ctx->receivers.hostinfo_getaddr,
                                .io_timeout = streams_never(request->streams)};
    h2o_doublebuffer_init(&self->sending, &h2o_socket_buffer_prototype);
    self->entry = streams_add(request->streams, req, request->owner);
    self->entry->ctx = self;
    self->entry->tick = on_tick;
    if (request->idle_ms == 0)
        keep_alive(self->entry->client);
    self->wire[1] = req->entity;
    self->wire[0] = stream_head(req, &self->request);
    atomic_store_explicit(&self->entry->bytes_up, req->entity.len, memory_order_relaxed);
    dial(self, request->upgrade);
}
