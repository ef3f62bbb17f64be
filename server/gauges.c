/* SPDX-License-Identifier: Apache-2.0
 *
 * What is looked up at each scrape. */
#include "base/clock.h"
#include "base/log.h"
#include "server.h"

static double read_logins(void *ctx)
{
    struct session_counts counts;
    sessions_count(((struct server *)ctx)->sessions, &counts);
    return (double)counts.logins;
}

static double read_grants(void *ctx)
{
    struct session_counts counts;
    sessions_count(((struct server *)ctx)->sessions, &counts);
    return (double)counts.grants;
}

/* The first of its three gauges takes the numbers, as "oldest" starts anew with each look. */
static double read_known(void *ctx)
{
    struct server *self = ctx;
    struct identity_numbers numbers;
    identities_numbers(self->identities, clock_mono_ms(), &numbers);
    self->identities_in_flight = numbers.in_flight;
    self->oldest_fact_ms = numbers.oldest_used_ms;
    return (double)numbers.known;
}

static double read_in_flight(void *ctx)
{
    return (double)((struct server *)ctx)->identities_in_flight;
}

static double read_oldest(void *ctx)
{
    return (double)((struct server *)ctx)->oldest_fact_ms / 1000.0;
}

static double read_apps(void *ctx)
{
    struct session_counts counts;
    sessions_count(((struct server *)ctx)->sessions, &counts);
    return (double)counts.apps;
}

static double read_log_lost(void *ctx)
{
    (void)ctx;
    return (double)log_lost();
}

void server_add_gauges(struct server *self)
{
    struct metrics *m = self->metrics;
    metrics_gauge(m, "postern_sessions", "Live sessions.", "kind=\"login\"", read_logins, self);
    metrics_gauge(m, "postern_sessions", "Live sessions.", "kind=\"grant\"", read_grants, self);
    metrics_gauge(m, "postern_sessions", "Live sessions.", "kind=\"app\"", read_apps, self);
    metrics_gauge(m, "postern_identities", "Users whose groups are known.", "", read_known, self);
    metrics_gauge(m, "postern_identities_in_flight", "Questions to Okta under way.", "",
                  read_in_flight, self);
    metrics_gauge(m, "postern_oldest_fact_seconds",
                  "Age of the oldest fact used for an answer since the last scrape.", "",
                  read_oldest, self);
    metrics_gauge(m, "postern_log_lines_lost", "Log lines lost because the queue was full.", "",
                  read_log_lost, self);
}
