/* SPDX-License-Identifier: Apache-2.0
 *
 * The way back from Okta, GET /auth/oidc, from top to bottom: the answer must belong to an attempt of this
 * browser, which from that moment is used; then the code is redeemed, the person judged, the session saved,
 * the cookie given. Whatever fails ends in one page, one log line or audit line, and one count. (protocols.md
 * D1-D4, D9; peers 5, 16, 52) */
#include "handlers.h"

#include "attempt.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "http/web.h"
#include "later.h"
#include "refusal.h"

#define MAX_CODE 4096 /* bytes of an authorization code */

struct arrival { /* in the request's pool */
    struct portal *portal;
    h2o_req_t *req;
    struct web_form query;
    struct attempt attempt;
    struct okta_call *call;          /* NULL unless Okta is being asked */
    const struct identity *identity; /* NULL until the person is known */
};

static void on_dispose(void *data)
{
    struct arrival *self = data;
    if (self->call != NULL)
        okta_cancel(self->call);
    identity_unref(self->identity);
}

/* ---- refusing ---- */

struct refused {
    enum sign_in_result result;
    const char *reason;            /* for the audit: our words, or a known code of Okta's */
    const struct trouble *trouble; /* for the person */
};

static void refuse(struct arrival *self, const struct refused *refused)
{
    char address[WEB_ADDRESS_SIZE];
    web_remote_address(self->req, address);
    counter_add(self->portal->sign_ins[refused->result], 1);
    log_audit("sign_in_refused",
              LOG_STR("uid", self->identity != NULL ? self->identity->uid : NULL),
              LOG_STR("reason", refused->reason), LOG_STR("address", address),
              LOG_STR("request_id", web_request_id(self->req)));
    page_trouble(&self->portal->frame, self->req, refused->trouble);
}

static void refuse_attempt(struct arrival *self, const char *reason)
{
    static const struct trouble trouble = {
        .status = 400,
        .title = "This sign-in is over",
        .what = "It was finished before, took longer than ten minutes, or was begun in another "
                "browser.",
        .todo =
            "Sign in again. If that leads here once more, look whether your browser keeps cookies "
            "of this site.",
        .action = "Sign in again",
        .href = "/login",
    };
    refuse(self, &(struct refused){SIGN_IN_UNKNOWN_ATTEMPT, reason, &trouble});
}

static void refuse_answer(struct arrival *self, const char *reason)
{
    static const struct trouble trouble = {
        .status = 400,
        .title = "This is not an answer of Okta",
        .what = "The address that led here does not hold together, so nobody was signed in.",
        .todo = "Sign in again.",
        .action = "Sign in again",
        .href = "/login",
    };
    refuse(self, &(struct refused){SIGN_IN_BAD_ANSWER, reason, &trouble});
}

/* Okta sent the browser back with an error. Its words are shown, since the state proves that the answer
 * belongs to this browser's attempt, but not where they hold that state. */
static void refuse_as_okta(struct arrival *self, const char *code)
{
    struct trouble trouble;
    enum sign_in_result result;
    h2o_iovec_t description = web_form_value(&self->query, "error_description");
    refusal_of_code(code, &trouble, &result);
    if (description.len != 0 && strstr(description.base, self->attempt.state) == NULL)
        trouble.quote = description.base;
    bool is_word = strspn(code, "abcdefghijklmnopqrstuvwxyz_") == strlen(code) && strlen(code) < 48;
    refuse(self, &(struct refused){result, is_word ? code : "unknown error", &trouble});
}

/* ---- the person ---- */

static void on_login(void *ctx, const char *cookie, const struct session_login *login,
                     const struct error *err);

static void refuse_person(struct arrival *self)
{
    const struct config *config = self->portal->parts.config;
    const struct identity *identity = self->identity;
    bool no_name = identity->username == NULL;
    h2o_mem_pool_t *pool = &self->req->pool;
    struct trouble trouble = {.status = 403, .action = "Sign in again", .href = "/login"};
    if (no_name) {
        trouble.title = "Your Okta account can't be used here";
        trouble.what =
            text_format(pool, "Kubernetes can't have your username: %s.", identity->refusal);
        trouble.todo = "Ask your Okta administrator to change that, then sign in again.";
    } else {
        trouble.title = "This portal is not open to you";
        trouble.what =
            text_format(pool,
                        "Okta knows you as %s, but only members of these Okta groups may "
                        "sign in here:",
                        page_person_name(identity));
        trouble.groups = (const char *const *)config->users.allowed_groups.entries;
        trouble.group_count = config->users.allowed_groups.count;
        trouble.todo = "Ask your Okta administrator to add you to one of them, then sign in again.";
    }
    refuse(self, &(struct refused){SIGN_IN_NOT_ALLOWED,
                                   no_name ? identity->refusal : "not in users.allowed_groups",
                                   &trouble});
}

static void welcome(struct arrival *self, const struct okta_result *result)
{
    const struct portal_parts *parts = &self->portal->parts;
    struct loop *loop = web_loop(self->req);
    char address[WEB_ADDRESS_SIZE];
    struct identity *identity =
        subject_map(parts->rules, result->claims, result->asked_mono_ms, result->asked_wall_ms);
    self->identity = identity;
    if (!subject_may_sign_in(parts->config, identity)) {
        if (result->tokens->refresh_token.len != 0)
            okta_revoke(parts->okta, loop, secret_iovec(&result->tokens->refresh_token), NULL,
                        NULL);
        refuse_person(self);
        return;
    }
    self->identity = identity_ref(identity);
    identities_put(parts->identities, identity);
    web_remote_address(self->req, address);
    struct session_login_input input = {identity->uid, result->tokens, address};
    sessions_add_login(parts->sessions, loop, &input, clock_wall_ms(), on_login,
                       later_new(self->portal, self->req, self));
}

static void on_okta(void *ctx, struct okta_result *result)
{
    struct arrival *self = ctx;
    struct trouble trouble;
    enum sign_in_result counted;
    self->call = NULL;
    if (result->answer == OKTA_OK) {
        welcome(self, result);
        return;
    }
    refusal_of_result(result, &trouble, &counted);
    log_warn("sign-in failed", LOG_STR("reason", result->error.text),
             LOG_STR("request_id", web_request_id(self->req)));
    refuse(self, &(struct refused){counted, result->code, &trouble});
}

/* ---- the session ---- */

static void refuse_unsaved(struct arrival *self, const struct error *err)
{
    static const struct trouble trouble = {
        .status = 503,
        .title = "Your sign-in could not be saved",
        .what = "Okta let you in, but Postern could not write your session down.",
        .todo =
            "Try again in a moment. If it stays like this, give whoever runs Postern the request "
            "number below.",
        .action = "Try again",
        .href = "/login",
    };
    log_error("sign-in not saved", LOG_STR("reason", err->text),
              LOG_STR("request_id", web_request_id(self->req)));
    refuse(self, &(struct refused){SIGN_IN_NOT_SAVED, "not saved", &trouble});
}

/* The session that the cookie meant before must not outlive it (peers 52). One that was idle for too long is
 * no session of a browser any more; it stays for the kubectls below it. */
static void end_former_login(struct arrival *self)
{
    struct session_login former;
    struct sessions *sessions = self->portal->parts.sessions;
    h2o_iovec_t cookie = web_cookie(self->req, SESSION_COOKIE);
    if (cookie.base != NULL &&
        sessions_find_login(sessions, cookie, clock_wall_ms(), &former) == SESSION_LIVE)
        sessions_end_login(sessions, web_loop(self->req), former.id, SESSION_SIGNED_OUT, NULL,
                           NULL);
}

static void on_login(void *ctx, const char *cookie, const struct session_login *login,
                     const struct error *err)
{
    struct portal *portal;
    struct arrival *self = later_end(ctx, &portal);
    if (self == NULL)
        return; /* nobody has the cookie: the session dies of its idle limit */
    if (cookie == NULL) {
        refuse_unsaved(self, err);
        return;
    }
    end_former_login(self);
    counter_add(portal->sign_ins[SIGN_IN_DONE], 1);
    log_audit("sign_in", LOG_STR("user", self->identity->username), LOG_STR("uid", login->uid),
              LOG_STR("session", login->id), LOG_STR("address", login->address),
              LOG_STR("request_id", web_request_id(self->req)));
    web_set_cookie(self->req, SESSION_COOKIE, iovec_of(cookie), -1);
    web_redirect(self->req, self->attempt.return_to);
}

/* ---- the answer ---- */

static void redeem(struct arrival *self)
{
    h2o_iovec_t code = web_form_value(&self->query, "code");
    if (code.len == 0 || code.len > MAX_CODE) {
        refuse_answer(self, "no code");
        return;
    }
    struct okta_callback params = {.code = code,
                                   .code_verifier = self->attempt.verifier,
                                   .nonce = self->attempt.nonce,
                                   .begun_wall_ms = self->attempt.created_ms};
    self->call =
        okta_sign_in(self->portal->parts.okta, web_loop(self->req), &params, on_okta, self);
}

static void judge(struct arrival *self)
{
    const struct portal_parts *parts = &self->portal->parts;
    h2o_iovec_t state = web_form_value(&self->query, "state");
    h2o_iovec_t issuer = web_form_value(&self->query, "iss");
    h2o_iovec_t error = web_form_value(&self->query, "error");
    if (!attempt_take(self->req, parts->seal_keys, state, clock_wall_ms(), &self->attempt))
        refuse_attempt(self, "unknown attempt");
    else if (!used_attempts_add(self->portal->used, state, self->attempt.created_ms))
        refuse_attempt(self, "attempt used before");
    else if (issuer.base != NULL && !iovec_equal(issuer, parts->config->oidc.issuer))
        refuse_answer(self, "another issuer");
    else if (error.base != NULL)
        refuse_as_okta(self, error.base);
    else
        redeem(self);
}

int sign_in_finish(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct arrival *self = h2o_mem_alloc_shared(&req->pool, sizeof(*self), on_dispose);
    *self = (struct arrival){.portal = ctx, .req = req};
    (void)rest;
    if (web_form_parse(&req->pool, web_query(req), &self->query, NULL))
        judge(self);
    else
        refuse_answer(self, "malformed query");
    return 0;
}
