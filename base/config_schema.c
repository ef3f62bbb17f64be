/* SPDX-License-Identifier: Apache-2.0
 *
 * The schema: every key that a config may have, and its shape. libcyaml holds the file against it and fills
 * struct raw_config. All values are read as text, because libcyaml's numbers accept "12abc" and its booleans
 * take every unknown word for true; config_fill.c turns them into values. A key of the design that this
 * version does not implement is not here, so it is an unknown key. */
#include "config_parts.h"

#include <cyaml/cyaml.h>

#define MAX_ENTRIES 10000 /* of one list */

/* clang-format off: one key a line reads as the table that it is */
#define TEXT(key, type, member)                                                                    \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_OPTIONAL, type, member, 0, CYAML_UNLIMITED)
#define TEXTS(key, type, member)                                                                   \
    CYAML_FIELD_SEQUENCE_COUNT(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type,                \
                               member.entries, member.count, &text_value, 0, MAX_ENTRIES)
#define MAPPING(key, type, member, fields)                                                         \
    CYAML_FIELD_MAPPING(key, CYAML_FLAG_OPTIONAL, type, member, fields)

static const cyaml_schema_value_t text_value = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, CYAML_UNLIMITED),
};

static const cyaml_schema_field_t server_tls_fields[] = {
    TEXT("certificate_file", struct raw_tls, certificate_file),
    TEXT("key_file", struct raw_tls, key_file),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t mutual_tls_fields[] = {
    TEXT("certificate_file", struct raw_tls, certificate_file),
    TEXT("key_file", struct raw_tls, key_file),
    TEXT("client_ca_file", struct raw_tls, client_ca_file),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t session_fields[] = {
    TEXT("idle", struct raw_session, idle),
    TEXT("kubeconfig_idle", struct raw_session, kubeconfig_idle),
    TEXT("lifetime", struct raw_session, lifetime),
    TEXT("per_user", struct raw_session, per_user),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t link_fields[] = {
    TEXT("label", struct raw_link, label),
    TEXT("url", struct raw_link, url),
    TEXTS("groups", struct raw_link, groups),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t link_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_link, link_fields),
};

static const cyaml_schema_field_t portal_fields[] = {
    TEXT("url", struct raw_portal, url),
    TEXT("issuer_path", struct raw_portal, issuer_path),
    TEXT("listen", struct raw_portal, listen),
    TEXT("title", struct raw_portal, title),
    TEXT("certificate_authority_file", struct raw_portal, certificate_authority_file),
    MAPPING("tls", struct raw_portal, tls, server_tls_fields),
    TEXTS("trusted_proxies", struct raw_portal, trusted_proxies),
    TEXT("proxy_protocol", struct raw_portal, proxy_protocol),
    MAPPING("session", struct raw_portal, session, session_fields),
    CYAML_FIELD_SEQUENCE_COUNT("links", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct raw_portal,
                               links, link_count, &link_value, 0, 200),
    TEXTS("admin_groups", struct raw_portal, admin_groups),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t webhook_fields[] = {
    TEXT("listen", struct raw_webhook, listen),
    MAPPING("tls", struct raw_webhook, tls, mutual_tls_fields),
    TEXT("url", struct raw_webhook, url),
    TEXT("certificate_authority_file", struct raw_webhook, certificate_authority_file),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t upstreams_fields[] = {
    TEXT("api", struct raw_upstreams, api),
    TEXT("auth", struct raw_upstreams, auth),
    TEXT("web", struct raw_upstreams, web),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t app_fields[] = {
    TEXT("name", struct raw_app, name),
    TEXT("label", struct raw_app, label),
    TEXT("kind", struct raw_app, kind),
    TEXT("url", struct raw_app, url),
    TEXT("upstream", struct raw_app, upstream),
    MAPPING("upstreams", struct raw_app, upstreams, upstreams_fields),
    TEXT("certificate_authority_file", struct raw_app, certificate_authority_file),
    TEXT("cluster", struct raw_app, cluster),
    TEXTS("allowed_groups", struct raw_app, allowed_groups),
    TEXT("inject", struct raw_app, inject),
    TEXT("icon_file", struct raw_app, icon_file),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t app_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_app, app_fields),
};

static const cyaml_schema_field_t proxy_fields[] = {
    TEXT("listen", struct raw_proxy, listen),
    MAPPING("tls", struct raw_proxy, tls, server_tls_fields),
    CYAML_FIELD_SEQUENCE_COUNT("apps", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct raw_proxy,
                               apps, app_count, &app_value, 0, 100),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t operations_fields[] = {
    TEXT("listen", struct raw_operations, listen),
    TEXT("control_socket", struct raw_operations, control_socket),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t claims_fields[] = {
    TEXT("sub", struct raw_claims, sub),
    TEXT("email", struct raw_claims, email),
    TEXT("given_name", struct raw_claims, given_name),
    TEXT("family_name", struct raw_claims, family_name),
    TEXT("display_name", struct raw_claims, display_name),
    TEXT("groups", struct raw_claims, groups),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t oidc_fields[] = {
    TEXT("issuer", struct raw_oidc, issuer),
    TEXT("client_id", struct raw_oidc, client_id),
    TEXT("token_endpoint_auth_method", struct raw_oidc, token_endpoint_auth_method),
    TEXT("client_secret_file", struct raw_oidc, client_secret_file),
    TEXT("private_key_file", struct raw_oidc, private_key_file),
    TEXT("private_key_id", struct raw_oidc, private_key_id),
    TEXT("client_assertion_audience", struct raw_oidc, client_assertion_audience),
    TEXT("certificate_authority_file", struct raw_oidc, certificate_authority_file),
    TEXT("force_authentication", struct raw_oidc, force_authentication),
    TEXTS("acr_values", struct raw_oidc, acr_values),
    TEXT("user_in_idtoken", struct raw_oidc, user_in_idtoken),
    TEXTS("scopes", struct raw_oidc, scopes),
    MAPPING("claims", struct raw_oidc, claims, claims_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t outgoing_fields[] = {
    TEXT("proxy", struct raw_outgoing, proxy),
    TEXT("certificate_authority_file", struct raw_outgoing, certificate_authority_file),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t users_fields[] = {
    TEXT("username_claim", struct raw_users, username_claim),
    TEXT("username_prefix", struct raw_users, username_prefix),
    TEXTS("allowed_groups", struct raw_users, allowed_groups),
    TEXTS("groups_include", struct raw_users, groups_include),
    TEXT("groups_prefix", struct raw_users, groups_prefix),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t identity_fields[] = {
    TEXT("fresh", struct raw_identity, fresh),
    TEXT("max_age", struct raw_identity, max_age),
    TEXT("stale_if_error", struct raw_identity, stale_if_error),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t tokens_fields[] = {
    TEXT("lifetime", struct raw_tokens, lifetime),
    TEXT("leeway", struct raw_tokens, leeway),
    TEXT("algorithm", struct raw_tokens, algorithm),
    TEXT("keys_directory", struct raw_tokens, keys_directory),
    TEXT("rotate_every", struct raw_tokens, rotate_every),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t store_fields[] = {
    TEXT("kind", struct raw_store, kind),
    TEXT("path", struct raw_store, path),
    TEXTS("seal_key_files", struct raw_store, seal_key_files),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t log_fields[] = {
    TEXT("level", struct raw_log, level),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t additional_server_fields[] = {
    TEXT("name", struct raw_server, name),
    TEXT("server", struct raw_server, server),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t additional_server_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_server, additional_server_fields),
};

static const cyaml_schema_field_t api_fields[] = {
    TEXT("url", struct raw_api, url),
    TEXT("mode", struct raw_api, mode),
    TEXT("upstream", struct raw_api, upstream),
    TEXT("certificate_authority_file", struct raw_api, certificate_authority_file),
    TEXT("service_account_token_file", struct raw_api, service_account_token_file),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t cluster_fields[] = {
    TEXT("name", struct raw_cluster, name),
    TEXT("server", struct raw_cluster, server),
    CYAML_FIELD_SEQUENCE_COUNT("additional_servers", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                               struct raw_cluster, additional_servers, additional_server_count,
                               &additional_server_value, 0, 20),
    TEXT("certificate_authority_file", struct raw_cluster, certificate_authority_file),
    TEXT("audience", struct raw_cluster, audience),
    TEXT("authentication", struct raw_cluster, authentication),
    TEXTS("client_names", struct raw_cluster, client_names),
    TEXT("client_ca_file", struct raw_cluster, client_ca_file),
    TEXTS("api_audiences", struct raw_cluster, api_audiences),
    TEXTS("allowed_groups", struct raw_cluster, allowed_groups),
    CYAML_FIELD_MAPPING_PTR("api", CYAML_FLAG_OPTIONAL, struct raw_cluster, api, api_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t cluster_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_cluster, cluster_fields),
};

static const cyaml_schema_field_t config_fields[] = {
    CYAML_FIELD_MAPPING_PTR("portal", CYAML_FLAG_OPTIONAL, struct raw_config, portal,
                            portal_fields),
    CYAML_FIELD_MAPPING_PTR("webhook", CYAML_FLAG_OPTIONAL, struct raw_config, webhook,
                            webhook_fields),
    CYAML_FIELD_MAPPING_PTR("proxy", CYAML_FLAG_OPTIONAL, struct raw_config, proxy, proxy_fields),
    MAPPING("operations", struct raw_config, operations, operations_fields),
    MAPPING("oidc", struct raw_config, oidc, oidc_fields),
    MAPPING("outgoing", struct raw_config, outgoing, outgoing_fields),
    MAPPING("users", struct raw_config, users, users_fields),
    MAPPING("identity", struct raw_config, identity, identity_fields),
    MAPPING("tokens", struct raw_config, tokens, tokens_fields),
    MAPPING("store", struct raw_config, store, store_fields),
    MAPPING("log", struct raw_config, log, log_fields),
    TEXT("workers", struct raw_config, workers),
    CYAML_FIELD_SEQUENCE_COUNT("clusters", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                               struct raw_config, clusters, cluster_count, &cluster_value, 0, 1000),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t config_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_config, config_fields),
};
/* clang-format on */

/* What libcyaml says of a failure: one line on what is wrong, then a backtrace from the inside out. */
struct told {
    h2o_mem_pool_t *pool;
    const char *what;
    const char *path;
};

static void prepend(struct told *self, const char *step)
{
    const char *joint = *self->path == '\0' || *self->path == '[' ? "" : ".";
    self->path = text_format(self->pool, "%s%s%s", step, joint, self->path);
}

__attribute__((format(printf, 3, 0))) static void on_log(cyaml_log_t level, void *ctx,
                                                         const char *format, va_list args)
{
    struct told *self = ctx;
    char line[512], word[128];
    if (level != CYAML_LOG_ERROR)
        return;
    vsnprintf(line, sizeof(line), format, args);
    if (sscanf(line, " in mapping field '%127[^']'", word) == 1) {
        prepend(self, word);
    } else if (sscanf(line, " in sequence entry '%127[^']'", word) == 1) { /* counted from 1 */
        unsigned long entry = strtoul(word, NULL, 10);
        prepend(self, text_format(self->pool, "[%lu]", entry == 0 ? 0 : entry - 1));
    } else if (strncmp(line, "Load: ", 6) == 0 && *self->what == '\0') {
        line[strcspn(line, "\n")] = '\0';
        self->what = text_dup(self->pool, line + 6);
    }
}

static const cyaml_config_t quiet = {
    .mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR, .flags = CYAML_CFG_NO_ALIAS};

/* "portal.session" or "clusters[3]" to the keys that the schema knows there; NULL when there is none. */
static const cyaml_schema_field_t *fields_at(const char *path)
{
    const cyaml_schema_field_t *fields = config_fields;
    while (*path != '\0') {
        size_t len = strcspn(path, ".[");
        while (fields->key != NULL &&
               (strlen(fields->key) != len || strncmp(fields->key, path, len) != 0))
            fields++;
        const cyaml_schema_value_t *value = &fields->value;
        if (fields->key != NULL && value->type == CYAML_SEQUENCE)
            value = value->sequence.entry;
        if (fields->key == NULL || value->type != CYAML_MAPPING)
            return NULL;
        fields = value->mapping.fields;
        path += len + strcspn(path + len, ".");
        path += *path == '.';
    }
    return fields;
}

static void complain_unknown_key(struct told *told, const char *key, struct config_complaint *where,
                                 struct config_problems *problems)
{
    struct text known;
    text_init(&known, told->pool);
    for (const cyaml_schema_field_t *field = fields_at(told->path);
         field != NULL && field->key != NULL; field++)
        text_add_format(&known, "%s%s", known.len == 0 ? "" : ", ", field->key);
    where->key_path =
        text_format(told->pool, "%s%s%s", told->path, *told->path == '\0' ? "" : ".", key);
    config_complain_at(problems, where, "unknown key (known here: %s)", known.bytes);
}

static void explain(struct told *told, cyaml_err_t code, struct config_complaint *where,
                    struct config_problems *problems)
{
    char word[128], got[64];
    where->key_path = told->path;
    if (sscanf(told->what, "Unexpected key: %127[^\n]", word) == 1)
        complain_unknown_key(told, word, where, problems);
    else if (sscanf(told->what, "Expecting %127[A-Z_], got event: %63[A-Z_]", word, got) == 2)
        config_complain_at(problems, where, "must be %s",
                           strcmp(word, "MAPPING") == 0    ? "a mapping (\"key: value\")"
                           : strcmp(word, "SEQUENCE") == 0 ? "a list"
                                                           : "a single value");
    else if (code == CYAML_ERR_SEQUENCE_ENTRIES_MAX)
        config_complain_at(problems, where, "has too many entries");
    else
        config_complain_at(problems, where, "%s: %s", cyaml_strerror(code), told->what);
}

struct raw_config *config_raw_load(const char *file, h2o_iovec_t text,
                                   const struct config_places *places,
                                   struct config_problems *problems)
{
    struct told told = {places->pool, "", ""};
    cyaml_config_t settings = quiet;
    cyaml_data_t *loaded = NULL;
    settings.log_fn = on_log;
    settings.log_ctx = &told;
    cyaml_err_t code = cyaml_load_data((const uint8_t *)text.base, text.len, &settings,
                                       &config_schema, &loaded, NULL);
    struct config_complaint where = {.file = file, .places = places, .key_path = ""};
    if (code != CYAML_OK)
        explain(&told, code, &where, problems);
    else if (loaded == NULL)
        config_complain_at(problems, &where, "the file is empty");
    return code == CYAML_OK ? loaded : NULL;
}

void config_raw_free(struct raw_config *self)
{
    if (self != NULL && cyaml_free(&quiet, &config_schema, self, 0) != CYAML_OK)
        h2o_fatal("cyaml_free failed");
}
