/* SPDX-License-Identifier: Apache-2.0
 *
 * JWTs of others: the splitter, the header's rules, which keys of a JWKS count, and that libjwt never says
 * yes to what our checks would not. */
#include "support_token.h"

#include <jwt.h>
#include <openssl/core_names.h>
#include <openssl/err.h>

#include "token/jwt.h"

#define KID "3k1xQ-okta_key"

struct fixture {
    h2o_mem_pool_t pool;
    EVP_PKEY *rsa;
    char *public_pem;
    struct jwks *jwks;
};

static EVP_PKEY *shared_rsa; /* making one takes a while */

static h2o_iovec_t number(h2o_mem_pool_t *pool, EVP_PKEY *pkey, const char *name)
{
    BIGNUM *n = NULL;
    uint8_t bytes[2048];
    assert_int_equal(EVP_PKEY_get_bn_param(pkey, name, &n), 1);
    int len = BN_bn2bin(n, bytes);
    BN_free(n);
    return base64url_encode(pool, bytes, (size_t)len);
}

/* {"kty":"RSA",…}; extra is ,"alg":… and the like */
static const char *jwk_of(h2o_mem_pool_t *pool, EVP_PKEY *pkey, const char *kid, const char *extra)
{
    return text_format(pool, "{\"kty\":\"RSA\",\"kid\":\"%s\",\"n\":\"%s\",\"e\":\"%s\"%s}", kid,
                       number(pool, pkey, OSSL_PKEY_PARAM_RSA_N).base,
                       number(pool, pkey, OSSL_PKEY_PARAM_RSA_E).base, extra);
}

static bool parse(struct fixture *f, const char *body, struct jwks **out, struct error *err)
{
    (void)f;
    bool good = jwks_parse(iovec_of(body), out, err);
    assert_int_equal(ERR_peek_error(), 0);
    return good;
}

static int set_up(void **state)
{
    struct fixture *f = h2o_mem_alloc(sizeof(*f));
    h2o_mem_init_pool(&f->pool);
    if (shared_rsa == NULL)
        shared_rsa = EVP_RSA_gen(2048);
    f->rsa = shared_rsa;
    f->public_pem = public_pem(&f->pool, f->rsa);
    const char *jwk = jwk_of(&f->pool, f->rsa, KID, ",\"alg\":\"RS256\",\"use\":\"sig\"");
    assert_true(parse(f, text_format(&f->pool, "{\"keys\":[%s]}", jwk), &f->jwks, NULL));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    jwks_free(f->jwks);
    h2o_mem_clear_pool(&f->pool);
    free(f);
    return 0;
}

static int tear_down_group(void **state)
{
    (void)state;
    EVP_PKEY_free(shared_rsa);
    return 0;
}

static h2o_iovec_t sign_rs256(h2o_mem_pool_t *pool, EVP_PKEY *pkey, const char *header,
                              const char *payload)
{
    char *input = text_format(pool, "%s.%s", base64url_encode(pool, header, strlen(header)).base,
                              base64url_encode(pool, payload, strlen(payload)).base);
    uint8_t signature[1024];
    size_t len = sizeof(signature);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey), 1);
    assert_int_equal(EVP_DigestSign(ctx, signature, &len, (const uint8_t *)input, strlen(input)),
                     1);
    EVP_MD_CTX_free(ctx);
    return iovec_of(text_format(pool, "%s.%s", input, base64url_encode(pool, signature, len).base));
}

#define HEADER  "{\"kid\":\"" KID "\",\"alg\":\"RS256\"}"
#define PAYLOAD "{\"sub\":\"00u1\",\"n\":1}"

static bool verifies(struct fixture *f, h2o_iovec_t token, bool *unknown_kid)
{
    struct json *claims = NULL;
    struct error err = {0};
    bool good = jwt_verify(&f->pool, f->jwks, token, &claims, unknown_kid, &err);
    assert_int_equal(ERR_peek_error(), 0);
    if (good)
        assert_non_null(claims);
    else
        assert_int_equal(err.kind, ERROR_REJECTED);
    return good;
}

static void expect_refused(struct fixture *f, h2o_iovec_t token)
{
    bool unknown_kid;
    if (verifies(f, token, &unknown_kid))
        fail_msg("accepted: %.*s", (int)token.len, token.base);
    assert_false(unknown_kid);
}

static void test_good(void **state)
{
    struct fixture *f = *state;
    bool unknown_kid;
    struct json *claims;
    h2o_iovec_t token = sign_rs256(&f->pool, f->rsa, HEADER, PAYLOAD), sub;
    assert_true(jwt_verify(&f->pool, f->jwks, token, &claims, &unknown_kid, NULL));
    assert_true(json_string(claims, "sub", &sub, NULL) && iovec_equal(sub, "00u1"));
    static const char *const headers[] = {
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\",\"typ\":\"JWT\"}",
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\",\"typ\":\"jwt\",\"other\":1}",
    };
    for (size_t i = 0; i < 2; i++)
        assert_true(verifies(f, sign_rs256(&f->pool, f->rsa, headers[i], PAYLOAD), &unknown_kid));
}

/* D13, D15, peers 1 and 2: signed well, and refused for what the header says */
static void test_header(void **state)
{
    struct fixture *f = *state;
    static const char *const headers[] = {
        "{\"kid\":\"" KID "\"}",
        "{\"alg\":\"RS256\"}",
        "{\"alg\":\"none\",\"kid\":\"" KID "\"}",
        "{\"alg\":\"HS256\",\"kid\":\"" KID "\"}",
        "{\"alg\":\"RS512\",\"kid\":\"" KID "\"}",
        "{\"alg\":\"rs256\",\"kid\":\"" KID "\"}",
        "{\"alg\":\"ES256\",\"kid\":\"" KID "\"}",
        "{\"alg\":[\"RS256\"],\"kid\":\"" KID "\"}",
        "{\"alg\":\"HS256\",\"alg\":\"RS256\",\"kid\":\"" KID "\"}",
        "{\"alg\":\"RS256\",\"kid\":\"\"}",
        "{\"alg\":\"RS256\",\"kid\":1}",
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\",\"typ\":\"at+jwt\"}",
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\",\"typ\":\"logout+jwt\"}",
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\",\"typ\":1}",
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\",\"crit\":[\"x\"]}",
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\",\"b64\":false}",
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\",\"zip\":\"DEF\"}",
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\",\"jku\":\"https://evil.test/keys\"}",
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\",\"x5u\":\"https://evil.test/keys\"}",
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\",\"x5c\":[]}",
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\",\"jwk\":{}}",
        "[]",
        "\"RS256\"",
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\"}x",
        "{\"alg\":\"RS256\",\"kid\":\"" KID "\",\"deep\":[[[[[1]]]]]}",
    };
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        expect_refused(f, sign_rs256(&f->pool, f->rsa, headers[i], PAYLOAD));
}

/* libjwt looks at typ too; our own rule must not lean on that. */
static void test_typ(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *typ;
        bool good;
    } cases[] = {{"JWT", true}, {"jwt", true}, {"at+jwt", false}, {"JWS", false}, {"", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct jwt_parts parts = {
            .header = iovec_of(text_format(
                &f->pool, "{\"alg\":\"RS256\",\"kid\":\"k\",\"typ\":\"%s\"}", cases[i].typ))};
        h2o_iovec_t kid;
        assert_int_equal(jwt_header_kid(&f->pool, &parts, &kid, NULL), cases[i].good);
    }
}

/* peers 2: an unknown kid is told apart; a huge one is just refused */
static void test_unknown_kid(void **state)
{
    struct fixture *f = *state;
    static const char *const kids[] = {"other", "../../etc/passwd", "' or 1=1 --", KID "x",
                                       "3k1xQ-okta_ke"};
    bool unknown_kid;
    for (size_t i = 0; i < sizeof(kids) / sizeof(kids[0]); i++) {
        const char *header = text_format(&f->pool, "{\"alg\":\"RS256\",\"kid\":\"%s\"}", kids[i]);
        assert_false(verifies(f, sign_rs256(&f->pool, f->rsa, header, PAYLOAD), &unknown_kid));
        assert_true(unknown_kid);
    }
    const char *long_one = text_format(&f->pool, "{\"alg\":\"RS256\",\"kid\":\"%0257d\"}", 0);
    expect_refused(f, sign_rs256(&f->pool, f->rsa, long_one, PAYLOAD));
    const char *huge = text_format(&f->pool, "{\"alg\":\"RS256\",\"kid\":\"%04096d\"}", 0);
    expect_refused(f, sign_rs256(&f->pool, f->rsa, huge, PAYLOAD));
}

/* D14 */
static void test_form(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t good = sign_rs256(&f->pool, f->rsa, HEADER, PAYLOAD);
    const char *tokens[] = {
        "",
        ".",
        "..",
        "...",
        "a.b",
        text_format(&f->pool, "%s=", good.base),
        text_format(&f->pool, "%s.", good.base),
        text_format(&f->pool, "%s.e30", good.base),
        text_format(&f->pool, " %s", good.base),
        text_format(&f->pool, "%s\n", good.base),
        text_format(&f->pool, "%s!", good.base),
        text_format(&f->pool, "%.*s", (int)good.len - 1, good.base),
    };
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++)
        expect_refused(f, iovec_of(tokens[i]));
    expect_refused(f, h2o_iovec_init(good.base, good.len + 1)); /* a NUL behind it */
    char *huge = h2o_mem_alloc_pool(&f->pool, 1 << 20);
    memset(huge, 'A', 1 << 20);
    expect_refused(f, h2o_iovec_init(huge, 1 << 20));
}

static void test_split(void **state)
{
    struct fixture *f = *state;
    struct jwt_parts parts;
    h2o_iovec_t token = iovec_of("e30.W10.AQI");
    assert_true(jwt_split(&f->pool, token, token.len, &parts, NULL));
    assert_false(jwt_split(&f->pool, token, token.len - 1, &parts, NULL));
    assert_string_equal(parts.header.base, "{}");
    assert_string_equal(parts.payload.base, "[]");
    assert_int_equal(parts.signature.len, 2);
    assert_int_equal(parts.signed_part.len, 7);
    static const char *const bad[] = {"e31.W10.AQI", "e30.W10.AQJ", "e30.W10.A", "e30.W1+.AQI",
                                      "e30..AQI",    ".W10.AQI",    "e30.W10."};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(jwt_split(&f->pool, iovec_of(bad[i]), 100, &parts, NULL));
}

static void test_each_character_counts(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t token = sign_rs256(&f->pool, f->rsa, HEADER, PAYLOAD);
    for (size_t i = 0; i < token.len; i++) {
        char *changed = text_dup_iovec(&f->pool, token);
        changed[i] = changed[i] == 'A' ? 'Q' : 'A';
        bool unknown_kid;
        assert_false(verifies(f, iovec_of(changed), &unknown_kid));
    }
}

static void test_payload(void **state)
{
    struct fixture *f = *state;
    static const char *const payloads[] = {
        "[]", "1", "\"x\"", "{", "{\"a\":1,\"a\":2}", "{\"a\":\"\xc0\xaf\"}", "{\"a\":\"\\u0000\"}",
    };
    for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++)
        expect_refused(f, sign_rs256(&f->pool, f->rsa, HEADER, payloads[i]));
}

/* peers 1: the public PEM as HMAC secret, and no signature at all; libjwt alone accepts both */
static void test_confusion(void **state)
{
    struct fixture *f = *state;
    jwt_t *jwt = NULL, *decoded = NULL;
    jwt_new(&jwt);
    jwt_add_header(jwt, "kid", KID);
    jwt_add_grant(jwt, "sub", "00u1");
    const unsigned char *pem = (const unsigned char *)f->public_pem;
    jwt_set_alg(jwt, JWT_ALG_HS256, pem, (int)strlen(f->public_pem));
    char *token = jwt_encode_str(jwt);
    assert_int_equal(jwt_decode(&decoded, token, pem, (int)strlen(f->public_pem)), 0);
    jwt_free(decoded);
    expect_refused(f, iovec_of(token));
    free(token);
    jwt_set_alg(jwt, JWT_ALG_NONE, NULL, 0);
    token = jwt_encode_str(jwt);
    expect_refused(f, iovec_of(token));
    free(token);
    jwt_free(jwt);
}

static void test_other_key_same_kid(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY *other = EVP_RSA_gen(2048);
    expect_refused(f, sign_rs256(&f->pool, other, HEADER, PAYLOAD));
    EVP_PKEY_free(other);
}

/* ---- key sets ---- */

static void expect_unusable(struct fixture *f, const char *jwk)
{
    struct jwks *jwks;
    struct error err = {0};
    if (parse(f, text_format(&f->pool, "{\"keys\":[%s]}", jwk), &jwks, &err))
        fail_msg("accepted: %s", jwk);
    assert_int_equal(err.kind, ERROR_BAD_INPUT);
}

static void expect_usable(struct fixture *f, const char *jwk)
{
    struct jwks *jwks;
    assert_true(parse(f, text_format(&f->pool, "{\"keys\":[%s]}", jwk), &jwks, NULL));
    assert_true(jwks_has_kid(jwks, iovec_of(KID)));
    jwks_free(jwks);
}

static void test_jwks_members(void **state)
{
    struct fixture *f = *state;
    static const char *const good[] = {"", ",\"alg\":\"RS256\"", ",\"use\":\"sig\"",
                                       ",\"alg\":null", ",\"x5t\":\"abc\""};
    static const char *const bad[] = {",\"alg\":\"RS512\"", ",\"alg\":\"HS256\"",
                                      ",\"alg\":\"none\"",  ",\"alg\":1",
                                      ",\"use\":\"enc\"",   ",\"use\":[\"sig\"]"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        expect_usable(f, jwk_of(&f->pool, f->rsa, KID, good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_unusable(f, jwk_of(&f->pool, f->rsa, KID, bad[i]));
    expect_unusable(f, jwk_of(&f->pool, f->rsa, "", ""));
    expect_unusable(f, jwk_of(&f->pool, f->rsa, text_format(&f->pool, "%0257d", 0), ""));
    expect_unusable(f, "1");
    expect_unusable(f, "{}");
    expect_unusable(f, "{\"kty\":\"RSA\",\"kid\":\"" KID "\"}");
    expect_unusable(f, "{\"kty\":\"RSA\",\"kid\":\"" KID "\",\"n\":\"\",\"e\":\"\"}");
    expect_unusable(f, "{\"kty\":\"RSA\",\"kid\":\"" KID "\",\"n\":\"!\",\"e\":\"AQAB\"}");
    expect_unusable(f, "{\"kty\":\"oct\",\"kid\":\"" KID "\",\"k\":\"AAAA\"}");
    expect_unusable(f, "{\"kty\":\"EC\",\"kid\":\"" KID
                       "\",\"crv\":\"P-256\",\"x\":\"A\",\"y\":\"A\"}");
}

/* D13: RSA >= 2048, e odd and >= 65537 */
static void test_weak_keys(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY *small = EVP_RSA_gen(1024);
    expect_unusable(f, jwk_of(&f->pool, small, KID, ""));
    EVP_PKEY_free(small);
    const char *n = number(&f->pool, f->rsa, OSSL_PKEY_PARAM_RSA_N).base;
    static const struct {
        const char *e;
        bool usable;
    } cases[] = {{"AQAB", true}, {"AAEAAQ", true}, {"AQAD", true}, {"AQAA", false}, {"Aw", false},
                 {"AQ", false},  {"AA", false},    {"_-8", false}, {"", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *jwk =
            text_format(&f->pool, "{\"kty\":\"RSA\",\"kid\":\"" KID "\",\"n\":\"%s\",\"e\":\"%s\"}",
                        n, cases[i].e);
        (cases[i].usable ? expect_usable : expect_unusable)(f, jwk);
    }
    /* an even modulus, and one of 16384 bits */
    h2o_iovec_t bytes;
    assert_true(base64url_decode(&f->pool, iovec_of(n), &bytes));
    bytes.base[bytes.len - 1] &= (char)0xfe;
    expect_unusable(f,
                    text_format(&f->pool,
                                "{\"kty\":\"RSA\",\"kid\":\"" KID "\",\"n\":\"%s\",\"e\":\"AQAB\"}",
                                base64url_encode(&f->pool, bytes.base, bytes.len).base));
    char big[2048];
    memset(big, 0xff, sizeof(big));
    expect_unusable(f,
                    text_format(&f->pool,
                                "{\"kty\":\"RSA\",\"kid\":\"" KID "\",\"n\":\"%s\",\"e\":\"AQAB\"}",
                                base64url_encode(&f->pool, big, sizeof(big)).base));
}

static void test_jwks_mixture(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY *other = EVP_RSA_gen(2048);
    /* unusable ones are skipped, and the second key of one kid does not replace the first */
    const char *body = text_format(
        &f->pool, "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"" KID "\",\"k\":\"AAAA\"},%s,%s,%s]}",
        jwk_of(&f->pool, f->rsa, KID, ""), jwk_of(&f->pool, other, KID, ""),
        jwk_of(&f->pool, other, "second", ""));
    jwks_free(f->jwks);
    assert_true(parse(f, body, &f->jwks, NULL));
    assert_true(jwks_has_kid(f->jwks, iovec_of("second")));
    assert_false(jwks_has_kid(f->jwks, iovec_of("third")));
    bool unknown_kid;
    assert_true(verifies(f, sign_rs256(&f->pool, f->rsa, HEADER, PAYLOAD), &unknown_kid));
    expect_refused(f, sign_rs256(&f->pool, other, HEADER, PAYLOAD));
    const char *second = "{\"alg\":\"RS256\",\"kid\":\"second\"}";
    assert_true(verifies(f, sign_rs256(&f->pool, other, second, PAYLOAD), &unknown_kid));
    EVP_PKEY_free(other);
}

/* D16 */
static void test_jwks_limits(void **state)
{
    struct fixture *f = *state;
    struct jwks *jwks;
    static const char *const bodies[] = {
        "", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]}", "<html>", "{\"keys\":[],\"keys\":[]}"};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        assert_false(parse(f, bodies[i], &jwks, NULL));
    struct text many;
    text_init(&many, &f->pool);
    text_add_string(&many, "{\"keys\":[");
    for (int i = 0; i < 33; i++)
        text_add_format(&many, "%s%s", i > 0 ? "," : "",
                        jwk_of(&f->pool, f->rsa, text_format(&f->pool, "k%d", i), ""));
    text_add_string(&many, "]}");
    assert_false(parse(f, many.bytes, &jwks, NULL));
    const char *large = text_format(&f->pool, "{\"x\":\"%065536d\",\"keys\":[%s]}", 0,
                                    jwk_of(&f->pool, f->rsa, KID, ""));
    assert_false(parse(f, large, &jwks, NULL));
}

/* ---- assertions of our own ---- */

static h2o_iovec_t private_key_pem(h2o_mem_pool_t *pool, EVP_PKEY *pkey, const EVP_CIPHER *cipher)
{
    char *bytes, phrase[] = "secret";
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(bio, pkey, cipher,
                                              cipher != NULL ? (unsigned char *)phrase : NULL,
                                              cipher != NULL ? 6 : 0, NULL, NULL),
                     1);
    long len = BIO_get_mem_data(bio, &bytes);
    h2o_iovec_t pem = h2o_strdup(pool, bytes, (size_t)len);
    BIO_free(bio);
    return pem;
}

static void expect_signed(struct fixture *f, EVP_PKEY *pkey, jwt_alg_t alg)
{
    const struct jwt_assertion claims = {"0oa\"1", "https://acme.okta.test/token", NOW_S};
    const char *pem = public_pem(&f->pool, pkey);
    struct jwt_signer *signer;
    h2o_iovec_t token, other;
    jwt_t *jwt;
    assert_true(jwt_signer_new(private_key_pem(&f->pool, pkey, NULL), "kid-1", &signer, NULL));
    assert_true(jwt_sign_assertion(&f->pool, signer, &claims, &token, NULL));
    assert_true(jwt_sign_assertion(&f->pool, signer, &claims, &other, NULL));
    jwt_signer_free(signer);
    assert_int_equal(ERR_peek_error(), 0);
    assert_int_equal(jwt_decode(&jwt, token.base, (const unsigned char *)pem, (int)strlen(pem)), 0);
    assert_int_equal(jwt_get_alg(jwt), alg);
    assert_string_equal(jwt_get_header(jwt, "kid"), "kid-1");
    assert_string_equal(jwt_get_grant(jwt, "iss"), "0oa\"1");
    assert_string_equal(jwt_get_grant(jwt, "sub"), "0oa\"1");
    assert_string_equal(jwt_get_grant(jwt, "aud"), claims.audience);
    assert_int_equal(jwt_get_grant_int(jwt, "iat"), NOW_S);
    assert_int_equal(jwt_get_grant_int(jwt, "exp"), NOW_S + 300);
    assert_int_equal(strlen(jwt_get_grant(jwt, "jti")), 22);
    assert_string_not_equal(token.base, other.base); /* each has a jti of its own */
    jwt_free(jwt);
    token.base[token.len - 8] ^= 1;
    assert_int_not_equal(jwt_decode(&jwt, token.base, (const unsigned char *)pem, (int)strlen(pem)),
                         0);
}

static void test_assertion(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY *ec = EVP_EC_gen("P-256");
    expect_signed(f, f->rsa, JWT_ALG_RS256);
    expect_signed(f, ec, JWT_ALG_ES256);
    EVP_PKEY_free(ec);
}

static void test_signer_refuses(void **state)
{
    struct fixture *f = *state;
    EVP_PKEY *small = EVP_RSA_gen(1024), *p384 = EVP_EC_gen("P-384");
    const h2o_iovec_t pems[] = {private_key_pem(&f->pool, small, NULL),
                                private_key_pem(&f->pool, p384, NULL),
                                private_key_pem(&f->pool, f->rsa, EVP_aes_128_cbc()),
                                iovec_of(f->public_pem),
                                iovec_of("sEcReT"),
                                iovec_of("")};
    for (size_t i = 0; i < sizeof(pems) / sizeof(pems[0]); i++) {
        struct jwt_signer *signer;
        struct error err = {0};
        if (jwt_signer_new(pems[i], "kid-1", &signer, &err))
            fail_msg("key %zu", i);
        assert_int_equal(err.kind, ERROR_BAD_INPUT);
        assert_null(strstr(err.text, "sEcReT"));
        assert_int_equal(ERR_peek_error(), 0);
    }
    EVP_PKEY_free(small);
    EVP_PKEY_free(p384);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(test_assertion),
        TEST(test_signer_refuses),
        TEST(test_good),
        TEST(test_header),
        TEST(test_typ),
        TEST(test_unknown_kid),
        TEST(test_form),
        TEST(test_split),
        TEST(test_each_character_counts),
        TEST(test_payload),
        TEST(test_confusion),
        TEST(test_other_key_same_kid),
        TEST(test_jwks_members),
        TEST(test_weak_keys),
        TEST(test_jwks_mixture),
        TEST(test_jwks_limits),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down_group);
}
