/* SPDX-License-Identifier: Apache-2.0
 *
 * Forms and queries: what is decoded, what is refused, and that what we write we can read. */
#include "http/web.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/text.h"

#define BYTES(literal)                                                                             \
    {                                                                                              \
        (char *)(uintptr_t)(literal), sizeof(literal) - 1                                          \
    }

struct good {
    h2o_iovec_t encoded;
    const char *decoded; /* as name=value, joined by newlines */
};

static void test_good_forms(void **state)
{
    static const struct good cases[] = {
        {{NULL, 0}, ""},
        {BYTES(""), ""},
        {BYTES("a=1"), "a=1\n"},
        {BYTES("code=x%2By&state=%7e%7E"), "code=x+y\nstate=~~\n"},
        {BYTES("a=b=c&d"), "a=b=c\nd=\n"},
        {BYTES("a=&b="), "a=\nb=\n"},
        {BYTES("&&a=1&&b=2&"), "a=1\nb=2\n"},
        {BYTES("a+b=c+d"), "a b=c d\n"},
        {BYTES("n=%C3%A9%f0%9f%98%80\xc3\xa9"), "n=\xc3\xa9\xf0\x9f\x98\x80\xc3\xa9\n"},
        {BYTES("a=1&A=2"), "a=1\nA=2\n"},
        {BYTES("x=%0d%0a"), "x=\r\n\n"}, /* a text area may have lines */
        {BYTES("a=1;b=2"), "a=1;b=2\n"},
    };
    h2o_mem_pool_t pool;
    (void)state;
    h2o_mem_init_pool(&pool);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = {.kind = ERROR_NONE};
        struct web_form form;
        struct text all;
        text_init(&all, &pool);
        text_add_string(&all, "");
        if (!web_form_parse(&pool, cases[i].encoded, &form, &err))
            fail_msg("%s: %s", cases[i].encoded.base, err.text);
        for (size_t f = 0; f < form.count; f++) {
            assert_int_equal(form.fields[f].value.base[form.fields[f].value.len], '\0');
            text_add_format(&all, "%s=%s\n", form.fields[f].name.base, form.fields[f].value.base);
        }
        assert_string_equal(all.bytes, cases[i].decoded);
    }
    h2o_mem_clear_pool(&pool);
}

static void test_bad_forms(void **state)
{
    static const struct {
        h2o_iovec_t encoded;
        const char *words;
    } cases[] = {
        {BYTES("a=%"), "escape"},          {BYTES("a=%2"), "escape"},
        {BYTES("a=%2&b=1"), "escape"},     {BYTES("a=%zz"), "escape"},
        {BYTES("a=% 41"), "escape"},       {BYTES("%=1"), "escape"},
        {BYTES("a=%00"), "NUL"},           {BYTES("a=\0b"), "NUL"},
        {BYTES("a%00b=1"), "NUL"},         {BYTES("a=%ff"), "UTF-8"},
        {BYTES("a=%c0%af"), "UTF-8"},      {BYTES("a=%ed%a0%80"), "UTF-8"},
        {BYTES("\xff=1"), "UTF-8"},        {BYTES("=1"), "no name"},
        {BYTES("="), "no name"},           {BYTES("a=1&a=1"), "twice"},
        {BYTES("a=1&b=2&%61=3"), "twice"}, {BYTES("a&a"), "twice"},
    };
    h2o_mem_pool_t pool;
    (void)state;
    h2o_mem_init_pool(&pool);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = {.kind = ERROR_NONE};
        struct web_form form;
        if (web_form_parse(&pool, cases[i].encoded, &form, &err))
            fail_msg("%s was accepted", cases[i].encoded.base);
        assert_int_equal(err.kind, ERROR_BAD_INPUT);
        assert_non_null(strstr(err.text, cases[i].words));
    }
    h2o_mem_clear_pool(&pool);
}

static void test_at_most_64_fields(void **state)
{
    h2o_mem_pool_t pool;
    struct web_form form;
    struct text encoded;
    (void)state;
    h2o_mem_init_pool(&pool);
    text_init(&encoded, &pool);
    for (int i = 0; i < 64; i++)
        text_add_format(&encoded, "&f%d=%d", i, i);
    assert_true(web_form_parse(&pool, text_iovec(&encoded), &form, NULL));
    assert_int_equal(form.count, 64);
    assert_string_equal(web_form_value(&form, "f63").base, "63");
    text_add_string(&encoded, "&more=1");
    assert_false(web_form_parse(&pool, text_iovec(&encoded), &form, NULL));
    h2o_mem_clear_pool(&pool);
}

static void test_value_of_a_field(void **state)
{
    h2o_mem_pool_t pool;
    struct web_form form;
    (void)state;
    h2o_mem_init_pool(&pool);
    assert_true(web_form_parse(&pool, iovec_of("code=1&empty=&codes=2"), &form, NULL));
    assert_string_equal(web_form_value(&form, "code").base, "1");
    assert_string_equal(web_form_value(&form, "empty").base, "");
    assert_null(web_form_value(&form, "cod").base);
    assert_null(web_form_value(&form, "Code").base);
    h2o_mem_clear_pool(&pool);
}

static void test_writing(void **state)
{
    static const char every[] = "az AZ09-._~!*'();:@&=+$,/?#[]%\"<>\\^`{|}\r\n\x7f\xc3\xa9";
    h2o_mem_pool_t pool;
    struct web_form form;
    struct text out;
    (void)state;
    h2o_mem_init_pool(&pool);
    text_init(&out, &pool);
    web_form_add(&out, "scope", iovec_of("openid email"));
    web_form_add(&out, "a&b", iovec_of("1=2+3"));
    assert_string_equal(out.bytes, "scope=openid%20email&a%26b=1%3D2%2B3");
    web_form_add(&out, "every", iovec_of(every));
    assert_true(web_form_parse(&pool, text_iovec(&out), &form, NULL));
    assert_string_equal(web_form_value(&form, "every").base, every);
    for (const char *c = out.bytes; *c != '\0'; c++)
        assert_true(*c > 0x20 && *c < 0x7f);
    h2o_mem_clear_pool(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_forms),        cmocka_unit_test(test_bad_forms),
        cmocka_unit_test(test_at_most_64_fields), cmocka_unit_test(test_value_of_a_field),
        cmocka_unit_test(test_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
