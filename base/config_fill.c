/* SPDX-License-Identifier: Apache-2.0
 *
 * From the file's text to values: defaults, ranges, and what may stand in each key by itself. One complaint
 * for each value that can't be; the rest is filled all the same, so that all complaints come at once. */
#include "config_fill.h"

static const char *const booleans[] = {"false", "true", NULL};

/* ---- blocks ---- */

void fill_tls(struct fill *self, const struct raw_tls *raw, struct config_tls *out)
{
    out->certificate_file = value_required(self, "tls.certificate_file", raw->certificate_file);
    out->key_file = value_required(self, "tls.key_file", raw->key_file);
    out->client_ca_file = value_text(self, "tls.client_ca_file", raw->client_ca_file, NULL);
}

static void fill_links(struct fill *self, const struct raw_portal *raw)
{
    struct config *config = self->config;
    config->portal.link_count = raw->link_count;
    config->portal.links =
        h2o_mem_alloc_pool(self->pool, (raw->link_count + 1) * sizeof(*config->portal.links));
    for (unsigned i = 0; i < raw->link_count; i++) {
        struct config_link *link = &config->portal.links[i];
        value_enter(self, "portal.links[%u].", i);
        link->label = value_required(self, "label", raw->links[i].label);
        link->url = value_required_url(self, "url", raw->links[i].url, CONFIG_URL_LINK);
        value_texts(self, "groups", &raw->links[i].groups, &link->groups);
    }
}

/* Sessions have their limits also where no portal is configured: the cache needs them. */
static void fill_session(struct fill *self, const struct raw_session *raw)
{
    struct config *config = self->config;
    value_enter(self, "portal.session.");
    config->portal.session_idle_ms =
        value_duration(self, "idle", raw->idle, &(struct span){"15m", "1m", "30d"});
    config->portal.session_kubeconfig_idle_ms = value_duration(
        self, "kubeconfig_idle", raw->kubeconfig_idle, &(struct span){"1h", "1m", "30d"});
    config->portal.session_lifetime_ms =
        value_duration(self, "lifetime", raw->lifetime, &(struct span){"12h", "1m", "90d"});
    config->portal.session_per_user =
        value_count(self, "per_user", raw->per_user, &(struct range){20, 1, 1000});
}

static char *fill_title(struct fill *self, const char *raw)
{
    const char *portal_url = self->config->portal.url;
    char *fallback = NULL;
    if (portal_url != NULL && config_url_problem(portal_url, CONFIG_URL_ORIGIN) == NULL)
        fallback =
            text_format(self->pool, "Kubernetes at %s", config_url_host(self->pool, portal_url));
    return value_text(self, "title", raw, fallback);
}

/* Discovery and API servers compare the issuer byte by byte, so it is made here and nowhere else. */
static void fill_issuer(struct fill *self, const char *path)
{
    struct config *config = self->config;
    const char *problem = path == NULL ? NULL : config_path_problem(path);
    if (problem != NULL)
        COMPLAIN(self, "issuer_path", "must %s", problem);
    config->portal.issuer_path = value_any_text(self, "issuer_path", path, "");
    if (config->portal.url != NULL)
        config->portal.issuer =
            text_format(self->pool, "%s%s", config->portal.url, config->portal.issuer_path);
}

static void fill_networks(struct fill *self, const struct config_strings *texts,
                          struct ip_networks *out)
{
    out->count = 0;
    out->entries = h2o_mem_alloc_pool(self->pool, (texts->count + 1) * sizeof(*out->entries));
    for (unsigned i = 0; i < texts->count; i++) {
        const char *problem = ip_network_parse(texts->entries[i], &out->entries[out->count]);
        if (problem != NULL)
            COMPLAIN(self, text_format(self->pool, "trusted_proxies[%u]", i), "must %s", problem);
        else
            out->count++;
    }
}

/* Whether the portal ends TLS itself, and whom it believes what they say of a client. */
static void fill_transport(struct fill *self, const struct raw_portal *raw)
{
    struct config *config = self->config;
    value_texts(self, "trusted_proxies", &raw->trusted_proxies, &config->portal.trusted_proxies);
    fill_networks(self, &config->portal.trusted_proxies, &config->portal.trusted_networks);
    config->portal.proxy_protocol =
        value_word(self, "proxy_protocol", raw->proxy_protocol, booleans) == 1;
    config->portal.plain = !value_is_given(self, "tls");
    if (!config->portal.plain)
        fill_tls(self, &raw->tls, &config->portal.tls);
    else if (config->portal.trusted_proxies.count == 0)
        COMPLAIN(self, "tls",
                 "is missing: name certificate_file and key_file; or, where a proxy in front ends "
                 "TLS, name the proxy in portal.trusted_proxies, and we listen in plain HTTP");
    if (config->portal.proxy_protocol && config->portal.trusted_proxies.count == 0)
        COMPLAIN(self, "proxy_protocol",
                 "needs portal.trusted_proxies: whose PROXY lines are to be believed?");
}

static void fill_portal(struct fill *self, const struct raw_portal *raw)
{
    static const struct raw_portal absent;
    struct config *config = self->config;
    config->has_portal = raw != NULL;
    if (raw == NULL) {
        fill_session(self, &absent.session);
        return;
    }
    value_enter(self, "portal.");
    config->portal.url = value_required_url(self, "url", raw->url, CONFIG_URL_ORIGIN);
    fill_issuer(self, raw->issuer_path);
    config->portal.title = fill_title(self, raw->title);
    config->portal.certificate_authority_file =
        value_text(self, "certificate_authority_file", raw->certificate_authority_file, NULL);
    value_address(self, raw->listen, NULL, &config->portal.listen);
    fill_transport(self, raw);
    fill_session(self, &raw->session);
    value_enter(self, "portal.");
    value_texts(self, "admin_groups", &raw->admin_groups, &config->portal.admin_groups);
    fill_links(self, raw);
}

static void fill_webhook(struct fill *self, const struct raw_webhook *raw)
{
    struct config *config = self->config;
    config->has_webhook = raw != NULL;
    if (raw == NULL)
        return;
    value_enter(self, "webhook.");
    value_address(self, raw->listen, NULL, &config->webhook.listen);
    fill_tls(self, &raw->tls, &config->webhook.tls);
    config->webhook.url = value_url(self, "url", raw->url, CONFIG_URL_ORIGIN);
    config->webhook.certificate_authority_file =
        value_text(self, "certificate_authority_file", raw->certificate_authority_file, NULL);
}

static const char *const client_auths[] = {[CLIENT_SECRET_BASIC] = "client_secret_basic",
                                           [CLIENT_SECRET_POST] = "client_secret_post",
                                           [PRIVATE_KEY_JWT] = "private_key_jwt",
                                           NULL};

static void fill_scopes(struct fill *self, const struct config_strings *raw)
{
    static char openid[] = "openid", email[] = "email", profile[] = "profile", groups[] = "groups",
                offline_access[] = "offline_access";
    static char *defaults[] = {openid, email, profile, groups, offline_access};
    static const struct config_strings fallback = {defaults, 5};
    struct config_strings *scopes = &self->config->oidc.scopes;
    bool has_openid = false;
    value_texts(self, "scopes", value_is_given(self, "scopes") ? raw : &fallback, scopes);
    for (unsigned i = 0; i < scopes->count; i++) {
        if (strpbrk(scopes->entries[i], " \"\\") != NULL)
            COMPLAIN(self, text_format(self->pool, "scopes[%u]", i),
                     "must be one scope, without blanks, quotes and backslashes");
        has_openid = has_openid || strcmp(scopes->entries[i], "openid") == 0;
    }
    if (!has_openid)
        COMPLAIN(self, "scopes", "must contain openid");
}

static void fill_acr_values(struct fill *self, const struct config_strings *raw)
{
    struct config_strings *values = &self->config->oidc.acr_values;
    value_texts(self, "acr_values", raw, values);
    for (unsigned i = 0; i < values->count; i++) {
        if (strchr(values->entries[i], ' ') != NULL)
            COMPLAIN(self, text_format(self->pool, "acr_values[%u]", i),
                     "must be one value, without blanks");
    }
}

static void fill_claims(struct fill *self, const struct raw_claims *raw)
{
    struct config *config = self->config;
    value_enter(self, "oidc.claims.");
    config->oidc.claims[USER_SUB] = value_text(self, "sub", raw->sub, "sub");
    config->oidc.claims[USER_EMAIL] = value_text(self, "email", raw->email, "email");
    config->oidc.claims[USER_GIVEN_NAME] =
        value_text(self, "given_name", raw->given_name, "given_name");
    config->oidc.claims[USER_FAMILY_NAME] =
        value_text(self, "family_name", raw->family_name, "family_name");
    config->oidc.claims[USER_DISPLAY_NAME] =
        value_text(self, "display_name", raw->display_name, "name");
    config->oidc.claim_groups = value_text(self, "groups", raw->groups, "groups");
}

const char *config_client_auth_name(enum config_client_auth method)
{
    return client_auths[method];
}

static void fill_client(struct fill *self, const struct raw_oidc *raw)
{
    struct config *config = self->config;
    config->oidc.client_id = value_text(self, "client_id", raw->client_id, NULL);
    config->oidc.token_endpoint_auth_method = (enum config_client_auth)value_word(
        self, "token_endpoint_auth_method", raw->token_endpoint_auth_method, client_auths);
    config->oidc.client_secret_file =
        value_text(self, "client_secret_file", raw->client_secret_file, NULL);
    config->oidc.private_key_file =
        value_text(self, "private_key_file", raw->private_key_file, NULL);
    config->oidc.private_key_id = value_text(self, "private_key_id", raw->private_key_id, NULL);
    config->oidc.client_assertion_audience =
        value_text(self, "client_assertion_audience", raw->client_assertion_audience, NULL);
}

/* Required wherever something is served, because both the portal and the webhook ask the provider. */
static void fill_oidc(struct fill *self, const struct raw_oidc *raw)
{
    struct config *config = self->config;
    value_enter(self, "oidc.");
    config->oidc.issuer = value_url(self, "issuer", raw->issuer, CONFIG_URL_BASE);
    fill_client(self, raw);
    config->oidc.certificate_authority_file =
        value_text(self, "certificate_authority_file", raw->certificate_authority_file,
                   config->outgoing.certificate_authority_file);
    config->oidc.force_authentication =
        value_word(self, "force_authentication", raw->force_authentication, booleans) == 1;
    fill_acr_values(self, &raw->acr_values);
    config->oidc.user_in_idtoken =
        value_word(self, "user_in_idtoken", raw->user_in_idtoken, booleans) == 1;
    fill_scopes(self, &raw->scopes);
    fill_claims(self, &raw->claims);
}

static void fill_outgoing(struct fill *self, const struct raw_outgoing *raw)
{
    struct config *config = self->config;
    value_enter(self, "outgoing.");
    config->outgoing.proxy = value_url(self, "proxy", raw->proxy, CONFIG_URL_PROXY);
    config->outgoing.certificate_authority_file =
        value_text(self, "certificate_authority_file", raw->certificate_authority_file, NULL);
}

static void fill_users(struct fill *self, const struct raw_users *raw)
{
    struct config *config = self->config;
    const char *attributes[USER_ATTRIBUTES + 1] = {NULL};
    for (unsigned i = 0; i < USER_ATTRIBUTES; i++)
        attributes[i] = user_attribute_name(i);
    value_enter(self, "users.");
    config->users.username_claim =
        (enum user_attribute)value_word(self, "username_claim", raw->username_claim, attributes);
    config->users.username_prefix =
        value_prefix_text(self, "username_prefix", raw->username_prefix);
    config->users.groups_prefix = value_prefix_text(self, "groups_prefix", raw->groups_prefix);
    value_texts(self, "allowed_groups", &raw->allowed_groups, &config->users.allowed_groups);
    value_texts(self, "groups_include", &raw->groups_include, &config->users.groups_include);
}

static void fill_identity(struct fill *self, const struct raw_identity *raw)
{
    struct config *config = self->config;
    value_enter(self, "identity.");
    config->identity.fresh_ms =
        value_duration(self, "fresh", raw->fresh, &(struct span){"30s", "0s", "1h"});
    config->identity.max_age_ms =
        value_duration(self, "max_age", raw->max_age, &(struct span){"60s", "0s", "1h"});
    config->identity.stale_if_error_ms = value_duration(self, "stale_if_error", raw->stale_if_error,
                                                        &(struct span){"10m", "0s", "1d"});
}

#define DAY_MS (24 * INT64_C(3600) * 1000)

static void fill_tokens(struct fill *self, const struct raw_tokens *raw)
{
    struct config *config = self->config;
    value_enter(self, "tokens.");
    config->tokens.lifetime_ms =
        value_duration(self, "lifetime", raw->lifetime, &(struct span){"60s", "15s", "1h"});
    config->tokens.leeway_ms =
        value_duration(self, "leeway", raw->leeway, &(struct span){"60s", "0s", "5m"});
    if (config->tokens.lifetime_ms % 1000 != 0)
        COMPLAIN(self, "lifetime", "must be whole seconds");
    if (config->tokens.leeway_ms % 1000 != 0)
        COMPLAIN(self, "leeway", "must be whole seconds");
    config->tokens.algorithm = value_text(self, "algorithm", raw->algorithm, "ES256");
    if (strcmp(config->tokens.algorithm, "ES256") != 0 &&
        strcmp(config->tokens.algorithm, "RS256") != 0)
        COMPLAIN(self, "algorithm", "\"%s\" is not one of: ES256, RS256", config->tokens.algorithm);
    config->tokens.keys_directory = value_text(self, "keys_directory", raw->keys_directory, NULL);
    config->tokens.rotate_every_ms = value_duration(self, "rotate_every", raw->rotate_every,
                                                    &(struct span){"30d", "0s", "3650d"});
    if (config->tokens.rotate_every_ms > 0 && config->tokens.rotate_every_ms < DAY_MS)
        COMPLAIN(self, "rotate_every", "must be 1d or more, or 0s for never");
}

static void fill_store(struct fill *self, const struct raw_store *raw)
{
    static const char *const kinds[] = {[STORE_SQLITE] = "sqlite", [STORE_MEMORY] = "memory", NULL};
    struct config *config = self->config;
    value_enter(self, "store.");
    config->store.kind = (enum config_store)value_word(self, "kind", raw->kind, kinds);
    config->store.path = value_text(self, "path", raw->path, NULL);
    value_texts(self, "seal_key_files", &raw->seal_key_files, &config->store.seal_key_files);
}

/* After the store, beside which the socket stands. */
static void fill_operations(struct fill *self, const struct raw_operations *raw)
{
    struct config *config = self->config;
    const char *store = config->store.path;
    char *beside = NULL;
    if (config->store.kind == STORE_SQLITE && store != NULL)
        beside = text_format(self->pool, "%s.control", store);
    value_enter(self, "operations.");
    value_address(self, raw->listen, "127.0.0.1:9090", &config->operations.listen);
    config->operations.control_socket =
        value_any_text(self, "control_socket", raw->control_socket, beside);
}

void config_fill(struct config *config, const struct raw_config *raw,
                 struct config_problems *problems)
{
    static const char *const levels[] = {"info", "debug", "warn", "error", NULL};
    struct fill self = {.config = config, .pool = &config->memory->pool, .problems = problems};
    fill_portal(&self, raw->portal);
    fill_webhook(&self, raw->webhook);
    fill_proxy(&self, raw->proxy);
    fill_outgoing(&self, &raw->outgoing);
    fill_oidc(&self, &raw->oidc);
    fill_users(&self, &raw->users);
    fill_identity(&self, &raw->identity);
    fill_tokens(&self, &raw->tokens);
    fill_store(&self, &raw->store);
    fill_operations(&self, &raw->operations);
    value_enter(&self, "log.");
    config->log.level =
        text_dup(self.pool, levels[value_word(&self, "level", raw->log.level, levels)]);
    value_enter(&self, "%s", "");
    config->workers =
        (unsigned)value_count(&self, "workers", raw->workers, &(struct range){0, 0, 64});
    fill_clusters(&self, raw);
}
