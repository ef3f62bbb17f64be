/* SPDX-License-Identifier: Apache-2.0
 *
 * `check`: everything about a config and its files that can be judged without the network, all complaints at
 * once. `print config`: the effective values. */
#include "commands.h"

#include <openssl/ssl.h>

#include "authorities.h"
#include "okta/okta.h"
#include "parts.h"
#include "proxy/proxy.h"
#include "token/token.h"
#include "webhook/webhook.h"

int command_version(void)
{
    printf("postern %s\n", POSTERN_VERSION);
    return 0;
}

int command_print_config(const struct config *config, const struct command_input *input)
{
    (void)input;
    h2o_mem_pool_t pool;
    struct text out;
    h2o_mem_init_pool(&pool);
    text_init(&out, &pool);
    config_print(config, &out);
    fwrite(out.bytes, 1, out.len, stdout);
    h2o_mem_clear_pool(&pool);
    return 0;
}

struct checker {
    const struct config *config;
    struct config_problems problems;
};

static void note(struct checker *self, const char *key, bool ok, const struct error *err)
{
    if (!ok)
        config_complain(&self->problems, self->config, key, "%s", err->text);
}

static void check_listeners(struct checker *self)
{
    struct error err;
    SSL_CTX *tls = NULL;
    if (self->config->has_webhook) {
        note(self, "webhook.tls", parts_webhook_tls(self->config, &tls, &err), &err);
        SSL_CTX_free(tls);
        webhook_check_config(self->config, &self->problems);
    }
    tls = NULL;
    if (self->config->has_portal && !self->config->portal.plain) {
        note(self, "portal.tls", parts_portal_tls(self->config, &tls, &err), &err);
        SSL_CTX_free(tls);
    }
}

static void check_proxy(struct checker *self)
{
    struct error err;
    SSL_CTX *tls = NULL;
    if (!self->config->has_proxy)
        return;
    note(self, "proxy.tls", parts_proxy_tls(self->config, &tls, &err), &err);
    SSL_CTX_free(tls);
    proxy_check_config(self->config, &self->problems);
}

static void check_keys_and_store(struct checker *self)
{
    const struct config *config = self->config;
    struct error err;
    struct seal_keys *keys = NULL;
    note(self, "store.seal_key_files", parts_seal_keys(config, &keys, &err), &err);
    seal_keys_free(keys);
    note(self, "tokens.keys_directory", token_keys_check(config->tokens.keys_directory, &err),
         &err);
    if (config->store.kind == STORE_SQLITE)
        note(self, "store.path", store_sqlite_check(config->store.path, &err), &err);
}

/* Nothing that keeps Postern from working; told on stderr beside the verdict. */
static void warn(const struct config *config)
{
    for (unsigned i = 0; i < config->cluster_count; i++)
        if (config->clusters[i].authentication == AUTHENTICATION_OIDC &&
            config->tokens.lifetime_ms < 5 * 60 * 1000)
            fprintf(
                stderr,
                "%s: warning: clusters[%u].authentication is oidc, and tokens.lifetime is under "
                "5m: an API server whose clock is ahead refuses tokens early\n",
                config->path, i);
}

int command_check(const struct config *config, const struct command_input *input)
{
    (void)input;
    struct checker self = {.config = config};
    struct error err;
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    text_init(&self.problems.text, &pool);
    check_listeners(&self);
    check_proxy(&self);
    check_keys_and_store(&self);
    authorities_check(config, &self.problems);
    portal_icons_check(config, &self.problems);
    note(&self, "oidc", okta_check(config, &err), &err);
    unsigned count = self.problems.count;
    if (count != 0)
        fwrite(self.problems.text.bytes, 1, self.problems.text.len, stderr);
    else
        printf("%s: ok\n", config->path);
    warn(config);
    h2o_mem_clear_pool(&pool);
    return count == 0 ? 0 : 1;
}
