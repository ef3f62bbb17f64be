/* SPDX-License-Identifier: Apache-2.0
 *
 * Learning what Okta offers: the discovery document, then its keys, taken over together or not at all. At
 * start and after a failure it is tried again with growing pauses, then once a day. There is one load at a time, and
 * questions that need it wait for it; a question that finds it failed begins the next try at once, but not more often
 * than THROTTLE_MS allows, so that a crowd at the sign-in page is no load on an Okta in trouble. */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "okta_private.h"

#define RETRY_FIRST_MS     5000
#define RETRY_MOST_MS      60000
#define DAILY_MS           (24 * INT64_C(3600) * 1000)
#define THROTTLE_MS        2000
#define DOCUMENT_MAX_BYTES 65536

static void load_begin(struct okta *self);

static void on_timer(struct loop_timer *timer)
{
    load_begin(H2O_STRUCT_FROM_MEMBER(struct okta, loading.timer, timer));
}

bool document_good(struct okta *self, enum okta_endpoint endpoint,
                   const struct fetch_result *result, const struct error *err, struct answer *out)
{
    int64_t took_ms = clock_mono_ms() - self->document_asked_ms[endpoint];
    bool good = result != NULL ? answer_document(result, out)
                               : answer_unreachable(out, err, took_ms, DOCUMENT_TIMEOUT_MS);
    if (!good)
        okta_count(self, endpoint, out->outcome);
    return good;
}

/* ---- the end of a load ---- */

static void fail_waiting(struct okta *self, const struct error *err)
{
    struct answer none;
    answer_set(&none, OKTA_UNKNOWN, OUTCOME_UNREACHABLE, "no_discovery", "%s", err->text);
    while (!h2o_linklist_is_empty(&self->loading.waiting)) {
        struct okta_call *call =
            H2O_STRUCT_FROM_MEMBER(struct okta_call, wait, self->loading.waiting.next);
        call_fail(call, &none); /* leaves the list */
    }
}

static void load_failed(struct okta *self, const struct error *err)
{
    struct loading *loading = &self->loading;
    int64_t pause_ms = RETRY_FIRST_MS;
    for (int64_t i = 0; i < loading->failures && pause_ms < RETRY_MOST_MS; i++)
        pause_ms *= 2;
    pause_ms = pause_ms < RETRY_MOST_MS ? pause_ms : RETRY_MOST_MS;
    loading->failures++;
    loading->running = false;
    provider_free(loading->provider);
    loading->provider = NULL;
    log_warn("okta discovery failed", LOG_STR("issuer", self->config->oidc.issuer),
             LOG_STR("reason", err->text), LOG_INT("retry_ms", pause_ms),
             LOG_BOOL("old_one_kept", self->provider != NULL));
    okta_set_trouble(self, err->text);
    loop_timer_start(self->home, &loading->timer, pause_ms, on_timer);
    fail_waiting(self, err);
}

static void load_done(struct okta *self, struct jwks *keys)
{
    struct loading *loading = &self->loading;
    bool news = self->provider == NULL || loading->failures > 0;
    provider_free(self->provider);
    self->provider = loading->provider;
    loading->provider = NULL;
    jwks_free(self->keys);
    self->keys = keys;
    loading->failures = 0;
    loading->running = false;
    if (news)
        log_info("okta discovered", LOG_STR("issuer", self->config->oidc.issuer));
    okta_set_discovered(self);
    loop_timer_start(self->home, &loading->timer, DAILY_MS, on_timer);
    keys_wake(&loading->waiting);
}

/* ---- its two steps ---- */

static void on_keys(void *ctx, const struct fetch_result *result, const struct error *err)
{
    struct okta *self = ctx;
    struct answer answer;
    struct jwks *keys;
    struct error why;
    self->loading.fetch = NULL;
    if (!document_good(self, ENDPOINT_KEYS, result, err, &answer)) {
        error_prefix(&answer.error, "keys");
        load_failed(self, &answer.error);
    } else if (!jwks_parse(result->body, &keys, &why)) {
        okta_count(self, ENDPOINT_KEYS, OUTCOME_MALFORMED);
        load_failed(self, &why);
    } else {
        okta_count(self, ENDPOINT_KEYS, OUTCOME_OK);
        load_done(self, keys);
    }
}

static bool read_document(struct okta *self, h2o_iovec_t body, struct error *err)
{
    struct provider *provider;
    if (!provider_parse(body, self->config->oidc.issuer, &provider, err))
        return false;
    if (provider->userinfo_endpoint == NULL && !self->config->oidc.user_in_idtoken) {
        provider_free(provider);
        return error_set(err, ERROR_BAD_INPUT, "discovery: it has no userinfo_endpoint");
    }
    self->loading.provider = provider;
    return true;
}

static void on_document(void *ctx, const struct fetch_result *result, const struct error *err)
{
    struct okta *self = ctx;
    struct answer answer;
    struct error why;
    self->loading.fetch = NULL;
    if (!document_good(self, ENDPOINT_DISCOVERY, result, err, &answer)) {
        error_prefix(&answer.error, "discovery");
        load_failed(self, &answer.error);
    } else if (!read_document(self, result->body, &why)) {
        okta_count(self, ENDPOINT_DISCOVERY, OUTCOME_MALFORMED);
        load_failed(self, &why);
    } else {
        okta_count(self, ENDPOINT_DISCOVERY, OUTCOME_OK);
        self->loading.fetch = keys_start(self, self->loading.provider->jwks_uri, on_keys);
    }
}

/* A slash that ends the issuer is left out before the well-known path is added (OIDC Discovery 4.1). */
static void load_begin(struct okta *self)
{
    const char *issuer = self->config->oidc.issuer;
    int len = (int)strlen(issuer);
    if (len > 0 && issuer[len - 1] == '/')
        len--;
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    loop_timer_stop(&self->loading.timer);
    self->loading.running = true;
    self->loading.began_mono_ms = clock_mono_ms();
    self->document_asked_ms[ENDPOINT_DISCOVERY] = self->loading.began_mono_ms;
    struct fetch_request request = {
        .lane = FETCH_INTERACTIVE,
        .method = "GET",
        .url = text_format(&pool, "%.*s/.well-known/openid-configuration", len, issuer),
        .ca_file = self->config->oidc.certificate_authority_file,
        .max_body = DOCUMENT_MAX_BYTES,
        .timeout_ms = DOCUMENT_TIMEOUT_MS};
    self->loading.fetch = fetch_start(self->fetcher, self->home, &request, on_document, self);
    h2o_mem_clear_pool(&pool);
}

static void fail_all(h2o_linklist_t *waiting)
{
    struct answer closed;
    answer_set(&closed, OKTA_UNKNOWN, OUTCOME_UNREACHABLE, "provider_changed",
               "the identity provider was changed");
    while (!h2o_linklist_is_empty(waiting))
        call_fail(H2O_STRUCT_FROM_MEMBER(struct okta_call, wait, waiting->next), &closed);
}

void loading_close(struct okta *self)
{
    struct fetch *fetches[] = {self->loading.fetch, self->rekeying.fetch};
    for (size_t i = 0; i < 2; i++)
        if (fetches[i] != NULL)
            fetch_cancel(fetches[i]);
    fail_all(&self->loading.waiting);
    fail_all(&self->rekeying.waiting);
    loop_timer_stop(&self->loading.timer);
    provider_free(self->loading.provider);
    provider_free(self->provider);
    jwks_free(self->keys);
    self->provider = self->loading.provider = NULL;
    self->keys = NULL;
    self->loading.fetch = self->rekeying.fetch = NULL;
    self->loading.running = self->rekeying.running = false;
    self->loading.began_mono_ms = self->rekeying.began_mono_ms = 0;
    self->loading.failures = 0;
}

void loading_boot(struct okta *self)
{
    if (!self->loading.running && !self->closed) /* else a question was quicker */
        load_begin(self);
}

/* ---- questions that need it ---- */

void provider_wait(struct okta_call *call, void (*next)(struct okta_call *call))
{
    struct okta *self = call->okta;
    if (self->provider != NULL) {
        next(call);
        return;
    }
    bool just_tried = self->loading.began_mono_ms != 0 &&
                      clock_mono_ms() - self->loading.began_mono_ms < THROTTLE_MS;
    if (!self->loading.running && just_tried) {
        struct answer none;
        struct okta_status status;
        okta_status(self, &status);
        answer_set(&none, OKTA_UNKNOWN, OUTCOME_UNREACHABLE, "no_discovery", "%s", status.error);
        call_fail(call, &none);
        return;
    }
    call->next = next;
    h2o_linklist_insert(&self->loading.waiting, &call->wait);
    if (!self->loading.running)
        load_begin(self);
}
