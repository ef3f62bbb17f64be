/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /token (RFC 6749 sections 4.1.3 and 6, RFC 7636, RFC 8628): a refresh token, an authorization code or a device
 * code for a portal token.
 * kubectl sends the same refresh token many times at once and again when an answer was lost (facts B1), so nothing
 * here counts failures, locks out or asks to wait. */
#include "handlers.h"

#include "base/clock.h"
#include "base/log.h"
#include "issuer.h"
#include "later.h"

/* ---- the answer (RFC 6749 section 5.1) ---- */

static void answer(struct issuer_request *self, const struct issued_token *issued)
{
    struct json_writer *writer = json_writer_new(&self->req->pool);
    json_begin_object(writer);
    json_key(writer, "access_token"); /* the bearer for Kubernetes and /userinfo is one token */
    json_put_iovec(writer, issued->token);
    json_key(writer, "id_token");
    json_put_iovec(writer, issued->token);
    json_key(writer, "token_type");
    json_put_string(writer, "Bearer");
    json_key(writer, "expires_in");
    json_put_int(writer, (issued->expires_ms - issued->made_ms) / 1000);
    json_key(writer, "refresh_token");
    json_put_string(writer, self->refresh_token);
    json_key(writer, "scope");
    json_put_string(writer, ISSUER_SCOPE);
    json_end_object(writer);
    issuer_count(self, ISSUER_OK);
    web_send_json(self->req, 200, writer);
}

/* A code works once, so a session whose token can't be had now would be of no use to anybody. */
static void end_unused(struct issuer_request *self)
{
    if (self->kind != ISSUER_REFRESH)
        sessions_end_grant(self->portal->parts.sessions, web_loop(self->req), self->grant.id,
                           SESSION_SIGNED_OUT, NULL, NULL);
}

static void refuse_issue(struct issuer_request *self, const struct error *err)
{
    end_unused(self);
    if (err->kind == ERROR_REJECTED) {
        issuer_refuse_with(self, ISSUER_TOO_MANY_GROUPS,
                           &(struct issuer_error){400, "invalid_grant", err->text});
        return;
    }
    log_error("no token", LOG_STR("reason", err->text),
              LOG_STR("request_id", web_request_id(self->req)));
    issuer_refuse_with(self, ISSUER_FAILED,
                       &(struct issuer_error){500, "server_error", "the token can not be signed"});
}

static void on_judged(struct issuer_request *self, enum issuer_result result)
{
    struct error err = {.kind = ERROR_NONE};
    struct issued_token issued;
    const struct issue_order order = {self->client, &self->grant, self->identity, self->nonce};
    if (result != ISSUER_OK) {
        end_unused(self);
        issuer_refuse(self, result);
    } else if (issue_token(&self->portal->issue, self->req, &order, &issued, &err)) {
        answer(self, &issued);
    } else {
        refuse_issue(self, &err);
    }
}

void issuer_give(struct issuer_request *self)
{
    issuer_judge(self, on_judged);
}

/* ---- the session ---- */

static enum issuer_result result_of(const struct session_refreshed *refreshed)
{
    if (refreshed->reused)
        return ISSUER_REUSED;
    return refreshed->state == SESSION_UNKNOWN ? ISSUER_BAD_GRANT : ISSUER_SESSION_ENDED;
}

/* Of a code nobody can say more: whoever presents a wrong one is a stranger. */
static void refuse_session(struct issuer_request *self, const struct session_refreshed *refreshed)
{
    enum issuer_result result = result_of(refreshed);
    if (refreshed->store_failed)
        issuer_refuse_with(self, ISSUER_FAILED,
                           &(struct issuer_error){503, "temporarily_unavailable",
                                                  "the session can not be saved now; try again "
                                                  "in a moment"});
    else if (self->kind == ISSUER_CODE && result == ISSUER_BAD_GRANT)
        issuer_refuse_with(self, result,
                           &(struct issuer_error){400, "invalid_grant",
                                                  "the code is unknown, spent or older than a "
                                                  "minute, or not for this client_id, "
                                                  "redirect_uri and code_verifier"});
    else
        issuer_refuse(self, result);
}

static void on_refreshed(void *ctx, const struct session_refreshed *refreshed)
{
    struct portal *portal;
    struct issuer_request *self = later_end(ctx, &portal);
    if (self == NULL)
        return; /* the answer is lost: the client asks again with the token that it has */
    if (refreshed->state != SESSION_LIVE) {
        refuse_session(self, refreshed);
        return;
    }
    self->grant = *refreshed->grant;
    self->refresh_token = text_dup(&self->req->pool, refreshed->refresh_token);
    if (refreshed->nonce != NULL)
        self->nonce = text_dup(&self->req->pool, refreshed->nonce);
    issuer_give(self);
}

static void missing(struct issuer_request *self, const char *what)
{
    issuer_refuse_with(self, ISSUER_BAD_REQUEST,
                       &(struct issuer_error){400, "invalid_request", what});
}

static void refresh(struct issuer_request *self)
{
    h2o_iovec_t token = web_form_value(&self->form, "refresh_token");
    if (token.len == 0) {
        missing(self, "refresh_token is missing");
        return;
    }
    const struct session_presented presented = {token, self->client->name};
    sessions_refresh(self->portal->parts.sessions, web_loop(self->req), &presented, clock_wall_ms(),
                     on_refreshed, later_new(self->portal, self->req, self));
}

static void redeem(struct issuer_request *self)
{
    const struct session_redemption redemption = {
        .code = web_form_value(&self->form, "code"),
        .redirect_uri = web_form_value(&self->form, "redirect_uri"),
        .verifier = web_form_value(&self->form, "code_verifier"),
        .cluster = self->client->name};
    if (redemption.code.len == 0 || redemption.redirect_uri.len == 0 ||
        redemption.verifier.len == 0) {
        missing(self, "code, redirect_uri and code_verifier are needed");
        return;
    }
    sessions_redeem(self->portal->parts.sessions, web_loop(self->req), &redemption, clock_wall_ms(),
                    on_refreshed, later_new(self->portal, self->req, self));
}

int issuer_token(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct issuer_request *self = issuer_request_new(ctx, req);
    (void)rest;
    if (!issuer_begin(self))
        return 0;
    h2o_iovec_t type = web_form_value(&self->form, "grant_type");
    if (iovec_equal(type, "refresh_token")) {
        self->kind = ISSUER_REFRESH;
        refresh(self);
    } else if (iovec_equal(type, "authorization_code")) {
        self->kind = ISSUER_CODE;
        redeem(self);
    } else if (iovec_equal(type, ISSUER_DEVICE_GRANT)) {
        self->kind = ISSUER_DEVICE;
        issuer_poll_device(self);
    } else if (type.len == 0) {
        missing(self, "grant_type is missing");
    } else {
        issuer_refuse_with(
            self, ISSUER_BAD_REQUEST,
            &(struct issuer_error){400, "unsupported_grant_type",
                                   "refresh_token, authorization_code and device_code are known"});
    }
    return 0;
}

/* ---- discovery ---- */

int issuer_discovery(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    const struct portal *portal = ctx;
    struct json_writer *writer = json_writer_new(&req->pool);
    (void)rest;
    issuer_write_discovery(portal->parts.config, writer);
    web_cache(req, "public, max-age=60");
    web_send_json(req, 200, writer);
    return 0;
}
