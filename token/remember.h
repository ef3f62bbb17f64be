/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded table of tokens whose signature was found good, private to token/. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "token/token.h"

struct token_facts { /* what a token with a good signature and our issuer says */
    struct token_info info;
    int64_t issued_at_s, not_before_s;
    bool audience_matches; /* its aud is, or holds, the one that was asked for */
};

struct remember;
struct remember *remember_new(size_t most); /* 0: remembers nothing */
void remember_free(struct remember *self);
/* Thread-safe. True only for exactly these token bytes, and only before the token's exp. */
bool remember_find(struct remember *self, h2o_iovec_t token, const char *audience, int64_t now_s,
                   struct token_facts *out);
/* Thread-safe. audience is the token's own aud. Another entry may go for it. */
void remember_put(struct remember *self, h2o_iovec_t token, h2o_iovec_t audience,
                  const struct token_facts *facts);
