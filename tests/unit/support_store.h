/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the stores share: a store of either kind, the file in a folder of its own. */
#pragma once

#include "support_cache.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

struct store_fixture {
    struct waiter waiter;
    bool is_sqlite;
    char folder[64], path[100];
    struct store *store;
    /* what was answered */
    enum store_outcome outcome;
    uint64_t version;
    struct error error; /* of the last failure */
    unsigned conflicts, failures;
    char text[4096];
};

static inline long atol_of(const char *text)
{
    return strtol(text, NULL, 10);
}

static inline const char *beside(struct store_fixture *self, const char *ending)
{
    snprintf(self->text, sizeof(self->text), "%s%s", self->path, ending);
    return self->text;
}

static inline void open_store(struct store_fixture *self)
{
    struct error err = {0};
    assert_null(self->store);
    if (!store_sqlite_open(self->path, &self->store, &err))
        fail_msg("%s", err.text);
}

static inline void close_store(struct store_fixture *self)
{
    store_free(self->store);
    self->store = NULL;
}

static inline int memory_setup(void **state)
{
    struct store_fixture *self = calloc(1, sizeof(*self));
    self->waiter.loop = loop_new();
    self->store = store_memory_new();
    *state = self;
    return 0;
}

static inline int sqlite_setup(void **state)
{
    struct store_fixture *self = calloc(1, sizeof(*self));
    self->waiter.loop = loop_new();
    self->is_sqlite = true;
    snprintf(self->folder, sizeof(self->folder), "/tmp/postern-test-XXXXXX");
    assert_non_null(mkdtemp(self->folder));
    snprintf(self->path, sizeof(self->path), "%s/postern.db", self->folder);
    open_store(self);
    *state = self;
    return 0;
}

static inline int store_teardown(void **state)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    struct store_fixture *self = *state;
    close_store(self);
    loop_free(self->waiter.loop);
    for (size_t i = 0; i < 4 && self->is_sqlite; i++)
        unlink(beside(self, endings[i]));
    int left_over = self->is_sqlite ? rmdir(self->folder) : 0; /* no temporary file stays */
    free(self);
    return left_over;
}

static inline void on_answer(void *ctx, enum store_outcome outcome, uint64_t version,
                             const struct error *err)
{
    struct store_fixture *self = ctx;
    self->outcome = outcome;
    self->version = version;
    self->conflicts += outcome == STORE_CONFLICT;
    self->failures += outcome == STORE_FAILED;
    if (outcome == STORE_FAILED)
        self->error = *err;
    arrive(&self->waiter);
}

static inline void put(struct store_fixture *self, enum store_kind kind, const char *id,
                       const char *data, uint64_t expected)
{
    struct store_record record = {.kind = kind, .id = id, .data = iovec_of(data)};
    store_put(self->store, &record, expected, self->waiter.loop, on_answer, self);
}

static inline void expect(struct store_fixture *self, enum store_outcome outcome, uint64_t version)
{
    await(&self->waiter, 1);
    assert_int_equal(self->outcome, outcome);
    assert_int_equal(self->version, version);
}

static inline void write_line(void *ctx, const struct store_record *record)
{
    struct store_fixture *self = ctx;
    size_t len = strlen(self->text);
    snprintf(self->text + len, sizeof(self->text) - len, "%s %s %d %.*s\n",
             store_kind_name(record->kind), record->id, (int)record->version, (int)record->data.len,
             record->data.base);
}

static inline const char *contents(struct store_fixture *self)
{
    self->text[0] = '\0';
    assert_true(store_load(self->store, write_line, self, NULL));
    return self->text;
}
