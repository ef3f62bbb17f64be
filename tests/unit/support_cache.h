/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of cache/ share: a loop that is run until an expected number of callbacks has come, and a
 * store that can be held and made to fail. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/loop.h"
#include "cache/store.h"
#include "store_job.h"

/* ---- waiting for callbacks ---- */

struct waiter {
    struct loop *loop;
    unsigned arrived, wanted;
};

static inline void arrive(struct waiter *self)
{
    if (++self->arrived == self->wanted)
        loop_stop(self->loop);
}

/* Runs the loop until count callbacks have come since the last await. */
static inline void await(struct waiter *self, unsigned count)
{
    self->wanted = count;
    if (self->arrived < count)
        loop_run(self->loop);
    assert_int_equal(self->arrived, count);
    self->arrived = self->wanted = 0;
}

struct pause_call {
    struct loop_call call;
    struct loop *loop;
};

static inline void on_pause(struct loop_call *call)
{
    loop_stop(H2O_STRUCT_FROM_MEMBER(struct pause_call, call, call)->loop);
}

/* Runs whatever was posted to the loop before. */
static inline void run_posted(struct loop *loop)
{
    struct pause_call pause = {.call.run = on_pause, .loop = loop};
    loop_post(loop, &pause.call);
    loop_run(loop);
}

/* ---- a store in the test's hands ---- */

struct held_store {
    struct store store;
    struct store *inner;   /* owned */
    bool hold;             /* what is asked stays in first… until release */
    unsigned failing_puts; /* how many of the next ones fail */
    unsigned failing_deletes;
    unsigned puts, deletes; /* asked so far */
    struct store_job *first, **tail;
};

static inline struct held_store *held_of(struct store *store)
{
    return H2O_STRUCT_FROM_MEMBER(struct held_store, store, store);
}

static inline void held_fail(struct store_job *job)
{
    struct error err;
    error_set(&err, ERROR_UPSTREAM, "the disk is full");
    store_job_fail(job, &err);
}

/* Hands the job on; the inner store makes one of its own. */
static inline void held_perform(struct held_store *self, struct store_job *job)
{
    unsigned *failing = job->is_delete ? &self->failing_deletes : &self->failing_puts;
    if (*failing > 0) {
        --*failing;
        held_fail(job);
        return;
    }
    struct store_record record = {.kind = job->kind, .id = job->id, .data = job->data};
    if (job->is_delete)
        store_delete(self->inner, job->kind, job->id, job->loop, job->cb, job->ctx);
    else
        store_put(self->inner, &record, job->expected, job->loop, job->cb, job->ctx);
    free(job->data.base);
    free(job);
}

static inline void held_take(struct held_store *self, struct store_job *job)
{
    if (self->hold) {
        *self->tail = job;
        self->tail = &job->next;
    } else {
        held_perform(self, job);
    }
}

/* Performs what was held, in the order in which it was asked. */
static inline void held_release(struct held_store *self)
{
    self->hold = false;
    while (self->first != NULL) {
        struct store_job *job = self->first;
        self->first = job->next;
        job->next = NULL;
        held_perform(self, job);
    }
    self->tail = &self->first;
}

static inline bool held_load(struct store *store,
                             void (*each)(void *ctx, const struct store_record *record), void *ctx,
                             struct error *err)
{
    return store_load(held_of(store)->inner, each, ctx, err);
}

static inline void held_put(struct store *store, const struct store_record *record,
                            uint64_t expected, struct loop *loop, store_cb cb, void *ctx)
{
    held_of(store)->puts++;
    held_take(held_of(store), store_job_put(record, expected, loop, cb, ctx));
}

static inline void held_del(struct store *store, enum store_kind kind, const char *id,
                            struct loop *loop, store_cb cb, void *ctx)
{
    held_of(store)->deletes++;
    held_take(held_of(store), store_job_delete(kind, id, loop, cb, ctx));
}

static inline void held_free(struct store *store)
{
    struct held_store *self = held_of(store);
    assert_null(self->first);
    store_free(self->inner);
    free(self);
}

static inline struct held_store *held_new(struct store *inner)
{
    static const struct store_ops ops = {
        .name = "held", .load = held_load, .put = held_put, .del = held_del, .free = held_free};
    struct held_store *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct held_store){.store.ops = &ops, .inner = inner};
    self->tail = &self->first;
    return self;
}

static inline void count_record(void *ctx, const struct store_record *record)
{
    (void)record;
    ++*(size_t *)ctx;
}

static inline size_t store_count(struct store *store)
{
    size_t count = 0;
    assert_true(store_load(store, count_record, &count, NULL));
    return count;
}
