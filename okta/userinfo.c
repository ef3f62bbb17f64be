/* SPDX-License-Identifier: Apache-2.0
 *
 * Userinfo: who a person is now, after a sign-in and whenever an identity is asked for anew. */
#include "base/clock.h"
#include "base/text.h"
#include "claims.h"
#include "okta_private.h"

#define USERINFO_MAX ((size_t)1024 * 1024) /* thousands of groups */

static bool judge(struct okta_call *self, const struct fetch_result *result, struct answer *answer)
{
    struct json *userinfo;
    struct error err;
    struct sent sent = call_sent(self);
    if (!answer_userinfo(&self->pool, result, &sent, &userinfo, answer)) {
        /* a token that was given out a moment ago is not old */
        if (self->signing_in && answer->answer == OKTA_TOKEN_OLD)
            answer->answer = OKTA_UNKNOWN;
        return false;
    }
    const struct claims_source source = {self->expected_sub, userinfo};
    if (claims_map(&self->pool, self->okta->config, &source, &self->claims, &err))
        return true;
    if (err.kind == ERROR_REJECTED)
        return answer_set(answer, self->signing_in ? OKTA_NO : OKTA_UNKNOWN, OUTCOME_MALFORMED,
                          "wrong_sub", "%s", err.text);
    return answer_malformed(answer, &err);
}

static void on_answer(struct okta_call *self, const struct fetch_result *result)
{
    struct answer answer;
    bool good = judge(self, result, &answer);
    if (call_judged(self, good, &answer))
        call_finish(self);
}

void userinfo_ask(struct okta_call *self, h2o_iovec_t access_token)
{
    const char *url = self->okta->provider->userinfo_endpoint;
    if (url == NULL) { /* oidc.user_in_idtoken, and a provider without it */
        struct answer none;
        answer_set(&none, OKTA_UNKNOWN, OUTCOME_REFUSED, "no_userinfo",
                   "the discovery document has no userinfo_endpoint");
        call_fail(self, &none);
        return;
    }
    static const char scheme[] = "Bearer ";
    size_t prefix = sizeof(scheme) - 1;
    h2o_iovec_t authorization = secret_alloc_in_pool(&self->pool, prefix + access_token.len);
    memcpy(authorization.base, scheme, prefix);
    h2o_memcpy(authorization.base + prefix, access_token.base, access_token.len);
    self->result.asked_mono_ms = clock_mono_ms();
    self->result.asked_wall_ms = clock_wall_ms();
    call_ask(self, &(struct ask){.endpoint = ENDPOINT_USERINFO,
                                 .url = url,
                                 .authorization = authorization,
                                 .max_body = USERINFO_MAX,
                                 .answered = on_answer});
}

static void ask(struct okta_call *self)
{
    userinfo_ask(self, self->credential);
}

static void begin(struct okta_call *self)
{
    provider_wait(self, ask);
}

struct okta_call *okta_userinfo(struct okta *self, struct loop *asker, h2o_iovec_t access_token,
                                const char *expected_sub, okta_cb cb, void *ctx)
{
    struct okta_call *call = call_new(
        self, &(struct call_params){
                  .asker = asker, .cb = cb, .ctx = ctx, .lane = FETCH_IDENTITY, .begin = begin});
    call->credential = secret_in_pool(&call->pool, access_token);
    call->expected_sub = text_dup(&call->pool, expected_sub);
    call_send(call);
    return call;
}
