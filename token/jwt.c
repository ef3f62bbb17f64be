/* SPDX-License-Identifier: Apache-2.0
 *
 * JWTs of others. Form, header, algorithm and key are judged here; libjwt 1.10 is asked for the signature
 * alone, since it takes the algorithm from the token, ignores what follows a NUL, lets junk through in a
 * signature, and lets the last of duplicate claims win. It wants keys as PEM at each call, so a JWKS keeps
 * them so. */
#include "token/jwt.h"

#include <assert.h>
#include <jwt.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include "base/crypto.h"
#include "base/secret.h"
#include "base/text.h"

#define JWKS_MAX_BYTES 65536
#define JWKS_MAX_KEYS  32
#define KID_MAX        256
#define JWT_MAX_BYTES  65536 /* Okta's with many claims; the answer that brings one is capped too */
#define RSA_MIN_BITS   2048
#define RSA_MAX_BITS   8192 /* beyond, one verification would cost milliseconds */

static const struct json_limits header_limits = {
    .max_bytes = 4096, .max_depth = 4, .max_nodes = 64};

/* ---- form ---- */

static bool decode_part(h2o_mem_pool_t *pool, const char *name, h2o_iovec_t encoded,
                        h2o_iovec_t *out, struct error *err)
{
    if (encoded.len == 0 || !base64url_decode(pool, encoded, out))
        return error_set(err, ERROR_REJECTED, "the token's %s is not base64url", name);
    return true;
}

bool jwt_split(h2o_mem_pool_t *pool, h2o_iovec_t token, size_t max, struct jwt_parts *out,
               struct error *err)
{
    if (token.len == 0 || token.len > max)
        return error_set(err, ERROR_REJECTED, "the token has %zu bytes", token.len);
    const char *end = token.base + token.len;
    const char *first = memchr(token.base, '.', token.len);
    const char *second = first != NULL ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL)
        return error_set(err, ERROR_REJECTED, "the token does not have three parts");
    struct jwt_parts parts = {.signed_part =
                                  h2o_iovec_init(token.base, (size_t)(second - token.base))};
    h2o_iovec_t header = h2o_iovec_init(token.base, (size_t)(first - token.base));
    h2o_iovec_t payload = h2o_iovec_init(first + 1, (size_t)(second - first - 1));
    h2o_iovec_t signature = h2o_iovec_init(second + 1, (size_t)(end - second - 1));
    if (!decode_part(pool, "header", header, &parts.header, err) ||
        !decode_part(pool, "payload", payload, &parts.payload, err) ||
        !decode_part(pool, "signature", signature, &parts.signature, err))
        return false;
    *out = parts;
    return true;
}

/* Members that would change how the token is read, or name a key of the token's own choice. */
static const char *const refused_members[] = {"crit", "b64", "zip", "jwk", "jku", "x5u", "x5c"};

bool jwt_header_kid(h2o_mem_pool_t *pool, const struct jwt_parts *parts, h2o_iovec_t *kid,
                    struct error *err)
{
    struct json *header;
    h2o_iovec_t alg = {NULL, 0}, typ = {NULL, 0}, found = {NULL, 0};
    if (!json_parse(pool, parts->header, &header_limits, &header, err) ||
        !json_string(header, "alg", &alg, err) || !json_string(header, "kid", &found, err) ||
        !json_optional_string(header, "typ", &typ, err)) {
        if (err != NULL)
            err->kind = ERROR_REJECTED;
        return error_prefix(err, "the token's header");
    }
    if (!iovec_equal(alg, "RS256"))
        return error_set(err, ERROR_REJECTED, "the token is not signed with RS256");
    if (typ.base != NULL && !h2o_lcstris(typ.base, typ.len, H2O_STRLIT("jwt")))
        return error_set(err, ERROR_REJECTED, "the token's typ is not JWT");
    if (found.len == 0 || found.len > KID_MAX)
        return error_set(err, ERROR_REJECTED, "the token's kid has %zu bytes", found.len);
    for (size_t i = 0; i < sizeof(refused_members) / sizeof(refused_members[0]); i++) {
        if (json_member(header, refused_members[i]) != NULL)
            return error_set(err, ERROR_REJECTED, "the token's header has %s", refused_members[i]);
    }
    *kid = found;
    return true;
}

/* ---- keys ---- */

struct jwk {
    char *kid;
    char *pem; /* of the public key */
};

struct jwks {
    struct jwk keys[JWKS_MAX_KEYS];
    size_t count;
};

void jwks_free(struct jwks *self)
{
    if (self == NULL)
        return;
    for (size_t i = 0; i < self->count; i++) {
        free(self->keys[i].kid);
        free(self->keys[i].pem);
    }
    free(self);
}

static const struct jwk *find(const struct jwks *self, h2o_iovec_t kid)
{
    for (size_t i = 0; i < self->count; i++) {
        if (iovec_equal(kid, self->keys[i].kid))
            return &self->keys[i];
    }
    return NULL;
}

bool jwks_has_kid(const struct jwks *self, h2o_iovec_t kid)
{
    return find(self, kid) != NULL;
}

/* RFC 8725 and D13: a modulus of 2048 bits or more, an odd exponent from 65537 on. */
static bool numbers_sound(const BIGNUM *n, const BIGNUM *e)
{
    int bits = BN_num_bits(n);
    return bits >= RSA_MIN_BITS && bits <= RSA_MAX_BITS && BN_is_odd(n) && BN_is_odd(e) &&
           BN_num_bits(e) >= 17 && BN_num_bits(e) <= 64;
}

static EVP_PKEY *rsa_from_params(const OSSL_PARAM *params)
{
    /* fromdata only reads them, but its parameter is not const */
    OSSL_PARAM *borrowed = (OSSL_PARAM *)(uintptr_t)params;
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, borrowed) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static EVP_PKEY *rsa_from_numbers(const BIGNUM *n, const BIGNUM *e)
{
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    if (build != NULL && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY *pkey = params != NULL ? rsa_from_params(params) : NULL;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    return pkey;
}

static EVP_PKEY *rsa_public(h2o_iovec_t n_bytes, h2o_iovec_t e_bytes)
{
    BIGNUM *n = BN_bin2bn((const uint8_t *)n_bytes.base, (int)n_bytes.len, NULL);
    BIGNUM *e = BN_bin2bn((const uint8_t *)e_bytes.base, (int)e_bytes.len, NULL);
    EVP_PKEY *pkey = NULL;
    if (n != NULL && e != NULL && numbers_sound(n, e))
        pkey = rsa_from_numbers(n, e);
    BN_free(n);
    BN_free(e);
    return pkey;
}

static char *pem_of(EVP_PKEY *pkey)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes = NULL, *pem = NULL;
    long len = 0;
    if (bio != NULL && PEM_write_bio_PUBKEY(bio, pkey) == 1 &&
        (len = BIO_get_mem_data(bio, &bytes)) > 0)
        pem = h2o_strdup(NULL, bytes, (size_t)len).base;
    BIO_free(bio);
    return pem;
}

/* What a key says of its own use; a wrong type anywhere makes it unusable. */
static bool is_rs256_signature_key(const struct json *jwk)
{
    h2o_iovec_t kty = {NULL, 0}, alg = iovec_of("RS256"), use = iovec_of("sig");
    return json_string(jwk, "kty", &kty, NULL) && iovec_equal(kty, "RSA") &&
           json_optional_string(jwk, "alg", &alg, NULL) && iovec_equal(alg, "RS256") &&
           json_optional_string(jwk, "use", &use, NULL) && iovec_equal(use, "sig");
}

/* Adds the key where it is usable and its kid is new. */
static void add_key(struct jwks *self, h2o_mem_pool_t *pool, const struct json *jwk)
{
    h2o_iovec_t kid, n, e;
    if (self->count == JWKS_MAX_KEYS || !is_rs256_signature_key(jwk) ||
        !json_string(jwk, "kid", &kid, NULL) || kid.len == 0 || kid.len > KID_MAX ||
        !json_string(jwk, "n", &n, NULL) || !json_string(jwk, "e", &e, NULL) ||
        !base64url_decode(pool, n, &n) || !base64url_decode(pool, e, &e) || jwks_has_kid(self, kid))
        return;
    EVP_PKEY *pkey = rsa_public(n, e);
    char *pem = pkey != NULL ? pem_of(pkey) : NULL;
    EVP_PKEY_free(pkey);
    ERR_clear_error(); /* else the next TLS connection on this thread would find what failed here */
    if (pem != NULL)
        self->keys[self->count++] =
            (struct jwk){.kid = h2o_strdup(NULL, kid.base, kid.len).base, .pem = pem};
}

static bool parse_keys(h2o_mem_pool_t *pool, h2o_iovec_t body, struct jwks *out, struct error *err)
{
    const struct json_limits limits = {
        .max_bytes = JWKS_MAX_BYTES, .max_depth = 8, .max_nodes = 2048};
    struct json *root;
    if (!json_parse(pool, body, &limits, &root, err))
        return error_prefix(err, "the key set");
    const struct json *keys = json_member(root, "keys");
    if (keys == NULL || keys->type != JSON_ARRAY)
        return error_set(err, ERROR_BAD_INPUT, "the key set has no array of keys");
    if (keys->count > JWKS_MAX_KEYS)
        return error_set(err, ERROR_BAD_INPUT, "the key set has %zu keys", keys->count);
    for (const struct json *jwk = keys->first; jwk != NULL; jwk = jwk->next)
        add_key(out, pool, jwk);
    if (out->count == 0)
        return error_set(err, ERROR_BAD_INPUT, "the key set has no usable RS256 key");
    return true;
}

bool jwks_parse(h2o_iovec_t body, struct jwks **out, struct error *err)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct jwks *self = h2o_mem_alloc(sizeof(*self));
    self->count = 0;
    bool good = parse_keys(&pool, body, self, err);
    h2o_mem_clear_pool(&pool);
    if (good)
        *out = self;
    else
        jwks_free(self);
    return good;
}

/* ---- signature ---- */

/* libjwt only says yes or no. It is handed a key always: without one it would say yes to anything. */
static bool signature_good(const char *token, const struct jwk *key)
{
    jwt_t *jwt = NULL;
    int failed = jwt_decode(&jwt, token, (const unsigned char *)key->pem, (int)strlen(key->pem));
    bool good = failed == 0 && jwt != NULL && jwt_get_alg(jwt) == JWT_ALG_RS256;
    jwt_free(jwt);
    ERR_clear_error();
    return good;
}

bool jwt_verify(h2o_mem_pool_t *pool, const struct jwks *keys, h2o_iovec_t token,
                struct json **claims, bool *unknown_kid, struct error *err)
{
    struct jwt_parts parts = {0};
    h2o_iovec_t kid = {0};
    struct json *found;
    *unknown_kid = false;
    if (!jwt_split(pool, token, JWT_MAX_BYTES, &parts, err) ||
        !jwt_header_kid(pool, &parts, &kid, err))
        return false;
    const struct jwk *key = find(keys, kid);
    if (key == NULL) {
        *unknown_kid = true;
        return error_set(err, ERROR_REJECTED, "the token's key is not in the key set");
    }
    if (!signature_good(secret_in_pool(pool, token).base, key))
        return error_set(err, ERROR_REJECTED, "the token's signature is wrong");
    if (!json_parse(pool, parts.payload, NULL, &found, err) || found->type != JSON_OBJECT)
        return error_set(err, ERROR_REJECTED, "the token's payload is not one JSON object");
    *claims = found;
    return true;
}

/* ---- assertions of our own ---- */

#define ASSERTION_LIFE_S 300
#define JTI_BYTES        16

struct jwt_signer {
    jwt_alg_t alg;
    char *kid;
    struct secret pem;
};

/* A pass phrase is never asked for: it would be on the terminal. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the type is OpenSSL's */
static int no_pass_phrase(char *buffer, int size, int writing, void *ctx)
{
    (void)buffer, (void)size, (void)writing, (void)ctx;
    return -1;
}

/* JWT_ALG_NONE where the key is of no kind that we sign with. */
static jwt_alg_t algorithm_of(const EVP_PKEY *pkey)
{
    char curve[32] = "";
    if (EVP_PKEY_is_a(pkey, "RSA"))
        return EVP_PKEY_get_bits(pkey) >= RSA_MIN_BITS && EVP_PKEY_get_bits(pkey) <= RSA_MAX_BITS
                   ? JWT_ALG_RS256
                   : JWT_ALG_NONE;
    if (EVP_PKEY_is_a(pkey, "EC") &&
        EVP_PKEY_get_group_name(pkey, curve, sizeof(curve), NULL) == 1 &&
        strcmp(curve, SN_X9_62_prime256v1) == 0)
        return JWT_ALG_ES256;
    return JWT_ALG_NONE;
}

bool jwt_signer_new(h2o_iovec_t pem, const char *kid, struct jwt_signer **out, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(pem.base, (int)pem.len);
    EVP_PKEY *pkey = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL) : NULL;
    jwt_alg_t alg = pkey != NULL ? algorithm_of(pkey) : JWT_ALG_NONE;
    bool is_key = pkey != NULL;
    EVP_PKEY_free(pkey);
    BIO_free(bio);
    ERR_clear_error();
    if (!is_key)
        return error_set(err, ERROR_BAD_INPUT, "holds no PEM private key without pass phrase");
    if (alg == JWT_ALG_NONE)
        return error_set(err, ERROR_BAD_INPUT,
                         "the key is neither RSA of %d to %d bits nor EC P-256", RSA_MIN_BITS,
                         RSA_MAX_BITS);
    struct jwt_signer *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct jwt_signer){.alg = alg, .kid = h2o_strdup(NULL, kid, SIZE_MAX).base};
    secret_set(&self->pem, pem.base, pem.len);
    *out = self;
    return true;
}

void jwt_signer_free(struct jwt_signer *self)
{
    if (self == NULL)
        return;
    secret_dispose(&self->pem);
    free(self->kid);
    free(self);
}

static bool fill_assertion(jwt_t *jwt, const struct jwt_signer *signer,
                           const struct jwt_assertion *claims, const char *jti)
{
    return jwt_set_alg(jwt, signer->alg, (const unsigned char *)signer->pem.bytes,
                       (int)signer->pem.len) == 0 &&
           jwt_add_header(jwt, "kid", signer->kid) == 0 &&
           jwt_add_grant(jwt, "iss", claims->client_id) == 0 &&
           jwt_add_grant(jwt, "sub", claims->client_id) == 0 &&
           jwt_add_grant(jwt, "aud", claims->audience) == 0 &&
           jwt_add_grant(jwt, "jti", jti) == 0 &&
           jwt_add_grant_int(jwt, "iat", (long)claims->now_s) == 0 &&
           jwt_add_grant_int(jwt, "exp", (long)(claims->now_s + ASSERTION_LIFE_S)) == 0;
}

bool jwt_sign_assertion(h2o_mem_pool_t *pool, const struct jwt_signer *signer,
                        const struct jwt_assertion *claims, h2o_iovec_t *out, struct error *err)
{
    uint8_t random[JTI_BYTES];
    crypto_random(random, sizeof(random));
    h2o_iovec_t jti = base64url_encode(pool, random, sizeof(random));
    jwt_t *jwt = NULL;
    char *encoded = NULL;
    if (jwt_new(&jwt) == 0 && fill_assertion(jwt, signer, claims, jti.base))
        encoded = jwt_encode_str(jwt);
    jwt_free(jwt);
    ERR_clear_error();
    if (encoded == NULL)
        return error_set(err, ERROR_INTERNAL, "the client assertion could not be signed");
    *out = secret_in_pool(pool, iovec_of(encoded));
    explicit_bzero(encoded, out->len);
    free(encoded);
    return true;
}
