/* SPDX-License-Identifier: Apache-2.0
 *
 * The effective config as YAML, in the order of the documentation. Every text is written in double quotes
 * and escaped, so that loading it again gives the same bytes whatever they are. */
#include "config_parts.h"

#include <inttypes.h>

/* YAML's reader takes these code points only as escapes, or folds them as line breaks. */
static bool needs_escape(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           code == 0xfeff || (code >= 0xfffe && code <= 0xffff);
}

/* The next code point of valid UTF-8; *text moves on. */
static uint32_t next_code(const unsigned char **text)
{
    const unsigned char *c = *text;
    unsigned more = *c >= 0xf0 ? 3 : *c >= 0xe0 ? 2 : *c >= 0xc0 ? 1 : 0;
    uint32_t code = more == 0 ? *c : *c & (0x3fu >> more);
    for (c++; more > 0 && *c != '\0'; more--, c++)
        code = (code << 6) | (*c & 0x3f);
    *text = c;
    return code;
}

void config_quote(struct text *out, const char *string)
{
    const unsigned char *c = (const unsigned char *)string;
    text_add_string(out, "\"");
    while (*c != '\0') {
        const unsigned char *begin = c;
        uint32_t code = next_code(&c);
        if (code == '"' || code == '\\')
            text_add_format(out, "\\%c", (char)code);
        else if (needs_escape(code))
            text_add_format(out, "\\u%04" PRIx32, code);
        else
            text_add(out, (const char *)begin, (size_t)(c - begin));
    }
    text_add_string(out, "\"");
}

static void put_text(struct text *out, const char *key, const char *value)
{
    if (value == NULL)
        return;
    text_add_format(out, "%s: ", key);
    config_quote(out, value);
    text_add_string(out, "\n");
}

static void put_texts(struct text *out, const char *key, const struct config_strings *list)
{
    text_add_format(out, "%s: [", key);
    for (unsigned i = 0; i < list->count; i++) {
        text_add_string(out, i == 0 ? "" : ", ");
        config_quote(out, list->entries[i]);
    }
    text_add_string(out, "]\n");
}

static void put_duration(struct text *out, const char *key, int64_t ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t i = 0;
    while (ms % units[i].ms != 0 || (ms == 0 && units[i].ms != 1000))
        i++;
    text_add_format(out, "%s: %" PRId64 "%s\n", key, ms / units[i].ms, units[i].name);
}

static void put_tls(struct text *out, const struct config_tls *tls)
{
    text_add_string(out, "  tls:\n");
    put_text(out, "    certificate_file", tls->certificate_file);
    put_text(out, "    key_file", tls->key_file);
    put_text(out, "    client_ca_file", tls->client_ca_file);
}

static void put_links(struct text *out, const struct config *self)
{
    text_add_string(out, self->portal.link_count == 0 ? "  links: []\n" : "  links:\n");
    for (unsigned i = 0; i < self->portal.link_count; i++) {
        const struct config_link *link = &self->portal.links[i];
        put_text(out, "    - label", link->label);
        put_text(out, "      url", link->url);
        put_texts(out, "      groups", &link->groups);
    }
}

static void put_portal(struct text *out, const struct config *self)
{
    text_add_string(out, "portal:\n");
    put_text(out, "  url", self->portal.url);
    put_text(out, "  issuer_path", self->portal.issuer_path);
    put_text(out, "  listen", self->portal.listen.text);
    put_text(out, "  title", self->portal.title);
    put_text(out, "  certificate_authority_file", self->portal.certificate_authority_file);
    if (!self->portal.plain)
        put_tls(out, &self->portal.tls);
    put_texts(out, "  trusted_proxies", &self->portal.trusted_proxies);
    text_add_format(out, "  proxy_protocol: %s\n", self->portal.proxy_protocol ? "true" : "false");
    text_add_string(out, "  session:\n");
    put_duration(out, "    idle", self->portal.session_idle_ms);
    put_duration(out, "    kubeconfig_idle", self->portal.session_kubeconfig_idle_ms);
    put_duration(out, "    lifetime", self->portal.session_lifetime_ms);
    text_add_format(out, "    per_user: %d\n", self->portal.session_per_user);
    put_links(out, self);
    put_texts(out, "  admin_groups", &self->portal.admin_groups);
}

static void put_oidc(struct text *out, const struct config *self)
{
    text_add_string(out, "oidc:\n");
    put_text(out, "  issuer", self->oidc.issuer);
    put_text(out, "  client_id", self->oidc.client_id);
    put_text(out, "  token_endpoint_auth_method",
             config_client_auth_name(self->oidc.token_endpoint_auth_method));
    put_text(out, "  client_secret_file", self->oidc.client_secret_file);
    put_text(out, "  private_key_file", self->oidc.private_key_file);
    put_text(out, "  private_key_id", self->oidc.private_key_id);
    put_text(out, "  client_assertion_audience", self->oidc.client_assertion_audience);
    put_text(out, "  certificate_authority_file", self->oidc.certificate_authority_file);
    text_add_format(out, "  force_authentication: %s\n",
                    self->oidc.force_authentication ? "true" : "false");
    put_texts(out, "  acr_values", &self->oidc.acr_values);
    text_add_format(out, "  user_in_idtoken: %s\n", self->oidc.user_in_idtoken ? "true" : "false");
    put_texts(out, "  scopes", &self->oidc.scopes);
    text_add_string(out, "  claims:\n");
    for (unsigned i = 0; i < USER_ATTRIBUTES; i++) {
        text_add_string(out, "    ");
        put_text(out, user_attribute_name(i), self->oidc.claims[i]);
    }
    put_text(out, "    groups", self->oidc.claim_groups);
}

static void put_outgoing(struct text *out, const struct config *self)
{
    if (self->outgoing.proxy == NULL && self->outgoing.certificate_authority_file == NULL)
        return; /* an empty block is none */
    text_add_string(out, "outgoing:\n");
    put_text(out, "  proxy", self->outgoing.proxy);
    put_text(out, "  certificate_authority_file", self->outgoing.certificate_authority_file);
}

static void put_users(struct text *out, const struct config *self)
{
    text_add_string(out, "users:\n");
    put_text(out, "  username_claim", user_attribute_name(self->users.username_claim));
    put_text(out, "  username_prefix", self->users.username_prefix);
    put_texts(out, "  allowed_groups", &self->users.allowed_groups);
    put_texts(out, "  groups_include", &self->users.groups_include);
    put_text(out, "  groups_prefix", self->users.groups_prefix);
}

static void put_ages_and_tokens(struct text *out, const struct config *self)
{
    text_add_string(out, "identity:\n");
    put_duration(out, "  fresh", self->identity.fresh_ms);
    put_duration(out, "  max_age", self->identity.max_age_ms);
    put_duration(out, "  stale_if_error", self->identity.stale_if_error_ms);
    text_add_string(out, "tokens:\n");
    put_duration(out, "  lifetime", self->tokens.lifetime_ms);
    put_duration(out, "  leeway", self->tokens.leeway_ms);
    put_text(out, "  algorithm", self->tokens.algorithm);
    put_text(out, "  keys_directory", self->tokens.keys_directory);
    put_duration(out, "  rotate_every", self->tokens.rotate_every_ms);
}

static void put_additional_servers(struct text *out, const struct config_cluster *cluster)
{
    text_add_string(out, cluster->additional_server_count == 0 ? "    additional_servers: []\n"
                                                               : "    additional_servers:\n");
    for (unsigned i = 0; i < cluster->additional_server_count; i++) {
        put_text(out, "      - name", cluster->additional_servers[i].name);
        put_text(out, "        server", cluster->additional_servers[i].server);
    }
}

static void put_api(struct text *out, const struct config_api *api)
{
    if (api->url == NULL)
        return;
    text_add_string(out, "    api:\n");
    put_text(out, "      url", api->url);
    put_text(out, "      mode", config_api_mode_name(api->mode));
    put_text(out, "      upstream", api->upstream);
    put_text(out, "      certificate_authority_file", api->certificate_authority_file);
    put_text(out, "      service_account_token_file", api->service_account_token_file);
}

static void put_clusters(struct text *out, const struct config *self)
{
    text_add_string(out, self->cluster_count == 0 ? "clusters: []\n" : "clusters:\n");
    for (unsigned i = 0; i < self->cluster_count; i++) {
        const struct config_cluster *cluster = &self->clusters[i];
        put_text(out, "  - name", cluster->name);
        put_text(out, "    server", cluster->server);
        put_additional_servers(out, cluster);
        put_text(out, "    certificate_authority_file", cluster->certificate_authority_file);
        put_text(out, "    audience", cluster->audience);
        put_text(out, "    authentication", config_authentication_name(cluster->authentication));
        put_texts(out, "    client_names", &cluster->client_names);
        put_text(out, "    client_ca_file", cluster->client_ca_file);
        put_texts(out, "    api_audiences", &cluster->api_audiences);
        put_texts(out, "    allowed_groups", &cluster->allowed_groups);
        put_api(out, &cluster->api);
    }
}

static void put_app(struct text *out, const struct config_app *app)
{
    put_text(out, "    - name", app->name);
    put_text(out, "      label", app->label);
    put_text(out, "      kind", config_app_kind_name(app->kind));
    put_text(out, "      url", app->url);
    put_text(out, "      upstream", app->upstream);
    if (app->upstream == NULL) {
        text_add_string(out, "      upstreams:\n");
        put_text(out, "        api", app->upstreams.api);
        put_text(out, "        auth", app->upstreams.auth);
        put_text(out, "        web", app->upstreams.web);
    }
    put_text(out, "      certificate_authority_file", app->certificate_authority_file);
    put_text(out, "      cluster", app->cluster);
    put_texts(out, "      allowed_groups", &app->allowed_groups);
    put_text(out, "      inject", config_app_inject_name(app->inject));
    put_text(out, "      icon_file", app->icon_file);
}

static void put_proxy(struct text *out, const struct config *self)
{
    text_add_string(out, "proxy:\n");
    put_text(out, "  listen", self->proxy.listen.text);
    put_tls(out, &self->proxy.tls);
    text_add_string(out, self->proxy.app_count == 0 ? "  apps: []\n" : "  apps:\n");
    for (unsigned i = 0; i < self->proxy.app_count; i++)
        put_app(out, &self->proxy.apps[i]);
}

void config_print(const struct config *self, struct text *out)
{
    if (self->has_portal)
        put_portal(out, self);
    if (self->has_webhook) {
        text_add_string(out, "webhook:\n");
        put_text(out, "  listen", self->webhook.listen.text);
        put_tls(out, &self->webhook.tls);
        put_text(out, "  url", self->webhook.url);
        put_text(out, "  certificate_authority_file", self->webhook.certificate_authority_file);
    }
    if (self->has_proxy)
        put_proxy(out, self);
    text_add_string(out, "operations:\n");
    put_text(out, "  listen", self->operations.listen.text);
    put_text(out, "  control_socket", self->operations.control_socket);
    put_oidc(out, self);
    put_outgoing(out, self);
    put_users(out, self);
    put_ages_and_tokens(out, self);
    text_add_string(out, "store:\n");
    put_text(out, "  kind", self->store.kind == STORE_SQLITE ? "sqlite" : "memory");
    put_text(out, "  path", self->store.path);
    put_texts(out, "  seal_key_files", &self->store.seal_key_files);
    text_add_string(out, "log:\n");
    put_text(out, "  level", self->log.level);
    text_add_format(out, "workers: %u\n", self->workers);
    put_clusters(out, self);
}
