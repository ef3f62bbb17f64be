/* SPDX-License-Identifier: Apache-2.0
 *
 * What the JSON files share: yajl's memory, and how a child enters its parent. */
#pragma once

#include <yajl/yajl_common.h>

#include "base/json.h"

void *json_yajl_malloc(void *ctx, size_t size);
void *json_yajl_realloc(void *ctx, void *block, size_t size);
void json_yajl_free(void *ctx, void *block);

/* h2o's allocation functions: no memory ends the process, as everywhere, instead of confusing yajl. */
#define JSON_ALLOC_FUNCS                                                                           \
    {                                                                                              \
        json_yajl_malloc, json_yajl_realloc, json_yajl_free, NULL                                  \
    }

/* Links child as the last one of an array or object. */
void json_append(struct json *parent, struct json *child);
