/* SPDX-License-Identifier: Apache-2.0
 *
 * What the stores share: the names of the kinds, and jobs. */
#include "cache/store.h"

#include <assert.h>

#include "store_job.h"

static const char *const kind_names[STORE_KINDS] = {
    [STORE_LOGIN] = "login", [STORE_GRANT] = "grant"};

const char *store_kind_name(enum store_kind kind)
{
    assert(kind < STORE_KINDS);
    return kind_names[kind];
}

bool store_kind_parse(const char *name, enum store_kind *out)
{
    for (unsigned i = 0; i < STORE_KINDS; i++) {
        if (strcmp(kind_names[i], name) == 0) {
            *out = (enum store_kind)i;
            return true;
        }
    }
    return false;
}

static void on_answer(struct loop_call *call)
{
    struct store_job *self = H2O_STRUCT_FROM_MEMBER(struct store_job, call, call);
    self->cb(self->ctx, self->outcome, self->version, &self->error);
    free(self->data.base);
    free(self);
}

static struct store_job *new_job(enum store_kind kind, const char *id, struct loop *loop,
                                 store_cb cb, void *ctx)
{
    assert(kind < STORE_KINDS && strlen(id) < STORE_ID_SIZE);
    struct store_job *self = h2o_mem_alloc(sizeof(*self));
    *self =
        (struct store_job){.call.run = on_answer, .kind = kind, .loop = loop, .cb = cb, .ctx = ctx};
    snprintf(self->id, sizeof(self->id), "%s", id);
    return self;
}

struct store_job *store_job_put(const struct store_record *record, uint64_t expected,
                                struct loop *loop, store_cb cb, void *ctx)
{
    assert(record->data.base != NULL && record->data.len <= STORE_MAX_DATA);
    struct store_job *self = new_job(record->kind, record->id, loop, cb, ctx);
    self->expected = expected;
    self->data = h2o_iovec_init(h2o_mem_alloc(record->data.len + 1), record->data.len);
    memcpy(self->data.base, record->data.base, record->data.len);
    self->data.base[record->data.len] = '\0';
    return self;
}

struct store_job *store_job_delete(enum store_kind kind, const char *id, struct loop *loop,
                                   store_cb cb, void *ctx)
{
    struct store_job *self = new_job(kind, id, loop, cb, ctx);
    self->is_delete = true;
    return self;
}

void store_job_answer(struct store_job *self, enum store_outcome outcome, uint64_t version)
{
    self->outcome = outcome;
    self->version = version;
    loop_post(self->loop, &self->call);
}

void store_job_fail(struct store_job *self, const struct error *err)
{
    self->error = *err;
    store_job_answer(self, STORE_FAILED, 0);
}
