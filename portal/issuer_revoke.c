/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /revoke (RFC 7009): a refresh token of ours ends its kubeconfig session, whichever generation it is; what we
 * do not know, and what is another client's, is none of the asker's business: 200, and nothing happens. */
#include "handlers.h"

#include "base/clock.h"
#include "base/log.h"
#include "issuer.h"
#include "later.h"
#include "token/refresh.h"

/* The live session of this client that the token is of. */
static bool find(struct issuer_request *self, h2o_iovec_t text)
{
    const struct portal_parts *parts = &self->portal->parts;
    struct refresh_token token;
    struct session_grant grant;
    if (!refresh_token_read(parts->seal_keys, REFRESH_TOKEN, text, &token))
        return false;
    h2o_iovec_t id = base64url_encode(&self->req->pool, token.session, sizeof(token.session));
    explicit_bzero(&token, sizeof(token));
    if (sessions_use_grant(parts->sessions, id.base, clock_wall_ms(), &grant) != SESSION_LIVE ||
        strcmp(grant.cluster, self->client->name) != 0)
        return false;
    self->grant = grant;
    return true;
}

static void answer(h2o_req_t *req)
{
    web_send(req, 200, NULL, h2o_iovec_init("", 0));
}

static void on_ended(void *ctx, bool written)
{
    struct portal *portal;
    struct issuer_request *self = later_end(ctx, &portal);
    if (self == NULL)
        return;
    if (written)
        answer(self->req);
    else /* section 2.2.1: the client may ask again */
        issuer_send_error(self->req,
                          &(struct issuer_error){503, "temporarily_unavailable",
                                                 "the session is ended here, but not stored yet"});
}

int issuer_revoke(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct issuer_request *self = issuer_request_new(ctx, req);
    char address[WEB_ADDRESS_SIZE];
    (void)rest;
    if (!issuer_begin(self))
        return 0;
    h2o_iovec_t token = web_form_value(&self->form, "token");
    if (token.len == 0) {
        issuer_refuse_with(self, ISSUER_BAD_REQUEST,
                           &(struct issuer_error){400, "invalid_request", "token is missing"});
    } else if (!find(self, token)) {
        answer(req);
    } else {
        web_remote_address(req, address);
        log_audit("token_revoked", LOG_STR("uid", self->grant.uid),
                  LOG_STR("session", self->grant.id), LOG_STR("cluster", self->client->name),
                  LOG_STR("address", address), LOG_STR("request_id", web_request_id(req)));
        sessions_end_grant(self->portal->parts.sessions, web_loop(req), self->grant.id,
                           SESSION_SIGNED_OUT, on_ended, later_new(self->portal, req, self));
    }
    return 0;
}
