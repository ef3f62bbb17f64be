/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of stored sessions: the provider's tokens and used-at times. Of each session at most one put is on
 * its way; new tokens that come meanwhile wait for it in the session. So the version that a put expects is
 * always the one that this process wrote, and a put that finds another or no record loses: nothing that was
 * deleted comes back. */
#include <assert.h>

#include "base/log.h"
#include "sessions_private.h"

struct session_write {
    struct session_write *next; /* in a list to be sent */
    h2o_linklist_t link;        /* in session.waiting */
    struct sessions *self;
    struct session_record record; /* what is to be stored */
    uint64_t version;             /* what must be there */
    bool must;                    /* a sweep is to try again if it fails */
    /* of sessions_put_tokens */
    bool has_tokens;
    struct provider_tokens tokens;
    struct loop_call call; /* when the session has ended before */
    struct loop *loop;     /* where cb runs */
    session_done_cb cb;
    void *ctx;
};

static void free_write(struct session_write *write)
{
    session_record_dispose(&write->record);
    provider_tokens_dispose(&write->tokens);
    free(write);
}

/* ---- sending ---- */

/* With the lock: from here on the session has a put on its way. unwritten is cleared now and not by the
 * answer, so that what is set meanwhile (other seal keys) stays. */
static void prepare(struct session *session, struct session_write *write)
{
    session->writing = true;
    write->must = write->has_tokens || session->unwritten;
    session->unwritten = false;
    session_record_copy(&write->record, &session->record);
    if (write->has_tokens)
        provider_tokens_copy(&write->record.tokens, &write->tokens);
    write->version = session->version;
}

static void on_written(void *ctx, enum store_outcome outcome, uint64_t version,
                       const struct error *err);

static void send_write(struct session_write *write, struct loop *loop)
{
    h2o_mem_pool_t pool;
    struct store_record stored = {.kind = write->record.kind, .id = write->record.id};
    h2o_mem_init_pool(&pool);
    bool good = session_encode(&pool, write->self->seal_keys, &write->record, &stored.data, NULL);
    assert(good); /* the same strings were written when it was added */
    write->loop = loop;
    store_put(write->self->store, &stored, write->version, loop, on_written, write);
    h2o_mem_clear_pool(&pool);
}

/* ---- the store's answer ---- */

/* With the lock. New tokens enter memory even when the store failed: the old ones may be spent (the provider
 * may rotate them), and a sweep writes them later. */
static void absorb(struct session *session, const struct session_write *write,
                   enum store_outcome outcome, uint64_t version)
{
    session->writing = false;
    if (outcome == STORE_DONE) {
        session->version = version;
        session->stored_used_ms = write->record.last_used_ms;
    }
    if (write->must && outcome == STORE_FAILED)
        session->unwritten = true;
    if (write->has_tokens && outcome != STORE_CONFLICT)
        provider_tokens_copy(&session->record.tokens, &write->tokens);
}

/* With the lock: the next one that waited, ready to be sent, or NULL. */
static struct session_write *next_waiting(struct session *session)
{
    if (h2o_linklist_is_empty(&session->waiting))
        return NULL;
    struct session_write *write =
        H2O_STRUCT_FROM_MEMBER(struct session_write, link, session->waiting.next);
    h2o_linklist_unlink(&write->link);
    prepare(session, write);
    return write;
}

static void log_outcome(const struct session_write *write, enum store_outcome outcome,
                        const struct error *err)
{
    if (outcome == STORE_CONFLICT)
        log_error("a session's record was changed by somebody else",
                  LOG_STR("session", write->record.id));
    else if (outcome == STORE_FAILED)
        log_warn("a session could not be stored", LOG_STR("session", write->record.id),
                 LOG_STR("reason", err->text));
}

static void on_written(void *ctx, enum store_outcome outcome, uint64_t version,
                       const struct error *err)
{
    struct session_write *write = ctx, *next = NULL;
    struct shard *shard = sessions_shard(write->self, write->record.id);
    pthread_mutex_lock(&shard->mutex);
    struct session *session = session_find(shard, write->record.kind, write->record.id);
    if (session != NULL) {
        absorb(session, write, outcome, version);
        next = next_waiting(session);
    }
    pthread_mutex_unlock(&shard->mutex);
    if (session != NULL)
        log_outcome(write, outcome, err);
    if (next != NULL)
        send_write(next, next->loop);
    if (write->cb != NULL)
        write->cb(write->ctx, session != NULL && outcome == STORE_DONE);
    free_write(write);
}

/* ---- new tokens ---- */

static void on_refused(struct loop_call *call)
{
    struct session_write *write = H2O_STRUCT_FROM_MEMBER(struct session_write, call, call);
    if (write->cb != NULL)
        write->cb(write->ctx, false);
    free_write(write);
}

static void refuse(struct session_write *write)
{
    write->call.run = on_refused;
    loop_post(write->loop, &write->call);
}

void sessions_refuse_waiting(h2o_linklist_t *waiting)
{
    while (!h2o_linklist_is_empty(waiting)) {
        struct session_write *write =
            H2O_STRUCT_FROM_MEMBER(struct session_write, link, waiting->next);
        h2o_linklist_unlink(&write->link);
        refuse(write);
    }
}

/* With the lock: whether it is to be sent now. */
static bool queue_tokens(struct session *session, struct session_write *write)
{
    if (session->writing) {
        h2o_linklist_insert(&session->waiting, &write->link);
        return false;
    }
    prepare(session, write);
    return true;
}

void sessions_put_tokens(struct sessions *self, struct loop *loop, const char *login_id,
                         const struct provider_tokens *tokens, session_done_cb cb, void *ctx)
{
    struct session_write *write = h2o_mem_alloc(sizeof(*write));
    *write = (struct session_write){
        .self = self, .has_tokens = true, .loop = loop, .cb = cb, .ctx = ctx};
    provider_tokens_copy(&write->tokens, tokens);
    struct shard *shard = sessions_shard(self, login_id);
    if (shard == NULL) {
        refuse(write);
        return;
    }
    pthread_mutex_lock(&shard->mutex);
    struct session *login = session_find(shard, STORE_LOGIN, login_id);
    bool now = login != NULL && queue_tokens(login, write);
    pthread_mutex_unlock(&shard->mutex);
    if (login == NULL)
        refuse(write);
    else if (now)
        send_write(write, loop);
}

/* ---- used-at times ---- */

struct session_write *session_write_used(struct sessions *self, struct session *session)
{
    int64_t idle_ms =
        session->login == NULL ? self->limits.idle_ms : self->limits.kubeconfig_idle_ms;
    bool due = session->record.last_used_ms - session->stored_used_ms >= idle_ms / 4 &&
               session->record.last_used_ms != session->stored_used_ms;
    if (session->writing || !(due || session->unwritten))
        return NULL;
    struct session_write *write = h2o_mem_alloc(sizeof(*write));
    *write = (struct session_write){.self = self};
    prepare(session, write);
    return write;
}

struct session_write *session_write_join(struct session_write *list, struct session_write *before)
{
    if (before == NULL)
        return list;
    before->next = list;
    return before;
}

void sessions_send_writes(struct session_write *list, struct loop *loop)
{
    while (list != NULL) {
        struct session_write *next = list->next;
        list->next = NULL;
        send_write(list, loop);
        list = next;
    }
}
