/* SPDX-License-Identifier: Apache-2.0
 *
 * The store that forgets with the process: for tests and for webhook-only trials. It keeps to the same
 * contract as the durable ones, conflicts and deferred answers included. */
#include <assert.h>
#include <pthread.h>

#include "cache/store.h"
#include "store_job.h"
#include "table.h"

struct kept {
    struct table_entry entry; /* by id, in its kind's table */
    struct store_record record;
    char id[STORE_ID_SIZE];
};

struct store_memory {
    struct store store;
    pthread_mutex_t mutex;
    struct table kept[STORE_KINDS];
};

static struct store_memory *self_of(struct store *store)
{
    return H2O_STRUCT_FROM_MEMBER(struct store_memory, store, store);
}

static struct kept *kept_of(struct table_entry *entry)
{
    return entry == NULL ? NULL : H2O_STRUCT_FROM_MEMBER(struct kept, entry, entry);
}

static bool load(struct store *store, void (*each)(void *ctx, const struct store_record *record),
                 void *ctx, struct error *err)
{
    struct store_memory *self = self_of(store);
    (void)err;
    for (size_t kind = 0; kind < STORE_KINDS; kind++) {
        struct table_entry *entry = NULL;
        while ((entry = table_next(&self->kept[kind], entry)) != NULL)
            each(ctx, &kept_of(entry)->record);
    }
    return true;
}

static struct kept *keep_new(struct store_memory *self, const struct store_job *job)
{
    struct kept *kept = h2o_mem_alloc(sizeof(*kept));
    *kept = (struct kept){.record.kind = job->kind};
    memcpy(kept->id, job->id, sizeof(kept->id));
    kept->record.id = kept->id;
    table_insert(&self->kept[job->kind], &kept->entry, kept->id);
    return kept;
}

static enum store_outcome apply_put(struct store_memory *self, struct store_job *job)
{
    struct kept *kept = kept_of(table_find(&self->kept[job->kind], job->id));
    if ((kept == NULL ? 0 : kept->record.version) != job->expected)
        return STORE_CONFLICT;
    if (kept == NULL)
        kept = keep_new(self, job);
    free(kept->record.data.base);
    kept->record.data = job->data;
    job->data = (h2o_iovec_t){NULL, 0};
    job->version = ++kept->record.version;
    return STORE_DONE;
}

static void drop(struct store_memory *self, enum store_kind kind, struct kept *kept)
{
    table_remove(&self->kept[kind], &kept->entry);
    free(kept->record.data.base);
    free(kept);
}

static void put(struct store *store, const struct store_record *record, uint64_t expected,
                struct loop *loop, store_cb cb, void *ctx)
{
    struct store_memory *self = self_of(store);
    struct store_job *job = store_job_put(record, expected, loop, cb, ctx);
    pthread_mutex_lock(&self->mutex);
    enum store_outcome outcome = apply_put(self, job);
    pthread_mutex_unlock(&self->mutex);
    store_job_answer(job, outcome, job->version);
}

static void del(struct store *store, enum store_kind kind, const char *id, struct loop *loop,
                store_cb cb, void *ctx)
{
    struct store_memory *self = self_of(store);
    struct store_job *job = store_job_delete(kind, id, loop, cb, ctx);
    pthread_mutex_lock(&self->mutex);
    struct kept *kept = kept_of(table_find(&self->kept[kind], id));
    if (kept != NULL)
        drop(self, kind, kept);
    pthread_mutex_unlock(&self->mutex);
    store_job_answer(job, STORE_DONE, 0);
}

static void watch(struct store *store,
                  void (*changed)(void *ctx, const struct store_record *record), void *ctx)
{
    (void)store, (void)changed, (void)ctx; /* nobody else is there */
}

static void free_memory(struct store *store)
{
    struct store_memory *self = self_of(store);
    for (unsigned kind = 0; kind < STORE_KINDS; kind++) {
        struct table_entry *entry;
        while ((entry = table_next(&self->kept[kind], NULL)) != NULL)
            drop(self, (enum store_kind)kind, kept_of(entry));
        table_dispose(&self->kept[kind]);
    }
    pthread_mutex_destroy(&self->mutex);
    free(self);
}

struct store *store_memory_new(void)
{
    static const struct store_ops ops = {.name = "memory",
                                         .load = load,
                                         .put = put,
                                         .del = del,
                                         .watch = watch,
                                         .free = free_memory};
    struct store_memory *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct store_memory){.store.ops = &ops};
    pthread_mutex_init(&self->mutex, NULL);
    return &self->store;
}
