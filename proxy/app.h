/* SPDX-License-Identifier: Apache-2.0
 *
 * An app behind the proxy, once the gate let somebody in: what it may be asked, what it is told of the person, and how
 * its answer comes back. */
#pragma once

#include <h2o.h>
#include <stdatomic.h>

#include "app_tokens.h"
#include "base/metrics.h"
#include "gate.h"
#include "streams.h"
#include "webhook/issue.h"

struct app;
struct app_parts { /* borrowed */
    const struct config *config;
    const struct config_app *app;
    struct gate *gate;
    const struct issue *issue;
    struct app_tokens *tokens;
    struct streams_hub *streams;
    struct metrics *metrics;
    const atomic_bool *stopping;
};
/* Never fails: an upstream whose files can't be read any more is logged, and answers 502. */
struct app *app_new(const struct app_parts *parts);
void app_free(struct app *self); /* accepts NULL */
/* Answers, now or later. */
void app_serve(struct app *self, h2o_req_t *req);
/* What only its files show. */
void app_check_config(const struct config *config, unsigned app, struct config_problems *problems);
