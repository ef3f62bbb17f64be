/* SPDX-License-Identifier: Apache-2.0
 *
 * See config_fill.h: the clusters, and what stands behind the proxy. */
#include "config_fill.h"

static void fill_client_names(struct fill *self, const struct config_strings *raw,
                              struct config_cluster *out)
{
    char *name = text_format(self->pool, "kube-apiserver.%s", out->name != NULL ? out->name : "");
    struct config_strings fallback = {&name, 1};
    value_texts(self, "client_names", value_is_given(self, "client_names") ? raw : &fallback,
                &out->client_names);
    if (out->client_names.count == 0)
        COMPLAIN(self, "client_names", "is empty: nobody could ask for this cluster");
}

static void fill_additional_servers(struct fill *self, unsigned cluster,
                                    const struct raw_cluster *raw, struct config_cluster *out)
{
    out->additional_server_count = raw->additional_server_count;
    out->additional_servers = h2o_mem_alloc_pool(self->pool, (raw->additional_server_count + 1) *
                                                                 sizeof(*out->additional_servers));
    for (unsigned i = 0; i < raw->additional_server_count; i++) {
        const struct raw_server *from = &raw->additional_servers[i];
        value_enter(self, "clusters[%u].additional_servers[%u].", cluster, i);
        out->additional_servers[i] = (struct config_server){
            value_required(self, "name", from->name),
            value_required_url(self, "server", from->server, CONFIG_URL_BASE)};
    }
}

static const char *const authentications[] = {
    [AUTHENTICATION_WEBHOOK] = "webhook", [AUTHENTICATION_OIDC] = "oidc", NULL};

const char *config_authentication_name(enum config_authentication mode)
{
    return authentications[mode];
}

static void fill_cluster(struct fill *self, const struct raw_cluster *raw,
                         struct config_cluster *out)
{
    out->name = value_required(self, "name", raw->name);
    out->server = value_url(self, "server", raw->server, CONFIG_URL_BASE);
    out->certificate_authority_file =
        value_text(self, "certificate_authority_file", raw->certificate_authority_file, NULL);
    out->audience = value_text(self, "audience", raw->audience, out->name);
    out->authentication = (enum config_authentication)value_word(
        self, "authentication", raw->authentication, authentications);
    out->client_ca_file = value_text(self, "client_ca_file", raw->client_ca_file,
                                     self->config->webhook.tls.client_ca_file);
    fill_client_names(self, &raw->client_names, out);
    value_texts(self, "api_audiences", &raw->api_audiences, &out->api_audiences);
    value_texts(self, "allowed_groups", &raw->allowed_groups, &out->allowed_groups);
}

static const char *const api_modes[] = {
    [API_PASS] = "pass", [API_IMPERSONATE] = "impersonate", NULL};

const char *config_api_mode_name(enum config_api_mode mode)
{
    return api_modes[mode];
}

static void fill_api(struct fill *self, unsigned cluster, const struct raw_api *raw,
                     struct config_api *out)
{
    *out = (struct config_api){.url = NULL};
    if (raw == NULL)
        return;
    value_enter(self, "clusters[%u].api.", cluster);
    out->url = value_required_url(self, "url", raw->url, CONFIG_URL_ORIGIN);
    out->mode = (enum config_api_mode)value_word(self, "mode", raw->mode, api_modes);
    out->upstream = value_required_url(self, "upstream", raw->upstream, CONFIG_URL_ORIGIN);
    out->certificate_authority_file =
        value_text(self, "certificate_authority_file", raw->certificate_authority_file, NULL);
    out->service_account_token_file =
        value_text(self, "service_account_token_file", raw->service_account_token_file, NULL);
}

void fill_clusters(struct fill *self, const struct raw_config *raw)
{
    struct config *config = self->config;
    config->cluster_count = raw->cluster_count;
    config->clusters =
        h2o_mem_alloc_pool(self->pool, (raw->cluster_count + 1) * sizeof(*config->clusters));
    for (unsigned i = 0; i < raw->cluster_count; i++) {
        value_enter(self, "clusters[%u].", i);
        fill_cluster(self, &raw->clusters[i], &config->clusters[i]);
        fill_additional_servers(self, i, &raw->clusters[i], &config->clusters[i]);
        fill_api(self, i, raw->clusters[i].api, &config->clusters[i].api);
    }
}

/* ---- the proxy ---- */

static const char *const app_kinds[] = {
    [APP_GENERIC] = "generic",
    [APP_HEADLAMP] = "headlamp",
    [APP_KUBERNETES_DASHBOARD_7] = "kubernetes-dashboard-7",
    [APP_KUBERNETES_DASHBOARD_2] = "kubernetes-dashboard-2",
    NULL,
};

const char *config_app_kind_name(enum config_app_kind kind)
{
    return app_kinds[kind];
}

static const char *const app_injects[] = {
    [INJECT_NONE] = "none", [INJECT_TOKEN] = "token", [INJECT_PROXY_AUTH] = "proxy-auth", NULL};

const char *config_app_inject_name(enum config_app_inject inject)
{
    return app_injects[inject];
}

/* What a kind is when nothing else is said. */
static const struct {
    const char *label;
    enum config_app_inject inject;
} app_defaults[] = {
    [APP_GENERIC] = {NULL, INJECT_NONE},
    [APP_HEADLAMP] = {"Headlamp", INJECT_PROXY_AUTH},
    [APP_KUBERNETES_DASHBOARD_7] = {"Dashboard", INJECT_TOKEN},
    [APP_KUBERNETES_DASHBOARD_2] = {"Dashboard", INJECT_TOKEN},
};

static void fill_upstreams(struct fill *self, const struct raw_app *raw, struct config_app *out)
{
    bool has_parts = out->kind == APP_KUBERNETES_DASHBOARD_7;
    if (!has_parts) {
        out->upstream = value_required_url(self, "upstream", raw->upstream, CONFIG_URL_UPSTREAM);
        if (value_is_given(self, "upstreams"))
            COMPLAIN(self, "upstreams", "has no use with kind %s: name its one upstream",
                     config_app_kind_name(out->kind));
        return;
    }
    if (raw->upstream != NULL)
        COMPLAIN(self, "upstream",
                 "has no use with kind kubernetes-dashboard-7: name its parts under upstreams");
    out->upstreams.api =
        value_required_url(self, "upstreams.api", raw->upstreams.api, CONFIG_URL_UPSTREAM);
    out->upstreams.auth =
        value_required_url(self, "upstreams.auth", raw->upstreams.auth, CONFIG_URL_UPSTREAM);
    out->upstreams.web =
        value_required_url(self, "upstreams.web", raw->upstreams.web, CONFIG_URL_UPSTREAM);
}

static void fill_app(struct fill *self, const struct raw_app *raw, struct config_app *out)
{
    *out = (struct config_app){.name = value_required(self, "name", raw->name)};
    out->kind = (enum config_app_kind)value_word(self, "kind", raw->kind, app_kinds);
    const char *label = app_defaults[out->kind].label;
    out->label = value_text(self, "label", raw->label, label != NULL ? label : out->name);
    out->url = value_required_url(self, "url", raw->url, CONFIG_URL_APP);
    fill_upstreams(self, raw, out);
    out->certificate_authority_file =
        value_text(self, "certificate_authority_file", raw->certificate_authority_file, NULL);
    out->cluster = value_text(self, "cluster", raw->cluster, NULL);
    value_texts(self, "allowed_groups", &raw->allowed_groups, &out->allowed_groups);
    out->inject =
        raw->inject == NULL
            ? app_defaults[out->kind].inject
            : (enum config_app_inject)value_word(self, "inject", raw->inject, app_injects);
    out->icon_file = value_text(self, "icon_file", raw->icon_file, NULL);
}

void fill_proxy(struct fill *self, const struct raw_proxy *raw)
{
    struct config *config = self->config;
    config->has_proxy = raw != NULL;
    if (raw == NULL)
        return;
    value_enter(self, "proxy.");
    value_address(self, raw->listen, NULL, &config->proxy.listen);
    fill_tls(self, &raw->tls, &config->proxy.tls);
    config->proxy.app_count = raw->app_count;
    config->proxy.apps =
        h2o_mem_alloc_pool(self->pool, (raw->app_count + 1) * sizeof(*config->proxy.apps));
    for (unsigned i = 0; i < raw->app_count; i++) {
        value_enter(self, "proxy.apps[%u].", i);
        fill_app(self, &raw->apps[i], &config->proxy.apps[i]);
    }
}
