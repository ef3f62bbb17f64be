/* SPDX-License-Identifier: Apache-2.0
 *
 * See proxy.h. What stands behind the proxy is told apart by Host, compared whole; apps that share one, by the path below
 * which they live. An API server shares its host with nobody. */
#include "proxy/proxy.h"

#include <stdatomic.h>

#include "api.h"
#include "app.h"
#include "app_kinds.h"
#include "base/clock.h"
#include "base/log.h"
#include "cache/used.h"
#include "gate.h"
#include "http/web.h"
#include "streams.h"
#include "waits.h"

#define REMEMBER_TICKETS 65536 /* of the last minute */
#define STOP_AFTER_MS    2000  /* for what is about to end by itself */

/* What outlives a reload. */
struct hub {
    struct streams_hub *streams;
    struct used_attempts *used_tickets;
    struct waits waits;
    struct proxy *_Atomic current; /* whose rules count */
    atomic_bool stopping;
    _Atomic int64_t cut_at_ms; /* monotonic, once it is stopping */
};

struct proxy {
    struct proxy_parts parts;
    struct hub *hub;
    bool owns_hub;
    struct api **apis; /* as config->clusters; NULL: that one has none */
    struct app **apps; /* as config->proxy.apps */
    struct gate *gate;
    struct issue issue;
    struct app_tokens *tokens; /* NULL: no apps */
};

/* ---- who may stay ---- */

static const struct config_cluster *find_cluster(const struct config *config, const char *name)
{
    for (unsigned i = 0; i < config->cluster_count; i++)
        if (strcmp(config->clusters[i].name, name) == 0 && config->clusters[i].api.url != NULL)
            return &config->clusters[i];
    return NULL;
}

static const struct config_app *find_app(const struct config *config, const char *name)
{
    for (unsigned i = 0; i < config->proxy.app_count; i++)
        if (strcmp(config->proxy.apps[i].name, name) == 0)
            return &config->proxy.apps[i];
    return NULL;
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* False: what it belongs to is in the config no more, or is something else now. */
static bool gate_of(const struct config *config, const struct stream_owner *owner,
                    struct decide_gate *out)
{
    if (owner->app == NULL) {
        *out = (struct decide_gate){.cluster = find_cluster(config, owner->cluster)};
        return out->cluster != NULL;
    }
    const struct config_app *app = find_app(config, owner->app);
    if (app == NULL)
        return false;
    *out = decide_gate_of(config, app);
    return same_text(app->cluster, owner->cluster); /* else it moved to another cluster */
}

static bool may_stay(void *ctx, const struct stream_owner *owner)
{
    struct hub *hub = ctx;
    const struct proxy *proxy = atomic_load(&hub->current);
    const struct decider *decider = &proxy->parts.decider;
    struct decide_gate gate;
    enum reason reason = REASON_NOT_ALLOWED;
    if (atomic_load(&hub->stopping) && clock_mono_ms() >= atomic_load(&hub->cut_at_ms))
        return false;
    if (gate_of(decider->config, owner, &gate))
        reason = decide_still(decider, &gate, owner->grant_id, owner->uid);
    if (reason == REASON_OK)
        return true;
    log_audit("stream_cut", LOG_STR("cluster", owner->cluster), LOG_STR("app", owner->app),
              LOG_STR("session", owner->grant_id), LOG_STR("uid", owner->uid),
              LOG_STR("reason", reason_name(reason)));
    return false;
}

/* ---- making it ---- */

static void make_apps(struct proxy *self)
{
    const struct proxy_parts *parts = &self->parts;
    const struct config *config = parts->decider.config;
    self->gate = gate_new(&(struct gate_parts){&parts->decider, parts->seal_keys,
                                               self->hub->used_tickets, &self->hub->waits});
    issue_init(&self->issue, config, parts->keys, parts->metrics);
    if (config->proxy.app_count != 0)
        self->tokens = app_tokens_new();
    self->apps = h2o_mem_alloc((config->proxy.app_count + 1) * sizeof(*self->apps));
    for (unsigned i = 0; i < config->proxy.app_count; i++)
        self->apps[i] = app_new(&(struct app_parts){.config = config,
                                                    .app = &config->proxy.apps[i],
                                                    .gate = self->gate,
                                                    .issue = &self->issue,
                                                    .tokens = self->tokens,
                                                    .streams = self->hub->streams,
                                                    .metrics = parts->metrics,
                                                    .stopping = &self->hub->stopping});
}

static struct proxy *make(const struct proxy_parts *parts, struct hub *hub)
{
    const struct config *config = parts->decider.config;
    struct proxy *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct proxy){.parts = *parts, .hub = hub};
    self->apis = h2o_mem_alloc((config->cluster_count + 1) * sizeof(*self->apis));
    for (unsigned i = 0; i < config->cluster_count; i++) {
        const struct api_parts api = {.decider = &self->parts.decider,
                                      .cluster = &config->clusters[i],
                                      .fetcher = parts->fetcher,
                                      .streams = hub->streams,
                                      .waits = &hub->waits,
                                      .metrics = parts->metrics,
                                      .stopping = &hub->stopping};
        self->apis[i] = config->clusters[i].api.url != NULL ? api_new(&api) : NULL;
    }
    make_apps(self);
    return self;
}

struct proxy *proxy_new(const struct proxy_parts *parts)
{
    struct hub *hub = h2o_mem_alloc(sizeof(*hub));
    *hub = (struct hub){.used_tickets = used_attempts_new(REMEMBER_TICKETS)};
    hub->streams = streams_hub_new(may_stay, hub, parts->metrics);
    waits_init(&hub->waits, parts->metrics);
    struct proxy *self = make(parts, hub);
    self->owns_hub = true;
    atomic_store(&hub->current, self);
    return self;
}

struct proxy *proxy_renew(const struct proxy *former, const struct proxy_parts *parts)
{
    return make(parts, former->hub);
}

void proxy_free(struct proxy *self)
{
    if (self == NULL)
        return;
    for (unsigned i = 0; i < self->parts.decider.config->cluster_count; i++)
        api_free(self->apis[i]);
    free(self->apis);
    for (unsigned i = 0; i < self->parts.decider.config->proxy.app_count; i++)
        app_free(self->apps[i]);
    free(self->apps);
    app_tokens_free(self->tokens);
    issue_dispose(&self->issue);
    gate_free(self->gate);
    if (self->owns_hub) {
        streams_hub_free(self->hub->streams);
        used_attempts_free(self->hub->used_tickets);
        free(self->hub);
    }
    free(self);
}

void proxy_reload_files(struct proxy *self)
{
    for (unsigned i = 0; i < self->parts.decider.config->cluster_count; i++)
        if (self->apis[i] != NULL)
            api_reload_files(self->apis[i]);
}

struct streams_hub *proxy_streams(const struct proxy *self)
{
    return self->hub->streams;
}

void proxy_limit_waiting(struct proxy *self, unsigned most)
{
    self->hub->waits.most = most;
}

void proxy_stop(struct proxy *self)
{
    atomic_store(&self->hub->cut_at_ms, clock_mono_ms() + STOP_AFTER_MS);
    atomic_store(&self->hub->stopping, true);
}

void proxy_check_config(const struct config *config, struct config_problems *problems)
{
    for (unsigned i = 0; i < config->cluster_count; i++)
        if (config->clusters[i].api.url != NULL)
            api_check_config(config, i, problems);
    for (unsigned i = 0; i < config->proxy.app_count; i++)
        app_check_config(config, i, problems);
}

/* ---- requests ---- */

/* url may have a path. A browser and kubectl send the host as the URL has it; case does not matter in it. */
static bool is_host_of(h2o_iovec_t host, const char *url)
{
    const char *wanted = url + strlen("https://");
    size_t len = strcspn(wanted, "/");
    if (host.len == len + 4 && memchr(wanted, ':', len) == NULL &&
        memcmp(host.base + len, ":443", 4) == 0)
        host.len = len;
    return host.len == len && h2o_lcstris(host.base, host.len, wanted, len);
}

/* The app of that host with the longest path above the target's. *at_host: some app is at that host. */
static struct app *app_for(struct proxy *self, h2o_req_t *req, bool *at_host)
{
    const struct config *config = self->parts.decider.config;
    struct app *found = NULL;
    size_t longest = 0;
    for (unsigned i = 0; i < config->proxy.app_count; i++) {
        const struct config_app *app = &config->proxy.apps[i];
        if (!is_host_of(req->input.authority, app->url))
            continue;
        *at_host = true;
        size_t len = app_base(app).len;
        if (!app_is_below(app, req->input.path) || (found != NULL && len <= longest))
            continue;
        found = self->apps[i];
        longest = len;
    }
    return found;
}

static struct api *api_for(struct proxy *self, h2o_req_t *req)
{
    const struct config *config = self->parts.decider.config;
    for (unsigned i = 0; i < config->cluster_count; i++)
        if (self->apis[i] != NULL && is_host_of(req->input.authority, config->clusters[i].api.url))
            return self->apis[i];
    return NULL;
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    struct proxy *self = h2o_context_get_handler_context(req->conn->ctx, handler);
    bool at_host = false;
    struct app *app = app_for(self, req, &at_host);
    struct api *api = api_for(self, req);
    if (app != NULL)
        app_serve(app, req);
    else if (at_host)
        web_problem(req, 404, "Not found", "No app is served here below that path.");
    else if (api != NULL)
        api_serve(api, req);
    else
        web_problem(req, 421, "Misdirected request", "Nothing is served here under that host.");
    return 0;
}

struct proxy_handler {
    h2o_handler_t super;
    struct proxy *proxy; /* of new contexts */
};

static void on_context(h2o_handler_t *handler, h2o_context_t *ctx)
{
    h2o_context_set_handler_context(ctx, handler, ((struct proxy_handler *)handler)->proxy);
}

void proxy_take_over(struct proxy *self, h2o_handler_t *handler, h2o_context_t *ctx)
{
    h2o_context_set_handler_context(ctx, handler, self);
    atomic_store(&self->hub->current, self);
}

h2o_handler_t *proxy_register(struct proxy *self, h2o_hostconf_t *host)
{
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    struct proxy_handler *handler =
        (struct proxy_handler *)h2o_create_handler(path, sizeof(*handler));
    handler->super.on_context_init = on_context;
    handler->super.on_req = on_request;
    handler->proxy = self;
    return &handler->super;
}
