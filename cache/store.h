/* SPDX-License-Identifier: Apache-2.0
 *
 * Where sessions live behind memory: one small interface and its implementations. A store keeps records
 * by kind and id with a version; what is in them is cache/sessions' business. Puts and deletes are
 * answered after they are durable. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"

enum store_kind { STORE_LOGIN, STORE_GRANT, STORE_KINDS };
const char *store_kind_name(enum store_kind kind); /* "login", "grant" */

struct store_record {
    enum store_kind kind;
    const char *id;   /* at most 63 characters of [A-Za-z0-9_-] */
    uint64_t version; /* as the store has it; 0: not there */
    h2o_iovec_t data;
};

enum store_outcome {
    STORE_DONE,
    STORE_CONFLICT, /* the record's version is not the expected one */
    STORE_FAILED,   /* not written; may be tried again */
};
/* On the loop that asked, once, after the commit. version is the record's new one (STORE_DONE of a put). */
typedef void (*store_cb)(void *ctx, enum store_outcome outcome, uint64_t version,
                         const struct error *err);

struct store; /* implementations put theirs behind it */
struct store_ops {
    const char *name;
    /* Reads everything, at start, on the calling thread. */
    bool (*load)(struct store *self, void (*each)(void *ctx, const struct store_record *record),
                 void *ctx, struct error *err);
    /* Copies the record. expected: the version that must be there; 0: none may be. Never answered before it returns. */
    void (*put)(struct store *self, const struct store_record *record, uint64_t expected,
                struct loop *loop, store_cb cb, void *ctx);
    /* Whatever the version; a record that is not there is STORE_DONE. */
    void (*del)(struct store *self, enum store_kind kind, const char *id, struct loop *loop,
                store_cb cb, void *ctx);
    /* Calls changed for each record that somebody else changed or deleted (data NULL). One replica: never. */
    void (*watch)(struct store *self, void (*changed)(void *ctx, const struct store_record *record),
                  void *ctx);
    void (*free)(
        struct store *self); /* after every callback has run: finishes what is queued, closes */
};
struct store {
    const struct store_ops *ops;
};

MUST_CHECK static inline bool store_load(struct store *s,
                                         void (*each)(void *ctx, const struct store_record *record),
                                         void *ctx, struct error *err)
{
    return s->ops->load(s, each, ctx, err);
}
static inline void store_put(struct store *s, const struct store_record *r, uint64_t expected,
                             struct loop *loop, store_cb cb, void *ctx)
{
    s->ops->put(s, r, expected, loop, cb, ctx);
}
static inline void store_delete(struct store *s, enum store_kind kind, const char *id,
                                struct loop *loop, store_cb cb, void *ctx)
{
    s->ops->del(s, kind, id, loop, cb, ctx);
}
static inline void store_free(struct store *s)
{
    if (s != NULL)
        s->ops->free(s);
}

struct store *store_memory_new(void);

/* One SQLite file: WAL, synchronous=FULL, one writer thread with group commit. Refused, and left as it is: a file
 * that another process has open, that is corrupt or no database, or whose schema is newer than ours. A
 * missing file is made with mode 0600; its folder must exist. */
MUST_CHECK bool store_sqlite_open(const char *path, struct store **out, struct error *err);
/* Judges an existing file without changing it, for `check`; an absent one is fine if its folder is writable. */
MUST_CHECK bool store_sqlite_check(const char *path, struct error *err);
