/* SPDX-License-Identifier: Apache-2.0
 *
 * JWTs of others. The first byte says how the rest is used: 's' as header (its first line) and payload that the
 * provider's key signs, 'e' as edits of a genuine token, else as the token. What verifies was signed, says
 * RS256 and our kid, and holds nothing that changes how it is read. */
#include "fuzz.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "base/crypto.h"
#include "token/jwt.h"

#define KID     "k1"
#define HEADER  "{\"alg\":\"RS256\",\"kid\":\"" KID "\"}"
#define PAYLOAD "{\"sub\":\"00u1\"}"

static EVP_PKEY *rsa;
static struct jwks *keys;

static const char *number(h2o_mem_pool_t *pool, const char *name)
{
    BIGNUM *n = NULL;
    uint8_t bytes[512];
    int good = EVP_PKEY_get_bn_param(rsa, name, &n);
    assert(good == 1);
    int len = BN_bn2bin(n, bytes);
    BN_free(n);
    return base64url_encode(pool, bytes, (size_t)len).base;
}

static void prepare(h2o_mem_pool_t *pool)
{
    rsa = EVP_RSA_gen(2048);
    assert(rsa != NULL);
    const char *set = text_format(
        pool, "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"" KID "\",\"n\":\"%s\",\"e\":\"%s\"}]}",
        number(pool, OSSL_PKEY_PARAM_RSA_N), number(pool, OSSL_PKEY_PARAM_RSA_E));
    bool good = jwks_parse(iovec_of(set), &keys, NULL);
    assert(good);
}

static h2o_iovec_t sign(h2o_mem_pool_t *pool, h2o_iovec_t header, h2o_iovec_t payload)
{
    uint8_t signature[256];
    size_t len = sizeof(signature);
    const char *input =
        text_format(pool, "%s.%s", base64url_encode(pool, header.base, header.len).base,
                    base64url_encode(pool, payload.base, payload.len).base);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int good = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, rsa) == 1 &&
               EVP_DigestSign(ctx, signature, &len, (const uint8_t *)input, strlen(input)) == 1;
    assert(good);
    EVP_MD_CTX_free(ctx);
    return iovec_of(text_format(pool, "%s.%s", input, base64url_encode(pool, signature, len).base));
}

/* By OpenSSL alone, without libjwt. */
static bool signed_by_us(const struct jwt_parts *parts)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good =
        EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, rsa) == 1 &&
        EVP_DigestVerify(ctx, (const uint8_t *)parts->signature.base, parts->signature.len,
                         (const uint8_t *)parts->signed_part.base, parts->signed_part.len) == 1;
    EVP_MD_CTX_free(ctx);
    return good;
}

static void check_header(h2o_mem_pool_t *pool, const struct jwt_parts *parts)
{
    static const char *const refused[] = {"crit", "b64", "zip", "jwk", "jku", "x5u", "x5c"};
    struct json *header = NULL;
    h2o_iovec_t alg, kid;
    bool good = json_parse(pool, parts->header, NULL, &header, NULL) &&
                json_string(header, "alg", &alg, NULL) && json_string(header, "kid", &kid, NULL);
    assert(good && iovec_equal(alg, "RS256") && iovec_equal(kid, KID));
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert(json_member(header, refused[i]) == NULL);
}

/* The parts say every byte of the token. */
static void check_parts(h2o_mem_pool_t *pool, h2o_iovec_t token, const struct jwt_parts *parts)
{
    const char *again = text_format(
        pool, "%s.%s.%s", base64url_encode(pool, parts->header.base, parts->header.len).base,
        base64url_encode(pool, parts->payload.base, parts->payload.len).base,
        base64url_encode(pool, parts->signature.base, parts->signature.len).base);
    assert(iovec_equal(token, again));
}

static bool judge(h2o_mem_pool_t *pool, h2o_iovec_t token)
{
    struct jwt_parts parts;
    struct json *claims = NULL;
    struct error err = {0};
    bool unknown_kid, split = jwt_split(pool, token, 65536, &parts, NULL);
    if (split)
        check_parts(pool, token, &parts);
    bool good = jwt_verify(pool, keys, token, &claims, &unknown_kid, &err);
    assert(ERR_peek_error() == 0);
    if (good) {
        assert(split && !unknown_kid && claims->type == JSON_OBJECT && signed_by_us(&parts));
        check_header(pool, &parts);
    } else {
        assert(err.kind == ERROR_REJECTED && claims == NULL);
        fuzz_check_error(&err);
    }
    ERR_clear_error();
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t input = h2o_iovec_init(bytes, len), rest = input;
    bool changed, good;
    h2o_mem_init_pool(&pool);
    if (keys == NULL)
        prepare(&pool);
    switch (fuzz_byte(&rest)) {
    case 's': {
        h2o_iovec_t header = fuzz_line(&rest);
        judge(&pool, sign(&pool, header, rest));
        break;
    }
    case 'e': {
        h2o_iovec_t genuine = sign(&pool, iovec_of(HEADER), iovec_of(PAYLOAD));
        good = judge(&pool, fuzz_edit(&pool, genuine, rest, &changed));
        assert(good != changed);
        break;
    }
    default:
        good = judge(&pool, input);
        assert(!good);
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
