/* SPDX-License-Identifier: Apache-2.0
 *
 * A cluster's API server behind the proxy: who asks is judged as at a TokenReview (webhook/decide), then the request goes
 * on with the person's own token (pass), or with our service account's and the person's names (impersonate). */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/metrics.h"
#include "http/fetch.h"
#include "streams.h"
#include "waits.h"
#include "webhook/decide.h"

struct api;
struct api_parts { /* borrowed */
    const struct decider *decider;
    const struct config_cluster *cluster;
    struct fetcher *fetcher;
    struct streams_hub *streams;
    struct waits *waits;
    struct metrics *metrics;
    const atomic_bool *stopping;
};
/* Never fails: an API server whose files can't be read any more is logged, and answers 503. */
struct api *api_new(const struct api_parts *parts);
void api_free(struct api *self);
/* Answers, now or later. */
void api_serve(struct api *self, h2o_req_t *req);
/* Takes up a service account's token that was changed. */
void api_reload_files(struct api *self);
/* What only its files show. */
void api_check_config(const struct config *config, unsigned cluster,
                      struct config_problems *problems);
