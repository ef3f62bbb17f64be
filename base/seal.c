/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing: AES-256-GCM with a random nonce, bound to a purpose. A sealed blob is
 *
 *     version (1) | key id (4) | nonce (12) | ciphertext | tag (16)
 *
 * The key in a file is never used itself: what seals and what seal_keys_mac uses come from it by
 * HKDF with labels of their own. The key id is the begin of the file key's SHA-256, so that a blob finds its key
 * while two are in use. */
#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "base/crypto.h"

#define VERSION       1
#define KEY_ID_SIZE   4
#define NONCE_SIZE    12
#define TAG_SIZE      16
#define HEAD_SIZE     (1 + KEY_ID_SIZE + NONCE_SIZE)
#define BASE64_LENGTH 44 /* of SEAL_KEY_SIZE bytes, with padding */

struct seal_key {
    uint8_t master[SEAL_KEY_SIZE];  /* as in the file */
    uint8_t sealing[SEAL_KEY_SIZE]; /* derived: the AES key */
    uint8_t signing[SEAL_KEY_SIZE]; /* derived: the HMAC key of seal_keys_mac */
    uint8_t id[KEY_ID_SIZE];        /* of the master key */
};

struct seal_keys {
    size_t count;
    struct seal_key keys[]; /* wiped when freed */
};

/* ---- keys ---- */

static void hkdf(const uint8_t key[SEAL_KEY_SIZE], const char *label, uint8_t out[SHA256_SIZE])
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    size_t len = SHA256_SIZE;
    bool good = context != NULL && EVP_PKEY_derive_init(context) == 1 &&
                EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) == 1 &&
                EVP_PKEY_CTX_set1_hkdf_key(context, key, SEAL_KEY_SIZE) == 1 &&
                EVP_PKEY_CTX_add1_hkdf_info(context, (const unsigned char *)label,
                                            (int)strlen(label)) == 1 &&
                EVP_PKEY_derive(context, out, &len) == 1;
    assert(good && len == SHA256_SIZE);
    EVP_PKEY_CTX_free(context);
}

static struct seal_keys *alloc_keys(size_t count)
{
    struct seal_keys *self = h2o_mem_alloc(sizeof(*self) + count * sizeof(self->keys[0]));
    memset(self, 0, sizeof(*self) + count * sizeof(self->keys[0]));
    self->count = count;
    return self;
}

static void finish_key(struct seal_key *self)
{
    uint8_t digest[SHA256_SIZE];
    crypto_sha256(self->master, SEAL_KEY_SIZE, digest);
    memcpy(self->id, digest, KEY_ID_SIZE);
    hkdf(self->master, "postern seal", self->sealing);
    hkdf(self->master, "postern mac", self->signing);
}

/* Standard base64 of exactly 32 bytes. EVP_DecodeBlock is lenient (white space, stray bits in the last
 * character), so what it read must encode to what was there. */
static bool decode_key(h2o_iovec_t line, uint8_t out[SEAL_KEY_SIZE])
{
    uint8_t bytes[BASE64_LENGTH / 4 * 3], again[BASE64_LENGTH + 1];
    bool good =
        line.len == BASE64_LENGTH &&
        EVP_DecodeBlock(bytes, (const unsigned char *)line.base, BASE64_LENGTH) == sizeof(bytes) &&
        EVP_EncodeBlock(again, bytes, SEAL_KEY_SIZE) == BASE64_LENGTH &&
        crypto_equal(again, line.base, BASE64_LENGTH);
    if (good)
        memcpy(out, bytes, SEAL_KEY_SIZE);
    OPENSSL_cleanse(bytes, sizeof(bytes));
    OPENSSL_cleanse(again, sizeof(again));
    return good;
}

static bool load_key(const char *file, struct seal_key *out, struct error *err)
{
    struct secret line = {0};
    if (!secret_load_line(file, &line, err))
        return false;
    bool good = decode_key(secret_iovec(&line), out->master);
    secret_dispose(&line);
    if (!good)
        return error_set(err, ERROR_BAD_INPUT,
                         "%s: must be one line of base64 with 32 bytes; `openssl rand -base64 32` "
                         "makes one",
                         file);
    finish_key(out);
    return true;
}

bool seal_keys_load(const char *const *files, size_t count, struct seal_keys **out,
                    struct error *err)
{
    if (count == 0)
        return error_set(err, ERROR_BAD_INPUT, "no seal key file is given");
    struct seal_keys *self = alloc_keys(count);
    for (size_t i = 0; i < count; i++) {
        if (!load_key(files[i], &self->keys[i], err)) {
            seal_keys_free(self);
            return false;
        }
    }
    *out = self;
    return true;
}

struct seal_keys *seal_keys_random(void)
{
    struct seal_keys *self = alloc_keys(1);
    crypto_random(self->keys[0].master, SEAL_KEY_SIZE);
    finish_key(&self->keys[0]);
    return self;
}

void seal_keys_free(struct seal_keys *self)
{
    if (self == NULL)
        return;
    OPENSSL_cleanse(self->keys, self->count * sizeof(self->keys[0]));
    free(self);
}

struct seal_keys *seal_keys_copy(const struct seal_keys *from)
{
    struct seal_keys *self = alloc_keys(from->count);
    memcpy(self->keys, from->keys, from->count * sizeof(self->keys[0]));
    return self;
}

static bool same_key(const struct seal_key *a, const struct seal_key *b)
{
    return crypto_equal(a->master, b->master, SEAL_KEY_SIZE);
}

bool seal_keys_open_those_of(const struct seal_keys *self, const struct seal_keys *former)
{
    for (size_t i = 0; i < self->count; i++)
        if (same_key(&self->keys[i], &former->keys[0]))
            return true;
    return false;
}

bool seal_keys_equal(const struct seal_keys *a, const struct seal_keys *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++)
        equal = same_key(&a->keys[i], &b->keys[i]);
    return equal;
}

size_t seal_keys_count(const struct seal_keys *self)
{
    return self->count;
}

void seal_keys_mac(const struct seal_keys *self, size_t key, const char *purpose,
                   h2o_iovec_t message, uint8_t out[SHA256_SIZE])
{
    uint8_t bytes[256];
    size_t purpose_size =
        strlen(purpose) + 1; /* with its NUL, so that no purpose runs into a message */
    assert(key < self->count && purpose_size + message.len <= sizeof(bytes));
    memcpy(bytes, purpose, purpose_size);
    memcpy(bytes + purpose_size, message.base, message.len);
    crypto_hmac_sha256(h2o_iovec_init(self->keys[key].signing, SEAL_KEY_SIZE),
                       h2o_iovec_init(bytes, purpose_size + message.len), out);
    OPENSSL_cleanse(bytes, sizeof(bytes));
}

/* ---- sealing ---- */

h2o_iovec_t seal(h2o_mem_pool_t *pool, const struct seal_keys *keys, const char *purpose,
                 h2o_iovec_t plain)
{
    assert(plain.len <= INT_MAX / 2);
    const struct seal_key *key = &keys->keys[0];
    uint8_t *out = h2o_mem_alloc_pool(pool, HEAD_SIZE + plain.len + TAG_SIZE);
    uint8_t *nonce = out + 1 + KEY_ID_SIZE, *text = out + HEAD_SIZE;
    out[0] = VERSION;
    memcpy(out + 1, key->id, KEY_ID_SIZE);
    crypto_random(nonce, NONCE_SIZE);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int len = 0;
    bool good =
        context != NULL &&
        EVP_EncryptInit_ex2(context, EVP_aes_256_gcm(), key->sealing, nonce, NULL) == 1 &&
        EVP_EncryptUpdate(context, NULL, &len, (const unsigned char *)purpose,
                          (int)strlen(purpose)) == 1 &&
        EVP_EncryptUpdate(context, text, &len, (const unsigned char *)plain.base, (int)plain.len) ==
            1 &&
        EVP_EncryptFinal_ex(context, text + plain.len, &len) == 1 &&
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, text + plain.len) == 1;
    assert(good);
    EVP_CIPHER_CTX_free(context);
    return h2o_iovec_init(out, HEAD_SIZE + plain.len + TAG_SIZE);
}

/* plain has room for what is between the head and the tag. */
static bool open_with(const struct seal_key *key, const char *purpose, h2o_iovec_t sealed,
                      h2o_iovec_t plain)
{
    const uint8_t *in = (const uint8_t *)sealed.base, *nonce = in + 1 + KEY_ID_SIZE;
    uint8_t tag[TAG_SIZE];
    memcpy(tag, in + sealed.len - TAG_SIZE, TAG_SIZE);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int len = 0;
    uint8_t *out = (uint8_t *)plain.base;
    bool good = context != NULL &&
                EVP_DecryptInit_ex2(context, EVP_aes_256_gcm(), key->sealing, nonce, NULL) == 1 &&
                EVP_DecryptUpdate(context, NULL, &len, (const unsigned char *)purpose,
                                  (int)strlen(purpose)) == 1 &&
                EVP_DecryptUpdate(context, out, &len, in + HEAD_SIZE, (int)plain.len) == 1 &&
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1 &&
                EVP_DecryptFinal_ex(context, out + plain.len, &len) == 1;
    EVP_CIPHER_CTX_free(context);
    return good;
}

bool unseal(h2o_mem_pool_t *pool, const struct seal_keys *keys, const char *purpose,
            h2o_iovec_t sealed, h2o_iovec_t *plain)
{
    if (sealed.len < HEAD_SIZE + TAG_SIZE || sealed.len > INT_MAX / 2 || sealed.base[0] != VERSION)
        return false;
    h2o_iovec_t out = {NULL, 0};
    for (size_t i = 0; i < keys->count; i++) {
        const struct seal_key *key = &keys->keys[i];
        if (memcmp(sealed.base + 1, key->id, KEY_ID_SIZE) != 0)
            continue;
        if (out.base == NULL)
            out = secret_alloc_in_pool(pool, sealed.len - HEAD_SIZE - TAG_SIZE);
        if (open_with(key, purpose, sealed, out)) {
            *plain = out;
            return true;
        }
    }
    return false;
}
