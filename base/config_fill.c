/* SPDX-License-Identifier: Apache-2.0
 *
 * From the file's text to values: defaults, ranges, and what may stand in each key by itself. One complaint
 * for each value that can't be; the rest is filled all the same, so that all complaints come at once. */
#include "config_parts.h"

#define MAX_TEXT   4096
#define MAX_PREFIX 256

struct fill {
    struct config *config;
    h2o_mem_pool_t *pool;
    struct config_problems *problems;
    char prefix[96]; /* of the keys: "portal.", "clusters[3]." */
};

#define COMPLAIN(self, key, ...)                                                                   \
    config_complain((self)->problems, (self)->config,                                              \
                    text_format((self)->pool, "%s%s", (self)->prefix, (key)), __VA_ARGS__)

static void enter(struct fill *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void enter(struct fill *self, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(self->prefix, sizeof(self->prefix), format, args);
    va_end(args);
}

/* ---- single values ---- */

/* A text that may be empty; NULL where neither the file nor the default has one. */
static char *any_text(struct fill *self, const char *key, const char *raw, const char *fallback)
{
    if (raw == NULL)
        return fallback == NULL ? NULL : text_dup(self->pool, fallback);
    if (strlen(raw) > MAX_TEXT)
        COMPLAIN(self, key, "is longer than %d bytes", MAX_TEXT);
    else if (text_has_control(iovec_of(raw)))
        COMPLAIN(self, key, "has a control character");
    return text_dup(self->pool, raw);
}

static char *text(struct fill *self, const char *key, const char *raw, const char *fallback)
{
    if (raw != NULL && *raw == '\0')
        COMPLAIN(self, key, "is empty; leave the key out, or give it a value");
    return any_text(self, key, raw, fallback);
}

static char *required(struct fill *self, const char *key, const char *raw)
{
    if (raw == NULL)
        COMPLAIN(self, key, "is missing");
    return text(self, key, raw, NULL);
}

static char *prefix_text(struct fill *self, const char *key, const char *raw)
{
    if (raw != NULL && strncmp(raw, "system:", 7) == 0)
        COMPLAIN(self, key, "must not begin with \"system:\": such names belong to Kubernetes");
    if (raw != NULL && strlen(raw) > MAX_PREFIX)
        COMPLAIN(self, key, "is longer than %d bytes", MAX_PREFIX);
    return any_text(self, key, raw, "");
}

static char *url(struct fill *self, const char *key, const char *raw, enum config_url_rule rule)
{
    const char *problem = raw == NULL || *raw == '\0' ? NULL : config_url_problem(raw, rule);
    if (problem != NULL)
        COMPLAIN(self, key, "must %s", problem);
    return text(self, key, raw, NULL);
}

static char *required_origin(struct fill *self, const char *key, const char *raw)
{
    if (raw == NULL)
        COMPLAIN(self, key, "is missing");
    return url(self, key, raw, CONFIG_URL_ORIGIN);
}

/* An empty list and an absent one look the same in the raw config. */
static bool is_given(struct fill *self, const char *key)
{
    const char *path = text_format(self->pool, "%s%s", self->prefix, key);
    return config_place_of(&self->config->memory->places, path) != NULL;
}

static void texts(struct fill *self, const char *key, const struct config_strings *raw,
                  struct config_strings *out)
{
    out->count = raw->count;
    out->entries = h2o_mem_alloc_pool(self->pool, (raw->count + 1) * sizeof(*out->entries));
    for (unsigned i = 0; i < raw->count; i++) {
        char *entry_key = text_format(self->pool, "%s[%u]", key, i);
        out->entries[i] = text(self, entry_key, raw->entries[i], NULL);
    }
}

struct span { /* of durations, as one writes them */
    const char *fallback, *least, *most;
};

static int64_t duration(struct fill *self, const char *key, const char *raw,
                        const struct span *span)
{
    int64_t value = 0, least, most;
    if (!config_parse_duration(span->least, &least) || !config_parse_duration(span->most, &most) ||
        !config_parse_duration(span->fallback, &value))
        h2o_fatal("a default duration is malformed");
    if (raw != NULL && !config_parse_duration(raw, &value))
        COMPLAIN(self, key,
                 "\"%s\" is no duration: write a number with one unit, as 250ms, 30s, "
                 "15m, 12h or 30d",
                 raw);
    else if (value < least || value > most)
        COMPLAIN(self, key, "%s is out of range: from %s to %s", raw, span->least, span->most);
    return value;
}

struct range {
    int fallback, least, most;
};

static int count(struct fill *self, const char *key, const char *raw, const struct range *range)
{
    int value = range->fallback;
    if (raw != NULL && (!config_parse_count(raw, range->most, &value) || value < range->least))
        COMPLAIN(self, key, "must be a whole number from %d to %d", range->least, range->most);
    return value;
}

static void address(struct fill *self, const char *raw, const char *fallback,
                    struct config_address *out)
{
    const char *written = raw != NULL ? raw : fallback;
    struct config_address parsed;
    *out = (struct config_address){0};
    if (written == NULL) {
        COMPLAIN(self, "listen", "is missing");
    } else if (!config_parse_address(written, &parsed)) {
        COMPLAIN(self, "listen",
                 "\"%s\" is no address to listen on: write a numeric address and a "
                 "port, as 0.0.0.0:8443 or [::1]:8443",
                 written);
    } else {
        out->text = text_dup(self->pool, parsed.text);
        out->host = text_dup(self->pool, parsed.host);
        out->port = parsed.port;
        free(parsed.text);
        free(parsed.host);
    }
}

/* One of the words; the first is the default. Returns its index. */
static size_t word(struct fill *self, const char *key, const char *raw, const char *const *words)
{
    struct text known;
    text_init(&known, self->pool);
    for (size_t i = 0; words[i] != NULL; i++) {
        if (raw == NULL || strcmp(raw, words[i]) == 0)
            return i;
        text_add_format(&known, "%s%s", i == 0 ? "" : ", ", words[i]);
    }
    COMPLAIN(self, key, "\"%s\" is not one of: %s", raw, known.bytes);
    return 0;
}

static const char *const booleans[] = {"false", "true", NULL};

/* ---- blocks ---- */

static void fill_tls(struct fill *self, const struct raw_tls *raw, struct config_tls *out)
{
    out->certificate_file = required(self, "tls.certificate_file", raw->certificate_file);
    out->key_file = required(self, "tls.key_file", raw->key_file);
    out->client_ca_file = text(self, "tls.client_ca_file", raw->client_ca_file, NULL);
}

static void fill_links(struct fill *self, const struct raw_portal *raw)
{
    struct config *config = self->config;
    config->portal.link_count = raw->link_count;
    config->portal.links =
        h2o_mem_alloc_pool(self->pool, (raw->link_count + 1) * sizeof(*config->portal.links));
    for (unsigned i = 0; i < raw->link_count; i++) {
        struct config_link *link = &config->portal.links[i];
        enter(self, "portal.links[%u].", i);
        link->label = required(self, "label", raw->links[i].label);
        if (raw->links[i].url == NULL)
            COMPLAIN(self, "url", "is missing");
        link->url = url(self, "url", raw->links[i].url, CONFIG_URL_LINK);
        texts(self, "groups", &raw->links[i].groups, &link->groups);
    }
}

/* Sessions have their limits also where no portal is configured: the cache needs them. */
static void fill_session(struct fill *self, const struct raw_session *raw)
{
    struct config *config = self->config;
    enter(self, "portal.session.");
    config->portal.session_idle_ms =
        duration(self, "idle", raw->idle, &(struct span){"15m", "1m", "30d"});
    config->portal.session_kubeconfig_idle_ms =
        duration(self, "kubeconfig_idle", raw->kubeconfig_idle, &(struct span){"1h", "1m", "30d"});
    config->portal.session_lifetime_ms =
        duration(self, "lifetime", raw->lifetime, &(struct span){"12h", "1m", "90d"});
    config->portal.session_per_user =
        count(self, "per_user", raw->per_user, &(struct range){20, 1, 1000});
}

static char *fill_title(struct fill *self, const char *raw)
{
    const char *portal_url = self->config->portal.url;
    char *fallback = NULL;
    if (portal_url != NULL && config_url_problem(portal_url, CONFIG_URL_ORIGIN) == NULL)
        fallback =
            text_format(self->pool, "Kubernetes at %s", config_url_host(self->pool, portal_url));
    return text(self, "title", raw, fallback);
}

/* Discovery and API servers compare the issuer byte by byte, so it is made here and nowhere else. */
static void fill_issuer(struct fill *self, const char *path)
{
    struct config *config = self->config;
    const char *problem = path == NULL ? NULL : config_issuer_path_problem(path);
    if (problem != NULL)
        COMPLAIN(self, "issuer_path", "must %s", problem);
    config->portal.issuer_path = any_text(self, "issuer_path", path, "");
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
    texts(self, "trusted_proxies", &raw->trusted_proxies, &config->portal.trusted_proxies);
    fill_networks(self, &config->portal.trusted_proxies, &config->portal.trusted_networks);
    config->portal.proxy_protocol =
        word(self, "proxy_protocol", raw->proxy_protocol, booleans) == 1;
    config->portal.plain = !is_given(self, "tls");
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
    enter(self, "portal.");
    config->portal.url = required_origin(self, "url", raw->url);
    fill_issuer(self, raw->issuer_path);
    config->portal.title = fill_title(self, raw->title);
    config->portal.certificate_authority_file =
        text(self, "certificate_authority_file", raw->certificate_authority_file, NULL);
    address(self, raw->listen, NULL, &config->portal.listen);
    fill_transport(self, raw);
    fill_session(self, &raw->session);
    enter(self, "portal.");
    texts(self, "admin_groups", &raw->admin_groups, &config->portal.admin_groups);
    fill_links(self, raw);
}

static void fill_webhook(struct fill *self, const struct raw_webhook *raw)
{
    struct config *config = self->config;
    config->has_webhook = raw != NULL;
    if (raw == NULL)
        return;
    enter(self, "webhook.");
    address(self, raw->listen, NULL, &config->webhook.listen);
    fill_tls(self, &raw->tls, &config->webhook.tls);
    config->webhook.url = url(self, "url", raw->url, CONFIG_URL_ORIGIN);
    config->webhook.certificate_authority_file =
        text(self, "certificate_authority_file", raw->certificate_authority_file, NULL);
}

static void fill_proxy(struct fill *self, const struct raw_proxy *raw)
{
    struct config *config = self->config;
    config->has_proxy = raw != NULL;
    if (raw == NULL)
        return;
    enter(self, "proxy.");
    address(self, raw->listen, NULL, &config->proxy.listen);
    fill_tls(self, &raw->tls, &config->proxy.tls);
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
    texts(self, "scopes", is_given(self, "scopes") ? raw : &fallback, scopes);
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
    texts(self, "acr_values", raw, values);
    for (unsigned i = 0; i < values->count; i++) {
        if (strchr(values->entries[i], ' ') != NULL)
            COMPLAIN(self, text_format(self->pool, "acr_values[%u]", i),
                     "must be one value, without blanks");
    }
}

static void fill_claims(struct fill *self, const struct raw_claims *raw)
{
    struct config *config = self->config;
    enter(self, "oidc.claims.");
    config->oidc.claims[USER_SUB] = text(self, "sub", raw->sub, "sub");
    config->oidc.claims[USER_EMAIL] = text(self, "email", raw->email, "email");
    config->oidc.claims[USER_GIVEN_NAME] = text(self, "given_name", raw->given_name, "given_name");
    config->oidc.claims[USER_FAMILY_NAME] =
        text(self, "family_name", raw->family_name, "family_name");
    config->oidc.claims[USER_DISPLAY_NAME] = text(self, "display_name", raw->display_name, "name");
    config->oidc.claim_groups = text(self, "groups", raw->groups, "groups");
}

const char *config_client_auth_name(enum config_client_auth method)
{
    return client_auths[method];
}

static void fill_client(struct fill *self, const struct raw_oidc *raw)
{
    struct config *config = self->config;
    config->oidc.client_id = text(self, "client_id", raw->client_id, NULL);
    config->oidc.token_endpoint_auth_method = (enum config_client_auth)word(
        self, "token_endpoint_auth_method", raw->token_endpoint_auth_method, client_auths);
    config->oidc.client_secret_file =
        text(self, "client_secret_file", raw->client_secret_file, NULL);
    config->oidc.private_key_file = text(self, "private_key_file", raw->private_key_file, NULL);
    config->oidc.private_key_id = text(self, "private_key_id", raw->private_key_id, NULL);
    config->oidc.client_assertion_audience =
        text(self, "client_assertion_audience", raw->client_assertion_audience, NULL);
}

/* Required wherever something is served, because both the portal and the webhook ask the provider. */
static void fill_oidc(struct fill *self, const struct raw_oidc *raw)
{
    struct config *config = self->config;
    enter(self, "oidc.");
    config->oidc.issuer = url(self, "issuer", raw->issuer, CONFIG_URL_BASE);
    fill_client(self, raw);
    config->oidc.certificate_authority_file =
        text(self, "certificate_authority_file", raw->certificate_authority_file,
             config->outgoing.certificate_authority_file);
    config->oidc.force_authentication =
        word(self, "force_authentication", raw->force_authentication, booleans) == 1;
    fill_acr_values(self, &raw->acr_values);
    config->oidc.user_in_idtoken =
        word(self, "user_in_idtoken", raw->user_in_idtoken, booleans) == 1;
    fill_scopes(self, &raw->scopes);
    fill_claims(self, &raw->claims);
}

static void fill_outgoing(struct fill *self, const struct raw_outgoing *raw)
{
    struct config *config = self->config;
    enter(self, "outgoing.");
    config->outgoing.proxy = url(self, "proxy", raw->proxy, CONFIG_URL_PROXY);
    config->outgoing.certificate_authority_file =
        text(self, "certificate_authority_file", raw->certificate_authority_file, NULL);
}

static void fill_users(struct fill *self, const struct raw_users *raw)
{
    struct config *config = self->config;
    const char *attributes[USER_ATTRIBUTES + 1] = {NULL};
    for (unsigned i = 0; i < USER_ATTRIBUTES; i++)
        attributes[i] = user_attribute_name(i);
    enter(self, "users.");
    config->users.username_claim =
        (enum user_attribute)word(self, "username_claim", raw->username_claim, attributes);
    config->users.username_prefix = prefix_text(self, "username_prefix", raw->username_prefix);
    config->users.groups_prefix = prefix_text(self, "groups_prefix", raw->groups_prefix);
    texts(self, "allowed_groups", &raw->allowed_groups, &config->users.allowed_groups);
    texts(self, "groups_include", &raw->groups_include, &config->users.groups_include);
}

static void fill_identity(struct fill *self, const struct raw_identity *raw)
{
    struct config *config = self->config;
    enter(self, "identity.");
    config->identity.fresh_ms =
        duration(self, "fresh", raw->fresh, &(struct span){"30s", "0s", "1h"});
    config->identity.max_age_ms =
        duration(self, "max_age", raw->max_age, &(struct span){"60s", "0s", "1h"});
    config->identity.stale_if_error_ms =
        duration(self, "stale_if_error", raw->stale_if_error, &(struct span){"10m", "0s", "1d"});
}

#define DAY_MS (24 * INT64_C(3600) * 1000)

static void fill_tokens(struct fill *self, const struct raw_tokens *raw)
{
    struct config *config = self->config;
    enter(self, "tokens.");
    config->tokens.lifetime_ms =
        duration(self, "lifetime", raw->lifetime, &(struct span){"60s", "15s", "1h"});
    config->tokens.leeway_ms =
        duration(self, "leeway", raw->leeway, &(struct span){"60s", "0s", "5m"});
    if (config->tokens.lifetime_ms % 1000 != 0)
        COMPLAIN(self, "lifetime", "must be whole seconds");
    if (config->tokens.leeway_ms % 1000 != 0)
        COMPLAIN(self, "leeway", "must be whole seconds");
    config->tokens.algorithm = text(self, "algorithm", raw->algorithm, "ES256");
    if (strcmp(config->tokens.algorithm, "ES256") != 0 &&
        strcmp(config->tokens.algorithm, "RS256") != 0)
        COMPLAIN(self, "algorithm", "\"%s\" is not one of: ES256, RS256", config->tokens.algorithm);
    config->tokens.keys_directory = text(self, "keys_directory", raw->keys_directory, NULL);
    config->tokens.rotate_every_ms =
        duration(self, "rotate_every", raw->rotate_every, &(struct span){"30d", "0s", "3650d"});
    if (config->tokens.rotate_every_ms > 0 && config->tokens.rotate_every_ms < DAY_MS)
        COMPLAIN(self, "rotate_every", "must be 1d or more, or 0s for never");
}

static void fill_store(struct fill *self, const struct raw_store *raw)
{
    static const char *const kinds[] = {[STORE_SQLITE] = "sqlite", [STORE_MEMORY] = "memory", NULL};
    struct config *config = self->config;
    enter(self, "store.");
    config->store.kind = (enum config_store)word(self, "kind", raw->kind, kinds);
    config->store.path = text(self, "path", raw->path, NULL);
    texts(self, "seal_key_files", &raw->seal_key_files, &config->store.seal_key_files);
}

/* After the store, beside which the socket stands. */
static void fill_operations(struct fill *self, const struct raw_operations *raw)
{
    struct config *config = self->config;
    const char *store = config->store.path;
    char *beside = NULL;
    if (config->store.kind == STORE_SQLITE && store != NULL)
        beside = text_format(self->pool, "%s.control", store);
    enter(self, "operations.");
    address(self, raw->listen, "127.0.0.1:9090", &config->operations.listen);
    config->operations.control_socket =
        any_text(self, "control_socket", raw->control_socket, beside);
}

static void fill_client_names(struct fill *self, const struct config_strings *raw,
                              struct config_cluster *out)
{
    char *name = text_format(self->pool, "kube-apiserver.%s", out->name != NULL ? out->name : "");
    struct config_strings fallback = {&name, 1};
    texts(self, "client_names", is_given(self, "client_names") ? raw : &fallback,
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
        enter(self, "clusters[%u].additional_servers[%u].", cluster, i);
        if (from->server == NULL)
            COMPLAIN(self, "server", "is missing");
        out->additional_servers[i] = (struct config_server){
            required(self, "name", from->name), url(self, "server", from->server, CONFIG_URL_BASE)};
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
    out->name = required(self, "name", raw->name);
    out->server = url(self, "server", raw->server, CONFIG_URL_BASE);
    out->certificate_authority_file =
        text(self, "certificate_authority_file", raw->certificate_authority_file, NULL);
    out->audience = text(self, "audience", raw->audience, out->name);
    out->authentication = (enum config_authentication)word(self, "authentication",
                                                           raw->authentication, authentications);
    out->client_ca_file =
        text(self, "client_ca_file", raw->client_ca_file, self->config->webhook.tls.client_ca_file);
    fill_client_names(self, &raw->client_names, out);
    texts(self, "api_audiences", &raw->api_audiences, &out->api_audiences);
    texts(self, "allowed_groups", &raw->allowed_groups, &out->allowed_groups);
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
    enter(self, "clusters[%u].api.", cluster);
    out->url = required_origin(self, "url", raw->url);
    out->mode = (enum config_api_mode)word(self, "mode", raw->mode, api_modes);
    out->upstream = required_origin(self, "upstream", raw->upstream);
    out->certificate_authority_file =
        text(self, "certificate_authority_file", raw->certificate_authority_file, NULL);
    out->service_account_token_file =
        text(self, "service_account_token_file", raw->service_account_token_file, NULL);
}

static void fill_clusters(struct fill *self, const struct raw_config *raw)
{
    struct config *config = self->config;
    config->cluster_count = raw->cluster_count;
    config->clusters =
        h2o_mem_alloc_pool(self->pool, (raw->cluster_count + 1) * sizeof(*config->clusters));
    for (unsigned i = 0; i < raw->cluster_count; i++) {
        enter(self, "clusters[%u].", i);
        fill_cluster(self, &raw->clusters[i], &config->clusters[i]);
        fill_additional_servers(self, i, &raw->clusters[i], &config->clusters[i]);
        fill_api(self, i, raw->clusters[i].api, &config->clusters[i].api);
    }
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
    enter(&self, "log.");
    config->log.level = text_dup(self.pool, levels[word(&self, "level", raw->log.level, levels)]);
    enter(&self, "%s", "");
    config->workers = (unsigned)count(&self, "workers", raw->workers, &(struct range){0, 0, 64});
    fill_clusters(&self, raw);
}
