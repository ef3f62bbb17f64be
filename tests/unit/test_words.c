/* SPDX-License-Identifier: Apache-2.0
 *
 * portal/words: times and durations in words. postern.js must say the same; its words are looked at in the
 * browser tests. */
#include "words.h"

#include "support_pool.h"

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static void test_relative(void **state)
{
    static const struct {
        int64_t ms;
        const char *words;
    } rows[] = {
        {0, "now"},
        {999, "now"},
        {-999, "now"},
        {SECOND, "in 1 s"},
        {-12 * SECOND, "12 s ago"},
        {59 * SECOND + 999, "in 59 s"},
        {MINUTE, "in 1 min"},
        {-HOUR + SECOND, "59 min ago"},
        {HOUR, "in 1 h"},
        {HOUR + 5 * MINUTE + 59 * SECOND, "in 1 h 5 min"},
        {-(11 * HOUR + 59 * MINUTE), "11 h 59 min ago"},
        {DAY - 1, "in 23 h 59 min"},
        {DAY, "in 1 day"},
        {-2 * DAY - HOUR, "2 days ago"},
        {30000 * DAY, "in 30000 days"},
    };
    const int64_t now = 1790000000000;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(words_relative(*state, now + rows[i].ms, now), rows[i].words);
}

static void test_exact(void **state)
{
    assert_string_equal(words_exact(*state, 1795450680000), "2026-11-23 16:18:00 UTC");
    assert_string_equal(words_clock(*state, 1795450680000), "16:18:00 UTC");
    assert_string_equal(words_exact(*state, 0), "1970-01-01 00:00:00 UTC");
}

static void test_duration(void **state)
{
    static const struct {
        int64_t ms;
        const char *words;
    } rows[] = {
        {250, "250 milliseconds"},
        {SECOND, "1 second"},
        {15 * SECOND, "15 seconds"},
        {MINUTE, "1 minute"},
        {90 * SECOND, "90 seconds"},
        {15 * MINUTE, "15 minutes"},
        {HOUR, "1 hour"},
        {90 * MINUTE, "90 minutes"},
        {12 * HOUR, "12 hours"},
        {DAY, "1 day"},
        {30 * DAY, "30 days"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(words_duration(*state, rows[i].ms), rows[i].words);
}

static void test_bytes(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *words;
    } rows[] = {
        {0, "0 bytes"},       {1, "1 byte"},       {999, "999 bytes"},  {1000, "1.0 kB"},
        {999999, "999.9 kB"}, {1000000, "1.0 MB"}, {3450000, "3.4 MB"}, {UINT64_MAX, "18.4 EB"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(words_bytes(*state, rows[i].bytes), rows[i].words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(test_relative),
        POOLED(test_exact),
        POOLED(test_duration),
        POOLED(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
