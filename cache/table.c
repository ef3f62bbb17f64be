/* SPDX-License-Identifier: Apache-2.0
 *
 * The table doubles when it holds as many entries as it has buckets, and never shrinks. The hash needs no
 * key of its own: what is kept here was named by us (random session ids) or by the provider (its users). */
#include "table.h"

#include <assert.h>
#include <h2o.h>

#define FIRST_BUCKETS 16

uint64_t table_hash(const char *key)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a, then mixed so that the low bits are good */
    for (; *key != '\0'; key++)
        hash = (hash ^ (unsigned char)*key) * 1099511628211u;
    hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdu;
    return hash ^ (hash >> 33);
}

static struct table_entry **bucket_of(const struct table *self, uint64_t hash)
{
    return &self->buckets[hash & (self->bucket_count - 1)];
}

static void resize(struct table *self, size_t bucket_count)
{
    struct table bigger = {.buckets = h2o_mem_alloc(bucket_count * sizeof(*bigger.buckets)),
                           .bucket_count = bucket_count,
                           .count = self->count};
    memset(bigger.buckets, 0, bucket_count * sizeof(*bigger.buckets));
    struct table_entry *entry = table_next(self, NULL);
    while (entry != NULL) {
        struct table_entry *following = table_next(self, entry);
        struct table_entry **bucket = bucket_of(&bigger, entry->hash);
        entry->next = *bucket;
        *bucket = entry;
        entry = following;
    }
    free(self->buckets);
    *self = bigger;
}

struct table_entry *table_find(const struct table *self, const char *key)
{
    if (self->count == 0)
        return NULL;
    uint64_t hash = table_hash(key);
    struct table_entry *entry = *bucket_of(self, hash);
    while (entry != NULL && (entry->hash != hash || strcmp(entry->key, key) != 0))
        entry = entry->next;
    return entry;
}

void table_insert(struct table *self, struct table_entry *entry, const char *key)
{
    assert(table_find(self, key) == NULL);
    if (self->count == self->bucket_count)
        resize(self, self->bucket_count == 0 ? FIRST_BUCKETS : self->bucket_count * 2);
    entry->key = key;
    entry->hash = table_hash(key);
    struct table_entry **bucket = bucket_of(self, entry->hash);
    entry->next = *bucket;
    *bucket = entry;
    self->count++;
}

void table_remove(struct table *self, struct table_entry *entry)
{
    struct table_entry **link = bucket_of(self, entry->hash);
    while (*link != entry) {
        assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = entry->next;
    entry->next = NULL;
    self->count--;
}

struct table_entry *table_next(const struct table *self, const struct table_entry *entry)
{
    if (entry != NULL && entry->next != NULL)
        return entry->next;
    size_t i = entry == NULL ? 0 : (entry->hash & (self->bucket_count - 1)) + 1;
    for (; i < self->bucket_count; i++)
        if (self->buckets[i] != NULL)
            return self->buckets[i];
    return NULL;
}

void table_dispose(struct table *self)
{
    free(self->buckets);
    *self = (struct table){0};
}
