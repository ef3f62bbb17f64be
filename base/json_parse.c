/* SPDX-License-Identifier: Apache-2.0
 *
 * Strict parsing. yajl knows the grammar; what it lets through is refused here: bad UTF-8 and bad escapes
 * before it sees the input, duplicate keys when an object ends, and depth and size as they grow. No message
 * quotes the input. */
#include "base/json.h"

#include <assert.h>
#include <yajl/yajl_parse.h>

#include "base/text.h"
#include "json_private.h"

#define DEPTH_LIMIT 128 /* what json_limits may ask for at most */

const struct json_limits JSON_LIMITS_DEFAULT = {
    .max_bytes = 1048576,
    .max_depth = 32,
    .max_nodes = 65536,
};

struct parser {
    h2o_mem_pool_t *pool;             /* of the tree */
    const struct json_limits *limits; /* in force */
    struct json *root;                /* NULL until the first value */
    struct json *open[DEPTH_LIMIT];   /* containers that have not ended, the innermost last */
    size_t depth;                     /* how many */
    size_t nodes;                     /* values so far */
    h2o_iovec_t key;                  /* of the next member */
    const char *refusal;              /* why a callback stopped the parse */
};

/* ---- before the parse: what yajl would decode wrongly ---- */

/* The four digits behind "\u", or -1. */
static int hex4(const char *digits, const char *end)
{
    if (end - digits < 4)
        return -1;
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = digits[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* Judges the escape that the backslash at *at begins, and moves *at behind it. */
static bool escape_good(const char **at, const char *end)
{
    const char *p = *at + 1;
    if (p == end)
        return false;
    if (*p != 'u') {
        *at = p + 1; /* yajl judges which letters may stand here */
        return true;
    }
    int unit = hex4(p + 1, end);
    *at = p + 5;
    if (unit < 0xd800 || unit > 0xdfff)
        return unit > 0; /* 0 is a NUL, -1 is malformed */
    if (unit > 0xdbff || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return false;
    int low = hex4(*at + 2, end);
    *at += 6;
    return low >= 0xdc00 && low <= 0xdfff;
}

/* A backslash outside of a string is no JSON, so every one is the begin of an escape. */
static bool escapes_good(h2o_iovec_t input)
{
    const char *end = input.base + input.len, *at = input.base;
    while (at < end && (at = memchr(at, '\\', (size_t)(end - at))) != NULL) {
        if (!escape_good(&at, end))
            return false;
    }
    return true;
}

/* ---- the tree ---- */

static int refuse(struct parser *self, const char *why)
{
    self->refusal = why;
    return 0;
}

/* A new value under the innermost container; NULL at the limit. Its text follows it in memory. */
static struct json *add_node(struct parser *self, enum json_type type, const char *text, size_t len)
{
    if (self->nodes == self->limits->max_nodes) {
        self->refusal = "too many values";
        return NULL;
    }
    self->nodes++;
    struct json *node = h2o_mem_alloc_pool(self->pool, sizeof(*node) + len + 1);
    *node = (struct json){.type = type, .key = self->key};
    if (type == JSON_STRING || type == JSON_NUMBER) {
        char *copy = (char *)(node + 1);
        if (len != 0)
            memcpy(copy, text, len);
        copy[len] = '\0';
        node->text = h2o_iovec_init(copy, len);
    }
    self->key = h2o_iovec_init(NULL, 0);
    if (self->depth == 0)
        self->root = node;
    else
        json_append(self->open[self->depth - 1], node);
    return node;
}

static int on_null(void *ctx)
{
    return add_node(ctx, JSON_NULL, NULL, 0) != NULL;
}

static int on_boolean(void *ctx, int value)
{
    struct json *node = add_node(ctx, JSON_BOOL, NULL, 0);
    if (node != NULL)
        node->boolean = value != 0;
    return node != NULL;
}

static int on_number(void *ctx, const char *text, size_t len)
{
    return add_node(ctx, JSON_NUMBER, text, len) != NULL;
}

static int on_string(void *ctx, const unsigned char *text, size_t len)
{
    return add_node(ctx, JSON_STRING, (const char *)text, len) != NULL;
}

static int on_key(void *ctx, const unsigned char *text, size_t len)
{
    struct parser *self = ctx;
    if (self->nodes == self->limits->max_nodes)
        return refuse(self, "too many values");
    char *copy = text_dup_iovec(self->pool, h2o_iovec_init(text, len));
    self->key = h2o_iovec_init(copy, len);
    return 1;
}

static int open_container(struct parser *self, enum json_type type)
{
    if (self->depth == self->limits->max_depth)
        return refuse(self, "nested too deep");
    struct json *node = add_node(self, type, NULL, 0);
    if (node == NULL)
        return 0;
    self->open[self->depth++] = node;
    return 1;
}

static int on_start_object(void *ctx)
{
    return open_container(ctx, JSON_OBJECT);
}

static int on_start_array(void *ctx)
{
    return open_container(ctx, JSON_ARRAY);
}

static int on_end_array(void *ctx)
{
    struct parser *self = ctx;
    self->depth--;
    return 1;
}

/* ---- duplicate keys ---- */

static int compare_keys(const void *a, const void *b)
{
    const struct json *left = *(const struct json *const *)a;
    const struct json *right = *(const struct json *const *)b;
    if (left->key.len != right->key.len)
        return left->key.len < right->key.len ? -1 : 1;
    return memcmp(left->key.base, right->key.base, left->key.len);
}

static bool few_have_duplicates(const struct json *object)
{
    for (const struct json *a = object->first; a != NULL; a = a->next) {
        for (const struct json *b = a->next; b != NULL; b = b->next) {
            if (compare_keys(&a, &b) == 0)
                return true;
        }
    }
    return false;
}

/* Sorted, so that an object made of nothing but keys costs no quadratic time. */
static bool many_have_duplicates(const struct json *object)
{
    const struct json **sorted = h2o_mem_alloc(object->count * sizeof(*sorted));
    size_t count = 0;
    for (const struct json *member = object->first; member != NULL; member = member->next)
        sorted[count++] = member;
    qsort(sorted, count, sizeof(*sorted), compare_keys);
    bool found = false;
    for (size_t i = 1; i < count && !found; i++)
        found = compare_keys(&sorted[i - 1], &sorted[i]) == 0;
    free(sorted);
    return found;
}

static int on_end_object(void *ctx)
{
    struct parser *self = ctx;
    const struct json *object = self->open[--self->depth];
    if (object->count <= 8 ? few_have_duplicates(object) : many_have_duplicates(object))
        return refuse(self, "an object has the same key twice");
    return 1;
}

/* ---- the parse ---- */

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number, /* as written: yajl's own conversions lose digits */
    .yajl_string = on_string,
    .yajl_start_map = on_start_object,
    .yajl_map_key = on_key,
    .yajl_end_map = on_end_object,
    .yajl_start_array = on_start_array,
    .yajl_end_array = on_end_array,
};

static bool run(struct parser *self, h2o_iovec_t input, struct error *err)
{
    yajl_alloc_funcs alloc = JSON_ALLOC_FUNCS;
    yajl_handle handle = yajl_alloc(&callbacks, &alloc, self);
    if (handle == NULL)
        return error_set(err, ERROR_INTERNAL, "JSON: the parser can't be made");
    yajl_status status = yajl_parse(handle, (const unsigned char *)input.base, input.len);
    size_t at = yajl_get_bytes_consumed(handle);
    if (status == yajl_status_ok) {
        at = input.len;
        status = yajl_complete_parse(handle);
    }
    yajl_free(handle);
    if (self->refusal != NULL)
        return error_set(err, ERROR_BAD_INPUT, "JSON: %s", self->refusal);
    if (status != yajl_status_ok || self->root == NULL)
        return error_set(err, ERROR_BAD_INPUT, "JSON: malformed at byte %zu", at);
    return true;
}

bool json_parse(h2o_mem_pool_t *pool, h2o_iovec_t input, const struct json_limits *limits,
                struct json **out, struct error *err)
{
    struct parser self = {.pool = pool, .limits = limits != NULL ? limits : &JSON_LIMITS_DEFAULT};
    assert(self.limits->max_depth <= DEPTH_LIMIT);
    if (input.len == 0)
        return error_set(err, ERROR_BAD_INPUT, "JSON: empty");
    if (input.len > self.limits->max_bytes)
        return error_set(err, ERROR_BAD_INPUT, "JSON: more than %zu bytes", self.limits->max_bytes);
    if (!utf8_valid(input.base, input.len))
        return error_set(err, ERROR_BAD_INPUT, "JSON: not valid UTF-8");
    if (!escapes_good(input))
        return error_set(err, ERROR_BAD_INPUT, "JSON: a \\u escape that is no character");
    if (!run(&self, input, err))
        return false;
    *out = self.root;
    return true;
}
