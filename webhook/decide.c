/* SPDX-License-Identifier: Apache-2.0
 *
 * The decision table of design section 6, in the order in which it is cheapest: the token by itself, its
 * session, the user's identity, the lists of who may. Nothing here remembers a yes: what ended is a no at the
 * next question. */
#include "decide_private.h"

#include <assert.h>

#include "base/clock.h"
#include "webhook/subject.h"

static void settle(struct verdict *out, enum reason reason)
{
    out->reason = reason;
    out->decision = reason_decision(reason);
}

void verdict_dispose(struct verdict *self)
{
    identity_unref(self->identity);
    self->identity = NULL;
}

/* ---- the steps: each one says REASON_OK, or why not ---- */

static enum reason judge_token(enum token_verdict verdict)
{
    switch (verdict) {
    case TOKEN_GOOD:
        return REASON_OK;
    case TOKEN_FOREIGN:
        return REASON_FOREIGN_TOKEN;
    case TOKEN_UNKNOWN_KEY:
        return REASON_UNKNOWN_KEY;
    case TOKEN_BAD:
    case TOKEN_WRONG_ISSUER:
        return REASON_BAD_TOKEN;
    case TOKEN_WRONG_AUDIENCE:
        return REASON_WRONG_AUDIENCE;
    case TOKEN_EXPIRED:
        return REASON_EXPIRED;
    case TOKEN_NOT_YET:
        return REASON_NOT_YET;
    }
    return REASON_BAD_TOKEN;
}

static enum reason reason_of_state(enum session_state state)
{
    switch (state) {
    case SESSION_LIVE:
        return REASON_OK;
    case SESSION_UNKNOWN:
        return REASON_SESSION_UNKNOWN;
    case SESSION_IDLE:
        return REASON_SESSION_IDLE;
    case SESSION_OVER:
        return REASON_SESSION_OVER;
    }
    return REASON_SESSION_UNKNOWN;
}

/* The grant named by id, into out; it must be of the cluster that asks, whatever the token's audience says. */
static enum reason judge_session(const struct decider *self, const struct config_cluster *cluster,
                                 const char *id, int64_t wall_ms, struct session_grant *out)
{
    struct session_grant grant;
    enum reason reason = reason_of_state(sessions_use_grant(self->sessions, id, wall_ms, &grant));
    if (reason != REASON_OK)
        return reason;
    if (strcmp(grant.cluster, cluster->name) != 0)
        return REASON_WRONG_AUDIENCE;
    *out = grant;
    return REASON_OK;
}

static enum reason judge_identity(const struct decider *self, const struct config_cluster *cluster,
                                  const struct identity *identity)
{
    if (identity->username == NULL)
        return REASON_USERNAME_REFUSED;
    return subject_may_use(self->config, cluster, identity) ? REASON_OK : REASON_NOT_ALLOWED;
}

/* ---- without waiting, and after the wait ---- */

bool decide_now(const struct decider *self, struct decide_facts *facts, h2o_iovec_t token,
                const struct instant *now, struct verdict *out)
{
    struct token_info info;
    *out = (struct verdict){.identity = NULL};
    enum reason reason = judge_token(
        token_verify(self->verifier, token, facts->cluster->audience, now->wall_ms / 1000, &info));
    if (reason == REASON_OK)
        reason = judge_session(self, facts->cluster, info.session, now->wall_ms, &out->session);
    settle(out, reason);
    if (reason != REASON_OK)
        return true;
    facts->token_expires_at_s = info.expires_at_s;
    memcpy(out->jti, info.jti, sizeof(out->jti));
    out->identity = identities_peek(self->identities, out->session.uid, now->mono_ms);
    if (out->identity != NULL)
        settle(out, judge_identity(self, facts->cluster, out->identity));
    else
        settle(out, REASON_GROUPS_UNKNOWN); /* until somebody says otherwise */
    return out->identity != NULL;
}

static enum reason judge_again(const struct decider *self, const struct decide_facts *facts,
                               const struct instant *now, struct verdict *out)
{
    if (now->wall_ms / 1000 >= facts->token_expires_at_s + self->config->tokens.leeway_ms / 1000)
        return REASON_EXPIRED;
    char id[SESSION_ID_SIZE];
    memcpy(id, out->session.id, sizeof(id));
    return judge_session(self, facts->cluster, id, now->wall_ms, &out->session);
}

void decide_after(const struct decider *self, const struct decide_facts *facts,
                  const struct identity *identity, const struct error *err,
                  const struct instant *now, struct verdict *out)
{
    enum reason reason = REASON_USER_GONE;
    bool is_gone = identity == NULL && err != NULL && err->kind == ERROR_REJECTED;
    if (!is_gone)
        reason = judge_again(self, facts, now, out);
    if (reason == REASON_OK)
        reason = identity == NULL ? REASON_GROUPS_UNKNOWN
                                  : judge_identity(self, facts->cluster, identity);
    if (identity != NULL)
        out->identity = identity_ref(identity);
    settle(out, reason);
}

/* ---- with the clocks ---- */

struct decide_wait {
    const struct decider *decider;
    struct decide_facts facts;
    struct verdict verdict; /* session and jti, until the identity is there */
    struct identity_wait *identity_wait;
    decide_cb cb;
    void *ctx;
};

static struct instant instant_now(void)
{
    return (struct instant){clock_wall_ms(), clock_mono_ms()};
}

static void on_identity(void *ctx, const struct identity *identity, const struct error *err)
{
    struct decide_wait *self = ctx;
    struct instant now = instant_now();
    decide_after(self->decider, &self->facts, identity, err, &now, &self->verdict);
    struct verdict verdict = self->verdict;
    decide_cb cb = self->cb;
    void *cb_ctx = self->ctx;
    free(self);
    cb(cb_ctx, &verdict);
}

/* NOLINTNEXTLINE(readability-function-size): who asks where about what, and the two ways it ends */
struct decide_wait *decide(const struct decider *self, struct loop *loop,
                           const struct config_cluster *cluster, h2o_iovec_t token,
                           struct verdict *out, decide_cb cb, void *ctx)
{
    struct decide_facts facts = {.cluster = cluster};
    struct instant now = instant_now();
    if (decide_now(self, &facts, token, &now, out))
        return NULL;
    struct decide_wait *wait = h2o_mem_alloc(sizeof(*wait));
    *wait = (struct decide_wait){
        .decider = self, .facts = facts, .verdict = *out, .cb = cb, .ctx = ctx};
    wait->identity_wait = identities_wait(self->identities, loop, wait->verdict.session.uid,
                                          now.mono_ms, on_identity, wait);
    return wait;
}

void decide_cancel(struct decide_wait *wait)
{
    identities_cancel(wait->identity_wait);
    free(wait);
}

enum reason decide_still(const struct decider *self, const struct config_cluster *cluster,
                         const char *grant_id, const char *uid)
{
    struct instant now = instant_now();
    enum reason reason =
        reason_of_state(sessions_look_at_grant(self->sessions, grant_id, now.wall_ms));
    if (reason != REASON_OK)
        return reason;
    const struct identity *identity = identities_follow(self->identities, uid, now.mono_ms);
    if (identity == NULL)
        return REASON_GROUPS_UNKNOWN;
    reason = judge_identity(self, cluster, identity);
    identity_unref(identity);
    return reason;
}
