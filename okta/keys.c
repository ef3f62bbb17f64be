/* SPDX-License-Identifier: Apache-2.0
 *
 * Okta's signing keys: fetched with the discovery document, and anew when an id_token names a key that we don't
 * know. Not more often than THROTTLE_MS, whatever comes of it, so that nobody can make us ask at will (D16,
 * peers 3); whoever comes in between is told that the key is unknown. */
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "okta_private.h"

#define THROTTLE_MS    30000
#define KEYS_MAX_BYTES 65536

struct fetch *keys_start(struct okta *self, const char *url, fetch_cb cb)
{
    self->document_asked_ms[ENDPOINT_KEYS] = clock_mono_ms();
    struct fetch_request request = {.lane = FETCH_INTERACTIVE,
                                    .method = "GET",
                                    .url = url,
                                    .ca_file = self->config->oidc.certificate_authority_file,
                                    .max_body = KEYS_MAX_BYTES,
                                    .timeout_ms = DOCUMENT_TIMEOUT_MS};
    return fetch_start(self->fetcher, self->home, &request, cb, self);
}

/* A call may wait again while the others are woken: only those that wait now are. */
void keys_wake(h2o_linklist_t *waiting)
{
    h2o_linklist_t now;
    h2o_linklist_init_anchor(&now);
    h2o_linklist_insert_list(&now, waiting);
    while (!h2o_linklist_is_empty(&now)) {
        struct okta_call *call = H2O_STRUCT_FROM_MEMBER(struct okta_call, wait, now.next);
        h2o_linklist_unlink(&call->wait);
        call->next(call);
    }
}

static bool take_keys(struct okta *self, const struct fetch_result *result, const struct error *err,
                      struct error *why)
{
    struct answer answer;
    struct jwks *keys;
    if (!document_good(self, ENDPOINT_KEYS, result, err, &answer)) {
        *why = answer.error;
        return error_prefix(why, "keys");
    }
    if (!jwks_parse(result->body, &keys, why)) {
        okta_count(self, ENDPOINT_KEYS, OUTCOME_MALFORMED);
        return false;
    }
    okta_count(self, ENDPOINT_KEYS, OUTCOME_OK);
    jwks_free(self->keys);
    self->keys = keys;
    return true;
}

static void on_keys(void *ctx, const struct fetch_result *result, const struct error *err)
{
    struct okta *self = ctx;
    struct error why;
    self->rekeying.running = false;
    self->rekeying.fetch = NULL;
    if (!take_keys(self, result, err, &why)) {
        log_warn("okta keys not fetched", LOG_STR("reason", why.text));
        okta_set_trouble(self, why.text);
    } else {
        log_info("okta keys fetched anew");
        okta_set_trouble(self, "");
    }
    keys_wake(&self->rekeying.waiting);
}

bool keys_wait(struct okta_call *call, void (*next)(struct okta_call *call))
{
    struct okta *self = call->okta;
    struct rekeying *rekeying = &self->rekeying;
    int64_t now_ms = clock_mono_ms();
    if (!rekeying->running) {
        if (rekeying->began_mono_ms != 0 && now_ms - rekeying->began_mono_ms < THROTTLE_MS)
            return false;
        rekeying->running = true;
        rekeying->began_mono_ms = now_ms;
        rekeying->fetch = keys_start(self, self->provider->jwks_uri, on_keys);
    }
    call->next = next;
    h2o_linklist_insert(&rekeying->waiting, &call->wait);
    return true;
}
