/* SPDX-License-Identifier: Apache-2.0
 *
 * The refresh grant. Scope is left out, which means "as granted" (RFC 6749 section 6): asking for more than was
 * granted would be refused. Only Okta's own no ends a session (answers.c). */
#include "base/clock.h"
#include "base/text.h"
#include "http/web.h"
#include "okta_private.h"

#define TOKEN_ANSWER_MAX 65536

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
        id_token_verify(self, call_finish); /* counts */
    else if (call_judged(self, true, &answer))
        call_finish(self);
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
