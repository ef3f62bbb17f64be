/* SPDX-License-Identifier: Apache-2.0
 *
 * See issue.h. What a token says follows from its cluster: where the webhook judges, it names a session and
 * nothing of the person; in OIDC mode it says what RBAC is to see, or it is not issued at all. */
#include "webhook/issue.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/web.h"

void issue_init(struct issue *self, const struct config *config, const struct token_keys *keys,
                struct metrics *metrics)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    *self = (struct issue){.config = config, .keys = keys};
    self->issued = h2o_mem_alloc((config->cluster_count + 1) * sizeof(struct counter *));
    for (unsigned i = 0; i < config->cluster_count; i++)
        self->issued[i] = metrics_counter(
            metrics, "postern_tokens_issued_total", "Portal tokens issued.",
            text_format(&pool, "cluster=\"%s\"", metrics_label(&pool, config->clusters[i].name)));
    h2o_mem_clear_pool(&pool);
}

void issue_dispose(struct issue *self)
{
    free(self->issued);
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

static void tell(const struct issue *self, h2o_req_t *req, const struct issue_order *order,
                 const char *jti)
{
    char address[WEB_ADDRESS_SIZE];
    web_remote_address(req, address);
    counter_add(self->issued[order->cluster - self->config->clusters], 1);
    log_audit("token_issued", LOG_STR("user", order->identity->username),
              LOG_STR("uid", order->grant->uid), LOG_STR("session", order->grant->id),
              LOG_STR("cluster", order->cluster->name), LOG_STR("jti", jti),
              LOG_STR("address", address), LOG_STR("request_id", web_request_id(req)));
}

bool issue_token(const struct issue *self, h2o_req_t *req, const struct issue_order *order,
                 struct issued_token *out, struct error *err)
{
    const struct config *config = self->config;
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
    if (!token_issue(&req->pool, self->keys, &claims, &made.token, &jti, err)) {
        if (err->kind == ERROR_REJECTED && is_oidc)
            return error_set(err, ERROR_REJECTED,
                             "your %zu groups do not fit into a token: users.groups_include must "
                             "take fewer, or the cluster use the webhook",
                             profile.group_count);
        return false;
    }
    made.expires_ms = (claims.now_ms / 1000 + claims.lifetime_s) * 1000;
    tell(self, req, order, jti);
    *out = made;
    return true;
}
