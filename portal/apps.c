/* SPDX-License-Identifier: Apache-2.0
 *
 * The way into an app behind the proxy. Its host has no cookie of ours, so it sends the browser here with the public half of a
 * secret that stays there; who is signed in and may use the app is sent back with a ticket, which is sealed, short-lived
 * and of no use in a browser that has not that secret. No path of the app stands in any URL of ours. */
#include "apps.h"

#include "base/log.h"
#include "handlers.h"
#include "http/web.h"
#include "token/ticket.h"
#include "visit.h"

bool apps_may_use(const struct config *config, const struct config_app *app,
                  const struct identity *identity)
{
    const struct decide_gate gate = decide_gate_of(config, app);
    return decide_may_use(config, &gate, identity);
}

struct entering { /* in the request's pool */
    const struct config_app *app;
    const char *begin;
};

static const struct config_app *find_app(const struct config *config, h2o_iovec_t name)
{
    for (unsigned i = 0; i < config->proxy.app_count; i++)
        if (iovec_equal(name, config->proxy.apps[i].name))
            return &config->proxy.apps[i];
    return NULL;
}

/* ---- no ---- */

static void refuse_request(struct portal *portal, h2o_req_t *req)
{
    page_trouble(&portal->frame, req,
                 &(struct trouble){.status = 400,
                                   .title = "This is no way into an app",
                                   .what = "The address that led here is incomplete, or it was not "
                                           "opened as a page of its own.",
                                   .todo = "Open the app at its own address, or from the home "
                                           "page."});
}

static void audit_refusal(const struct visit *visit, const char *app)
{
    char address[WEB_ADDRESS_SIZE];
    web_remote_address(visit->req, address);
    log_audit("app_refused", LOG_STR("user", visit->identity->username),
              LOG_STR("uid", visit->login.uid), LOG_STR("login", visit->login.id),
              LOG_STR("app", app), LOG_STR("address", address),
              LOG_STR("request_id", web_request_id(visit->req)));
}

static void refuse_person(const struct visit *visit, const struct config_app *app)
{
    const struct identity *identity = visit->identity;
    const struct config *config = visit->portal->parts.config;
    const struct decide_gate gate = decide_gate_of(config, app);
    const struct config_strings *groups = decide_missing_groups(config, &gate, identity);
    h2o_mem_pool_t *pool = &visit->req->pool;
    struct trouble trouble = {
        .status = 403,
        .title = text_format(pool, "%s is not open to you", app->label),
        .what = "It is open to members of these Okta groups, and you are in none:",
        .groups = (const char *const *)groups->entries,
        .group_count = groups->count,
        .todo = "Ask your Okta administrator to add you to one of them. It takes about a minute "
                "until the change is seen here."};
    if (identity->username == NULL) {
        trouble.what = text_format(pool, "Your username is refused: %s.", identity->refusal);
        trouble.group_count = 0;
        trouble.todo = "Ask your Okta administrator to change that.";
    }
    audit_refusal(visit, app->name);
    page_trouble(&visit->portal->frame, visit->req, &trouble);
}

/* ---- yes ---- */

static void hand_over(struct visit *visit)
{
    const struct entering *self = visit->detail;
    const struct portal_parts *parts = &visit->portal->parts;
    h2o_req_t *req = visit->req;
    if (!apps_may_use(parts->config, self->app, visit->identity)) {
        refuse_person(visit, self->app);
        return;
    }
    const struct ticket ticket = {.login_id = visit->login.id,
                                  .app = self->app->name,
                                  .begin = self->begin,
                                  .made_ms = visit->now_ms};
    h2o_iovec_t sealed = ticket_seal(&req->pool, parts->seal_keys, &ticket);
    h2o_set_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("referrer-policy"), 1,
                          H2O_STRLIT("no-referrer"), 1);
    web_redirect(req, text_format(&req->pool, "%s/.postern/enter?ticket=%.*s", self->app->url,
                                  (int)sealed.len, sealed.base));
}

int app_enter(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct portal *portal = ctx;
    struct web_form query = {NULL, 0};
    struct entering *self = h2o_mem_alloc_pool(&req->pool, sizeof(*self));
    (void)rest;
    bool good = web_is_top_level(req) && web_form_parse(&req->pool, web_query(req), &query, NULL);
    h2o_iovec_t begin = web_form_value(&query, "begin");
    const struct config_app *app =
        good ? find_app(portal->parts.config, web_form_value(&query, "app")) : NULL;
    if (app == NULL || begin.base == NULL || !ticket_is_begin(begin)) {
        refuse_request(portal, req);
        return 0;
    }
    *self = (struct entering){app, text_dup_iovec(&req->pool, begin)};
    return visit_start_at(
        portal, req, text_format(&req->pool, "/apps/enter?app=%s&begin=%s", app->name, self->begin),
        hand_over, self);
}
