/* SPDX-License-Identifier: Apache-2.0
 *
 * The cryptography that is not about JWTs: randomness, hashes, base64url, comparison in constant time,
 * and sealing (AES-256-GCM) of what we hand out or store. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/secret.h"

#define SHA256_SIZE 32

void crypto_random(void *out,
                   size_t len); /* a failing generator ends the process: no weak bytes, ever */
void crypto_sha256(const void *bytes, size_t len, uint8_t out[SHA256_SIZE]);
void crypto_hmac_sha256(h2o_iovec_t key, h2o_iovec_t message, uint8_t out[SHA256_SIZE]);
bool crypto_equal(const void *a, const void *b, size_t len); /* constant time */
bool crypto_equal_iovec(h2o_iovec_t a,
                        h2o_iovec_t b); /* constant time in the bytes, not in the lengths */

/* base64url without padding (RFC 4648 section 5). Decoding is strict: no padding, no white space, no
 * non-canonical last character. Results are in pool and NUL-terminated. */
h2o_iovec_t base64url_encode(h2o_mem_pool_t *pool, const void *bytes, size_t len);
MUST_CHECK bool base64url_decode(h2o_mem_pool_t *pool, h2o_iovec_t input, h2o_iovec_t *out);

/* ---- sealing ---- */
#define SEAL_KEY_SIZE 32
struct seal_keys; /* the first key seals, every key opens; immutable, shared by all threads */
/* files: each one line of base64 with 32 bytes. Fails when one can't be read or others can read it. */
MUST_CHECK bool seal_keys_load(const char *const *files, size_t count, struct seal_keys **out,
                               struct error *err);
struct seal_keys *seal_keys_random(void); /* for a store that does not outlive the process */
void seal_keys_free(struct seal_keys *self);
struct seal_keys *seal_keys_copy(const struct seal_keys *from);
/* Whether self opens what former seals now. */
bool seal_keys_open_those_of(const struct seal_keys *self, const struct seal_keys *former);
bool seal_keys_equal(const struct seal_keys *a, const struct seal_keys *b);
/* purpose is bound to the blob: what was sealed for one can't be opened for another. */
h2o_iovec_t seal(h2o_mem_pool_t *pool, const struct seal_keys *keys, const char *purpose,
                 h2o_iovec_t plain);
/* False for anything that we did not seal for that purpose; says nothing about why. */
MUST_CHECK bool unseal(h2o_mem_pool_t *pool, const struct seal_keys *keys, const char *purpose,
                       h2o_iovec_t sealed, h2o_iovec_t *plain);
/* HMAC-SHA256 under a key that comes from the seal key number key, for what outlives a rotation of them. What is
 * authenticated is the purpose, a NUL, and the message; both together are at most 256 bytes. */
size_t seal_keys_count(const struct seal_keys *self);
void seal_keys_mac(const struct seal_keys *self, size_t key, const char *purpose,
                   h2o_iovec_t message, uint8_t out[SHA256_SIZE]);
