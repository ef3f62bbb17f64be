/* SPDX-License-Identifier: Apache-2.0
 *
 * See issue.h. What a token says follows from its cluster: where the webhook judges, it names a session and
 * nothing of the person; in OIDC mode it says what RBAC is to see, or it is not issued at all. */
#include "issue.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/web.h"

const struct config_cluster *portal_cluster(const struct portal *portal, h2o_iovec_t name)
{
    const struct config *config = portal->parts.config;
    for (unsigned i = 0; i < config->cluster_count; i++)
        if (iovec_equal(name, config->clusters[i].name))
            return &config->clusters[i];
    return NULL;
}

const struct config_cluster *portal_client(const struct portal *portal, h2o_iovec_t client_id)
{
    const struct config *config = portal->parts.config;
    for (unsigned i = 0; i < config->cluster_count; i++)
        if (iovec_equal(client_id, config->clusters[i].audience))
            return &config->clusters[i];
    return NULL;
}

static struct token_profile profile_of(const struct identity *identity)
{
    return (struct token_profile){.name = identity->attributes[USER_DISPLAY_NAME],
                                  .preferred_username = identity->username,
                                  .email = identity->attributes[USER_EMAIL],
                                  .email_verified = identity->email_verified,
                                  .groups = identity->groups,
                                  .group_count = identity->group_count};
}

static void tell(struct portal *portal, h2o_req_t *req, const struct issue_order *order,
                 const char *jti)
{
    char address[WEB_ADDRESS_SIZE];
    web_remote_address(req, address);
    counter_add(portal->tokens_issued[order->cluster - portal->parts.config->clusters], 1);
    log_audit("token_issued", LOG_STR("user", order->identity->username),
              LOG_STR("uid", order->grant->uid), LOG_STR("session", order->grant->id),
              LOG_STR("cluster", order->cluster->name), LOG_STR("jti", jti),
              LOG_STR("address", address), LOG_STR("request_id", web_request_id(req)));
}

bool portal_issue(struct portal *portal, h2o_req_t *req, const struct issue_order *order,
                  struct issued_token *out, struct error *err)
{
    const struct config *config = portal->parts.config;
    const struct token_profile profile = profile_of(order->identity);
    bool is_oidc = order->cluster->authentication == AUTHENTICATION_OIDC;
    struct issued_token made = {.made_ms = clock_wall_ms()};
    const struct token_claims claims = {.issuer = config->portal.issuer,
                                        .subject = order->grant->uid,
                                        .audience = order->cluster->audience,
                                        .session = order->grant->id,
                                        .now_ms = made.made_ms,
                                        .lifetime_s = config->tokens.lifetime_ms / 1000,
                                        .nonce = order->nonce,
                                        .profile = is_oidc ? &profile : NULL};
    const char *jti;
    if (!token_issue(&req->pool, portal->parts.keys, &claims, &made.token, &jti, err)) {
        if (err->kind == ERROR_REJECTED && is_oidc)
            return error_set(err, ERROR_REJECTED,
                             "your %zu groups do not fit into a token: users.groups_include must "
                             "take fewer, or the cluster use the webhook",
                             profile.group_count);
        return false;
    }
    made.expires_ms = (claims.now_ms / 1000 + claims.lifetime_s) * 1000;
    tell(portal, req, order, jti);
    *out = made;
    return true;
}
