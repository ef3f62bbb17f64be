/* SPDX-License-Identifier: Apache-2.0
 *
 * One put or delete on its way through a store of this process: copied at the asking, answered on the loop
 * that asked, then freed. */
#pragma once

#include "cache/store.h"

#define STORE_ID_SIZE  64
#define STORE_MAX_DATA ((size_t)1 << 20)

struct store_job {
    struct loop_call call;
    struct store_job *next; /* in a store's queue */
    struct loop *loop;      /* where the answer goes */
    store_cb cb;
    void *ctx;
    /* the question */
    bool is_delete;
    enum store_kind kind;
    char id[STORE_ID_SIZE];
    uint64_t expected;
    h2o_iovec_t data; /* malloc'ed; {NULL, 0} for a delete */
    /* the answer */
    enum store_outcome outcome;
    uint64_t version;
    struct error error;
};

struct store_job *store_job_put(const struct store_record *record, uint64_t expected,
                                struct loop *loop, store_cb cb, void *ctx);
struct store_job *store_job_delete(enum store_kind kind, const char *id, struct loop *loop,
                                   store_cb cb, void *ctx);
/* Hands the job to its loop, which runs the callback and frees it. */
void store_job_answer(struct store_job *self, enum store_outcome outcome, uint64_t version);
/* The same with STORE_FAILED and err's text. */
void store_job_fail(struct store_job *self, const struct error *err);
/* "login" or "grant" back to the kind; false for another word. */
MUST_CHECK bool store_kind_parse(const char *name, enum store_kind *out);
