/* SPDX-License-Identifier: Apache-2.0
 *
 * How questions about refresh tokens and codes wait and are answered. What a store does may end on any loop, so an
 * answer is set under the shard's lock and posted to the loop that asked. */
#include "sessions_ask.h"

struct session_ask *ask_new(struct sessions *self, struct loop *loop, int64_t now_ms,
                            session_refresh_cb cb, void *ctx)
{
    struct session_ask *ask = h2o_mem_alloc(sizeof(*ask));
    *ask = (struct session_ask){.self = self, .loop = loop, .now_ms = now_ms, .cb = cb, .ctx = ctx};
    return ask;
}

static void on_answer(struct loop_call *call)
{
    struct session_ask *ask = H2O_STRUCT_FROM_MEMBER(struct session_ask, call, call);
    loop_timer_stop(&ask->timer);
    if (ask->answer.state == SESSION_LIVE) {
        ask->answer.grant = &ask->grant;
        ask->answer.refresh_token = ask->credential;
        ask->answer.nonce = ask->nonce;
    }
    ask->cb(ask->ctx, &ask->answer);
    explicit_bzero(ask, sizeof(*ask));
    free(ask);
}

void ask_answer(struct session_ask *ask)
{
    ask->call.run = on_answer;
    loop_post(ask->loop, &ask->call);
}

void ask_refuse(struct session_ask *ask, enum session_state state)
{
    ask->answer.state = state;
    ask_answer(ask);
}

void ask_store_failed(struct session_ask *ask)
{
    ask->answer.store_failed = true;
    ask_refuse(ask, SESSION_UNKNOWN);
}

void ask_grant(struct session_ask *ask, const struct session *session, const char *credential)
{
    ask->answer.state = SESSION_LIVE;
    session_grant_out(ask->self, session, &ask->grant);
    memcpy(ask->credential, credential, sizeof(ask->credential));
}

void ask_wait(struct session_ask *ask, struct session *session)
{
    h2o_linklist_insert(&session->asks, &ask->link);
}

/* On the loop that asked. Where the answer is on its way already, that comes. */
static void on_slow(struct loop_timer *timer)
{
    struct session_ask *ask = H2O_STRUCT_FROM_MEMBER(struct session_ask, timer, timer);
    struct shard *shard = sessions_shard(ask->self, ask->id);
    pthread_mutex_lock(&shard->mutex);
    const struct session *grant = session_find_any(shard, STORE_GRANT, ask->id);
    bool waits = grant != NULL && h2o_linklist_is_linked(&ask->link);
    if (waits)
        h2o_linklist_unlink(&ask->link);
    bool is_refresh = ask->came_with[0] != '\0';
    if (waits && is_refresh)
        ask_grant(ask, grant, ask->came_with);
    pthread_mutex_unlock(&shard->mutex);
    ask->late = !waits;
    if (waits && is_refresh)
        ask_answer(ask);
    else if (waits)
        ask_store_failed(ask);
}

void ask_limit(struct session_ask *ask)
{
    loop_timer_start(ask->loop, &ask->timer, ask->self->answer_within_ms, on_slow);
}

static struct session_ask *next_of(struct session *session)
{
    if (h2o_linklist_is_empty(&session->asks))
        return NULL;
    struct session_ask *ask = H2O_STRUCT_FROM_MEMBER(struct session_ask, link, session->asks.next);
    h2o_linklist_unlink(&ask->link);
    return ask;
}

void sessions_refuse_asks(struct session *session)
{
    struct session_ask *ask;
    while ((ask = next_of(session)) != NULL)
        ask_refuse(ask, SESSION_UNKNOWN);
}

/* The first is the one that began it; or, where that waited too long, one that knows the same verifier. */
static void answer_redemption(struct session *session, const struct session_change *change,
                              bool done)
{
    struct session_ask *ask = next_of(session);
    if (ask == NULL)
        return;
    if (done) {
        ask_grant(ask, session, change->token);
        ask_answer(ask);
    } else {
        ask_store_failed(ask);
    }
    while ((ask = next_of(session)) != NULL)
        ask_redeem_again(ask);
}

void session_answer_asks(struct sessions *self, struct session *session,
                         const struct session_change *change, bool done)
{
    struct session_ask *ask;
    (void)self;
    if (change->kind == CHANGE_REDEMPTION) {
        answer_redemption(session, change, done);
        return;
    }
    while ((ask = next_of(session)) != NULL) {
        ask_grant(ask, session, done ? change->token : ask->current);
        ask_answer(ask);
    }
}
