/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON: what strangers may send and what not, the typed getters, and a writer that never lets a half
 * refused text out. */
#include "support_pool.h"

#include "base/json.h"
#include "base/text.h"

static struct json *parse(h2o_mem_pool_t *pool, const char *text)
{
    struct json *out;
    struct error err = {0};
    if (!json_parse(pool, iovec_of(text), NULL, &out, &err))
        fail_msg("%s: %s", text, err.text);
    return out;
}

static const char *write_tree(h2o_mem_pool_t *pool, const struct json *tree)
{
    struct json_writer *writer = json_writer_new(pool);
    json_put_tree(writer, tree);
    h2o_iovec_t out;
    assert_true(json_writer_end(writer, &out, NULL));
    assert_int_equal(strlen(out.base), out.len);
    return out.base;
}

/* ---- parsing ---- */

static const struct {
    const char *text;
    const char *rewritten; /* NULL: as it is */
} good[] = {
    {"null", NULL},
    {"true", NULL},
    {"\"\"", NULL},
    {"-0", NULL},
    {"123456789012345678901234567890", NULL},
    {"1.5e-300", NULL},
    {"[]", NULL},
    {"{}", NULL},
    {"{\"\":1}", NULL},
    {"[1,[2,{\"a\":[]}],null]", NULL},
    {"{\"a\":1,\"A\":2}", NULL}, /* peers 4: keys differ by case, none is lost */
    {" { \"a\" : [ 1 , 2 ] } \r\n\t", "{\"a\":[1,2]}"},
    {"\"\\u0041\\n\\/\"", "\"A\\n/\""},
    {"\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\""},
    {"\"\\uD83D\\uDE00\\ud7ff\\ue000\"", "\"\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80\""},
    {"\"\\\\u0000\"", NULL}, /* an escaped backslash, then letters */
    {"\"\\\\\\\"\"", NULL},
    {"\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac\"", NULL},
};

static void test_good_input(void **state)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        const char *expected = good[i].rewritten != NULL ? good[i].rewritten : good[i].text;
        assert_string_equal(write_tree(*state, parse(*state, good[i].text)), expected);
    }
}

static const struct {
    const char *text;
    size_t len; /* 0: strlen */
    const char *why;
} bad[] = {
    {"", 0, "JSON: empty"},
    {" ", 0, "JSON: malformed at byte 1"},
    {"{", 0, "JSON: malformed at byte 1"},
    {"[1", 0, "JSON: malformed at byte 2"},
    {"\"abc", 0, "JSON: malformed at byte 4"},
    {"{\"a\"", 0, "JSON: malformed at byte 4"},
    {"{\"a\":1,}", 0, NULL},
    {"[1,]", 0, NULL},
    {"[1]]", 0, NULL},
    {"{}{}", 0, NULL}, /* peers 21: two documents in one body */
    {"{} {}", 0, NULL},
    {"1 2", 0, NULL},
    {"{} x", 0, NULL},
    {"{}\0", 3, NULL},
    {"[1]\0garbage", 11, NULL},
    {"\"a\0b\"", 5, NULL},
    {"\"a\nb\"", 0, NULL},
    {"\xef\xbb\xbf{}", 0, NULL}, /* BOM */
    {"/* x */{}", 0, NULL},
    {"{'a':1}", 0, NULL},
    {"{a:1}", 0, NULL},
    {"{1:1}", 0, NULL},
    {"01", 0, NULL},
    {"+1", 0, NULL},
    {".5", 0, NULL},
    {"1.", 0, NULL},
    {"0x10", 0, NULL},
    {"NaN", 0, NULL},
    {"-Infinity", 0, NULL},
    {"truth", 0, NULL},
    {"tru", 0, NULL},
    {"\"\\x41\"", 0, NULL},
    {"{\"a\":1,\"a\":2}", 0, "JSON: an object has the same key twice"},
    {"{\"a\":1,\"\\u0061\":2}", 0, "JSON: an object has the same key twice"}, /* peers 4 */
    {"[{\"x\":{\"\":1,\"b\":0,\"\":2}}]", 0, "JSON: an object has the same key twice"},
    {"\"\xc0\xaf\"", 0, "JSON: not valid UTF-8"},
    {"\"\xed\xa0\x80\"", 0, "JSON: not valid UTF-8"},
    {"\"\xf4\x90\x80\x80\"", 0, "JSON: not valid UTF-8"},
    {"\"\xff\"", 0, "JSON: not valid UTF-8"},
    {"\"\xc3", 0, "JSON: not valid UTF-8"},
    {"{\"\xc3\x28\":1}", 0, "JSON: not valid UTF-8"},
    {"\"\\u0000\"", 0, "JSON: a \\u escape that is no character"},
    {"{\"a\\u0000\":1}", 0, "JSON: a \\u escape that is no character"},
    {"\"\\ud800\"", 0, "JSON: a \\u escape that is no character"},
    {"\"\\ud800\\u0041\"", 0, "JSON: a \\u escape that is no character"},
    {"\"\\ud800\\ud800\"", 0, "JSON: a \\u escape that is no character"},
    {"\"\\ud83dx\\ude00\"", 0, "JSON: a \\u escape that is no character"},
    {"\"\\ude00\\ud83d\"", 0, "JSON: a \\u escape that is no character"},
    {"\"\\udc00\\udc00\"", 0, "JSON: a \\u escape that is no character"},
    {"\"\\udc00\"", 0, "JSON: a \\u escape that is no character"},
    {"\"\\ud83d\\", 0, "JSON: a \\u escape that is no character"},
    {"\"\\ud83d\\ude0", 0, "JSON: a \\u escape that is no character"},
    {"\"\\u00\"", 0, "JSON: a \\u escape that is no character"},
    {"\"\\u00g0\"", 0, "JSON: a \\u escape that is no character"},
    {"\"\\u", 0, "JSON: a \\u escape that is no character"},
    {"\"\\", 0, "JSON: a \\u escape that is no character"},
};

static void test_bad_input(void **state)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        size_t len = bad[i].len != 0 ? bad[i].len : strlen(bad[i].text);
        char *copy = malloc(len + 1); /* of just that size, for the sanitizer */
        memcpy(copy, bad[i].text, len);
        copy = realloc(copy, len != 0 ? len : 1);
        struct json *out = NULL;
        struct error err = {0};
        if (json_parse(*state, h2o_iovec_init(copy, len), NULL, &out, &err))
            fail_msg("case %zu was taken: %s", i, bad[i].text);
        free(copy);
        assert_null(out);
        assert_int_equal(err.kind, ERROR_BAD_INPUT);
        if (bad[i].why != NULL)
            assert_string_equal(err.text, bad[i].why);
    }
}

/* Every beginning of a good text is refused, without a read beyond it (peers 55). */
static void test_every_truncation_is_refused(void **state)
{
    static const char whole[] = "{\"k\\u00e4\":[1,-2.5e3,\"\\ud83d\\ude00\",true,null,{\"x\":{}}]}";
    for (size_t len = 1; len < sizeof(whole) - 1; len++) {
        char *copy = malloc(len);
        memcpy(copy, whole, len);
        struct json *out;
        assert_false(json_parse(*state, h2o_iovec_init(copy, len), NULL, &out, NULL));
        free(copy);
    }
    parse(*state, whole);
}

static void test_errors_never_quote_the_input(void **state)
{
    static const char *const texts[] = {"{\"token\":\"eyJsecret\",}",
                                        "{\"eyJsecret\":1,\"eyJsecret\":2}", "\"eyJsecret\\ud800\"",
                                        "eyJsecret"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct json *out;
        struct error err = {0};
        assert_false(json_parse(*state, iovec_of(texts[i]), NULL, &out, &err));
        assert_null(strstr(err.text, "eyJ"));
    }
}

/* ---- limits (peers 21) ---- */

static bool parses(h2o_mem_pool_t *pool, const char *text, const struct json_limits *limits,
                   struct error *err)
{
    struct json *out;
    return json_parse(pool, iovec_of(text), limits, &out, err);
}

static void test_limit_of_bytes(void **state)
{
    const struct json_limits limits = {.max_bytes = 4, .max_depth = 4, .max_nodes = 4};
    struct error err = {0};
    assert_true(parses(*state, "1234", &limits, NULL));
    assert_false(parses(*state, "12345", &limits, &err));
    assert_string_equal(err.text, "JSON: more than 4 bytes");
}

static void test_limit_of_depth(void **state)
{
    const struct json_limits limits = {.max_bytes = 100, .max_depth = 3, .max_nodes = 100};
    struct error err = {0};
    assert_true(parses(*state, "[{\"a\":[1]},[[]]]", &limits, NULL));
    assert_false(parses(*state, "[{\"a\":[[]]}]", &limits, &err));
    assert_string_equal(err.text, "JSON: nested too deep");
    assert_false(parses(*state, "[[[{}]]]", &limits, NULL));
}

static void test_default_depth_stands_against_a_megabyte_of_brackets(void **state)
{
    size_t len = 1024 * 1024;
    char *text = malloc(len);
    memset(text, '[', len);
    struct json *out;
    struct error err = {0};
    assert_false(json_parse(*state, h2o_iovec_init(text, len), NULL, &out, &err));
    assert_string_equal(err.text, "JSON: nested too deep");
    free(text);
}

static void test_limit_of_nodes(void **state)
{
    const struct json_limits limits = {.max_bytes = 100, .max_depth = 3, .max_nodes = 4};
    struct error err = {0};
    assert_true(parses(*state, "[1,2,3]", &limits, NULL));
    assert_false(parses(*state, "[1,2,3,4]", &limits, &err));
    assert_string_equal(err.text, "JSON: too many values");
    assert_false(parses(*state, "[1,2,3,{}]", &limits, NULL));
    assert_false(parses(*state, "{\"a\":1,\"b\":2,\"c\":3,\"d\":4}", &limits, NULL));
}

/* Above the size where keys are sorted, and with the duplicate at either end. */
static void test_duplicates_among_many_keys(void **state)
{
    struct text text;
    text_init(&text, *state);
    text_add_string(&text, "{\"first\":0");
    for (int i = 0; i < 5000; i++)
        text_add_format(&text, ",\"key%d\":%d", i, i);
    size_t without_end = text.len;
    text_add_string(&text, "}");
    struct json *object = parse(*state, text.bytes);
    assert_int_equal(object->count, 5001);
    assert_string_equal(json_member(object, "key4999")->text.base, "4999");

    text.len = without_end;
    text_add_string(&text, ",\"first\":1}");
    struct error err = {0};
    assert_false(parses(*state, text.bytes, NULL, &err));
    assert_string_equal(err.text, "JSON: an object has the same key twice");
}

/* ---- reading ---- */

static void test_getters(void **state)
{
    const struct json *o =
        parse(*state, "{\"s\":\"text\",\"e\":\"\",\"n\":42,\"b\":true,\"z\":null,"
                      "\"a\":[1],\"o\":{\"in\":\"side\"}}");
    h2o_iovec_t s = {NULL, 0};
    int64_t n = -1;
    bool b = false;
    assert_true(json_string(o, "s", &s, NULL));
    assert_string_equal(s.base, "text");
    assert_true(json_string(o, "e", &s, NULL)); /* peers 55: an empty string is a string */
    assert_int_equal(s.len, 0);
    assert_string_equal(s.base, "");
    assert_true(json_int(o, "n", &n, NULL));
    assert_int_equal(n, 42);
    assert_true(json_optional_bool(o, "b", &b, NULL));
    assert_true(b);
    assert_true(json_string(json_member(o, "o"), "in", &s, NULL));
    assert_string_equal(s.base, "side");
    assert_int_equal(json_member(o, "a")->count, 1);
    assert_null(json_member(o, "a")->first->key.base);
    assert_null(json_member(o, "S"));
    assert_null(json_member(json_member(o, "a"), "s"));
    assert_null(json_member(NULL, "s"));
}

static void test_getters_name_the_key(void **state)
{
    const struct json *o = parse(*state, "{\"s\":\"text\",\"n\":42,\"z\":null}");
    h2o_iovec_t s = h2o_iovec_init("kept", 4);
    int64_t n = 7;
    bool b = true;
    struct error err = {0};
    assert_false(json_string(o, "n", &s, &err));
    assert_int_equal(err.kind, ERROR_BAD_INPUT);
    assert_string_equal(err.text, "n must be a string");
    assert_false(json_string(o, "gone", &s, &err));
    assert_string_equal(err.text, "gone is missing");
    assert_false(json_string(o, "z", &s, &err));
    assert_false(json_int(o, "s", &n, &err));
    assert_string_equal(err.text, "s must be an integer");
    assert_false(json_int(o, "gone", &n, &err));
    assert_false(json_optional_string(o, "n", &s, &err));
    assert_false(json_optional_int(o, "s", &n, &err));
    assert_false(json_optional_bool(o, "n", &b, &err));
    assert_string_equal(err.text, "n must be true or false");
    assert_true(json_optional_string(o, "z", &s, NULL));
    assert_true(json_optional_int(o, "gone", &n, NULL));
    assert_true(json_optional_bool(o, "z", &b, NULL));
    assert_string_equal(s.base, "kept");
    assert_int_equal(n, 7);
    assert_true(b);
}

/* peers 6: no overflow, no fraction, no string taken for a number. */
static void test_integers_are_strict(void **state)
{
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"4102444800", true, 4102444800},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999999", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"1E300", false, 0},
        {"\"5\"", false, 0},
        {"true", false, 0},
        {"[5]", false, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct json *o = parse(*state, text_format(*state, "{\"exp\":%s}", cases[i].text));
        int64_t value = 0;
        bool read = json_int(o, "exp", &value, NULL);
        if (read != cases[i].good || value != cases[i].value)
            fail_msg("%s", cases[i].text);
    }
}

/* ---- building ---- */

static void test_built_trees(void **state)
{
    h2o_mem_pool_t *pool = *state;
    struct json *page = json_new_object(pool);
    char name[] = "Ada";
    json_add_string(pool, page, "name", name);
    name[0] = 'X'; /* copied */
    assert_null(json_add_string(pool, page, "none", NULL));
    json_add_int(pool, page, "min", INT64_MIN);
    json_add_bool(pool, page, "yes", true);
    struct json *groups = json_add_array(pool, page, "groups");
    json_push_string(pool, groups, "k8s-admins");
    json_add_string(pool, json_push_object(pool, groups), "x", "");
    json_add_bool(pool, json_add_object(pool, page, "in"), "no", false);
    assert_string_equal(write_tree(pool, page),
                        "{\"name\":\"Ada\",\"min\":-9223372036854775808,\"yes\":true,"
                        "\"groups\":[\"k8s-admins\",{\"x\":\"\"}],\"in\":{\"no\":false}}");
    assert_int_equal(page->count, 5);
    assert_ptr_equal(page->last, json_member(page, "in"));
}

/* ---- writing ---- */

static void test_writer(void **state)
{
    struct json_writer *w = json_writer_new(*state);
    json_begin_object(w);
    json_key(w, "s");
    json_put_string(w, "a\"b\\c\n\x01/\xc3\xa4");
    json_key(w, "e");
    json_put_iovec(w, h2o_iovec_init(NULL, 0));
    json_key(w, "l");
    json_begin_array(w);
    json_put_int(w, INT64_MIN);
    json_put_bool(w, true);
    json_put_null(w);
    json_begin_object(w);
    json_end_object(w);
    json_end_array(w);
    json_key(w, "some");
    json_put_strings(w, (const char *const[]){"a", "b\""}, 2);
    json_key(w, "none");
    json_put_strings(w, NULL, 0);
    json_end_object(w);
    h2o_iovec_t out;
    assert_true(json_writer_end(w, &out, NULL));
    assert_string_equal(
        out.base,
        "{\"s\":\"a\\\"b\\\\c\\n\\u0001/\xc3\xa4\",\"e\":\"\","
        "\"l\":[-9223372036854775808,true,null,{}],\"some\":[\"a\",\"b\\\"\"],\"none\":[]}");
    assert_int_equal(out.len, strlen(out.base));
}

static void test_writer_takes_one_plain_value(void **state)
{
    struct json_writer *w = json_writer_new(*state);
    json_put_int(w, 7);
    h2o_iovec_t out;
    assert_true(json_writer_end(w, &out, NULL));
    assert_string_equal(out.base, "7");
}

/* Style rule 21's trap: yajl goes on after a bad string and gives {"username":"groups",…}. */
static void test_writer_failure_sticks(void **state)
{
    static const char *const names[] = {"\xff", "a\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct json_writer *w = json_writer_new(*state);
        json_begin_object(w);
        json_key(w, "username");
        json_put_string(w, names[i]);
        json_key(w, "groups");
        json_begin_array(w);
        json_put_string(w, "admins");
        json_end_array(w);
        json_end_object(w);
        h2o_iovec_t out = {NULL, 0};
        struct error err = {0};
        assert_false(json_writer_end(w, &out, &err));
        assert_int_equal(err.kind, ERROR_INTERNAL);
        assert_string_equal(err.text, "JSON: a string is not valid UTF-8");
        assert_null(out.base);
    }
}

static void test_writer_refuses_a_bad_key_of_a_tree(void **state)
{
    struct json *object = json_new_object(*state);
    json_add_int(*state, object, "\xff", 1);
    struct json_writer *w = json_writer_new(*state);
    json_put_tree(w, object);
    h2o_iovec_t out;
    assert_false(json_writer_end(w, &out, NULL));
}

static void test_writer_depth_fails_at_the_end(void **state)
{
    struct json_writer *w = json_writer_new(*state);
    for (int i = 0; i < 1000; i++)
        json_begin_array(w);
    for (int i = 0; i < 1000; i++)
        json_end_array(w);
    h2o_iovec_t out;
    struct error err = {0};
    assert_false(json_writer_end(w, &out, &err));
    assert_string_equal(err.text, "JSON: nested too deep");
}

/* What the parser's deepest limit lets in, the writer must be able to give back. */
static void test_deepest_input_can_be_written(void **state)
{
    enum { DEPTH = 127 };
    char text[2 * DEPTH + 1];
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    text[2 * DEPTH] = '\0';
    const struct json_limits limits = {.max_bytes = 1000, .max_depth = 128, .max_nodes = 1000};
    struct json *out;
    assert_true(json_parse(*state, iovec_of(text), &limits, &out, NULL));
    assert_string_equal(write_tree(*state, out), text);
}

/* Each alone in its pool, so that none hides another's leak. */
int main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(test_good_input),
        POOLED(test_bad_input),
        POOLED(test_every_truncation_is_refused),
        POOLED(test_errors_never_quote_the_input),
        POOLED(test_limit_of_bytes),
        POOLED(test_limit_of_depth),
        POOLED(test_default_depth_stands_against_a_megabyte_of_brackets),
        POOLED(test_limit_of_nodes),
        POOLED(test_duplicates_among_many_keys),
        POOLED(test_getters),
        POOLED(test_getters_name_the_key),
        POOLED(test_integers_are_strict),
        POOLED(test_built_trees),
        POOLED(test_writer),
        POOLED(test_writer_takes_one_plain_value),
        POOLED(test_writer_failure_sticks),
        POOLED(test_writer_refuses_a_bad_key_of_a_tree),
        POOLED(test_writer_depth_fails_at_the_end),
        POOLED(test_deepest_input_can_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
