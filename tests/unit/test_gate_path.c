/* SPDX-License-Identifier: Apache-2.0
 *
 * What is our own corner of an app's host: every spelling in which some server behind us could read it as one. (peers 36) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/text.h"
#include "gate_private.h"

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        bool ours;
    } rows[] = {
        {"/.postern/enter", true},
        {"/.postern", true},
        {"/.postern/", true},
        {"/.postern?x", true},
        {"/base/.postern/enter?ticket=a", true},
        {"/a/b/.postern/c", true},
        {"/.POSTERN/enter", true},
        {"/.Postern/enter", true},
        {"//.postern/enter", true},
        {"/%2epostern/enter", true},
        {"/%2Epostern/enter", true},
        {"/.%70ostern/enter", true},
        {"/%252epostern/enter", true},
        {"/%25252epostern/enter", true},
        {"/%2525252525252525252eelse/enter", true},
        {"/.postern%2fenter", true},
        {"/x%2f.postern%2fenter", true},
        {"/.postern%252fenter", true},
        {"/.postern\\enter", true},
        {"/x%5c.postern%5center", true},
        {"/.postern;a=b/enter", true},
        {"/.postern%3ba=b/enter", true},
        {"/.postern%00/enter", true},
        {"/x/../.postern/enter", true},
        {"/./.postern/enter", true},
        {"/", false},
        {"", false},
        {"/postern/enter", false},
        {"/.posterns/enter", false},
        {"/x.postern/enter", false},
        {"/enter?next=/.postern/enter", false},
        {"/a%20b/100%/%zz", false},
        {"/%", false},
        {"/%2", false},
    };
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (gate_path_is_ours(&pool, iovec_of(rows[i].target)) != rows[i].ours)
            fail_msg("%s", rows[i].target);
    h2o_mem_clear_pool(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_paths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
