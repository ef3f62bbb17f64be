/* SPDX-License-Identifier: Apache-2.0
 *
 * An origin that requests go on to: where it is, how its certificate is checked, its idle connections (a pool on
 * each worker, so that no connection crosses threads), and its numbers. */
#pragma once

#include <h2o.h>
#include <h2o/http1client.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/metrics.h"

struct upstream;

struct upstream_options {
    const char
        *name; /* for metrics: an app's or a cluster's name; one upstream of each name at a time */
    const char *url;                        /* http[s]://host[:port], nothing behind it */
    const char *certificate_authority_file; /* NULL: the system's roots */
    struct metrics *metrics;
};

/* TLS 1.2 or newer; the certificate must be for the URL's host: a name, or an IP address. BAD_INPUT: the URL or the
 * CA file. Reads files: at the start and at a reload. */
MUST_CHECK bool upstream_new(const struct upstream_options *options, struct upstream **out,
                             struct error *err);
/* Once no worker runs any more; accepts NULL. */
void upstream_free(struct upstream *self);
const char *upstream_name(const struct upstream *self);
const char *upstream_authority(const struct upstream *self); /* host[:port]: a Host header */

/* How an exchange with it ended, for postern_proxy_upstream_requests_total{upstream,result}. */
enum upstream_result {
    UPSTREAM_OK,          /* an answer, whatever its status */
    UPSTREAM_UNREACHABLE, /* no connection, or its certificate is not right */
    UPSTREAM_TIMEOUT,     /* no head in time */
    UPSTREAM_BROKEN,      /* closed early, or a head that can't be read */
    UPSTREAM_RESULTS
};

/* ---- for the engine ---- */
/* Begins a connection: one of the calling worker's idle ones, if there is one, or with fresh a new one that is
 * never kept. cb may run inside this call, with an idle connection or a failure; *client is set before that. */
struct upstream_dial {
    h2o_http1client_t **client;
    void *data;
    h2o_http1client_ctx_t *ctx; /* lives as long as the client; its ssl_ctx is set here */
    h2o_http1client_connect_cb cb;
    bool fresh;
};
void upstream_connect(struct upstream *self, const struct upstream_dial *dial);
void upstream_count(struct upstream *self, enum upstream_result result);
void upstream_observe_us(struct upstream *self, int64_t us); /* until the head was there */
