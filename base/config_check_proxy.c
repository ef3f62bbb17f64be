/* SPDX-License-Identifier: Apache-2.0
 *
 * What the proxy's keys need of each other: each address leads to one thing, and none is the portal's own. */
#include "config_parts.h"

struct check {
    const struct config *config;
    struct config_problems *problems;
    char prefix[40]; /* of the keys of the one that is looked at */
};

#define COMPLAIN(self, key, ...)                                                                   \
    do {                                                                                           \
        char key_path[96];                                                                         \
        snprintf(key_path, sizeof(key_path), "%s.%s", (self)->prefix, (key));                      \
        config_complain((self)->problems, (self)->config, key_path, __VA_ARGS__);                  \
    } while (0)

/* ---- addresses ---- */

/* The proxy finds by Host; browsers send the portal's cookie to every port of its host, and an app's or an API
 * server's answer at that host would be of the portal's site. So the host without its port is what counts. */
static bool same_host(const struct config *config, const char *a, const char *b)
{
    h2o_mem_pool_t *pool = &config->memory->pool;
    return strcmp(config_url_host(pool, a), config_url_host(pool, b)) == 0;
}

static bool is_fine(const char *url, enum config_url_rule rule)
{
    return url != NULL && config_url_problem(url, rule) == NULL; /* else it was said already */
}

static void check_portal(struct check *self, const char *url)
{
    const char *portal = self->config->portal.url;
    if (is_fine(portal, CONFIG_URL_ORIGIN) && same_host(self->config, url, portal))
        COMPLAIN(self, "url", "has portal.url's host: it needs one of its own");
}

/* ---- API servers ---- */

static void check_api_url(struct check *self, unsigned index)
{
    const struct config *config = self->config;
    const char *url = config->clusters[index].api.url;
    if (!is_fine(url, CONFIG_URL_ORIGIN))
        return;
    check_portal(self, url);
    for (unsigned i = 0; i < index; i++) {
        const char *other = config->clusters[i].api.url;
        if (other != NULL && strcmp(other, url) == 0)
            COMPLAIN(self, "url", "%s is also clusters[%u]'s: the proxy finds a cluster by it", url,
                     i);
    }
}

static void check_account(struct check *self, const struct config_api *api)
{
    if (api->mode == API_IMPERSONATE && api->service_account_token_file == NULL)
        COMPLAIN(self, "service_account_token_file",
                 "is missing: with mode impersonate we are that service account to the API server");
    if (api->mode == API_PASS && api->service_account_token_file != NULL)
        COMPLAIN(self, "service_account_token_file",
                 "has no use with mode pass: the person's own token goes to the API server");
}

/* How many clusters have one. */
static unsigned check_apis(struct check *self)
{
    const struct config *config = self->config;
    unsigned count = 0;
    for (unsigned i = 0; i < config->cluster_count; i++) {
        const struct config_api *api = &config->clusters[i].api;
        if (api->url == NULL)
            continue;
        count++;
        snprintf(self->prefix, sizeof(self->prefix), "clusters[%u].api", i);
        check_api_url(self, i);
        check_account(self, api);
        if (config->clusters[i].additional_server_count != 0)
            COMPLAIN(self, "url",
                     "leaves no use for additional_servers: kubectl is given this URL");
        if (!config->has_proxy)
            COMPLAIN(self, "url", "needs the proxy block: where is it to be served?");
    }
    return count;
}

/* ---- apps ---- */

static void check_app_url(struct check *self, unsigned index)
{
    const struct config *config = self->config;
    const char *url = config->proxy.apps[index].url;
    if (!is_fine(url, CONFIG_URL_APP))
        return;
    check_portal(self, url);
    for (unsigned i = 0; i < config->cluster_count; i++) {
        const char *api = config->clusters[i].api.url;
        if (is_fine(api, CONFIG_URL_ORIGIN) && same_host(config, url, api))
            COMPLAIN(self, "url", "has the host of clusters[%u].api.url: it needs one of its own",
                     i);
    }
    for (unsigned i = 0; i < index; i++) {
        const char *other = config->proxy.apps[i].url;
        if (other != NULL && strcmp(other, url) == 0)
            COMPLAIN(self, "url", "%s is also proxy.apps[%u]'s: the proxy finds an app by it", url,
                     i);
    }
}

static void check_app_name(struct check *self, unsigned index)
{
    const struct config_app *apps = self->config->proxy.apps;
    const char *name = apps[index].name;
    if (name == NULL || *name == '\0')
        return;
    const char *problem = config_name_problem(name);
    if (problem != NULL)
        COMPLAIN(self, "name", "\"%s\" is no name for an app: %s", name, problem);
    for (unsigned i = 0; i < index; i++)
        if (apps[i].name != NULL && strcmp(apps[i].name, name) == 0)
            COMPLAIN(self, "name", "\"%s\" is also proxy.apps[%u]'s", name, i);
}

/* A token is one cluster's; Headlamp takes one with its headers, too. */
static bool needs_token(const struct config_app *app)
{
    return app->inject == INJECT_TOKEN ||
           (app->kind == APP_HEADLAMP && app->inject == INJECT_PROXY_AUTH);
}

static void check_inject(struct check *self, const struct config_app *app)
{
    bool is_dashboard =
        app->kind == APP_KUBERNETES_DASHBOARD_7 || app->kind == APP_KUBERNETES_DASHBOARD_2;
    if (is_dashboard && app->inject != INJECT_TOKEN)
        COMPLAIN(self, "inject", "must be token with kind %s: it knows nothing else",
                 config_app_kind_name(app->kind));
    if (app->kind == APP_HEADLAMP && app->inject == INJECT_NONE)
        COMPLAIN(self, "inject", "must be proxy-auth or token with kind headlamp");
    if (needs_token(app) && app->cluster == NULL)
        COMPLAIN(self, "cluster", "is missing: which cluster's token is it to be given?");
    if (app->cluster != NULL && *app->cluster != '\0' &&
        config_app_cluster(self->config, app) == NULL)
        COMPLAIN(self, "cluster", "\"%s\" is no cluster of this config", app->cluster);
}

static bool starts_with(const char *url, const char *scheme)
{
    return url != NULL && strncmp(url, scheme, strlen(scheme)) == 0;
}

static void check_authority(struct check *self, const struct config_app *app)
{
    bool any_tls =
        starts_with(app->upstream, "https:") || starts_with(app->upstreams.api, "https:") ||
        starts_with(app->upstreams.auth, "https:") || starts_with(app->upstreams.web, "https:");
    if (app->certificate_authority_file != NULL && !any_tls)
        COMPLAIN(self, "certificate_authority_file", "has no use: no upstream is https");
}

static void check_apps(struct check *self)
{
    for (unsigned i = 0; i < self->config->proxy.app_count; i++) {
        snprintf(self->prefix, sizeof(self->prefix), "proxy.apps[%u]", i);
        check_app_name(self, i);
        check_app_url(self, i);
        check_inject(self, &self->config->proxy.apps[i]);
        check_authority(self, &self->config->proxy.apps[i]);
    }
}

void config_check_proxy(const struct config *config, struct config_problems *problems)
{
    struct check self = {.config = config, .problems = problems};
    unsigned apis = check_apis(&self);
    check_apps(&self);
    if (config->has_proxy && !config->has_portal)
        config_complain(problems, config, "proxy",
                        "needs the portal block: sessions and tokens are made there");
    if (config->has_proxy && apis == 0 && config->proxy.app_count == 0)
        config_complain(
            problems, config, "proxy",
            "has nothing behind it: there are no apps, and no cluster has an api block");
}
