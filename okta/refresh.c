/* SPDX-License-Identifier: Apache-2.0
 *
 * The refresh grant. Scope is left out, which means "as granted" (RFC 6749 section 6): asking for more than was
 * granted would be refused. Only Okta's own no ends a session (answers.c).
 *
 * With oidc.user_in_idtoken the refreshed id_token says who a person is now. Where it does not, nothing is known,
 * but the tokens are kept: the refresh token among them may be the only one that is still good. */
#include "base/clock.h"
#include "base/text.h"
#include "claims.h"
#include "http/web.h"
#include "id_token.h"
#include "okta_private.h"

/* The tokens are good from here on. */
static void conclude(struct okta_call *self, bool good, const struct answer *answer)
{
    self->keeps_tokens = true;
    if (call_judged(self, good, answer))
        call_finish(self);
}

static void conclude_without_id_token(struct okta_call *self, const char *code, const char *why)
{
    struct answer answer = {.outcome = OUTCOME_OK};
    bool good = !self->okta->config->oidc.user_in_idtoken;
    if (!good)
        answer_set(&answer, OKTA_UNKNOWN, OUTCOME_MALFORMED, code, "%s", why);
    conclude(self, good, &answer);
}

static bool learn(struct okta_call *self, struct answer *answer)
{
    const struct claims_source source = {self->expected_sub, self->id_claims};
    struct error err;
    if (!id_token_is_new(self->id_claims, self->asked_wall_ms / 1000, &err) ||
        !claims_map(&self->pool, self->okta->config, &source, &self->claims, &err))
        return answer_malformed(answer, &err);
    self->result.asked_mono_ms = self->asked_mono_ms;
    self->result.asked_wall_ms = self->asked_wall_ms;
    return true;
}

static void on_verified(struct okta_call *self)
{
    struct answer answer = {.outcome = OUTCOME_OK};
    if (self->id_claims == NULL)
        conclude_without_id_token(self, "unknown_key",
                                  "the id_token's key is not among Okta's, as far as we know them");
    else
        conclude(self, !self->okta->config->oidc.user_in_idtoken || learn(self, &answer), &answer);
}

static void on_answer(struct okta_call *self, const struct fetch_result *result)
{
    struct answer answer;
    struct sent sent = call_sent(self);
    if (!answer_token(result, &sent, self->asked_wall_ms, &self->tokens, &answer)) {
        call_judged(self, false, &answer);
        return;
    }
    if (self->tokens.refresh_token.len == 0) /* persistent: Okta may leave it out */
        secret_set(&self->tokens.refresh_token, self->credential.base, self->credential.len);
    if (self->tokens.id_token.len != 0)
        id_token_verify(self, on_verified);
    else
        conclude_without_id_token(self, "no_id_token", "the answer has no id_token");
}

static void ask(struct okta_call *self)
{
    struct text form = call_form(self, self->credential.len);
    web_form_add(&form, "grant_type", iovec_of("refresh_token"));
    web_form_add(&form, "refresh_token", self->credential);
    call_ask(self, &(struct ask){.endpoint = ENDPOINT_REFRESH,
                                 .url = self->okta->provider->token_endpoint,
                                 .form = &form,
                                 .max_body = TOKEN_ANSWER_MAX,
                                 .answered = on_answer});
}

/* A refresh while Okta says "too many" would be refused, and would count against the sign-ins. */
static void begin(struct okta_call *self)
{
    if (budget_closed(&self->okta->rates[BUCKET_TOKEN].budget, clock_mono_ms())) {
        struct answer answer;
        answer_set(&answer, OKTA_UNKNOWN, OUTCOME_RATE_LIMITED, "rate_limited",
                   "the token endpoint's rate limit is used up");
        call_fail(self, &answer);
        return;
    }
    provider_wait(self, ask);
}

struct okta_call *okta_refresh(struct okta *self, struct loop *asker, h2o_iovec_t refresh_token,
                               const char *expected_sub, okta_cb cb, void *ctx)
{
    struct okta_call *call = call_new(
        self, &(struct call_params){
                  .asker = asker, .cb = cb, .ctx = ctx, .lane = FETCH_IDENTITY, .begin = begin});
    call->credential = secret_in_pool(&call->pool, refresh_token);
    call->expected_sub = text_dup(&call->pool, expected_sub);
    call_send(call);
    return call;
}
