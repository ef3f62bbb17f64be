/* SPDX-License-Identifier: Apache-2.0
 *
 * Portal tokens: what we issue verifies, everything else does not, and the table of verified tokens never
 * changes an answer. libjwt is the independent oracle in both directions. */
#include "support_token.h"

#include <jwt.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <pthread.h>

#include "remember.h"
#include "token/token.h"

#define SIGNATURE_ENCODED 86 /* of ES256 */

struct fixture {
    h2o_mem_pool_t pool;
    struct token_keys *keys;
    const struct token_key *key;
    struct token_verifier *verifier; /* remembers 64 tokens, leeway 60 s */
};

static int set_up_with(void **state, enum token_algorithm algorithm)
{
    struct fixture *f = h2o_mem_alloc(sizeof(*f));
    h2o_mem_init_pool(&f->pool);
    f->keys = fresh_keys(algorithm);
    f->key = token_keys_ring(f->keys)->entries[0];
    f->verifier = token_verifier_new(f->keys, ISSUER, 60, 64);
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, TOKEN_ES256);
}

static int set_up_rsa(void **state)
{
    return set_up_with(state, TOKEN_RS256);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    token_verifier_free(f->verifier);
    token_keys_free(f->keys);
    h2o_mem_clear_pool(&f->pool);
    free(f);
    return 0;
}

static struct token_claims good_claims(void)
{
    return (struct token_claims){.issuer = ISSUER,
                                 .subject = "00u1abcd2EFGH3ijk4l5",
                                 .audience = AUDIENCE,
                                 .session = "GRANTGRANTGRANTGRANT12",
                                 .now_ms = NOW_S * 1000,
                                 .lifetime_s = 60};
}

static h2o_iovec_t issue(struct fixture *f, const struct token_claims *claims, const char **jti)
{
    h2o_iovec_t token;
    struct error err = {0};
    if (!token_issue(&f->pool, f->keys, claims, &token, jti, &err))
        fail_msg("%s", err.text);
    return token;
}

static h2o_iovec_t issue_good(struct fixture *f)
{
    struct token_claims claims = good_claims();
    return issue(f, &claims, NULL);
}

static void expect(struct fixture *f, h2o_iovec_t token, int64_t now_s, enum token_verdict verdict)
{
    struct token_info info;
    assert_string_equal(
        token_verdict_name(token_verify(f->verifier, token, AUDIENCE, now_s, &info)),
        token_verdict_name(verdict));
}

/* ---- what we issue ---- */

static void test_good(void **state)
{
    struct fixture *f = *state;
    struct token_claims claims = good_claims();
    const char *jti;
    h2o_iovec_t token = issue(f, &claims, &jti);
    for (int round = 0; round < 2; round++) { /* the second time from the table */
        struct token_info info;
        assert_int_equal(token_verify(f->verifier, token, AUDIENCE, NOW_S, &info), TOKEN_GOOD);
        assert_string_equal(info.session, claims.session);
        assert_string_equal(info.jti, jti);
        assert_int_equal(info.expires_at_s, NOW_S + 60);
    }
}

static void test_form(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t token = issue_good(f), header;
    assert_true(
        base64url_decode(&f->pool, h2o_iovec_init(token.base, KEY_HEADER_LEN - 1), &header));
    assert_string_equal(
        header.base,
        text_format(&f->pool, "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"JWT\"}", f->key->kid));
    assert_int_equal(token.base[KEY_HEADER_LEN - 1], '.');
}

/* As the API server, and whoever else reads tokens, gets them. */
static struct json *payload_of(struct fixture *f, h2o_iovec_t token)
{
    const struct json_limits limits = {
        .max_bytes = TOKEN_MAX_BYTES, .max_depth = 4, .max_nodes = 4096};
    h2o_iovec_t payload;
    struct json *claims;
    const char *begin = token.base + KEY_HEADER_LEN;
    size_t len = (size_t)((char *)memchr(begin, '.', token.len - KEY_HEADER_LEN) - begin);
    assert_true(base64url_decode(&f->pool, h2o_iovec_init(begin, len), &payload));
    assert_true(json_parse(&f->pool, payload, &limits, &claims, NULL));
    return claims;
}

static void assert_claim(const struct json *claims, const char *key, const char *value)
{
    h2o_iovec_t found;
    assert_true(json_string(claims, key, &found, NULL));
    assert_string_equal(found.base, value);
}

static void test_profile(void **state)
{
    struct fixture *f = *state;
    const char *const groups[] = {"okta:dev", "okta:ops \xc3\xbc"};
    const struct token_profile profile = {.name = "Ada \"L\"",
                                          .preferred_username = "okta:ada",
                                          .email = "ada@example.test",
                                          .email_verified = true,
                                          .groups = groups,
                                          .group_count = 2};
    struct token_claims claims = good_claims();
    claims.profile = &profile;
    claims.nonce = "n-0S6_WzA2Mj";
    h2o_iovec_t token = issue(f, &claims, NULL);
    expect(f, token, NOW_S, TOKEN_GOOD);
    const struct json *payload = payload_of(f, token), *list = json_member(payload, "groups");
    assert_claim(payload, "name", "Ada \"L\"");
    assert_claim(payload, "preferred_username", "okta:ada");
    assert_claim(payload, "email", "ada@example.test");
    assert_claim(payload, "nonce", "n-0S6_WzA2Mj");
    assert_int_equal(json_member(payload, "email_verified")->type, JSON_BOOL);
    assert_int_equal(list->count, 2);
    assert_true(iovec_equal(list->last->text, "okta:ops \xc3\xbc"));
}

static void test_no_profile(void **state)
{
    struct fixture *f = *state;
    static const char *const keys[] = {
        "name", "preferred_username", "email", "email_verified", "groups", "nonce"};
    struct token_claims claims = good_claims();
    claims.nonce = "";
    const struct json *payload = payload_of(f, issue(f, &claims, NULL));
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        assert_null(json_member(payload, keys[i]));
}

/* One group at a time, up to the last that fits: all of them are in the token, and it verifies; with one more there
 * is no token. */
static void test_groups_fit_or_no_token(void **state)
{
    struct fixture *f = *state;
    const char *groups[2048];
    struct token_profile profile = {.preferred_username = "ada", .groups = groups};
    struct token_claims claims = good_claims();
    struct error err = {0};
    h2o_iovec_t token, last = {0};
    claims.profile = &profile;
    for (size_t i = 0; i < 2048; i++)
        groups[i] = "g";
    while (token_issue(&f->pool, f->keys, &claims, &token, NULL, &err)) {
        last = token;
        profile.group_count += 16;
    }
    assert_int_equal(err.kind, ERROR_REJECTED);
    assert_true(profile.group_count > 1000);
    assert_int_equal(json_member(payload_of(f, last), "groups")->count, profile.group_count - 16);
    expect(f, last, NOW_S, TOKEN_GOOD);
}

static void test_two_tokens_differ(void **state)
{
    struct fixture *f = *state;
    struct token_claims claims = good_claims();
    const char *first, *second;
    issue(f, &claims, &first);
    issue(f, &claims, &second);
    assert_string_not_equal(first, second);
}

static void test_times(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t token = issue_good(f);
    expect(f, token, NOW_S + 59, TOKEN_GOOD);
    expect(f, token, NOW_S + 60 + 59, TOKEN_GOOD); /* leeway */
    expect(f, token, NOW_S + 60 + 60, TOKEN_EXPIRED);
    expect(f, token, NOW_S - 60, TOKEN_GOOD); /* iat is 60 s ahead */
    expect(f, token, NOW_S - 61, TOKEN_NOT_YET);
    expect(f, token, NOW_S, TOKEN_GOOD);
}

static void test_expired_token_still_names_its_session(void **state)
{
    struct fixture *f = *state;
    struct token_info info;
    assert_int_equal(token_verify(f->verifier, issue_good(f), AUDIENCE, NOW_S + 3600, &info),
                     TOKEN_EXPIRED);
    assert_string_equal(info.session, good_claims().session);
}

/* peers 7: a good signature does not help at another cluster, whether remembered or not */
static void test_wrong_audience(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t token = issue_good(f);
    struct token_info info;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(token_verify(f->verifier, token, "kubernete", NOW_S, &info),
                         TOKEN_WRONG_AUDIENCE);
        assert_int_equal(token_verify(f->verifier, token, AUDIENCE "2", NOW_S, &info),
                         TOKEN_WRONG_AUDIENCE);
        assert_int_equal(token_verify(f->verifier, token, "", NOW_S, &info), TOKEN_WRONG_AUDIENCE);
        assert_int_equal(token_verify(f->verifier, token, AUDIENCE, NOW_S, &info), TOKEN_GOOD);
    }
}

static void test_wrong_issuer(void **state)
{
    struct fixture *f = *state;
    struct token_claims claims = good_claims();
    claims.issuer = ISSUER "/";
    h2o_iovec_t token = issue(f, &claims, NULL);
    expect(f, token, NOW_S, TOKEN_WRONG_ISSUER);
    expect(f, token, NOW_S, TOKEN_WRONG_ISSUER);
}

static void test_key_of_another_ring(void **state)
{
    struct fixture *f = *state;
    struct token_keys *others = fresh_keys(TOKEN_ES256);
    struct token_claims claims = good_claims();
    h2o_iovec_t token;
    assert_true(token_issue(&f->pool, others, &claims, &token, NULL, NULL));
    expect(f, token, NOW_S, TOKEN_UNKNOWN_KEY);
    token_keys_free(others);
}

static void test_retired_key(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t token = issue_good(f);
    token_keys_ring(f->keys)->entries[0]->verify_until_ms = NOW_MS + 5000;
    expect(f, token, NOW_S + 4, TOKEN_GOOD);
    expect(f, token, NOW_S + 5, TOKEN_EXPIRED);
}

/* ---- what is not ours ---- */

/* peers 12: sizes and bytes; peers 2: kids; peers 1: algorithms */
static void test_foreign(void **state)
{
    struct fixture *f = *state;
    static const char *const tokens[] = {
        "",
        "x",
        ".",
        "..",
        "...",
        "a.b.c",
        "Bearer",
        /* a service account's */
        "eyJhbGciOiJSUzI1NiIsImtpZCI6Inh5eiJ9.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50In0.AAAA",
        KEY_HEADER_BEGIN,
        KEY_HEADER_BEGIN "YWJjZGVmZ2hpamts",
        KEY_HEADER_BEGIN "YWJjZGVmZ2hpamts" KEY_HEADER_END,
    };
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++)
        expect(f, iovec_of(tokens[i]), NOW_S, TOKEN_FOREIGN);
    expect(f, h2o_iovec_init(NULL, 0), NOW_S, TOKEN_FOREIGN);

    static const char *const headers[] = {
        "{\"alg\":\"none\"}",
        "{\"kid\":\"postern-abcdefghijkl\",\"typ\":\"JWT\"}",
        "{\"alg\":\"none\",\"kid\":\"postern-abcdefghijkl\",\"typ\":\"JWT\"}",
        "{\"alg\":\"HS256\",\"kid\":\"postern-abcdefghijkl\",\"typ\":\"JWT\"}",
        "{\"alg\":\"PS256\",\"kid\":\"postern-abcdefghijkl\",\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"kid\":\"postern-abcdefghijk\",\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"kid\":\"postern-abcdefghijklm\",\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"kid\":\"postern-ABCDEFGHIJKL\",\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"kid\":\"postern-../../../etc\",\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"kid\":\"postern-' or 1=1 --x\",\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"kid\":\"postern-a\",\"x\":\"yzz\",\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"kid\":\"postern-abcdefghijkl\",\"typ\":\"jwt\"}",
    };
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        h2o_iovec_t header = base64url_encode(&f->pool, headers[i], strlen(headers[i]));
        expect(f, iovec_of(text_format(&f->pool, "%s.e30.%086d", header.base, 0)), NOW_S,
               TOKEN_FOREIGN);
    }
    /* NUL bytes as kid */
    char with_nul[] = "{\"alg\":\"ES256\",\"kid\":\"postern-abcdefghijk_\",\"typ\":\"JWT\"}";
    *strchr(with_nul, '_') = '\0';
    h2o_iovec_t header = base64url_encode(&f->pool, with_nul, sizeof(with_nul) - 1);
    expect(f, iovec_of(text_format(&f->pool, "%s.e30.%086d", header.base, 0)), NOW_S,
           TOKEN_FOREIGN);
}

static void test_sizes(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {KEY_HEADER_LEN, KEY_HEADER_LEN + 1, TOKEN_MAX_BYTES,
                                   TOKEN_MAX_BYTES + 1, 1 << 20};
    static const enum token_verdict verdicts[] = {TOKEN_FOREIGN, TOKEN_BAD, TOKEN_BAD,
                                                  TOKEN_FOREIGN, TOKEN_FOREIGN};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *bytes =
            malloc(sizes[i]); /* of exactly this size, so that ASan sees one byte too many */
        memset(bytes, 'A', sizes[i]);
        memcpy(bytes, f->key->header, KEY_HEADER_LEN);
        expect(f, h2o_iovec_init(bytes, sizes[i]), NOW_S, verdicts[i]);
        free(bytes);
    }
}

static void test_unknown_kid_of_our_form(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t kid = base64url_encode(&f->pool, "abcdefghijk0", 12);
    expect(f,
           iovec_of(text_format(&f->pool, KEY_HEADER_BEGIN "%s" KEY_HEADER_END "e30.x", kid.base)),
           NOW_S, TOKEN_UNKNOWN_KEY);
}

/* No change of one character makes another good token, and none of the refusals leaves an OpenSSL error
 * behind, which the next TLS connection on the thread would take for its own. */
static void test_each_character_counts(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t token = issue_good(f);
    for (size_t i = 0; i < token.len; i++) {
        static const char others[] = "Aa0_.=\n \x80";
        for (size_t o = 0; o < sizeof(others); o++) { /* the closing NUL too */
            char *changed = text_dup_iovec(&f->pool, token);
            if (changed[i] == others[o])
                continue;
            changed[i] = others[o];
            struct token_info info;
            assert_int_not_equal(token_verify(f->verifier, h2o_iovec_init(changed, token.len),
                                              AUDIENCE, NOW_S, &info),
                                 TOKEN_GOOD);
            assert_int_equal(ERR_peek_error(), 0);
        }
    }
    expect(f, token, NOW_S, TOKEN_GOOD);
}

static void test_signature_form(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t token = issue_good(f);
    size_t head = token.len - SIGNATURE_ENCODED;
    char *cut = text_dup_iovec(&f->pool, h2o_iovec_init(token.base, head));
    static const char *const signatures[] = {"", "AA", ".", "%086d="};
    for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++)
        expect(f, iovec_of(text_format(&f->pool, "%s%s", cut, signatures[i])), NOW_S, TOKEN_BAD);
    expect(f, iovec_of(text_format(&f->pool, "%s%086d", cut, 0)), NOW_S, TOKEN_BAD); /* not zeros */
    uint8_t zeros[KEY_SIGNATURE_EC] = {0}, ones[KEY_SIGNATURE_EC];
    memset(ones, 0xff, sizeof(ones));
    expect(f,
           iovec_of(text_format(&f->pool, "%s%s", cut, base64url_encode(&f->pool, zeros, 64).base)),
           NOW_S, TOKEN_BAD);
    expect(f,
           iovec_of(text_format(&f->pool, "%s%s", cut, base64url_encode(&f->pool, ones, 64).base)),
           NOW_S, TOKEN_BAD);
    expect(f, iovec_of(text_format(&f->pool, "%s=", token.base)), NOW_S, TOKEN_BAD);
    /* the good 64 bytes, and more behind them */
    expect(f, iovec_of(text_format(&f->pool, "%sAA", token.base)), NOW_S, TOKEN_BAD);
    expect(f, iovec_of(text_format(&f->pool, "%sAAAAAA", token.base)), NOW_S, TOKEN_BAD);
    expect(f, iovec_of(text_format(&f->pool, "%s.e30", token.base)), NOW_S, TOKEN_BAD);
    expect(f, h2o_iovec_init(token.base, token.len + 1), NOW_S, TOKEN_BAD); /* with a NUL */
    expect(f, h2o_iovec_init(token.base, token.len - 1), NOW_S, TOKEN_BAD);
}

/* ---- claims ---- */

#define SIGNATURE_ENCODED 86 /* of ES256 */
#define REST                                                                                       \
    "\"iss\":\"" ISSUER "\",\"sub\":\"u\",\"aud\":\"" AUDIENCE "\",\"jti\":\"j\",\"sid\":\"s\""
#define TIMES "\"iat\":1790000000,\"nbf\":1790000000"
#define EXP   "\"exp\":1790000060"

/* peers 4, 6, 7 */
static void test_claims(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *payload;
        enum token_verdict verdict;
    } cases[] = {
        {"{" REST "," TIMES "," EXP "}", TOKEN_GOOD},
        {"{" REST "," TIMES "," EXP ",\"other\":[1,{}]}", TOKEN_GOOD},
        {"{" REST "," TIMES "}", TOKEN_BAD},
        {"{" REST "," TIMES ",\"exp\":1e300}", TOKEN_BAD},
        {"{" REST "," TIMES ",\"exp\":1790000060.0}", TOKEN_BAD},
        {"{" REST "," TIMES ",\"exp\":-1}", TOKEN_BAD},
        {"{" REST "," TIMES ",\"exp\":\"1790000060\"}", TOKEN_BAD},
        {"{" REST "," TIMES ",\"exp\":null}", TOKEN_BAD},
        {"{" REST "," TIMES ",\"exp\":true}", TOKEN_BAD},
        {"{" REST "," TIMES ",\"exp\":9223372036854775807}", TOKEN_BAD},
        {"{" REST "," TIMES ",\"exp\":9223372036854775808}", TOKEN_BAD},
        {"{" REST "," TIMES ",\"exp\":253402300799}", TOKEN_GOOD},
        {"{" REST "," TIMES ",\"exp\":253402300800}", TOKEN_BAD},
        {"{" REST "," TIMES ",\"exp\":2147483648}", TOKEN_GOOD}, /* beyond 2038 */
        {"{" REST "," TIMES ",\"exp\":0}", TOKEN_EXPIRED},
        {"{" REST "," TIMES ",\"exp\":1,\"exp\":1790000060}", TOKEN_BAD},
        {"{" REST "," TIMES ",\"EXP\":1790000060}", TOKEN_BAD},
        {"{" REST "," TIMES "," EXP ",\"AUD\":\"x\",\"Sub\":\"y\"}", TOKEN_GOOD},
        {"{" REST ",\"nbf\":1790000000," EXP "}", TOKEN_BAD},
        {"{" REST ",\"iat\":1790000000," EXP "}", TOKEN_BAD},
        {"{" REST ",\"iat\":1790000000,\"nbf\":1790000061,\"exp\":1790000120}", TOKEN_NOT_YET},
        {"{" REST ",\"iat\":1790000061,\"nbf\":1790000000,\"exp\":1790000120}", TOKEN_NOT_YET},
        {"[]", TOKEN_BAD},
        {"", TOKEN_BAD},
        {"{}", TOKEN_BAD},
        {"{" REST "," TIMES "," EXP "} ", TOKEN_GOOD},
        {"{" REST "," TIMES "," EXP "}x", TOKEN_BAD},
        {"{" REST "," TIMES "," EXP ",\"a\":\"\xff\"}", TOKEN_BAD},
        {"{" REST "," TIMES "," EXP ",\"a\":[[[[[[[[]]]]]]]]}", TOKEN_BAD},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        h2o_iovec_t token = sign_payload(&f->pool, f->key, cases[i].payload);
        expect(f, token, NOW_S, cases[i].verdict);
        expect(f, token, NOW_S, cases[i].verdict);
    }
}

/* Each string claim: missing, of another type, empty, too long. */
static void test_string_claims(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"iss", "sub", "aud", "jti", "sid"};
    static const char *const values[] = {"\"" ISSUER "\"", "\"u\"", "\"" AUDIENCE "\"", "\"j\"",
                                         "\"s\""};
    static const char *const bad[] = {NULL, "1", "null", "{}", "\"\"", "[1]", "[]"};
    for (size_t name = 0; name < 5; name++) {
        for (size_t b = 0; b < sizeof(bad) / sizeof(bad[0]); b++) {
            struct text payload;
            text_init(&payload, &f->pool);
            text_add_string(&payload, "{" TIMES "," EXP);
            for (size_t i = 0; i < 5; i++) {
                const char *value = i == name ? bad[b] : values[i];
                if (value != NULL)
                    text_add_format(&payload, ",\"%s\":%s", names[i], value);
            }
            text_add_string(&payload, "}");
            struct token_info info;
            h2o_iovec_t token = sign_payload(&f->pool, f->key, payload.bytes);
            assert_int_not_equal(token_verify(f->verifier, token, AUDIENCE, NOW_S, &info),
                                 TOKEN_GOOD);
        }
    }
}

static void test_long_ids(void **state)
{
    struct fixture *f = *state;
    for (size_t len = TOKEN_ID_SIZE - 2; len <= TOKEN_ID_SIZE; len++) {
        char sid[TOKEN_ID_SIZE + 1] = {0};
        memset(sid, 's', len);
        const char *payload =
            text_format(&f->pool,
                        "{\"iss\":\"" ISSUER "\",\"sub\":\"u\",\"aud\":\"" AUDIENCE
                        "\",\"jti\":\"j\",\"sid\":\"%s\"," TIMES "," EXP "}",
                        sid);
        expect(f, sign_payload(&f->pool, f->key, payload), NOW_S,
               len < TOKEN_ID_SIZE ? TOKEN_GOOD : TOKEN_BAD);
    }
}

/* peers 7 */
static void test_audience_array(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *aud;
        enum token_verdict verdict;
    } cases[] = {
        {"[\"" AUDIENCE "\"]", TOKEN_GOOD},
        {"[\"other\",\"" AUDIENCE "\"]", TOKEN_GOOD},
        {"[\"other\"]", TOKEN_WRONG_AUDIENCE},
        {"[\"Kubernetes\",\"kubernetes \"]", TOKEN_WRONG_AUDIENCE},
        {"[\"" AUDIENCE "\",1]", TOKEN_BAD},
        {"[[\"" AUDIENCE "\"]]", TOKEN_BAD},
        {"[]", TOKEN_BAD},
        {"{\"kubernetes\":\"kubernetes\"}", TOKEN_BAD},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *payload = text_format(
            &f->pool,
            "{\"iss\":\"" ISSUER "\",\"sub\":\"u\",\"aud\":%s,\"jti\":\"j\",\"sid\":\"s\"," TIMES
            "," EXP "}",
            cases[i].aud);
        h2o_iovec_t token = sign_payload(&f->pool, f->key, payload);
        expect(f, token, NOW_S, cases[i].verdict);
        expect(f, token, NOW_S, cases[i].verdict);
    }
}

/* ---- the table ---- */

/* peers 9: tokens that share prefix, length, or everything but the signature, have answers of their own */
static void test_no_shared_answers(void **state)
{
    struct fixture *f = *state;
    struct token_claims claims = good_claims();
    h2o_iovec_t mine = issue(f, &claims, NULL);
    claims.session = "GRANTGRANTGRANTGRANT34";
    h2o_iovec_t other = issue(f, &claims, NULL);
    assert_int_equal(mine.len, other.len);
    struct token_info info;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(token_verify(f->verifier, mine, AUDIENCE, NOW_S, &info), TOKEN_GOOD);
        assert_string_equal(info.session, "GRANTGRANTGRANTGRANT12");
        assert_int_equal(token_verify(f->verifier, other, AUDIENCE, NOW_S, &info), TOKEN_GOOD);
        assert_string_equal(info.session, "GRANTGRANTGRANTGRANT34");
    }
    /* the other's payload with my signature: same length, same hashed end, and in the table is only mine */
    char *mixed = text_dup_iovec(&f->pool, other);
    memcpy(mixed + other.len - SIGNATURE_ENCODED, mine.base + mine.len - SIGNATURE_ENCODED,
           SIGNATURE_ENCODED);
    expect(f, iovec_of(mixed), NOW_S, TOKEN_BAD);
    expect(f, mine, NOW_S, TOKEN_GOOD);
}

static uint64_t seed = 12345;
static uint64_t pick(uint64_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % below;
}

/* peers 10, the token's part: whatever was asked before, a verifier with a (much too small) table answers as
 * one without, at every time; so no yes outlives its token */
static void test_table_never_changes_an_answer(void **state)
{
    struct fixture *f = *state;
    struct token_verifier *small = token_verifier_new(f->keys, ISSUER, 5, 12);
    struct token_verifier *none = token_verifier_new(f->keys, ISSUER, 5, 0);
    enum { TOKENS = 40, QUESTIONS = 3000 };
    h2o_iovec_t tokens[TOKENS];
    for (size_t i = 0; i < TOKENS; i++) {
        struct token_claims claims = good_claims();
        claims.lifetime_s = 1 + (int64_t)pick(60);
        claims.now_ms = (NOW_S + (int64_t)pick(60)) * 1000;
        claims.audience = pick(4) != 0 ? AUDIENCE : "other";
        claims.issuer = pick(8) != 0 ? ISSUER : "https://else.example.test";
        tokens[i] = issue(f, &claims, NULL);
    }
    for (size_t i = 0; i < QUESTIONS; i++) {
        h2o_iovec_t token = tokens[pick(TOKENS)];
        int64_t now_s = NOW_S - 20 + (int64_t)pick(160);
        const char *audience = pick(3) != 0 ? AUDIENCE : "other";
        struct token_info mine, right;
        enum token_verdict verdict = token_verify(small, token, audience, now_s, &mine);
        assert_int_equal(verdict, token_verify(none, token, audience, now_s, &right));
        assert_memory_equal(&mine, &right, sizeof(mine));
    }
    token_verifier_free(small);
    token_verifier_free(none);
}

static void test_table_is_bounded_and_forgets(void **state)
{
    (void)state;
    enum { MOST = 16, PUT = 400 };
    struct remember *table = remember_new(MOST);
    struct token_facts facts = {.info.expires_at_s = NOW_S + 60}, found;
    char text[32];
    size_t kept = 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < PUT; i++) {
            snprintf(text, sizeof(text), "token %d", i);
            if (round == 0)
                remember_put(table, iovec_of(text), iovec_of(AUDIENCE), &facts);
            else
                kept += remember_find(table, iovec_of(text), AUDIENCE, NOW_S, &found);
        }
    }
    assert_true(kept > 0 && kept <= MOST);
    snprintf(text, sizeof(text), "token %d", PUT);
    remember_put(table, iovec_of(text), iovec_of(AUDIENCE), &facts);
    assert_true(remember_find(table, iovec_of(text), AUDIENCE, NOW_S + 59, &found));
    assert_true(found.audience_matches);
    assert_true(remember_find(table, iovec_of(text), AUDIENCE "x", NOW_S + 59, &found));
    assert_false(found.audience_matches);
    assert_false(remember_find(table, iovec_of(text), AUDIENCE, NOW_S + 60, &found));
    remember_free(table);
}

struct asker {
    pthread_t thread;
    struct token_verifier *verifier;
    const h2o_iovec_t *tokens; /* the even ones are good */
    size_t count, wrong;
};

static void *ask(void *arg)
{
    struct asker *self = arg;
    for (size_t round = 0; round < 30; round++) {
        for (size_t i = 0; i < self->count; i++) {
            struct token_info info;
            enum token_verdict verdict =
                token_verify(self->verifier, self->tokens[i], AUDIENCE, NOW_S, &info);
            self->wrong += verdict != (i % 2 == 0 ? TOKEN_GOOD : TOKEN_BAD);
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct fixture *f = *state;
    struct token_verifier *small = token_verifier_new(f->keys, ISSUER, 5, 8);
    enum { TOKENS = 24, THREADS = 4 };
    h2o_iovec_t tokens[TOKENS];
    for (size_t i = 0; i < TOKENS; i++) {
        tokens[i] = issue_good(f);
        if (i % 2 == 1)
            tokens[i].base[tokens[i].len - 40] ^= 1;
    }
    struct asker askers[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        askers[i] = (struct asker){.verifier = small, .tokens = tokens, .count = TOKENS};
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_int_equal(askers[i].wrong, 0);
    }
    token_verifier_free(small);
}

/* ---- libjwt as oracle ---- */

static jwt_alg_t alg_of(const struct fixture *f)
{
    return f->key->algorithm == TOKEN_RS256 ? JWT_ALG_RS256 : JWT_ALG_ES256;
}

static bool libjwt_accepts(const struct fixture *f, h2o_iovec_t token, const char *pem)
{
    jwt_t *jwt = NULL;
    bool good = jwt_decode(&jwt, token.base, (const unsigned char *)pem, (int)strlen(pem)) == 0 &&
                jwt_get_alg(jwt) == alg_of(f);
    jwt_free(jwt);
    ERR_clear_error();
    return good;
}

static h2o_iovec_t libjwt_signs(h2o_mem_pool_t *pool, const char *kid, jwt_alg_t alg,
                                const char *pem)
{
    jwt_t *jwt = NULL;
    assert_int_equal(jwt_new(&jwt), 0);
    assert_int_equal(jwt_add_grants_json(jwt, "{" REST "," TIMES "," EXP "}"), 0);
    assert_int_equal(jwt_add_header(jwt, "kid", kid), 0);
    assert_int_equal(
        jwt_set_alg(jwt, alg, (const unsigned char *)pem, pem != NULL ? (int)strlen(pem) : 0), 0);
    char *encoded = jwt_encode_str(jwt);
    assert_non_null(encoded);
    h2o_iovec_t token = iovec_of(text_dup(pool, encoded));
    free(encoded);
    jwt_free(jwt);
    return token;
}

static void test_libjwt_agrees(void **state)
{
    struct fixture *f = *state;
    struct token_keys *others = fresh_keys(f->key->algorithm);
    const char *public_mine = public_pem(&f->pool, f->key->pkey);
    const char *public_other = public_pem(&f->pool, token_keys_ring(others)->entries[0]->pkey);

    h2o_iovec_t ours = issue_good(f);
    assert_true(libjwt_accepts(f, ours, public_mine));
    assert_false(libjwt_accepts(f, ours, public_other));

    h2o_iovec_t theirs =
        libjwt_signs(&f->pool, f->key->kid, alg_of(f), private_pem(&f->pool, f->key));
    expect(f, theirs, NOW_S, TOKEN_GOOD);
    /* our kid on another key */
    h2o_iovec_t forged = libjwt_signs(&f->pool, f->key->kid, alg_of(f),
                                      private_pem(&f->pool, token_keys_ring(others)->entries[0]));
    expect(f, forged, NOW_S, TOKEN_BAD);

    for (size_t i = 0; i < ours.len; i += 3) {
        if (ours.base[i] == '.')
            continue;
        char *flipped = text_dup_iovec(&f->pool, ours);
        flipped[i] = flipped[i] == 'A' ? 'Q' : 'A'; /* differs in a bit that counts everywhere */
        struct token_info info;
        assert_false(libjwt_accepts(f, iovec_of(flipped), public_mine));
        assert_int_not_equal(token_verify(f->verifier, iovec_of(flipped), AUDIENCE, NOW_S, &info),
                             TOKEN_GOOD);
    }
    token_keys_free(others);
}

/* peers 1 and facts/libraries.md section 4: libjwt lets these through; we must not */
static void test_stricter_than_libjwt(void **state)
{
    struct fixture *f = *state;
    const char *pem = public_pem(&f->pool, f->key->pkey);
    const unsigned char *key = (const unsigned char *)pem;
    int key_len = (int)strlen(pem);
    jwt_t *jwt = NULL;

    h2o_iovec_t confused = libjwt_signs(&f->pool, f->key->kid, JWT_ALG_HS256, pem);
    assert_int_equal(jwt_decode(&jwt, confused.base, key, key_len), 0);
    jwt_free(jwt);
    expect(f, confused, NOW_S, TOKEN_FOREIGN);

    h2o_iovec_t none = libjwt_signs(&f->pool, f->key->kid, JWT_ALG_NONE, NULL);
    assert_int_equal(jwt_decode(&jwt, none.base, NULL, 0), 0);
    jwt_free(jwt);
    expect(f, none, NOW_S, TOKEN_FOREIGN);

    h2o_iovec_t good = issue_good(f);
    static const char *const suffixes[] = {"=", "==", "!"};
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        h2o_iovec_t junk = iovec_of(text_format(&f->pool, "%s%s", good.base, suffixes[i]));
        expect(f, junk, NOW_S, TOKEN_BAD);
    }
    h2o_iovec_t twice = sign_payload(&f->pool, f->key, "{" REST "," TIMES ",\"exp\":1," EXP "}");
    assert_true(libjwt_accepts(f, twice, pem));
    expect(f, twice, NOW_S, TOKEN_BAD);
    h2o_iovec_t real = sign_payload(&f->pool, f->key, "{" REST "," TIMES ",\"exp\":1e300}");
    assert_true(libjwt_accepts(f, real, pem));
    expect(f, real, NOW_S, TOKEN_BAD);
}

/* The algorithm is the key's: a token that names the other one is of no key of ours, whoever signed it. */
static void test_algorithms_are_not_mixed(void **state)
{
    struct fixture *f = *state;
    bool is_rsa = f->key->algorithm == TOKEN_RS256;
    struct token_key mixed = *f->key;
    memcpy(mixed.header, is_rsa ? KEY_HEADER_BEGIN : KEY_HEADER_BEGIN_RS, KEY_HEADER_BEGIN_LEN);
    expect(f, sign_payload(&f->pool, &mixed, "{" REST "," TIMES "," EXP "}"), NOW_S,
           TOKEN_UNKNOWN_KEY);

    struct token_keys *others = fresh_keys(is_rsa ? TOKEN_ES256 : TOKEN_RS256);
    struct token_key foreign = *token_keys_ring(others)->entries[0]; /* our header, their key */
    memcpy(foreign.header, f->key->header, sizeof(foreign.header));
    expect(f, sign_payload(&f->pool, &foreign, "{" REST "," TIMES "," EXP "}"), NOW_S, TOKEN_BAD);
    token_keys_free(others);
}

/* PKCS #1 v1.5 only: PS256 with the same key is another algorithm. */
static void test_rsa_padding(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t good = issue_good(f);
    const char *dot = strrchr(good.base, '.');
    uint8_t signature[KEY_SIGNATURE_RSA];
    size_t len = sizeof(signature);
    EVP_PKEY_CTX *pss = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, &pss, EVP_sha256(), NULL, f->key->pkey), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pss, RSA_PKCS1_PSS_PADDING), 1);
    assert_int_equal(
        EVP_DigestSign(ctx, signature, &len, (const uint8_t *)good.base, (size_t)(dot - good.base)),
        1);
    EVP_MD_CTX_free(ctx);
    h2o_iovec_t token =
        iovec_of(text_format(&f->pool, "%.*s.%s", (int)(dot - good.base), good.base,
                             base64url_encode(&f->pool, signature, sizeof(signature)).base));
    expect(f, good, NOW_S, TOKEN_GOOD);
    expect(f, token, NOW_S, TOKEN_BAD);
    static const size_t lengths[] = {0, 1, 64, 255, 257, 384, 512}; /* of the signature */
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        uint8_t zeros[512] = {0};
        token = iovec_of(text_format(&f->pool, "%.*s.%s", (int)(dot - good.base), good.base,
                                     base64url_encode(&f->pool, zeros, lengths[i]).base));
        expect(f, token, NOW_S, TOKEN_BAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(test_good),
        TEST(test_form),
        TEST(test_profile),
        TEST(test_no_profile),
        TEST(test_groups_fit_or_no_token),
        TEST(test_two_tokens_differ),
        TEST(test_times),
        TEST(test_expired_token_still_names_its_session),
        TEST(test_wrong_audience),
        TEST(test_wrong_issuer),
        TEST(test_key_of_another_ring),
        TEST(test_retired_key),
        TEST(test_foreign),
        TEST(test_sizes),
        TEST(test_unknown_kid_of_our_form),
        TEST(test_each_character_counts),
        TEST(test_signature_form),
        TEST(test_claims),
        TEST(test_string_claims),
        TEST(test_long_ids),
        TEST(test_audience_array),
        TEST(test_no_shared_answers),
        TEST(test_table_never_changes_an_answer),
        TEST(test_table_is_bounded_and_forgets),
        TEST(test_threads),
        TEST(test_libjwt_agrees),
        TEST(test_stricter_than_libjwt),
        TEST(test_algorithms_are_not_mixed),
#define TEST_RSA(name) cmocka_unit_test_setup_teardown(name, set_up_rsa, tear_down)
        TEST_RSA(test_good),
        TEST_RSA(test_each_character_counts),
        TEST_RSA(test_libjwt_agrees),
        TEST_RSA(test_stricter_than_libjwt),
        TEST_RSA(test_algorithms_are_not_mixed),
        TEST_RSA(test_rsa_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
