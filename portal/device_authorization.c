/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /device_authorization (RFC 8628 section 3.1) and the polls at POST /token (section 3.4): what a machine without a
 * browser asks. Anybody may ask; nothing is given before somebody who is signed in has approved it (device_page.c). */
#include "handlers.h"

#include "authorize_request.h"
#include "base/clock.h"
#include "base/log.h"
#include "issuer.h"
#include "later.h"

/* ---- a new request ---- */

static void answer(struct issuer_request *self, const struct device_codes *codes)
{
    const char *url = self->portal->parts.config->portal.url;
    h2o_mem_pool_t *pool = &self->req->pool;
    struct json_writer *writer = json_writer_new(pool);
    json_begin_object(writer);
    json_key(writer, "device_code");
    json_put_string(writer, codes->device);
    json_key(writer, "user_code");
    json_put_string(writer, codes->user);
    json_key(writer, "verification_uri");
    json_put_string(writer, text_format(pool, "%s/device", url));
    json_key(writer, "verification_uri_complete");
    json_put_string(writer, text_format(pool, "%s/device?user_code=%s", url, codes->user));
    json_key(writer, "expires_in");
    json_put_int(writer, DEVICE_REQUEST_S);
    json_key(writer, "interval");
    json_put_int(writer, DEVICE_INTERVAL_S);
    json_end_object(writer);
    web_send_json(self->req, 200, writer);
}

/* RFC 8628 has no error for that: its slow_down is for polls, and tells a client to go on with a code that it does not
 * have here. So the status says whose fault it is, 429 or 503, and the error is one that clients show and do not repeat.
 * No Retry-After: when there is room again is up to others, and HTTP clients that obey it (kubectl's) hide the text. */
static void refuse(struct issuer_request *self, enum device_start why)
{
    static const struct issuer_error
        address = {429, "temporarily_unavailable",
                   "10 requests from your address wait already: approve or deny one, or wait ten "
                   "minutes"},
        table = {503, "temporarily_unavailable",
                 "too many machines wait to be approved, try again in ten minutes"};
    issuer_refuse_with(self, ISSUER_TOO_MANY, why == DEVICE_ADDRESS_FULL ? &address : &table);
}

int device_authorization(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct issuer_request *self = issuer_request_new(ctx, req);
    struct device_codes codes;
    char address[WEB_ADDRESS_SIZE];
    (void)rest;
    self->kind = ISSUER_DEVICE;
    if (!issuer_begin(self))
        return 0;
    if (!authorize_has_word(web_form_value(&self->form, "scope"), "openid")) {
        issuer_refuse_with(
            self, ISSUER_BAD_REQUEST,
            &(struct issuer_error){400, "invalid_scope", "the scope must have openid in it"});
        return 0;
    }
    web_remote_address(req, address);
    enum device_start result = device_requests_start(self->portal->devices, self->client->name,
                                                     address, clock_mono_ms(), &codes);
    if (result != DEVICE_STARTED) {
        refuse(self, result);
        return 0;
    }
    counter_add(self->portal->device_events[DEVICE_BEGUN], 1);
    answer(self, &codes);
    explicit_bzero(&codes, sizeof(codes));
    return 0;
}

/* ---- polls ---- */

static void on_grant(void *ctx, const struct session_grant *grant, const char *refresh_token,
                     const struct error *err)
{
    struct portal *portal;
    struct issuer_request *self = later_end(ctx, &portal);
    if (self == NULL)
        return; /* nobody has its token: the grant dies of its idle limit */
    if (grant != NULL) {
        self->grant = *grant;
        self->refresh_token = text_dup(&self->req->pool, refresh_token);
        issuer_give(self);
    } else if (err->kind == ERROR_REJECTED) {
        issuer_refuse(self, ISSUER_SESSION_ENDED); /* they have signed out since */
    } else {
        log_error("no token", LOG_STR("reason", err->text),
                  LOG_STR("request_id", web_request_id(self->req)));
        issuer_refuse_with(self, ISSUER_FAILED,
                           &(struct issuer_error){503, "temporarily_unavailable",
                                                  "the session can not be stored, begin anew"});
    }
}

/* Like a code, an approval works once: whatever goes wrong from here on, the person begins anew. */
static void add_session(struct issuer_request *self, const struct device_approval *approval)
{
    char address[WEB_ADDRESS_SIZE];
    web_remote_address(self->req, address);
    const struct session_grant_input input = {
        .login_id = approval->login_id,
        .cluster = self->client->name,
        .name = text_format(&self->req->pool, "device at %s", approval->request.address),
        .address = address};
    sessions_add_grant(self->portal->parts.sessions, web_loop(self->req), &input, clock_wall_ms(),
                       on_grant, later_new(self->portal, self->req, self));
}

/* What most polls hear: counted, but nothing for the audit. */
static void not_yet(struct issuer_request *self, const char *error, const char *description)
{
    issuer_count(self, ISSUER_PENDING);
    issuer_send_error(self->req, &(struct issuer_error){400, error, description});
}

static void refuse_poll(struct issuer_request *self, enum issuer_result result, const char *error,
                        const char *description)
{
    issuer_refuse_with(self, result, &(struct issuer_error){400, error, description});
}

void issuer_poll_device(struct issuer_request *self)
{
    struct device_approval approval;
    h2o_iovec_t code = web_form_value(&self->form, "device_code");
    if (code.len == 0) {
        refuse_poll(self, ISSUER_BAD_REQUEST, "invalid_request", "device_code is missing");
        return;
    }
    switch (device_requests_poll(self->portal->devices, code, self->client->name, clock_mono_ms(),
                                 &approval)) {
    case DEVICE_POLL_APPROVED:
        add_session(self, &approval);
        break;
    case DEVICE_POLL_PENDING:
        not_yet(self, "authorization_pending", "nobody has approved it yet");
        break;
    case DEVICE_POLL_SLOW_DOWN:
        not_yet(self, "slow_down", "wait 5 seconds longer between two polls");
        break;
    case DEVICE_POLL_DENIED:
        refuse_poll(self, ISSUER_DENIED, "access_denied", "it was denied on the portal's page");
        break;
    case DEVICE_POLL_EXPIRED:
        refuse_poll(self, ISSUER_EXPIRED, "expired_token",
                    "nobody approved it in time, begin anew");
        break;
    case DEVICE_POLL_UNKNOWN:
        refuse_poll(self, ISSUER_BAD_GRANT, "invalid_grant",
                    "this device_code is not known here, or was used: begin anew");
        break;
    }
}
