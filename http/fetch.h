/* SPDX-License-Identifier: Apache-2.0
 *
 * Outgoing HTTPS: one thread around curl_multi_poll. A request is handed over with fetch_start; its
 * result comes back as a call on the loop that asked. Only https URLs, no redirects, certificate and
 * name verified, answer and time bounded. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/loop.h"

struct fetcher;
struct fetch;

struct fetch_options {
    const char *ca_file; /* PEM; NULL: the system's roots */
    const char *ca_pem;  /* the roots as text, instead of ca_file; NULL: none */
    const char *proxy;   /* NULL: none */
    bool
        environment_proxy; /* HTTPS_PROXY and NO_PROXY count, instead of proxy; else nobody asks them */
};

MUST_CHECK bool fetcher_start(const struct fetch_options *options, struct fetcher **out,
                              struct error *err);
/* Aborts what is in flight or waits (those callbacks run with an error on their loops, which must still
 * run), ends the thread. What is started later ends with an error too: a callback may try again. */
void fetcher_stop(struct fetcher *self);
/* Stops where that was not done, then frees; after all loops that asked have ended. Accepts NULL. */
void fetcher_free(struct fetcher *self);

/* Lanes have queues and caps of their own, so that identities going stale never delay a sign-in. */
enum fetch_lane { FETCH_INTERACTIVE, FETCH_IDENTITY, FETCH_LANES };

struct fetch_request {
    enum fetch_lane lane;
    const char *method; /* "GET" or "POST" */
    const char *url;
    h2o_iovec_t content_type;  /* of the body; {NULL} for none */
    h2o_iovec_t body;          /* copied */
    h2o_iovec_t authorization; /* value of that header; {NULL} for none; copied and wiped */
    const char *ca_file;       /* NULL: the fetcher's */
    bool direct;               /* not through the fetcher's proxy: what is asked is near by */
    size_t max_body;           /* bytes; 0: 1 MiB */
    int timeout_ms; /* for the whole, waiting for a turn included; 0: 10 s. Connecting gets at most 5 s */
};

struct fetch_result {
    int status;               /* of HTTP */
    h2o_iovec_t body;         /* NUL-terminated; all of these live until the callback returns */
    h2o_iovec_t content_type; /* {NULL, 0} where the header was absent, as below */
    h2o_iovec_t date;
    h2o_iovec_t www_authenticate;
    h2o_iovec_t cache_control;
    h2o_iovec_t rate_limit, rate_remaining, rate_reset; /* X-Rate-Limit-{Limit,Remaining,Reset} */
};

/* result is NULL when there was no whole HTTP answer; then err says why (UPSTREAM; INTERNAL where it is our
 * limit or our request), with the host and never with the URL's path or query. Any status, 500 too, is a
 * result; err's kind is then ERROR_NONE. */
typedef void (*fetch_cb)(void *ctx, const struct fetch_result *result, const struct error *err);

/* Strings of the request are copied. The callback runs exactly once on loop, never before this returns,
 * and never after fetch_cancel. Must be called on loop's thread. */
struct fetch *fetch_start(struct fetcher *self, struct loop *loop,
                          const struct fetch_request *request, fetch_cb cb, void *ctx);
/* On the same loop, before the callback ran. */
void fetch_cancel(struct fetch *fetch);
