/* SPDX-License-Identifier: Apache-2.0
 *
 * Listeners: one "kind" for each block of the config (webhook, portal, proxy, operations) with its own limits,
 * and on each worker one listener of each kind with its own SO_REUSEPORT socket and h2o context. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/config.h"
#include "base/error.h"
#include "base/loop.h"
#include "guard.h"
#include "http/web.h"

#define LISTENER_MAX_WORKERS 16

struct
    listener_kind { /* shared by all workers, read-only once they run, but for tls and unfinished */
    const char *name; /* "webhook", "portal", "proxy", "operations" */
    h2o_globalconf_t conf;
    h2o_hostconf_t *host;
    SSL_CTX *tls; /* NULL: plain; changed by the main thread before workers hear of it */
    const struct ip_networks *proxies; /* trusted at the start; NULL: never any (listener_trust) */
    bool proxy_protocol; /* they begin each connection with a PROXY line; nobody else may connect */
    int fds[LISTENER_MAX_WORKERS];
    size_t
        connection_cap; /* of each worker's listener: accepting pauses there and goes on when one closes */
    const struct guard_limits *limits; /* GUARD_LIMITS, unless set otherwise before the start */
    struct counter *ended[GUARD_REASONS];
    atomic_size_t unfinished; /* bytes that connections have sent of requests that are not whole */
};

struct listener { /* used on its worker's thread only */
    struct listener_kind *kind;
    struct loop *loop;
    h2o_context_t ctx;
    h2o_accept_ctx_t accept;
    const struct ip_networks *proxies; /* trusted now */
    h2o_socket_t *socket;              /* NULL once draining */
    h2o_linklist_t connections;        /* struct connection */
    size_t connection_count;
    bool paused;
    unsigned turned_away; /* not from a trusted proxy, since that was logged last */
    int64_t turned_away_logged_ms;
    struct loop_timer watch;
};

/* Sets up conf and host with the defaults that all kinds share. */
void listener_kind_init(struct listener_kind *kind, const char *name, size_t max_body);
/* Takes the reference over. While workers run: each of them must then do listener_renew_tls. */
void listener_kind_set_tls(struct listener_kind *kind, SSL_CTX *tls);
/* When every path is registered: guards its connections (guard.h). */
void listener_kind_guard(struct listener_kind *kind, struct metrics *metrics);
void listener_kind_dispose(struct listener_kind *kind);
/* Binds one socket per worker before any thread starts, so that "in use" is told at once. */
MUST_CHECK bool listener_kind_bind(struct listener_kind *kind, const struct config_address *address,
                                   unsigned workers, struct error *err);

/* On the worker's thread. */
void listener_start(struct listener *self, struct listener_kind *kind, unsigned worker,
                    struct loop *loop);
/* Takes up its kind's new TLS context: new connections get it, open ones go on with theirs, but who they are
 * is judged by the client CAs of the new one. */
void listener_renew_tls(struct listener *self);
/* From now on these proxies are trusted. With the PROXY protocol, connections of others are cut. */
void listener_trust(struct listener *self, const struct ip_networks *proxies);
void listener_dispose(struct listener *self); /* once its loop has ended */
/* Stops accepting and tells every connection to finish: GOAWAY on HTTP/2, close after the answer on
 * HTTP/1.1, idle ones at once. */
void listener_drain(struct listener *self);
