/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring of signing keys. What a key does at a time follows from the clock alone: the one with the latest
 * sign_from up to now signs; each verifies from the moment it is in the ring until KEY_OVERLAP_MS after the
 * next one began to sign. So every replica that has read the same files agrees without talking. Threads share
 * a pointer to a ring that does not change; a rotation puts another one in its place. */
#include <assert.h>

#include "keys.h"

static_assert(TOKEN_KID_SIZE > KEY_KID_LEN, "kids fit");

void key_ring_free(struct key_ring *self)
{
    while (self != NULL) {
        struct key_ring *older = self->older;
        for (size_t i = 0; i < self->count; i++)
            token_key_free(self->entries[i]);
        free(self->entries);
        free(self);
        self = older;
    }
}

void key_ring_add(struct key_ring *self, struct token_key *key)
{
    self->entries = h2o_mem_realloc(self->entries, (self->count + 1) * sizeof(self->entries[0]));
    self->entries[self->count++] = key;
}

static int by_sign_from(const void *a, const void *b)
{
    const struct token_key *left = *(struct token_key *const *)a;
    const struct token_key *right = *(struct token_key *const *)b;
    if (left->sign_from_ms != right->sign_from_ms)
        return left->sign_from_ms < right->sign_from_ms ? -1 : 1;
    return strcmp(left->kid, right->kid);
}

void key_ring_settle(struct key_ring *self)
{
    if (self->count > 1)
        qsort(self->entries, self->count, sizeof(struct token_key *), by_sign_from);
    for (size_t i = 0; i < self->count; i++)
        self->entries[i]->verify_until_ms =
            i + 1 < self->count ? self->entries[i + 1]->sign_from_ms + KEY_OVERLAP_MS : INT64_MAX;
}

const struct token_key *key_ring_signer(const struct key_ring *self, int64_t now_ms)
{
    const struct token_key *signer = self->count > 0 ? self->entries[0] : NULL;
    for (size_t i = 1; i < self->count && self->entries[i]->sign_from_ms <= now_ms; i++)
        signer = self->entries[i];
    return signer;
}

const struct token_key *key_ring_next(const struct key_ring *self, int64_t now_ms)
{
    const struct token_key *signer = key_ring_signer(self, now_ms);
    for (size_t i = 0; i < self->count; i++) {
        const struct token_key *key = self->entries[i];
        if (key != signer && key->sign_from_ms > now_ms)
            return key->sign_from_ms - now_ms <= KEY_OVERLAP_MS ? key : NULL;
    }
    return NULL;
}

/* ---- what all threads share ---- */

const struct key_ring *token_keys_ring(const struct token_keys *self)
{
    return atomic_load_explicit(&self->ring, memory_order_acquire);
}

void token_keys_publish(struct token_keys *self, struct key_ring *ring)
{
    ring->older = atomic_load_explicit(&self->ring, memory_order_relaxed);
    atomic_store_explicit(&self->ring, ring, memory_order_release);
}

void token_keys_free(struct token_keys *self)
{
    if (self == NULL)
        return;
    key_ring_free(atomic_load(&self->ring));
    free(self->directory);
    free(self);
}

const struct token_key *token_keys_signer(const struct token_keys *self, int64_t now_ms)
{
    return key_ring_signer(token_keys_ring(self), now_ms);
}

const struct token_key *token_keys_find(const struct token_keys *self, const char *header)
{
    const struct key_ring *ring = token_keys_ring(self);
    for (size_t i = 0; i < ring->count; i++) {
        if (memcmp(ring->entries[i]->header, header, KEY_HEADER_LEN) == 0)
            return ring->entries[i];
    }
    return NULL;
}

static const char *role(const struct key_ring *ring, const struct token_key *key, int64_t now_ms)
{
    if (key == key_ring_signer(ring, now_ms))
        return "signs";
    if (now_ms >= key->verify_until_ms)
        return "over";
    return key->sign_from_ms > now_ms ? "next" : "verifies";
}

size_t token_keys_list(const struct token_keys *self, int64_t now_ms, struct token_key_info *out)
{
    const struct key_ring *ring = token_keys_ring(self);
    for (size_t i = 0; i < ring->count && i < TOKEN_KEYS_MOST; i++) {
        const struct token_key *key = ring->entries[i];
        out[i] = (struct token_key_info){.algorithm = key->algorithm,
                                         .created_at_ms = key->created_at_ms,
                                         .sign_from_ms = key->sign_from_ms,
                                         .verify_until_ms = key->verify_until_ms,
                                         .role = role(ring, key, now_ms)};
        memcpy(out[i].kid, key->kid, sizeof(key->kid));
    }
    return ring->count < TOKEN_KEYS_MOST ? ring->count : TOKEN_KEYS_MOST;
}

/* ---- JWKS ---- */

static void write_jwk(const struct token_key *key, struct json_writer *out)
{
    const char *members[][2] = {{key->numbers[0].name, key->numbers[0].value},
                                {key->numbers[1].name, key->numbers[1].value},
                                {"use", "sig"},
                                {"alg", token_algorithm_name(key->algorithm)},
                                {"kid", key->kid}};
    json_begin_object(out);
    json_key(out, "kty");
    json_put_string(out, key->algorithm == TOKEN_RS256 ? "RSA" : "EC");
    if (key->algorithm == TOKEN_ES256) {
        json_key(out, "crv");
        json_put_string(out, "P-256");
    }
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        json_key(out, members[i][0]);
        json_put_string(out, members[i][1]);
    }
    json_end_object(out);
}

void token_keys_write_jwks(const struct token_keys *self, int64_t now_ms, struct json_writer *out)
{
    const struct key_ring *ring = token_keys_ring(self);
    json_begin_object(out);
    json_key(out, "keys");
    json_begin_array(out);
    for (size_t i = 0; i < ring->count; i++) {
        if (now_ms < ring->entries[i]->verify_until_ms)
            write_jwk(ring->entries[i], out);
    }
    json_end_array(out);
    json_end_object(out);
}
