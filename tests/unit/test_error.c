/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors: one line of whole characters, whatever goes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/error.h"
#include "base/text.h"

static void test_set_fills_and_returns_false(void **state)
{
    (void)state;
    struct error err = {0};
    assert_false(error_set(&err, ERROR_UPSTREAM, "jwks: HTTP %d", 503));
    assert_int_equal(err.kind, ERROR_UPSTREAM);
    assert_string_equal(err.text, "jwks: HTTP 503");
    assert_false(error_set(NULL, ERROR_INTERNAL, "nobody listens"));
    assert_false(error_prefix(NULL, "nobody"));
}

static void test_set_tells_errno(void **state)
{
    (void)state;
    struct error err = {0};
    errno = ENOENT;
    assert_false(error_set(&err, ERROR_UPSTREAM, "%s: %m", "/x"));
    assert_string_equal(err.text, "/x: No such file or directory");
}

/* peers 54: what comes from outside must not begin a new line. */
static void test_text_is_one_line(void **state)
{
    (void)state;
    struct error err = {0};
    assert_false(error_set(&err, ERROR_BAD_INPUT, "a%sb", "\r\n\t\x1b\x7f"));
    assert_string_equal(err.text, "a     b");
}

static void test_long_text_is_cut_between_characters(void **state)
{
    (void)state;
    char filler[sizeof(((struct error *)0)->text)];
    for (size_t before = sizeof(filler) - 6; before < sizeof(filler); before++) {
        memset(filler, 'x', before);
        filler[before] = '\0';
        struct error err = {0};
        assert_false(error_set(&err, ERROR_INTERNAL, "%s\xf0\x9f\x98\x80", filler));
        size_t len = strlen(err.text);
        assert_true(utf8_valid(err.text, len));
        assert_int_equal(len, before + 4 < sizeof(err.text) ? before + 4 : before);
    }
}

static void test_prefix_comes_before_and_cuts_the_end(void **state)
{
    (void)state;
    struct error err = {0};
    assert_false(error_set(&err, ERROR_REJECTED, "no"));
    assert_false(error_prefix(&err, "okta"));
    assert_int_equal(err.kind, ERROR_REJECTED);
    assert_string_equal(err.text, "okta: no");

    char filler[sizeof(err.text)];
    memset(filler, 'y', sizeof(filler));
    filler[sizeof(filler) - 1] = '\0';
    assert_false(error_set(&err, ERROR_REJECTED, "%s", filler));
    assert_false(error_prefix(&err, "okta"));
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_memory_equal(err.text, "okta: yyy", 9);
}

static void test_kinds_have_names(void **state)
{
    (void)state;
    assert_string_equal(error_kind_name(ERROR_NONE), "none");
    assert_string_equal(error_kind_name(ERROR_REJECTED), "rejected");
    assert_string_equal(error_kind_name(ERROR_BAD_INPUT), "bad_input");
    assert_string_equal(error_kind_name(ERROR_UPSTREAM), "upstream");
    assert_string_equal(error_kind_name(ERROR_INTERNAL), "internal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_fills_and_returns_false),
        cmocka_unit_test(test_set_tells_errno),
        cmocka_unit_test(test_text_is_one_line),
        cmocka_unit_test(test_long_text_is_cut_between_characters),
        cmocka_unit_test(test_prefix_comes_before_and_cuts_the_end),
        cmocka_unit_test(test_kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
