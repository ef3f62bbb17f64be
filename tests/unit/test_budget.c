/* SPDX-License-Identifier: Apache-2.0
 *
 * The budget of questions, with a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "budget.h"

static unsigned take_all(struct budget *budget, bool urgent, int64_t now_ms)
{
    unsigned count = 0;
    while (count < 10000 && budget_take(budget, urgent, now_ms))
        count++;
    return count;
}

/* Asks as often as it may, every 100 ms. */
static unsigned take_during(struct budget *budget, int64_t from_ms, int64_t to_ms)
{
    unsigned count = 0;
    for (int64_t now_ms = from_ms; now_ms < to_ms; now_ms += 100)
        count += take_all(budget, false, now_ms);
    return count;
}

static void learn(struct budget *budget, int status, int64_t remaining, int64_t left_s,
                  int64_t now_ms)
{
    const struct budget_note note = {status, 600, remaining, left_s};
    budget_learn(budget, &note, now_ms);
}

static void unlimited_until_limits_are_known(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget);
    assert_int_equal(take_all(&budget, false, 1000), 10000);
    budget_learn(&budget, &(struct budget_note){200, -1, -1, -1}, 1000);
    assert_int_equal(take_all(&budget, false, 1000), 10000);
    budget_dispose(&budget);
}

static void four_fifths_of_what_remains_spread_evenly(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget);
    learn(&budget, 200, 300, 30, 0); /* 8 a second */
    assert_in_range(take_during(&budget, 0, 10000), 75, 90);
    learn(&budget, 200, 10, 20, 10000); /* 0.4 a second */
    assert_in_range(take_during(&budget, 10000, 20000), 2, 13);
    assert_int_equal(take_during(&budget, 20000, 21000), 0);
    budget_dispose(&budget);
}

static void an_empty_window_ends_and_the_next_one_is_whole(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget);
    learn(&budget, 200, 0, 20, 0);
    assert_int_equal(take_during(&budget, 0, 19000), 0);
    assert_in_range(take_during(&budget, 21000, 31000), 70, 90); /* 600 * 0.8 / 60 */
    budget_dispose(&budget);
}

static void urgent_ones_borrow_a_second(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget);
    learn(&budget, 200, 300, 30, 0);
    take_all(&budget, false, 1000);
    assert_int_equal(take_all(&budget, false, 1000), 0);
    assert_in_range(take_all(&budget, true, 1000), 7, 9);
    assert_int_equal(take_all(&budget, true, 1000), 0);
    assert_int_equal(take_all(&budget, false, 1900), 0); /* what was borrowed is paid back */
    budget_dispose(&budget);
}

static void a_429_closes_until_the_window_ends(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget);
    learn(&budget, 429, 0, 20, 0);
    assert_true(budget_closed(&budget, 20000));
    assert_false(budget_take(&budget, true, 20000));
    assert_false(budget_closed(&budget, 21000));
    assert_true(budget_take(&budget, true, 21000));
    budget_learn(&budget, &(struct budget_note){429, -1, -1, -1}, 30000);
    assert_true(budget_take(&budget, true, 30000)); /* one user's limit, not the bucket's */
    learn(&budget, 429, 0, 100000, 40000);          /* nobody closes us for longer than a window */
    assert_true(budget_take(&budget, true, 100000));
    budget_dispose(&budget);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unlimited_until_limits_are_known),
        cmocka_unit_test(four_fifths_of_what_remains_spread_evenly),
        cmocka_unit_test(an_empty_window_ends_and_the_next_one_is_whole),
        cmocka_unit_test(urgent_ones_borrow_a_second),
        cmocka_unit_test(a_429_closes_until_the_window_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
