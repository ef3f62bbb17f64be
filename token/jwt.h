/* SPDX-License-Identifier: Apache-2.0
 *
 * JWTs of others (Okta's id_tokens): a strict splitter of our own, a JWKS, and libjwt for the signature; and
 * the JWTs by which we prove to Okta who we are.
 * libjwt takes the algorithm from the token and lets much through (facts/libraries.md 4), so form, header
 * and algorithm are judged here before it sees anything. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"

struct jwt_parts {           /* all borrowed from the token or in pool */
    h2o_iovec_t signed_part; /* header.payload as received */
    h2o_iovec_t header;      /* decoded JSON text */
    h2o_iovec_t payload;     /* decoded JSON text */
    h2o_iovec_t signature;   /* decoded bytes */
};
/* Exactly three parts of strict base64url, at most max bytes. (D14) */
MUST_CHECK bool jwt_split(h2o_mem_pool_t *pool, h2o_iovec_t token, size_t max,
                          struct jwt_parts *out, struct error *err);

struct jwks; /* immutable once parsed */
/* Takes the usable signature keys (RSA >= 2048 with RS256; alg absent or RS256; use absent or sig); others are
 * skipped. At most 64 KiB and 32 keys. Fails when nothing usable is left. (D13, D16) */
MUST_CHECK bool jwks_parse(h2o_iovec_t body, struct jwks **out, struct error *err);
void jwks_free(struct jwks *self);
bool jwks_has_kid(const struct jwks *self, h2o_iovec_t kid);

/* The header's kid, after judging the header: alg RS256, kid present and at most 256 bytes, typ absent or "JWT"
 * in any case, no crit, b64, zip, nor a key source of the token's own (jwk, jku, x5u, x5c). REJECTED. */
MUST_CHECK bool jwt_header_kid(h2o_mem_pool_t *pool, const struct jwt_parts *parts,
                               h2o_iovec_t *kid, struct error *err);
/* Verifies the signature with the key of that kid and parses the payload (one JSON object). Every failure is
 * REJECTED; for a kid that is not in keys, *unknown_kid is true. Thread-safe. */
MUST_CHECK bool jwt_verify(h2o_mem_pool_t *pool, const struct jwks *keys, h2o_iovec_t token,
                           struct json **claims, bool *unknown_kid, struct error *err);

struct jwt_signer; /* a private key with its kid; immutable */
/* pem: a private key without pass phrase, RSA >= 2048 (signs RS256) or EC P-256 (ES256). BAD_INPUT otherwise. */
MUST_CHECK bool jwt_signer_new(h2o_iovec_t pem, const char *kid, struct jwt_signer **out,
                               struct error *err);
void jwt_signer_free(struct jwt_signer *self); /* wipes; accepts NULL */

struct jwt_assertion {
    const char *client_id; /* iss and sub */
    const char *audience;
    int64_t now_s;
};
/* private_key_jwt (RFC 7523): good for 5 minutes and for one use (a random jti). In pool, which wipes it. */
MUST_CHECK bool jwt_sign_assertion(h2o_mem_pool_t *pool, const struct jwt_signer *signer,
                                   const struct jwt_assertion *claims, h2o_iovec_t *out,
                                   struct error *err);
