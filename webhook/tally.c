/* SPDX-License-Identifier: Apache-2.0
 *
 * See tally.h. All of it may run on every thread at once. */
#include "tally.h"

#include <assert.h>

#include "base/log.h"

#define LOG_EVERY_MS 1000

static const int statuses[] = {400, 403, 404, 405, 406, 413, 415, 503};
#define STATUS_COUNT (sizeof(statuses) / sizeof(statuses[0]))
static_assert(STATUS_COUNT == sizeof(((struct tally_refusals *)0)->refused) / sizeof(void *),
              "one counter for each status");

/* ---- decisions ---- */

void tally_cluster_init(struct tally_cluster *self, const char *name, struct metrics *metrics)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    const char *cluster = metrics_label(&pool, name);
    *self = (struct tally_cluster){.name = name, .foreign_logged_ms = -LOG_EVERY_MS};
    for (unsigned i = 0; i < REASONS; i++) {
        const char *labels =
            text_format(&pool, "cluster=\"%s\",decision=\"%s\",reason=\"%s\"", cluster,
                        decision_name(reason_decision(i)), reason_name(i));
        self->reviews[i] =
            metrics_counter(metrics, "postern_reviews_total",
                            "TokenReviews answered, by decision and reason.", labels);
    }
    self->duration = metrics_histogram(metrics, "postern_review_duration_seconds",
                                       "From a TokenReview's arrival to its answer.",
                                       text_format(&pool, "cluster=\"%s\"", cluster));
    h2o_mem_clear_pool(&pool);
}

/* True for one caller in a while. */
static bool take_turn(atomic_llong *last_ms, int64_t now_ms)
{
    long long last = atomic_load(last_ms);
    return now_ms - last >= LOG_EVERY_MS && atomic_compare_exchange_strong(last_ms, &last, now_ms);
}

static void audit(const struct tally_cluster *self, const struct tally_review *review)
{
    const struct verdict *verdict = review->verdict;
    const struct identity *identity = verdict->identity;
    const char *session = verdict->session.id[0] != '\0' ? verdict->session.id : NULL;
    const char *uid = session != NULL ? verdict->session.uid : NULL;
    const char *user = identity != NULL ? identity->username : NULL;
    log_audit("token_review", LOG_STR("cluster", self->name),
              LOG_STR("decision", decision_name(verdict->decision)),
              LOG_STR("reason", reason_name(verdict->reason)), LOG_STR("session", session),
              LOG_STR("uid", uid), LOG_STR("user", user), LOG_STR("request_id", review->request_id),
              LOG_INT("duration_us", review->duration_us));
}

/* suppressed: how many more there were since the line before. */
static void audit_foreign(const struct tally_cluster *self, const struct tally_review *review,
                          uint64_t suppressed)
{
    log_audit("token_review", LOG_STR("cluster", self->name), LOG_STR("decision", "no"),
              LOG_STR("reason", reason_name(REASON_FOREIGN_TOKEN)),
              LOG_STR("request_id", review->request_id),
              LOG_INT("duration_us", review->duration_us),
              LOG_INT("suppressed", (int64_t)suppressed));
}

void tally_decision(struct tally_cluster *self, const struct tally_review *review)
{
    const struct verdict *verdict = review->verdict;
    counter_add(self->reviews[verdict->reason], 1);
    histogram_observe_us(self->duration, review->duration_us);
    if (verdict->decision == DECISION_YES) {
        log_debug(
            "token review", LOG_STR("cluster", self->name), LOG_STR("session", verdict->session.id),
            LOG_STR("user", verdict->identity->username), LOG_STR("request_id", review->request_id),
            LOG_INT("duration_us", review->duration_us));
    } else if (verdict->reason != REASON_FOREIGN_TOKEN) {
        audit(self, review);
    } else if (take_turn(&self->foreign_logged_ms, review->now_mono_us / 1000)) {
        audit_foreign(self, review, atomic_exchange(&self->foreign_unlogged, 0));
    } else {
        atomic_fetch_add(&self->foreign_unlogged, 1);
    }
}

/* ---- refusals ---- */

void tally_refusals_init(struct tally_refusals *self, struct metrics *metrics)
{
    *self = (struct tally_refusals){.overload_logged_ms = -LOG_EVERY_MS};
    for (size_t i = 0; i < STATUS_COUNT; i++) {
        char labels[32];
        snprintf(labels, sizeof(labels), "status=\"%d\"", statuses[i]);
        self->refused[i] = metrics_counter(
            metrics, "postern_review_refused_total",
            "Requests to the webhook that were answered with an error status.", labels);
    }
}

static struct counter *counter_of(const struct tally_refusals *self, int status)
{
    size_t i = 0;
    while (statuses[i] != status) {
        i++;
        assert(i < STATUS_COUNT);
    }
    return self->refused[i];
}

void tally_refused(struct tally_refusals *self, const struct tally_refusal *refusal)
{
    counter_add(counter_of(self, refusal->status), 1);
    if (refusal->status == 503 &&
        !take_turn(&self->overload_logged_ms, refusal->now_mono_us / 1000))
        return;
    log_warn("a TokenReview was refused", LOG_INT("status", refusal->status),
             LOG_STR("reason", refusal->why), LOG_STR("cluster", refusal->cluster),
             LOG_STR("peer", refusal->peer), LOG_STR("request_id", refusal->request_id));
}
