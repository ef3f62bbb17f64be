/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions that wait for their turn, a heap: those that somebody waits for before those asked behind, and
 * among them the oldest facts first. Holds no lock of its own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queued {         /* part of what waits; zeroed: not queued */
    size_t place;       /* in the heap, from 1; 0: not in it */
    bool first;         /* somebody waits for the answer */
    int64_t learned_ms; /* of the facts that are there; INT64_MIN: none are */
};

struct identity_queue {      /* zeroed: empty */
    struct queued **entries; /* entries[0] comes first */
    size_t count, capacity;
};

void identity_queue_push(struct identity_queue *self, struct queued *entry);
const struct queued *identity_queue_first(const struct identity_queue *self); /* NULL: empty */
struct queued *identity_queue_pop(struct identity_queue *self);               /* NULL: empty */
void identity_queue_raise(struct identity_queue *self, struct queued *entry); /* makes it first */
void identity_queue_dispose(struct identity_queue *self);
