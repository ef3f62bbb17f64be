/* SPDX-License-Identifier: Apache-2.0
 *
 * One signing key: made or read from PEM, and used through OpenSSL. Contexts for signing and verifying are
 * set up once and copied for each use, so that a verification costs one ECDSA or RSA operation and no look-up
 * of algorithms. */
#include "keys.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/crypto.h"
#include "base/text.h"

#define COORDINATE     32 /* bytes of a P-256 coordinate, and of r and s */
#define DER_MAX        80 /* a P-256 signature has at most 72 bytes */
#define RSA_BITS       (8 * KEY_SIGNATURE_RSA)
#define KID_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789"

const char *token_algorithm_name(enum token_algorithm algorithm)
{
    return algorithm == TOKEN_RS256 ? "RS256" : "ES256";
}

bool token_algorithm_parse(const char *name, enum token_algorithm *out)
{
    for (enum token_algorithm one = TOKEN_ES256; one <= TOKEN_RS256; one++) {
        if (strcmp(name, token_algorithm_name(one)) == 0) {
            *out = one;
            return true;
        }
    }
    return false;
}

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
    bool is_rsa = self->algorithm == TOKEN_RS256;
    memcpy(self->header, is_rsa ? KEY_HEADER_BEGIN_RS : KEY_HEADER_BEGIN, KEY_HEADER_BEGIN_LEN);
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

/* len 0: as many bytes as it takes (RFC 7518 section 6.3.1); else padded to len (section 6.2.1) */
static char *encode_number(const EVP_PKEY *pkey, const char *name, int len)
{
    BIGNUM *number = NULL;
    uint8_t bytes[KEY_SIGNATURE_MAX];
    char *encoded = NULL;
    if (EVP_PKEY_get_bn_param(pkey, name, &number) == 1) {
        len = len != 0 ? len : BN_num_bytes(number);
        h2o_mem_pool_t pool;
        h2o_mem_init_pool(&pool);
        if (len <= (int)sizeof(bytes) && BN_bn2binpad(number, bytes, len) == len)
            encoded =
                h2o_strdup(NULL, base64url_encode(&pool, bytes, (size_t)len).base, SIZE_MAX).base;
        h2o_mem_clear_pool(&pool);
    }
    BN_free(number);
    return encoded;
}

static EVP_PKEY_CTX *ready(EVP_PKEY *pkey, int (*init)(EVP_PKEY_CTX *ctx))
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    if (ctx != NULL && init(ctx) == 1 &&
        (!EVP_PKEY_is_a(pkey, "RSA") ||
         EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1) &&
        EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1)
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

static void set_numbers(struct token_key *self)
{
    bool is_rsa = self->algorithm == TOKEN_RS256;
    const char *first = is_rsa ? OSSL_PKEY_PARAM_RSA_N : OSSL_PKEY_PARAM_EC_PUB_X;
    const char *second = is_rsa ? OSSL_PKEY_PARAM_RSA_E : OSSL_PKEY_PARAM_EC_PUB_Y;
    int len = is_rsa ? 0 : COORDINATE;
    self->numbers[0].name = is_rsa ? "n" : "x";
    self->numbers[1].name = is_rsa ? "e" : "y";
    self->numbers[0].value = encode_number(self->pkey, first, len);
    self->numbers[1].value = encode_number(self->pkey, second, len);
}

/* Takes pkey over, also on failure. It is acceptable. */
static bool adopt(EVP_PKEY *pkey, const char *kid, struct token_key **out, struct error *err)
{
    bool is_rsa = EVP_PKEY_is_a(pkey, "RSA");
    struct token_key *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct token_key){.verify_until_ms = INT64_MAX,
                               .algorithm = is_rsa ? TOKEN_RS256 : TOKEN_ES256,
                               .signature_len = is_rsa ? KEY_SIGNATURE_RSA : KEY_SIGNATURE_EC,
                               .pkey = pkey};
    set_kid(self, kid);
    set_numbers(self);
    self->signer = ready(pkey, EVP_PKEY_sign_init);
    self->verifier = ready(pkey, EVP_PKEY_verify_init);
    if (self->signer == NULL || self->verifier == NULL || self->numbers[0].value == NULL ||
        self->numbers[1].value == NULL) {
        token_key_free(self);
        ERR_clear_error();
        return error_set(err, ERROR_INTERNAL, "OpenSSL can't use the key %s", kid);
    }
    *out = self;
    return true;
}

bool token_key_generate(enum token_algorithm algorithm, int64_t now_ms, int64_t sign_from_ms,
                        struct token_key **out, struct error *err)
{
    EVP_PKEY *pkey = algorithm == TOKEN_RS256 ? EVP_RSA_gen(RSA_BITS) : EVP_EC_gen("P-256");
    if (pkey == NULL) {
        ERR_clear_error();
        return error_set(err, ERROR_INTERNAL, "OpenSSL can't make a key for %s",
                         token_algorithm_name(algorithm));
    }
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

static bool is_p256(EVP_PKEY *pkey)
{
    char group[32];
    return EVP_PKEY_is_a(pkey, "EC") &&
           EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

static bool is_rsa_2048(EVP_PKEY *pkey)
{
    BIGNUM *e = NULL;
    bool good = EVP_PKEY_is_a(pkey, "RSA") && EVP_PKEY_get_bits(pkey) == RSA_BITS &&
                EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) == 1 &&
                BN_is_word(e, RSA_F4) == 1;
    BN_free(e);
    return good;
}

/* Of a kind that we sign with, and the public part belongs to the private one. */
static bool acceptable(EVP_PKEY *pkey)
{
    if (!is_p256(pkey) && !is_rsa_2048(pkey))
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
        return error_set(err, ERROR_BAD_INPUT,
                         "the private key is no sound key of P-256 or RSA 2048");
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
    free(self->numbers[0].value);
    free(self->numbers[1].value);
    free(self);
}

bool token_key_same(const struct token_key *a, const struct token_key *b)
{
    return strcmp(a->kid, b->kid) == 0 && a->created_at_ms == b->created_at_ms &&
           a->sign_from_ms == b->sign_from_ms && EVP_PKEY_eq(a->pkey, b->pkey) == 1;
}

/* ---- using: of ECDSA, JWS wants r and s as they are, OpenSSL wraps them in DER ---- */

static bool der_to_raw(const uint8_t *der, size_t len, uint8_t raw[KEY_SIGNATURE_EC])
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

static size_t raw_to_der(const uint8_t raw[KEY_SIGNATURE_EC], uint8_t der[DER_MAX])
{
    size_t len = put_integer(der + 2, raw);
    len += put_integer(der + 2 + len, raw + COORDINATE);
    der[0] = 0x30;
    der[1] = (uint8_t)len;
    return 2 + len;
}

static bool sign_digest(const struct token_key *self, EVP_PKEY_CTX *ctx,
                        const uint8_t digest[SHA256_SIZE], uint8_t signature[KEY_SIGNATURE_MAX])
{
    uint8_t der[DER_MAX];
    size_t len = self->algorithm == TOKEN_RS256 ? KEY_SIGNATURE_RSA : sizeof(der);
    if (self->algorithm == TOKEN_RS256)
        return EVP_PKEY_sign(ctx, signature, &len, digest, SHA256_SIZE) == 1 &&
               len == KEY_SIGNATURE_RSA;
    return EVP_PKEY_sign(ctx, der, &len, digest, SHA256_SIZE) == 1 &&
           der_to_raw(der, len, signature);
}

bool token_key_sign(const struct token_key *self, h2o_iovec_t message,
                    uint8_t signature[KEY_SIGNATURE_MAX])
{
    uint8_t digest[SHA256_SIZE];
    crypto_sha256(message.base, message.len, digest);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_dup(self->signer);
    bool good = ctx != NULL && sign_digest(self, ctx, digest, signature);
    EVP_PKEY_CTX_free(ctx);
    if (!good)
        ERR_clear_error();
    return good;
}

bool token_key_verify(const struct token_key *self, h2o_iovec_t message, const uint8_t *signature)
{
    uint8_t digest[SHA256_SIZE], der[DER_MAX];
    size_t len = self->signature_len;
    crypto_sha256(message.base, message.len, digest);
    if (self->algorithm == TOKEN_ES256) {
        len = raw_to_der(signature, der);
        signature = der;
    }
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_dup(self->verifier);
    bool good = ctx != NULL && EVP_PKEY_verify(ctx, signature, len, digest, sizeof(digest)) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (!good)
        ERR_clear_error();
    return good;
}
