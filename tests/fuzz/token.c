/* SPDX-License-Identifier: Apache-2.0
 *
 * Portal tokens, with a ring of two keys. The first byte says how the rest is used: 's' as a payload that our
 * key signs, 'o' the same with a key that is out of use, 'e' as edits of a genuine token, else as the token.
 * A good one is ours and in time, and remembering it changes no answer. */
#include "fuzz.h"

#include "base/crypto.h"
#include "keys.h"

#define ISSUER   "https://login.example.test"
#define AUDIENCE "prod-eu"
#define LEEWAY_S 30

static const int64_t times_s[] = {FUZZ_NOW_S, 0, FUZZ_NOW_S + 3600, FUZZ_NOW_S - 3600, FUZZ_NOW_S};

static struct token_key *entries[2];
static struct key_ring ring = {.entries = entries, .count = 2};
static const struct token_keys keys = {.ring = &ring};
static struct token_verifier *forgetful, *remembering;

/* Made anew for each process, with kids that a corpus can name. */
static struct token_key *make_key(const char *kid, int64_t sign_from_ms)
{
    struct token_key *random, *key;
    struct secret pem = {0};
    bool good = token_key_generate(TOKEN_ES256, sign_from_ms, sign_from_ms, &random, NULL) &&
                token_key_to_pem(random, &pem, NULL) &&
                token_key_from_pem(kid, secret_iovec(&pem), &key, NULL);
    assert(good);
    secret_dispose(&pem);
    token_key_free(random);
    key->sign_from_ms = sign_from_ms;
    return key;
}

static void prepare(void)
{
    entries[0] = make_key("postern-oldoldoldold", FUZZ_NOW_MS - 10 * KEY_OVERLAP_MS);
    entries[1] = make_key("postern-newnewnewnew", FUZZ_NOW_MS - 5 * KEY_OVERLAP_MS);
    entries[0]->verify_until_ms = entries[1]->sign_from_ms + KEY_OVERLAP_MS;
    forgetful = token_verifier_new(&keys, ISSUER, LEEWAY_S, 0);
    remembering = token_verifier_new(&keys, ISSUER, LEEWAY_S, 64);
}

static h2o_iovec_t sign(h2o_mem_pool_t *pool, const struct token_key *key, h2o_iovec_t payload)
{
    struct text token;
    uint8_t signature[KEY_SIGNATURE_MAX];
    text_init(&token, pool);
    text_add(&token, key->header, KEY_HEADER_LEN);
    text_add_string(&token, base64url_encode(pool, payload.base, payload.len).base);
    bool good = token_key_sign(key, text_iovec(&token), signature);
    assert(good);
    text_add_string(&token, ".");
    text_add_string(&token, base64url_encode(pool, signature, key->signature_len).base);
    return text_iovec(&token);
}

static bool has_audience(const struct json *claims)
{
    const struct json *aud = json_member(claims, "aud");
    bool found = aud->type == JSON_STRING && iovec_equal(aud->text, AUDIENCE);
    for (const struct json *entry = aud->first; entry != NULL; entry = entry->next)
        found = found || iovec_equal(entry->text, AUDIENCE);
    return found;
}

/* Reads the claims of a good token once more. */
static void check_good(h2o_mem_pool_t *pool, h2o_iovec_t token, int64_t now_s,
                       const struct token_info *info)
{
    h2o_iovec_t payload = {NULL, 0}, iss, sub, sid, jti;
    struct json *claims = NULL;
    int64_t exp, nbf, iat;
    const char *end = memchr(token.base + KEY_HEADER_LEN, '.', token.len - KEY_HEADER_LEN);
    size_t len = end != NULL ? (size_t)(end - token.base) - KEY_HEADER_LEN : 0;
    bool good =
        base64url_decode(pool, h2o_iovec_init(token.base + KEY_HEADER_LEN, len), &payload) &&
        json_parse(pool, payload, NULL, &claims, NULL) && json_string(claims, "iss", &iss, NULL) &&
        json_string(claims, "sub", &sub, NULL) && json_string(claims, "sid", &sid, NULL) &&
        json_string(claims, "jti", &jti, NULL) && json_int(claims, "exp", &exp, NULL) &&
        json_int(claims, "nbf", &nbf, NULL) && json_int(claims, "iat", &iat, NULL);
    assert(good && iovec_equal(iss, ISSUER) && sub.len > 0 && has_audience(claims));
    assert(now_s < exp + LEEWAY_S && nbf <= now_s + LEEWAY_S && iat <= now_s + LEEWAY_S);
    assert(iovec_equal(sid, info->session) && iovec_equal(jti, info->jti));
    assert(sid.len > 0 && jti.len > 0 && exp == info->expires_at_s);
}

static bool same_info(const struct token_info *a, const struct token_info *b)
{
    return strcmp(a->session, b->session) == 0 && strcmp(a->jti, b->jti) == 0 &&
           a->expires_at_s == b->expires_at_s;
}

static bool judge(h2o_mem_pool_t *pool, h2o_iovec_t token)
{
    bool any_good = false;
    for (size_t i = 0; i < sizeof(times_s) / sizeof(times_s[0]); i++) {
        struct token_info info, remembered;
        enum token_verdict verdict = token_verify(forgetful, token, AUDIENCE, times_s[i], &info);
        enum token_verdict again =
            token_verify(remembering, token, AUDIENCE, times_s[i], &remembered);
        assert(verdict == again && same_info(&info, &remembered));
        assert(token_verdict_name(verdict) != NULL);
        if (verdict == TOKEN_GOOD)
            check_good(pool, token, times_s[i], &info);
        any_good = any_good || verdict == TOKEN_GOOD;
    }
    return any_good;
}

static void judge_edited(h2o_mem_pool_t *pool, h2o_iovec_t edits)
{
    const struct token_claims claims = {.issuer = ISSUER,
                                        .subject = "00u1",
                                        .audience = AUDIENCE,
                                        .session = "session",
                                        .now_ms = FUZZ_NOW_S * 1000,
                                        .lifetime_s = 60};
    h2o_iovec_t genuine;
    bool changed, good = token_issue(pool, &keys, &claims, &genuine, NULL, NULL);
    assert(good);
    good = judge(pool, fuzz_edit(pool, genuine, edits, &changed));
    assert(good != changed);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t input = h2o_iovec_init(bytes, len);
    bool good = false;
    if (entries[0] == NULL)
        prepare();
    h2o_mem_init_pool(&pool);
    char mode = len > 0 ? input.base[0] : '\0';
    h2o_iovec_t rest = input;
    fuzz_byte(&rest);
    if (mode == 's')
        judge(&pool, sign(&pool, entries[1], rest));
    else if (mode == 'e')
        judge_edited(&pool, rest);
    else if (mode == 'o') /* it was good once, before it was taken out of use */
        good = token_verify(forgetful, sign(&pool, entries[0], rest), AUDIENCE, FUZZ_NOW_S,
                            &(struct token_info){0}) != TOKEN_EXPIRED;
    else
        good = judge(&pool, input); /* nobody signs without the key */
    assert(!good);
    h2o_mem_clear_pool(&pool);
    return 0;
}
