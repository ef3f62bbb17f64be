/* SPDX-License-Identifier: Apache-2.0
 *
 * /userinfo (OpenID Connect Core 5.3): what Okta says of the person now, for whoever holds a portal token of a live
 * session. The token stands in the header and nowhere else; errors are RFC 6750's. */
#include "handlers.h"

#include "base/clock.h"
#include "issuer.h"

#define BEARER "Bearer "

static void refuse(h2o_req_t *req, const char *challenge, const struct issuer_error *error)
{
    web_add_header(req, "www-authenticate", challenge);
    issuer_send_error(req, error);
}

static void refuse_token(h2o_req_t *req)
{
    refuse(req, "Bearer realm=\"postern\", error=\"invalid_token\"",
           &(struct issuer_error){401, "invalid_token", "the token is not good, or not any more"});
}

static void put(struct json_writer *out, const char *key, const char *value)
{
    if (value == NULL)
        return;
    json_key(out, key);
    json_put_string(out, value);
}

static void answer(h2o_req_t *req, const struct identity *identity)
{
    struct json_writer *writer = json_writer_new(&req->pool);
    json_begin_object(writer);
    put(writer, "sub", identity->uid);
    put(writer, "preferred_username", identity->username);
    put(writer, "name", identity->attributes[USER_DISPLAY_NAME]);
    put(writer, "email", identity->attributes[USER_EMAIL]);
    if (identity->attributes[USER_EMAIL] != NULL) {
        json_key(writer, "email_verified");
        json_put_bool(writer, identity->email_verified);
    }
    json_key(writer, "groups");
    json_put_strings(writer, identity->groups, identity->group_count);
    json_end_object(writer);
    web_send_json(req, 200, writer);
}

/* Whoever may not use the cluster is told what they are all the same: that is how they see why. */
static void on_judged(struct issuer_request *self, enum issuer_result result)
{
    if (self->identity != NULL)
        answer(self->req, self->identity);
    else if (result == ISSUER_UNSURE)
        issuer_send_error(self->req, &(struct issuer_error){503, "temporarily_unavailable",
                                                            "Okta does not answer"});
    else
        refuse_token(self->req);
}

/* The session says whose cluster the token must be for. A token that is over is no use of it, or whoever finds an old one
 * keeps the session from its idle limit. */
static bool verify(struct issuer_request *self, h2o_iovec_t token)
{
    const struct portal_parts *parts = &self->portal->parts;
    int64_t now_ms = clock_wall_ms(), leeway_s = parts->config->tokens.leeway_ms / 1000;
    struct token_info info;
    (void)token_verify(parts->verifier, token, "", now_ms / 1000, &info);
    if (info.session[0] == '\0' || now_ms / 1000 >= info.expires_at_s + leeway_s ||
        sessions_use_grant(parts->sessions, info.session, now_ms, &self->grant) != SESSION_LIVE)
        return false;
    self->client = portal_cluster(self->portal, iovec_of(self->grant.cluster));
    return self->client != NULL && token_verify(parts->verifier, token, self->client->audience,
                                                now_ms / 1000, &info) == TOKEN_GOOD;
}

int issuer_userinfo(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct issuer_request *self = issuer_request_new(ctx, req);
    h2o_iovec_t header = web_header(req, "authorization");
    const size_t scheme = sizeof(BEARER) - 1;
    (void)rest;
    if (web_header_count(req, "authorization") > 1)
        refuse(
            req, "Bearer realm=\"postern\", error=\"invalid_request\"",
            &(struct issuer_error){400, "invalid_request", "there are two Authorization headers"});
    else if (header.len <= scheme || strncasecmp(header.base, BEARER, scheme) != 0)
        refuse(req, "Bearer realm=\"postern\"", /* no error code: nothing was tried (section 3.1) */
               &(struct issuer_error){401, "invalid_request", "a bearer token is needed"});
    else if (!verify(self, h2o_iovec_init(header.base + scheme, header.len - scheme)))
        refuse_token(req);
    else
        issuer_judge(self, on_judged);
    return 0;
}
