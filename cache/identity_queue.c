/* SPDX-License-Identifier: Apache-2.0
 *
 * A binary heap whose entries know their place, so that one can be raised where it stands. */
#include "identity_queue.h"

#include <assert.h>
#include <h2o.h>

static bool before(const struct queued *a, const struct queued *b)
{
    if (a->first != b->first)
        return a->first;
    return a->learned_ms < b->learned_ms;
}

static void set(struct identity_queue *self, size_t i, struct queued *entry)
{
    self->entries[i] = entry;
    entry->place = i + 1;
}

static void sift_up(struct identity_queue *self, size_t i)
{
    struct queued *entry = self->entries[i];
    for (; i > 0 && before(entry, self->entries[(i - 1) / 2]); i = (i - 1) / 2)
        set(self, i, self->entries[(i - 1) / 2]);
    set(self, i, entry);
}

static void sift_down(struct identity_queue *self, size_t i)
{
    struct queued *entry = self->entries[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < self->count && before(self->entries[child + 1], self->entries[child]))
            child++;
        if (child >= self->count || !before(self->entries[child], entry))
            break;
        set(self, i, self->entries[child]);
        i = child;
    }
    set(self, i, entry);
}

static void make_room(struct identity_queue *self)
{
    if (self->count < self->capacity)
        return;
    self->capacity = self->capacity == 0 ? 64 : self->capacity * 2;
    self->entries = h2o_mem_realloc(self->entries, self->capacity * sizeof(*self->entries));
}

void identity_queue_push(struct identity_queue *self, struct queued *entry)
{
    assert(entry->place == 0);
    make_room(self);
    set(self, self->count, entry);
    sift_up(self, self->count++);
}

const struct queued *identity_queue_first(const struct identity_queue *self)
{
    return self->count == 0 ? NULL : self->entries[0];
}

struct queued *identity_queue_pop(struct identity_queue *self)
{
    if (self->count == 0)
        return NULL;
    struct queued *first = self->entries[0], *last = self->entries[--self->count];
    first->place = 0;
    if (last != first) {
        set(self, 0, last);
        sift_down(self, 0);
    }
    return first;
}

void identity_queue_raise(struct identity_queue *self, struct queued *entry)
{
    entry->first = true;
    if (entry->place != 0)
        sift_up(self, entry->place - 1);
}

void identity_queue_dispose(struct identity_queue *self)
{
    free(self->entries);
    *self = (struct identity_queue){0};
}
