/* SPDX-License-Identifier: Apache-2.0
 *
 * /metrics, /healthz and /readyz. */
#pragma once

#include <h2o.h>
#include <stdatomic.h>

#include "base/metrics.h"
#include "okta/okta.h"

struct operations { /* borrowed parts, shared by all threads */
    struct metrics *metrics;
    struct okta *okta; /* NULL without an oidc block */
    const char *store; /* its kind, for the body */
    atomic_bool ready; /* keys, store and listeners are up, and no drain has begun */
};

/* /healthz and /readyz, and /metrics where with_metrics. */
void operations_register(struct operations *self, h2o_hostconf_t *host, bool with_metrics);
