/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON for input that strangers send and for answers. Reading goes through yajl's callback parser with
 * the checks that yajl leaves out (facts: it accepts duplicate keys, overlong UTF-8, surrogates, \u0000
 * and any depth); the result is a tree in a pool. The same tree, built by hand, is the model of a page
 * (http/template.h). Writing goes through yajl_gen behind an error that sticks. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
    enum json_type type;
    bool boolean;    /* JSON_BOOL */
    h2o_iovec_t key; /* of an object's member, else {NULL, 0}; NUL-terminated */
    h2o_iovec_t
        text; /* JSON_STRING: the value; JSON_NUMBER: as written. NUL-terminated, no NUL inside */
    struct json *first; /* JSON_ARRAY, JSON_OBJECT: the first child, or NULL */
    struct json *last;  /* its last child */
    struct json *next;  /* the next child of the same parent */
    size_t count;       /* number of children */
};

struct json_limits {
    size_t max_bytes; /* of the input */
    size_t max_depth; /* of arrays and objects; at most 128 */
    size_t max_nodes; /* values in all */
};
extern const struct json_limits JSON_LIMITS_DEFAULT; /* 1 MiB, depth 32, 65536 nodes */

/* Parses one whole JSON value. Fails (BAD_INPUT) on: anything behind it, truncated input, a BOM,
 * duplicate keys in one object, invalid UTF-8, \u0000, lone or reversed surrogate escapes, a limit.
 * The tree lives in pool. limits may be NULL for the default. */
MUST_CHECK bool json_parse(h2o_mem_pool_t *pool, h2o_iovec_t input,
                           const struct json_limits *limits, struct json **out, struct error *err);

/* ---- reading: keys compare exactly; unknown members are ignored ---- */
const struct json *json_member(const struct json *object,
                               const char *key); /* NULL: absent, or no object */
/* Required members: absent or of another type is BAD_INPUT and names the key. */
MUST_CHECK bool json_string(const struct json *object, const char *key, h2o_iovec_t *out,
                            struct error *err);
/* An integer in int64_t's range, written without fraction or exponent. */
MUST_CHECK bool json_int(const struct json *object, const char *key, int64_t *out,
                         struct error *err);
/* The same of a value, such as an array's item; false: it is no integer. */
MUST_CHECK bool json_as_int(const struct json *value, int64_t *out);
/* Absent or null leaves *out as it is; another type is BAD_INPUT. */
MUST_CHECK bool json_optional_string(const struct json *object, const char *key, h2o_iovec_t *out,
                                     struct error *err);
MUST_CHECK bool json_optional_int(const struct json *object, const char *key, int64_t *out,
                                  struct error *err);
MUST_CHECK bool json_optional_bool(const struct json *object, const char *key, bool *out,
                                   struct error *err);

/* ---- building a tree (page models): strings are copied into pool ---- */
struct json *json_new_object(h2o_mem_pool_t *pool);
struct json *json_add_string(h2o_mem_pool_t *pool, struct json *object, const char *key,
                             const char *value); /* NULL value: nothing added */
struct json *json_add_int(h2o_mem_pool_t *pool, struct json *object, const char *key,
                          int64_t value);
struct json *json_add_bool(h2o_mem_pool_t *pool, struct json *object, const char *key, bool value);
struct json *json_add_object(h2o_mem_pool_t *pool, struct json *object, const char *key);
struct json *json_add_array(h2o_mem_pool_t *pool, struct json *object, const char *key);
struct json *json_push_object(h2o_mem_pool_t *pool, struct json *array);
struct json *json_push_string(h2o_mem_pool_t *pool, struct json *array, const char *value);

/* ---- writing: the first failure sticks and is told at the end ---- */
struct json_writer;
struct json_writer *json_writer_new(h2o_mem_pool_t *pool); /* freed with the pool */
void json_begin_object(struct json_writer *self);
void json_end_object(struct json_writer *self);
void json_begin_array(struct json_writer *self);
void json_end_array(struct json_writer *self);
void json_key(struct json_writer *self, const char *key);
void json_put_iovec(struct json_writer *self,
                    h2o_iovec_t value); /* invalid UTF-8 fails the whole text */
void json_put_string(struct json_writer *self, const char *value);
void json_put_int(struct json_writer *self, int64_t value);
void json_put_bool(struct json_writer *self, bool value);
void json_put_null(struct json_writer *self);
void json_put_strings(struct json_writer *self, const char *const *values,
                      size_t count); /* an array of them */
void json_put_tree(struct json_writer *self, const struct json *value);
/* out borrows the writer's buffer, which lives as long as the pool; NUL-terminated. */
MUST_CHECK bool json_writer_end(struct json_writer *self, h2o_iovec_t *out, struct error *err);
