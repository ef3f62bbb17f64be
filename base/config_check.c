/* SPDX-License-Identifier: Apache-2.0
 *
 * What only several keys together show: what the listeners need, ages and limits in order, clusters that
 * can't be told apart; and the two values whose form is a rule of its own, cluster names and group
 * expressions. */
#include "config_parts.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <regex.h>
#include <sys/un.h>

#define MAX_EXPRESSION 65536 /* characters, repetitions written out */

struct check {
    const struct config *config;
    struct config_problems *problems;
};

#define COMPLAIN(self, ...) config_complain((self)->problems, (self)->config, __VA_ARGS__)

static void need(struct check *self, const char *key, const char *value, const char *why)
{
    if (value == NULL)
        COMPLAIN(self, key, "is missing: %s", why);
}

static bool share_entry(const struct config_strings *a, const struct config_strings *b,
                        const char **which)
{
    for (unsigned i = 0; i < a->count; i++) {
        for (unsigned j = 0; j < b->count; j++) {
            if (strcmp(a->entries[i], b->entries[j]) == 0) {
                *which = a->entries[i];
                return true;
            }
        }
    }
    return false;
}

/* ---- what the blocks need of each other ---- */

static void check_client_auth(struct check *self)
{
    const struct config *config = self->config;
    const char *why = "it proves to the provider who we are";
    if (config->oidc.token_endpoint_auth_method != PRIVATE_KEY_JWT) {
        need(self, "oidc.client_secret_file", config->oidc.client_secret_file, why);
        return;
    }
    need(self, "oidc.private_key_file", config->oidc.private_key_file, why);
    need(self, "oidc.private_key_id", config->oidc.private_key_id,
         "the provider finds the key by it");
}

/* The scope without which Okta gives no refresh token. */
static void check_scopes(struct check *self)
{
    static char offline_access[] = "offline_access";
    static char *wanted[] = {offline_access};
    const char *which;
    if (self->config->oidc.user_in_idtoken &&
        !share_entry(&self->config->oidc.scopes, &(struct config_strings){wanted, 1}, &which))
        COMPLAIN(self, "oidc.scopes",
                 "must contain offline_access with user_in_idtoken: groups are learned anew by "
                 "refreshing Okta's tokens");
}

static void check_blocks(struct check *self)
{
    const struct config *config = self->config;
    if (!config->has_portal && !config->has_webhook)
        COMPLAIN(self, "portal", "is missing, and so is webhook: there is nothing to serve");
    if (config->has_webhook && !config->has_portal)
        COMPLAIN(self, "portal",
                 "is missing: the webhook judges the sessions that the portal "
                 "makes, and portal.url is the issuer of the tokens");
    if (config->has_webhook && config->cluster_count == 0)
        COMPLAIN(self, "clusters", "is missing: the webhook answers for the clusters listed there");
    const char *why = "portal and webhook ask the provider who a person is";
    need(self, "oidc.issuer", config->oidc.issuer, why);
    need(self, "oidc.client_id", config->oidc.client_id, why);
    check_client_auth(self);
    need(self, "tokens.keys_directory", config->tokens.keys_directory,
         "the keys that sign our tokens live there");
}

static void check_store(struct check *self)
{
    const struct config *config = self->config;
    if (config->store.seal_key_files.count > 2)
        COMPLAIN(self, "store.seal_key_files",
                 "has %u entries; at most two: the new key first, then the old one",
                 config->store.seal_key_files.count);
    if (config->store.kind != STORE_SQLITE)
        return;
    need(self, "store.path", config->store.path, "the sqlite store is a file");
    if (config->store.seal_key_files.count == 0)
        COMPLAIN(self, "store.seal_key_files",
                 "is missing: Okta's tokens are sealed in the sqlite store; name one or two files");
}

/* ---- listeners ---- */

static void check_control_socket(struct check *self)
{
    const char *path = self->config->operations.control_socket;
    size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    if (path != NULL && strlen(path) > most)
        COMPLAIN(self, "operations.control_socket",
                 "%s is longer than the %zu bytes that a Unix socket's path may have", path, most);
}

struct listener {
    const char *key;
    const struct config_address *address;
};

static bool is_wildcard(const char *host)
{
    struct in6_addr any = IN6ADDR_ANY_INIT, numeric;
    return strcmp(host, "0.0.0.0") == 0 ||
           (inet_pton(AF_INET6, host, &numeric) == 1 && memcmp(&numeric, &any, sizeof(any)) == 0);
}

static bool same_host(const char *a, const char *b)
{
    struct in6_addr x, y;
    if (inet_pton(AF_INET6, a, &x) == 1 && inet_pton(AF_INET6, b, &y) == 1)
        return memcmp(&x, &y, sizeof(x)) == 0;
    return strcmp(a, b) == 0;
}

/* Sockets of ours share ports (SO_REUSEPORT), so the system would not complain. */
static void check_listeners(struct check *self)
{
    const struct config *config = self->config;
    const struct listener listeners[] = {{"portal.listen", &config->portal.listen},
                                         {"webhook.listen", &config->webhook.listen},
                                         {"proxy.listen", &config->proxy.listen},
                                         {"operations.listen", &config->operations.listen}};
    for (size_t i = 1; i < sizeof(listeners) / sizeof(listeners[0]); i++) {
        for (size_t j = 0; j < i; j++) {
            const struct config_address *a = listeners[i].address, *b = listeners[j].address;
            if (a->host == NULL || b->host == NULL || a->port != b->port)
                continue;
            if (is_wildcard(a->host) || is_wildcard(b->host) || same_host(a->host, b->host))
                COMPLAIN(self, listeners[i].key, "%s is taken by %s", a->text, listeners[j].key);
        }
    }
}

/* ---- times ---- */

static void in_order(struct check *self, const char *smaller_key, int64_t smaller,
                     const char *larger_key, int64_t larger)
{
    if (smaller > larger)
        COMPLAIN(self, smaller_key, "must not be longer than %s", larger_key);
}

static void check_times(struct check *self)
{
    const struct config *config = self->config;
    in_order(self, "identity.fresh", config->identity.fresh_ms, "identity.max_age",
             config->identity.max_age_ms);
    in_order(self, "identity.max_age", config->identity.max_age_ms, "identity.stale_if_error",
             config->identity.stale_if_error_ms);
    in_order(self, "portal.session.idle", config->portal.session_idle_ms, "portal.session.lifetime",
             config->portal.session_lifetime_ms);
    in_order(self, "portal.session.kubeconfig_idle", config->portal.session_kubeconfig_idle_ms,
             "portal.session.lifetime", config->portal.session_lifetime_ms);
}

/* ---- groups ---- */

/* How often "{m,n}" writes out what is before it; bounds stands behind the brace. */
static unsigned long copies_of(const char *bounds)
{
    char *end;
    unsigned long least = strtoul(bounds, &end, 10);
    unsigned long most = *end == ',' ? strtoul(end + 1, NULL, 10) : 0;
    unsigned long copies = most > least ? most : least;
    return copies > 1 ? copies : 1;
}

/* regcomp writes repetitions out, and those within others again and again: "a++++…" or "((a{99}){99}){99}" takes
 * all memory there is. The bound is from above, as neither nesting nor escapes are looked at. */
static bool is_modest(const char *expression)
{
    unsigned long size = strlen(expression);
    for (const char *c = expression; *c != '\0' && size <= MAX_EXPRESSION; c++) {
        unsigned long copies = *c == '+' ? 2 : *c == '{' ? copies_of(c + 1) : 1;
        size = copies <= MAX_EXPRESSION ? size * copies : copies;
    }
    return size <= MAX_EXPRESSION;
}

static void check_expression(struct check *self, const char *key, const char *expression)
{
    regex_t compiled;
    char why[120];
    if (!is_modest(expression)) {
        COMPLAIN(self, key, "\"%s\" repeats too much: what + and {} repeat multiplies", expression);
        return;
    }
    int code = regcomp(&compiled, expression, REG_EXTENDED | REG_NOSUB);
    if (code == 0) {
        regfree(&compiled);
        return;
    }
    regerror(code, &compiled, why, sizeof(why));
    COMPLAIN(self, key, "\"%s\" is no POSIX extended regular expression: %s", expression, why);
}

static void check_expressions(struct check *self)
{
    const struct config_strings *list = &self->config->users.groups_include;
    for (unsigned i = 0; i < list->count; i++) {
        char key[64];
        snprintf(key, sizeof(key), "users.groups_include[%u]", i);
        check_expression(self, key, list->entries[i]);
    }
}

/* ---- clusters ---- */

static const char *cluster_key(unsigned index, const char *key, char out[64])
{
    snprintf(out, 64, "clusters[%u].%s", index, key);
    return out;
}

static void check_name(struct check *self, const char *key, const char *name)
{
    const char *problem = name == NULL || *name == '\0' ? NULL : config_name_problem(name);
    if (problem != NULL)
        COMPLAIN(self, key, "\"%s\" is no name for a cluster: %s", name, problem);
}

/* Clusters are told apart by their names, their tokens by the audience, their API servers by the name in the
 * client certificate. */
static void check_pair(struct check *self, unsigned first, unsigned second)
{
    const struct config_cluster *a = &self->config->clusters[first];
    const struct config_cluster *b = &self->config->clusters[second];
    const char *which;
    char key[64];
    if (a->name == NULL || b->name == NULL)
        return;
    if (strcmp(a->name, b->name) == 0)
        COMPLAIN(self, cluster_key(second, "name", key), "\"%s\" is also clusters[%u]'s", b->name,
                 first);
    else if (strcmp(a->audience, b->audience) == 0)
        COMPLAIN(self, cluster_key(second, "audience", key),
                 "\"%s\" is also cluster %s's: one could use the other's tokens", b->audience,
                 a->name);
    if (share_entry(&b->client_names, &a->client_names, &which))
        COMPLAIN(self, cluster_key(second, "client_names", key),
                 "\"%s\" is also cluster %s's: a client name may stand in one cluster only", which,
                 a->name);
}

/* A name is also that of a kubectl context, so it means one address among all clusters'. */
static bool is_taken(const struct config *config, const char *name, unsigned cluster,
                     unsigned server)
{
    for (unsigned i = 0; i < config->cluster_count; i++) {
        const struct config_cluster *other = &config->clusters[i];
        if (other->name != NULL && strcmp(other->name, name) == 0)
            return true;
        unsigned before = i < cluster    ? other->additional_server_count
                          : i == cluster ? server
                                         : 0; /* those behind it complain themselves */
        for (unsigned j = 0; j < before; j++)
            if (other->additional_servers[j].name != NULL &&
                strcmp(other->additional_servers[j].name, name) == 0)
                return true;
    }
    return false;
}

static void check_additional_servers(struct check *self, unsigned index)
{
    const struct config_cluster *cluster = &self->config->clusters[index];
    char key[64], part[40];
    if (cluster->additional_server_count != 0 && cluster->server == NULL)
        COMPLAIN(self, cluster_key(index, "server", key),
                 "is missing: additional_servers are further addresses beside it");
    for (unsigned i = 0; i < cluster->additional_server_count; i++) {
        const char *name = cluster->additional_servers[i].name;
        snprintf(part, sizeof(part), "additional_servers[%u].name", i);
        cluster_key(index, part, key);
        check_name(self, key, name);
        if (name != NULL && is_taken(self->config, name, index, i))
            COMPLAIN(self, key, "\"%s\" is taken: each names one kubectl context", name);
    }
}

static void check_clusters(struct check *self)
{
    const struct config *config = self->config;
    char key[64];
    for (unsigned i = 0; i < config->cluster_count; i++) {
        const struct config_cluster *cluster = &config->clusters[i];
        check_name(self, cluster_key(i, "name", key), cluster->name);
        check_additional_servers(self, i);
        if (config->has_webhook && cluster->client_ca_file == NULL)
            COMPLAIN(self, cluster_key(i, "client_ca_file", key),
                     "is missing, as webhook.tls.client_ca_file is: which CA signed the client "
                     "certificates of this cluster's API servers?");
        for (unsigned j = 0; j < i; j++)
            check_pair(self, j, i);
    }
}

void config_check(const struct config *config, struct config_problems *problems)
{
    struct check self = {config, problems};
    check_blocks(&self);
    check_scopes(&self);
    check_store(&self);
    check_listeners(&self);
    check_control_socket(&self);
    check_times(&self);
    check_expressions(&self);
    check_clusters(&self);
    config_check_proxy(config, problems);
}
