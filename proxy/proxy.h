/* SPDX-License-Identifier: Apache-2.0
 *
 * The reverse proxy on its listener: finds what stands behind a Host, and keeps open only what may stay open. */
#pragma once

#include <h2o.h>

#include "base/crypto.h"
#include "base/metrics.h"
#include "http/fetch.h"
#include "webhook/decide.h"

struct proxy;
struct streams_hub;
struct proxy_parts { /* decider is copied, the rest borrowed */
    struct decider decider;
    struct fetcher *fetcher;
    struct metrics *metrics;
    const struct token_keys *keys;
    const struct seal_keys *seal_keys;
};
struct proxy *proxy_new(const struct proxy_parts *parts);
/* For a reload: open streams are former's, too, and are judged by this one once it has taken over. */
struct proxy *proxy_renew(const struct proxy *former, const struct proxy_parts *parts);
/* Once no worker runs any more. Accepts NULL. */
void proxy_free(struct proxy *self);
/* Adds the handler to the listener's host; self answers in every context that is made of it. */
h2o_handler_t *proxy_register(struct proxy *self, h2o_hostconf_t *host);
/* From now on self answers in this context; on the context's thread. */
void proxy_take_over(struct proxy *self, h2o_handler_t *handler, h2o_context_t *ctx);
/* Takes up tokens of service accounts that were changed. From any thread. */
void proxy_reload_files(struct proxy *self);
/* How many requests may wait for Okta at once (default 4096); beyond, 503 at once. Before the first request. */
void proxy_limit_waiting(struct proxy *self, unsigned most);
/* What is open, for streams_snapshot; former's, too, and there until the first of them is freed. */
struct streams_hub *proxy_streams(const struct proxy *self);
/* From any thread: whatever is still open in a second or two is ended. */
void proxy_stop(struct proxy *self);
/* What is wrong with the files that the config names. */
void proxy_check_config(const struct config *config, struct config_problems *problems);
