/* SPDX-License-Identifier: Apache-2.0
 *
 * What is counted and audited of requests to an API server: every one counts; a line is written for each that was refused
 * or could not be judged, for each upgrade, and for each write that goes on under our service account. */
#pragma once

#include <h2o.h>
#include <stdatomic.h>

#include "base/metrics.h"
#include "webhook/decide.h"

enum api_result {
    API_PASSED,
    API_UNAUTHORIZED, /* no bearer, or the decision is no */
    API_UNSURE,       /* can't be judged or asked now */
    API_FORBIDDEN,    /* may not be whom they want to be */
    API_MALFORMED,
    API_RESULTS
};

struct api_tally {
    const char *cluster;
    struct counter *requests[API_RESULTS];
    atomic_llong foreign_logged_ms; /* strangers' bearers are logged at most once a second */
    atomic_ullong foreign_unlogged;
};
void api_tally_init(struct api_tally *self, const char *cluster, struct metrics *metrics);

struct api_told {
    h2o_req_t *req;
    const struct verdict *verdict;
    h2o_iovec_t asked_user; /* whom they want to be; base NULL: nobody else */
    enum api_result result;
    int64_t duration_us;
    bool impersonates; /* the cluster is one of mode impersonate */
};
void api_tally_count(struct api_tally *self, const struct api_told *told);
