/* SPDX-License-Identifier: Apache-2.0
 *
 * Growing text, pool copies, UTF-8, and the clocks' text form. */
#include "support_pool.h"

#include "base/clock.h"
#include "base/text.h"
#include "base/user.h"

static void test_text_grows_and_stays_terminated(void **state)
{
    struct text text;
    text_init(&text, *state);
    assert_null(text_iovec(&text).base);
    char expected[6000];
    size_t len = 0;
    for (int i = 0; i < 1000; i++) {
        len += (size_t)snprintf(expected + len, sizeof(expected) - len, "%d,", i);
        text_add_format(&text, "%d", i);
        text_add_string(&text, ",");
        assert_int_equal(text.len, len);
        assert_int_equal(strlen(text.bytes), len);
    }
    assert_string_equal(text.bytes, expected);
    text_add(&text, "a\0b", 3); /* NULs are bytes like others */
    text_add(&text, NULL, 0);
    assert_int_equal(text_iovec(&text).len, len + 3);
    assert_memory_equal(text.bytes + len, "a\0b", 4);
}

static void test_text_adds_long_pieces(void **state)
{
    struct text text;
    text_init(&text, *state);
    char long_piece[5001];
    memset(long_piece, 'z', 5000);
    long_piece[5000] = '\0';
    text_add_string(&text, "a");
    text_add_format(&text, "%sb", long_piece);
    assert_int_equal(text.len, 5002);
    assert_int_equal(text.bytes[5001], 'b');
}

static void test_copies_are_terminated(void **state)
{
    h2o_mem_pool_t *pool = *state;
    assert_string_equal(text_dup(pool, "okta"), "okta");
    assert_string_equal(text_dup_iovec(pool, h2o_iovec_init("abc", 2)), "ab");
    assert_string_equal(text_dup_iovec(pool, h2o_iovec_init(NULL, 0)), "");
    assert_string_equal(text_format(pool, "%s-%d", "x", 7), "x-7");
}

static void test_iovec_equal_compares_whole(void **state)
{
    (void)state;
    assert_true(iovec_equal(h2o_iovec_init("POSTER", 4), "POST"));
    assert_false(iovec_equal(h2o_iovec_init("POSTER", 5), "POST"));
    assert_false(iovec_equal(h2o_iovec_init("POS", 3), "POST"));
    assert_true(iovec_equal(h2o_iovec_init(NULL, 0), ""));
}

static const struct {
    const char *bytes;
    size_t len;
    bool valid;
} utf8_cases[] = {
    {"", 0, true},
    {"plain", 5, true},
    {"\0", 1, true},                                   /* U+0000 is for others to judge */
    {"\xc2\x80 \xdf\xbf", 5, true},                    /* two bytes: first and last */
    {"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80", 9, true}, /* three, around the surrogates */
    {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8, true},     /* four: first and last */
    {"\x80", 1, false},                                /* continuation alone */
    {"\xc0\xaf", 2, false},                            /* overlong '/' */
    {"\xc1\xbf", 2, false},
    {"\xe0\x9f\xbf", 3, false},
    {"\xf0\x8f\xbf\xbf", 4, false},
    {"\xed\xa0\x80", 3, false}, /* surrogate */
    {"\xed\xbf\xbf", 3, false},
    {"\xf4\x90\x80\x80", 4, false}, /* beyond U+10FFFF */
    {"\xf5\x80\x80\x80", 4, false},
    {"\xff", 1, false},
    {"\xc2", 1, false}, /* cut short */
    {"\xe2\x82", 2, false},
    {"\xf0\x9f\x98", 3, false},
    {"\xe2\x28\xa1", 3, false},
    {"\xe2\x82\x28", 3, false},
    {"1234567\xc3\xa4 and more than eight bytes \xc3", 38, false},
    {"12345678\xc3\xa4 and more than eight bytes \xc3\xa4", 40, true},
};

static void test_utf8_valid(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(utf8_cases) / sizeof(utf8_cases[0]); i++) {
        /* a copy of just that size, so that the sanitizer sees a read beyond it */
        char *copy = malloc(utf8_cases[i].len + 1);
        memcpy(copy, utf8_cases[i].bytes, utf8_cases[i].len);
        copy = realloc(copy, utf8_cases[i].len != 0 ? utf8_cases[i].len : 1);
        if (utf8_valid(copy, utf8_cases[i].len) != utf8_cases[i].valid)
            fail_msg("case %zu", i);
        free(copy);
    }
}

/* What RFC 3629's table allows, counted: every code point but the surrogates, nothing else. */
static void test_utf8_char_knows_every_two_and_three_byte_form(void **state)
{
    (void)state;
    unsigned two = 0, three = 0;
    for (unsigned a = 0x80; a < 0x100; a++) {
        for (unsigned b = 0; b < 0x10000; b++) {
            const char bytes[] = {(char)a, (char)(b >> 8), (char)b};
            size_t len = utf8_char(bytes, 3);
            two += len == 2 && (b & 0xff) == 0;
            three += len == 3;
        }
    }
    assert_int_equal(two, 0x800 - 0x80);
    assert_int_equal(three, 0x10000 - 0x800 - 0x800);
}

static void test_utf8_cut_keeps_characters_whole(void **state)
{
    (void)state;
    assert_int_equal(utf8_cut("", 0), 0);
    assert_int_equal(utf8_cut("abc", 3), 3);
    assert_int_equal(utf8_cut("a\xe2\x82\xac", 4), 4);
    assert_int_equal(utf8_cut("a\xe2\x82\xac", 3), 1);
    assert_int_equal(utf8_cut("a\xe2\x82\xac", 2), 1);
    assert_int_equal(utf8_cut("\xf0\x9f\x98\x80", 3), 0);
    assert_int_equal(utf8_cut("\x80\x80", 2), 2); /* not UTF-8 at all: nothing to keep whole */
}

static void test_rfc3339(void **state)
{
    (void)state;
    char out[CLOCK_RFC3339_SIZE];
    assert_string_equal(clock_rfc3339(0, out), "1970-01-01T00:00:00Z");
    assert_string_equal(clock_rfc3339(1795450680999, out), "2026-11-23T16:18:00Z");
    assert_string_equal(clock_rfc3339(4102444800000, out), "2100-01-01T00:00:00Z"); /* peers 6 */
    assert_string_equal(clock_rfc3339(INT64_MAX, out), "292278994-08-17T07:12:55Z");
}

static void test_monotonic_clock_does_not_go_back(void **state)
{
    (void)state;
    int64_t before = clock_mono_us();
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_mono_us();
        assert_true(now >= before);
        before = now;
    }
    assert_true(clock_mono_ms() >= before / 1000);
}

static void test_user_attribute_names(void **state)
{
    (void)state;
    assert_string_equal(user_attribute_name(USER_SUB), "sub");
    assert_string_equal(user_attribute_name(USER_DISPLAY_NAME), "display_name");
}

static void test_provider_tokens_copy_is_deep(void **state)
{
    (void)state;
    struct provider_tokens a = {.access_expires_wall_ms = 5}, b = {0};
    secret_set(&a.access_token, "access", 6);
    secret_set(&a.id_token, "id", 2);
    secret_set(&b.refresh_token, "old", 3);
    provider_tokens_copy(&b, &a);
    provider_tokens_dispose(&a);
    assert_string_equal(b.access_token.bytes, "access");
    assert_string_equal(b.id_token.bytes, "id");
    assert_null(b.refresh_token.bytes);
    assert_int_equal(b.access_expires_wall_ms, 5);
    assert_null(a.access_token.bytes);
    provider_tokens_dispose(&b);
}

static void test_control_characters(void **state)
{
    static const struct {
        const char *text;
        bool has;
    } rows[] = {
        {"", false},         {"a b~", false}, {"tab\t", true},
        {"\x1f", true},      {"\x7f", true},  {"\xc3\xa4 \xc2\xa0", false}, /* U+00E4, U+00A0 */
        {"a\xc2\x80", true},                                                /* C1 begins */
        {"\xc2\x9f", true},                                                 /* and ends */
        {"\xc3\x80", false}, /* the same byte, of a letter */
        {"\xc2", false},     /* cut */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (text_has_control(iovec_of(rows[i].text)) != rows[i].has)
            fail_msg("row %zu", i);
    assert_false(text_has_control(h2o_iovec_init(NULL, 0)));
    assert_true(text_has_control(h2o_iovec_init("a\0b", 3)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control_characters),
        POOLED(test_text_grows_and_stays_terminated),
        POOLED(test_text_adds_long_pieces),
        POOLED(test_copies_are_terminated),
        cmocka_unit_test(test_iovec_equal_compares_whole),
        cmocka_unit_test(test_utf8_valid),
        cmocka_unit_test(test_utf8_char_knows_every_two_and_three_byte_form),
        cmocka_unit_test(test_utf8_cut_keeps_characters_whole),
        cmocka_unit_test(test_rfc3339),
        cmocka_unit_test(test_monotonic_clock_does_not_go_back),
        cmocka_unit_test(test_user_attribute_names),
        cmocka_unit_test(test_provider_tokens_copy_is_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
