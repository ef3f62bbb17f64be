/* SPDX-License-Identifier: Apache-2.0
 *
 * A question's life between the loops, and the one way in which it asks Okta. */
#include <assert.h>

#include "base/clock.h"
#include "base/text.h"
#include "okta_private.h"

#define DEADLINE_MS 10000

static struct okta_call *call_of_hop(struct loop_call *hop)
{
    return H2O_STRUCT_FROM_MEMBER(struct okta_call, hop, hop);
}

static void on_home(struct loop_call *hop);
static void on_asker(struct loop_call *hop);
static void on_deadline(struct loop_timer *timer);

struct okta_call *call_new(struct okta *okta, const struct call_params *params)
{
    struct okta_call *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct okta_call){.hop.run = on_home,
                               .okta = okta,
                               .asker = params->asker,
                               .cb = params->cb,
                               .ctx = params->ctx,
                               .lane = params->lane,
                               .begin = params->begin};
    self->epoch = atomic_load(&okta->epoch);
    atomic_init(&self->state, CALL_OPEN);
    h2o_mem_init_pool(&self->pool);
    return self;
}

void call_send(struct okta_call *self)
{
    loop_post(self->okta->home, &self->hop);
}

static void call_free(struct okta_call *self)
{
    provider_tokens_dispose(&self->tokens);
    h2o_mem_clear_pool(&self->pool);
    free(self);
}

/* ---- at home ---- */

/* A question of before the provider was changed, with its codes and tokens, is not for the one of now. */
static bool is_outdated(const struct okta_call *self)
{
    return self->epoch != atomic_load(&self->okta->epoch);
}

static void fail_outdated(struct okta_call *self)
{
    struct answer late;
    answer_set(&late, OKTA_UNKNOWN, OUTCOME_UNREACHABLE, "provider_changed",
               "the identity provider was changed");
    call_fail(self, &late);
}

static void on_home(struct loop_call *hop)
{
    struct okta_call *self = call_of_hop(hop);
    h2o_linklist_insert(&self->okta->calls, &self->link);
    self->deadline_mono_ms = clock_mono_ms() + DEADLINE_MS;
    loop_timer_start(self->okta->home, &self->timer, DEADLINE_MS, on_deadline);
    if (self->okta->closed || is_outdated(self))
        fail_outdated(self);
    else
        self->begin(self);
}

/* A fetch in flight has a time-out of its own, which is over by now or will be in a moment. */
static void on_deadline(struct loop_timer *timer)
{
    struct okta_call *self = H2O_STRUCT_FROM_MEMBER(struct okta_call, timer, timer);
    struct answer late;
    if (self->asking)
        return;
    answer_set(&late, OKTA_UNKNOWN, OUTCOME_TIMEOUT, "timeout", "Okta did not answer in time");
    call_fail(self, &late);
}

static void leave_home(struct okta_call *self)
{
    assert(!self->asking);
    loop_timer_stop(&self->timer);
    h2o_linklist_unlink(&self->link);
    if (h2o_linklist_is_linked(&self->wait))
        h2o_linklist_unlink(&self->wait);
}

/* What a sign-in brought and nobody will use is given back; what a refresh brought is the same session's,
 * which goes on. */
static void discard_tokens(struct okta_call *self)
{
    if (self->signing_in && self->tokens.refresh_token.len != 0 && !is_outdated(self))
        revoke_behind(self->okta, secret_iovec(&self->tokens.refresh_token));
    provider_tokens_dispose(&self->tokens);
}

static void answer_asker(struct okta_call *self)
{
    int open = CALL_OPEN;
    if (atomic_compare_exchange_strong(&self->state, &open, CALL_ANSWERED)) {
        self->hop = (struct loop_call){.run = on_asker};
        loop_post(self->asker, &self->hop);
        return;
    }
    discard_tokens(self);
    call_free(self);
}

void call_finish(struct okta_call *self)
{
    leave_home(self);
    self->result.answer = OKTA_OK;
    self->result.tokens = self->tokens.access_token.len != 0 ? &self->tokens : NULL;
    self->result.claims = self->claims.uid != NULL ? &self->claims : NULL;
    answer_asker(self);
}

void call_fail(struct okta_call *self, const struct answer *answer)
{
    leave_home(self);
    if (!self->keeps_tokens)
        discard_tokens(self);
    self->failure = *answer;
    self->result = (struct okta_result){.answer = answer->answer,
                                        .error = answer->error,
                                        .code = self->failure.code,
                                        .tokens = self->keeps_tokens ? &self->tokens : NULL,
                                        .asked_mono_ms = self->result.asked_mono_ms,
                                        .asked_wall_ms = self->result.asked_wall_ms};
    answer_asker(self);
}

void calls_drop(struct okta *okta)
{
    while (!h2o_linklist_is_empty(&okta->calls)) {
        struct okta_call *self = H2O_STRUCT_FROM_MEMBER(struct okta_call, link, okta->calls.next);
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it misses that unlink moves the list's head */
        assert(self->link.prev == &okta->calls);
        h2o_linklist_unlink(&self->link);
        call_free(self);
    }
}

/* ---- asking ---- */

static void on_fetched(void *ctx, const struct fetch_result *result, const struct error *err)
{
    struct okta_call *self = ctx;
    self->asking = false;
    if (is_outdated(self)) {
        fail_outdated(self);
        return;
    }
    if (result != NULL) {
        okta_note_rate(self->okta, self->endpoint, result);
        self->answered(self, result);
        return;
    }
    struct answer nothing;
    answer_unreachable(&nothing, err, clock_mono_ms() - self->asked_mono_ms,
                       self->asked_timeout_ms);
    call_judged(self, false, &nothing);
}

/* Into the form, or as the header to send. Kept in the pool, as a reload may take okta's away. */
static bool prove_client(struct okta_call *self, const struct ask *ask, h2o_iovec_t *authorization)
{
    struct client_proof proof;
    struct error err;
    if (!client_auth_prove(&self->okta->auth, ask->url, ask->form, &proof, &err)) {
        struct answer broken;
        answer_set(&broken, OKTA_UNKNOWN, OUTCOME_REFUSED, "client_assertion", "%s", err.text);
        call_fail(self, &broken);
        return false;
    }
    self->proof = secret_in_pool(&self->pool, proof.secret);
    *authorization = proof.authorization;
    return true;
}

void call_ask(struct okta_call *self, const struct ask *ask)
{
    h2o_iovec_t authorization = ask->authorization;
    if (ask->form != NULL && !prove_client(self, ask, &authorization))
        return;
    int64_t now_ms = clock_mono_ms(), left_ms = self->deadline_mono_ms - now_ms;
    self->endpoint = ask->endpoint;
    self->answered = ask->answered;
    self->asking = true;
    self->asked_mono_ms = now_ms;
    self->asked_wall_ms = clock_wall_ms();
    self->asked_timeout_ms = left_ms > 1 ? (int)left_ms : 1;
    struct fetch_request request = {.lane = self->lane,
                                    .method = ask->form != NULL ? "POST" : "GET",
                                    .url = ask->url,
                                    .authorization = authorization,
                                    .ca_file = self->okta->config->oidc.certificate_authority_file,
                                    .max_body = ask->max_body,
                                    .timeout_ms = self->asked_timeout_ms};
    if (ask->form != NULL) {
        request.content_type = iovec_of("application/x-www-form-urlencoded");
        request.body = text_iovec(ask->form);
    }
    fetch_start(self->okta->fetcher, self->okta->home, &request, on_fetched, self);
}

bool call_judged(struct okta_call *self, bool good, const struct answer *answer)
{
    okta_count(self->okta, self->endpoint, answer->outcome);
    if (!good) {
        struct answer failed = *answer;
        static const char *const steps[ENDPOINTS] = {"discovery",      "keys",     "token endpoint",
                                                     "token endpoint", "userinfo", "revocation"};
        error_prefix(&failed.error, steps[self->endpoint]);
        call_fail(self, &failed);
    }
    return good;
}

/* Percent-encoding makes three of one byte; the names and signs between them fit into the rest. */
struct text call_form(struct okta_call *self, size_t longest)
{
    size_t capacity = 3 * (longest + client_auth_longest(&self->okta->auth)) + 1024;
    h2o_iovec_t room = secret_alloc_in_pool(&self->pool, capacity);
    return (struct text){.pool = &self->pool, .bytes = room.base, .capacity = capacity};
}

struct sent call_sent(const struct okta_call *self)
{
    return (struct sent){.secrets = {self->credential, self->verifier,
                                     secret_iovec(&self->tokens.access_token), self->proof}};
}

/* ---- back at the asker ---- */

static void on_asker(struct loop_call *hop)
{
    struct okta_call *self = call_of_hop(hop);
    if (atomic_load(&self->state) == CALL_ANSWERED)
        self->cb(self->ctx, &self->result);
    else
        discard_tokens(self); /* cancelled on the way */
    call_free(self);
}

void okta_cancel(struct okta_call *call)
{
    atomic_store(&call->state, CALL_CANCELLED);
}
