/* SPDX-License-Identifier: Apache-2.0
 *
 * See tunnel.h. h2o has a tunnel of its own, which writes while it writes when both sides have input at the start,
 * and drops what is on its way when one side ends. */
#include "tunnel.h"

#include <assert.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "http/web.h"

#include <h2o/http1.h>

#define PIECE    65536
#define STALL_MS 300000 /* a side takes nothing of a piece */
#define CLOSE_MS 10000  /* the same, after the other side's end */

enum { CLIENT, UPSTREAM };

struct side {
    struct tunnel *tunnel;
    h2o_socket_t *socket; /* NULL: not handed over yet */
    size_t
        writing; /* bytes of the other side's input that are being written to this one; 0: none */
    bool ended;  /* it sends no more */
};

struct tunnel {
    struct side sides[2];
    struct stream_entry *entry;
    int64_t idle_ms, active_ms;
};

static void close_tunnel(struct tunnel *self)
{
    stream_entry_free(self->entry);
    for (int i = 0; i < 2; ++i)
        if (self->sides[i].socket != NULL)
            h2o_socket_close(self->sides[i].socket);
    free(self);
}

static struct side *other(struct side *side)
{
    return &side->tunnel->sides[side == &side->tunnel->sides[CLIENT] ? UPSTREAM : CLIENT];
}

static void on_read(h2o_socket_t *socket, const char *err);
static void on_written(h2o_socket_t *socket, const char *err);

static bool is_over(const struct tunnel *self)
{
    return self->sides[CLIENT].ended || self->sides[UPSTREAM].ended;
}

/* Lets the side go on: what it sent is written to the other, or it is read. */
static void pump(struct side *from)
{
    struct side *to = other(from);
    size_t waiting = from->socket->input->size;
    if (to->writing != 0)
        return;
    if (waiting == 0) {
        if (!is_over(from->tunnel))
            h2o_socket_read_start(from->socket, on_read);
        return;
    }
    h2o_iovec_t piece = h2o_iovec_init(from->socket->input->bytes, waiting);
    piece.len = waiting < PIECE ? waiting : PIECE;
    to->writing = piece.len;
    h2o_socket_read_stop(from->socket);
    h2o_socket_write(to->socket, &piece, 1, on_written);
}

/* After an end: gone once nothing is on its way. */
static void close_if_done(struct tunnel *self)
{
    if (is_over(self) && self->sides[CLIENT].writing == 0 && self->sides[UPSTREAM].writing == 0)
        close_tunnel(self);
}

static void on_read(h2o_socket_t *socket, const char *err)
{
    struct side *side = socket->data;
    struct tunnel *self = side->tunnel;
    if (err == NULL) {
        self->active_ms = clock_mono_ms();
        pump(side);
        return;
    }
    side->ended = true;
    self->active_ms = clock_mono_ms();
    h2o_socket_read_stop(side->socket);
    h2o_socket_read_stop(other(side)->socket);
    pump(side);
    close_if_done(self);
}

static void on_written(h2o_socket_t *socket, const char *err)
{
    struct side *side = socket->data;
    struct tunnel *self = side->tunnel;
    struct side *from = other(side);
    _Atomic uint64_t *bytes =
        side == &self->sides[CLIENT] ? &self->entry->bytes_down : &self->entry->bytes_up;
    if (err != NULL) {
        /* The other direction has nobody any more, either. */
        close_tunnel(self);
        return;
    }
    atomic_fetch_add_explicit(bytes, side->writing, memory_order_relaxed);
    self->active_ms = clock_mono_ms();
    h2o_buffer_consume(&from->socket->input, side->writing);
    side->writing = 0;
    pump(from);
    close_if_done(self);
}

/* ---- the watch ---- */

static void on_tick(struct stream_entry *entry, int64_t now_ms, bool may_go_on, bool client_gone)
{
    struct tunnel *self = entry->ctx;
    int64_t quiet_ms = now_ms - self->active_ms;
    bool stuck = self->sides[CLIENT].writing != 0 || self->sides[UPSTREAM].writing != 0;
    (void)client_gone; /* that side's end is read, after what it sent */
    if (may_go_on && !(stuck && quiet_ms > (is_over(self) ? CLOSE_MS : STALL_MS)) &&
        !(self->idle_ms != 0 && quiet_ms > self->idle_ms))
        return;
    if (self->sides[CLIENT].socket == NULL) /* the 101 is being written: that fails now */
        shutdown(h2o_socket_get_fd(entry->client), SHUT_RDWR);
    else
        close_tunnel(self);
}

/* ---- the beginning ---- */

static void on_upgraded(void *ctx, h2o_socket_t *socket, size_t request_len)
{
    struct tunnel *self = ctx;
    if (socket == NULL) {
        close_tunnel(self);
        return;
    }
    web_take_over(socket);
    self->sides[CLIENT].socket = socket;
    socket->data = &self->sides[CLIENT];
    h2o_buffer_consume(&socket->input, request_len);
    self->active_ms = clock_mono_ms();
    pump(&self->sides[UPSTREAM]);
    pump(&self->sides[CLIENT]);
}

void tunnel_start(h2o_req_t *req, h2o_socket_t *upstream, struct stream_entry *entry,
                  int64_t idle_ms)
{
    struct tunnel *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct tunnel){.entry = entry, .idle_ms = idle_ms, .active_ms = clock_mono_ms()};
    for (int i = 0; i < 2; ++i)
        self->sides[i].tunnel = self;
    self->sides[UPSTREAM].socket = upstream;
    upstream->data = &self->sides[UPSTREAM];
    entry->ctx = self;
    entry->tick = on_tick;
    streams_become(entry, STREAM_UPGRADE);
    h2o_http1_upgrade(req, NULL, 0, on_upgraded, self);
}
