/* SPDX-License-Identifier: Apache-2.0
 *
 * What the config's files become: keys, store, TLS. Used by `serve`, which keeps it, and by `check`, which
 * throws it away. */
#pragma once

#include "base/config.h"
#include "base/crypto.h"
#include "cache/store.h"
#include "tls.h"
#include "token/token.h"

MUST_CHECK bool parts_seal_keys(const struct config *config, struct seal_keys **out,
                                struct error *err);
MUST_CHECK bool parts_store(const struct config *config, struct store **out, struct error *err);
MUST_CHECK bool parts_webhook_tls(const struct config *config, SSL_CTX **out, struct error *err);
MUST_CHECK bool parts_portal_tls(const struct config *config, SSL_CTX **out, struct error *err);
MUST_CHECK bool parts_proxy_tls(const struct config *config, SSL_CTX **out, struct error *err);
enum token_algorithm parts_token_algorithm(const struct config *config);
