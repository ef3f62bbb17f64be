/* SPDX-License-Identifier: Apache-2.0
 *
 * From cookie to person. The session is judged first (sessions know their limits), then the identity, which
 * is nearly always known already; where it is not, the answer waits for the one question that is asked. */
#include "visit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "http/web.h"
#include "words.h"

/* ---- not signed in ---- */

struct json *visit_sign_in_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                                 const struct okta_status *okta, const char *notice,
                                 const char *return_to)
{
    struct text login;
    struct json *model = page_new(pool, frame, "Sign in", clock_wall_ms());
    text_init(&login, pool);
    text_add_string(&login, "/login");
    if (return_to != NULL && strcmp(return_to, "/") != 0) {
        text_add_string(&login, "?return_to=");
        web_url_encode(&login, iovec_of(return_to));
    }
    json_add_bool(pool, model, "gate", true);
    json_add_string(pool, model, "login", login.bytes);
    json_add_string(pool, model, "okta_host", okta->host);
    json_add_string(pool, model, "notice", notice);
    /* Before the first try has ended there is nothing to tell yet. */
    json_add_bool(pool, model, "okta_trouble", !okta->discovered && okta->error[0] != '\0');
    return model;
}

void visit_offer_sign_in(struct portal *portal, h2o_req_t *req, int status, const char *notice,
                         const char *return_to)
{
    struct okta_status okta;
    if (web_wants_json(req)) {
        web_problem(req, 401, "Not signed in", notice != NULL ? notice : "Sign in first.");
        return;
    }
    okta_status(portal->parts.okta, &okta);
    page_send(req, status, "sign_in.html",
              visit_sign_in_model(&req->pool, &portal->frame, &okta, notice, return_to));
}

static const char *notice_of(const struct portal *portal, h2o_req_t *req, enum session_state state)
{
    const struct config *config = portal->parts.config;
    switch (state) {
    case SESSION_IDLE:
        return text_format(&req->pool, "You were signed out after %s without use.",
                           words_duration(&req->pool, config->portal.session_idle_ms));
    case SESSION_OVER:
        return text_format(&req->pool, "Your sign-in has ended, as each does after %s.",
                           words_duration(&req->pool, config->portal.session_lifetime_ms));
    case SESSION_UNKNOWN:
        return "You are not signed in any more.";
    case SESSION_LIVE:
        break;
    }
    return NULL;
}

/* Only a page that a GET shows is worth coming back to. */
static const char *return_path(const struct visit *self)
{
    h2o_req_t *req = self->req;
    if (self->return_to != NULL)
        return web_return_to(&req->pool, iovec_of(self->return_to));
    if (!web_method_is(req, "GET"))
        return NULL;
    return web_return_to(&req->pool, web_path(req));
}

static void turn_away(struct visit *self, const char *notice)
{
    bool at_home = iovec_equal(web_path(self->req), "/");
    visit_offer_sign_in(self->portal, self->req, at_home ? 200 : 401, notice, return_path(self));
}

/* ---- who it is ---- */

static void on_dispose(void *data)
{
    struct visit *self = data;
    if (self->wait != NULL)
        identities_cancel(self->wait);
    identity_unref(self->identity);
}

static void okta_failed(struct visit *self, const struct error *err)
{
    log_warn("identity not to be had", LOG_STR("uid", self->login.uid),
             LOG_STR("reason", err->text), LOG_STR("request_id", web_request_id(self->req)));
    page_trouble(
        &self->portal->frame, self->req,
        &(struct trouble){
            .status = 503,
            .title = "Okta did not answer",
            .what = "You are signed in, but Postern does not know your groups any more and "
                    "could not ask Okta for them.",
            .todo = "Try again in a moment. If it stays like this, give whoever runs Postern "
                    "the request number below.",
            .action = "Try again",
            .href = return_path(self) != NULL ? return_path(self) : "/",
        });
}

static void on_identity(void *ctx, const struct identity *identity, const struct error *err)
{
    struct visit *self = ctx;
    self->wait = NULL;
    if (identity != NULL) {
        self->identity = identity_ref(identity);
        self->ready(self);
    } else if (err->kind == ERROR_REJECTED) {
        turn_away(self, "Okta has ended your sign-in.");
    } else {
        okta_failed(self, err);
    }
}

static int start(struct portal *portal, h2o_req_t *req, const struct visit *template, bool anew)
{
    struct visit *self = h2o_mem_alloc_shared(&req->pool, sizeof(*self), on_dispose);
    *self = *template;
    self->portal = portal;
    self->req = req;
    self->now_ms = clock_wall_ms();
    h2o_iovec_t cookie = web_cookie(req, SESSION_COOKIE);
    enum session_state state = SESSION_UNKNOWN;
    if (cookie.base != NULL)
        state = sessions_find_login(portal->parts.sessions, cookie, self->now_ms, &self->login);
    if (state != SESSION_LIVE) {
        turn_away(self, cookie.base != NULL ? notice_of(portal, req, state) : NULL);
        return 0;
    }
    int64_t now_mono_ms = clock_mono_ms();
    struct identities *identities = portal->parts.identities;
    if (anew)
        identities_mark_due(identities, self->login.uid);
    self->identity = identities_peek(identities, self->login.uid, now_mono_ms);
    if (self->identity != NULL)
        self->ready(self);
    else
        self->wait = identities_wait(identities, web_loop(req), self->login.uid, now_mono_ms,
                                     on_identity, self);
    return 0;
}

int visit_start(struct portal *portal, h2o_req_t *req, void (*ready)(struct visit *self),
                void *detail)
{
    return start(portal, req, &(struct visit){.ready = ready, .detail = detail}, false);
}

int visit_start_at(struct portal *portal, h2o_req_t *req, const char *return_to,
                   void (*ready)(struct visit *self), void *detail)
{
    const struct visit visit = {.ready = ready, .detail = detail, .return_to = return_to};
    return start(portal, req, &visit, false);
}

int visit_start_anew(struct portal *portal, h2o_req_t *req, void (*ready)(struct visit *self),
                     void *detail)
{
    return start(portal, req, &(struct visit){.ready = ready, .detail = detail}, true);
}

bool visit_is_admin(const struct visit *self)
{
    const struct config_strings *groups = &self->portal->parts.config->portal.admin_groups;
    return groups->count > 0 && subject_in_any(groups, self->identity);
}

/* ---- forms and pages ---- */

bool visit_form(struct visit *self, struct web_form *out)
{
    struct error err = {.kind = ERROR_NONE};
    *out = (struct web_form){NULL, 0};
    if (self->req->entity.len == 0)
        return true;
    if (!web_content_type_is(self->req, "application/x-www-form-urlencoded"))
        error_set(&err, ERROR_BAD_INPUT, "The body must be a form.");
    else if (web_form_parse(&self->req->pool, self->req->entity, out, &err))
        return true;
    page_trouble(&self->portal->frame, self->req,
                 &(struct trouble){.status = 400,
                                   .title = "This can't be a form of ours",
                                   .what = err.text,
                                   .todo = "Begin at the home page."});
    return false;
}

void visit_send(const struct visit *self, const char *template_name, struct json *model)
{
    h2o_mem_pool_t *pool = &self->req->pool;
    struct json *stays = json_add_object(pool, model, "stays");
    page_add_time(pool, stays, "idle", self->login.idle_ends_ms, self->now_ms);
    page_add_time(pool, stays, "end", self->login.ends_ms, self->now_ms);
    page_send(self->req, 200, template_name, model);
}

/* ---- about the request ---- */

bool visit_from_us(struct portal *portal, h2o_req_t *req)
{
    if (web_same_origin(req, portal->parts.config->portal.url))
        return true;
    page_trouble(&portal->frame, req,
                 &(struct trouble){
                     .status = 403,
                     .title = "This request came from elsewhere",
                     .what = "Only this portal's own pages may ask for that, and your browser says "
                             "that another page did.",
                     .todo = "Open the home page and do it from there.",
                 });
    return false;
}
