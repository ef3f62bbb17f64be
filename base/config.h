/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration: one YAML file, read with libcyaml against the one schema in config_schema.c, then
 * judged as a whole. After loading it is const and passed down; no module reads the environment. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/ip.h"
#include "base/text.h"
#include "base/user.h"

struct config_strings {
    char **entries; /* NUL-terminated strings */
    unsigned count;
};

struct config_tls {
    char *certificate_file;
    char *key_file;
    char *client_ca_file; /* webhook only; NULL elsewhere */
};

struct config_address { /* parsed "host:port"; an IPv6 host stands in brackets */
    char *text;         /* as written */
    char *host;         /* numeric, without brackets */
    uint16_t port;
};

struct config_link {
    char *label;
    char *url;
    struct config_strings groups; /* exact Okta group names that see it; empty: everybody */
};

struct config_server { /* another address of a cluster's API server */
    char *name;        /* of its kubectl context; the same rules as a cluster's */
    char *server;      /* https URL */
};

/* Who judges a cluster's bearers. */
enum config_authentication {
    AUTHENTICATION_WEBHOOK, /* our webhook: session and groups are judged live, tokens are slim */
    AUTHENTICATION_OIDC,    /* the API server alone: tokens say name, username, email and groups */
};
const char *config_authentication_name(enum config_authentication mode);

/* How a cluster's API server learns from the proxy who asks. */
enum config_api_mode {
    API_PASS,        /* by the person's portal token, which it judges itself */
    API_IMPERSONATE, /* from us: our service account impersonates the person */
};
const char *config_api_mode_name(enum config_api_mode mode);

struct config_api { /* the API server behind the proxy listener */
    char *url;      /* https origin that kubectl is given; its Host finds the cluster; NULL: none */
    enum config_api_mode mode;
    char *upstream;                   /* https origin of the API server */
    char *certificate_authority_file; /* of the API server; NULL: the system's roots */
    char *service_account_token_file; /* of impersonate only; read anew when it changes */
};

struct config_cluster {
    char *name;   /* [a-z0-9]([-a-z0-9.]*[a-z0-9])?, at most 63; used in paths and labels */
    char *server; /* https URL of the API server, for kubectl; may be NULL */
    struct config_server *additional_servers;
    unsigned additional_server_count;
    char *certificate_authority_file; /* of the API server, for kubectl; may be NULL */
    char *audience; /* the aud of this cluster's tokens, and its client_id; default: the name */
    enum config_authentication authentication;
    struct config_strings client_names;   /* default: kube-apiserver.<name> */
    char *client_ca_file;                 /* default: webhook.tls.client_ca_file */
    struct config_strings api_audiences;  /* empty: status.audiences is left out */
    struct config_strings allowed_groups; /* exact Okta group names; empty: everybody */
    struct config_api api;
};
/* The address that kubectl is given: the proxy's, where the cluster has one; NULL: none is known. */
const char *config_cluster_address(const struct config_cluster *cluster);

/* A dashboard or any other web application behind the proxy listener. */
enum config_app_kind {
    APP_GENERIC,
    APP_HEADLAMP,
    APP_KUBERNETES_DASHBOARD_7, /* in parts, without its Kong */
    APP_KUBERNETES_DASHBOARD_2,
};
const char *config_app_kind_name(enum config_app_kind kind);

/* What it is told of the person. */
enum config_app_inject {
    INJECT_NONE,       /* nothing */
    INJECT_TOKEN,      /* a portal token of its cluster, as a bearer */
    INJECT_PROXY_AUTH, /* headers with username, email and groups */
};
const char *config_app_inject_name(enum config_app_inject inject);

struct config_app {
    char *name;  /* as a cluster's; used in paths, cookies and labels */
    char *label; /* shown; default: by kind, or the name */
    enum config_app_kind kind;
    char *url;      /* https origin, perhaps with the path below which it lives; finds the app */
    char *upstream; /* http or https origin; NULL where upstreams has its parts */
    struct {
        char *api, *auth, *web;
    } upstreams;                          /* of kubernetes-dashboard-7 only */
    char *certificate_authority_file;     /* of https upstreams; NULL: the system's roots */
    char *cluster;                        /* name of one that is configured; NULL: of none */
    struct config_strings allowed_groups; /* besides what its cluster asks; empty: everybody */
    enum config_app_inject inject;
    char *icon_file; /* SVG or PNG; NULL: the kind's */
};

/* How we prove at the token and revocation endpoints who we are. */
enum config_client_auth { CLIENT_SECRET_BASIC, CLIENT_SECRET_POST, PRIVATE_KEY_JWT };
const char *config_client_auth_name(enum config_client_auth method);

struct config {
    char *path; /* of the file */

    bool has_portal;
    struct {
        char *url;         /* https, no trailing slash, no path */
        char *issuer_path; /* "", or a path that begins with '/' and does not end with one */
        char *issuer;      /* url with issuer_path: the iss of our tokens */
        struct config_address listen;
        bool plain; /* no tls: a trusted proxy in front ends it */
        struct config_tls tls;
        char *certificate_authority_file;      /* ours, for kubectl; NULL: publicly trusted */
        struct config_strings trusted_proxies; /* addresses and networks, as written */
        struct ip_networks trusted_networks;   /* the same */
        bool proxy_protocol;                   /* each connection begins with a PROXY line */
        int64_t session_idle_ms, session_kubeconfig_idle_ms, session_lifetime_ms;
        int session_per_user;
        struct config_link *links;
        unsigned link_count;
        struct config_strings admin_groups;
        char *
            title; /* "Kubernetes at example.com": shown on the sign-in page; default from url's host */
    } portal;

    bool has_webhook;
    struct {
        struct config_address listen;
        struct config_tls tls;
        char *url; /* https, as API servers call it, without a path; may be NULL */
        char *certificate_authority_file; /* of tls.certificate_file; may be NULL */
    } webhook;

    bool has_proxy;
    struct {
        struct config_address listen;
        struct config_tls tls;
        struct config_app *apps;
        unsigned app_count;
    } proxy;

    struct {
        struct config_address listen; /* default 127.0.0.1:9090 */
        char *
            control_socket; /* a Unix socket's path; "": none; NULL: none, as there is no sqlite store */
    } operations;

    struct {
        char *issuer;
        char *client_id;
        enum config_client_auth token_endpoint_auth_method;
        char *client_secret_file;         /* not used with private_key_jwt */
        char *private_key_file;           /* with private_key_jwt only, as the next two */
        char *private_key_id;             /* the kid that Okta knows the key by */
        char *client_assertion_audience;  /* NULL: the URL that is asked */
        char *certificate_authority_file; /* default: outgoing's */
        bool force_authentication;        /* a session at Okta is not enough to sign in */
        struct config_strings acr_values; /* one of them must be met; empty: any */
        bool user_in_idtoken;             /* claims of the id_token count; userinfo is not asked */
        struct config_strings scopes;
        char *claims[USER_ATTRIBUTES]; /* names of the claims */
        char *claim_groups;
    } oidc;

    struct {
        char *proxy;                      /* http://host:port, asked to CONNECT; NULL: none */
        char *certificate_authority_file; /* NULL: the system's roots */
    } outgoing;

    struct {
        enum user_attribute username_claim;
        char *username_prefix;
        struct config_strings allowed_groups; /* exact Okta group names; empty: everybody */
        struct config_strings groups_include; /* POSIX extended expressions; empty: all */
        char *groups_prefix;
    } users;

    struct {
        int64_t fresh_ms, max_age_ms, stale_if_error_ms;
    } identity;

    struct {
        int64_t lifetime_ms, leeway_ms;
        char *algorithm; /* "ES256" "RS256" */
        char *keys_directory;
        int64_t rotate_every_ms; /* 0: keys rotate by command only */
    } tokens;

    struct {
        enum config_store { STORE_SQLITE, STORE_MEMORY } kind;
        char *path;
        struct config_strings seal_key_files;
    } store;

    struct {
        char *level; /* "debug" "info" "warn" "error" */
    } log;

    unsigned workers; /* event loops; 0: one per core, at most 4 */

    struct config_cluster *clusters;
    unsigned cluster_count;

    struct config_memory *memory; /* base/config*.c only: the strings, and where each key stands */
};

/* The cluster that the app is of; NULL: of none. */
const struct config_cluster *config_app_cluster(const struct config *self,
                                                const struct config_app *app);

/* Every complaint, one a line: "FILE:LINE:COLUMN: key.path: what". Bad YAML and what does not fit the schema
 * end the reading, so they come alone; otherwise all the semantic ones come at once. The place is that of
 * the key, or of the nearest block around it; "FILE: key.path: what" where the file has neither. */
struct config_problems {
    struct text text;
    unsigned count;
};

/* Reads and judges the file without touching the network or other files. NULL when there is any problem;
 * problems->text.pool must be set by text_init. The caller frees with config_free. */
struct config *config_load(const char *path, struct config_problems *problems);
/* The same from memory (path is only for messages), for tests and fuzzing. */
struct config *config_load_bytes(const char *path, const char *bytes, size_t len,
                                 struct config_problems *problems);
void config_free(struct config *self);

/* Adds one semantic complaint, as config_load does; for checks that other folders make of files and keys.
 * Its line must hold no secret; control characters are shown as '?'. */
void config_complain(struct config_problems *problems, const struct config *config,
                     const char *key_path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Writes the effective values as YAML, defaults included, always in the same order; loading what it wrote
 * gives the same config. Files are named, their contents never shown. */
void config_print(const struct config *self, struct text *out);
/* Adds the valid UTF-8 text in YAML's double quotes. */
void config_quote(struct text *out, const char *string);

/* "250ms" "30s" "15m" "12h" "30d": one number with one unit; at most 36500d. */
MUST_CHECK bool config_parse_duration(const char *text, int64_t *out_ms);
/* A numeric host and a port from 1 to 65535. out's strings are malloc'ed. */
MUST_CHECK bool config_parse_address(const char *text, struct config_address *out);
