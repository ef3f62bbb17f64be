/* SPDX-License-Identifier: Apache-2.0
 *
 * The claims of an id_token whose signature is good. What is accepted was issued by our issuer for us alone,
 * for this attempt and this access token, and is in time. */
#include "fuzz.h"

#include "base/crypto.h"
#include "id_token.h"

#define ISSUER "https://acme.okta.test"
#define CLIENT "0oa1client2ID3xyz4k7"
#define NONCE  "n-0S6_WzA2Mj"

static char access_token[] = "access-token";

static bool is_us_alone(const struct json *aud)
{
    if (aud->type == JSON_STRING)
        return iovec_equal(aud->text, CLIENT);
    bool alone = aud->type == JSON_ARRAY && aud->count > 0;
    for (const struct json *entry = aud->first; entry != NULL; entry = entry->next)
        alone = alone && entry->type == JSON_STRING && iovec_equal(entry->text, CLIENT);
    return alone;
}

static bool says(const struct json *claims, const char *key, const char *value)
{
    h2o_iovec_t text;
    return json_string(claims, key, &text, NULL) && iovec_equal(text, value);
}

static bool absent_or(const struct json *claims, const char *key, const char *value)
{
    const struct json *member = json_member(claims, key);
    return member == NULL || member->type == JSON_NULL || says(claims, key, value);
}

static void check_good(h2o_mem_pool_t *pool, const struct json *claims,
                       const struct id_token_rules *rules, const char *subject)
{
    uint8_t digest[SHA256_SIZE];
    int64_t exp = 0, iat = 0;
    crypto_sha256(access_token, strlen(access_token), digest);
    assert(says(claims, "iss", ISSUER) && is_us_alone(json_member(claims, "aud")));
    assert(absent_or(claims, "azp", CLIENT) && says(claims, "sub", subject));
    assert(absent_or(claims, "at_hash", base64url_encode(pool, digest, 16).base));
    assert(rules->nonce == NULL || says(claims, "nonce", rules->nonce));
    assert(rules->subject == NULL || strcmp(rules->subject, subject) == 0);
    bool good = json_int(claims, "exp", &exp, NULL) && json_int(claims, "iat", &iat, NULL);
    assert(good && exp > FUZZ_NOW_S - ID_TOKEN_SKEW_S && iat <= FUZZ_NOW_S + ID_TOKEN_SKEW_S);
    assert(subject[0] != '\0' && strlen(subject) <= 255);
    for (const char *c = subject; *c != '\0'; c++)
        assert(*c > ' ' && *c < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const struct id_token_rules both[] = {
        {ISSUER, CLIENT, NONCE, NULL, {access_token, sizeof(access_token) - 1}, FUZZ_NOW_S},
        {ISSUER, CLIENT, NULL, "00u1", {access_token, sizeof(access_token) - 1}, FUZZ_NOW_S},
    };
    h2o_mem_pool_t pool;
    struct json *claims;
    h2o_mem_init_pool(&pool);
    bool parsed = json_parse(&pool, h2o_iovec_init(bytes, len), NULL, &claims, NULL) &&
                  claims->type == JSON_OBJECT;
    for (size_t i = 0; i < 2 && parsed; i++) {
        const char *subject = NULL;
        struct error err = {0};
        if (id_token_judge(claims, &both[i], &subject, &err)) {
            check_good(&pool, claims, &both[i], subject);
        } else {
            assert(err.kind == ERROR_REJECTED && subject == NULL);
            fuzz_check_error(&err);
        }
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
