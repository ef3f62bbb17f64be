/* SPDX-License-Identifier: Apache-2.0
 *
 * Which Accept headers allow a JSON answer (peers 22). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "accept.h"

static const struct {
    const char *first, *second; /* headers; NULL: none */
    bool admits;
} table[] = {
    {NULL, NULL, true},
    {"application/json", NULL, true},
    {"application/json, */*", NULL, true}, /* what an API server sends */
    {"*/*", NULL, true},
    {"application/*", NULL, true},
    {"Application/JSON", NULL, true},
    {"text/html,application/json", NULL, true},
    {"application/json;q=0.1", NULL, true},
    {"application/json;charset=utf-8;q=1", NULL, true},
    {"\tapplication/json\t;\tq=0.001", NULL, true},
    {"text/html", "application/json", true},
    {"text/html", NULL, false},
    {"application/yaml", NULL, false},
    {"application/jsonx", NULL, false},
    {"xapplication/json", NULL, false},
    {"application/json/x", NULL, false},
    {"application", NULL, false},
    {"", NULL, false},
    {",,;,", NULL, false},
    {"application/json;q=0", NULL, false},
    {"application/json; q=0.000", NULL, false},
    {"application/json;Q=0.", NULL, false},
    {"application/json;charset=x;q=0.0", NULL, false},
    {"application/json;q=0, */*;q=0", NULL, false},
    {"text/html", "text/plain", false},
};

static void add(h2o_mem_pool_t *pool, h2o_headers_t *headers, const char *value)
{
    if (value != NULL)
        h2o_add_header(pool, headers, H2O_TOKEN_ACCEPT, NULL, value, strlen(value));
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        h2o_mem_pool_t pool;
        h2o_headers_t headers = {NULL, 0, 0};
        h2o_mem_init_pool(&pool);
        add(&pool, &headers, table[i].first);
        add(&pool, &headers, table[i].second);
        if (accept_admits_json(&headers) != table[i].admits)
            fail_msg("%s and %s", table[i].first, table[i].second);
        h2o_mem_clear_pool(&pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
