/* SPDX-License-Identifier: Apache-2.0
 *
 * What a sign-in brings, what a refresh brings, and what the cache keeps. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/secret.h"

/* A token with no more than this left is not handed out: it has a way to go yet. */
#define TOKEN_MARGIN_S 10

struct login_tokens {
    struct secret id_token;      /* empty: there is none */
    struct secret refresh_token; /* empty: there is none */
    int64_t received_s;          /* by this computer's clock, as the next */
    int64_t expires_s;
};

void login_tokens_dispose(struct login_tokens *self); /* wipes; accepts a zeroed one */
/* Whether the id_token can still be used. A clock that was set back makes it unusable: nobody knows its age then. */
bool login_tokens_good(const struct login_tokens *self, int64_t now_s);

struct id_token_expected { /* borrowed */
    const char *issuer;
    const char *client_id;
    const char *nonce;   /* NULL: none was sent */
    const char *subject; /* of the id_token before a refresh; NULL: not known */
    int64_t now_s;       /* when the request was sent */
};
/* Judges an id_token that the token endpoint answered with, and says when it expires by this computer's clock. */
MUST_CHECK bool login_token_judge(h2o_iovec_t token, const struct id_token_expected *expected,
                                  int64_t *expires_s, struct error *err);
/* Its subject, in pool; NULL where it can't be read. */
const char *login_token_subject(h2o_mem_pool_t *pool, h2o_iovec_t token);
