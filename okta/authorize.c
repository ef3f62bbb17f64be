/* SPDX-License-Identifier: Apache-2.0
 *
 * The URL that a browser is sent to: code flow with PKCE S256, state and nonce. */
#include "base/text.h"
#include "http/web.h"
#include "okta_private.h"

static h2o_iovec_t joined(h2o_mem_pool_t *pool, const struct config_strings *list)
{
    struct text out;
    text_init(&out, pool);
    for (unsigned i = 0; i < list->count; i++) {
        if (i > 0)
            text_add(&out, " ", 1);
        text_add_string(&out, list->entries[i]);
    }
    return text_iovec(&out);
}

static void build_url(struct okta_call *self)
{
    const struct config *config = self->okta->config;
    const char *endpoint = self->okta->provider->authorization_endpoint;
    struct text query;
    text_init(&query, &self->pool);
    web_form_add(&query, "client_id", iovec_of(config->oidc.client_id));
    web_form_add(&query, "response_type", iovec_of("code"));
    web_form_add(&query, "redirect_uri", iovec_of(self->okta->redirect_uri));
    web_form_add(&query, "scope", joined(&self->pool, &config->oidc.scopes));
    web_form_add(&query, "state", iovec_of(self->state_param));
    web_form_add(&query, "nonce", iovec_of(self->nonce));
    web_form_add(&query, "code_challenge", iovec_of(self->challenge));
    web_form_add(&query, "code_challenge_method", iovec_of("S256"));
    if (config->oidc.force_authentication)
        web_form_add(&query, "max_age", iovec_of("0"));
    if (config->oidc.acr_values.count != 0)
        web_form_add(&query, "acr_values", joined(&self->pool, &config->oidc.acr_values));
    self->result.url = text_format(&self->pool, "%s%c%s", endpoint,
                                   strchr(endpoint, '?') != NULL ? '&' : '?', query.bytes);
    call_finish(self);
}

static void begin(struct okta_call *self)
{
    provider_wait(self, build_url);
}

struct okta_call *okta_authorize_url(struct okta *self, struct loop *asker,
                                     const struct okta_authorize *params, okta_cb cb, void *ctx)
{
    struct okta_call *call = call_new(
        self, &(struct call_params){
                  .asker = asker, .cb = cb, .ctx = ctx, .lane = FETCH_INTERACTIVE, .begin = begin});
    call->state_param = text_dup(&call->pool, params->state);
    call->nonce = text_dup(&call->pool, params->nonce);
    call->challenge = text_dup(&call->pool, params->code_challenge);
    call_send(call);
    return call;
}
