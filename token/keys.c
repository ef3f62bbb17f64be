/* SPDX-License-Identifier: Apache-2.0
 *
 * One signing key: made or read from PEM, and used through OpenSSL. Contexts for signing and verifying are
 * set up once and copied for each use, so that a verification costs one ECDSA operation and no look-up of
 * algorithms. */
#include "keys.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/crypto.h"
#include "base/text.h"

#define COORDINATE     32 /* bytes of a P-256 coordinate, and of r and s */
#define DER_MAX        80 /* a P-256 signature has at most 72 bytes */
#define KID_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789"

bool token_key_kid_valid(h2o_iovec_t kid)
{
    size_t prefix = sizeof(KEY_KID_PREFIX) - 1;
    if (kid.len != KEY_KID_LEN || memcmp(kid.base, KEY_KID_PREFIX, prefix) != 0)
        return false;
    for (size_t i = prefix; i < kid.len; i++) {
        if (kid.base[i] == '\0' || strchr(KID_CHARACTERS, kid.base[i]) == NULL)
            return false;
    }
    return true;
}

/* ---- making ----
 * After a failure OpenSSL's error queue is emptied: what is left there would be taken for an error of the
 * next TLS connection on this thread. */

static void set_kid(struct token_key *self, const char *kid)
{
    assert(token_key_kid_valid(iovec_of(kid)));
    memcpy(self->kid, kid, sizeof(self->kid));
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    h2o_iovec_t encoded = base64url_encode(&pool, kid + KEY_KID_LEN - KEY_KID_RANDOM, //
                                           KEY_KID_RANDOM);
    assert(encoded.len == KEY_HEADER_KID);
    memcpy(self->header, KEY_HEADER_BEGIN, KEY_HEADER_BEGIN_LEN);
    memcpy(self->header + KEY_HEADER_BEGIN_LEN, encoded.base, encoded.len);
    memcpy(self->header + KEY_HEADER_BEGIN_LEN + encoded.len, KEY_HEADER_END,
           KEY_HEADER_END_LEN + 1);
    h2o_mem_clear_pool(&pool);
}

/* Each character is drawn evenly: bytes beyond the last whole multiple of 36 are thrown away. */
static void random_kid(char kid[KEY_KID_LEN + 1])
{
    size_t choices = sizeof(KID_CHARACTERS) - 1;
    size_t at = sizeof(KEY_KID_PREFIX) - 1;
    memcpy(kid, KEY_KID_PREFIX, at);
    while (at < KEY_KID_LEN) {
        uint8_t byte;
        crypto_random(&byte, 1);
        if (byte < 256 / choices * choices)
            kid[at++] = KID_CHARACTERS[byte % choices];
    }
    kid[at] = '\0';
}

static bool encode_coordinate(const EVP_PKEY *pkey, const char *name, char out[44])
{
    BIGNUM *number = NULL;
    uint8_t bytes[COORDINATE];
    bool good = EVP_PKEY_get_bn_param(pkey, name, &number) == 1 &&
                BN_bn2binpad(number, bytes, COORDINATE) == COORDINATE;
    BN_free(number);
    if (!good)
        return false;
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    h2o_iovec_t encoded = base64url_encode(&pool, bytes, COORDINATE);
    assert(encoded.len == 43);
    memcpy(out, encoded.base, encoded.len + 1);
    h2o_mem_clear_pool(&pool);
    return true;
}

static EVP_PKEY_CTX *ready(EVP_PKEY *pkey, int (*init)(EVP_PKEY_CTX *ctx))
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    if (ctx != NULL && init(ctx) == 1 && EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1)
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

/* Takes pkey over, also on failure. */
static bool adopt(EVP_PKEY *pkey, const char *kid, struct token_key **out, struct error *err)
{
    struct token_key *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct token_key){.verify_until_ms = INT64_MAX, .pkey = pkey};
    set_kid(self, kid);
    self->signer = ready(pkey, EVP_PKEY_sign_init);
    self->verifier = ready(pkey, EVP_PKEY_verify_init);
    if (self->signer == NULL || self->verifier == NULL ||
        !encode_coordinate(pkey, OSSL_PKEY_PARAM_EC_PUB_X, self->x) ||
        !encode_coordinate(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, self->y)) {
        token_key_free(self);
        ERR_clear_error();
        return error_set(err, ERROR_INTERNAL, "OpenSSL can't use the key %s", kid);
    }
    *out = self;
    return true;
}

bool token_key_generate(int64_t now_ms, int64_t sign_from_ms, struct token_key **out,
                        struct error *err)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    if (pkey == NULL)
        return error_set(err, ERROR_INTERNAL, "OpenSSL can't make a P-256 key");
    char kid[KEY_KID_LEN + 1];
    random_kid(kid);
    struct token_key *self;
    if (!adopt(pkey, kid, &self, err))
        return false;
    self->created_at_ms = now_ms;
    self->sign_from_ms = sign_from_ms;
    *out = self;
    return true;
}

/* Without it OpenSSL would ask the terminal for the password of an encrypted key. */
static int on_password(char *buffer, int size, int writing, void *ctx) /* NOLINT: OpenSSL's type */
{
    (void)buffer, (void)size, (void)writing, (void)ctx;
    return -1;
}

/* On P-256, and the public point belongs to the private number. */
static bool acceptable(EVP_PKEY *pkey)
{
    char group[32];
    if (!EVP_PKEY_is_a(pkey, "EC") ||
        EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) != 1 ||
        strcmp(group, "prime256v1") != 0)
        return false;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    bool good = ctx != NULL && EVP_PKEY_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return good;
}

bool token_key_from_pem(const char *kid, h2o_iovec_t pem, struct token_key **out, struct error *err)
{
    if (pem.len > INT32_MAX)
        return error_set(err, ERROR_BAD_INPUT, "the private key is too long");
    BIO *bio = BIO_new_mem_buf(pem.base, (int)pem.len);
    if (bio == NULL)
        return error_set(err, ERROR_INTERNAL, "OpenSSL has no memory");
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, on_password, NULL);
    BIO_free(bio);
    if (pkey == NULL) {
        ERR_clear_error();
        return error_set(err, ERROR_BAD_INPUT, "the private key is not PEM that can be read");
    }
    if (!acceptable(pkey)) {
        EVP_PKEY_free(pkey);
        ERR_clear_error();
        return error_set(err, ERROR_BAD_INPUT, "the private key is not a sound P-256 key");
    }
    return adopt(pkey, kid, out, err);
}

bool token_key_to_pem(const struct token_key *self, struct secret *out, struct error *err)
{
    BIO *bio = BIO_new(BIO_s_secmem()); /* wiped when freed */
    char *bytes = NULL;
    long len = 0;
    bool good = bio != NULL &&
                PEM_write_bio_PKCS8PrivateKey(bio, self->pkey, NULL, NULL, 0, NULL, NULL) == 1 &&
                (len = BIO_get_mem_data(bio, &bytes)) > 0;
    if (good)
        secret_set(out, bytes, (size_t)len);
    BIO_free(bio);
    return good || error_set(err, ERROR_INTERNAL, "OpenSSL can't write the key %s", self->kid);
}

void token_key_free(struct token_key *self)
{
    if (self == NULL)
        return;
    EVP_PKEY_CTX_free(self->signer);
    EVP_PKEY_CTX_free(self->verifier);
    EVP_PKEY_free(self->pkey);
    free(self);
}

bool token_key_same(const struct token_key *a, const struct token_key *b)
{
    return strcmp(a->kid, b->kid) == 0 && a->created_at_ms == b->created_at_ms &&
           a->sign_from_ms == b->sign_from_ms && EVP_PKEY_eq(a->pkey, b->pkey) == 1;
}

/* ---- using: JWS wants r and s as they are, OpenSSL wraps them in DER ---- */

static bool der_to_raw(const uint8_t *der, size_t len, uint8_t raw[KEY_SIGNATURE_LEN])
{
    const uint8_t *at = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)len);
    if (sig == NULL)
        return false;
    bool good = BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, COORDINATE) == COORDINATE &&
                BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + COORDINATE, COORDINATE) == COORDINATE;
    ECDSA_SIG_free(sig);
    return good;
}

/* One DER INTEGER of an unsigned big-endian number: no leading zero but the one that keeps it positive. */
static size_t put_integer(uint8_t *out, const uint8_t number[COORDINATE])
{
    size_t skip = 0;
    while (skip < COORDINATE - 1 && number[skip] == 0)
        skip++;
    size_t sign = number[skip] >> 7;
    size_t len = sign + COORDINATE - skip;
    out[0] = 0x02;
    out[1] = (uint8_t)len;
    out[2] = 0;
    memcpy(out + 2 + sign, number + skip, COORDINATE - skip);
    return 2 + len;
}

static size_t raw_to_der(const uint8_t raw[KEY_SIGNATURE_LEN], uint8_t der[DER_MAX])
{
    size_t len = put_integer(der + 2, raw);
    len += put_integer(der + 2 + len, raw + COORDINATE);
    der[0] = 0x30;
    der[1] = (uint8_t)len;
    return 2 + len;
}

bool token_key_sign(const struct token_key *self, h2o_iovec_t message,
                    uint8_t signature[KEY_SIGNATURE_LEN])
{
    uint8_t digest[SHA256_SIZE], der[DER_MAX];
    size_t len = sizeof(der);
    crypto_sha256(message.base, message.len, digest);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_dup(self->signer);
    bool good = ctx != NULL && EVP_PKEY_sign(ctx, der, &len, digest, sizeof(digest)) == 1 &&
                der_to_raw(der, len, signature);
    EVP_PKEY_CTX_free(ctx);
    if (!good)
        ERR_clear_error();
    return good;
}

bool token_key_verify(const struct token_key *self, h2o_iovec_t message,
                      const uint8_t signature[KEY_SIGNATURE_LEN])
{
    uint8_t digest[SHA256_SIZE], der[DER_MAX];
    crypto_sha256(message.base, message.len, digest);
    size_t len = raw_to_der(signature, der);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_dup(self->verifier);
    bool good = ctx != NULL && EVP_PKEY_verify(ctx, der, len, digest, sizeof(digest)) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (!good)
        ERR_clear_error();
    return good;
}
