/* SPDX-License-Identifier: Apache-2.0
 *
 * The hand-over. Cookies of the portal's host don't come to the app's, so a browser without a session here is sent there
 * with the hash of a secret that stays in a cookie of the app's host, and comes back with a ticket that names the hash. So
 * a ticket counts only in the browser that asked for it (nobody can be signed in as somebody else by a link), once, and
 * within a minute. */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "gate_cookie.h"
#include "gate_private.h"
#include "http/web.h"
#include "token/ticket.h"

#define MOST_RETURN_PATH 1024 /* bytes, so that eight begin cookies fit into what is read of them */

/* ---- away ---- */

/* In a frame the portal would show nothing. */
static bool is_top_level(h2o_req_t *req)
{
    return web_is_navigation(req) && web_is_top_level(req);
}

static void refuse_stranger(struct gate *self, h2o_req_t *req, const struct config_app *app)
{
    bool is_read = web_method_is(req, "GET") || web_method_is(req, "HEAD");
    const char *label = app->label;
    struct gate_trouble trouble = {
        .status = 401,
        .title = "You are not signed in any more",
        .what = text_format(&req->pool, "So what you sent was not passed on to %s.", label),
        .todo =
            "Sign in again in another tab, then come back to this one, go back, and send it again.",
        .action = "Sign in",
        .in_new_tab = true};
    if (is_read)
        trouble.what = text_format(&req->pool, "%s is shown to people who are signed in.", label),
        trouble.todo = "Open the app in a tab of its own to sign in.";
    gate_refuse(self, req, app, &trouble);
}

/* A local path of this very host, as target_check has passed it; whatever the app may mean by it. */
static const char *return_path(h2o_req_t *req, const struct config_app *app)
{
    if (req->input.path.len > MOST_RETURN_PATH)
        return text_format(&req->pool, "%s/", gate_path(app));
    return text_dup_iovec(&req->pool, req->input.path);
}

void gate_begin(struct gate *self, h2o_req_t *req, const struct config_app *app)
{
    const struct gate_cookies cookies = {req, self->parts.seal_keys, app};
    bool is_read = web_method_is(req, "GET") || web_method_is(req, "HEAD");
    gate_session_drop(&cookies);
    if (!is_read || !is_top_level(req)) {
        refuse_stranger(self, req, app);
        return;
    }
    const char *begin = gate_begin_give(&cookies, return_path(req, app), clock_wall_ms());
    web_add_header(req, "referrer-policy", "no-referrer");
    web_redirect(req, text_format(&req->pool, "%s/apps/enter?app=%s&begin=%s",
                                  self->parts.decider->config->portal.url, app->name, begin));
}

/* ---- back ---- */

/* A write to the sessions can't be called off: this lives until it comes back, with or without its request. */
struct entry {
    struct gate *gate;
    const struct config_app *app;
    h2o_req_t *req; /* NULL: the client left */
    struct entry_half *half;
    const char *return_to; /* in the request's pool */
};
struct entry_half { /* in the request's pool */
    struct entry *entry;
};

static void on_request_gone(void *data)
{
    struct entry_half *half = data;
    if (half->entry != NULL)
        half->entry->req = NULL;
}

/* Goes on to a page elsewhere: a script of the app could read this address in a window that it opened, and the ticket in
 * it may be one that its sender fetched for a begin of their own. */
static void refuse_ticket(h2o_req_t *req, const struct config_app *app)
{
    web_add_header(req, "referrer-policy", "no-referrer");
    web_redirect(req, text_format(&req->pool, "%s/.postern/refused", gate_path(app)));
}

static void show_refusal(struct gate *self, h2o_req_t *req, const struct config_app *app)
{
    gate_refuse(self, req, app,
                &(struct gate_trouble){
                    .status = 400,
                    .title = "This way in has been used or took too long",
                    .what =
                        "The link that you followed works once, for a minute, and in the browser "
                        "that asked for it.",
                    .todo = "Open the app again. If you come back to this page each time, see that "
                            "your browser accepts cookies.",
                    .action = "Open the app",
                });
}

static void let_in(h2o_req_t *req, const char *return_to)
{
    web_add_header(req, "referrer-policy", "no-referrer");
    web_redirect(req, return_to);
}

static void refuse_entry(const struct entry *self, const struct error *err)
{
    struct gate_trouble trouble = {.status = 401,
                                   .title = "You are not signed in any more",
                                   .what = "Your sign-in ended while you were on your way here.",
                                   .todo = "Open the app again to sign in.",
                                   .action = "Open the app"};
    if (err->kind != ERROR_REJECTED) {
        log_error("a session of an app could not be kept", LOG_STR("app", self->app->name),
                  LOG_STR("reason", err->text), LOG_STR("request_id", web_request_id(self->req)));
        trouble.status = 503;
        trouble.title = "You could not be let in";
        trouble.what = "Postern could not write down that you are here.";
        trouble.todo =
            "Try again in a moment. If it stays like this, give whoever runs Postern the "
            "request number below.";
        trouble.action = "Try again";
    }
    gate_refuse(self->gate, self->req, self->app, &trouble);
}

static void welcome(const struct entry *self, const struct session_grant *grant)
{
    const struct gate_cookies cookies = {self->req, self->gate->parts.seal_keys, self->app};
    log_audit("app_entered", LOG_STR("uid", grant->uid), LOG_STR("login", grant->login_id),
              LOG_STR("session", grant->id), LOG_STR("app", grant->app),
              LOG_STR("cluster", grant->cluster[0] != '\0' ? grant->cluster : NULL),
              LOG_STR("address", grant->address), LOG_STR("request_id", web_request_id(self->req)));
    gate_session_give(&cookies, grant->id);
    let_in(self->req, self->return_to);
}

static void on_grant(void *ctx, const struct session_grant *grant, const char *credential,
                     const struct error *err)
{
    struct entry *self = ctx;
    (void)credential; /* an app's session has none */
    if (self->req !=
        NULL) { /* else nobody has the cookie, and the session dies of its idle limit */
        self->half->entry = NULL;
        if (grant != NULL)
            welcome(self, grant);
        else
            refuse_entry(self, err);
    }
    free(self);
}

static void add_session(struct gate *self, const struct gate_cookies *cookies, const char *login_id,
                        const char *return_to)
{
    const struct decider *decider = self->parts.decider;
    h2o_req_t *req = cookies->req;
    char address[WEB_ADDRESS_SIZE];
    struct entry *entry = h2o_mem_alloc(sizeof(*entry));
    struct entry_half *half = h2o_mem_alloc_shared(&req->pool, sizeof(*half), on_request_gone);
    half->entry = entry;
    *entry = (struct entry){self, cookies->app, req, half, return_to};
    web_remote_address(req, address);
    const struct session_grant_input input = {
        .login_id = login_id,
        .cluster = cookies->app->cluster != NULL ? cookies->app->cluster : "",
        .name = cookies->app->label,
        .address = address,
        .app = cookies->app->name};
    sessions_add_grant(decider->sessions, web_loop(req), &input, clock_wall_ms(), on_grant, entry);
}

/* The browser is in already, by the same sign-in: two tabs were opened at once. */
static bool is_in(struct gate *self, const struct gate_cookies *cookies, const char *login_id)
{
    const struct decider *decider = self->parts.decider;
    const struct decide_gate gate = decide_gate_of(decider->config, cookies->app);
    struct session_grant grant;
    char id[SESSION_ID_SIZE];
    return gate_session_find(cookies, id) &&
           sessions_use_grant(decider->sessions, id, clock_wall_ms(), &grant) == SESSION_LIVE &&
           decide_is_for(&gate, &grant) && strcmp(grant.login_id, login_id) == 0;
}

/* Spent before the browser is looked at: what was seen anywhere opens nothing afterwards. */
static bool spend_ticket(struct gate *self, const struct gate_cookies *cookies, int64_t now_ms,
                         struct ticket *out)
{
    h2o_mem_pool_t *pool = &cookies->req->pool;
    struct web_form query;
    if (!web_form_parse(pool, web_query(cookies->req), &query, NULL))
        return false;
    h2o_iovec_t text = web_form_value(&query, "ticket");
    return text.base != NULL &&
           ticket_open(pool, self->parts.seal_keys, text, cookies->app->name, now_ms, out) &&
           used_attempts_add(self->parts.used, text, out->made_ms);
}

static void enter(struct gate *self, h2o_req_t *req, const struct config_app *app)
{
    const struct gate_cookies cookies = {req, self->parts.seal_keys, app};
    int64_t now_ms = clock_wall_ms();
    struct ticket ticket;
    const char *return_to;
    if (!spend_ticket(self, &cookies, now_ms, &ticket) ||
        !gate_begin_take(&cookies, ticket.begin, now_ms, &return_to))
        refuse_ticket(req, app);
    else if (is_in(self, &cookies, ticket.login_id))
        let_in(req, return_to);
    else
        add_session(self, &cookies, ticket.login_id, return_to);
}

/* ---- our corner ---- */

static bool is_ours(h2o_req_t *req, const struct config_app *app, const char *name)
{
    h2o_iovec_t path = req->input.path;
    const char *query = memchr(path.base, '?', path.len);
    if (query != NULL)
        path.len = (size_t)(query - path.base);
    return web_method_is(req, "GET") &&
           iovec_equal(path, text_format(&req->pool, "%s/.postern/%s", gate_path(app), name));
}

void gate_own(struct gate *self, h2o_req_t *req, const struct config_app *app)
{
    if (is_ours(req, app, "enter") && is_top_level(req))
        enter(self, req, app);
    else if (is_ours(req, app, "refused"))
        show_refusal(self, req, app);
    else if (is_ours(req, app, "style.css"))
        gate_send_style(req);
    else
        gate_refuse(self, req, app,
                    &(struct gate_trouble){.status = 404,
                                           .title = "Nothing is here",
                                           .what = "This part of the address is Postern's own.",
                                           .todo = "Open the app from its beginning.",
                                           .action = "Open the app"});
}
