/* SPDX-License-Identifier: Apache-2.0
 *
 * The portal's table of addresses, and what is answered where none fits. */
#include "portal/portal.h"

#include "base/text.h"
#include "handlers.h"
#include "http/web.h"
#include "icons.h"
#include "issuer.h"

/* Ten minutes of 27 sign-ins a second; beyond, people have less than ten minutes (used.c). */
#define REMEMBER_USED 16384

/* ---- making it ---- */

static const char *result_name(enum sign_in_result result)
{
    switch (result) {
    case SIGN_IN_DONE:
        return "done";
    case SIGN_IN_UNKNOWN_ATTEMPT:
        return "unknown_attempt";
    case SIGN_IN_BAD_ANSWER:
        return "bad_answer";
    case SIGN_IN_REFUSED:
        return "refused_by_okta";
    case SIGN_IN_OKTA_FAILED:
        return "okta_failed";
    case SIGN_IN_NOT_ALLOWED:
        return "not_allowed";
    case SIGN_IN_NOT_SAVED:
        return "not_saved";
    case SIGN_IN_RESULTS:
        break;
    }
    return "";
}

static const char *const device_event_names[DEVICE_EVENTS] = {
    [DEVICE_BEGUN] = "begun",           [DEVICE_WAS_APPROVED] = "approved",
    [DEVICE_WAS_DENIED] = "denied",     [DEVICE_WRONG_CODE] = "wrong_code",
    [DEVICE_LOCKED_OUT] = "locked_out",
};

static void add_counters(struct portal *self)
{
    h2o_mem_pool_t pool;
    struct metrics *metrics = self->parts.metrics;
    h2o_mem_init_pool(&pool);
    for (enum sign_in_result i = 0; i < SIGN_IN_RESULTS; i++)
        self->sign_ins[i] = metrics_counter(metrics, "postern_sign_ins_total",
                                            "Answers of Okta to sign-ins, by what came of them.",
                                            text_format(&pool, "result=\"%s\"", result_name(i)));
    for (enum device_event i = 0; i < DEVICE_EVENTS; i++)
        self->device_events[i] =
            metrics_counter(metrics, "postern_device_requests_total",
                            "Requests of machines without a browser, by what happened.",
                            text_format(&pool, "event=\"%s\"", device_event_names[i]));
    h2o_mem_clear_pool(&pool);
}

static struct portal *make(const struct portal_parts *parts, struct used_attempts *used,
                           struct device_requests *devices)
{
    struct portal *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct portal){.parts = *parts,
                            .frame = {.site = parts->config->portal.title, .icons = parts->icons},
                            .used = used,
                            .devices = devices};
    assets_init(&self->frame.assets);
    add_counters(self);
    self->issuer = issuer_tally_new(parts->metrics);
    issue_init(&self->issue, parts->config, parts->keys, parts->metrics);
    return self;
}

struct portal *portal_new(const struct portal_parts *parts)
{
    struct portal *self = make(parts, used_attempts_new(REMEMBER_USED), device_requests_new());
    self->owns_tables = true;
    return self;
}

struct portal *portal_renew(const struct portal *former, const struct portal_parts *parts)
{
    return make(parts, former->used, former->devices);
}

void portal_free(struct portal *self)
{
    if (self == NULL)
        return;
    if (self->owns_tables) {
        used_attempts_free(self->used);
        device_requests_free(self->devices);
    }
    issue_dispose(&self->issue);
    free(self->issuer);
    free(self);
}

/* ---- clusters ---- */

const struct config_cluster *portal_cluster(const struct portal *portal, h2o_iovec_t name)
{
    const struct config *config = portal->parts.config;
    for (unsigned i = 0; i < config->cluster_count; i++)
        if (iovec_equal(name, config->clusters[i].name))
            return &config->clusters[i];
    return NULL;
}

const struct config_cluster *portal_client(const struct portal *portal, h2o_iovec_t client_id)
{
    const struct config *config = portal->parts.config;
    for (unsigned i = 0; i < config->cluster_count; i++)
        if (iovec_equal(client_id, config->clusters[i].audience))
            return &config->clusters[i];
    return NULL;
}

/* ---- addresses ---- */

static int show_asset(void *ctx, h2o_req_t *req, h2o_iovec_t name)
{
    const struct portal *self = ctx;
    if (!assets_send(&self->frame.assets, req, name))
        web_problem(req, 404, "Not found", "This build has no such file.");
    return 0;
}

static int show_icon(void *ctx, h2o_req_t *req, h2o_iovec_t name)
{
    const struct portal *self = ctx;
    if (!icons_send(self->frame.icons, req, name))
        web_problem(req, 404, "Not found", "There is no such icon, or it is another one now.");
    return 0;
}

struct address {
    struct web_route route;
    enum {
        LOOKS,
        ACTS, /* a GET that changes something: no business of HEAD or of a prefetch */
        API,  /* for programs: no page says what is wrong */
    } kind;
};

static const struct address addresses[] = {
    {{"GET", "/", home}, LOOKS},
    {{"GET", "/login", sign_in_begin}, ACTS},
    {{"GET", "/auth/oidc", sign_in_finish}, ACTS},
    {{"GET", "/profile", profile}, LOOKS},
    {{"POST", "/tokens/*", token_make}, LOOKS},
    {{"POST", "/kubeconfig/*", kubeconfig_send}, LOOKS},
    {{"POST", "/logout", sign_out}, LOOKS},
    {{"GET", "/device", device_ask}, LOOKS},
    {{"POST", "/device", device_show}, LOOKS},
    {{"POST", "/device/approve", device_decide}, LOOKS},
    {{"GET", "/sessions", sessions_page}, LOOKS},
    {{"POST", "/sessions/end", sessions_end}, LOOKS},
    {{"POST", "/sessions/name", sessions_rename}, LOOKS},
    {{"POST", "/sessions/stay", sessions_stay}, LOOKS},
    {{"GET", "/admin/sessions", admin_sessions}, LOOKS},
    {{"POST", "/admin/sessions/end", admin_end}, LOOKS},
    {{"GET", "/authorize", authorize_show}, LOOKS},
    {{"POST", "/authorize", authorize_answer}, LOOKS},
    {{"GET", "/apps/enter", app_enter}, ACTS},
    {{"GET", "/keys", keys_show}, API},
    {{"POST", "/token", issuer_token}, API},
    {{"POST", "/device_authorization", device_authorization}, API},
    {{"GET", "/userinfo", issuer_userinfo}, API},
    {{"POST", "/userinfo", issuer_userinfo}, API},
    {{"POST", "/revoke", issuer_revoke}, API},
    {{"GET", "/assets/*", show_asset}, LOOKS},
    {{"GET", "/apps/icons/*", show_icon}, LOOKS},
};

static const struct address discovery = {{"GET", NULL, issuer_discovery}, API};

static bool path_fits(const char *pattern, h2o_iovec_t path, h2o_iovec_t *rest)
{
    size_t len = strlen(pattern) - 1;
    *rest = (h2o_iovec_t){NULL, 0};
    if (pattern[len] != '*')
        return iovec_equal(path, pattern);
    if (path.len <= len || memcmp(path.base, pattern, len) != 0)
        return false;
    *rest = h2o_iovec_init(path.base + len, path.len - len);
    return memchr(rest->base, '/', rest->len) == NULL;
}

static bool is_prefetch(h2o_req_t *req)
{
    h2o_iovec_t purpose = web_header(req, "sec-purpose");
    return web_method_is(req, "HEAD") ||
           (purpose.base != NULL && memmem(purpose.base, purpose.len, "prefetch", 8) != NULL);
}

static void refuse_path(const struct portal *self, h2o_req_t *req)
{
    page_trouble(&self->frame, req,
                 &(struct trouble){.status = 404,
                                   .title = "There is no such page",
                                   .what = "The address may be mistyped, or its page is gone.",
                                   .todo = "The home page shows what there is."});
}

/* address: one with this path; allowed: every method that it has. */
static void refuse_method(const struct portal *self, h2o_req_t *req, const struct address *address,
                          const char *allowed)
{
    web_add_header(req, "allow", allowed);
    if (address->kind == API) {
        web_problem(req, 405, "Method not allowed", NULL);
        return;
    }
    page_trouble(&self->frame, req,
                 &(struct trouble){.status = 405,
                                   .title = "This address can't be opened like that",
                                   .what = "It is for a button of one of our pages, or for looking "
                                           "only.",
                                   .todo = "Go home and use the button there."});
}

static bool method_fits(h2o_req_t *req, const struct web_route *route)
{
    return web_method_is(req, route->method) ||
           (web_method_is(req, "HEAD") && strcmp(route->method, "GET") == 0);
}

static int serve(const struct address *address, struct portal *self, h2o_req_t *req,
                 h2o_iovec_t rest)
{
    if (address->kind == ACTS && is_prefetch(req)) {
        /* A browser drops a prefetched error, and asks anew when somebody really goes there. */
        web_send(req, web_method_is(req, "HEAD") ? 204 : 503, NULL, h2o_iovec_init("", 0));
        return 0;
    }
    return address->route.handle(self, req, rest);
}

static int dispatch_discovery(struct portal *self, h2o_req_t *req)
{
    if (method_fits(req, &discovery.route))
        return serve(&discovery, self, req, (h2o_iovec_t){NULL, 0});
    refuse_method(self, req, &discovery, "GET, HEAD");
    return 0;
}

/* A sign-in must not cross a wire in the clear, whatever the way: it would take its cookies along. */
static bool came_safely(const struct portal *self, h2o_req_t *req)
{
    static const struct trouble direct = {
        .status = 403,
        .title = "This is not the way in",
        .what = "The login portal was reached directly and without encryption. It is served by a "
                "proxy that it trusts, and this connection is not from there.",
        .todo = "Open the portal at its public address. If you did, its administrator has to add "
                "the proxy to portal.trusted_proxies."};
    static const struct trouble in_the_clear = {
        .status = 403,
        .title = "This connection is not encrypted",
        .what = "The proxy in front of the login portal did not say that you came over https.",
        .todo = "Open the address with https:// at its beginning. If you did, the administrator "
                "has to make the proxy send X-Forwarded-Proto."};
    enum web_way way = web_way(req);
    if (way == WEB_WAY_SECURE)
        return true;
    if (way == WEB_WAY_DIRECT)
        req->http1_is_persistent = 0; /* what is left of the connection is of no use */
    page_trouble(&self->frame, req, way == WEB_WAY_DIRECT ? &direct : &in_the_clear);
    return false;
}

/* As web_dispatch, but what fits no address is told by a page. */
static int dispatch(struct portal *self, h2o_req_t *req)
{
    h2o_iovec_t rest, path = web_path(req);
    const struct address *found = NULL;
    struct text allowed;
    page_add_headers(req);
    if (!came_safely(self, req))
        return 0;
    if (issuer_is_discovery(self->parts.config, path))
        return dispatch_discovery(self, req);
    text_init(&allowed, &req->pool);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        const struct web_route *route = &addresses[i].route;
        if (!path_fits(route->path, path, &rest))
            continue;
        if (method_fits(req, route))
            return serve(&addresses[i], self, req, rest);
        found = &addresses[i];
        text_add_format(&allowed, "%s%s", allowed.len == 0 ? "" : ", ",
                        strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method);
    }
    if (found != NULL)
        refuse_method(self, req, found, allowed.bytes);
    else
        refuse_path(self, req);
    return 0;
}

/* ---- h2o ---- */

struct portal_handler {
    h2o_handler_t super;
    struct portal *portal; /* of new contexts; each context has its own */
};

static int on_req(h2o_handler_t *handler, h2o_req_t *req)
{
    return dispatch(h2o_context_get_handler_context(req->conn->ctx, handler), req);
}

static void on_context(h2o_handler_t *handler, h2o_context_t *ctx)
{
    h2o_context_set_handler_context(ctx, handler, ((struct portal_handler *)handler)->portal);
}

void portal_take_over(struct portal *self, h2o_handler_t *handler, h2o_context_t *ctx)
{
    h2o_context_set_handler_context(ctx, handler, self);
}

h2o_handler_t *portal_register(struct portal *self, h2o_hostconf_t *host)
{
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    struct portal_handler *handler =
        (struct portal_handler *)h2o_create_handler(path, sizeof(*handler));
    handler->super.on_context_init = on_context;
    handler->super.on_req = on_req;
    handler->portal = self;
    return &handler->super;
}
