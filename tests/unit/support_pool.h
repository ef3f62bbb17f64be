/* SPDX-License-Identifier: Apache-2.0
 *
 * A pool for each test, or for each group of tests: as `test_pool`, and as its *state. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <h2o.h>

static h2o_mem_pool_t test_pool;

static inline int pool_set_up(void **state)
{
    h2o_mem_init_pool(&test_pool);
    *state = &test_pool;
    return 0;
}

static inline int pool_tear_down(void **state)
{
    (void)state;
    h2o_mem_clear_pool(&test_pool);
    return 0;
}

#define POOLED(test) cmocka_unit_test_setup_teardown(test, pool_set_up, pool_tear_down)
