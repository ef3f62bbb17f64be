/* SPDX-License-Identifier: Apache-2.0
 *
 * The id_token of a sign-in or a refresh: its signature with the keys that we have, once more with new ones
 * where its key is unknown, then its claims. */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "id_token.h"
#include "okta_private.h"

/* At a sign-in what does not verify is a no. After a refresh it proves nothing against the person. */
static void refuse(struct okta_call *self, const char *code, const struct error *err)
{
    struct answer no;
    answer_set(&no, self->signing_in ? OKTA_NO : OKTA_UNKNOWN, OUTCOME_MALFORMED, code, "%s",
               err->text);
    call_judged(self, false, &no);
}

/* The keys can't be had right now. A refresh goes on without its id_token: the refresh token that came with it
 * may be the only one that is still good. */
static void go_without_keys(struct okta_call *self)
{
    if (self->signing_in) {
        struct answer unknown;
        answer_set(&unknown, OKTA_UNKNOWN, OUTCOME_MALFORMED, "unknown_key",
                   "the id_token's key is not among Okta's, as far as we know them");
        call_judged(self, false, &unknown);
        return;
    }
    if (!self->okta->config->oidc.user_in_idtoken) /* else the failure says so */
        log_warn("okta id_token left out", LOG_STR("reason", "its key is unknown"),
                 LOG_STR("uid", self->expected_sub));
    secret_dispose(&self->tokens.id_token);
    self->verified(self);
}

static void judge_claims(struct okta_call *self)
{
    const struct config *config = self->okta->config;
    struct id_token_rules rules = {.issuer = config->oidc.issuer,
                                   .client_id = config->oidc.client_id,
                                   .nonce = self->nonce,
                                   .subject = self->expected_sub,
                                   .access_token = secret_iovec(&self->tokens.access_token),
                                   .now_s = clock_wall_ms() / 1000};
    struct error err;
    if (!id_token_judge(self->id_claims, &rules, &self->expected_sub, &err)) {
        refuse(self, "id_token_refused", &err);
        return;
    }
    const struct id_token_demands demands = {.fresh = config->oidc.force_authentication,
                                             .begun_s = self->begun_wall_ms / 1000,
                                             .acr_values = &config->oidc.acr_values};
    const char *code;
    if (self->signing_in && !id_token_meets(self->id_claims, &demands, &code, &err)) {
        refuse(self, code, &err);
        return;
    }
    self->verified(self);
}

static void check_signature(struct okta_call *self)
{
    bool unknown_kid;
    struct error err;
    if (jwt_verify(&self->pool, self->okta->keys, secret_iovec(&self->tokens.id_token),
                   &self->id_claims, &unknown_kid, &err)) {
        judge_claims(self);
        return;
    }
    if (!unknown_kid) {
        error_prefix(&err, "id_token");
        refuse(self, "id_token_refused", &err);
        return;
    }
    bool waits = !self->keys_asked && keys_wait(self, check_signature);
    self->keys_asked = true;
    if (!waits)
        go_without_keys(self);
}

void id_token_verify(struct okta_call *self, void (*verified)(struct okta_call *self))
{
    self->verified = verified;
    check_signature(self);
}
