/* SPDX-License-Identifier: Apache-2.0
 *
 * See app.h. Order: the request's form, the gate (who is it, may they, is it of the app's own origin), what is closed, the
 * token, the head that goes on. What a browser says of who somebody is never goes on; if we can't say it, nothing is sent. */
#include "app.h"

#include "api_tally.h"
#include "app_cache.h"
#include "app_kinds.h"
#include "base/clock.h"
#include "base/log.h"
#include "bearer.h"
#include "http/web.h"
#include "plain.h"
#include "stream.h"
#include "target.h"

#define HEAD_MS INT64_C(120000) /* a long query of a dashboard */
#define IDLE_MS INT64_C(300000) /* between two pieces of an answer */

struct app {
    struct app_parts parts;
    struct upstream *upstreams[APP_PARTS]; /* NULL: it has no such part, or no files for it */
    struct api_tally tally;
};

struct exchange { /* in the request's pool */
    struct app *app;
    h2o_req_t *req;
    struct header_list headers;
    const struct verdict *verdict; /* NULL: the gate let nobody in */
    bool counted;
};

static const struct config_app *config_of(const struct exchange *self)
{
    return self->app->parts.app;
}

/* ---- making it ---- */

static const char *target_name(h2o_mem_pool_t *pool, const struct config_app *app,
                               enum app_part part)
{
    static const char *const parts[] = {[APP_WEB] = "", [APP_API] = "/api", [APP_AUTH] = "/auth"};
    return text_format(pool, "app/%s%s", app->name, parts[part]); /* no cluster's name has a '/' */
}

static bool make_upstream(h2o_mem_pool_t *pool, const struct config_app *app, enum app_part part,
                          struct metrics *metrics, struct upstream **out, struct error *err)
{
    const struct upstream_options options = {.name = target_name(pool, app, part),
                                             .url = app_upstream(app, part),
                                             .certificate_authority_file =
                                                 app->certificate_authority_file,
                                             .metrics = metrics};
    *out = NULL;
    return options.url == NULL || upstream_new(&options, out, err);
}

struct app *app_new(const struct app_parts *parts)
{
    struct error err;
    h2o_mem_pool_t pool;
    struct app *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct app){.parts = *parts};
    h2o_mem_init_pool(&pool);
    for (enum app_part i = 0; i < APP_PARTS; i++)
        if (!make_upstream(&pool, parts->app, i, parts->metrics, &self->upstreams[i], &err)) {
            log_error("this app can't be reached", LOG_STR("app", parts->app->name),
                      LOG_STR("reason", err.text));
            self->upstreams[i] = NULL;
        }
    api_tally_init(&self->tally, target_name(&pool, parts->app, APP_WEB), parts->metrics);
    streams_count_app(parts->streams, parts->app->name, parts->metrics);
    h2o_mem_clear_pool(&pool);
    return self;
}

void app_free(struct app *self)
{
    if (self == NULL)
        return;
    for (enum app_part i = 0; i < APP_PARTS; i++)
        upstream_free(self->upstreams[i]);
    free(self);
}

void app_check_config(const struct config *config, unsigned app, struct config_problems *problems)
{
    char key[64];
    struct error err;
    h2o_mem_pool_t pool;
    struct upstream *upstream;
    struct metrics *metrics = metrics_new();
    h2o_mem_init_pool(&pool);
    snprintf(key, sizeof(key), "proxy.apps[%u].certificate_authority_file", app);
    for (enum app_part i = 0; i < APP_PARTS; i++) {
        if (make_upstream(&pool, &config->proxy.apps[app], i, metrics, &upstream, &err)) {
            upstream_free(upstream);
            continue;
        }
        config_complain(problems, config, key, "%s", err.text);
        break; /* it is one file for all parts */
    }
    h2o_mem_clear_pool(&pool);
    metrics_free(metrics);
}

/* ---- what is counted and told ---- */

static void count(struct exchange *self, enum api_result result)
{
    if (!self->counted)
        counter_add(self->app->tally.requests[result], 1);
    self->counted = true;
}

/* What the gate answered. A client that left before that is nobody's. */
static void on_dispose(void *ctx)
{
    struct exchange *self = ctx;
    int status = self->req->res.status;
    if (status == 403)
        count(self, API_FORBIDDEN);
    else if (status >= 500)
        count(self, API_UNSURE);
    else if (status == 303 || status == 401)
        count(self, API_UNAUTHORIZED);
}

static void audit_upgrade(const struct exchange *self)
{
    h2o_req_t *req = self->req;
    const struct session_grant *session = &self->verdict->session;
    log_audit("app_upgrade", LOG_STR("app", config_of(self)->name),
              LOG_STR("user", self->verdict->identity->username), LOG_STR("uid", session->uid),
              LOG_STR("session", session->id), LOG_STR("cluster", config_of(self)->cluster),
              LOG_STR("path", text_dup_iovec(&req->pool, web_path(req))),
              LOG_STR("request_id", web_request_id(req)));
}

/* ---- refusals ---- */

/* Two readers could see two requests in it: what comes behind on this connection can't be trusted. */
static void refuse_form(struct exchange *self, const struct error *err)
{
    self->req->http1_is_persistent = 0;
    count(self, API_MALFORMED);
    gate_refuse(self->app->parts.gate, self->req, config_of(self),
                &(struct gate_trouble){.status = 400,
                                       .title = "This request is malformed",
                                       .what = text_dup(&self->req->pool, err->text)});
}

static void refuse_closed(struct exchange *self)
{
    count(self, API_FORBIDDEN);
    gate_refuse(
        self->app->parts.gate, self->req, config_of(self),
        &(struct gate_trouble){.status = 403,
                               .title = "This address of the app is closed",
                               .what = "You are signed in already; a token of your own, or another "
                                       "sign-in, has no place here.",
                               .todo = "Open the app again.",
                               .action = "Open the app"});
}

/* err: why it gets no token; NULL: it can't be asked at all. */
static void refuse_unsure(struct exchange *self, const struct error *err)
{
    bool is_size = err != NULL && err->kind == ERROR_REJECTED;
    const char *reason =
        err != NULL ? text_dup(&self->req->pool, err->text) : "no upstream, or no name to tell it";
    log_error("an app can't be asked", LOG_STR("app", config_of(self)->name),
              LOG_STR("reason", reason), LOG_STR("request_id", web_request_id(self->req)));
    count(self, API_UNSURE);
    gate_refuse(
        self->app->parts.gate, self->req, config_of(self),
        &(struct gate_trouble){
            .status = 502,
            .title = "The app can't be told who you are",
            .what = is_size ? reason : "Something between Postern and this app is not right.",
            .todo = "Give whoever runs Postern the request number."});
}

static void on_failure(void *ctx, h2o_req_t *req, enum proxy_failure failure)
{
    const struct exchange *self = ctx;
    struct gate_trouble trouble = {.status = proxy_failure_status(failure),
                                   .title = "The app does not answer",
                                   .what = proxy_failure_text(failure),
                                   .action = "Open the app",
                                   .may_repeat = true};
    if (failure == PROXY_CUT && atomic_load(self->app->parts.stopping)) {
        trouble.status = 503;
        trouble.title = "Postern is being restarted";
        trouble.what = "Try again in a moment.";
    } else if (failure == PROXY_CUT) {
        trouble.title = "Your session has ended";
    }
    gate_refuse(self->app->parts.gate, req, config_of(self), &trouble);
}

/* ---- going on ---- */

static bool make_token(void *ctx, struct issued_token *out, struct error *err)
{
    struct exchange *self = ctx;
    const struct app_parts *parts = &self->app->parts;
    const struct issue_order order = {.cluster = config_app_cluster(parts->config, parts->app),
                                      .grant = &self->verdict->session,
                                      .identity = self->verdict->identity};
    return issue_token(parts->issue, self->req, &order, out, err);
}

/* In OIDC mode a token tells what was learned of the person, so it is as old as that. */
static bool get_token(struct exchange *self, h2o_iovec_t *out, struct error *err)
{
    const struct app_parts *parts = &self->app->parts;
    const struct config_cluster *cluster = config_app_cluster(parts->config, parts->app);
    *out = (h2o_iovec_t){NULL, 0};
    if (!app_wants_token(parts->app))
        return true;
    bool tells = cluster->authentication == AUTHENTICATION_OIDC;
    const struct app_token_ask ask = {.grant_id = self->verdict->session.id,
                                      .facts_ms =
                                          tells ? self->verdict->identity->learned_wall_ms : 0,
                                      .now_ms = clock_wall_ms(),
                                      .make = make_token,
                                      .ctx = self};
    return app_tokens_get(parts->tokens, &self->req->pool, &ask, out, err);
}

static void on_response_head(void *ctx, h2o_req_t *req)
{
    struct exchange *self = ctx;
    /* Whoever judges it may have forgotten its key, or not know it yet: the next one is new. */
    if (req->res.status == 401 && app_wants_token(config_of(self)))
        app_tokens_forget(self->app->parts.tokens, self->verdict->session.id, clock_wall_ms());
    if (req->res.status != 101)
        app_cache_private(req);
}

static bool may_be_silent(h2o_req_t *req)
{
    static const char type[] = "text/event-stream";
    h2o_iovec_t accept = web_header(req, "accept"), query = web_query(req);
    return req->upgrade.base != NULL ||
           (accept.base != NULL && memmem(accept.base, accept.len, type, sizeof(type) - 1)) ||
           (query.base != NULL && (memmem(query.base, query.len, "watch=", 6) != NULL ||
                                   memmem(query.base, query.len, "follow=", 7) != NULL));
}

static void forward(struct exchange *self, struct upstream *upstream)
{
    h2o_req_t *req = self->req;
    const struct app_parts *parts = &self->app->parts;
    const struct session_grant *session = &self->verdict->session;
    const struct stream_owner owner = {.login_id = session->login_id,
                                       .grant_id = session->id,
                                       .uid = session->uid,
                                       .cluster = parts->app->cluster,
                                       .app = parts->app->name};
    count(self, API_PASSED);
    if (req->upgrade.base != NULL)
        audit_upgrade(self);
    proxy_forward(req,
                  &(struct proxy_request){.upstream = upstream,
                                          .streams = streams_here(parts->streams, web_loop(req)),
                                          .owner = &owner,
                                          .method = req->input.method,
                                          .path = req->input.path,
                                          .host = req->input.authority,
                                          .headers = self->headers.entries,
                                          .header_count = self->headers.count,
                                          .upgrade = req->upgrade.base != NULL,
                                          .head_ms = HEAD_MS,
                                          .idle_ms = may_be_silent(req) ? 0 : IDLE_MS,
                                          .on_response_head = on_response_head,
                                          .on_failure = on_failure,
                                          .ctx = self});
}

static void on_ready(void *ctx, const struct verdict *verdict)
{
    struct error err;
    struct exchange *self = ctx;
    h2o_req_t *req = self->req;
    const struct config_app *app = config_of(self);
    struct upstream *upstream = self->app->upstreams[app_part_of(app, req->input.path)];
    struct app_person person = {.identity = verdict->identity};
    self->verdict = verdict;
    if (app_is_closed(&req->pool, app, req->input.path)) {
        refuse_closed(self);
        return;
    }
    if (!get_token(self, &person.token, &err)) {
        refuse_unsure(self, &err);
        return;
    }
    bearer_drop(&self->headers);
    headers_add_forwarded(req, &self->headers);
    if (upstream == NULL || !app_add_person(app, &person, &self->headers))
        refuse_unsure(self, NULL);
    else
        forward(self, upstream);
}

void app_serve(struct app *self, h2o_req_t *req)
{
    struct error err;
    struct exchange *exchange = h2o_mem_alloc_shared(&req->pool, sizeof(*exchange), on_dispose);
    *exchange = (struct exchange){.app = self, .req = req};
    header_list_init(&exchange->headers, &req->pool);
    if (!target_check(req->input.path, &err) ||
        !headers_forward(req, app_rules(self->parts.app), &exchange->headers, &err))
        refuse_form(exchange, &err);
    else
        gate_serve(self->parts.gate, req, self->parts.app, on_ready, exchange);
}
