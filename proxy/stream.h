/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine: one request through to an upstream and its answer back, HTTP/1.1 on both sides. The request's body is
 * there in whole (h2o buffers it, the listener caps it); the answer streams, and the upstream is not read while
 * 64 KiB wait for the client. A client that leaves ends the exchange within a second. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "headers.h"
#include "streams.h"
#include "upstream.h"

enum proxy_failure {
    PROXY_UNREACHABLE, /* 502: no connection, or a wrong certificate */
    PROXY_BROKEN,      /* 502: closed without an answer, or an answer that can't be passed on */
    PROXY_TIMEOUT,     /* 504 */
    PROXY_CUT,         /* 401: judged away while it waited for an answer */
};
int proxy_failure_status(enum proxy_failure failure);
const char *proxy_failure_text(enum proxy_failure failure); /* a sentence for an error's body */

struct proxy_request {
    struct upstream *upstream;        /* stays until the end (an edition's) */
    struct streams *streams;          /* streams_here */
    const struct stream_owner *owner; /* copied; may be NULL: never judged away */
    h2o_iovec_t method;               /* usually req->input.method */
    h2o_iovec_t path;                 /* raw, with query; target_check has passed it */
    h2o_iovec_t host; /* the Host header: upstream_authority, or what the client asked */
    const struct header *headers; /* headers_forward's and those that are added */
    size_t header_count;
    bool
        upgrade; /* sends Connection: Upgrade with req->upgrade; a 101 becomes a tunnel. Only where req->upgrade is
                   * set (assert) */
    int64_t head_ms; /* until the answer's head is there, connecting included; 0: 60 s */
    int64_t idle_ms; /* between two pieces of the answer, or of a tunnel; 0: none, as for a watch */
    /* The answer's status and headers are in req->res: may add some. May be NULL. */
    void (*on_response_head)(void *ctx, h2o_req_t *req);
    /* Nothing was answered yet: answers. NULL: web_problem. */
    void (*on_failure)(void *ctx, h2o_req_t *req, enum proxy_failure failure);
    void *ctx; /* lives as long as the request (its pool) */
};

/* Answers, now or later; the handler then returns 0. request and what it points at are copied or written out but for
 * upstream and streams; everything else must live in req's pool. The body is req->entity. */
void proxy_forward(h2o_req_t *req, const struct proxy_request *request);
