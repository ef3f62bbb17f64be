/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place that issues portal tokens: for the page, for a refresh, for a code. */
#pragma once

#include <h2o.h>

#include "cache/sessions.h"
#include "state.h"

struct issue_order {
    const struct config_cluster *cluster;
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
MUST_CHECK bool portal_issue(struct portal *portal, h2o_req_t *req, const struct issue_order *order,
                             struct issued_token *out, struct error *err);

/* NULL: the config has none of that name, or audience (which is the client_id, too). */
const struct config_cluster *portal_cluster(const struct portal *portal, h2o_iovec_t name);
const struct config_cluster *portal_client(const struct portal *portal, h2o_iovec_t client_id);
