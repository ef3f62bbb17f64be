/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of token/ share: throwaway key directories, and tokens signed with any payload. */
#pragma once

#include <h2o.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/text.h"
#include "keys.h"

#define NOW_S    INT64_C(1790000000)
#define NOW_MS   (NOW_S * 1000)
#define ISSUER   "https://login.k8s.example.test"
#define AUDIENCE "kubernetes"

struct scratch { /* a directory that does not exist yet, in one that does */
    char parent[64];
    char keys[80];
};

static inline void scratch_make(struct scratch *self)
{
    snprintf(self->parent, sizeof(self->parent), "/tmp/postern-test-XXXXXX");
    assert_non_null(mkdtemp(self->parent));
    snprintf(self->keys, sizeof(self->keys), "%s/keys", self->parent);
}

static inline void scratch_empty(const char *directory)
{
    DIR *dir = opendir(directory);
    if (dir == NULL)
        return;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
}

static inline void scratch_remove(struct scratch *self)
{
    scratch_empty(self->keys);
    rmdir(self->keys);
    scratch_empty(self->parent);
    rmdir(self->parent);
}

static inline struct token_keys *keys_of(const char *directory, enum token_algorithm algorithm)
{
    struct token_keys *keys = NULL;
    struct error err = {0};
    if (!token_keys_open(directory, algorithm, NOW_MS, &keys, &err))
        fail_msg("%s", err.text);
    return keys;
}

static inline struct token_keys *keys_at(const char *directory)
{
    return keys_of(directory, TOKEN_ES256);
}

static inline struct token_keys *fresh_keys(enum token_algorithm algorithm)
{
    struct scratch scratch;
    scratch_make(&scratch);
    struct token_keys *keys = keys_of(scratch.keys, algorithm);
    scratch_remove(&scratch);
    return keys;
}

/* header.payload.signature with our header and key, whatever the payload says */
static inline h2o_iovec_t sign_payload(h2o_mem_pool_t *pool, const struct token_key *key,
                                       const char *payload)
{
    struct text token;
    uint8_t signature[KEY_SIGNATURE_MAX];
    text_init(&token, pool);
    text_add_string(&token, key->header);
    text_add_string(&token, base64url_encode(pool, payload, strlen(payload)).base);
    assert_true(token_key_sign(key, text_iovec(&token), signature));
    text_add_string(&token, ".");
    text_add_string(&token, base64url_encode(pool, signature, key->signature_len).base);
    return text_iovec(&token);
}

static inline char *private_pem(h2o_mem_pool_t *pool, const struct token_key *key)
{
    struct secret pem = {0};
    assert_true(token_key_to_pem(key, &pem, NULL));
    char *copy = text_dup_iovec(pool, secret_iovec(&pem));
    secret_dispose(&pem);
    return copy;
}

static inline char *public_pem(h2o_mem_pool_t *pool, EVP_PKEY *pkey)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes;
    assert_int_equal(PEM_write_bio_PUBKEY(bio, pkey), 1);
    long len = BIO_get_mem_data(bio, &bytes);
    char *copy = text_dup_iovec(pool, h2o_iovec_init(bytes, (size_t)len));
    BIO_free(bio);
    return copy;
}
