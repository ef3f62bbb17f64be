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

/* A token is for the API server of the session's cluster, be it a kubeconfig's session or an app's. An app takes
 * no session but its own, and none of before it moved to another cluster. */
bool decide_is_for(const struct decide_gate *gate, const struct session_grant *grant)
{
    const char *cluster = gate->cluster != NULL ? gate->cluster->name : "";
    return strcmp(grant->cluster, cluster) == 0 &&
           (gate->app == NULL || strcmp(grant->app, gate->app) == 0);
}

/* The grant named by id, into out; it must be for that gate, whatever the token's audience says. */
static enum reason judge_session(const struct decider *self, const struct decide_gate *gate,
                                 const char *id, int64_t wall_ms, struct session_grant *out)
{
    struct session_grant grant;
    enum reason reason = reason_of_state(sessions_use_grant(self->sessions, id, wall_ms, &grant));
    if (reason != REASON_OK)
        return reason;
    if (!decide_is_for(gate, &grant))
        return REASON_WRONG_AUDIENCE;
    *out = grant;
    return REASON_OK;
}

struct decide_gate decide_gate_of(const struct config *config, const struct config_app *app)
{
    return (struct decide_gate){config_app_cluster(config, app), app->name, &app->allowed_groups};
}

bool decide_may_use(const struct config *config, const struct decide_gate *gate,
                    const struct identity *identity)
{
    return subject_may_sign_in(config, identity) &&
           (gate->cluster == NULL || subject_may_use(config, gate->cluster, identity)) &&
           (gate->groups == NULL || subject_in_any(gate->groups, identity));
}

const struct config_strings *decide_missing_groups(const struct config *config,
                                                   const struct decide_gate *gate,
                                                   const struct identity *identity)
{
    if (!subject_in_any(&config->users.allowed_groups, identity))
        return &config->users.allowed_groups;
    if (gate->cluster != NULL && !subject_in_any(&gate->cluster->allowed_groups, identity))
        return &gate->cluster->allowed_groups;
    return gate->groups;
}

static enum reason judge_identity(const struct decider *self, const struct decide_gate *gate,
                                  const struct identity *identity)
{
    if (identity->username == NULL)
        return REASON_USERNAME_REFUSED;
    return decide_may_use(self->config, gate, identity) ? REASON_OK : REASON_NOT_ALLOWED;
}

/* ---- without waiting, and after the wait ---- */

/* What is known without waiting of the person whose session id names. */
static bool session_now(const struct decider *self, const struct decide_facts *facts,
                        const char *id, const struct instant *now, struct verdict *out)
{
    enum reason reason = judge_session(self, &facts->gate, id, now->wall_ms, &out->session);
    settle(out, reason);
    if (reason != REASON_OK)
        return true;
    out->identity = identities_peek(self->identities, out->session.uid, now->mono_ms);
    if (out->identity != NULL)
        settle(out, judge_identity(self, &facts->gate, out->identity));
    else
        settle(out, REASON_GROUPS_UNKNOWN); /* until somebody says otherwise */
    return out->identity != NULL;
}

bool decide_session_now(const struct decider *self, struct decide_facts *facts,
                        const char *grant_id, const struct instant *now, struct verdict *out)
{
    *out = (struct verdict){.identity = NULL};
    facts->token_expires_at_s = INT64_MAX;
    return session_now(self, facts, grant_id, now, out);
}

bool decide_now(const struct decider *self, struct decide_facts *facts, h2o_iovec_t token,
                const struct instant *now, struct verdict *out)
{
    struct token_info info;
    *out = (struct verdict){.identity = NULL};
    assert(facts->gate.cluster != NULL);
    enum reason reason = judge_token(token_verify(
        self->verifier, token, facts->gate.cluster->audience, now->wall_ms / 1000, &info));
    settle(out, reason);
    if (reason != REASON_OK)
        return true;
    facts->token_expires_at_s = info.expires_at_s;
    bool is_decided = session_now(self, facts, info.session, now, out);
    if (out->session.id[0] != '\0')
        memcpy(out->jti, info.jti, sizeof(out->jti));
    return is_decided;
}

static enum reason judge_again(const struct decider *self, const struct decide_facts *facts,
                               const struct instant *now, struct verdict *out)
{
    if (now->wall_ms / 1000 - self->config->tokens.leeway_ms / 1000 >= facts->token_expires_at_s)
        return REASON_EXPIRED;
    char id[SESSION_ID_SIZE];
    memcpy(id, out->session.id, sizeof(id));
    return judge_session(self, &facts->gate, id, now->wall_ms, &out->session);
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
        reason =
            identity == NULL ? REASON_GROUPS_UNKNOWN : judge_identity(self, &facts->gate, identity);
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

struct asker {
    const struct decider *decider;
    struct loop *loop;
    const struct instant *now;
    decide_cb cb;
    void *ctx;
};

/* verdict has the session and its person, of whom nothing is known yet. */
static struct decide_wait *wait_for(const struct asker *asker, const struct decide_facts *facts,
                                    const struct verdict *verdict)
{
    struct decide_wait *wait = h2o_mem_alloc(sizeof(*wait));
    *wait = (struct decide_wait){.decider = asker->decider,
                                 .facts = *facts,
                                 .verdict = *verdict,
                                 .cb = asker->cb,
                                 .ctx = asker->ctx};
    wait->identity_wait =
        identities_wait(asker->decider->identities, asker->loop, wait->verdict.session.uid,
                        asker->now->mono_ms, on_identity, wait);
    return wait;
}

/* NOLINTNEXTLINE(readability-function-size): who asks where about what, and the two ways it ends */
struct decide_wait *decide(const struct decider *self, struct loop *loop,
                           const struct config_cluster *cluster, h2o_iovec_t token,
                           struct verdict *out, decide_cb cb, void *ctx)
{
    struct decide_facts facts = {.gate = {.cluster = cluster}};
    struct instant now = instant_now();
    if (decide_now(self, &facts, token, &now, out))
        return NULL;
    return wait_for(&(struct asker){self, loop, &now, cb, ctx}, &facts, out);
}

/* NOLINTNEXTLINE(readability-function-size): as above */
struct decide_wait *decide_session(const struct decider *self, struct loop *loop,
                                   const struct decide_gate *gate, const char *grant_id,
                                   struct verdict *out, decide_cb cb, void *ctx)
{
    struct decide_facts facts = {.gate = *gate};
    struct instant now = instant_now();
    if (decide_session_now(self, &facts, grant_id, &now, out))
        return NULL;
    return wait_for(&(struct asker){self, loop, &now, cb, ctx}, &facts, out);
}

void decide_cancel(struct decide_wait *wait)
{
    identities_cancel(wait->identity_wait);
    free(wait);
}

enum reason decide_still(const struct decider *self, const struct decide_gate *gate,
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
    reason = judge_identity(self, gate, identity);
    identity_unref(identity);
    return reason;
}
