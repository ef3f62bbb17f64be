/* SPDX-License-Identifier: Apache-2.0
 *
 * Refresh tokens and authorization codes (RFC 6749): opaque to whoever holds one, and refused without a look-up when
 * we did not make it. Their form is base64url(session id | generation | secret | tag); the tag is an HMAC over the rest,
 * and what the next secret is follows from the last one, so that everybody who refreshes the same token gets the same
 * successor. (design section 5) */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/crypto.h"

enum refresh_kind { REFRESH_TOKEN, AUTHORIZATION_CODE };

#define REFRESH_SESSION_BYTES 16 /* a session id, decoded */
#define REFRESH_TOKEN_LEN     91 /* base64url of 16 + 4 + 32 + 16 bytes */

struct refresh_token { /* wipe with explicit_bzero */
    uint8_t session[REFRESH_SESSION_BYTES];
    uint32_t generation;
    uint8_t secret[SHA256_SIZE];
    unsigned
        key; /* which of the seal keys: all generations of a session stay with the one of the first */
};

/* A first one, with a random secret, under the key that seals now. */
void refresh_token_first(const uint8_t session[REFRESH_SESSION_BYTES], struct refresh_token *out);
/* The one successor that this token has. */
void refresh_token_next(const struct seal_keys *keys, const struct refresh_token *self,
                        struct refresh_token *out);
void refresh_token_hash(const struct refresh_token *self,
                        uint8_t out[SHA256_SIZE]); /* as it is stored */
/* NUL-terminated. */
void refresh_token_write(const struct seal_keys *keys, enum refresh_kind kind,
                         const struct refresh_token *self, char out[REFRESH_TOKEN_LEN + 1]);
/* False for anything that we did not make for that kind; says nothing about why, and costs one HMAC for each key. */
MUST_CHECK bool refresh_token_read(const struct seal_keys *keys, enum refresh_kind kind,
                                   h2o_iovec_t text, struct refresh_token *out);
