/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring of signing keys: made at the first start, refused when others could have touched it, its roles
 * following from the clock, and a JWKS that a stranger can verify our tokens with. */
#include "support_token.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <sys/stat.h>

#include "token/jwt.h"
#include "token/token.h"

#define MINUTE_MS INT64_C(60000)

struct fixture {
    h2o_mem_pool_t pool;
    struct scratch scratch;
};

static int set_up(void **state)
{
    struct fixture *f = h2o_mem_alloc(sizeof(*f));
    h2o_mem_init_pool(&f->pool);
    scratch_make(&f->scratch);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    scratch_remove(&f->scratch);
    h2o_mem_clear_pool(&f->pool);
    free(f);
    return 0;
}

static const char *file_of(struct fixture *f, const char *kid)
{
    return text_format(&f->pool, "%s/%s.json", f->scratch.keys, kid);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static char *read_file(struct fixture *f, const char *path)
{
    struct secret file = {0};
    assert_true(secret_load_file(path, &file, NULL));
    char *copy = text_dup_iovec(&f->pool, secret_iovec(&file));
    secret_dispose(&file);
    return copy;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && fchmod(fd, mode) == 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* Both ways of opening refuse, with the name of what is wrong and an emptied OpenSSL queue. */
static void expect_refused(struct fixture *f, const char *named, const char *why)
{
    struct token_keys *keys;
    struct error err = {0};
    assert_false(token_keys_open(f->scratch.keys, TOKEN_ES256, NOW_MS, &keys, &err));
    assert_non_null(strstr(err.text, named));
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    assert_null(strstr(err.text, "PRIVATE"));
    err = (struct error){0};
    assert_false(token_keys_check(f->scratch.keys, &err));
    assert_non_null(strstr(err.text, why));
    assert_int_equal(ERR_peek_error(), 0);
}

static struct token_key *add_key(struct fixture *f, int64_t sign_from_ms)
{
    struct token_key *key;
    int fd;
    assert_true(key_files_open(f->scratch.keys, true, &fd, NULL));
    assert_true(token_key_generate(TOKEN_ES256, NOW_MS, sign_from_ms, &key, NULL));
    assert_true(key_files_write(fd, f->scratch.keys, key, NULL));
    close(fd);
    return key; /* the caller frees */
}

/* ---- files ---- */

static void test_first_start(void **state)
{
    struct fixture *f = *state;
    struct token_keys *keys = keys_at(f->scratch.keys);
    assert_int_equal(token_keys_ring(keys)->count, 1);
    const char *kid = token_keys_ring(keys)->entries[0]->kid;
    assert_int_equal(mode_of(f->scratch.keys), 0700);
    assert_int_equal(mode_of(file_of(f, kid)), 0600);
    assert_int_equal(token_keys_ring(keys)->entries[0]->sign_from_ms, NOW_MS);
    assert_ptr_equal(token_keys_signer(keys, NOW_MS), token_keys_ring(keys)->entries[0]);

    struct token_keys *again = keys_at(f->scratch.keys);
    assert_int_equal(token_keys_ring(again)->count, 1);
    assert_string_equal(token_keys_ring(again)->entries[0]->kid, kid);
    assert_int_equal(token_keys_ring(again)->entries[0]->created_at_ms, NOW_MS);
    assert_string_equal(token_keys_ring(again)->entries[0]->numbers[0].value,
                        token_keys_ring(keys)->entries[0]->numbers[0].value);
    token_keys_free(again);
    token_keys_free(keys);
}

static void test_check_makes_nothing(void **state)
{
    struct fixture *f = *state;
    assert_true(token_keys_check(f->scratch.keys, NULL));
    assert_int_equal(access(f->scratch.keys, F_OK), -1);
    assert_int_equal(mkdir(f->scratch.keys, 0700), 0);
    assert_true(token_keys_check(f->scratch.keys, NULL));
    assert_int_equal(rmdir(f->scratch.keys), 0); /* still empty */
    token_keys_free(keys_at(f->scratch.keys));
    assert_true(token_keys_check(f->scratch.keys, NULL));
}

static void test_parent_missing(void **state)
{
    struct fixture *f = *state;
    struct token_keys *keys;
    struct error err = {0};
    const char *deep = text_format(&f->pool, "%s/a/b", f->scratch.parent);
    assert_false(token_keys_open(deep, TOKEN_ES256, NOW_MS, &keys, &err));
    assert_int_equal(err.kind, ERROR_UPSTREAM);
    assert_non_null(strstr(err.text, deep));
}

static void test_directory_modes(void **state)
{
    struct fixture *f = *state;
    token_keys_free(keys_at(f->scratch.keys));
    static const struct {
        mode_t mode;
        const char *why;
    } cases[] = {{0701, "others"}, {0704, "others"}, {0702, "others"}, {0777, "group"},
                 {0770, "group"},  {0750, NULL},     {0500, NULL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(chmod(f->scratch.keys, cases[i].mode), 0);
        if (cases[i].why != NULL)
            expect_refused(f, f->scratch.keys, cases[i].why);
        else
            token_keys_free(keys_at(f->scratch.keys));
    }
    chmod(f->scratch.keys, 0700);
}

static void test_file_modes(void **state)
{
    struct fixture *f = *state;
    struct token_keys *keys = keys_at(f->scratch.keys);
    const char *file = file_of(f, token_keys_ring(keys)->entries[0]->kid);
    token_keys_free(keys);
    static const struct {
        mode_t mode;
        const char *why;
    } cases[] = {{0604, "others"}, {0602, "others"}, {0601, "others"},
                 {0660, "group"},  {0640, NULL},     {0400, NULL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(chmod(file, cases[i].mode), 0);
        if (cases[i].why != NULL)
            expect_refused(f, file, cases[i].why);
        else
            token_keys_free(keys_at(f->scratch.keys));
    }
}

static void test_owner(void **state)
{
    if (geteuid() != 0)
        skip(); /* only root can give a file away */
    struct fixture *f = *state;
    struct token_keys *keys = keys_at(f->scratch.keys);
    const char *file = file_of(f, token_keys_ring(keys)->entries[0]->kid);
    token_keys_free(keys);
    assert_int_equal(chown(file, 65534, 0), 0);
    expect_refused(f, file, "another user");
    assert_int_equal(chown(file, 0, 0), 0);
    assert_int_equal(chown(f->scratch.keys, 65534, 0), 0);
    expect_refused(f, f->scratch.keys, "another user");
}

static void test_other_files_are_none_of_ours(void **state)
{
    struct fixture *f = *state;
    token_keys_free(keys_at(f->scratch.keys));
    write_file(text_format(&f->pool, "%s/.postern-abcdefghijkl.json", f->scratch.keys), "half",
               0644);
    write_file(text_format(&f->pool, "%s/.postern-abcdefghijkl.tmp", f->scratch.keys), "half",
               0644);
    write_file(text_format(&f->pool, "%s/README", f->scratch.keys), "hello", 0644);
    struct token_keys *keys = keys_at(f->scratch.keys);
    assert_int_equal(token_keys_ring(keys)->count, 1);
    token_keys_free(keys);
}

static char *replaced(struct fixture *f, const char *text, const char *old, const char *new)
{
    const char *at = strstr(text, old);
    assert_non_null(at);
    return text_format(&f->pool, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
}

static void test_malformed_files(void **state)
{
    struct fixture *f = *state;
    struct token_keys *keys = keys_at(f->scratch.keys);
    const char *kid = text_dup(&f->pool, token_keys_ring(keys)->entries[0]->kid);
    token_keys_free(keys);
    const char *file = file_of(f, kid), *good = read_file(f, file);
    const struct {
        const char *text, *why;
    } cases[] = {
        {"", "empty"},
        {"{", ""},
        {"[]", "kid"},
        {replaced(f, good, "\"kid\"", "\"Kid\""), "kid"},
        {replaced(f, good, kid, "postern-abcdefghijkl"), "name"},
        {replaced(f, good, kid, "postern-../../../etc"), "form"},
        {replaced(f, good, kid, "postern-ABCDEFGHIJKL"), "form"},
        {replaced(f, good, kid, "postern"), "form"},
        {replaced(f, good, "ES256", "RS256"), "algorithm"},
        {replaced(f, good, "ES256", "none"), "algorithm"},
        {replaced(f, good, "\"sign_from_ms\":", "\"sign_from_ms\":-"), "sign_from_ms"},
        {replaced(f, good, "\"sign_from_ms\":", "\"sign_from_ms\":9999999999"), "sign_from_ms"},
        {replaced(f, good, "\"created_at_ms\":", "\"created_at_ms\":1.0e"), "created_at_ms"},
        {replaced(f, good, "BEGIN PRIVATE", "BEGIN PIRATE"), "PEM"},
        {replaced(f, good, "MIG", "MIH"), "PEM"},
        {replaced(f, good, "-----BEGIN", "x"), "PEM"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_file(file, cases[i].text, 0600);
        expect_refused(f, file, cases[i].why);
    }
    write_file(file, good, 0600);
    token_keys_free(keys_at(f->scratch.keys));
}

static const char *key_file_text(struct fixture *f, EVP_PKEY *pkey, const EVP_CIPHER *cipher)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes;
    char password[] = "secret";
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, pkey, cipher, password, 6, NULL, NULL), 1);
    long len = BIO_get_mem_data(bio, &bytes);
    struct json *object = json_new_object(&f->pool);
    json_add_string(&f->pool, object, "kid", "postern-abcdefghijkl");
    json_add_string(&f->pool, object, "algorithm", "ES256");
    json_add_int(&f->pool, object, "created_at_ms", NOW_MS);
    json_add_int(&f->pool, object, "sign_from_ms", NOW_MS);
    json_add_string(&f->pool, object, "private_key",
                    text_dup_iovec(&f->pool, h2o_iovec_init(bytes, (size_t)len)));
    struct json_writer *writer = json_writer_new(&f->pool);
    h2o_iovec_t out;
    json_put_tree(writer, object);
    assert_true(json_writer_end(writer, &out, NULL));
    BIO_free(bio);
    return out.base;
}

static void test_keys_of_another_kind(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkdir(f->scratch.keys, 0700), 0);
    const char *file = file_of(f, "postern-abcdefghijkl");
    EVP_PKEY *rsa = EVP_RSA_gen(2047), *p384 = EVP_EC_gen("P-384"), *p256 = EVP_EC_gen("P-256");
    EVP_PKEY *others[] = {rsa, p384, EVP_EC_gen("secp256k1")};
    for (size_t i = 0; i < 3; i++) {
        write_file(file, key_file_text(f, others[i], NULL), 0600);
        expect_refused(f, file, "P-256");
        EVP_PKEY_free(others[i]);
    }
    write_file(file, key_file_text(f, p256, EVP_aes_256_cbc()), 0600);
    expect_refused(f, file, "PEM"); /* and nobody is asked for a password */
    write_file(file, key_file_text(f, p256, NULL), 0600);
    token_keys_free(keys_at(f->scratch.keys));
    EVP_PKEY_free(p256);
}

static void *open_keys(void *arg)
{
    return keys_at(arg);
}

/* Two processes that start together on an empty directory end up with one and the same key. */
static void test_first_start_twice_at_once(void **state)
{
    struct fixture *f = *state;
    enum { OPENERS = 6 };
    pthread_t threads[OPENERS];
    const char *kid = NULL;
    for (size_t i = 0; i < OPENERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_keys, f->scratch.keys), 0);
    for (size_t i = 0; i < OPENERS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        struct token_keys *keys = result;
        assert_int_equal(token_keys_ring(keys)->count, 1);
        if (kid == NULL)
            kid = text_dup(&f->pool, token_keys_ring(keys)->entries[0]->kid);
        assert_string_equal(token_keys_ring(keys)->entries[0]->kid, kid);
        token_keys_free(keys);
    }
}

/* ---- roles ---- */

static void test_roles_follow_the_clock(void **state)
{
    struct fixture *f = *state;
    struct token_key *second = add_key(f, NOW_MS + 10 * MINUTE_MS);
    struct token_key *first = add_key(f, NOW_MS);
    struct token_keys *keys = keys_at(f->scratch.keys);
    assert_int_equal(token_keys_ring(keys)->count, 2);
    static const struct {
        int64_t at_ms;
        int signer, published;
    } cases[] = {
        {NOW_MS - MINUTE_MS, 0, 2}, /* a clock that was set back */
        {NOW_MS, 0, 2},
        {NOW_MS + 10 * MINUTE_MS - 1, 0, 2},
        {NOW_MS + 10 * MINUTE_MS, 1, 2},
        {NOW_MS + 10 * MINUTE_MS + KEY_OVERLAP_MS - 1, 1, 2},
        {NOW_MS + 10 * MINUTE_MS + KEY_OVERLAP_MS, 1, 1},
        {NOW_MS * 2, 1, 1},
    };
    const char *kids[] = {first->kid, second->kid};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(token_keys_signer(keys, cases[i].at_ms)->kid, kids[cases[i].signer]);
        struct json_writer *writer = json_writer_new(&f->pool);
        token_keys_write_jwks(keys, cases[i].at_ms, writer);
        h2o_iovec_t text;
        struct json *root;
        assert_true(json_writer_end(writer, &text, NULL));
        assert_true(json_parse(&f->pool, text, NULL, &root, NULL));
        const struct json *list = json_member(root, "keys");
        assert_int_equal(list->count, cases[i].published);
        assert_true(iovec_equal(json_member(list->last, "kid")->text, second->kid));
    }
    token_keys_free(keys);
    token_key_free(first);
    token_key_free(second);
}

/* A rotation signs nobody out: what the old key signed is good until it expires. The change is in the middle
 * of a second: the millisecond counts, not the token's iat. */
static void test_rotation_keeps_tokens(void **state)
{
    struct fixture *f = *state;
    token_keys_free(keys_at(f->scratch.keys));
    int64_t switch_ms = NOW_S * 1000 + 10 * MINUTE_MS + 500;
    token_key_free(add_key(f, switch_ms));
    struct token_keys *keys = keys_at(f->scratch.keys);
    struct token_verifier *verifier = token_verifier_new(keys, ISSUER, 0, 8);
    char kids[2][KEY_HEADER_LEN];
    for (int after = 0; after < 2; after++) {
        struct token_claims claims = {.issuer = ISSUER,
                                      .subject = "u",
                                      .audience = AUDIENCE,
                                      .session = "s",
                                      .now_ms = switch_ms - 1 + after,
                                      .lifetime_s = 60};
        h2o_iovec_t token;
        struct token_info info;
        assert_true(token_issue(&f->pool, keys, &claims, &token, NULL, NULL));
        assert_int_equal(token_verify(verifier, token, AUDIENCE, switch_ms / 1000 + 50, &info),
                         TOKEN_GOOD);
        memcpy(kids[after], token.base, KEY_HEADER_LEN);
    }
    assert_memory_not_equal(kids[0], kids[1], KEY_HEADER_LEN);
    token_verifier_free(verifier);
    token_keys_free(keys);
}

/* ---- the JWKS, as a stranger reads it ---- */

static EVP_PKEY *key_from_jwk(struct fixture *f, const struct json *jwk)
{
    h2o_iovec_t x, y;
    uint8_t point[65] = {0x04};
    assert_true(base64url_decode(&f->pool, json_member(jwk, "x")->text, &x));
    assert_true(base64url_decode(&f->pool, json_member(jwk, "y")->text, &y));
    assert_true(x.len == 32 && y.len == 32);
    memcpy(point + 1, x.base, 32);
    memcpy(point + 33, y.base, 32);
    char group[] = "prime256v1";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
        OSSL_PARAM_construct_end()};
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params), 1);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static bool stranger_verifies(h2o_mem_pool_t *pool, EVP_PKEY *pkey, h2o_iovec_t token)
{
    const char *dot = h2o_memrchr(token.base, '.', token.len);
    h2o_iovec_t raw;
    assert_true(base64url_decode(pool, iovec_of(dot + 1), &raw));
    assert_int_equal(raw.len, 64);
    const uint8_t *bytes = (const uint8_t *)raw.base;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    ECDSA_SIG_set0(sig, BN_bin2bn(bytes, 32, NULL), BN_bin2bn(bytes + 32, 32, NULL));
    uint8_t *der = NULL;
    int len = i2d_ECDSA_SIG(sig, &der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey), 1);
    bool good = EVP_DigestVerify(ctx, der, (size_t)len, (const uint8_t *)token.base,
                                 (size_t)(dot - token.base)) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    return good;
}

static void test_jwks(void **state)
{
    struct fixture *f = *state;
    struct token_keys *keys = keys_at(f->scratch.keys);
    struct json_writer *writer = json_writer_new(&f->pool);
    h2o_iovec_t text, token;
    struct json *root;
    token_keys_write_jwks(keys, NOW_MS, writer);
    assert_true(json_writer_end(writer, &text, NULL));
    assert_true(json_parse(&f->pool, text, NULL, &root, NULL));
    const struct json *jwk = json_member(root, "keys")->first;
    static const char *const members[][2] = {
        {"kty", "EC"}, {"crv", "P-256"}, {"use", "sig"}, {"alg", "ES256"}};
    for (size_t i = 0; i < 4; i++)
        assert_true(iovec_equal(json_member(jwk, members[i][0])->text, members[i][1]));
    assert_true(iovec_equal(json_member(jwk, "kid")->text, token_keys_ring(keys)->entries[0]->kid));
    assert_int_equal(jwk->count, 7); /* and nothing private */

    EVP_PKEY *pkey = key_from_jwk(f, jwk);
    for (int i = 0; i < 50; i++) { /* r and s with leading zeros come by */
        struct token_claims claims = {.issuer = ISSUER,
                                      .subject = "u",
                                      .audience = AUDIENCE,
                                      .session = "s",
                                      .now_ms = NOW_S * 1000,
                                      .lifetime_s = 60};
        assert_true(token_issue(&f->pool, keys, &claims, &token, NULL, NULL));
        assert_true(stranger_verifies(&f->pool, pkey, token));
    }
    token.base[KEY_HEADER_LEN + 3] ^= 1;
    assert_false(stranger_verifies(&f->pool, pkey, token));
    EVP_PKEY_free(pkey);
    token_keys_free(keys);
}

static void test_rsa_key(void **state)
{
    struct fixture *f = *state;
    struct token_keys *keys = keys_of(f->scratch.keys, TOKEN_RS256);
    const struct token_key *key = token_keys_ring(keys)->entries[0];
    const char *file = file_of(f, key->kid), *good = read_file(f, file);
    assert_non_null(strstr(good, "\"algorithm\":\"RS256\""));
    struct json_writer *writer = json_writer_new(&f->pool);
    h2o_iovec_t text;
    struct json *root;
    token_keys_write_jwks(keys, NOW_MS, writer);
    assert_true(json_writer_end(writer, &text, NULL));
    assert_true(json_parse(&f->pool, text, NULL, &root, NULL));
    const struct json *jwk = json_member(root, "keys")->first;
    assert_int_equal(jwk->count, 6); /* and nothing private */
    static const char *const members[][2] = {
        {"kty", "RSA"}, {"e", "AQAB"}, {"use", "sig"}, {"alg", "RS256"}};
    for (size_t i = 0; i < 4; i++)
        assert_true(iovec_equal(json_member(jwk, members[i][0])->text, members[i][1]));
    assert_true(iovec_equal(json_member(jwk, "kid")->text, key->kid));
    assert_int_equal(json_member(jwk, "n")->text.len, 342); /* 256 bytes: no zero in front */
    struct jwks *theirs; /* the reader that is as strict as we are with Okta */
    assert_true(jwks_parse(text, &theirs, NULL));
    jwks_free(theirs);

    struct token_keys *again = keys_of(f->scratch.keys, TOKEN_RS256);
    assert_true(token_key_same(key, token_keys_ring(again)->entries[0]));
    token_keys_free(again);
    token_keys_free(keys);
    write_file(file, replaced(f, good, "RS256", "ES256"), 0600);
    expect_refused(f, file, "algorithm");
}

static void test_other_rsa_keys_are_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkdir(f->scratch.keys, 0700), 0);
    const char *file = file_of(f, "postern-abcdefghijkl");
    EVP_PKEY *others[] = {EVP_RSA_gen(1024), EVP_RSA_gen(3072), NULL};
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    BIGNUM *three = BN_new();
    assert_true(BN_set_word(three, 3) == 1 && EVP_PKEY_keygen_init(ctx) == 1 &&
                EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048) == 1 &&
                EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, three) == 1 &&
                EVP_PKEY_generate(ctx, &others[2]) == 1);
    for (size_t i = 0; i < 3; i++) {
        write_file(file, key_file_text(f, others[i], NULL), 0600);
        expect_refused(f, file, "RSA 2048");
        EVP_PKEY_free(others[i]);
    }
    BN_free(three);
    EVP_PKEY_CTX_free(ctx);
}

/* Many signatures, so that r and s of fewer than 32 bytes, and with the highest bit set, are among them. */
static void test_signature_numbers(void **state)
{
    (void)state;
    struct token_key *key;
    assert_true(token_key_generate(TOKEN_ES256, 0, 0, &key, NULL));
    size_t short_ones = 0;
    for (int i = 0; i < 1500; i++) {
        uint8_t signature[KEY_SIGNATURE_MAX];
        h2o_iovec_t message = {(char *)&i, sizeof(i)};
        assert_true(token_key_sign(key, message, signature));
        assert_true(token_key_verify(key, message, signature));
        short_ones += signature[0] == 0 || signature[32] == 0;
        signature[KEY_SIGNATURE_EC - 1] ^= 1;
        if (i % 100 == 0)
            assert_false(token_key_verify(key, message, signature));
    }
    assert_true(short_ones > 0);
    token_key_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(test_first_start),
        TEST(test_check_makes_nothing),
        TEST(test_parent_missing),
        TEST(test_directory_modes),
        TEST(test_file_modes),
        TEST(test_owner),
        TEST(test_other_files_are_none_of_ours),
        TEST(test_malformed_files),
        TEST(test_keys_of_another_kind),
        TEST(test_first_start_twice_at_once),
        TEST(test_roles_follow_the_clock),
        TEST(test_rotation_keeps_tokens),
        TEST(test_jwks),
        TEST(test_rsa_key),
        TEST(test_other_rsa_keys_are_refused),
        TEST(test_signature_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
