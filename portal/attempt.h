/* SPDX-License-Identifier: Apache-2.0
 *
 * A sign-in under way. Nothing of it is kept here: what the callback needs lies sealed in a cookie of its
 * own for each attempt, so that many tabs work. (design section 7) */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/crypto.h"

#define ATTEMPT_COOKIE      "__Host-postern-attempt-" /* and the begin of the state */
#define ATTEMPT_LIFETIME_MS 600000
#define ATTEMPT_MAX         8    /* of one browser; beyond, the oldest is dropped */
#define ATTEMPT_RETURN_MAX  1024 /* as web_return_to; eight cookies must fit into a request's head */
#define ATTEMPT_SECRET_SIZE 44   /* base64url of 32 bytes, and NUL */

struct attempt {
    char state[ATTEMPT_SECRET_SIZE];
    char nonce[ATTEMPT_SECRET_SIZE];
    char verifier[ATTEMPT_SECRET_SIZE]; /* of PKCE */
    const char *return_to;              /* a local path; never NULL */
    int64_t created_ms;
};

/* return_to NULL, too long, or a page of the sign-in itself: "/". The attempt borrows it. */
void attempt_new(const char *return_to, int64_t now_ms, struct attempt *out);
/* The S256 challenge, in pool. */
const char *attempt_challenge(h2o_mem_pool_t *pool, const struct attempt *self);

/* The cookie's value, in pool. */
h2o_iovec_t attempt_seal(h2o_mem_pool_t *pool, const struct seal_keys *keys,
                         const struct attempt *attempt);
/* False for anything that we did not seal, and for an attempt that is too old. */
MUST_CHECK bool attempt_open(h2o_mem_pool_t *pool, const struct seal_keys *keys, h2o_iovec_t cookie,
                             int64_t now_ms, struct attempt *out);
const char *attempt_cookie_name(h2o_mem_pool_t *pool, h2o_iovec_t state);

/* Gives the browser the attempt's cookie, and drops its dead attempts and the oldest beyond ATTEMPT_MAX. */
void attempt_give(h2o_req_t *req, const struct seal_keys *keys, const struct attempt *attempt);
/* Finds this browser's attempt of that state and takes its cookie away. */
MUST_CHECK bool attempt_take(h2o_req_t *req, const struct seal_keys *keys, h2o_iovec_t state,
                             int64_t now_ms, struct attempt *out);
