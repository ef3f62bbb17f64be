/* SPDX-License-Identifier: Apache-2.0
 *
 * http/web_form: fields are text, each name once, and writing them again gives the same fields. */
#include "fuzz.h"

#include "http/web.h"

static void check_fields(const struct web_form *form)
{
    assert(form->count <= 64);
    for (size_t i = 0; i < form->count; i++) {
        const struct web_field *field = &form->fields[i];
        fuzz_check_text(field->name);
        fuzz_check_text(field->value);
        assert(field->name.len > 0);
        /* found by its name, so no other field has it */
        h2o_iovec_t found = web_form_value(form, field->name.base);
        assert(found.base == field->value.base && found.len == field->value.len);
    }
    assert(web_form_value(form, "").base == NULL);
}

static void check_written(h2o_mem_pool_t *pool, const struct web_form *form)
{
    struct text written;
    struct web_form again;
    text_init(&written, pool);
    for (size_t i = 0; i < form->count; i++)
        web_form_add(&written, form->fields[i].name.base, form->fields[i].value);
    for (size_t i = 0; i < written.len; i++)
        assert(written.bytes[i] > ' ' && written.bytes[i] < 0x7f);
    bool good = web_form_parse(pool, text_iovec(&written), &again, NULL);
    assert(good && again.count == form->count);
    for (size_t i = 0; i < form->count; i++) {
        assert(fuzz_same(again.fields[i].name, form->fields[i].name));
        assert(fuzz_same(again.fields[i].value, form->fields[i].value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    struct web_form form;
    struct error err = {0};
    h2o_mem_init_pool(&pool);
    if (web_form_parse(&pool, h2o_iovec_init(bytes, len), &form, &err)) {
        check_fields(&form);
        check_written(&pool, &form);
    } else {
        assert(err.kind == ERROR_BAD_INPUT);
        fuzz_check_error(&err);
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
