/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of stored sessions: the provider's tokens, names, refresh tokens, used-at times. Of each session at most one
 * put is on its way; changes that come meanwhile wait for it in the session. So the version that a put expects is
 * always the one that this process wrote, and a put that finds another or no record loses: nothing that was
 * deleted comes back. */
#include <assert.h>

#include "base/log.h"
#include "base/text.h"
#include "sessions_ask.h"
#include "sessions_private.h"

struct session_write {
    struct session_write *next; /* in a list to be sent */
    h2o_linklist_t link;        /* in session.waiting */
    struct sessions *self;
    struct session_record record; /* what is to be stored */
    uint64_t version;             /* what must be there */
    bool must;                    /* a sweep is to try again if it fails */
    struct session_change change;
    struct loop_call call; /* when the session has ended before */
};

void session_change_dispose(struct session_change *self)
{
    provider_tokens_dispose(&self->tokens);
    explicit_bzero(self->token, sizeof(self->token));
}

static struct session_write *new_write(struct sessions *self, struct session_change *change)
{
    struct session_write *write = h2o_mem_alloc(sizeof(*write));
    *write = (struct session_write){.self = self, .change = *change};
    change->tokens = (struct provider_tokens){0};
    session_change_dispose(change);
    return write;
}

static void free_write(struct session_write *write)
{
    session_record_dispose(&write->record);
    session_change_dispose(&write->change);
    free(write);
}

static void apply(const struct session_change *change, struct session_record *record)
{
    switch (change->kind) {
    case CHANGE_USED:
        break;
    case CHANGE_TOKENS:
        provider_tokens_copy(&record->tokens, &change->tokens);
        break;
    case CHANGE_NAME:
        memcpy(record->name, change->name, sizeof(record->name));
        break;
    case CHANGE_ROTATION:
        chain_rotate(&record->chain, change->secret_hash, change->now_ms);
        break;
    case CHANGE_REDEMPTION: /* the hash stays, so that a second one is known */
        record->code.expires_ms = 0;
        record->code.bound = (struct session_code){0};
        record->last_used_ms = change->now_ms;
        chain_begin(&record->chain, change->secret_hash, change->now_ms);
        break;
    }
}

static bool is_renewal(const struct session_write *write)
{
    return write->change.kind == CHANGE_ROTATION || write->change.kind == CHANGE_REDEMPTION;
}

/* ---- sending ---- */

/* With the lock: from here on the session has a put on its way. unwritten is cleared now and not by the
 * answer, so that what is set meanwhile (other seal keys) stays. */
static void prepare(struct session *session, struct session_write *write)
{
    session->writing = true;
    write->must = write->change.kind == CHANGE_TOKENS || session->unwritten;
    session->unwritten = false;
    session_record_copy(&write->record, &session->record);
    apply(&write->change, &write->record);
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
    write->change.loop = loop;
    store_put(write->self->store, &stored, write->version, loop, on_written, write);
    h2o_mem_clear_pool(&pool);
}

/* ---- the store's answer ---- */

/* With the lock. The provider's tokens enter memory even when the store failed: the old ones may be spent (it
 * may rotate them), and a sweep writes them later. What we make ourselves is only true when it is stored. */
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
    if (outcome == STORE_DONE || (write->change.kind == CHANGE_TOKENS && outcome != STORE_CONFLICT))
        apply(&write->change, &session->record);
}

/* With the lock. */
static void end_renewal(struct session *session, const struct session_write *write, bool done,
                        struct ended_list *ended)
{
    struct sessions *self = write->self;
    struct shard *shard = sessions_shard(self, session->record.id);
    bool is_redeemed = done && write->change.kind == CHANGE_REDEMPTION;
    session->renewing = false;
    if (is_redeemed)
        session_link_redeemed(shard, session);
    if (is_redeemed && h2o_linklist_is_empty(&session->asks)) { /* too late for all who asked */
        session_unlink(shard, session, SESSION_SIGNED_OUT, ended);
        return;
    }
    if (is_redeemed)
        session_limit_user(self, shard, session, write->change.now_ms, ended);
    session_answer_asks(self, session, &write->change, done);
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
    struct ended_list ended;
    ended_list_init(&ended, write->change.now_ms);
    pthread_mutex_lock(&shard->mutex);
    struct session *session = session_find_any(shard, write->record.kind, write->record.id);
    if (session != NULL) {
        absorb(session, write, outcome, version);
        if (is_renewal(write))
            end_renewal(session, write, outcome == STORE_DONE, &ended);
        next = next_waiting(session);
    }
    pthread_mutex_unlock(&shard->mutex);
    if (session != NULL)
        log_outcome(write, outcome, err);
    if (next != NULL)
        send_write(next, next->change.loop);
    sessions_finish(write->self, write->change.loop, &ended, NULL);
    if (write->change.cb != NULL)
        write->change.cb(write->change.ctx, session != NULL && outcome == STORE_DONE);
    free_write(write);
}

/* ---- changes ---- */

static void on_refused(struct loop_call *call)
{
    struct session_write *write = H2O_STRUCT_FROM_MEMBER(struct session_write, call, call);
    if (write->change.cb != NULL)
        write->change.cb(write->change.ctx, false);
    free_write(write);
}

static void refuse(struct session_write *write)
{
    write->call.run = on_refused;
    loop_post(write->change.loop, &write->call);
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
static bool queue(struct session *session, struct session_write *write)
{
    if (session->writing) {
        h2o_linklist_insert(&session->waiting, &write->link);
        return false;
    }
    prepare(session, write);
    return true;
}

struct session_write *session_change(struct sessions *self, struct session *session,
                                     struct session_change *change)
{
    struct session_write *write = new_write(self, change);
    return queue(session, write) ? write : NULL;
}

/* The change of a session that may have ended. */
static void change_by_id(struct sessions *self, enum store_kind kind, const char *id,
                         struct session_change *change)
{
    struct session_write *write = new_write(self, change);
    struct shard *shard = sessions_shard(self, id);
    if (shard == NULL) {
        refuse(write);
        return;
    }
    pthread_mutex_lock(&shard->mutex);
    struct session *session = session_find(shard, kind, id);
    bool now = session != NULL && queue(session, write);
    pthread_mutex_unlock(&shard->mutex);
    if (session == NULL)
        refuse(write);
    else if (now)
        send_write(write, write->change.loop);
}

void sessions_put_tokens(struct sessions *self, struct loop *loop, const char *login_id,
                         const struct provider_tokens *tokens, session_done_cb cb, void *ctx)
{
    struct session_change change = {.kind = CHANGE_TOKENS, .loop = loop, .cb = cb, .ctx = ctx};
    provider_tokens_copy(&change.tokens, tokens);
    change_by_id(self, STORE_LOGIN, login_id, &change);
}

/* A name that is too long or not UTF-8 can't be stored. */
void sessions_rename_grant(struct sessions *self, struct loop *loop, const char *id,
                           const char *name, session_done_cb cb, void *ctx)
{
    struct session_change change = {.kind = CHANGE_NAME, .loop = loop, .cb = cb, .ctx = ctx};
    bool good =
        utf8_valid(name, strlen(name)) && session_text(change.name, sizeof(change.name), name);
    change_by_id(self, STORE_GRANT, good ? id : "", &change);
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
    struct session_change change = {.kind = CHANGE_USED};
    struct session_write *write = new_write(self, &change);
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
