/* SPDX-License-Identifier: Apache-2.0
 *
 * A hash table of objects that carry their own links, found by a string. It allocates nothing per object
 * and holds no lock: its owner does. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct table_entry { /* part of the object that is kept */
    struct table_entry *next;
    const char *key; /* borrowed from the object; must not change while it is in the table */
    uint64_t hash;
};

struct table { /* zeroed: empty */
    struct table_entry **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;
};

uint64_t table_hash(const char *key);
struct table_entry *table_find(const struct table *self, const char *key); /* NULL: not there */
/* The key must not be there yet. */
void table_insert(struct table *self, struct table_entry *entry, const char *key);
void table_remove(struct table *self, struct table_entry *entry); /* must be there */
/* Walks all entries in no order; NULL begins, NULL ends. An entry may be removed once its successor is
 * known; nothing may be inserted on the way. */
struct table_entry *table_next(const struct table *self, const struct table_entry *entry);
void table_dispose(struct table *self); /* the objects are the owner's */
