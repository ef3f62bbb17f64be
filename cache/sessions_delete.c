/* SPDX-License-Identifier: Apache-2.0
 *
 * Deleting the records of what has ended. A delete that fails is kept and tried again, with back-off and by
 * each sweep, until it works: nothing may bring an ended session back after a restart. The store keeps the
 * order of what it is asked, so a delete also removes what a put that was on its way has written. */
#include <assert.h>

#include "base/log.h"
#include "sessions_private.h"

#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 60000
#define RETRY_LIMIT  100000 /* records; 10 MB */

struct ending {         /* on one loop; counts the deletes that somebody waits for */
    session_done_cb cb; /* NULL once it was called */
    void *ctx;
    size_t pending;
};

static void on_deleted(void *ctx, enum store_outcome outcome, uint64_t version,
                       const struct error *err);

static struct deletion *new_deletion(struct sessions *self, enum store_kind kind, const char *id)
{
    struct deletion *deletion = h2o_mem_alloc(sizeof(*deletion));
    *deletion = (struct deletion){.self = self, .kind = kind};
    bool fits = session_text(deletion->id, sizeof(deletion->id), id);
    assert(fits);
    return deletion;
}

static void send_deletion(struct deletion *deletion, struct loop *loop)
{
    deletion->loop = loop;
    store_delete(deletion->self->store, deletion->kind, deletion->id, loop, on_deleted, deletion);
}

static struct deletion *take_retries(struct sessions *self)
{
    pthread_mutex_lock(&self->retry_mutex);
    struct deletion *first = self->retries;
    self->retries = NULL;
    self->retry_count = 0;
    pthread_mutex_unlock(&self->retry_mutex);
    return first;
}

void sessions_retry_deletes(struct sessions *self, struct loop *loop)
{
    struct deletion *deletion = take_retries(self);
    while (deletion != NULL) {
        struct deletion *next = deletion->next;
        deletion->next = NULL;
        send_deletion(deletion, loop);
        deletion = next;
    }
}

static void on_retry_timer(struct loop_timer *timer)
{
    struct sessions *self = H2O_STRUCT_FROM_MEMBER(struct sessions, retry_timer, timer);
    struct loop *loop = timer->loop;
    pthread_mutex_lock(&self->retry_mutex);
    self->retry_timer_runs = false; /* from here on another loop may start it */
    int64_t longer_ms = self->retry_delay_ms * 2;
    self->retry_delay_ms = longer_ms < RETRY_MAX_MS ? longer_ms : RETRY_MAX_MS;
    pthread_mutex_unlock(&self->retry_mutex);
    sessions_retry_deletes(self, loop);
}

/* False when there is no room. */
static bool keep_deletion(struct sessions *self, struct deletion *deletion)
{
    pthread_mutex_lock(&self->retry_mutex);
    bool room = self->retry_count < RETRY_LIMIT;
    if (room) {
        deletion->next = self->retries;
        self->retries = deletion;
        self->retry_count++;
    }
    pthread_mutex_unlock(&self->retry_mutex);
    return room;
}

/* On the deletion's loop, whose timer it is that tries again. */
static void try_later(struct sessions *self, struct deletion *deletion, const struct error *err)
{
    struct loop *loop = deletion->loop;
    log_warn("an ended session is still in the store",
             LOG_STR("kind", store_kind_name(deletion->kind)), LOG_STR("session", deletion->id),
             LOG_STR("reason", err->text));
    if (!keep_deletion(self, deletion)) {
        log_error("an ended session stays in the store: too many deletes failed",
                  LOG_STR("session", deletion->id));
        free(deletion);
        return;
    }
    pthread_mutex_lock(&self->retry_mutex);
    bool start = !self->retry_timer_runs;
    self->retry_timer_runs = true;
    if (self->retry_delay_ms == 0)
        self->retry_delay_ms = RETRY_MIN_MS;
    int64_t delay_ms = self->retry_delay_ms;
    pthread_mutex_unlock(&self->retry_mutex);
    if (start)
        loop_timer_start(loop, &self->retry_timer, delay_ms, on_retry_timer);
}

static void tell_ending(struct ending *ending, bool written)
{
    session_done_cb cb = ending->cb;
    ending->cb = NULL;
    if (cb != NULL)
        cb(ending->ctx, written);
}

/* The first failure is told at once: what follows happens in the background. */
static void step_ending(struct ending *ending, bool written)
{
    bool last = --ending->pending == 0;
    if (!written || last)
        tell_ending(ending, written);
    if (last)
        free(ending);
}

static void on_deleted(void *ctx, enum store_outcome outcome, uint64_t version,
                       const struct error *err)
{
    struct deletion *deletion = ctx;
    struct sessions *self = deletion->self;
    struct ending *ending = deletion->ending;
    bool written = outcome == STORE_DONE;
    (void)version;
    deletion->ending = NULL;
    if (written) {
        pthread_mutex_lock(&self->retry_mutex);
        self->retry_delay_ms = 0;
        pthread_mutex_unlock(&self->retry_mutex);
        free(deletion);
    } else {
        try_later(self, deletion, err);
    }
    if (ending != NULL)
        step_ending(ending, written);
}

struct ending *ending_new(session_done_cb cb, void *ctx, size_t pending)
{
    if (cb == NULL)
        return NULL;
    struct ending *ending = h2o_mem_alloc(sizeof(*ending));
    *ending = (struct ending){.cb = cb, .ctx = ctx, .pending = pending};
    return ending;
}

void sessions_delete(struct sessions *self, struct loop *loop, const struct session_record *record,
                     struct ending *ending)
{
    struct deletion *deletion = new_deletion(self, record->kind, record->id);
    deletion->ending = ending;
    send_deletion(deletion, loop);
}

void sessions_delete_later(struct sessions *self, const struct session_record *record)
{
    struct deletion *deletion = new_deletion(self, record->kind, record->id);
    if (!keep_deletion(self, deletion))
        free(deletion); /* found again at the next start */
}

void sessions_free_retries(struct sessions *self)
{
    if (self->retries != NULL)
        log_error("ended sessions are still in the store",
                  LOG_INT("records", (int64_t)self->retry_count));
    struct deletion *deletion = take_retries(self);
    while (deletion != NULL) {
        struct deletion *next = deletion->next;
        free(deletion);
        deletion = next;
    }
}
