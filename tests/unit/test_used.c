/* SPDX-License-Identifier: Apache-2.0
 *
 * portal/used: an attempt counts once, whatever is thrown at the table, from however many threads. (peers
 * 16, 64) */
#include "cache/used.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/text.h"

static void test_once_and_for_ever(void **state)
{
    struct used_attempts *used = used_attempts_new(8);
    (void)state;
    assert_true(used_attempts_add(used, iovec_of("a"), 100));
    assert_true(used_attempts_add(used, iovec_of("b"), 100));
    assert_false(used_attempts_add(used, iovec_of("a"), 100));
    assert_false(used_attempts_add(used, iovec_of("a"), 200));
    assert_false(used_attempts_add(used, iovec_of("b"), 100));
    used_attempts_free(used);
}

/* Ten times what fits: no attempt that was ever used comes through again, overwritten or not. */
static void test_flood_forgets_nothing(void **state)
{
    enum { CAPACITY = 16, FLOOD = 10 * CAPACITY };
    struct used_attempts *used = used_attempts_new(CAPACITY);
    char name[16];
    (void)state;
    for (int i = 0; i < FLOOD; i++) {
        snprintf(name, sizeof(name), "%d", i);
        assert_true(used_attempts_add(used, iovec_of(name), 1000 + i));
    }
    for (int i = 0; i < FLOOD; i++) {
        snprintf(name, sizeof(name), "%d", i);
        assert_false(used_attempts_add(used, iovec_of(name), 1000 + i));
    }
    used_attempts_free(used);
}

/* What the flood costs: attempts as old as the overwritten ones are refused, younger ones are not. */
static void test_floor(void **state)
{
    struct used_attempts *used = used_attempts_new(2);
    (void)state;
    assert_true(used_attempts_add(used, iovec_of("a"), 500));
    assert_true(used_attempts_add(used, iovec_of("b"), 100));
    assert_true(used_attempts_add(used, iovec_of("c"), 600)); /* overwrites a */
    assert_false(used_attempts_add(used, iovec_of("d"), 500));
    assert_true(used_attempts_add(used, iovec_of("e"), 501)); /* overwrites b: the floor stays */
    assert_false(used_attempts_add(used, iovec_of("f"), 500));
    assert_true(used_attempts_add(used, iovec_of("g"), 601));
    used_attempts_free(used);
}

struct race {
    struct used_attempts *used;
    atomic_int winners;
};

static void *run(void *arg)
{
    struct race *race = arg;
    char name[16];
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "%d", i);
        if (used_attempts_add(race->used, iovec_of(name), 1))
            atomic_fetch_add(&race->winners, 1);
    }
    return NULL;
}

static void test_one_winner_among_threads(void **state)
{
    struct race race = {.used = used_attempts_new(1024)};
    pthread_t threads[4];
    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, &race), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&race.winners), 500);
    used_attempts_free(race.used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_and_for_ever),
        cmocka_unit_test(test_flood_forgets_nothing),
        cmocka_unit_test(test_floor),
        cmocka_unit_test(test_one_winner_among_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
