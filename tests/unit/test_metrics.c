/* SPDX-License-Identifier: Apache-2.0
 *
 * Metrics: counting from many threads, and the text that Prometheus reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/metrics.h"
#include "base/text.h"

struct fixture {
    h2o_mem_pool_t pool;
    struct metrics *metrics;
    struct text text;
};

static int set_up(void **state)
{
    struct fixture *f = h2o_mem_alloc(sizeof(*f));
    h2o_mem_init_pool(&f->pool);
    f->metrics = metrics_new();
    text_init(&f->text, &f->pool);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    metrics_free(f->metrics);
    h2o_mem_clear_pool(&f->pool);
    free(f);
    return 0;
}

static double read_double(void *ctx)
{
    return *(double *)ctx;
}

static void test_text_format(void **state)
{
    struct fixture *f = *state;
    double age = 12.25, sessions = 3;
    struct counter *yes =
        metrics_counter(f->metrics, "postern_reviews_total", "Reviews \\ by\nkind.",
                        "cluster=\"prod\",decision=\"yes\"");
    metrics_gauge(f->metrics, "postern_oldest_fact_seconds", "Age.", "", read_double, &age);
    metrics_gauge(f->metrics, "postern_sessions", "Sessions.", "kind=\"login\"", read_double,
                  &sessions);
    /* of the first family again: it stands with its sister */
    metrics_counter(f->metrics, "postern_reviews_total", "Reviews \\ by\nkind.",
                    "cluster=\"prod\",decision=\"no\"");
    counter_add(yes, 41);
    counter_add(yes, 1);
    metrics_write(f->metrics, &f->text);
    assert_string_equal(f->text.bytes,
                        "# HELP postern_reviews_total Reviews \\\\ by\\nkind.\n"
                        "# TYPE postern_reviews_total counter\n"
                        "postern_reviews_total{cluster=\"prod\",decision=\"yes\"} 42\n"
                        "postern_reviews_total{cluster=\"prod\",decision=\"no\"} 0\n"
                        "# HELP postern_oldest_fact_seconds Age.\n"
                        "# TYPE postern_oldest_fact_seconds gauge\n"
                        "postern_oldest_fact_seconds 12.25\n"
                        "# HELP postern_sessions Sessions.\n"
                        "# TYPE postern_sessions gauge\n"
                        "postern_sessions{kind=\"login\"} 3\n");
}

static void test_histogram(void **state)
{
    struct fixture *f = *state;
    struct histogram *h =
        metrics_histogram(f->metrics, "postern_review_duration_seconds", "Time.", "");
    static const int64_t observed_us[] = {-5,      0,       100,      101,     250,
                                          1000000, 1000001, 10000000, 10000001};
    for (size_t i = 0; i < sizeof(observed_us) / sizeof(observed_us[0]); i++)
        histogram_observe_us(h, observed_us[i]);
    metrics_write(f->metrics, &f->text);
    assert_string_equal(f->text.bytes, "# HELP postern_review_duration_seconds Time.\n"
                                       "# TYPE postern_review_duration_seconds histogram\n"
                                       "postern_review_duration_seconds_bucket{le=\"0.0001\"} 3\n"
                                       "postern_review_duration_seconds_bucket{le=\"0.00025\"} 5\n"
                                       "postern_review_duration_seconds_bucket{le=\"0.0005\"} 5\n"
                                       "postern_review_duration_seconds_bucket{le=\"0.001\"} 5\n"
                                       "postern_review_duration_seconds_bucket{le=\"0.0025\"} 5\n"
                                       "postern_review_duration_seconds_bucket{le=\"0.005\"} 5\n"
                                       "postern_review_duration_seconds_bucket{le=\"0.01\"} 5\n"
                                       "postern_review_duration_seconds_bucket{le=\"0.025\"} 5\n"
                                       "postern_review_duration_seconds_bucket{le=\"0.05\"} 5\n"
                                       "postern_review_duration_seconds_bucket{le=\"0.1\"} 5\n"
                                       "postern_review_duration_seconds_bucket{le=\"0.25\"} 5\n"
                                       "postern_review_duration_seconds_bucket{le=\"0.5\"} 5\n"
                                       "postern_review_duration_seconds_bucket{le=\"1\"} 6\n"
                                       "postern_review_duration_seconds_bucket{le=\"2.5\"} 7\n"
                                       "postern_review_duration_seconds_bucket{le=\"5\"} 7\n"
                                       "postern_review_duration_seconds_bucket{le=\"10\"} 8\n"
                                       "postern_review_duration_seconds_bucket{le=\"+Inf\"} 9\n"
                                       "postern_review_duration_seconds_sum 22.000453\n"
                                       "postern_review_duration_seconds_count 9\n");
}

static void test_histogram_with_labels(void **state)
{
    struct fixture *f = *state;
    histogram_observe_us(metrics_histogram(f->metrics, "h", "H.", "a=\"b\""), 7);
    metrics_write(f->metrics, &f->text);
    assert_non_null(strstr(f->text.bytes, "h_bucket{a=\"b\",le=\"0.0001\"} 1\n"));
    assert_non_null(strstr(f->text.bytes, "h_sum{a=\"b\"} 0.000007\nh_count{a=\"b\"} 1\n"));
}

static void test_same_series_is_one(void **state)
{
    struct fixture *f = *state;
    struct counter *a = metrics_counter(f->metrics, "x_total", "X.", "l=\"1\"");
    assert_ptr_equal(metrics_counter(f->metrics, "x_total", "X.", "l=\"1\""), a);
    assert_ptr_not_equal(metrics_counter(f->metrics, "x_total", "X.", "l=\"2\""), a);
    struct histogram *h = metrics_histogram(f->metrics, "y", "Y.", "");
    assert_ptr_equal(metrics_histogram(f->metrics, "y", "Y.", ""), h);
}

static void test_labels_are_escaped(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(metrics_label(&f->pool, "plain"), "plain");
    assert_string_equal(metrics_label(&f->pool, ""), "");
    assert_string_equal(metrics_label(&f->pool, "a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
}

static void test_nobody_to_count(void **state)
{
    (void)state;
    counter_add(NULL, 1);
    histogram_observe_us(NULL, 1);
    metrics_free(NULL);
}

struct counting {
    struct counter *counter;
    struct histogram *histogram;
};

static void *count_often(void *arg)
{
    const struct counting *counting = arg;
    for (int i = 0; i < 20000; i++) {
        counter_add(counting->counter, 1);
        histogram_observe_us(counting->histogram, i);
    }
    return NULL;
}

static void test_threads_lose_no_count(void **state)
{
    struct fixture *f = *state;
    struct counting counting = {.counter = metrics_counter(f->metrics, "c_total", "C.", ""),
                                .histogram = metrics_histogram(f->metrics, "h", "H.", "")};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_often, &counting), 0);
    metrics_write(f->metrics, &f->text); /* a scrape meanwhile */
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(counter_value(counting.counter), 80000);
    f->text.len = 0;
    metrics_write(f->metrics, &f->text);
    assert_non_null(strstr(f->text.bytes, "h_count 80000\n"));
}

#define WITH_REGISTRY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_REGISTRY(test_text_format),           WITH_REGISTRY(test_histogram),
        WITH_REGISTRY(test_histogram_with_labels), WITH_REGISTRY(test_same_series_is_one),
        WITH_REGISTRY(test_labels_are_escaped),    cmocka_unit_test(test_nobody_to_count),
        WITH_REGISTRY(test_threads_lose_no_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
