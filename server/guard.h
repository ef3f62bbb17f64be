/* SPDX-License-Identifier: Apache-2.0
 *
 * What h2o 2.2.5 does not do for us: end connections that make no progress (a reader with a closed window,
 * a body that trickles), that reset requests in bulk, or that send much without completing a request (an
 * HPACK bomb: one byte of input is a hundred of memory). A guard is part of each connection; ending one is
 * shutdown(2), after which h2o closes it in its own time. */
#pragma once

#include <h2o.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/metrics.h"

enum guard_reason {
    GUARD_STALLED,
    GUARD_TRICKLE,
    GUARD_RESETS,
    GUARD_FLOOD,
    GUARD_PROXY_LINE, /* none came, or a malformed one */
    GUARD_UNTRUSTED,  /* not from a trusted proxy, where all have to be */
    GUARD_REASONS
};

#define PROXY_MAX_BODY                                                                             \
    ((size_t)8 * 1024 * 1024) /* buffered whole; an API server's own limit is 3 MiB */

struct guard_limits { /* per kind of listener */
    /* From the handler's start until the answer has left: more is a stalled reader. 0: whoever answers watches it
     * (proxy/). */
    int64_t request_ms;
    int64_t completion_ms; /* without completing a request, while more than trickle_bytes came */
    size_t trickle_bytes;
    int64_t silence_ms; /* without completing a request at all */
    size_t flood_bytes; /* of ciphertext, without a completed request or a look at the open ones */
    /* Of ciphertext, of all connections of the listener together, in requests that are not whole yet: then whoever sends
     * more than a little is ended. 0: no limit. */
    size_t unfinished_bytes;
    size_t request_headers; /* of one request; over HTTP/2 h2o counts none */
    size_t open_headers; /* of all requests of a connection that are not answered, whole or not */
    unsigned resets;     /* requests that the client gave up, within reset_window_ms */
    int64_t reset_window_ms;
};
extern const struct guard_limits GUARD_LIMITS;
extern const struct guard_limits
    GUARD_PROXY_LIMITS; /* bodies of PROXY_MAX_BODY, answers without end */

struct guard {
    const struct guard_limits *limits;
    struct counter **ended; /* by guard_reason; borrowed */
    h2o_socket_t *socket;
    h2o_linklist_t requests;   /* in flight, oldest first */
    int64_t completed_ms;      /* monotonic: when a request last was completely received */
    size_t bytes;              /* received since then */
    size_t unjudged;           /* received since all open requests were last looked at */
    atomic_size_t *unfinished; /* what all connections of the listener hold; borrowed */
    size_t held;               /* our part of that */
    unsigned resets;
    int64_t resets_since_ms;
    bool shut;
};

/* Makes the counters postern_connections_ended_total{listener,reason}. */
void guard_counters(struct metrics *metrics, const char *listener,
                    struct counter *out[GUARD_REASONS]);
void guard_init(struct guard *self, h2o_socket_t *socket, const struct guard_limits *limits,
                struct counter **ended, atomic_size_t *unfinished);
/* Gives back what it counted. */
void guard_dispose(struct guard *self);
/* Begins counting what this TLS connection receives. */
void guard_watch_input(struct guard *self, const SSL *ssl);
/* Counts, logs and shuts the connection down; once. */
void guard_end(struct guard *self, enum guard_reason reason);
/* To be called every few seconds. */
void guard_check(struct guard *self, int64_t now_mono_ms);

/* Puts a handler in front of every path that the host has by now: it notes each request. find gives the
 * guard of a request's connection, or NULL. */
void guard_register(h2o_hostconf_t *host, struct guard *(*find)(h2o_req_t *req));
