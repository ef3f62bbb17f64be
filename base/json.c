/* SPDX-License-Identifier: Apache-2.0
 *
 * The JSON tree: typed getters for what was parsed, and building by hand. */
#include "base/json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/text.h"
#include "json_private.h"

void *json_yajl_malloc(void *ctx, size_t size)
{
    (void)ctx;
    return h2o_mem_alloc(size);
}

void *json_yajl_realloc(void *ctx, void *block, size_t size)
{
    (void)ctx;
    return h2o_mem_realloc(block, size);
}

void json_yajl_free(void *ctx, void *block)
{
    (void)ctx;
    free(block);
}

void json_append(struct json *parent, struct json *child)
{
    if (parent->last != NULL)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
    parent->count++;
}

/* ---- reading ---- */

const struct json *json_member(const struct json *object, const char *key)
{
    if (object == NULL || object->type != JSON_OBJECT)
        return NULL;
    h2o_iovec_t wanted = iovec_of(key);
    for (const struct json *member = object->first; member != NULL; member = member->next) {
        if (member->key.len == wanted.len && memcmp(member->key.base, key, wanted.len) == 0)
            return member;
    }
    return NULL;
}

/* Keys are ours, so they may stand in a message. */
static bool complain(const struct json *member, const char *key, const char *wanted,
                     struct error *err)
{
    if (member == NULL)
        return error_set(err, ERROR_BAD_INPUT, "%s is missing", key);
    return error_set(err, ERROR_BAD_INPUT, "%s must be %s", key, wanted);
}

bool json_as_int(const struct json *member, int64_t *out)
{
    if (member == NULL || member->type != JSON_NUMBER ||
        strspn(member->text.base, "-0123456789") != member->text.len)
        return false;
    errno = 0;
    long long value = strtoll(member->text.base, NULL, 10);
    if (errno != 0)
        return false;
    *out = value;
    return true;
}

bool json_string(const struct json *object, const char *key, h2o_iovec_t *out, struct error *err)
{
    const struct json *member = json_member(object, key);
    if (member == NULL || member->type != JSON_STRING)
        return complain(member, key, "a string", err);
    *out = member->text;
    return true;
}

bool json_int(const struct json *object, const char *key, int64_t *out, struct error *err)
{
    const struct json *member = json_member(object, key);
    if (!json_as_int(member, out))
        return complain(member, key, "an integer", err);
    return true;
}

/* False where an optional member is as good as absent. */
static bool is_given(const struct json *member)
{
    return member != NULL && member->type != JSON_NULL;
}

bool json_optional_string(const struct json *object, const char *key, h2o_iovec_t *out,
                          struct error *err)
{
    return !is_given(json_member(object, key)) || json_string(object, key, out, err);
}

bool json_optional_int(const struct json *object, const char *key, int64_t *out, struct error *err)
{
    return !is_given(json_member(object, key)) || json_int(object, key, out, err);
}

bool json_optional_bool(const struct json *object, const char *key, bool *out, struct error *err)
{
    const struct json *member = json_member(object, key);
    if (!is_given(member))
        return true;
    if (member->type != JSON_BOOL)
        return complain(member, key, "true or false", err);
    *out = member->boolean;
    return true;
}

/* ---- building ---- */

static struct json *new_node(h2o_mem_pool_t *pool, enum json_type type)
{
    struct json *node = h2o_mem_alloc_pool(pool, sizeof(*node));
    *node = (struct json){.type = type};
    return node;
}

static struct json *add_member(h2o_mem_pool_t *pool, struct json *object, const char *key,
                               enum json_type type)
{
    assert(object->type == JSON_OBJECT);
    struct json *node = new_node(pool, type);
    node->key = iovec_of(text_dup(pool, key));
    json_append(object, node);
    return node;
}

static struct json *push(h2o_mem_pool_t *pool, struct json *array, enum json_type type)
{
    assert(array->type == JSON_ARRAY);
    struct json *node = new_node(pool, type);
    json_append(array, node);
    return node;
}

struct json *json_new_object(h2o_mem_pool_t *pool)
{
    return new_node(pool, JSON_OBJECT);
}

struct json *json_add_string(h2o_mem_pool_t *pool, struct json *object, const char *key,
                             const char *value)
{
    if (value == NULL)
        return NULL;
    struct json *node = add_member(pool, object, key, JSON_STRING);
    node->text = iovec_of(text_dup(pool, value));
    return node;
}

struct json *json_add_int(h2o_mem_pool_t *pool, struct json *object, const char *key, int64_t value)
{
    struct json *node = add_member(pool, object, key, JSON_NUMBER);
    node->text = iovec_of(text_format(pool, "%" PRId64, value));
    return node;
}

struct json *json_add_bool(h2o_mem_pool_t *pool, struct json *object, const char *key, bool value)
{
    struct json *node = add_member(pool, object, key, JSON_BOOL);
    node->boolean = value;
    return node;
}

struct json *json_add_object(h2o_mem_pool_t *pool, struct json *object, const char *key)
{
    return add_member(pool, object, key, JSON_OBJECT);
}

struct json *json_add_array(h2o_mem_pool_t *pool, struct json *object, const char *key)
{
    return add_member(pool, object, key, JSON_ARRAY);
}

struct json *json_push_object(h2o_mem_pool_t *pool, struct json *array)
{
    return push(pool, array, JSON_OBJECT);
}

struct json *json_push_string(h2o_mem_pool_t *pool, struct json *array, const char *value)
{
    struct json *node = push(pool, array, JSON_STRING);
    node->text = iovec_of(text_dup(pool, value));
    return node;
}
