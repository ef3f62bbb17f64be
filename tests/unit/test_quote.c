/* SPDX-License-Identifier: Apache-2.0
 *
 * peers 53: one word stays one word, in every shell, or is refused. What real shells make of it is in
 * integration/46_commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "quote.h"

static const struct {
    const char *word, *sh, *powershell; /* NULL: refused */
} rows[] = {
    {"set-cluster", "set-cluster", "set-cluster"},
    {"use", "use", "use"},
    {"", "''", NULL},
    {"--", "'--'", "'--'"},
    {"-x", "'-x'", "'-x'"},
    {"a b", "'a b'", "'a b'"},
    {"ada@example.test", "'ada@example.test'", "'ada@example.test'"},
    {"it's", "'it'\\''s'", "'it''s'"},
    {"''", "''\\'''\\'''", "''''''"},
    {"$(id)`id`$HOME!!", "'$(id)`id`$HOME!!'", "'$(id)`id`$HOME!!'"},
    {"; rm -rf / #", "'; rm -rf / #'", "'; rm -rf / #'"},
    {"a\\b", "'a\\b'", "'a\\b'"},
    {"a\\", "'a\\'", NULL},
    {"a\"b", "'a\"b'", NULL},
    {"%n%s%PATH%", "'%n%s%PATH%'", "'%n%s%PATH%'"},
    {"=ls ~ *?[a] {a,b}", "'=ls ~ *?[a] {a,b}'", "'=ls ~ *?[a] {a,b}'"},
    {"\xe2\x80\x98\xe2\x80\x99", "'\xe2\x80\x98\xe2\x80\x99'",
     "'\xe2\x80\x98\xe2\x80\x98\xe2\x80\x99\xe2\x80\x99'"},
    {"\xe2\x80\x9a\xe2\x80\x9b", "'\xe2\x80\x9a\xe2\x80\x9b'",
     "'\xe2\x80\x9a\xe2\x80\x9a\xe2\x80\x9b\xe2\x80\x9b'"},
    {"\xe2\x80\x9c", "'\xe2\x80\x9c'", "'\xe2\x80\x9c'"},
    {"\xc3\xbc\xf0\x9f\x94\x91", "'\xc3\xbc\xf0\x9f\x94\x91'", "'\xc3\xbc\xf0\x9f\x94\x91'"},
    {"a\nb", NULL, NULL},
    {"a\rb", NULL, NULL},
    {"\x1b[31m", NULL, NULL},
    {"\x7f", NULL, NULL},
    {"\xc2\x85", NULL, NULL},     /* NEL */
    {"\xe2\x80\xa8", NULL, NULL}, /* line separator */
    {"\xe2\x80\xae", NULL, NULL}, /* turns the direction of writing */
    {"\xe2\x81\xa6", NULL, NULL},
    {"\xff", NULL, NULL},
    {"\xe2\x80", NULL, NULL},
};

static void judge(h2o_mem_pool_t *pool, size_t row, const char *wanted,
                  bool (*quote)(struct text *, const char *, struct error *))
{
    struct text out;
    struct error err = {.kind = ERROR_NONE};
    text_init(&out, pool);
    text_add_string(&out, "x ");
    bool fine = quote(&out, rows[row].word, &err);
    if (wanted == NULL) {
        if (fine)
            fail_msg("row %zu was not refused: %s", row, out.bytes);
        assert_string_equal(out.bytes, "x ");
        assert_int_not_equal(err.kind, ERROR_NONE);
        return;
    }
    if (!fine)
        fail_msg("row %zu: %s", row, err.text);
    assert_string_equal(out.bytes + 2, wanted);
}

static void test_rows(void **state)
{
    h2o_mem_pool_t pool;
    (void)state;
    h2o_mem_init_pool(&pool);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        judge(&pool, i, rows[i].sh, quote_sh);
        judge(&pool, i, rows[i].powershell, quote_powershell);
    }
    h2o_mem_clear_pool(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
