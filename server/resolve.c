/* SPDX-License-Identifier: Apache-2.0
 *
 * One question about one user. Sign-ins are tried most recently used first:
 *
 *     userinfo -> learned
 *         401 -> refresh -> stored -> userinfo once more
 *             definite no -> that sign-in ends -> the next sign-in
 *     anything else -> don't know: the last known facts stay
 *
 * With oidc.user_in_idtoken the refresh is the question:
 *
 *     refresh -> stored -> learned, from its id_token
 *         definite no -> as above
 *
 * No sign-in left: the user is gone. */
#include "resolve.h"

#include "base/clock.h"
#include "base/log.h"

#define MAX_LOGINS       8
#define EXPIRY_MARGIN_MS 5000 /* an access token this close to its end is refreshed first */

struct question {
    struct loop_call call;
    struct resolver *resolver;
    struct identity_load *load;
    char uid[SESSION_UID_SIZE];
    struct session_tokens logins[MAX_LOGINS];
    size_t count, current;
    bool refreshed;           /* the current sign-in's token is fresh: another 401 proves nothing */
    struct identity *learned; /* while the tokens that came with it are stored; else NULL */
    struct error
        unknown; /* why the refresh whose tokens are stored taught nothing; else ERROR_NONE */
};

static void ask_current(struct question *self);

static void finish(struct question *self, enum identity_outcome outcome, struct identity *identity,
                   const struct error *err)
{
    identity_load_done(self->load, outcome, identity, err);
    for (size_t i = 0; i < self->count; ++i)
        provider_tokens_dispose(&self->logins[i].tokens);
    identity_unref(self->learned);
    free(self);
}

static void note_failure(const struct question *self, const struct okta_result *result,
                         const char *step)
{
    log_warn("okta did not say who a user is", LOG_STR("step", step), LOG_STR("uid", self->uid),
             LOG_STR("code", result->code), LOG_STR("reason", result->error.text));
}

static void fail(struct question *self, const struct okta_result *result, const char *step)
{
    note_failure(self, result, step);
    finish(self, IDENTITY_FAILED, NULL, &result->error);
}

/* A definite no for the current sign-in. */
static void refuse_current(struct question *self, const char *code)
{
    const char *login_id = self->logins[self->current].login_id;
    log_audit("sign_in_refused_by_okta", LOG_STR("uid", self->uid), LOG_STR("session", login_id),
              LOG_STR("reason", code));
    sessions_end_login(self->resolver->sessions, self->resolver->home, login_id,
                       SESSION_REFUSED_BY_OKTA, NULL, NULL);
    ++self->current;
    self->refreshed = false;
    ask_current(self);
}

/* By the rules of now: a reload may have come while the tokens were stored. */
static void finish_learned(struct question *self)
{
    finish(self, IDENTITY_LEARNED, subject_remap(self->resolver->rules, self->learned), NULL);
}

static bool current_is_live(const struct question *self)
{
    struct provider_tokens tokens;
    const char *login_id = self->logins[self->current].login_id;
    if (!sessions_login_tokens(self->resolver->sessions, login_id, &tokens))
        return false;
    provider_tokens_dispose(&tokens);
    return true;
}

/* What Okta said is true whether our disk is full or not; but where the sign-in has ended, perhaps with its whole
 * provider, it is nobody's. */
static void on_stored(void *ctx, bool written)
{
    struct question *self = ctx;
    struct error err;
    if (!written)
        log_warn("okta token not stored", LOG_STR("uid", self->uid));
    if (self->unknown.kind != ERROR_NONE) {
        finish(self, IDENTITY_FAILED, NULL, &self->unknown);
    } else if (self->learned != NULL && (written || current_is_live(self))) {
        finish_learned(self);
    } else if (written) {
        ask_current(self);
    } else {
        error_set(&err, ERROR_UPSTREAM, "the refreshed Okta token could not be stored");
        finish(self, IDENTITY_FAILED, NULL, &err);
    }
}

static void store_tokens(struct question *self, struct provider_tokens *tokens)
{
    struct session_tokens *login = &self->logins[self->current];
    /* A refresh may bring no id_token; the one that is there stays the hint for signing out of Okta. */
    if (tokens->id_token.len == 0)
        secret_copy(&tokens->id_token, &login->tokens.id_token);
    provider_tokens_copy(&login->tokens, tokens);
    self->refreshed = true;
    sessions_put_tokens(self->resolver->sessions, self->resolver->home, login->login_id,
                        &login->tokens, on_stored, self);
}

static void on_refreshed(void *ctx, struct okta_result *result)
{
    struct question *self = ctx;
    if (result->answer == OKTA_NO) {
        refuse_current(self, result->code);
        return;
    }
    if (result->tokens == NULL) {
        fail(self, result, "refresh");
        return;
    }
    if (result->answer != OKTA_OK) {
        note_failure(self, result, "refresh");
        self->unknown = result->error;
    } else if (result->claims != NULL) {
        self->learned = subject_map(self->resolver->rules, result->claims, result->asked_mono_ms,
                                    result->asked_wall_ms);
    }
    store_tokens(self, result->tokens);
}

static void refresh_current(struct question *self)
{
    struct session_tokens *login = &self->logins[self->current];
    if (login->tokens.refresh_token.len == 0) { /* no offline_access: nothing can revive it */
        refuse_current(self, okta_user_in_idtoken(self->resolver->okta) ? "no_refresh_token"
                                                                        : "access_token_expired");
        return;
    }
    okta_refresh(self->resolver->okta, self->resolver->home,
                 secret_iovec(&login->tokens.refresh_token), self->uid, on_refreshed, self);
}

static void on_userinfo(void *ctx, struct okta_result *result)
{
    struct question *self = ctx;
    if (result->answer == OKTA_OK)
        finish(self, IDENTITY_LEARNED,
               subject_map(self->resolver->rules, result->claims, result->asked_mono_ms,
                           result->asked_wall_ms),
               NULL);
    else if (result->answer == OKTA_TOKEN_OLD && !self->refreshed)
        refresh_current(self);
    else
        fail(self, result, "userinfo");
}

static void ask_current(struct question *self)
{
    if (self->current == self->count) {
        finish(self, IDENTITY_GONE, NULL, NULL);
        return;
    }
    const struct session_tokens *login = &self->logins[self->current];
    bool expired = login->tokens.access_expires_wall_ms < clock_wall_ms() + EXPIRY_MARGIN_MS;
    if ((expired || okta_user_in_idtoken(self->resolver->okta)) && !self->refreshed)
        refresh_current(self);
    else
        okta_userinfo(self->resolver->okta, self->resolver->home,
                      secret_iovec(&login->tokens.access_token), self->uid, on_userinfo, self);
}

static void on_home(struct loop_call *call)
{
    struct question *self = H2O_STRUCT_FROM_MEMBER(struct question, call, call);
    self->count = sessions_tokens(self->resolver->sessions, self->uid, clock_wall_ms(),
                                  self->logins, MAX_LOGINS);
    ask_current(self);
}

void resolve_identity(void *ctx, const char *uid, struct identity_load *load)
{
    struct question *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct question){.resolver = ctx, .load = load, .call.run = on_home};
    snprintf(self->uid, sizeof(self->uid), "%s", uid);
    loop_post(self->resolver->home, &self->call);
}

bool resolve_may_ask(void *ctx, bool urgent)
{
    return okta_may_ask(((struct resolver *)ctx)->okta, urgent);
}
