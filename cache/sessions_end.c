/* SPDX-License-Identifier: Apache-2.0
 *
 * How sessions end: they leave the table under the lock, into a list; then, without it, their records are
 * deleted, the ended callback is told, and whoever asked hears when the deletes are durable. */
#include "cache/sessions.h"

#include <assert.h>

#include "base/clock.h"
#include "sessions_ask.h"
#include "sessions_private.h"

static struct session *sibling_of(h2o_linklist_t *link)
{
    return H2O_STRUCT_FROM_MEMBER(struct session, siblings, link);
}

const char *session_end_name(enum session_end reason)
{
    switch (reason) {
    case SESSION_SIGNED_OUT:
        return "signed_out";
    case SESSION_IDLE_TOO_LONG:
        return "idle_too_long";
    case SESSION_LIFETIME_OVER:
        return "lifetime_over";
    case SESSION_REFUSED_BY_OKTA:
        return "refused_by_okta";
    case SESSION_PUSHED_OUT:
        return "pushed_out";
    case SESSION_PARENT_ENDED:
        return "parent_ended";
    case SESSION_PROVIDER_CHANGED:
        return "provider_changed";
    case SESSION_ENDED_BY_ADMIN:
        return "ended_by_admin";
    case SESSION_TOKEN_REUSED:
        return "token_reused";
    }
    assert(!"a reason without a name");
    return NULL;
}

/* ---- out of the table ---- */

void ended_list_init(struct ended_list *self, int64_t now_ms)
{
    *self = (struct ended_list){.tail = &self->first, .now_ms = now_ms};
}

/* Who walks a user's sessions while some end holds the user, which goes with its last session. */
static void hold(struct user *user)
{
    user->count++;
}

static void release(struct shard *shard, struct user *user)
{
    if (--user->count != 0)
        return;
    table_remove(&shard->users, &user->entry);
    free(user);
}

static bool is_worth_a_note(enum session_end reason)
{
    return reason == SESSION_IDLE_TOO_LONG || reason == SESSION_PUSHED_OUT ||
           reason == SESSION_ENDED_BY_ADMIN || reason == SESSION_TOKEN_REUSED;
}

/* What the owner did not do, the portal tells. */
static void note_end(struct session *login, const struct session_record *grant,
                     enum session_end reason, int64_t now_ms)
{
    if (login->notes == NULL) {
        login->notes = h2o_mem_alloc(sizeof(*login->notes));
        *login->notes = (struct session_notes){0};
    }
    struct session_notes *notes = login->notes;
    memmove(notes->all + 1, notes->all, (SESSION_NOTES - 1) * sizeof(notes->all[0]));
    notes->count += notes->count < SESSION_NOTES;
    struct session_note *note = &notes->all[0];
    *note = (struct session_note){.reason = reason, .ended_ms = now_ms};
    memcpy(note->name, grant->name, sizeof(note->name));
    memcpy(note->cluster, grant->cluster, sizeof(note->cluster));
    memcpy(note->app, grant->app, sizeof(note->app));
}

static void unlink_one(struct shard *shard, struct session *session, enum session_end reason,
                       struct ended_list *ended)
{
    bool is_pending = session_is_pending(session);
    table_remove(&shard->by_id, &session->entry);
    h2o_linklist_unlink(&session->siblings);
    shard->logins -= session->login == NULL;
    shard->pending -= is_pending;
    shard->apps -= session->record.app[0] != '\0' && !is_pending;
    if (session->login != NULL && !is_pending && is_worth_a_note(reason))
        note_end(session->login, &session->record, reason, ended->now_ms);
    if (!is_pending)
        release(shard, session->user);
    session->user = NULL;
    session->login = NULL;
    session->reason = reason;
    *ended->tail = session;
    ended->tail = &session->next_ended;
    ended->count++;
}

/* The login first: should a crash part the deletes, grants without a login are deleted at the next start. */
void session_unlink(struct shard *shard, struct session *session, enum session_end reason,
                    struct ended_list *ended)
{
    struct user *user = session->user;
    hold(user);
    unlink_one(shard, session, reason, ended);
    while (!h2o_linklist_is_empty(&session->grants))
        unlink_one(shard, sibling_of(session->grants.next), SESSION_PARENT_ENDED, ended);
    while (!h2o_linklist_is_empty(&session->pending))
        unlink_one(shard, sibling_of(session->pending.next), SESSION_PARENT_ENDED, ended);
    release(shard, user);
}

struct tidying {
    struct sessions *self;
    struct shard *shard;
    const struct session *keep; /* just added: it, or its login, is not judged; NULL: none */
    int64_t now_ms;
    struct ended_list *ended;
};

/* Codes that nobody redeemed. */
static void tidy_pending(const struct tidying *tidying, struct session *login)
{
    h2o_linklist_t *link = login->pending.next;
    while (link != &login->pending) {
        struct session *grant = sibling_of(link);
        link = link->next;
        if (tidying->now_ms >= grant->record.code.expires_ms && !grant->renewing)
            session_unlink(tidying->shard, grant, SESSION_IDLE_TOO_LONG, tidying->ended);
    }
}

void session_limit_pending(struct shard *shard, struct session *login, struct ended_list *ended)
{
    size_t count = 0;
    assert(login != NULL);
    for (h2o_linklist_t *link = login->pending.next; link != &login->pending; link = link->next)
        count++;
    if (count >= SESSION_CODES)
        session_unlink(shard, sibling_of(login->pending.next), SESSION_PUSHED_OUT, ended);
}

/* Ends what of the login is past its limits. A browser that idles ends no grants; with none left, it is
 * over. */
static void tidy_login(const struct tidying *tidying, struct session *login)
{
    const struct session *keep = tidying->keep;
    enum session_state state = session_judge(tidying->self, login, tidying->now_ms);
    if (login == keep || (keep != NULL && login == keep->login))
        state = SESSION_LIVE;
    if (state == SESSION_OVER) {
        session_unlink(tidying->shard, login, SESSION_LIFETIME_OVER, tidying->ended);
        return;
    }
    tidy_pending(tidying, login);
    h2o_linklist_t *link = login->grants.next;
    while (link != &login->grants) {
        struct session *grant = sibling_of(link);
        link = link->next;
        if (session_judge(tidying->self, grant, tidying->now_ms) == SESSION_IDLE)
            session_unlink(tidying->shard, grant, SESSION_IDLE_TOO_LONG, tidying->ended);
    }
    if (state == SESSION_IDLE && h2o_linklist_is_empty(&login->grants))
        session_unlink(tidying->shard, login, SESSION_IDLE_TOO_LONG, tidying->ended);
}

/* The caller holds the user. */
static void tidy_user(const struct tidying *tidying, struct user *user)
{
    h2o_linklist_t *link = user->logins.next;
    while (link != &user->logins) {
        struct session *login = sibling_of(link);
        link = link->next;
        tidy_login(tidying, login);
    }
}

/* A login counts as used when a grant below it was, so it never goes before its grants. */
static struct session *least_used(struct user *user, const struct session *keep)
{
    struct session *least = NULL;
    int64_t least_ms = INT64_MAX;
    for (h2o_linklist_t *link = user->logins.next; link != &user->logins; link = link->next) {
        struct session *login = sibling_of(link);
        for (h2o_linklist_t *at = login->grants.next; at != &login->grants; at = at->next) {
            struct session *grant = sibling_of(at);
            if (grant != keep && grant->record.last_used_ms < least_ms) {
                least = grant;
                least_ms = grant->record.last_used_ms;
            }
        }
        if (login != keep && login != keep->login && session_used_ms(login) < least_ms) {
            least = login;
            least_ms = session_used_ms(login);
        }
    }
    return least;
}

void session_limit_user(struct sessions *self, struct shard *shard, struct session *keep,
                        int64_t now_ms, struct ended_list *ended)
{
    struct user *user = keep->user;
    size_t limit = (size_t)self->limits.per_user + 1; /* and the hold */
    struct tidying tidying = {self, shard, keep, now_ms, ended};
    struct session *least;
    hold(user);
    tidy_user(&tidying, user);
    while (user->count > limit && (least = least_used(user, keep)) != NULL)
        session_unlink(shard, least, SESSION_PUSHED_OUT, ended);
    release(shard, user);
}

/* ---- after the lock ---- */

static void tell_ended(struct sessions *self, const struct session *session)
{
    const struct session_record *record = &session->record;
    bool is_grant = record->kind == STORE_GRANT;
    struct session_ended ended = {.is_grant = is_grant,
                                  .id = record->id,
                                  .uid = record->uid,
                                  .cluster = is_grant ? record->cluster : NULL,
                                  .app = record->app[0] != '\0' ? record->app : NULL,
                                  .reason = session->reason,
                                  .tokens = is_grant ? NULL : &record->tokens};
    if (self->ended != NULL)
        self->ended(self->ended_ctx, &ended);
}

void sessions_finish(struct sessions *self, struct loop *loop, struct ended_list *ended,
                     struct ending *ending)
{
    for (struct session *at = ended->first; at != NULL; at = at->next_ended)
        sessions_delete(self, loop, &at->record, ending);
    while (ended->first != NULL) {
        struct session *session = ended->first;
        ended->first = session->next_ended;
        sessions_refuse_waiting(&session->waiting);
        sessions_refuse_asks(session);
        if (!session_is_pending(session))
            tell_ended(self, session);
        session_free(session);
    }
    ended_list_init(ended, ended->now_ms);
}

/* ---- the doors ---- */

struct nothing_to_end {
    struct loop_call call;
    session_done_cb cb;
    void *ctx;
};

static void on_nothing(struct loop_call *call)
{
    struct nothing_to_end *self = H2O_STRUCT_FROM_MEMBER(struct nothing_to_end, call, call);
    self->cb(self->ctx, true);
    free(self);
}

static void answer_nothing(struct loop *loop, session_done_cb cb, void *ctx)
{
    if (cb == NULL)
        return;
    struct nothing_to_end *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct nothing_to_end){.call.run = on_nothing, .cb = cb, .ctx = ctx};
    loop_post(loop, &self->call);
}

static void take_out(struct sessions *self, enum store_kind kind, const char *id,
                     enum session_end reason, struct ended_list *ended)
{
    struct shard *shard = sessions_shard(self, id);
    if (shard == NULL)
        return;
    pthread_mutex_lock(&shard->mutex);
    struct session *session = session_find(shard, kind, id);
    if (session != NULL)
        session_unlink(shard, session, reason, ended);
    pthread_mutex_unlock(&shard->mutex);
}

static void finish_for(struct sessions *self, struct loop *loop, struct ended_list *ended,
                       session_done_cb cb, void *ctx)
{
    if (ended->count == 0)
        answer_nothing(loop, cb, ctx);
    else
        sessions_finish(self, loop, ended, ending_new(cb, ctx, ended->count));
}

void sessions_end_login(struct sessions *self, struct loop *loop, const char *login_id,
                        enum session_end reason, session_done_cb cb, void *ctx)
{
    struct ended_list ended;
    ended_list_init(&ended, clock_wall_ms());
    take_out(self, STORE_LOGIN, login_id, reason, &ended);
    finish_for(self, loop, &ended, cb, ctx);
}

void sessions_end_grant(struct sessions *self, struct loop *loop, const char *id,
                        enum session_end reason, session_done_cb cb, void *ctx)
{
    struct ended_list ended;
    ended_list_init(&ended, clock_wall_ms());
    take_out(self, STORE_GRANT, id, reason, &ended);
    finish_for(self, loop, &ended, cb, ctx);
}

void sessions_end_user(struct sessions *self, struct loop *loop, const char *uid,
                       enum session_end reason, session_done_cb cb, void *ctx)
{
    struct shard *shard = &self->shards[session_shard_of_uid(uid)];
    struct ended_list ended;
    struct user *user;
    ended_list_init(&ended, clock_wall_ms());
    pthread_mutex_lock(&shard->mutex);
    while ((user = sessions_user(shard, uid)) != NULL) /* it goes with its last login */
        session_unlink(shard, sibling_of(user->logins.next), reason, &ended);
    pthread_mutex_unlock(&shard->mutex);
    finish_for(self, loop, &ended, cb, ctx);
}

static void empty_shard(struct shard *shard, enum session_end reason, struct ended_list *ended)
{
    struct table_entry *entry;
    pthread_mutex_lock(&shard->mutex);
    while ((entry = table_next(&shard->users, NULL)) != NULL) {
        struct user *user = H2O_STRUCT_FROM_MEMBER(struct user, entry, entry);
        session_unlink(shard, sibling_of(user->logins.next), reason, ended);
    }
    pthread_mutex_unlock(&shard->mutex);
}

void sessions_close(struct sessions *self, struct loop *loop, enum session_end reason)
{
    atomic_store(&self->closed, true);
    atomic_fetch_add(&self->epoch, 1);
    for (size_t i = 0; i < SESSION_SHARDS; i++) {
        struct ended_list ended;
        ended_list_init(&ended, clock_wall_ms());
        empty_shard(&self->shards[i], reason, &ended);
        sessions_finish(self, loop, &ended, NULL);
    }
}

void sessions_open(struct sessions *self)
{
    atomic_store(&self->closed, false);
}

/* ---- the sweeper ---- */

static struct session_write *used_writes_of(struct sessions *self, struct user *user,
                                            struct session_write *list)
{
    for (h2o_linklist_t *link = user->logins.next; link != &user->logins; link = link->next) {
        struct session *login = sibling_of(link);
        list = session_write_join(list, session_write_used(self, login));
        for (h2o_linklist_t *at = login->grants.next; at != &login->grants; at = at->next)
            list = session_write_join(list, session_write_used(self, sibling_of(at)));
    }
    return list;
}

static struct session_write *sweep_shard(struct sessions *self, struct shard *shard, int64_t now_ms,
                                         struct ended_list *ended)
{
    struct session_write *writes = NULL;
    struct tidying tidying = {self, shard, NULL, now_ms, ended};
    pthread_mutex_lock(&shard->mutex);
    struct table_entry *entry = table_next(&shard->users, NULL);
    while (entry != NULL) {
        struct user *user = H2O_STRUCT_FROM_MEMBER(struct user, entry, entry);
        entry = table_next(&shard->users, entry);
        hold(user);
        tidy_user(&tidying, user);
        writes = used_writes_of(self, user, writes);
        release(shard, user);
    }
    pthread_mutex_unlock(&shard->mutex);
    return writes;
}

void sessions_sweep(struct sessions *self, struct loop *loop, int64_t now_ms)
{
    sessions_retry_deletes(self, loop);
    for (size_t i = 0; i < SESSION_SHARDS; i++) {
        struct ended_list ended;
        ended_list_init(&ended, now_ms);
        struct session_write *writes = sweep_shard(self, &self->shards[i], now_ms, &ended);
        sessions_finish(self, loop, &ended, NULL);
        sessions_send_writes(writes, loop);
    }
}
