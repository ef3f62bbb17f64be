/* SPDX-License-Identifier: Apache-2.0
 *
 * Key sets. Each key that counts stands in the document as an RSA key of enough bits for RS256, and OpenSSL's
 * error queue is left empty (the next TLS connection of the thread would find what is in it). */
#include "fuzz.h"

#include <openssl/err.h>

#include "base/crypto.h"
#include "token/jwt.h"

static bool says_or_silent(const struct json *jwk, const char *key, const char *value)
{
    h2o_iovec_t text = {NULL, 0};
    return json_optional_string(jwk, key, &text, NULL) &&
           (text.base == NULL || iovec_equal(text, value));
}

/* As strict as the rules of token/jwt.h, read by other code. */
static bool may_count(h2o_mem_pool_t *pool, const struct json *jwk)
{
    h2o_iovec_t kty, n, e;
    if (!json_string(jwk, "kty", &kty, NULL) || !iovec_equal(kty, "RSA") ||
        !says_or_silent(jwk, "alg", "RS256") || !says_or_silent(jwk, "use", "sig") ||
        !json_string(jwk, "n", &n, NULL) || !json_string(jwk, "e", &e, NULL) ||
        !base64url_decode(pool, n, &n) || !base64url_decode(pool, e, &e))
        return false;
    while (n.len > 0 && n.base[0] == 0)
        n = h2o_iovec_init(n.base + 1, n.len - 1);
    return n.len >= 256 && n.len <= 1024 && (n.base[n.len - 1] & 1) != 0 && e.len >= 3 &&
           (e.base[e.len - 1] & 1) != 0;
}

static size_t check_keys(h2o_mem_pool_t *pool, const struct jwks *keys, const struct json *list)
{
    size_t usable = 0;
    for (const struct json *jwk = list->first; jwk != NULL; jwk = jwk->next) {
        h2o_iovec_t kid;
        if (!json_string(jwk, "kid", &kid, NULL) || !jwks_has_kid(keys, kid))
            continue;
        bool any = false; /* of several with this kid */
        for (const struct json *other = list->first; other != NULL; other = other->next) {
            h2o_iovec_t name;
            any = any || (json_string(other, "kid", &name, NULL) && fuzz_same(name, kid) &&
                          may_count(pool, other));
        }
        assert(any && kid.len > 0 && kid.len <= 256);
        usable++;
    }
    return usable;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t body = h2o_iovec_init(bytes, len);
    struct jwks *keys = NULL;
    struct json *document = NULL, *claims;
    struct error err = {0};
    bool unknown_kid;
    h2o_mem_init_pool(&pool);
    if (jwks_parse(body, &keys, &err)) {
        bool good = json_parse(&pool, body, NULL, &document, NULL);
        const struct json *list = good ? json_member(document, "keys") : NULL;
        assert(list != NULL && list->count <= 32);
        size_t usable = check_keys(&pool, keys, list);
        assert(usable > 0 && !jwks_has_kid(keys, iovec_of("")));
        /* {"alg":"RS256","kid":"k1"}.{}.nonsense */
        good = jwt_verify(&pool, keys, iovec_of("eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.e30.AAAA"),
                          &claims, &unknown_kid, &err);
        assert(!good && unknown_kid == !jwks_has_kid(keys, iovec_of("k1")));
        jwks_free(keys);
    } else {
        assert(err.kind == ERROR_BAD_INPUT && keys == NULL);
    }
    fuzz_check_error(&err);
    assert(ERR_peek_error() == 0);
    h2o_mem_clear_pool(&pool);
    return 0;
}
