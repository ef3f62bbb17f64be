/* SPDX-License-Identifier: Apache-2.0
 *
 * What the config_*.c files share, and nobody else includes. A file goes through four steps: its places
 * (config_places.c: valid YAML, and where each key stands), the schema (config_schema.c: known keys, right
 * shapes, all values still text), filling (config_fill.c: values, defaults, ranges) and the checks that
 * look at several keys (config_check.c). */
#pragma once

#include "base/config.h"

/* ---- where each key stands ---- */
struct config_place {
    const char *path;    /* "portal.tls.key_file", "clusters[0].name" */
    size_t line, column; /* from 1 */
};

struct config_places {
    h2o_mem_pool_t *pool; /* where the paths live */
    struct config_place *entries;
    size_t count, capacity;
};

struct config_memory {
    h2o_mem_pool_t pool; /* every string of the config */
    struct config_places places;
};

/* Adds "FILE:LINE:COLUMN: key.path: " and the text. The place is that of the key path or of its nearest
 * parent; with an empty key path, line 0 leaves the place out. places may be NULL. */
struct config_complaint {
    const char *file;
    const struct config_places *places;
    const char *key_path;
    size_t line, column; /* used when key_path is empty or has no place */
};
void config_complain_at(struct config_problems *problems, const struct config_complaint *where,
                        const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Walks the whole text: false, with one complaint, when it is not one YAML document of the plain kind that
 * a config needs (no anchors, tags or nulls, words as keys, each key once, not nested too deep). */
bool config_places_read(const char *file, h2o_iovec_t text, struct config_places *out,
                        struct config_problems *problems);
const struct config_place *config_place_of(const struct config_places *self, const char *key_path);

/* ---- the file as it is written: every value still text; NULL where it is absent ---- */
struct raw_tls {
    char *certificate_file, *key_file, *client_ca_file;
};

struct raw_link {
    char *label, *url;
    struct config_strings groups;
};

struct raw_portal {
    char *url, *issuer_path, *listen, *title, *certificate_authority_file, *proxy_protocol;
    struct raw_tls tls;
    struct config_strings trusted_proxies;
    struct raw_session {
        char *idle, *kubeconfig_idle, *lifetime, *per_user;
    } session;
    struct raw_link *links;
    unsigned link_count;
    struct config_strings admin_groups;
};

struct raw_webhook {
    char *listen, *url, *certificate_authority_file;
    struct raw_tls tls;
};

struct raw_app {
    char *name, *label, *kind, *url, *upstream, *certificate_authority_file, *cluster, *inject;
    char *icon_file;
    struct raw_upstreams {
        char *api, *auth, *web;
    } upstreams;
    struct config_strings allowed_groups;
};

struct raw_proxy {
    char *listen;
    struct raw_tls tls;
    struct raw_app *apps;
    unsigned app_count;
};

struct raw_api {
    char *url, *mode, *upstream, *certificate_authority_file, *service_account_token_file;
};

struct raw_server {
    char *name, *server;
};

struct raw_cluster {
    char *name, *server, *certificate_authority_file, *audience, *client_ca_file;
    char *authentication;
    struct raw_server *additional_servers;
    unsigned additional_server_count;
    struct config_strings client_names, api_audiences, allowed_groups;
    struct raw_api *api;
};

struct raw_config {
    struct raw_portal *portal;
    struct raw_webhook *webhook;
    struct raw_proxy *proxy;
    struct raw_operations {
        char *listen, *control_socket;
    } operations;
    struct raw_oidc {
        char *issuer, *client_id, *client_secret_file, *certificate_authority_file;
        char *token_endpoint_auth_method, *private_key_file, *private_key_id;
        char *client_assertion_audience;
        char *user_in_idtoken, *force_authentication;
        struct config_strings scopes, acr_values;
        struct raw_claims {
            char *sub, *email, *given_name, *family_name, *display_name, *groups;
        } claims;
    } oidc;
    struct raw_outgoing {
        char *proxy, *certificate_authority_file;
    } outgoing;
    struct raw_users {
        char *username_claim, *username_prefix, *groups_prefix;
        struct config_strings allowed_groups, groups_include;
    } users;
    struct raw_identity {
        char *fresh, *max_age, *stale_if_error;
    } identity;
    struct raw_tokens {
        char *lifetime, *leeway, *algorithm, *keys_directory, *rotate_every;
    } tokens;
    struct raw_store {
        char *kind, *path;
        struct config_strings seal_key_files;
    } store;
    struct raw_log {
        char *level;
    } log;
    char *workers;
    struct raw_cluster *clusters;
    unsigned cluster_count;
};

/* NULL, with one complaint, when the text does not fit the schema. */
struct raw_config *config_raw_load(const char *file, h2o_iovec_t text,
                                   const struct config_places *places,
                                   struct config_problems *problems);
void config_raw_free(struct raw_config *self);

/* ---- single values (config_values.c) ---- */
enum config_url_rule {
    CONFIG_URL_ORIGIN,   /* https, host and port only, as a browser sends it as Origin */
    CONFIG_URL_BASE,     /* https, perhaps a path, no slash at the end, no query or fragment */
    CONFIG_URL_LINK,     /* http or https, anything behind the host */
    CONFIG_URL_PROXY,    /* http, host and port only */
    CONFIG_URL_UPSTREAM, /* http or https, host and port only */
    CONFIG_URL_APP, /* as an origin, perhaps with a path of plain characters, no slash at the end */
};
/* What is wrong with the URL, as the end of "must …"; NULL when it is fine. */
const char *config_url_problem(const char *url, enum config_url_rule rule);
const char *config_path_problem(const char *path); /* the same, of an issuer or an app */
bool config_parse_count(const char *text, int max, int *out);
/* The host of a URL that passed config_url_problem, without port, in pool. */
char *config_url_host(h2o_mem_pool_t *pool, const char *url);
/* What is wrong with a cluster's or an app's name, as the end of "… is no name:"; NULL when it is fine. */
const char *config_name_problem(const char *name);

/* ---- from text to values ---- */
/* Fills config from raw; complains of each value that can't be. Strings are copied. */
void config_fill(struct config *config, const struct raw_config *raw,
                 struct config_problems *problems);
/* What only several keys together show. Expects a filled config, be it with complaints. */
void config_check(const struct config *config, struct config_problems *problems);
/* The part of it that is about the proxy and what stands behind it (config_check_proxy.c). */
void config_check_proxy(const struct config *config, struct config_problems *problems);
