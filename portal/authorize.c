/* SPDX-License-Identifier: Apache-2.0
 *
 * /authorize (RFC 6749 section 4.1): a program on the person's computer asks for a code by opening our page in their
 * browser. GET only asks back; what the person answers comes by a form of our own (peers 45), which carries the whole
 * request and is judged like the first one. The code goes nowhere but to a port of that computer. */
#include "handlers.h"

#include "authorize_request.h"
#include "base/clock.h"
#include "base/log.h"
#include "later.h"
#include "visit.h"
#include "words.h"

struct authorization { /* in the request's pool */
    struct web_form form;
    struct authorize_request request;
};

/* ---- answers ---- */

/* One by which the program learns of it: nobody is asked, or nobody can be. */
static void refuse_program(struct portal *portal, h2o_req_t *req,
                           const struct authorize_request *request,
                           const struct authorize_error *error)
{
    web_redirect(
        req, authorize_error_url(&req->pool, request, portal->parts.config->portal.issuer, error));
}

static void trouble(struct portal *portal, h2o_req_t *req, const char *title, const char *what)
{
    page_trouble(&portal->frame, req,
                 &(struct trouble){.status = 400,
                                   .title = title,
                                   .what = what,
                                   .todo = "Nothing was given away. If you have started a program "
                                           "that wants to use kubectl, look at its settings, or "
                                           "ask whoever gave them to you."});
}

static void tell(const struct visit *visit, const char *event_reason,
                 const struct session_grant *grant)
{
    const struct authorization *self = visit->detail;
    char address[WEB_ADDRESS_SIZE];
    web_remote_address(visit->req, address);
    if (grant != NULL)
        log_audit("authorized", LOG_STR("user", visit->identity->username),
                  LOG_STR("uid", visit->login.uid), LOG_STR("login", visit->login.id),
                  LOG_STR("session", grant->id), LOG_STR("cluster", self->request.client->name),
                  LOG_STR("address", address), LOG_STR("request_id", web_request_id(visit->req)));
    else
        log_audit("authorization_refused", LOG_STR("reason", event_reason),
                  LOG_STR("user", visit->identity->username), LOG_STR("uid", visit->login.uid),
                  LOG_STR("login", visit->login.id), LOG_STR("cluster", self->request.client->name),
                  LOG_STR("address", address), LOG_STR("request_id", web_request_id(visit->req)));
}

/* ---- what is asked for ---- */

/* False: it is answered. */
static bool read_request(struct portal *portal, h2o_req_t *req, h2o_iovec_t encoded,
                         struct authorization *self)
{
    struct authorize_error error;
    if (!web_form_parse(&req->pool, encoded, &self->form, NULL)) {
        trouble(portal, req, "This request can't be read",
                "Its parameters are malformed, or one of them is there twice.");
        return false;
    }
    const struct config_cluster *client =
        portal_client(portal, web_form_value(&self->form, "client_id"));
    switch (authorize_judge(&req->pool, &self->form, client, &self->request, &error)) {
    case AUTHORIZE_GOOD:
        return true;
    case AUTHORIZE_BAD_CLIENT:
        trouble(portal, req, "A program asks for a cluster that is not here",
                "Its client_id is none of this portal's: that is the audience of a cluster.");
        break;
    case AUTHORIZE_BAD_REDIRECT:
        trouble(portal, req, "A program asks from an address that is not allowed",
                "Its redirect_uri must be a program on this computer: http://127.0.0.1:PORT, "
                "http://[::1]:PORT or http://localhost:PORT, perhaps with a path.");
        break;
    case AUTHORIZE_BAD_REQUEST:
        refuse_program(portal, req, &self->request, &error);
        break;
    }
    return false;
}

/* False: it is answered. Known at the form, too: a group may be gone since the page was opened. */
static bool may_use(struct visit *visit)
{
    const struct authorization *self = visit->detail;
    if (subject_may_use(visit->portal->parts.config, self->request.client, visit->identity))
        return true;
    tell(visit, "not_allowed", NULL);
    token_refuse_cluster(visit, self->request.client);
    return false;
}

static const char *default_name(const struct visit *visit)
{
    const struct authorization *self = visit->detail;
    char address[WEB_ADDRESS_SIZE];
    web_remote_address(visit->req, address);
    return text_format(&visit->req->pool, "%s login from %s", self->request.client->name, address);
}

/* ---- GET: the question ---- */

struct json *authorize_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                             const struct config *config, const struct identity *identity,
                             const struct authorize_asked *asked)
{
    struct authorize_field fields[AUTHORIZE_FIELDS];
    size_t count = authorize_fields(asked->request, fields);
    struct json *model = page_new(pool, frame, "Let a program use kubectl", asked->now_ms);
    struct json *array = json_add_array(pool, model, "fields");
    page_add_person(pool, model, identity);
    json_add_string(pool, model, "cluster", asked->request->client->name);
    json_add_string(pool, model, "port", asked->request->port);
    json_add_string(pool, model, "username", identity->username);
    json_add_string(pool, model, "session", asked->session_name);
    page_add_time(pool, model, "ends", asked->ends_ms, asked->now_ms);
    json_add_string(pool, model, "kubeconfig_idle",
                    words_duration(pool, config->portal.session_kubeconfig_idle_ms));
    for (size_t i = 0; i < count; i++) {
        struct json *field = json_push_object(pool, array);
        json_add_string(pool, field, "name", fields[i].name);
        json_add_string(pool, field, "value", text_dup_iovec(pool, fields[i].value));
    }
    return model;
}

/* Browsers hold form-action against the redirect that answers a form, too (D26), and its grammar has no IPv6 address. */
static const char *form_target(const struct authorize_request *request)
{
    return strchr(request->origin, '[') != NULL ? "http:" : request->origin;
}

static void ask(struct visit *visit)
{
    const struct authorization *self = visit->detail;
    const struct portal *portal = visit->portal;
    if (!may_use(visit))
        return;
    const struct authorize_asked asked = {.request = &self->request,
                                          .session_name = default_name(visit),
                                          .ends_ms = visit->login.ends_ms,
                                          .now_ms = visit->now_ms};
    page_send_with_form_to(visit->req, "authorize.html",
                           authorize_model(&visit->req->pool, &portal->frame, portal->parts.config,
                                           visit->identity, &asked),
                           form_target(&self->request));
}

static int begin(struct portal *portal, h2o_req_t *req, h2o_iovec_t encoded,
                 void (*ready)(struct visit *visit))
{
    struct authorization *self = h2o_mem_alloc_pool(&req->pool, sizeof(*self));
    if (!read_request(portal, req, encoded, self))
        return 0;
    return visit_start_at(portal, req, authorize_path(&req->pool, &self->request), ready, self);
}

int authorize_show(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)rest;
    return begin(ctx, req, web_query(req), ask);
}

/* ---- POST: the answer ---- */

static void on_grant(void *ctx, const struct session_grant *grant, const char *code,
                     const struct error *err)
{
    static const struct authorize_error failed = {"server_error", "the session can not be saved"};
    struct portal *portal;
    struct visit *visit = later_end(ctx, &portal);
    if (visit == NULL)
        return; /* nobody has the code: it dies in a minute */
    const struct authorization *self = visit->detail;
    if (grant != NULL) {
        tell(visit, NULL, grant);
        web_redirect(visit->req, authorize_code_url(&visit->req->pool, &self->request,
                                                    portal->parts.config->portal.issuer, code));
    } else if (err->kind == ERROR_REJECTED) {
        visit_offer_sign_in(portal, visit->req, 401, "You are not signed in any more.",
                            authorize_path(&visit->req->pool, &self->request));
    } else {
        log_error("no token", LOG_STR("reason", err->text),
                  LOG_STR("request_id", web_request_id(visit->req)));
        refuse_program(portal, visit->req, &self->request, &failed);
    }
}

static void allow(struct visit *visit)
{
    const struct authorization *self = visit->detail;
    h2o_iovec_t name = web_form_value(&self->form, "name");
    char address[WEB_ADDRESS_SIZE];
    if (!token_name_fits(name)) {
        trouble(visit->portal, visit->req, "That name does not fit",
                text_format(&visit->req->pool,
                            "A name has at most %d bytes, and no control characters. Go back and "
                            "choose another one.",
                            SESSION_NAME_SIZE - 1));
        return;
    }
    web_remote_address(visit->req, address);
    const struct session_grant_input input = {.login_id = visit->login.id,
                                              .cluster = self->request.client->name,
                                              .name =
                                                  name.len != 0 ? name.base : default_name(visit),
                                              .address = address,
                                              .code = &self->request.bound};
    sessions_add_grant(visit->portal->parts.sessions, web_loop(visit->req), &input, visit->now_ms,
                       on_grant, later_new(visit->portal, visit->req, visit));
}

static void decide(struct visit *visit)
{
    static const struct authorize_error denied = {"access_denied", "the person refused"};
    const struct authorization *self = visit->detail;
    h2o_iovec_t answer = web_form_value(&self->form, "answer");
    if (iovec_equal(answer, "refuse")) {
        tell(visit, "refused", NULL);
        refuse_program(visit->portal, visit->req, &self->request, &denied);
    } else if (!iovec_equal(answer, "allow")) {
        trouble(visit->portal, visit->req, "This can't be a form of ours",
                "It says neither yes nor no.");
    } else if (may_use(visit)) {
        allow(visit);
    }
}

int authorize_answer(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct portal *portal = ctx;
    (void)rest;
    if (!visit_from_us(portal, req))
        return 0;
    if (!web_content_type_is(req, "application/x-www-form-urlencoded")) {
        trouble(portal, req, "This can't be a form of ours", "The body must be a form.");
        return 0;
    }
    return begin(portal, req, req->entity, decide);
}
