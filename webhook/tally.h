/* SPDX-License-Identifier: Apache-2.0
 *
 * What is counted and logged of reviews: metrics, made once from the config and the enums, and one audit line
 * for each decision that is no plain yes. Foreign tokens are counted always and logged at most once a second
 * and cluster: every unknown bearer of a cluster arrives here. */
#pragma once

#include <stdatomic.h>

#include "base/metrics.h"
#include "webhook/decide.h"

struct tally_cluster {
    const char *name;                 /* of the config */
    struct counter *reviews[REASONS]; /* by reason, which names the decision */
    struct histogram *duration;
    atomic_llong foreign_logged_ms; /* monotonic; when a foreign token was last logged */
    atomic_ullong foreign_unlogged; /* since then */
};
void tally_cluster_init(struct tally_cluster *self, const char *name, struct metrics *metrics);

struct tally_review {
    const struct verdict *verdict;
    const char *request_id;
    int64_t now_mono_us, duration_us;
};
void tally_decision(struct tally_cluster *self, const struct tally_review *review);

struct tally_refusals {
    struct counter *refused[8]; /* in the order of the statuses in tally.c */
    atomic_llong overload_logged_ms;
};
void tally_refusals_init(struct tally_refusals *self, struct metrics *metrics);

struct tally_refusal {
    int status;
    const char *why;     /* what the caller is told */
    const char *cluster; /* NULL: unknown */
    const char *peer;    /* the first name of the client's certificate; NULL: none */
    const char *request_id;
    int64_t now_mono_us;
};
/* One line each; those of overload at most once a second. */
void tally_refused(struct tally_refusals *self, const struct tally_refusal *refusal);
