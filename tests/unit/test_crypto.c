/* SPDX-License-Identifier: Apache-2.0
 *
 * Hashes against published vectors, strict base64url, and sealing: what we sealed opens for its purpose
 * only, anything else never. */
#define OPENSSL_SUPPRESS_DEPRECATED /* RAND_set_rand_method: the one way to make the generator fail */

#include "support_pool.h"

#include <fcntl.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/text.h"

static void assert_hex(const uint8_t *bytes, size_t len, const char *expected)
{
    char hex[2 * 64 + 1];
    assert_true(len <= 64);
    for (size_t i = 0; i < len; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    assert_string_equal(hex, expected);
}

/* ---- randomness ---- */

static void test_random_fills_everything_anew(void **state)
{
    (void)state;
    uint8_t a[64] = {0}, b[64] = {0}, seen[64] = {0};
    for (int i = 0; i < 20; i++) { /* a byte that is 0 twenty times over was not written */
        crypto_random(a, sizeof(a));
        assert_memory_not_equal(a, b, sizeof(a));
        memcpy(b, a, sizeof(a));
        for (size_t j = 0; j < sizeof(a); j++)
            seen[j] |= a[j];
    }
    assert_null(memchr(seen, 0, sizeof(seen)));
    crypto_random(NULL, 0);
}

static int fail_bytes(unsigned char *out, int len)
{
    (void)out;
    (void)len;
    return 0;
}

/* peers 56: a generator that fails ends the process. */
static void test_failing_generator_aborts(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const RAND_METHOD failing = {.bytes = fail_bytes};
        uint8_t out[8];
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        RAND_set_rand_method(&failing);
        crypto_random(out, sizeof(out));
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* ---- hashes ---- */

static void test_sha256_vectors(void **state)
{
    (void)state;
    uint8_t out[SHA256_SIZE];
    crypto_sha256("", 0, out); /* FIPS 180-4's examples */
    assert_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    crypto_sha256(NULL, 0, out);
    assert_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    crypto_sha256("abc", 3, out);
    assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_hmac_vectors(void **state)
{
    (void)state;
    uint8_t out[SHA256_SIZE];
    char key[131];
    memset(key, 0xaa, sizeof(key)); /* RFC 4231, cases 2 and 6 */
    crypto_hmac_sha256(iovec_of("Jefe"), iovec_of("what do ya want for nothing?"), out);
    assert_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    crypto_hmac_sha256(h2o_iovec_init(key, sizeof(key)),
                       iovec_of("Test Using Larger Than Block-Size Key - Hash Key First"), out);
    assert_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    crypto_hmac_sha256(h2o_iovec_init(NULL, 0), h2o_iovec_init(NULL, 0), out);
    assert_hex(out, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void *hash_often(void *out)
{
    for (int i = 0; i < 2000; i++)
        crypto_sha256("abc", 3, out);
    return NULL;
}

static void test_threads_hash_beside_each_other(void **state)
{
    (void)state;
    pthread_t threads[4];
    uint8_t outs[4][SHA256_SIZE], expected[SHA256_SIZE];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_often, outs[i]), 0);
    crypto_sha256("abc", 3, expected);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_memory_equal(outs[i], expected, SHA256_SIZE);
    }
}

static void test_equal(void **state)
{
    (void)state;
    assert_true(crypto_equal("abc", "abd", 2));
    assert_false(crypto_equal("abc", "abd", 3));
    assert_true(crypto_equal_iovec(iovec_of("abc"), iovec_of("abc")));
    assert_false(crypto_equal_iovec(iovec_of("abc"), iovec_of("abcd")));
    assert_false(crypto_equal_iovec(iovec_of("abc"), iovec_of("Abc")));
    assert_true(crypto_equal_iovec(h2o_iovec_init(NULL, 0), iovec_of("")));
}

/* ---- base64url ---- */

static void test_base64url_vectors(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *text;
    } cases[] = {
        {"", 0, ""}, /* RFC 4648 section 10 */
        {"f", 1, "Zg"},
        {"fo", 2, "Zm8"},
        {"foo", 3, "Zm9v"},
        {"foob", 4, "Zm9vYg"},
        {"fooba", 5, "Zm9vYmE"},
        {"foobar", 6, "Zm9vYmFy"},
        {"\xfb\xff\xbf", 3, "-_-_"},
        {"\0\0", 2, "AAA"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(base64url_encode(*state, cases[i].bytes, cases[i].len).base,
                            cases[i].text);
        h2o_iovec_t out;
        assert_true(base64url_decode(*state, iovec_of(cases[i].text), &out));
        assert_int_equal(out.len, cases[i].len);
        assert_memory_equal(out.base, cases[i].bytes, cases[i].len);
        assert_int_equal(out.base[out.len], '\0');
    }
}

static void test_base64url_round_trip(void **state)
{
    uint8_t bytes[256];
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        crypto_random(bytes, len);
        h2o_iovec_t text = base64url_encode(*state, bytes, len), out;
        assert_int_equal(strlen(text.base), text.len);
        assert_true(base64url_decode(*state, text, &out));
        assert_int_equal(out.len, len);
        assert_memory_equal(out.base, bytes, len);
    }
}

static void test_base64url_is_strict(void **state)
{
    static const char *const cases[] = {
        "A",      "AAAAA",             /* no such length */
        "Zg==",   "Zg=",   "Zm9vYg==", /* padding */
        "Zh",     "Zn",    "Zm9",      /* stray bits in the last character */
        "Zm9v\n", " Zm9v", "Zm 9v",    "Zm9+", "Zm9/", "Zm9.", "Zm9\xc3", "Zm9v====",
    };
    h2o_iovec_t out = {NULL, 0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (base64url_decode(*state, iovec_of(cases[i]), &out))
            fail_msg("%s", cases[i]);
    }
    assert_false(base64url_decode(*state, h2o_iovec_init("AA\0A", 4), &out));
    assert_null(out.base);
}

/* Of all texts of two characters only those that some byte encodes to are taken. */
static void test_base64url_takes_no_second_spelling(void **state)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < 0x10000; i++) {
        const char text[] = {(char)(i >> 8), (char)i};
        h2o_iovec_t out;
        taken += base64url_decode(*state, h2o_iovec_init(text, 2), &out);
    }
    assert_int_equal(taken, 256);
}

/* ---- sealing ---- */

static void test_sealed_opens_again(void **state)
{
    struct seal_keys *keys = seal_keys_random();
    char plain[300];
    memset(plain, 'p', sizeof(plain));
    for (size_t len = 0; len < sizeof(plain); len += 23) {
        h2o_iovec_t sealed = seal(*state, keys, "login", h2o_iovec_init(plain, len)), out;
        assert_int_equal(sealed.len, len + 1 + 4 + 12 + 16);
        assert_true(unseal(*state, keys, "login", sealed, &out));
        assert_int_equal(out.len, len);
        assert_memory_equal(out.base, plain, len);
        assert_int_equal(out.base[len], '\0');
    }
    seal_keys_free(keys);
}

static void test_sealing_twice_differs_and_hides(void **state)
{
    struct seal_keys *keys = seal_keys_random();
    h2o_iovec_t plain = iovec_of("a refresh token that nobody may see");
    h2o_iovec_t a = seal(*state, keys, "x", plain), b = seal(*state, keys, "x", plain);
    assert_memory_not_equal(a.base, b.base, a.len);
    assert_null(memmem(a.base, a.len, "refresh", 7));
    seal_keys_free(keys);
}

static void test_flipped_bits_and_cuts_do_not_open(void **state)
{
    struct seal_keys *keys = seal_keys_random();
    h2o_iovec_t sealed = seal(*state, keys, "login", iovec_of("secret")), out = {NULL, 0};
    for (size_t bit = 0; bit < sealed.len * 8; bit++) {
        sealed.base[bit / 8] ^= (char)(1 << bit % 8);
        if (unseal(*state, keys, "login", sealed, &out))
            fail_msg("opened with bit %zu flipped", bit);
        sealed.base[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t len = 0; len < sealed.len; len++) {
        char *copy = malloc(len + 1);
        memcpy(copy, sealed.base, len);
        copy = realloc(copy, len != 0 ? len : 1);
        assert_false(unseal(*state, keys, "login", h2o_iovec_init(copy, len), &out));
        free(copy);
    }
    assert_false(unseal(*state, keys, "login", h2o_iovec_init(NULL, 0), &out));
    assert_null(out.base);
    assert_true(unseal(*state, keys, "login", sealed, &out));
    seal_keys_free(keys);
}

static void test_purpose_and_key_bind(void **state)
{
    struct seal_keys *keys = seal_keys_random(), *others = seal_keys_random();
    h2o_iovec_t sealed = seal(*state, keys, "login", iovec_of("secret")), out;
    assert_false(unseal(*state, keys, "grant", sealed, &out));
    assert_false(unseal(*state, keys, "logi", sealed, &out));
    assert_false(unseal(*state, keys, "", sealed, &out));
    assert_false(unseal(*state, others, "login", sealed, &out));
    seal_keys_free(keys);
    seal_keys_free(others);
}

static void mac_of(const struct seal_keys *keys, const char *purpose, const char *message,
                   uint8_t out[SHA256_SIZE])
{
    seal_keys_mac(keys, 0, purpose, iovec_of(message), out);
}

static void test_mac(void **state)
{
    (void)state;
    struct seal_keys *keys = seal_keys_random(), *others = seal_keys_random();
    uint8_t a[SHA256_SIZE], b[SHA256_SIZE];
    mac_of(keys, "refresh", "message", a);
    mac_of(keys, "refresh", "message", b);
    assert_memory_equal(a, b, sizeof(a));
    mac_of(keys, "refresi", "message", b);
    assert_memory_not_equal(a, b, sizeof(a));
    mac_of(keys, "refres", "hmessage", b); /* a purpose does not run into the message */
    assert_memory_not_equal(a, b, sizeof(a));
    mac_of(others, "refresh", "message", b);
    assert_memory_not_equal(a, b, sizeof(a));
    seal_keys_free(keys);
    seal_keys_free(others);
}

/* ---- seal keys in files ---- */

#define KEY_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" /* bytes 0 … 31 */
#define KEY_B "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA="

static const char *key_file(h2o_mem_pool_t *pool, const char *content)
{
    char *path = text_dup(pool, "/tmp/test_crypto.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
    return path;
}

static struct seal_keys *load(const char *a, const char *b)
{
    const char *const files[] = {a, b};
    struct seal_keys *keys;
    struct error err = {0};
    if (!seal_keys_load(files, b != NULL ? 2 : 1, &keys, &err))
        fail_msg("%s", err.text);
    return keys;
}

/* Rotation: a new first key seals, the old one still opens; without the old one it does not. */
static void test_keys_rotate(void **state)
{
    const char *a = key_file(*state, KEY_A "\n"), *b = key_file(*state, KEY_B);
    struct seal_keys *old = load(a, NULL), *both = load(b, a), *new = load(b, NULL);
    h2o_iovec_t before = seal(*state, old, "p", iovec_of("before")), out;
    h2o_iovec_t after = seal(*state, both, "p", iovec_of("after"));
    assert_true(unseal(*state, both, "p", before, &out));
    assert_string_equal(out.base, "before");
    assert_true(unseal(*state, new, "p", after, &out));
    assert_string_equal(out.base, "after");
    assert_false(unseal(*state, new, "p", before, &out));
    assert_false(unseal(*state, old, "p", after, &out));
    seal_keys_free(old);
    seal_keys_free(both);
    seal_keys_free(new);
    unlink(a);
    unlink(b);
}

/* The formats are for ever: blobs lie in somebody's store. Both values were made by node's crypto
 * (hkdfSync, createHmac, createCipheriv) from what seal.c's head says. */
static void test_formats_are_pinned(void **state)
{
    const char *a = key_file(*state, KEY_A);
    struct seal_keys *keys = load(a, NULL);
    uint8_t mac[SHA256_SIZE];
    mac_of(keys, "login", "hello", mac);
    assert_hex(mac, 32, "672dd9b0c377a5fbd8b540316358139caa6762302fcbce597cc58a0a512ef92e");
    h2o_iovec_t sealed, out;
    assert_true(base64url_decode(
        *state, iovec_of("AWMNzSkBAgMEBQYHCAkKCwxw_xp58_hkef9dGD3p9Y4V1yPwk2c"), &sealed));
    assert_true(unseal(*state, keys, "login", sealed, &out));
    assert_string_equal(out.base, "hello");
    seal_keys_free(keys);
    unlink(a);
}

static void test_bad_key_files_are_named(void **state)
{
    static const char *const contents[] = {
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",   /* no padding */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",  /* 31 bytes */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",  /* 33 bytes */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=",  /* stray bits */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= ", /* white space */
        " AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n" KEY_B), /* two lines */
        "__79_Pv6-fj39vX08_Lx8O_u7ezr6uno5-bl5OPi4eA=",           /* base64url */
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "not a key",
    };
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        const char *file = key_file(*state, contents[i]);
        struct seal_keys *keys = NULL;
        struct error err = {0};
        if (seal_keys_load(&file, 1, &keys, &err))
            fail_msg("%s", contents[i]);
        assert_null(keys);
        assert_int_equal(err.kind, ERROR_BAD_INPUT);
        assert_non_null(strstr(err.text, file));
        assert_null(strstr(err.text, "AECAwQF"));
        unlink(file);
    }
    const char *bad = key_file(*state, "not a key");
    struct seal_keys *keys;
    struct error err = {0};
    assert_false(seal_keys_load(&bad, 1, &keys, &err));
    assert_non_null(strstr(err.text, "openssl rand -base64 32"));
    assert_false(seal_keys_load(NULL, 0, &keys, &err));
    unlink(bad);
}

static void test_key_file_that_others_can_read_is_refused(void **state)
{
    const char *file = key_file(*state, KEY_A);
    assert_int_equal(chmod(file, 0604), 0);
    struct seal_keys *keys;
    struct error err = {0};
    assert_false(seal_keys_load(&file, 1, &keys, &err));
    assert_non_null(strstr(err.text, "chmod o="));
    unlink(file);
}

/* What a reload asks of new keys. */
static void test_keys_are_compared(void **state)
{
    const char *a = key_file(*state, KEY_A);
    struct seal_keys *one = seal_keys_random(), *other = seal_keys_random(), *loaded;
    struct seal_keys *copy = seal_keys_copy(one);
    h2o_iovec_t sealed = seal(*state, one, "x", iovec_of("plain")), plain;
    assert_true(seal_keys_equal(one, copy));
    assert_false(seal_keys_equal(one, other));
    assert_true(seal_keys_open_those_of(copy, one));
    assert_true(unseal(*state, copy, "x", sealed, &plain));
    assert_false(seal_keys_open_those_of(other, one));
    assert_true(seal_keys_load((const char *const[]){a, a}, 2, &loaded, NULL));
    struct seal_keys *first;
    assert_true(seal_keys_load(&a, 1, &first, NULL));
    assert_false(seal_keys_equal(first, loaded));
    assert_true(seal_keys_open_those_of(loaded, first));
    struct seal_keys *all[] = {one, other, copy, loaded, first};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        seal_keys_free(all[i]);
    unlink(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_fills_everything_anew),
        cmocka_unit_test(test_failing_generator_aborts),
        cmocka_unit_test(test_sha256_vectors),
        cmocka_unit_test(test_hmac_vectors),
        cmocka_unit_test(test_threads_hash_beside_each_other),
        cmocka_unit_test(test_equal),
        POOLED(test_base64url_vectors),
        POOLED(test_base64url_round_trip),
        POOLED(test_base64url_is_strict),
        POOLED(test_base64url_takes_no_second_spelling),
        POOLED(test_sealed_opens_again),
        POOLED(test_sealing_twice_differs_and_hides),
        POOLED(test_flipped_bits_and_cuts_do_not_open),
        POOLED(test_purpose_and_key_bind),
        cmocka_unit_test(test_mac),
        POOLED(test_keys_rotate),
        POOLED(test_keys_are_compared),
        POOLED(test_formats_are_pinned),
        POOLED(test_bad_key_files_are_named),
        POOLED(test_key_file_that_others_can_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
