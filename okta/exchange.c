/* SPDX-License-Identifier: Apache-2.0
 *
 * A sign-in: the code for tokens, the id_token verified, userinfo asked unless oidc.user_in_idtoken says that all
 * is in the id_token. A code is redeemed once at most (D2): nothing here is tried again. */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "claims.h"
#include "http/web.h"
#include "okta_private.h"

/* oidc.user_in_idtoken: all that counts is in the token answer. Without a refresh token it could never be learned
 * anew. */
static bool learn(struct okta_call *self, struct answer *answer)
{
    const struct claims_source source = {self->expected_sub, self->id_claims};
    struct error err;
    if (self->tokens.refresh_token.len == 0)
        return answer_set(answer, OKTA_UNKNOWN, OUTCOME_REFUSED, "no_refresh_token",
                          "the answer has no refresh token, which oidc.user_in_idtoken needs");
    if (!claims_map(&self->pool, self->okta->config, &source, &self->claims, &err))
        return answer_malformed(answer, &err);
    if (!self->claims.groups_present) /* Okta may put groups into userinfo alone */
        log_warn("okta id_token without groups", LOG_STR("uid", self->expected_sub),
                 LOG_STR("claim", self->okta->config->oidc.claim_groups));
    return true;
}

static void on_verified(struct okta_call *self)
{
    struct answer answer = {.outcome = OUTCOME_OK};
    if (!self->okta->config->oidc.user_in_idtoken) {
        okta_count(self->okta, self->endpoint, OUTCOME_OK);
        userinfo_ask(self, secret_iovec(&self->tokens.access_token));
    } else if (call_judged(self, learn(self, &answer), &answer)) {
        call_finish(self);
    }
}

static void on_answer(struct okta_call *self, const struct fetch_result *result)
{
    struct answer answer;
    struct sent sent = call_sent(self);
    bool good = answer_token(result, &sent, self->asked_wall_ms, &self->tokens, &answer);
    if (good && self->tokens.id_token.len == 0)
        good = answer_set(&answer, OKTA_UNKNOWN, OUTCOME_MALFORMED, "malformed",
                          "the answer has no id_token");
    if (good)
        id_token_verify(self, on_verified);
    else
        call_judged(self, false, &answer);
}

static void redeem(struct okta_call *self)
{
    const char *redirect_uri = self->okta->redirect_uri;
    struct text form =
        call_form(self, self->credential.len + self->verifier.len + strlen(redirect_uri));
    web_form_add(&form, "grant_type", iovec_of("authorization_code"));
    web_form_add(&form, "code", self->credential);
    web_form_add(&form, "redirect_uri", iovec_of(redirect_uri));
    web_form_add(&form, "code_verifier", self->verifier);
    self->result.asked_mono_ms = clock_mono_ms(); /* userinfo, if asked, is asked later */
    self->result.asked_wall_ms = clock_wall_ms();
    call_ask(self, &(struct ask){.endpoint = ENDPOINT_EXCHANGE,
                                 .url = self->okta->provider->token_endpoint,
                                 .form = &form,
                                 .max_body = TOKEN_ANSWER_MAX,
                                 .answered = on_answer});
}

static void begin(struct okta_call *self)
{
    provider_wait(self, redeem);
}

struct okta_call *okta_sign_in(struct okta *self, struct loop *asker,
                               const struct okta_callback *params, okta_cb cb, void *ctx)
{
    struct okta_call *call = call_new(
        self, &(struct call_params){
                  .asker = asker, .cb = cb, .ctx = ctx, .lane = FETCH_INTERACTIVE, .begin = begin});
    call->signing_in = true;
    call->credential = secret_in_pool(&call->pool, params->code);
    call->verifier = secret_in_pool(&call->pool, iovec_of(params->code_verifier));
    call->begun_wall_ms = params->begun_wall_ms;
    call->nonce = text_dup(&call->pool, params->nonce);
    call_send(call);
    return call;
}
