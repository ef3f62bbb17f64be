/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes through the proxy right now: each worker lists its open exchanges (requests that wait, answers that
 * stream, tunnels). Twice a second each is judged: may its owner still have it, is its client still there, did it
 * exceed its time? What may not go on is cut. */
#pragma once

#include <h2o.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/metrics.h"

/* Who an exchange belongs to. All copied by the engine; NULL where there is none. */
struct stream_owner {
    const char *login_id; /* the sign-in */
    const char *grant_id; /* the kubeconfig session */
    const char *uid;      /* Okta's id of the person */
    const char *cluster;
    const char *app; /* NULL: the API server */
};

/* Called on each worker's thread for each open exchange, twice a second: must not block, and must not count as
 * use. */
typedef bool (*stream_judge)(void *ctx, const struct stream_owner *owner);

struct streams_hub; /* all workers' lists */
struct streams;     /* one worker's */

/* ctx is borrowed until the end. judge may be NULL: everything goes on. */
struct streams_hub *streams_hub_new(stream_judge judge, void *ctx, struct metrics *metrics);
/* Once no worker runs any more; accepts NULL. */
void streams_hub_free(struct streams_hub *self);
/* From now on metrics tell how many of the app's are open. May be called again, after a reload. */
void streams_count_app(struct streams_hub *self, const char *app, struct metrics *metrics);
/* The calling worker's list; made at its first call. */
struct streams *streams_here(struct streams_hub *self, struct loop *loop);

enum stream_kind { STREAM_REQUEST, STREAM_UPGRADE, STREAM_KINDS };
struct stream_info {           /* one open exchange, as a page shows it */
    struct stream_owner owner; /* copied into the pool */
    enum stream_kind kind;
    const char *what; /* static: "watch", "WebSocket", "tunnel" or "request" */
    const char *method;
    const char *path; /* without the query, cut at 200 bytes */
    int64_t since_wall_ms;
    uint64_t bytes_down, bytes_up; /* of bodies and tunnels: to the client, from the client */
};
struct stream_query {
    bool (*wanted)(void *ctx, const struct stream_owner *owner);
    void *ctx;
};
/* From any thread: those that query (NULL: all) wants, at most max, oldest first by worker, into out, whose strings are
 * in pool; returns how many there are, in out or not. */
size_t streams_snapshot(struct streams_hub *self, const struct stream_query *query,
                        h2o_mem_pool_t *pool, struct stream_info *out, size_t max);

/* ---- for the engine ---- */
struct
    stream_entry { /* malloc'ed; used on its worker's thread, but read by snapshots under the lock */
    h2o_linklist_t link;
    struct streams *streams;
    struct stream_owner owner; /* its own copies, behind the entry, as method and path */
    bool owned;                /* else it is never judged */
    enum stream_kind kind;
    const char *what; /* as in stream_info */
    char *method, *path;
    int64_t since_wall_ms;
    _Atomic uint64_t bytes_down, bytes_up;
    /* Whose end is watched: the client's connection. */
    h2o_socket_t *client;
    void *ctx; /* the exchange or the tunnel */
    /* Called by the tick with what it saw; may remove the entry, and no other. */
    void (*tick)(struct stream_entry *self, int64_t now_mono_ms, bool may_go_on, bool client_gone);
};
/* Makes an entry and lists it; tick and ctx are the caller's to set. owner may be NULL. */
struct stream_entry *streams_add(struct streams *self, h2o_req_t *req,
                                 const struct stream_owner *owner);
void streams_become(struct stream_entry *entry, enum stream_kind kind);
/* Unlists and frees it; accepts NULL. */
void stream_entry_free(struct stream_entry *entry);
/* A h2o timeout that never fires: deadlines are the tick's. */
h2o_timeout_t *streams_never(struct streams *self);
