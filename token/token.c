/* SPDX-License-Identifier: Apache-2.0
 *
 * Issuing portal tokens: JWTs whose header is a fixed text of the key that signs. What verify.c demands
 * stands here. */
#include "token/token.h"

#include <assert.h>

#include "base/crypto.h"
#include "base/text.h"
#include "keys.h"

#define JTI_BYTES    16
#define NBF_BEFORE_S 10 /* clocks of replicas differ a little */

static void put_string(struct json_writer *writer, const char *key, const char *value)
{
    if (value == NULL)
        return;
    json_key(writer, key);
    json_put_string(writer, value);
}

static void put_int(struct json_writer *writer, const char *key, int64_t value)
{
    json_key(writer, key);
    json_put_int(writer, value);
}

static void put_profile(struct json_writer *writer, const struct token_profile *profile)
{
    put_string(writer, "name", profile->name);
    put_string(writer, "preferred_username", profile->preferred_username);
    put_string(writer, "email", profile->email);
    if (profile->email != NULL) {
        json_key(writer, "email_verified");
        json_put_bool(writer, profile->email_verified);
    }
    json_key(writer, "groups");
    json_put_strings(writer, profile->groups, profile->group_count);
}

static bool write_payload(h2o_mem_pool_t *pool, const struct token_claims *claims, const char *jti,
                          h2o_iovec_t *out, struct error *err)
{
    const char *strings[][2] = {{"iss", claims->issuer},
                                {"sub", claims->subject},
                                {"aud", claims->audience},
                                {"sid", claims->session},
                                {"jti", jti}};
    int64_t now_s = claims->now_ms / 1000;
    struct json_writer *writer = json_writer_new(pool);
    json_begin_object(writer);
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
        put_string(writer, strings[i][0], strings[i][1]);
    put_int(writer, "iat", now_s);
    put_int(writer, "nbf", now_s - NBF_BEFORE_S);
    put_int(writer, "exp", now_s + claims->lifetime_s);
    if (claims->nonce != NULL && claims->nonce[0] != '\0')
        put_string(writer, "nonce", claims->nonce);
    if (claims->profile != NULL)
        put_profile(writer, claims->profile);
    json_end_object(writer);
    return json_writer_end(writer, out, err);
}

static bool sign(h2o_mem_pool_t *pool, const struct token_key *key, h2o_iovec_t payload,
                 h2o_iovec_t *out, struct error *err)
{
    struct text token;
    uint8_t signature[KEY_SIGNATURE_MAX];
    text_init(&token, pool);
    text_add(&token, key->header, KEY_HEADER_LEN);
    h2o_iovec_t encoded = base64url_encode(pool, payload.base, payload.len);
    text_add(&token, encoded.base, encoded.len);
    if (!token_key_sign(key, text_iovec(&token), signature))
        return error_set(err, ERROR_INTERNAL, "signing with the key %s failed", key->kid);
    encoded = base64url_encode(pool, signature, key->signature_len);
    text_add(&token, ".", 1);
    text_add(&token, encoded.base, encoded.len);
    if (token.len > TOKEN_MAX_BYTES)
        return error_set(err, ERROR_REJECTED, "a token of %zu bytes is too long", token.len);
    *out = text_iovec(&token);
    return true;
}

bool token_issue(h2o_mem_pool_t *pool, const struct token_keys *keys,
                 const struct token_claims *claims, h2o_iovec_t *out, const char **jti_out,
                 struct error *err)
{
    size_t session_len = strlen(claims->session);
    assert(session_len > 0 && session_len < TOKEN_ID_SIZE && claims->lifetime_s > 0);
    const struct token_key *key = token_keys_signer(keys, claims->now_ms);
    if (key == NULL)
        return error_set(err, ERROR_INTERNAL, "there is no signing key");
    uint8_t random[JTI_BYTES];
    crypto_random(random, sizeof(random));
    h2o_iovec_t jti = base64url_encode(pool, random, sizeof(random)), payload;
    if (!write_payload(pool, claims, jti.base, &payload, err) ||
        !sign(pool, key, payload, out, err))
        return false;
    if (jti_out != NULL)
        *jti_out = jti.base;
    return true;
}
