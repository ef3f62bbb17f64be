/* SPDX-License-Identifier: Apache-2.0
 *
 * Giving a refresh token back (RFC 7009); its access tokens go with it. Where nobody waits for it, it is tried
 * MOST_TRIES times and a failure is one log line: the session is over here whatever Okta says. */
#include <assert.h>

#include "base/log.h"
#include "base/text.h"
#include "http/web.h"
#include "okta_private.h"

#define REVOKE_ANSWER_MAX 65536
#define MOST_TRIES        3

static void on_answer(struct okta_call *self, const struct fetch_result *result)
{
    struct answer answer;
    struct sent sent = call_sent(self);
    bool good = answer_revoke(result, &sent, &answer);
    if (call_judged(self, good, &answer))
        call_finish(self);
}

static void ask(struct okta_call *self)
{
    const char *url = self->okta->provider->revocation_endpoint;
    if (url == NULL) {
        struct answer none;
        answer_set(&none, OKTA_UNKNOWN, OUTCOME_REFUSED, "no_revocation",
                   "the discovery document has no revocation_endpoint");
        call_fail(self, &none);
        return;
    }
    struct text form = call_form(self, self->credential.len);
    web_form_add(&form, "token", self->credential);
    web_form_add(&form, "token_type_hint", iovec_of("refresh_token"));
    call_ask(self, &(struct ask){.endpoint = ENDPOINT_REVOKE,
                                 .url = url,
                                 .form = &form,
                                 .max_body = REVOKE_ANSWER_MAX,
                                 .answered = on_answer});
}

static void begin(struct okta_call *self)
{
    provider_wait(self, ask);
}

struct okta_call *okta_revoke(struct okta *self, struct loop *asker, h2o_iovec_t refresh_token,
                              okta_cb cb, void *ctx)
{
    if (cb == NULL) {
        revoke_behind(self, refresh_token);
        return NULL;
    }
    struct okta_call *call = call_new(
        self, &(struct call_params){
                  .asker = asker, .cb = cb, .ctx = ctx, .lane = FETCH_INTERACTIVE, .begin = begin});
    call->credential = secret_in_pool(&call->pool, refresh_token);
    call_send(call);
    return call;
}

/* ---- nobody waits: on the home loop until it worked or was tried often enough ---- */

struct revocation {
    struct loop_call hop; /* to the home loop */
    struct okta *okta;
    h2o_linklist_t link; /* in okta.revocations */
    struct secret token;
    unsigned epoch; /* okta's when it began */
    int tries;
    struct loop_timer timer; /* the pause between two tries */
};

static void revocation_free(struct revocation *self)
{
    secret_dispose(&self->token);
    free(self);
}

static void revocation_end(struct revocation *self)
{
    h2o_linklist_unlink(&self->link);
    revocation_free(self);
}

static void try_once(struct revocation *self);

static void on_pause_over(struct loop_timer *timer)
{
    try_once(H2O_STRUCT_FROM_MEMBER(struct revocation, timer, timer));
}

static void on_tried(void *ctx, struct okta_result *result)
{
    static const int64_t pauses_ms[MOST_TRIES - 1] = {2000, 15000};
    struct revocation *self = ctx;
    if (result->answer == OKTA_OK) {
        revocation_end(self);
    } else if (self->tries < MOST_TRIES) {
        loop_timer_start(self->okta->home, &self->timer, pauses_ms[self->tries - 1], on_pause_over);
    } else {
        log_warn("okta token not revoked", LOG_STR("code", result->code),
                 LOG_STR("reason", result->error.text), LOG_INT("tries", self->tries));
        revocation_end(self);
    }
}

static void try_once(struct revocation *self)
{
    if (self->epoch != atomic_load(&self->okta->epoch)) { /* another provider must not see it */
        revocation_end(self);
        return;
    }
    self->tries++;
    okta_revoke(self->okta, self->okta->home, secret_iovec(&self->token), on_tried, self);
}

static void on_home(struct loop_call *hop)
{
    struct revocation *self = H2O_STRUCT_FROM_MEMBER(struct revocation, hop, hop);
    h2o_linklist_insert(&self->okta->revocations, &self->link);
    try_once(self);
}

void revoke_behind(struct okta *okta, h2o_iovec_t refresh_token)
{
    struct revocation *self = h2o_mem_alloc(sizeof(*self));
    *self =
        (struct revocation){.hop.run = on_home, .okta = okta, .epoch = atomic_load(&okta->epoch)};
    secret_set(&self->token, refresh_token.base, refresh_token.len);
    loop_post(okta->home, &self->hop);
}

void revocations_drop(struct okta *okta)
{
    while (!h2o_linklist_is_empty(&okta->revocations)) {
        struct revocation *self =
            H2O_STRUCT_FROM_MEMBER(struct revocation, link, okta->revocations.next);
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it misses that unlink moves the list's head */
        assert(self->link.prev == &okta->revocations);
        h2o_linklist_unlink(&self->link);
        revocation_free(self);
    }
}
