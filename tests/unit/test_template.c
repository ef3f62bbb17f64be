/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates: what each tag writes, what is escaped, and what is refused. */
#include "http/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define FILE_OF(name, text)                                                                        \
    {                                                                                              \
        (name), (text), sizeof(text) - 1                                                           \
    }

struct fixture {
    h2o_mem_pool_t pool;
    struct text out;
    struct error err;
};

/* Renders template with the model, which is given as JSON. */
static bool render(struct fixture *self, const char *template, const char *model)
{
    const struct embedded_file files[] = {
        {"page.html", template, strlen(template)},
        FILE_OF("name.html", "<b>{{name}}</b>"),
        FILE_OF("lines.html", "one\n{{#name}}\ntwo\n{{/name}}\n"),
        FILE_OF("tree.html", "({{label}}{{#children}}{{> tree.html}}{{/children}})"),
        FILE_OF("endless.html", "{{> endless.html}}"),
        FILE_OF("broken.html", "{{#a}}"),
        {NULL, NULL, 0},
    };
    struct json *root = NULL;
    self->err = (struct error){.kind = ERROR_NONE};
    text_init(&self->out, &self->pool);
    text_add_string(&self->out, "");
    assert_true(json_parse(&self->pool, iovec_of(model), NULL, &root, &self->err));
    return template_render(files, "page.html", root, &self->out, &self->err);
}

static void test_rendering(void **state)
{
    static const struct {
        const char *template, *model, *expected;
    } cases[] = {
        {"", "{}", ""},
        {"plain } } { text", "{}", "plain } } { text"},
        {"Hello {{name}}!", "{\"name\":\"Ada\"}", "Hello Ada!"},
        {"{{ name }}", "{\"name\":\"Ada\"}", "Ada"},
        {"[{{absent}}]", "{}", "[]"},
        {"[{{name}}]", "{\"name\":null}", "[]"},
        {"{{n}} {{t}} {{f}}", "{\"n\":-12.50,\"t\":true,\"f\":false}", "-12.50 true false"},
        {"[{{o}}{{a}}]", "{\"o\":{\"x\":1},\"a\":[1]}", "[]"},
        {"{{! nobody }}x{{!}}y", "{}", "xy"},
        /* peers 53: a claim that would be markup */
        {"<p title='{{v}}'>{{v}}</p>", "{\"v\":\"</pre><script>\\\"'&%n\"}",
         "<p title='&lt;/pre&gt;&lt;script&gt;&quot;&#39;&amp;%n'>"
         "&lt;/pre&gt;&lt;script&gt;&quot;&#39;&amp;%n</p>"},
        {"{{v}}", "{\"v\":\"{{name}} {{#x}}\",\"name\":\"no\"}", "{{name}} {{#x}}"},
        {"{{v}}", "{\"v\":\"h\\u00e9 \\ud83d\\ude00\"}", "h\xc3\xa9 \xf0\x9f\x98\x80"},
        /* sections */
        {"{{#v}}yes{{/v}}{{^v}}no{{/v}}", "{\"v\":true}", "yes"},
        {"{{#v}}yes{{/v}}{{^v}}no{{/v}}", "{\"v\":false}", "no"},
        {"{{#v}}yes{{/v}}{{^v}}no{{/v}}", "{\"v\":null}", "no"},
        {"{{#v}}yes{{/v}}{{^v}}no{{/v}}", "{}", "no"},
        {"{{#v}}yes{{/v}}{{^v}}no{{/v}}", "{\"v\":\"\"}", "no"},
        {"{{#v}}yes {{.}}{{/v}}{{^v}}no{{/v}}", "{\"v\":\"<a>\"}", "yes &lt;a&gt;"},
        {"{{#v}}yes{{/v}}{{^v}}no{{/v}}", "{\"v\":0}", "no"},
        {"{{#v}}yes {{v}}{{/v}}{{^v}}no{{/v}}", "{\"v\":3}", "yes 3"},
        {"{{#v}}yes{{/v}}{{^v}}no{{/v}}", "{\"v\":[]}", "no"},
        {"{{#v}}yes{{/v}}{{^v}}no{{/v}}", "{\"v\":{}}", "yes"},
        {"{{#v}}{{.}},{{/v}}", "{\"v\":[\"a\",\"<\",1,true]}", "a,&lt;,1,true,"},
        {"{{#v}}{{n}}{{^last}}, {{/last}}{{/v}}",
         "{\"v\":[{\"n\":\"a\"},{\"n\":\"b\",\"last\":true}]}", "a, b"},
        {"{{#o}}{{in}} {{out}} {{both}}{{/o}}",
         "{\"o\":{\"in\":1,\"both\":2},\"out\":3,\"both\":4}", "1 3 2"},
        {"{{#a}}{{#b}}{{.}}{{x}} {{/b}}{{/a}}", "{\"a\":[{\"b\":[1,2]},{\"b\":[3]}],\"x\":\"!\"}",
         "1! 2! 3! "},
        {"{{#a}}{{#a}}{{.}}{{/a}}{{/a}}", "{\"a\":[1,2]}", "1212"},
        {"{{^a}}{{#b}}in{{/b}}{{/a}}", "{\"b\":true}", "in"},
        {"{{#a}}{{#b}}in{{/b}}{{> name.html}}{{/a}}", "{\"b\":true}", ""},
        /* partials */
        {"{{> name.html}}", "{\"name\":\"<\"}", "<b>&lt;</b>"},
        {"{{#v}}{{>name.html}}{{/v}}", "{\"v\":[{\"name\":1},{\"name\":2}]}", "<b>1</b><b>2</b>"},
        {"{{> tree.html}}", "{\"label\":1,\"children\":[{\"label\":2,\"children\":[]}]}", "(1(2))"},
        /* tags alone on a line leave no line */
        {"a\n{{#v}}\n  b\n{{/v}}\nc\n", "{\"v\":true}", "a\n  b\nc\n"},
        {"a\n{{#v}}\n  b\n{{/v}}\nc\n", "{\"v\":false}", "a\nc\n"},
        {"  {{#v}}  \n- {{.}}\n\t{{/v}}\n", "{\"v\":[1,2]}", "- 1\n- 2\n"},
        {"{{#v}}\nx\n{{/v}}", "{\"v\":true}", "x\n"},
        {"a\n  {{! hidden }}\nb\n", "{}", "a\nb\n"},
        {"a\n{{> lines.html}}\nb\n", "{\"name\":1}", "a\none\ntwo\nb\n"},
        {"a {{#v}}\nx{{/v}}\n", "{\"v\":true}", "a \nx\n"},
        {"{{#v}}{{/v}}\nx", "{\"v\":true}", "\nx"},
        {" {{v}}\n", "{\"v\":1}", " 1\n"},
    };
    struct fixture fixture;
    (void)state;
    h2o_mem_init_pool(&fixture.pool);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (!render(&fixture, cases[i].template, cases[i].model))
            fail_msg("%s: %s", cases[i].template, fixture.err.text);
        assert_string_equal(fixture.out.bytes, cases[i].expected);
        assert_int_equal(fixture.out.len, strlen(cases[i].expected));
    }
    h2o_mem_clear_pool(&fixture.pool);
}

static void test_malformed(void **state)
{
    static const struct {
        const char *template, *words;
    } cases[] = {
        {"{{#a}}x", "page.html: unclosed section \"a\""},
        {"{{^a}}x", "unclosed section \"a\""},
        {"x{{/a}}", "closed that is not open: \"a\""},
        {"{{#a}}{{#b}}{{/a}}{{/b}}", "closed that is not open: \"a\""},
        {"{{#absent}}{{#b}}{{/absent}}", "closed that is not open: \"absent\""},
        {"x {{name", "unclosed tag"},
        {"{{#a}}{{/a}", "unclosed tag"},
        {"{{}}", "bad tag"},
        {"{{# }}{{/}}", "bad tag"},
        {"{{{name}}}", "bad tag"}, /* there is no unescaped output */
        {"{{& name}}", "bad tag"},
        {"{{a b}}", "bad tag"},
        {"{{a\"}}", "bad tag"},
        {"{{> absent.html}}", "unknown partial \"absent.html\""},
        {"{{#absent}}{{> absent.html}}{{/absent}}", "unknown partial"},
        {"{{> broken.html}}", "broken.html: unclosed section"},
        {"{{> endless.html}}", "too many"},
    };
    struct fixture fixture;
    (void)state;
    h2o_mem_init_pool(&fixture.pool);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (render(&fixture, cases[i].template, "{}"))
            fail_msg("%s was rendered", cases[i].template);
        assert_int_equal(fixture.err.kind, ERROR_INTERNAL);
        if (strstr(fixture.err.text, cases[i].words) == NULL)
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].template, fixture.err.text,
                     cases[i].words);
    }
    h2o_mem_clear_pool(&fixture.pool);
}

static void test_unknown_template(void **state)
{
    const struct embedded_file none[] = {{NULL, NULL, 0}};
    h2o_mem_pool_t pool;
    struct text out;
    struct error err = {.kind = ERROR_NONE};
    (void)state;
    h2o_mem_init_pool(&pool);
    text_init(&out, &pool);
    assert_false(template_render(none, "x.html", json_new_object(&pool), &out, &err));
    assert_string_equal(err.text, "template x.html: unknown");
    assert_null(embedded_find(none, "x.html"));
    h2o_mem_clear_pool(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rendering),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_unknown_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
