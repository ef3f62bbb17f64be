/* SPDX-License-Identifier: Apache-2.0
 *
 * Return-to candidates (peers 43): the corpus in tests/data/return_to.tsv, and what no text file holds. */
#include "http/web.h"

#include "base/text.h"
#include "tsv.h"

static unsigned good, bad;

static void judge(const struct tsv_row *row)
{
    char bytes[TSV_LINE];
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    const char *candidate = tsv_text(row->fields[0], bytes, sizeof(bytes));
    if (candidate == NULL)
        fail_msg("line %u: \"-\" is no candidate", row->line);
    const char *taken = web_return_to(&pool, iovec_of(candidate));
    if (strcmp(row->fields[1], "good") == 0) {
        good++;
        if (taken == NULL)
            fail_msg("line %u: %s was refused", row->line, row->fields[0]);
        assert_string_equal(taken, candidate);
        assert_ptr_not_equal(taken, candidate);
    } else {
        bad++;
        assert_string_equal(row->fields[1], "bad");
        if (taken != NULL)
            fail_msg("line %u: %s was taken", row->line, row->fields[0]);
    }
    h2o_mem_clear_pool(&pool);
}

static void test_corpus(void **state)
{
    (void)state;
    tsv_each("return_to.tsv", judge);
    assert_true(good >= 30 && bad >= 200);
}

static bool is_taken(const char *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    bool taken = web_return_to(&pool, h2o_iovec_init(bytes, len)) != NULL;
    h2o_mem_clear_pool(&pool);
    return taken;
}

static void test_nul(void **state)
{
    static const char inside[] = "/profile\0/x", first[] = "\0/profile",
                      behind[] = "/\0/evil.example";
    (void)state;
    assert_false(is_taken(inside, sizeof(inside) - 1));
    assert_false(is_taken(first, sizeof(first) - 1));
    assert_false(is_taken(behind, sizeof(behind) - 1));
    assert_false(is_taken("/profile", 9)); /* the NUL itself */
    assert_false(is_taken("/p?x=\0", 6));
    assert_false(is_taken(NULL, 0));
}

/* Only what the candidate's own bytes say counts, not what stands behind them. */
static void test_length_is_exact(void **state)
{
    (void)state;
    assert_true(is_taken("/profile\\evil", 8));
    assert_true(is_taken("/a%20", 5));
    assert_false(is_taken("/a%20", 4));
}

static void test_length_is_bounded(void **state)
{
    char path[1026];
    (void)state;
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    assert_true(is_taken(path, 1024));
    assert_false(is_taken(path, 1025));
    path[5] = '?';
    assert_true(is_taken(path, 1024));
    assert_false(is_taken(path, 1025));
}

/* Every single byte, raw and escaped, right behind the first slash: few are taken. */
static void test_every_byte(void **state)
{
    static const char raw_good[] = "-_~!$&'()*+,=?", escaped_bad[] = "/\\.%:@;?#";
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char raw[4] = {'/', (char)byte, 'x', '\0'}, escaped[8];
        bool letter = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                      (byte >= 'a' && byte <= 'z');
        bool printable = byte >= 0x20 && byte < 0x7f;
        snprintf(escaped, sizeof(escaped), "/%%%02x", byte);
        assert_int_equal(is_taken(raw, 3), letter || (byte != 0 && strchr(raw_good, byte) != NULL));
        assert_int_equal(is_taken(escaped, 4), printable && strchr(escaped_bad, byte) == NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),          cmocka_unit_test(test_nul),
        cmocka_unit_test(test_length_is_exact), cmocka_unit_test(test_length_is_bounded),
        cmocka_unit_test(test_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
