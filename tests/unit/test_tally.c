/* SPDX-License-Identifier: Apache-2.0
 *
 * What is counted and logged of reviews: every series from the start, one audit line for each decision that is
 * no plain yes, and a flood of foreign tokens that stays quiet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "tally.h"

struct bench {
    h2o_mem_pool_t pool;
    FILE *log;
    struct metrics *metrics;
    struct tally_cluster cluster;
    struct tally_refusals refusals;
    struct identity identity;
    struct verdict verdict;
};

static void open_bench(struct bench *self, enum log_level level)
{
    memset(self, 0, sizeof(*self));
    h2o_mem_init_pool(&self->pool);
    self->log = tmpfile();
    self->metrics = metrics_new();
    log_start(fileno(self->log), level);
    tally_cluster_init(&self->cluster, "prod", self->metrics);
    tally_refusals_init(&self->refusals, self->metrics);
    self->identity = (struct identity){.uid = "00u1", .username = "ada"};
}

static void close_bench(struct bench *self)
{
    metrics_free(self->metrics);
    fclose(self->log);
    h2o_mem_clear_pool(&self->pool);
}

/* Everything logged so far; ends the logging. */
static const char *logged(struct bench *self)
{
    log_stop();
    char *bytes = h2o_mem_alloc_pool(&self->pool, 65536);
    rewind(self->log);
    bytes[fread(bytes, 1, 65535, self->log)] = '\0';
    return bytes;
}

static unsigned lines(const char *text, const char *with)
{
    unsigned count = 0;
    for (; (text = strstr(text, with)) != NULL; text += strlen(with))
        count++;
    return count;
}

static const char *scraped(struct bench *self)
{
    struct text out;
    text_init(&out, &self->pool);
    metrics_write(self->metrics, &out);
    return out.bytes;
}

static void decide_at(struct bench *self, enum reason reason, int64_t now_mono_ms)
{
    struct verdict verdict = {
        .reason = reason, .decision = reason_decision(reason), .identity = &self->identity};
    snprintf(verdict.session.id, sizeof(verdict.session.id), "%s",
             reason == REASON_FOREIGN_TOKEN ? "" : "sess-1");
    snprintf(verdict.session.uid, sizeof(verdict.session.uid), "00u1");
    if (reason == REASON_FOREIGN_TOKEN)
        verdict.identity = NULL;
    const struct tally_review review = {&verdict, "req-1", now_mono_ms * 1000, 42};
    tally_decision(&self->cluster, &review);
}

/* peers 28: the series are there before anything is counted, one for each reason. */
static void test_series(void **state)
{
    (void)state;
    struct bench self;
    open_bench(&self, LOG_INFO);
    const char *text = scraped(&self);
    assert_int_equal(lines(text, "postern_reviews_total{"), REASONS);
    assert_non_null(strstr(text, "postern_reviews_total{cluster=\"prod\",decision=\"unsure\","
                                 "reason=\"groups_unknown\"} 0\n"));
    assert_non_null(strstr(text, "postern_review_refused_total{status=\"413\"} 0\n"));
    assert_non_null(strstr(text, "postern_review_duration_seconds_count{cluster=\"prod\"} 0\n"));
    for (unsigned reason = 0; reason < REASONS; reason++)
        decide_at(&self, reason, 1000);
    text = scraped(&self);
    assert_int_equal(lines(text, "postern_reviews_total{"), REASONS);
    assert_non_null(strstr(text, "decision=\"yes\",reason=\"ok\"} 1\n"));
    assert_non_null(strstr(text, "postern_review_duration_seconds_count{cluster=\"prod\"} 15\n"));
    (void)logged(&self);
    close_bench(&self);
}

static void test_audit(void **state)
{
    (void)state;
    struct bench self;
    open_bench(&self, LOG_ERROR); /* audit lines come at every level */
    decide_at(&self, REASON_OK, 1000);
    decide_at(&self, REASON_NOT_ALLOWED, 1000);
    decide_at(&self, REASON_GROUPS_UNKNOWN, 1000);
    const char *text = logged(&self);
    assert_int_equal(lines(text, "\n"), 2);
    static const char *const wanted[] = {
        "\"event\":\"token_review\"", "\"cluster\":\"prod\"",     "\"decision\":\"no\"",
        "\"reason\":\"not_allowed\"", "\"session\":\"sess-1\"",   "\"uid\":\"00u1\"",
        "\"user\":\"ada\"",           "\"request_id\":\"req-1\"", "\"duration_us\":42",
        "\"decision\":\"unsure\"",
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if (strstr(text, wanted[i]) == NULL)
            fail_msg("%s is not in %s", wanted[i], text);
    }
    close_bench(&self);
}

static void test_yes_at_debug(void **state)
{
    (void)state;
    struct bench self;
    open_bench(&self, LOG_DEBUG);
    decide_at(&self, REASON_OK, 1000);
    const char *text = logged(&self);
    assert_int_equal(lines(text, "\n"), 1);
    assert_non_null(strstr(text, "\"level\":\"debug\""));
    assert_null(strstr(text, "audit"));
    close_bench(&self);
}

/* Every unknown bearer of a cluster lands here: counted always, one line a second. */
static void test_foreign_flood(void **state)
{
    (void)state;
    struct bench self;
    open_bench(&self, LOG_INFO);
    for (int64_t ms = 5000; ms < 7500; ms++)
        decide_at(&self, REASON_FOREIGN_TOKEN, ms);
    assert_non_null(strstr(scraped(&self), "reason=\"foreign_token\"} 2500\n"));
    const char *text = logged(&self);
    assert_int_equal(lines(text, "\n"), 3);
    assert_int_equal(lines(text, "\"suppressed\":0"), 1);
    assert_int_equal(lines(text, "\"suppressed\":999"), 2);
    assert_null(strstr(text, "\"session\""));
    close_bench(&self);
}

static void refuse_at(struct bench *self, int status, int64_t now_mono_ms)
{
    const struct tally_refusal refusal = {.status = status,
                                          .why = "why",
                                          .cluster = "prod",
                                          .peer = "kube-apiserver.other",
                                          .request_id = "req-1",
                                          .now_mono_us = now_mono_ms * 1000};
    tally_refused(&self->refusals, &refusal);
}

static void test_refusals(void **state)
{
    (void)state;
    struct bench self;
    open_bench(&self, LOG_INFO);
    refuse_at(&self, 403, 1000);
    refuse_at(&self, 403, 1000);
    for (int64_t ms = 1000; ms < 3500; ms++)
        refuse_at(&self, 503, ms);
    const char *metrics = scraped(&self);
    assert_non_null(strstr(metrics, "postern_review_refused_total{status=\"403\"} 2\n"));
    assert_non_null(strstr(metrics, "postern_review_refused_total{status=\"503\"} 2500\n"));
    const char *text = logged(&self);
    assert_int_equal(lines(text, "\"status\":403"), 2);
    assert_int_equal(lines(text, "\"status\":503"), 3);
    assert_non_null(strstr(text, "\"peer\":\"kube-apiserver.other\""));
    close_bench(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_series),       cmocka_unit_test(test_audit),
        cmocka_unit_test(test_yes_at_debug), cmocka_unit_test(test_foreign_flood),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
