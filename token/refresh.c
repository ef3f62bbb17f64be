/* SPDX-License-Identifier: Apache-2.0
 *
 * Refresh tokens and codes: what they look like, and how one follows from the other. The tag proves that we made a
 * token, for that kind and that session and generation; the seal key that it proves it with is the one that the next
 * secret comes from too. */
#include "token/refresh.h"

#include <assert.h>

#define GENERATION_BYTES 4
#define TAG_BYTES        16
#define BODY_BYTES       (REFRESH_SESSION_BYTES + GENERATION_BYTES + SHA256_SIZE)
#define TOKEN_BYTES      (BODY_BYTES + TAG_BYTES)

static const char *tag_purpose(enum refresh_kind kind)
{
    switch (kind) {
    case REFRESH_TOKEN:
        return "postern refresh token";
    case AUTHORIZATION_CODE:
        return "postern authorization code";
    }
    assert(!"a kind without a purpose");
    return NULL;
}

static void write_body(const struct refresh_token *self, uint32_t generation,
                       uint8_t out[BODY_BYTES])
{
    memcpy(out, self->session, REFRESH_SESSION_BYTES);
    for (unsigned i = 0; i < GENERATION_BYTES; i++)
        out[REFRESH_SESSION_BYTES + i] = (uint8_t)(generation >> (8 * (GENERATION_BYTES - 1 - i)));
    memcpy(out + REFRESH_SESSION_BYTES + GENERATION_BYTES, self->secret, SHA256_SIZE);
}

static void read_body(const uint8_t in[BODY_BYTES], struct refresh_token *out)
{
    memcpy(out->session, in, REFRESH_SESSION_BYTES);
    out->generation = 0;
    for (unsigned i = 0; i < GENERATION_BYTES; i++)
        out->generation = out->generation << 8 | in[REFRESH_SESSION_BYTES + i];
    memcpy(out->secret, in + REFRESH_SESSION_BYTES + GENERATION_BYTES, SHA256_SIZE);
}

void refresh_token_first(const uint8_t session[REFRESH_SESSION_BYTES], struct refresh_token *out)
{
    *out = (struct refresh_token){0};
    memcpy(out->session, session, REFRESH_SESSION_BYTES);
    crypto_random(out->secret, sizeof(out->secret));
}

void refresh_token_next(const struct seal_keys *keys, const struct refresh_token *self,
                        struct refresh_token *out)
{
    uint8_t body[BODY_BYTES], secret[SHA256_SIZE];
    struct refresh_token next = *self;
    next.generation++;
    write_body(self, next.generation, body);
    seal_keys_mac(keys, self->key, "postern refresh", h2o_iovec_init(body, sizeof(body)), secret);
    memcpy(next.secret, secret, sizeof(next.secret));
    *out = next;
    explicit_bzero(body, sizeof(body));
    explicit_bzero(secret, sizeof(secret));
    explicit_bzero(&next, sizeof(next));
}

void refresh_token_hash(const struct refresh_token *self, uint8_t out[SHA256_SIZE])
{
    crypto_sha256(self->secret, sizeof(self->secret), out);
}

void refresh_token_write(const struct seal_keys *keys, enum refresh_kind kind,
                         const struct refresh_token *self, char out[REFRESH_TOKEN_LEN + 1])
{
    uint8_t bytes[TOKEN_BYTES], tag[SHA256_SIZE];
    h2o_mem_pool_t pool;
    write_body(self, self->generation, bytes);
    seal_keys_mac(keys, self->key, tag_purpose(kind), h2o_iovec_init(bytes, BODY_BYTES), tag);
    memcpy(bytes + BODY_BYTES, tag, TAG_BYTES);
    h2o_mem_init_pool(&pool);
    h2o_iovec_t text = base64url_encode(&pool, bytes, sizeof(bytes));
    assert(text.len == REFRESH_TOKEN_LEN);
    memcpy(out, text.base, REFRESH_TOKEN_LEN + 1);
    explicit_bzero(text.base, text.len);
    h2o_mem_clear_pool(&pool);
    explicit_bzero(bytes, sizeof(bytes));
}

/* Which of the keys made the tag; false: none. */
static bool find_key(const struct seal_keys *keys, enum refresh_kind kind,
                     const uint8_t bytes[TOKEN_BYTES], unsigned *out)
{
    uint8_t tag[SHA256_SIZE];
    for (size_t i = 0; i < seal_keys_count(keys); i++) {
        seal_keys_mac(keys, i, tag_purpose(kind), h2o_iovec_init(bytes, BODY_BYTES), tag);
        if (crypto_equal(tag, bytes + BODY_BYTES, TAG_BYTES)) {
            *out = (unsigned)i;
            return true;
        }
    }
    return false;
}

bool refresh_token_read(const struct seal_keys *keys, enum refresh_kind kind, h2o_iovec_t text,
                        struct refresh_token *out)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t bytes = {NULL, 0};
    unsigned key;
    if (text.len != REFRESH_TOKEN_LEN)
        return false;
    h2o_mem_init_pool(&pool);
    bool good = base64url_decode(&pool, text, &bytes) &&
                find_key(keys, kind, (const uint8_t *)bytes.base, &key);
    if (good) {
        read_body((const uint8_t *)bytes.base, out);
        out->key = key;
    }
    if (bytes.base != NULL)
        explicit_bzero(bytes.base, bytes.len);
    h2o_mem_clear_pool(&pool);
    return good;
}
