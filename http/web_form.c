/* SPDX-License-Identifier: Apache-2.0
 *
 * application/x-www-form-urlencoded (WHATWG URL section 5), read strictly: whoever sends a field twice, or
 * bytes that are no text, wants two readers to see two things. */
#include "http/web.h"

#include "web_private.h"

#define MAX_FIELDS 64

bool web_form_decode(h2o_mem_pool_t *pool, h2o_iovec_t encoded, h2o_iovec_t *out, struct error *err)
{
    char *bytes = h2o_mem_alloc_pool(pool, encoded.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < encoded.len; i++) {
        char c = encoded.base[i];
        if (c == '%') {
            int byte = percent_byte(h2o_iovec_init(encoded.base + i, encoded.len - i));
            if (byte < 0)
                return error_set(err, ERROR_BAD_INPUT, "form: malformed %% escape");
            c = (char)byte;
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        if (c == '\0')
            return error_set(err, ERROR_BAD_INPUT, "form: NUL in a field");
        bytes[len++] = c;
    }
    bytes[len] = '\0';
    if (!utf8_valid(bytes, len))
        return error_set(err, ERROR_BAD_INPUT, "form: a field is not UTF-8");
    *out = h2o_iovec_init(bytes, len);
    return true;
}

static bool parse_field(h2o_mem_pool_t *pool, h2o_iovec_t encoded, struct web_field *out,
                        struct error *err)
{
    h2o_iovec_t value = encoded, name = web_take(&value, '='); /* without '=': an empty value */
    if (name.len == 0)
        return error_set(err, ERROR_BAD_INPUT, "form: a field has no name");
    return web_form_decode(pool, name, &out->name, err) &&
           web_form_decode(pool, value, &out->value, err);
}

static bool has_field(const struct web_form *form, h2o_iovec_t name)
{
    for (size_t i = 0; i < form->count; i++)
        if (h2o_memis(form->fields[i].name.base, form->fields[i].name.len, name.base, name.len))
            return true;
    return false;
}

static bool add_field(h2o_mem_pool_t *pool, h2o_iovec_t encoded, struct web_form *form,
                      struct error *err)
{
    struct web_field field = {{NULL, 0}, {NULL, 0}};
    if (form->count == MAX_FIELDS)
        return error_set(err, ERROR_BAD_INPUT, "form: more than %d fields", MAX_FIELDS);
    if (!parse_field(pool, encoded, &field, err))
        return false;
    if (has_field(form, field.name))
        return error_set(err, ERROR_BAD_INPUT, "form: a field comes twice");
    form->fields[form->count++] = field;
    return true;
}

bool web_form_parse(h2o_mem_pool_t *pool, h2o_iovec_t encoded, struct web_form *out,
                    struct error *err)
{
    struct web_form form = {h2o_mem_alloc_pool(pool, MAX_FIELDS * sizeof(struct web_field)), 0};
    while (encoded.len != 0) {
        h2o_iovec_t field = web_take(&encoded, '&');
        if (field.len != 0 && !add_field(pool, field, &form, err))
            return false;
    }
    *out = form;
    return true;
}

h2o_iovec_t web_form_value(const struct web_form *form, const char *name)
{
    for (size_t i = 0; i < form->count; i++)
        if (iovec_equal(form->fields[i].name, name))
            return form->fields[i].value;
    return (h2o_iovec_t){NULL, 0};
}

/* ---- writing ---- */

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void web_url_encode(struct text *out, h2o_iovec_t value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (is_unreserved(value.base[i]))
            text_add(out, &value.base[i], 1);
        else
            text_add_format(out, "%%%02X", (unsigned char)value.base[i]);
    }
}

void web_form_add(struct text *out, const char *name, h2o_iovec_t value)
{
    if (out->len != 0)
        text_add_string(out, "&");
    web_url_encode(out, iovec_of(name));
    text_add_string(out, "=");
    web_url_encode(out, value);
}
