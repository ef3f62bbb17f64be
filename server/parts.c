/* SPDX-License-Identifier: Apache-2.0
 *
 * See parts.h. */
#include "parts.h"

#include <assert.h>

#include "webhook/webhook.h"

bool parts_seal_keys(const struct config *config, struct seal_keys **out, struct error *err)
{
    const struct config_strings *files = &config->store.seal_key_files;
    if (files->count == 0) {
        *out = seal_keys_random(); /* what was sealed ends with the process, as the store does */
        return true;
    }
    return seal_keys_load((const char *const *)files->entries, files->count, out, err);
}

bool parts_store(const struct config *config, struct store **out, struct error *err)
{
    if (config->store.kind == STORE_SQLITE)
        return store_sqlite_open(config->store.path, out, err);
    *out = store_memory_new();
    return true;
}

bool parts_webhook_tls(const struct config *config, SSL_CTX **out, struct error *err)
{
    struct tls_options options = {
        .files = &config->webhook.tls, .session_context = "webhook", .http2 = true};
    options.client_ca_count = webhook_ca_files(config, options.client_cas, TLS_MAX_CLIENT_CAS);
    return tls_context_new(&options, out, err);
}

bool parts_portal_tls(const struct config *config, SSL_CTX **out, struct error *err)
{
    struct tls_options options = {.files = &config->portal.tls, .session_context = "portal"};
    return tls_context_new(&options, out, err);
}

bool parts_proxy_tls(const struct config *config, SSL_CTX **out, struct error *err)
{
    struct tls_options options = {.files = &config->proxy.tls, .session_context = "proxy"};
    return tls_context_new(&options, out, err);
}

enum token_algorithm parts_token_algorithm(const struct config *config)
{
    enum token_algorithm algorithm = TOKEN_ES256;
    bool known = token_algorithm_parse(config->tokens.algorithm, &algorithm);
    assert(known); /* the config was judged */
    return algorithm;
}
