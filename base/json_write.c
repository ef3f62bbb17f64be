/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing. yajl_gen forgets a refused string and goes on, so that a bad username would turn its neighbour
 * into a key (style rule 21): here the first failure sticks, nothing is written after it, and
 * json_writer_end tells. That the calls nest rightly is for the caller to get right, and asserted. */
#include "base/json.h"

#include <assert.h>
#include <yajl/yajl_gen.h>

#include "base/text.h"
#include "json_private.h"

#define DEPTH_LIMIT (YAJL_MAX_DEPTH - 1)

struct json_writer {
    yajl_gen gen;                        /* freed with the pool */
    const char *failure;                 /* the first one; nothing is written after it */
    enum json_type open[YAJL_MAX_DEPTH]; /* containers that have not ended */
    size_t depth;                        /* how many */
    bool has_key;                        /* a key waits for its value */
    bool has_value;                      /* the one value of the whole is there, or begun */
};

static void on_dispose(void *memory)
{
    struct json_writer *self = memory;
    yajl_gen_free(self->gen);
}

struct json_writer *json_writer_new(h2o_mem_pool_t *pool)
{
    yajl_alloc_funcs alloc = JSON_ALLOC_FUNCS;
    yajl_gen gen = yajl_gen_alloc(&alloc);
    assert(gen != NULL); /* it fails for want of memory only, which ends the process before */
    struct json_writer *self = h2o_mem_alloc_shared(pool, sizeof(*self), on_dispose);
    *self = (struct json_writer){.gen = gen};
    return self;
}

static void fail(struct json_writer *self, const char *why)
{
    if (self->failure == NULL)
        self->failure = why;
}

static void check(struct json_writer *self, yajl_gen_status status)
{
    if (status == yajl_gen_invalid_number)
        fail(self, "a number is not valid");
    else if (status != yajl_gen_status_ok)
        fail(self, "the generator failed");
}

/* A value comes: there must be a place for it. False after a failure. */
static bool begin_value(struct json_writer *self)
{
    if (self->failure != NULL)
        return false;
    if (self->depth == 0)
        assert(!self->has_value);
    else if (self->open[self->depth - 1] == JSON_OBJECT)
        assert(self->has_key);
    self->has_key = false;
    self->has_value = true;
    return true;
}

static bool begin_container(struct json_writer *self, enum json_type type)
{
    if (!begin_value(self))
        return false;
    if (self->depth == DEPTH_LIMIT) {
        fail(self, "nested too deep");
        return false;
    }
    self->open[self->depth++] = type;
    return true;
}

static bool end_container(struct json_writer *self, enum json_type type)
{
    if (self->failure != NULL)
        return false;
    assert(self->depth > 0 && self->open[self->depth - 1] == type && !self->has_key);
    self->depth--;
    return true;
}

void json_begin_object(struct json_writer *self)
{
    if (begin_container(self, JSON_OBJECT))
        check(self, yajl_gen_map_open(self->gen));
}

void json_end_object(struct json_writer *self)
{
    if (end_container(self, JSON_OBJECT))
        check(self, yajl_gen_map_close(self->gen));
}

void json_begin_array(struct json_writer *self)
{
    if (begin_container(self, JSON_ARRAY))
        check(self, yajl_gen_array_open(self->gen));
}

void json_end_array(struct json_writer *self)
{
    if (end_container(self, JSON_ARRAY))
        check(self, yajl_gen_array_close(self->gen));
}

static void write_string(struct json_writer *self, h2o_iovec_t value)
{
    if (!utf8_valid(value.base,
                    value.len)) { /* yajl's own check lets surrogates and more through */
        fail(self, "a string is not valid UTF-8");
        return;
    }
    const char *bytes = value.base != NULL ? value.base : "";
    check(self, yajl_gen_string(self->gen, (const unsigned char *)bytes, value.len));
}

static void write_key(struct json_writer *self, h2o_iovec_t key)
{
    if (self->failure != NULL)
        return;
    assert(self->depth > 0 && self->open[self->depth - 1] == JSON_OBJECT && !self->has_key);
    self->has_key = true;
    write_string(self, key);
}

void json_key(struct json_writer *self, const char *key)
{
    write_key(self, h2o_iovec_init(key, strlen(key)));
}

void json_put_iovec(struct json_writer *self, h2o_iovec_t value)
{
    if (begin_value(self))
        write_string(self, value);
}

void json_put_string(struct json_writer *self, const char *value)
{
    json_put_iovec(self, h2o_iovec_init(value, strlen(value)));
}

void json_put_int(struct json_writer *self, int64_t value)
{
    if (begin_value(self))
        check(self, yajl_gen_integer(self->gen, value));
}

void json_put_bool(struct json_writer *self, bool value)
{
    if (begin_value(self))
        check(self, yajl_gen_bool(self->gen, value));
}

void json_put_null(struct json_writer *self)
{
    if (begin_value(self))
        check(self, yajl_gen_null(self->gen));
}

void json_put_strings(struct json_writer *self, const char *const *values, size_t count)
{
    json_begin_array(self);
    for (size_t i = 0; i < count; i++)
        json_put_string(self, values[i]);
    json_end_array(self);
}

/* The children of an array or object. Recursion is bounded by DEPTH_LIMIT: beyond it there is a failure. */
static void put_children(struct json_writer *self, const struct json *parent)
{
    for (const struct json *child = parent->first; child != NULL && self->failure == NULL;
         child = child->next) {
        if (parent->type == JSON_OBJECT)
            write_key(self, child->key);
        json_put_tree(self, child);
    }
}

void json_put_tree(struct json_writer *self, const struct json *value)
{
    switch (value->type) {
    case JSON_NULL:
        json_put_null(self);
        break;
    case JSON_BOOL:
        json_put_bool(self, value->boolean);
        break;
    case JSON_NUMBER:
        if (begin_value(self))
            check(self, yajl_gen_number(self->gen, value->text.base, value->text.len));
        break;
    case JSON_STRING:
        json_put_iovec(self, value->text);
        break;
    case JSON_ARRAY:
        json_begin_array(self);
        put_children(self, value);
        json_end_array(self);
        break;
    case JSON_OBJECT:
        json_begin_object(self);
        put_children(self, value);
        json_end_object(self);
        break;
    }
}

bool json_writer_end(struct json_writer *self, h2o_iovec_t *out, struct error *err)
{
    if (self->failure != NULL)
        return error_set(err, ERROR_INTERNAL, "JSON: %s", self->failure);
    assert(self->depth == 0 && self->has_value);
    const unsigned char *bytes;
    size_t len;
    if (yajl_gen_get_buf(self->gen, &bytes, &len) != yajl_gen_status_ok)
        return error_set(err, ERROR_INTERNAL, "JSON: the generator failed");
    *out = h2o_iovec_init(bytes, len);
    return true;
}
