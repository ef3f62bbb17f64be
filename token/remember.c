/* SPDX-License-Identifier: Apache-2.0
 *
 * Verified tokens: sets of a few slots, found by a hash of the signature with a seed of this process, then
 * compared whole. An entry holds the token itself, so two tokens never share an answer; losing one only
 * costs a verification. One lock serves many sets and is held for a few hundred bytes of comparison. */
#include "remember.h"

#include <assert.h>
#include <pthread.h>

#include "base/crypto.h"

#define WAYS       8  /* slots of a set: one cache line of pointers */
#define LOCKS      64 /* more than threads that verify at once */
#define HASH_BYTES 86 /* the signature: random, and not the client's to choose */

struct entry {
    uint64_t hash;
    struct token_facts facts; /* audience_matches is not used here */
    uint16_t token_len, audience_len;
    char bytes[]; /* the token, then its aud */
};

struct remember {
    uint64_t seed;
    size_t sets, ways;            /* sets * ways slots in all */
    struct entry **slots;         /* set after set; NULL: empty */
    pthread_mutex_t locks[LOCKS]; /* of set i: locks[i % LOCKS] */
};

struct remember *remember_new(size_t most)
{
    struct remember *self = h2o_mem_alloc(sizeof(*self));
    self->ways = most < WAYS ? most : WAYS;
    self->sets = self->ways > 0 ? most / self->ways : 0;
    /* calloc: pages that no token has touched yet cost no memory */
    self->slots = self->sets > 0 ? calloc(self->sets * self->ways, sizeof(struct entry *)) : NULL;
    assert(self->sets == 0 || self->slots != NULL);
    crypto_random(&self->seed, sizeof(self->seed));
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&self->locks[i], NULL);
    return self;
}

static void entry_free(struct entry *entry)
{
    if (entry != NULL)
        explicit_bzero(entry->bytes, entry->token_len);
    free(entry);
}

void remember_free(struct remember *self)
{
    if (self == NULL)
        return;
    for (size_t i = 0; i < self->sets * self->ways; i++)
        entry_free(self->slots[i]);
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&self->locks[i]);
    free(self->slots);
    free(self);
}

/* FNV-1a, seeded so that nobody outside can aim at a set, and mixed so that all its bits count. */
static uint64_t hash_of(const struct remember *self, h2o_iovec_t token)
{
    uint64_t hash = self->seed;
    for (size_t i = token.len > HASH_BYTES ? token.len - HASH_BYTES : 0; i < token.len; i++)
        hash = (hash ^ (unsigned char)token.base[i]) * UINT64_C(0x100000001b3);
    hash ^= hash >> 32;
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

static struct entry **set_of(struct remember *self, uint64_t hash, pthread_mutex_t **lock)
{
    size_t set = hash % self->sets;
    *lock = &self->locks[set % LOCKS];
    return self->slots + set * self->ways;
}

static bool holds(const struct entry *entry, uint64_t hash, h2o_iovec_t token)
{
    return entry != NULL && entry->hash == hash && entry->token_len == token.len &&
           crypto_equal(entry->bytes, token.base, token.len);
}

bool remember_find(struct remember *self, h2o_iovec_t token, const char *audience, int64_t now_s,
                   struct token_facts *out)
{
    if (self->sets == 0)
        return false;
    bool found = false;
    pthread_mutex_t *lock;
    uint64_t hash = hash_of(self, token);
    struct entry **set = set_of(self, hash, &lock);
    pthread_mutex_lock(lock);
    for (size_t i = 0; i < self->ways && !found; i++) {
        const struct entry *entry = set[i];
        if (!holds(entry, hash, token) || entry->facts.info.expires_at_s <= now_s)
            continue;
        *out = entry->facts;
        out->audience_matches =
            strlen(audience) == entry->audience_len &&
            memcmp(entry->bytes + entry->token_len, audience, entry->audience_len) == 0;
        found = true;
    }
    pthread_mutex_unlock(lock);
    return found;
}

/* The slot of the token itself, else an empty one, else the one that expires first. */
static struct entry **victim(struct entry **set, size_t ways, const struct entry *fresh)
{
    h2o_iovec_t token = {(char *)(uintptr_t)fresh->bytes, fresh->token_len};
    struct entry **best = &set[0];
    for (size_t i = 0; i < ways; i++) {
        if (holds(set[i], fresh->hash, token))
            return &set[i];
        if (*best != NULL &&
            (set[i] == NULL || set[i]->facts.info.expires_at_s < (*best)->facts.info.expires_at_s))
            best = &set[i];
    }
    return best;
}

void remember_put(struct remember *self, h2o_iovec_t token, h2o_iovec_t audience,
                  const struct token_facts *facts)
{
    if (self->sets == 0)
        return;
    assert(token.len <= TOKEN_MAX_BYTES && audience.len <= TOKEN_MAX_BYTES);
    struct entry *fresh = h2o_mem_alloc(sizeof(*fresh) + token.len + audience.len);
    fresh->hash = hash_of(self, token);
    fresh->facts = *facts;
    fresh->token_len = (uint16_t)token.len;
    fresh->audience_len = (uint16_t)audience.len;
    memcpy(fresh->bytes, token.base, token.len);
    memcpy(fresh->bytes + token.len, audience.base, audience.len);

    pthread_mutex_t *lock;
    struct entry **set = set_of(self, fresh->hash, &lock);
    pthread_mutex_lock(lock);
    struct entry **slot = victim(set, self->ways, fresh), *old = *slot;
    *slot = fresh;
    pthread_mutex_unlock(lock);
    entry_free(old);
}
