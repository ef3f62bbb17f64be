/* SPDX-License-Identifier: Apache-2.0
 *
 * The portal tokens that apps are handed for their people: one for each app session, kept here and never in a browser,
 * made anew ahead of its end. Bounded, and shared by all threads. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "webhook/issue.h"

struct app_tokens;
struct app_tokens *app_tokens_new(void);
void app_tokens_free(struct app_tokens *self); /* wipes them; accepts NULL */

/* Called at most once, before app_tokens_get returns, under a lock: must not block. */
typedef bool (*app_token_make)(void *ctx, struct issued_token *out, struct error *err);
struct app_token_ask {
    const char *grant_id; /* the app's session */
    int64_t facts_ms;     /* of which facts the token tells; another number: it is made anew */
    int64_t now_ms;       /* wall clock */
    app_token_make make;
    void *ctx;
};
/* A copy in pool, wiped with it, that is good for 30 s yet, or for half of its life where that is less. False, with
 * make's error, where one is needed and can't be made. */
MUST_CHECK bool app_tokens_get(struct app_tokens *self, h2o_mem_pool_t *pool,
                               const struct app_token_ask *ask, h2o_iovec_t *out,
                               struct error *err);
/* This one was refused: the next one is made anew, but not more often than every 5 s. */
void app_tokens_forget(struct app_tokens *self, const char *grant_id, int64_t now_ms);
