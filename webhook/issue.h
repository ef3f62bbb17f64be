/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place that issues portal tokens: for the page, for a refresh, for a code, for an app behind the proxy. */
#pragma once

#include <h2o.h>

#include "base/config.h"
#include "base/metrics.h"
#include "cache/identities.h"
#include "cache/sessions.h"
#include "token/token.h"

struct issue {
    const struct config *config;
    const struct token_keys *keys;
    struct counter **issued; /* one for each cluster of the config */
};
/* All borrowed. */
void issue_init(struct issue *self, const struct config *config, const struct token_keys *keys,
                struct metrics *metrics);
void issue_dispose(struct issue *self); /* accepts a zeroed one */

struct issue_order {
    const struct config_cluster *cluster; /* of self's config */
    const struct session_grant *grant;
    const struct identity *identity; /* may use the cluster: the caller has judged that */
    const char *nonce;               /* NULL or "": none */
};
struct issued_token { /* in the request's pool */
    h2o_iovec_t token;
    int64_t made_ms, expires_ms;
};
/* The token, audited and counted. REJECTED: in OIDC mode, so many groups that no token holds them; err says what
 * helps. INTERNAL: it can't be signed. */
MUST_CHECK bool issue_token(const struct issue *self, h2o_req_t *req,
                            const struct issue_order *order, struct issued_token *out,
                            struct error *err);
