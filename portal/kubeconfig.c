/* SPDX-License-Identifier: Apache-2.0
 *
 * The kubeconfig file: YAML in which every value that comes from elsewhere is a double-quoted, escaped text. */
#include "commands.h"

struct file {
    struct text text;
    const struct command_facts *facts;
    const char *user;
};

static void put(struct file *self, const char *key, const char *value)
{
    if (value == NULL)
        return;
    text_add_format(&self->text, "%s: ", key);
    config_quote(&self->text, value);
    text_add_string(&self->text, "\n");
}

static void put_cluster(struct file *self, const char *name, const char *server)
{
    put(self, "  - name", name);
    text_add_string(&self->text, "    cluster:\n");
    put(self, "      server", server);
    put(self, "      certificate-authority-data",
        command_base64(self->text.pool, self->facts->api_ca));
}

static void put_context(struct file *self, const char *name)
{
    put(self, "  - name", name);
    text_add_string(&self->text, "    context:\n");
    put(self, "      cluster", name);
    put(self, "      user", self->user);
}

static void put_auth_provider(struct file *self)
{
    const struct command_facts *facts = self->facts;
    text_add_string(&self->text, "      auth-provider:\n        name: oidc\n        config:\n");
    put(self, "          idp-issuer-url", facts->issuer);
    put(self, "          client-id", facts->cluster->audience);
    put(self, "          refresh-token", facts->refresh_token);
    put(self, "          id-token", facts->id_token);
    put(self, "          idp-certificate-authority-data",
        command_base64(self->text.pool, facts->portal_ca));
}

static void put_argument(struct file *self, const char *name, const char *value)
{
    if (value == NULL)
        return;
    text_add_string(&self->text, "          - ");
    config_quote(&self->text, text_format(self->text.pool, "--%s=%s", name, value));
    text_add_string(&self->text, "\n");
}

static void put_plugin(struct file *self)
{
    const struct command_facts *facts = self->facts;
    text_add_string(&self->text,
                    "      exec:\n"
                    "        apiVersion: client.authentication.k8s.io/v1\n"
                    "        command: postern\n"
                    "        interactiveMode: IfAvailable\n"
                    "        provideClusterInfo: false\n"
                    "        installHint: \"`postern` must be on the PATH: it signs you in.\"\n"
                    "        args:\n"
                    "          - login\n");
    put_argument(self, "issuer", facts->issuer);
    put_argument(self, "client-id", facts->cluster->audience);
    put_argument(self, "certificate-authority-data",
                 command_base64(self->text.pool, facts->portal_ca));
}

const char *kubeconfig_make(h2o_mem_pool_t *pool, const struct command_facts *facts,
                            enum command_kind kind)
{
    const struct config_cluster *cluster = facts->cluster;
    struct file self = {.facts = facts,
                        .user = text_format(pool, "%s@%s", facts->username, cluster->name)};
    text_init(&self.text, pool);
    text_add_string(&self.text, "apiVersion: v1\nkind: Config\n");
    put(&self, "current-context", cluster->name);
    text_add_string(&self.text, "clusters:\n");
    put_cluster(&self, cluster->name, config_cluster_address(cluster));
    for (unsigned i = 0; i < cluster->additional_server_count; i++)
        put_cluster(&self, cluster->additional_servers[i].name,
                    cluster->additional_servers[i].server);
    text_add_string(&self.text, "contexts:\n");
    put_context(&self, cluster->name);
    for (unsigned i = 0; i < cluster->additional_server_count; i++)
        put_context(&self, cluster->additional_servers[i].name);
    text_add_string(&self.text, "users:\n");
    put(&self, "  - name", self.user);
    text_add_string(&self.text, "    user:\n");
    if (kind == COMMAND_EXEC)
        put_plugin(&self);
    else
        put_auth_provider(&self);
    return self.text.bytes;
}
