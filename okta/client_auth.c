/* SPDX-License-Identifier: Apache-2.0
 *
 * Client authentication (RFC 6749 section 2.3.1, RFC 7523 section 2.2). One request carries one kind of proof
 * only: Okta refuses a header and a form together. */
#include "client_auth.h"

#include "base/clock.h"
#include "http/web.h"
#include "provider.h"

/* client_secret_basic: both are form-urlencoded before base64. */
static char *basic(h2o_mem_pool_t *pool, const char *client_id, h2o_iovec_t client_secret)
{
    size_t most = 3 * (strlen(client_id) + client_secret.len) + 2;
    struct text pair = {
        .pool = pool, .bytes = secret_alloc_in_pool(pool, most).base, .capacity = most};
    web_url_encode(&pair, iovec_of(client_id));
    text_add(&pair, ":", 1);
    web_url_encode(&pair, client_secret);
    static const char scheme[] = "Basic ";
    size_t prefix = sizeof(scheme) - 1;
    char *value =
        secret_alloc_in_pool(pool, prefix + h2o_base64_encode_capacity(pair.len) + 1).base;
    memcpy(value, scheme, prefix);
    h2o_base64_encode(value + prefix, pair.bytes, pair.len, 0);
    return value;
}

static bool load_secret(const struct config *config, struct secret *out, struct error *err)
{
    struct secret client_secret = {0};
    if (!secret_load_line(config->oidc.client_secret_file, &client_secret, err))
        return error_prefix(err, "oidc.client_secret_file");
    if (config->oidc.token_endpoint_auth_method == CLIENT_SECRET_POST) {
        *out = client_secret;
        return true;
    }
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    const char *value = basic(&pool, config->oidc.client_id, secret_iovec(&client_secret));
    secret_set(out, value, strlen(value));
    h2o_mem_clear_pool(&pool);
    secret_dispose(&client_secret);
    return true;
}

static bool load_key(const struct config *config, struct jwt_signer **out, struct error *err)
{
    struct secret pem = {0};
    const char *path = config->oidc.private_key_file;
    bool good = secret_load_file(path, &pem, err);
    if (good && !jwt_signer_new(secret_iovec(&pem), config->oidc.private_key_id, out, err))
        good = error_prefix(err, path);
    secret_dispose(&pem);
    return good || error_prefix(err, "oidc.private_key_file");
}

bool client_auth_load(const struct config *config, struct client_auth *out, struct error *err)
{
    struct client_auth loaded = {.config = config};
    bool with_key = config->oidc.token_endpoint_auth_method == PRIVATE_KEY_JWT;
    if (with_key ? !load_key(config, &loaded.signer, err)
                 : !load_secret(config, &loaded.secret, err))
        return false;
    *out = loaded;
    return true;
}

void client_auth_dispose(struct client_auth *self)
{
    secret_dispose(&self->secret);
    jwt_signer_free(self->signer);
    self->signer = NULL;
}

static bool prove_by_key(const struct client_auth *self, const char *url, struct text *form,
                         struct client_proof *out, struct error *err)
{
    const struct config *config = self->config;
    const char *audience = config->oidc.client_assertion_audience;
    const struct jwt_assertion claims = {.client_id = config->oidc.client_id,
                                         .audience = audience != NULL ? audience : url,
                                         .now_s = clock_wall_ms() / 1000};
    h2o_iovec_t assertion;
    if (!jwt_sign_assertion(form->pool, self->signer, &claims, &assertion, err))
        return false;
    web_form_add(form, "client_id", iovec_of(config->oidc.client_id));
    web_form_add(form, "client_assertion_type",
                 iovec_of("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    web_form_add(form, "client_assertion", assertion);
    *out = (struct client_proof){.secret = assertion};
    return true;
}

bool client_auth_prove(const struct client_auth *self, const char *url, struct text *form,
                       struct client_proof *out, struct error *err)
{
    h2o_iovec_t secret = secret_iovec(&self->secret);
    switch (self->config->oidc.token_endpoint_auth_method) {
    case CLIENT_SECRET_BASIC:
        *out = (struct client_proof){.authorization = secret, .secret = secret};
        return true;
    case CLIENT_SECRET_POST:
        web_form_add(form, "client_id", iovec_of(self->config->oidc.client_id));
        web_form_add(form, "client_secret", secret);
        *out = (struct client_proof){.secret = secret};
        return true;
    case PRIVATE_KEY_JWT:
        break;
    }
    return prove_by_key(self, url, form, out, err);
}

/* Of an assertion: iss, sub, aud and kid in base64 with quotes escaped, and 2 KiB for the rest, an RSA
 * signature of 8192 bits included. */
size_t client_auth_longest(const struct client_auth *self)
{
    const struct config *config = self->config;
    size_t id = strlen(config->oidc.client_id);
    if (self->signer == NULL)
        return id + self->secret.len;
    const char *audience = config->oidc.client_assertion_audience;
    size_t aud = audience != NULL ? strlen(audience) : PROVIDER_URL_MAX;
    return id + 2 * (6 * (2 * id + aud + strlen(config->oidc.private_key_id))) + 2048;
}
