/* SPDX-License-Identifier: Apache-2.0
 *
 * A ring of the last attempts that were used, found through a hash table with chains. It is bounded, and
 * anybody can fill it (an attempt costs a request and no sign-in), so what is overwritten leaves a floor
 * behind: attempts made no later than an overwritten one are refused, used or not. A flood thus shortens the
 * ten minutes that people have for signing in, and never lets an attempt be used twice. (peers 16, 64)
 *
 * With several replicas each has its own table: an attempt's code is single-use at Okta, and a ticket needs the cookie of
 * the browser that began, too. */
#include "cache/used.h"

#include <assert.h>
#include <pthread.h>

#include "base/crypto.h"

#define NOBODY SIZE_MAX

struct used_attempt {
    uint8_t digest[SHA256_SIZE]; /* of the state */
    int64_t created_ms;
    size_t next; /* in the same chain */
};

struct used_attempts {
    pthread_mutex_t lock;
    size_t capacity;
    size_t count;     /* entries in use, up to capacity */
    size_t at;        /* the entry that is written next: the oldest when all are in use */
    int64_t floor_ms; /* attempts created up to then are refused */
    size_t *chains;   /* capacity heads */
    struct used_attempt *entries;
};

struct used_attempts *used_attempts_new(size_t capacity)
{
    assert(capacity > 0);
    struct used_attempts *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct used_attempts){.capacity = capacity, .floor_ms = INT64_MIN};
    pthread_mutex_init(&self->lock, NULL);
    self->chains = h2o_mem_alloc(capacity * sizeof(self->chains[0]));
    self->entries = h2o_mem_alloc(capacity * sizeof(self->entries[0]));
    for (size_t i = 0; i < capacity; i++)
        self->chains[i] = NOBODY;
    return self;
}

void used_attempts_free(struct used_attempts *self)
{
    if (self == NULL)
        return;
    pthread_mutex_destroy(&self->lock);
    free(self->chains);
    free(self->entries);
    free(self);
}

static size_t *chain_of(struct used_attempts *self, const uint8_t digest[SHA256_SIZE])
{
    uint64_t hash;
    memcpy(&hash, digest, sizeof(hash));
    return &self->chains[hash % self->capacity];
}

static bool knows(struct used_attempts *self, const uint8_t digest[SHA256_SIZE])
{
    for (size_t i = *chain_of(self, digest); i != NOBODY; i = self->entries[i].next)
        if (crypto_equal(self->entries[i].digest, digest, SHA256_SIZE))
            return true;
    return false;
}

static void overwrite(struct used_attempts *self, size_t index)
{
    const struct used_attempt *old = &self->entries[index];
    size_t *link = chain_of(self, old->digest);
    while (*link != index)
        link = &self->entries[*link].next;
    *link = old->next;
    if (old->created_ms > self->floor_ms)
        self->floor_ms = old->created_ms;
}

static void add(struct used_attempts *self, const uint8_t digest[SHA256_SIZE], int64_t created_ms)
{
    size_t index = self->at;
    if (self->count == self->capacity)
        overwrite(self, index);
    else
        self->count++;
    struct used_attempt *entry = &self->entries[index];
    size_t *head = chain_of(self, digest);
    memcpy(entry->digest, digest, SHA256_SIZE);
    entry->created_ms = created_ms;
    entry->next = *head;
    *head = index;
    self->at = (index + 1) % self->capacity;
}

bool used_attempts_add(struct used_attempts *self, h2o_iovec_t state, int64_t created_ms)
{
    uint8_t digest[SHA256_SIZE];
    crypto_sha256(state.base, state.len, digest);
    pthread_mutex_lock(&self->lock);
    bool is_new = created_ms > self->floor_ms && !knows(self, digest);
    if (is_new)
        add(self, digest, created_ms);
    pthread_mutex_unlock(&self->lock);
    return is_new;
}
