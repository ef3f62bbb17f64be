/* SPDX-License-Identifier: Apache-2.0
 *
 * Judging a bearer as a portal token, cheapest first: its size, its header by comparing bytes (every unknown
 * bearer of a cluster lands here), the table of tokens seen before, and only then the signature and the
 * claims. The algorithm is the key's, never the token's. Times and audience are judged every time. */
#include <assert.h>

#include "base/crypto.h"
#include "base/text.h"
#include "keys.h"
#include "remember.h"

#define LATEST_TIME_S INT64_C(253402300799) /* the end of the year 9999: sums can't overflow */

struct token_verifier {
    const struct token_keys *keys;
    char *issuer;
    int64_t leeway_s;
    struct remember *remember;
};

static const struct json_limits payload_limits = {
    .max_bytes = TOKEN_MAX_BYTES, .max_depth = 4, .max_nodes = TOKEN_MAX_BYTES / 2}; /* ["",""] */

const char *token_verdict_name(enum token_verdict verdict)
{
    switch (verdict) {
    case TOKEN_GOOD:
        return "good";
    case TOKEN_FOREIGN:
        return "foreign";
    case TOKEN_UNKNOWN_KEY:
        return "unknown_key";
    case TOKEN_BAD:
        return "bad";
    case TOKEN_WRONG_ISSUER:
        return "wrong_issuer";
    case TOKEN_WRONG_AUDIENCE:
        return "wrong_audience";
    case TOKEN_EXPIRED:
        return "expired";
    case TOKEN_NOT_YET:
        return "not_yet";
    }
    assert(!"a verdict without a name");
    return NULL;
}

struct token_verifier *token_verifier_new(const struct token_keys *keys, const char *issuer,
                                          int64_t leeway_s, size_t remember)
{
    struct token_verifier *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct token_verifier){.keys = keys,
                                    .issuer = h2o_strdup(NULL, issuer, SIZE_MAX).base,
                                    .leeway_s = leeway_s,
                                    .remember = remember_new(remember)};
    return self;
}

void token_verifier_free(struct token_verifier *self)
{
    if (self == NULL)
        return;
    remember_free(self->remember);
    free(self->issuer);
    free(self);
}

struct asked { /* one question, handed down */
    h2o_iovec_t token;
    const char *audience;
    int64_t now_s;
};

/* ---- header: bytes only ---- */

static bool has_our_header(h2o_iovec_t token)
{
    return token.len > KEY_HEADER_LEN && token.len <= TOKEN_MAX_BYTES &&
           (memcmp(token.base, KEY_HEADER_BEGIN, KEY_HEADER_BEGIN_LEN) == 0 ||
            memcmp(token.base, KEY_HEADER_BEGIN_RS, KEY_HEADER_BEGIN_LEN) == 0) &&
           memcmp(token.base + KEY_HEADER_LEN - KEY_HEADER_END_LEN, KEY_HEADER_END,
                  KEY_HEADER_END_LEN) == 0;
}

/* Of our form, but no key of the ring: is what stands where the kid stands at least one of ours? */
static enum token_verdict judge_unknown_kid(h2o_iovec_t token)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    h2o_iovec_t random;
    enum token_verdict verdict = TOKEN_FOREIGN;
    if (base64url_decode(&pool, h2o_iovec_init(token.base + KEY_HEADER_BEGIN_LEN, KEY_HEADER_KID),
                         &random)) {
        h2o_iovec_t kid = h2o_concat(&pool, iovec_of(KEY_KID_PREFIX), random);
        verdict = token_key_kid_valid(kid) ? TOKEN_UNKNOWN_KEY : TOKEN_FOREIGN;
    }
    h2o_mem_clear_pool(&pool);
    return verdict;
}

/* ---- signature and claims: only for a token that is not remembered ---- */

static bool check_signature(h2o_mem_pool_t *pool, const struct token_key *key, h2o_iovec_t token,
                            h2o_iovec_t *payload)
{
    const char *dot = memchr(token.base + KEY_HEADER_LEN, '.', token.len - KEY_HEADER_LEN);
    if (dot == NULL)
        return false;
    h2o_iovec_t signed_part = h2o_iovec_init(token.base, (size_t)(dot - token.base));
    h2o_iovec_t encoded = h2o_iovec_init(dot + 1, token.len - signed_part.len - 1), signature;
    if (encoded.len > KEY_SIGNATURE_MAX * 2 || !base64url_decode(pool, encoded, &signature) ||
        signature.len != key->signature_len ||
        !token_key_verify(key, signed_part, (const uint8_t *)signature.base))
        return false;
    return base64url_decode(
        pool, h2o_iovec_init(token.base + KEY_HEADER_LEN, signed_part.len - KEY_HEADER_LEN),
        payload);
}

static bool read_time(const struct json *claims, const char *key, int64_t *out)
{
    return json_int(claims, key, out, NULL) && *out >= 0 && *out <= LATEST_TIME_S;
}

static bool read_id(const struct json *claims, const char *key, char out[TOKEN_ID_SIZE])
{
    h2o_iovec_t value;
    if (!json_string(claims, key, &value, NULL) || value.len == 0 || value.len >= TOKEN_ID_SIZE)
        return false;
    memcpy(out, value.base, value.len + 1);
    return true;
}

/* A string, or an array of strings that is not empty. */
static bool read_audience(const struct json *claims, const char *audience, bool *matches)
{
    const struct json *aud = json_member(claims, "aud");
    if (aud == NULL || (aud->type != JSON_STRING && aud->type != JSON_ARRAY))
        return false;
    *matches = aud->type == JSON_STRING && iovec_equal(aud->text, audience);
    for (const struct json *entry = aud->first; entry != NULL; entry = entry->next) {
        if (entry->type != JSON_STRING)
            return false;
        *matches = *matches || iovec_equal(entry->text, audience);
    }
    return aud->type == JSON_STRING || aud->count > 0;
}

static bool read_claims(const struct json *claims, const char *audience, struct token_facts *out,
                        h2o_iovec_t *issuer)
{
    h2o_iovec_t subject;
    return claims->type == JSON_OBJECT && json_string(claims, "iss", issuer, NULL) &&
           json_string(claims, "sub", &subject, NULL) && subject.len > 0 &&
           read_audience(claims, audience, &out->audience_matches) &&
           read_time(claims, "exp", &out->info.expires_at_s) &&
           read_time(claims, "iat", &out->issued_at_s) &&
           read_time(claims, "nbf", &out->not_before_s) && read_id(claims, "jti", out->info.jti) &&
           read_id(claims, "sid", out->info.session);
}

/* A token with one string as aud (all of ours) is remembered while it lives. */
static enum token_verdict check_anew(struct token_verifier *self, const struct token_key *key,
                                     const struct asked *asked, struct token_facts *facts)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    h2o_iovec_t payload, issuer;
    struct json *claims;
    enum token_verdict verdict = TOKEN_BAD;
    if (check_signature(&pool, key, asked->token, &payload) &&
        json_parse(&pool, payload, &payload_limits, &claims, NULL) &&
        read_claims(claims, asked->audience, facts, &issuer)) {
        verdict = iovec_equal(issuer, self->issuer) ? TOKEN_GOOD : TOKEN_WRONG_ISSUER;
        const struct json *aud = json_member(claims, "aud");
        if (verdict == TOKEN_GOOD && aud->type == JSON_STRING &&
            asked->now_s < facts->info.expires_at_s)
            remember_put(self->remember, asked->token, aud->text, facts);
    }
    h2o_mem_clear_pool(&pool);
    return verdict;
}

/* ---- what is judged every time ---- */

static enum token_verdict judge_now(const struct token_verifier *self,
                                    const struct token_facts *facts, int64_t now_s)
{
    if (!facts->audience_matches)
        return TOKEN_WRONG_AUDIENCE;
    if (now_s >= facts->info.expires_at_s + self->leeway_s)
        return TOKEN_EXPIRED;
    if (facts->not_before_s > now_s + self->leeway_s || facts->issued_at_s > now_s + self->leeway_s)
        return TOKEN_NOT_YET;
    return TOKEN_GOOD;
}

enum token_verdict token_verify(struct token_verifier *self, h2o_iovec_t token,
                                const char *audience, int64_t now_s, struct token_info *out)
{
    *out = (struct token_info){0};
    if (!has_our_header(token))
        return TOKEN_FOREIGN;
    const struct token_key *key = token_keys_find(self->keys, token.base);
    if (key == NULL)
        return judge_unknown_kid(token);
    if (now_s >= key->verify_until_ms / 1000)
        return TOKEN_EXPIRED; /* nothing that this key signed can be younger */
    struct token_facts facts = {0};
    if (!remember_find(self->remember, token, audience, now_s, &facts)) {
        const struct asked asked = {token, audience, now_s};
        enum token_verdict verdict = check_anew(self, key, &asked, &facts);
        if (verdict != TOKEN_GOOD)
            return verdict;
    }
    *out = facts.info;
    return judge_now(self, &facts, now_s);
}
