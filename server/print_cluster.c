/* SPDX-License-Identifier: Apache-2.0
 *
 * `print webhook-kubeconfig`, `print apiserver-flags`, `print authentication-config`: what the kube-apiserver of a
 * cluster must be told of us, for the keys and CAs of now. */
#include <arpa/inet.h>

#include "anchor.h"
#include "authorities.h"
#include "commands.h"

#define DIRECTORY "/etc/kubernetes/pki/postern"

static int complain(const char *key, const struct error *err)
{
    fprintf(stderr, "postern: %s: %s\n", key, err->text);
    return 1;
}

/* NULL: it was said why. */
static const struct config_cluster *choose(const struct config *config, const char *name)
{
    if (name == NULL && config->cluster_count == 1)
        return &config->clusters[0];
    for (unsigned i = 0; name != NULL && i < config->cluster_count; i++)
        if (strcmp(config->clusters[i].name, name) == 0)
            return &config->clusters[i];
    fprintf(stderr, name != NULL ? "postern: no cluster is named so; there are:"
                                 : "postern: say which with --cluster NAME; there are:");
    for (unsigned i = 0; i < config->cluster_count; i++)
        fprintf(stderr, " %s", config->clusters[i].name);
    fputs("\n", stderr);
    return NULL;
}

/* Runs one writer for the chosen cluster; what it wrote is printed only when all of it is good. */
static int print(const struct config *config, const struct command_input *input,
                 int (*write)(const struct config *config, const struct config_cluster *cluster,
                              struct text *out))
{
    h2o_mem_pool_t pool;
    struct text out;
    const struct config_cluster *cluster = choose(config, input->cluster);
    if (cluster == NULL)
        return 1;
    h2o_mem_init_pool(&pool);
    text_init(&out, &pool);
    int code = write(config, cluster, &out);
    if (code == 0)
        fwrite(out.bytes, 1, out.len, stdout);
    h2o_mem_clear_pool(&pool);
    return code;
}

static bool has_mode(const struct config *config, const struct config_cluster *cluster,
                     enum config_authentication wanted)
{
    if (cluster->authentication != wanted)
        fprintf(stderr, "postern: clusters[].authentication of %s is %s\n", cluster->name,
                config_authentication_name(cluster->authentication));
    else if (wanted == AUTHENTICATION_WEBHOOK && !config->has_webhook)
        fputs("postern: webhook: is missing from the configuration\n", stderr);
    else
        return true;
    return false;
}

static void add_quoted_line(struct text *out, const char *before, const char *value)
{
    text_add_string(out, before);
    config_quote(out, value);
    text_add_string(out, "\n");
}

/* ---- the webhook's kubeconfig ---- */

static bool is_every_address(const char *host)
{
    struct in6_addr any = IN6ADDR_ANY_INIT, numeric;
    return strcmp(host, "0.0.0.0") == 0 ||
           (inet_pton(AF_INET6, host, &numeric) == 1 && memcmp(&numeric, &any, sizeof(any)) == 0);
}

/* "https://[::1]:9443" to "::1". */
static char *host_of(h2o_mem_pool_t *pool, const char *url)
{
    const char *host = url + strlen("https://");
    bool is_bracketed = *host == '[';
    host += is_bracketed;
    return text_dup_iovec(pool, h2o_iovec_init(host, strcspn(host, is_bracketed ? "]" : ":/")));
}

static void add_server(const struct config *config, const struct config_cluster *cluster,
                       struct text *out)
{
    const char *url = config->webhook.url;
    if (url == NULL)
        url = text_format(out->pool, "https://%s", config->webhook.listen.text);
    const char *host = host_of(out->pool, url);
    if (is_every_address(host))
        text_add_string(out,
                        "      # REPLACE the host: this is every address of Postern's machine, "
                        "and none to call. Or set webhook.url.\n");
    else if (!anchor_certificate_is_for(config->webhook.tls.certificate_file, host))
        text_add_format(out,
                        "      # ATTENTION: the certificate of the webhook is not for %s. Set "
                        "webhook.url to a name that it has.\n",
                        host);
    add_quoted_line(
        out, "      server: ", text_format(out->pool, "%s/tokenreview/%s", url, cluster->name));
}

static void add_authority(const char *pem, struct text *out)
{
    if (pem == NULL) {
        text_add_string(out, "      # PUT the CA of the webhook's certificate there. Or set "
                             "webhook.certificate_authority_file.\n"
                             "      certificate-authority: " DIRECTORY "/webhook-ca.crt\n");
        return;
    }
    size_t len = strlen(pem);
    char *encoded = h2o_mem_alloc_pool(out->pool, (len + 2) / 3 * 4 + 1);
    h2o_base64_encode(encoded, pem, len, 0);
    text_add_format(out, "      certificate-authority-data: %s\n", encoded);
}

static void add_client(const struct config_cluster *cluster, struct text *out)
{
    text_add_string(out,
                    "users:\n"
                    "  - name: kube-apiserver\n"
                    "    user:\n"
                    "      # PUT there a certificate for client authentication that has the name "
                    "below and is of the CA in\n"
                    "      # webhook.tls.client_ca_file (or the cluster's own), and its key:\n");
    add_quoted_line(out, "      # ", cluster->client_names.entries[0]);
    text_add_string(out, "      client-certificate: " DIRECTORY "/client.crt\n"
                         "      client-key: " DIRECTORY "/client.key\n");
}

static int write_webhook(const struct config *config, const struct config_cluster *cluster,
                         struct text *out)
{
    char *pem;
    struct error err;
    if (!has_mode(config, cluster, AUTHENTICATION_WEBHOOK))
        return 1;
    if (!anchor_load(out->pool, config, &pem, &err))
        return complain("webhook", &err);
    text_add_format(out,
                    "# How the API server of %s asks Postern: " DIRECTORY "/webhook.kubeconfig\n",
                    cluster->name);
    text_add_string(out, "apiVersion: v1\n"
                         "kind: Config\n"
                         "clusters:\n"
                         "  - name: postern\n"
                         "    cluster:\n");
    add_server(config, cluster, out);
    add_authority(pem, out);
    add_client(cluster, out);
    text_add_string(out, "contexts:\n"
                         "  - name: webhook\n"
                         "    context:\n"
                         "      cluster: postern\n"
                         "      user: kube-apiserver\n"
                         "current-context: webhook\n");
    return 0;
}

/* ---- flags ---- */

static void add_oidc_flags(const struct config *config, const struct config_cluster *cluster,
                           struct text *out)
{
    text_add_format(out, "--oidc-issuer-url=%s\n--oidc-client-id=%s\n", config->portal.issuer,
                    cluster->audience);
    text_add_string(out, "--oidc-username-claim=preferred_username\n"
                         "--oidc-username-prefix=-\n"
                         "--oidc-groups-claim=groups\n");
    if (strcmp(config->tokens.algorithm, "RS256") != 0)
        text_add_format(out, "--oidc-signing-algs=%s\n", config->tokens.algorithm);
    if (config->portal.certificate_authority_file != NULL)
        text_add_format(out, "# PUT %s there:\n--oidc-ca-file=" DIRECTORY "/portal-ca.crt\n",
                        config->portal.certificate_authority_file);
}

static int write_flags(const struct config *config, const struct config_cluster *cluster,
                       struct text *out)
{
    text_add_format(out, "# kube-apiserver of %s, %s mode; each line is one argument\n",
                    cluster->name, config_authentication_name(cluster->authentication));
    if (cluster->authentication == AUTHENTICATION_OIDC) {
        add_oidc_flags(config, cluster, out);
        return 0;
    }
    if (!has_mode(config, cluster, AUTHENTICATION_WEBHOOK))
        return 1;
    text_add_string(out,
                    "--authentication-token-webhook-config-file=" DIRECTORY "/webhook.kubeconfig\n"
                    "--authentication-token-webhook-version=v1\n"
                    "--authentication-token-webhook-cache-ttl=10s\n");
    return 0;
}

/* ---- the file of issuers ---- */

/* A YAML block: each line of the PEM with its indent. */
static void add_block(const char *pem, struct text *out)
{
    while (*pem != '\0') {
        size_t len = strcspn(pem, "\n");
        text_add_string(out, "        ");
        text_add(out, pem, len);
        text_add_string(out, "\n");
        pem += len + (pem[len] == '\n');
    }
}

static void add_mappings(struct text *out)
{
    text_add_string(out,
                    "    claimMappings:\n"
                    "      username:\n"
                    "        claim: preferred_username\n"
                    "        prefix: \"\"\n"
                    "      groups:\n"
                    "        claim: groups\n"
                    "        prefix: \"\"\n"
                    "      uid:\n"
                    "        claim: sub\n"
                    "      extra:\n"
                    "        - key: postern.dev/session-id\n"
                    "          valueExpression: claims.sid\n"
                    "    userValidationRules:\n"
                    "      - expression: \"!user.username.startsWith('system:')\"\n"
                    "        message: a username must not begin with system\n"
                    "      - expression: \"user.groups.all(group, !group.startsWith('system:'))\"\n"
                    "        message: a group must not begin with system\n");
}

static int write_authentication(const struct config *config, const struct config_cluster *cluster,
                                struct text *out)
{
    char *pem;
    struct error err;
    if (!has_mode(config, cluster, AUTHENTICATION_OIDC))
        return 1;
    if (!authorities_read(config->portal.certificate_authority_file, &pem, &err))
        return complain("portal.certificate_authority_file", &err);
    text_add_format(out,
                    "# For --authentication-config of the API server of %s, instead of all --oidc- "
                    "flags. From Kubernetes 1.34;\n"
                    "# 1.30 to 1.33 call it apiserver.config.k8s.io/v1beta1.\n",
                    cluster->name);
    text_add_string(out, "apiVersion: apiserver.config.k8s.io/v1\n"
                         "kind: AuthenticationConfiguration\n"
                         "jwt:\n"
                         "  - issuer:\n");
    add_quoted_line(out, "      url: ", config->portal.issuer);
    add_quoted_line(out, "      audiences:\n        - ", cluster->audience);
    if (pem != NULL) {
        text_add_string(out, "      certificateAuthority: |\n");
        add_block(pem, out);
    }
    free(pem);
    add_mappings(out);
    return 0;
}

/* ---- the commands ---- */

int command_print_webhook(const struct config *config, const struct command_input *input)
{
    return print(config, input, write_webhook);
}

int command_print_flags(const struct config *config, const struct command_input *input)
{
    return print(config, input, write_flags);
}

int command_print_authentication(const struct config *config, const struct command_input *input)
{
    return print(config, input, write_authentication);
}
