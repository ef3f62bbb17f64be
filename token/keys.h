/* SPDX-License-Identifier: Apache-2.0
 *
 * One signing key and the ring of them, private to token/. A key never changes once it is made; its role
 * at a time follows from its own sign_from and the next key's. */
#pragma once

#include <h2o.h>
#include <openssl/types.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/secret.h"
#include "token/token.h"

/* ---- the header of our tokens ----
 * {"alg":"ES256","kid":"postern-XXXXXXXXXXXX","typ":"JWT"} with twelve of [a-z0-9], in the order in which
 * libjwt writes it too. The kid's own characters begin and end on base64url's 3-byte boundaries, so all our
 * encoded headers of one algorithm are equal but for KEY_HEADER_KID characters in the middle. */
#define KEY_KID_PREFIX       "postern-"
#define KEY_KID_RANDOM       12
#define KEY_KID_LEN          (sizeof(KEY_KID_PREFIX) - 1 + KEY_KID_RANDOM)
#define KEY_HEADER_BEGIN     "eyJhbGciOiJFUzI1NiIsImtpZCI6InBvc3Rlcm4t"
#define KEY_HEADER_BEGIN_RS  "eyJhbGciOiJSUzI1NiIsImtpZCI6InBvc3Rlcm4t"
#define KEY_HEADER_KID       16                     /* base64url of KEY_KID_RANDOM bytes */
#define KEY_HEADER_END       "IiwidHlwIjoiSldUIn0." /* with the dot that ends the header */
#define KEY_HEADER_BEGIN_LEN (sizeof(KEY_HEADER_BEGIN) - 1)
#define KEY_HEADER_END_LEN   (sizeof(KEY_HEADER_END) - 1)
#define KEY_HEADER_LEN       (KEY_HEADER_BEGIN_LEN + KEY_HEADER_KID + KEY_HEADER_END_LEN)
#define KEY_SIGNATURE_EC     64  /* r and s, 32 bytes each (RFC 7518 section 3.4) */
#define KEY_SIGNATURE_RSA    256 /* of 2048 bits */
#define KEY_SIGNATURE_MAX    KEY_SIGNATURE_RSA

/* How long a key goes on verifying after the next one has begun to sign: far longer than any token lives
 * (the config bounds tokens.lifetime), so that nobody is signed out by a rotation. */
#define KEY_OVERLAP_MS (24 * INT64_C(3600) * 1000)

/* ---- one key (keys.c) ---- */
struct token_key {
    char kid[KEY_KID_LEN + 1];
    char header[KEY_HEADER_LEN + 1]; /* encoded, with the dot */
    int64_t created_at_ms;
    int64_t sign_from_ms;
    int64_t verify_until_ms; /* INT64_MAX while there is no later key; set by the ring */
    enum token_algorithm algorithm;
    size_t signature_len;
    struct {
        const char *name; /* in a JWK */
        char *value;      /* base64url */
    } numbers[2];         /* the public ones: x and y, or n and e */
    EVP_PKEY *pkey;
    EVP_PKEY_CTX *signer;   /* ready to sign; copied for each use, which is cheap and thread-safe */
    EVP_PKEY_CTX *verifier; /* the same for verifying */
};

/* A new P-256 or RSA key with a random kid. An RSA key takes some 100 ms. */
MUST_CHECK bool token_key_generate(enum token_algorithm algorithm, int64_t now_ms,
                                   int64_t sign_from_ms, struct token_key **out, struct error *err);
/* From what a key file says. The private key is one PEM block; anything but P-256, and RSA of 2048
 * bits with the exponent 65537, is refused. */
MUST_CHECK bool token_key_from_pem(const char *kid, h2o_iovec_t pem, struct token_key **out,
                                   struct error *err);
MUST_CHECK bool token_key_to_pem(const struct token_key *self, struct secret *out,
                                 struct error *err);
void token_key_free(struct token_key *self);
bool token_key_same(const struct token_key *a, const struct token_key *b);
bool token_key_kid_valid(h2o_iovec_t kid);

/* The first signature_len bytes are the signature. */
MUST_CHECK bool token_key_sign(const struct token_key *self, h2o_iovec_t message,
                               uint8_t signature[KEY_SIGNATURE_MAX]);
/* False for a wrong signature of signature_len bytes, and for whatever else goes wrong. */
MUST_CHECK bool token_key_verify(const struct token_key *self, h2o_iovec_t message,
                                 const uint8_t *signature);

/* How long a key is published before it signs: longer than any reader of /keys and any other process keeps
 * what it has read. */
#define KEY_AHEAD_MS (10 * INT64_C(60) * 1000)

/* ---- the ring (ring.c) ---- */
struct key_ring {               /* never changes once a struct token_keys points to it */
    struct token_key **entries; /* by sign_from_ms, then kid */
    size_t count;
    struct key_ring
        *older; /* what was there before: readers may still be at work with it, so it stays
                               until the end. There is one for each change of the directory. */
};

struct token_keys {
    struct key_ring *_Atomic ring;
    char *directory;
    uint64_t stamp; /* of the directory before ring was read; 0: not known. For whoever tends */
};

void key_ring_add(struct key_ring *self, struct token_key *key); /* takes key over */
/* Puts the keys in order and gives each its verify_until_ms. */
void key_ring_settle(struct key_ring *self);
void key_ring_free(struct key_ring *self); /* with all older ones; accepts NULL */
const struct token_key *key_ring_signer(const struct key_ring *self, int64_t now_ms);
/* The key that is to sign next, if its turn is within a day: one dated later is no plan, but was made by a
 * clock that ran ahead. */
const struct token_key *key_ring_next(const struct key_ring *self, int64_t now_ms);
const struct key_ring *token_keys_ring(const struct token_keys *self); /* as it is now */
/* For an empty struct, or with the ring that it has as the older one. Takes ring over. */
void token_keys_publish(struct token_keys *self, struct key_ring *ring);

/* The key with the latest sign_from up to now; before the first one's, the first (a clock that was set back must
 * not stop sign-ins). NULL for an empty ring. */
const struct token_key *token_keys_signer(const struct token_keys *self, int64_t now_ms);
/* The key whose encoded header these KEY_HEADER_LEN characters are, or NULL. It may be past its verify_until. */
const struct token_key *token_keys_find(const struct token_keys *self, const char *header);

/* ---- the directory (key_files.c) ---- */
/* Opens the directory and judges it. make: creates it (0700) where it is missing. Without make, a missing
 * directory is no error and gives *fd = -1. */
MUST_CHECK bool key_files_open(const char *directory, bool make, int *fd, struct error *err);
/* Adds every key of the directory to ring. */
MUST_CHECK bool key_files_read(int fd, const char *directory, struct key_ring *ring,
                               struct error *err);
/* A number that is another one when a key file has come, gone or changed; 0: it can't be told. */
uint64_t key_files_stamp(int fd);
/* Writes <kid>.json so that a crash leaves all of it or nothing, and returns when it is durable. */
MUST_CHECK bool key_files_write(int fd, const char *directory, const struct token_key *key,
                                struct error *err);
/* Deletes the key's file; one that is gone already is fine. */
MUST_CHECK bool key_files_remove(int fd, const char *directory, const struct token_key *key,
                                 struct error *err);
