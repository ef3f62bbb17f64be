/* SPDX-License-Identifier: Apache-2.0
 *
 * A sign-in: the code for tokens, the id_token verified, userinfo asked. A code is redeemed once at most
 * (D2): nothing here is tried again. */
#include "base/clock.h"
#include "base/text.h"
#include "claims.h"
#include "http/web.h"
#include "okta_private.h"

#define TOKEN_ANSWER_MAX 65536

static void on_verified(struct okta_call *self)
{
    if (!self->okta->config->oidc.user_in_idtoken) {
        userinfo_ask(self, secret_iovec(&self->tokens.access_token));
        return;
    }
    const struct claims_sources sources = {self->expected_sub, NULL, self->id_claims};
    struct error err;
    if (claims_map(&self->pool, self->okta->config, &sources, &self->claims, &err)) {
        call_finish(self);
        return;
    }
    struct answer no;
    answer_malformed(&no, &err);
    call_fail(self, &no);
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
        id_token_verify(self, on_verified); /* counts */
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
