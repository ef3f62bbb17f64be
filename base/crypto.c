/* SPDX-License-Identifier: Apache-2.0
 *
 * Randomness, SHA-256, HMAC, comparison and base64url. Every TokenReview hashes its token, so the
 * algorithms are fetched once and each thread keeps its contexts (facts: 0.8 us a token so). Sealing is in
 * seal.c. */
#include "base/crypto.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>

/* ---- randomness ---- */

void crypto_random(void *out, size_t len)
{
    assert(len <= INT_MAX);
    if (len != 0 && RAND_bytes(out, (int)len) != 1) {
        fputs("postern: the system's random number generator failed\n", stderr);
        abort();
    }
}

/* ---- hashes ---- */

struct contexts { /* a thread's own */
    EVP_MD_CTX *sha256;
    EVP_MAC_CTX *hmac; /* knows its digest, and gets a key each time */
};

static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256; /* fetched once, for the life of the process */
static EVP_MAC *hmac;
static pthread_key_t contexts_key; /* frees a thread's contexts when the thread ends */
static _Thread_local struct contexts *thread_contexts;

static void free_contexts(void *value)
{
    struct contexts *contexts = value;
    EVP_MD_CTX_free(contexts->sha256);
    EVP_MAC_CTX_free(contexts->hmac);
    free(contexts);
}

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    int failed = pthread_key_create(&contexts_key, free_contexts);
    assert(sha256 != NULL && hmac != NULL && failed == 0);
}

static struct contexts *new_contexts(void)
{
    struct contexts *contexts = h2o_mem_alloc(sizeof(*contexts));
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    contexts->sha256 = EVP_MD_CTX_new();
    contexts->hmac = EVP_MAC_CTX_new(hmac);
    assert(contexts->sha256 != NULL && contexts->hmac != NULL);
    int good = EVP_MAC_CTX_set_params(contexts->hmac, params);
    assert(good == 1);
    return contexts;
}

static struct contexts *contexts_of_thread(void)
{
    if (thread_contexts == NULL) {
        pthread_once(&fetch_once, fetch);
        thread_contexts = new_contexts();
        pthread_setspecific(contexts_key, thread_contexts);
    }
    return thread_contexts;
}

void crypto_sha256(const void *bytes, size_t len, uint8_t out[SHA256_SIZE])
{
    EVP_MD_CTX *context = contexts_of_thread()->sha256;
    bool good = EVP_DigestInit_ex2(context, sha256, NULL) == 1 &&
                EVP_DigestUpdate(context, bytes, len) == 1 &&
                EVP_DigestFinal_ex(context, out, NULL) == 1;
    assert(good);
}

void crypto_hmac_sha256(h2o_iovec_t key, h2o_iovec_t message, uint8_t out[SHA256_SIZE])
{
    EVP_MAC_CTX *context = contexts_of_thread()->hmac;
    size_t made = 0;
    /* NULL would mean "the key as before" */
    const void *key_bytes = key.base != NULL ? key.base : "";
    bool good = EVP_MAC_init(context, key_bytes, key.len, NULL) == 1 &&
                EVP_MAC_update(context, (const unsigned char *)message.base, message.len) == 1 &&
                EVP_MAC_final(context, out, &made, SHA256_SIZE) == 1;
    assert(good && made == SHA256_SIZE);
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

bool crypto_equal_iovec(h2o_iovec_t a, h2o_iovec_t b)
{
    return a.len == b.len && CRYPTO_memcmp(a.base, b.base, a.len) == 0;
}

/* ---- base64url ---- */

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

h2o_iovec_t base64url_encode(h2o_mem_pool_t *pool, const void *bytes, size_t len)
{
    assert(len < SIZE_MAX / 2);
    const uint8_t *in = bytes;
    char *out = h2o_mem_alloc_pool(pool, len / 3 * 4 + 5), *o = out;
    size_t i = 0;
    for (; i + 3 <= len; i += 3) {
        *o++ = alphabet[in[i] >> 2];
        *o++ = alphabet[(in[i] & 3) << 4 | in[i + 1] >> 4];
        *o++ = alphabet[(in[i + 1] & 15) << 2 | in[i + 2] >> 6];
        *o++ = alphabet[in[i + 2] & 63];
    }
    if (len - i == 1) {
        *o++ = alphabet[in[i] >> 2];
        *o++ = alphabet[(in[i] & 3) << 4];
    } else if (len - i == 2) {
        *o++ = alphabet[in[i] >> 2];
        *o++ = alphabet[(in[i] & 3) << 4 | in[i + 1] >> 4];
        *o++ = alphabet[(in[i + 1] & 15) << 2];
    }
    *o = '\0';
    return h2o_iovec_init(out, (size_t)(o - out));
}

/* The value of a character plus one; 0 for one that is not in the alphabet. */
static const uint8_t values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};

/* What is left in the accumulator at the end must be zero bits, else two texts would mean the same bytes. */
bool base64url_decode(h2o_mem_pool_t *pool, h2o_iovec_t input, h2o_iovec_t *out)
{
    if (input.len % 4 == 1)
        return false;
    uint8_t *bytes = h2o_mem_alloc_pool(pool, input.len / 4 * 3 + 3), *o = bytes;
    uint32_t bits = 0;
    unsigned count = 0; /* of bits that wait */
    for (size_t i = 0; i < input.len; i++) {
        unsigned value = values[(unsigned char)input.base[i]];
        if (value == 0)
            return false;
        bits = bits << 6 | (value - 1);
        count += 6;
        if (count >= 8) {
            count -= 8;
            *o++ = (uint8_t)(bits >> count);
            bits &= (1u << count) - 1;
        }
    }
    if (bits != 0)
        return false;
    *o = '\0';
    *out = h2o_iovec_init(bytes, (size_t)(o - bytes));
    return true;
}
