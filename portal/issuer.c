/* SPDX-License-Identifier: Apache-2.0
 *
 * See issuer.h. A refresh judges the person as the webhook does: by the session, then by what Okta says of them now;
 * not knowing is an error that a client may repeat, never a yes and never the end of the session. */
#include "issuer.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"
#include "client_auth.h"

#define LOG_EVERY_MS 1000

/* ---- counting and telling ---- */

static const char *const result_names[ISSUER_RESULTS] = {
    [ISSUER_OK] = "ok",
    [ISSUER_BAD_REQUEST] = "bad_request",
    [ISSUER_BAD_CLIENT] = "bad_client",
    [ISSUER_BAD_GRANT] = "bad_grant",
    [ISSUER_SESSION_ENDED] = "session_ended",
    [ISSUER_REUSED] = "reused",
    [ISSUER_NOT_ALLOWED] = "not_allowed",
    [ISSUER_TOO_MANY_GROUPS] = "too_many_groups",
    [ISSUER_UNSURE] = "unsure",
    [ISSUER_FAILED] = "failed",
    [ISSUER_PENDING] = "pending",
    [ISSUER_DENIED] = "denied",
    [ISSUER_EXPIRED] = "expired",
    [ISSUER_TOO_MANY] = "too_many",
};
static const char *const grant_names[ISSUER_GRANTS] = {[ISSUER_REFRESH] = "refresh_token",
                                                       [ISSUER_CODE] = "authorization_code",
                                                       [ISSUER_DEVICE] = "device_code",
                                                       [ISSUER_OTHER] = "other"};

struct issuer_tally {
    struct counter *requests[ISSUER_GRANTS][ISSUER_RESULTS];
    atomic_llong logged_ms; /* monotonic: when the last line of a stranger's refusal was written */
    atomic_ullong suppressed; /* refusals since */
};

struct issuer_tally *issuer_tally_new(struct metrics *metrics)
{
    struct issuer_tally *self = h2o_mem_alloc(sizeof(*self));
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    atomic_init(&self->logged_ms, -LOG_EVERY_MS);
    atomic_init(&self->suppressed, 0);
    for (unsigned grant = 0; grant < ISSUER_GRANTS; grant++)
        for (unsigned result = 0; result < ISSUER_RESULTS; result++)
            self->requests[grant][result] =
                metrics_counter(metrics, "postern_token_requests_total",
                                "Requests to /token and refused ones to /revoke and "
                                "/device_authorization, by grant type and what came of them.",
                                text_format(&pool, "grant=\"%s\",result=\"%s\"", grant_names[grant],
                                            result_names[result]));
    h2o_mem_clear_pool(&pool);
    return self;
}

/* Strangers can send as much as they like: one line a second says how many there were. */
static bool take_turn(struct issuer_tally *self)
{
    long long now_ms = clock_mono_ms(), last_ms = atomic_load(&self->logged_ms);
    if (now_ms - last_ms >= LOG_EVERY_MS &&
        atomic_compare_exchange_strong(&self->logged_ms, &last_ms, now_ms))
        return true;
    atomic_fetch_add(&self->suppressed, 1);
    return false;
}

void issuer_count(const struct issuer_request *self, enum issuer_result result)
{
    counter_add(self->portal->issuer->requests[self->kind][result], 1);
}

static void tell(struct issuer_request *self, enum issuer_result result)
{
    struct issuer_tally *tally = self->portal->issuer;
    char address[WEB_ADDRESS_SIZE];
    bool known = self->grant.id[0] != '\0';
    issuer_count(self, result);
    if (!known && !take_turn(tally))
        return;
    web_remote_address(self->req, address);
    uint64_t suppressed = known ? 0 : atomic_exchange(&tally->suppressed, 0);
    log_audit("token_refused", LOG_STR("grant_type", grant_names[self->kind]),
              LOG_STR("reason", result_names[result]),
              LOG_STR("cluster", self->client != NULL ? self->client->name : NULL),
              LOG_STR("session", known ? self->grant.id : NULL),
              LOG_STR("uid", known ? self->grant.uid : NULL),
              LOG_STR("user", self->identity != NULL ? self->identity->username : NULL),
              LOG_STR("address", address), LOG_INT("suppressed", (int64_t)suppressed),
              LOG_STR("request_id", web_request_id(self->req)));
}

/* ---- answers ---- */

void issuer_send_error(h2o_req_t *req, const struct issuer_error *error)
{
    struct json_writer *writer = json_writer_new(&req->pool);
    json_begin_object(writer);
    json_key(writer, "error");
    json_put_string(writer, error->error);
    json_key(writer, "error_description");
    json_put_string(writer, error->description);
    json_end_object(writer);
    web_send_json(req, error->status, writer);
}

void issuer_refuse_with(struct issuer_request *self, enum issuer_result result,
                        const struct issuer_error *error)
{
    tell(self, result);
    if (error->status == 401) /* RFC 6749 section 5.2; RFC 9110 section 11.6.1 */
        web_add_header(self->req, "www-authenticate", "Basic realm=\"postern\"");
    issuer_send_error(self->req, error);
}

void issuer_refuse(struct issuer_request *self, enum issuer_result result)
{
    const char *portal_url = self->portal->parts.config->portal.url;
    struct issuer_error error = {400, "invalid_grant", NULL};
    if (result == ISSUER_UNSURE)
        error = (struct issuer_error){503, "temporarily_unavailable",
                                      "Okta does not answer, and what is known of your groups is "
                                      "too old; your session goes on, try again in a minute"};
    else if (result == ISSUER_NOT_ALLOWED)
        error.description =
            text_format(&self->req->pool,
                        "you may not use this cluster: its groups, or your username, do not "
                        "allow it; see %s/profile",
                        portal_url);
    else
        error.description =
            text_format(&self->req->pool, "session ended, sign in at %s", portal_url);
    issuer_refuse_with(self, result, &error);
}

/* ---- the client ---- */

static void on_dispose(void *data)
{
    struct issuer_request *self = data;
    if (self->wait != NULL)
        identities_cancel(self->wait);
    identity_unref(self->identity);
}

struct issuer_request *issuer_request_new(struct portal *portal, h2o_req_t *req)
{
    struct issuer_request *self = h2o_mem_alloc_shared(&req->pool, sizeof(*self), on_dispose);
    *self = (struct issuer_request){.portal = portal, .req = req, .kind = ISSUER_OTHER};
    return self;
}

static bool bad_request(struct issuer_request *self, const char *why)
{
    issuer_refuse_with(self, ISSUER_BAD_REQUEST,
                       &(struct issuer_error){400, "invalid_request", why});
    return false;
}

static bool find_client(struct issuer_request *self)
{
    h2o_iovec_t client_id;
    h2o_req_t *req = self->req;
    switch (client_auth_read(&req->pool, web_header(req, "authorization"),
                             web_header_count(req, "authorization"), &self->form, &client_id)) {
    case CLIENT_TWICE:
        return bad_request(self, "name the client once, in the header or in the form");
    case CLIENT_MALFORMED:
        return bad_request(self, "the Authorization header can not be read");
    case CLIENT_NAMED:
        self->client = portal_client(self->portal, client_id);
        break;
    case CLIENT_MISSING:
    case CLIENT_SECRET:
        break;
    }
    if (self->client == NULL)
        issuer_refuse_with(self, ISSUER_BAD_CLIENT,
                           &(struct issuer_error){401, "invalid_client",
                                                  "no cluster has this client_id, or a secret was "
                                                  "given: clients have none"});
    return self->client != NULL;
}

bool issuer_begin(struct issuer_request *self)
{
    struct error err = {.kind = ERROR_NONE};
    if (!web_content_type_is(self->req, "application/x-www-form-urlencoded"))
        return bad_request(self, "the body must be a form");
    if (!web_form_parse(&self->req->pool, self->req->entity, &self->form, &err))
        return bad_request(self, err.text);
    return find_client(self);
}

/* ---- the person ---- */

static enum issuer_result judge_person(const struct issuer_request *self)
{
    const struct config *config = self->portal->parts.config;
    return subject_may_use(config, self->client, self->identity) ? ISSUER_OK : ISSUER_NOT_ALLOWED;
}

/* Much may have happened meanwhile: a sign-out counts at once. */
static void on_identity(void *ctx, const struct identity *identity, const struct error *err)
{
    struct issuer_request *self = ctx;
    self->wait = NULL;
    if (sessions_use_grant(self->portal->parts.sessions, self->grant.id, clock_wall_ms(), NULL) !=
        SESSION_LIVE) {
        self->judged(self, ISSUER_SESSION_ENDED);
    } else if (identity != NULL) {
        self->identity = identity_ref(identity);
        self->judged(self, judge_person(self));
    } else {
        self->judged(self, err->kind == ERROR_REJECTED ? ISSUER_SESSION_ENDED : ISSUER_UNSURE);
    }
}

void issuer_judge(struct issuer_request *self,
                  void (*judged)(struct issuer_request *self, enum issuer_result result))
{
    struct identities *identities = self->portal->parts.identities;
    int64_t now_mono_ms = clock_mono_ms();
    self->judged = judged;
    self->identity = identities_peek(identities, self->grant.uid, now_mono_ms);
    if (self->identity != NULL)
        judged(self, judge_person(self));
    else
        self->wait = identities_wait(identities, web_loop(self->req), self->grant.uid, now_mono_ms,
                                     on_identity, self);
}

/* ---- discovery (OpenID Connect Discovery 1.0 section 3, RFC 8414 section 2) ---- */

#define OPENID_SUFFIX "/.well-known/openid-configuration"
#define OAUTH_PREFIX  "/.well-known/oauth-authorization-server"

static bool is_joined(h2o_iovec_t path, const char *first, const char *second)
{
    size_t len = strlen(first);
    return path.len >= len && memcmp(path.base, first, len) == 0 &&
           iovec_equal(h2o_iovec_init(path.base + len, path.len - len), second);
}

bool issuer_is_discovery(const struct config *config, h2o_iovec_t path)
{
    return is_joined(path, config->portal.issuer_path, OPENID_SUFFIX) ||
           is_joined(path, OAUTH_PREFIX, config->portal.issuer_path);
}

static void put_url(struct json_writer *out, const struct config *config, const char *key,
                    const char *path)
{
    char url[1024];
    snprintf(url, sizeof(url), "%s%s", config->portal.url, path);
    json_key(out, key);
    json_put_string(out, url);
}

static void put_list(struct json_writer *out, const char *key, const char *const *values)
{
    json_key(out, key);
    json_begin_array(out);
    for (; *values != NULL; values++)
        json_put_string(out, *values);
    json_end_array(out);
}

static void put_bool(struct json_writer *out, const char *key, bool value)
{
    json_key(out, key);
    json_put_bool(out, value);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

void issuer_write_discovery(const struct config *config, struct json_writer *out)
{
    json_begin_object(out);
    json_key(out, "issuer");
    json_put_string(out, config->portal.issuer);
    put_url(out, config, "authorization_endpoint", "/authorize");
    put_url(out, config, "token_endpoint", "/token");
    put_url(out, config, "userinfo_endpoint", "/userinfo");
    put_url(out, config, "device_authorization_endpoint", "/device_authorization");
    put_url(out, config, "revocation_endpoint", "/revoke");
    put_url(out, config, "jwks_uri", "/keys");
    put_list(out, "grant_types_supported",
             LIST("authorization_code", "refresh_token", ISSUER_DEVICE_GRANT));
    put_list(out, "response_types_supported", LIST("code"));
    put_list(out, "response_modes_supported", LIST("query"));
    put_bool(out, "authorization_response_iss_parameter_supported", true); /* RFC 9207 section 3 */
    put_bool(out, "request_uri_parameter_supported", false);
    put_list(out, "subject_types_supported", LIST("public"));
    put_list(out, "id_token_signing_alg_values_supported", LIST(config->tokens.algorithm));
    put_list(out, "token_endpoint_auth_methods_supported", LIST("none"));
    put_list(out, "revocation_endpoint_auth_methods_supported", LIST("none"));
    put_list(out, "code_challenge_methods_supported", LIST("S256"));
    put_list(out, "scopes_supported",
             LIST("openid", "profile", "email", "groups", "offline_access"));
    put_list(out, "claims_supported",
             LIST("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "sid", "nonce", "name",
                  "preferred_username", "email", "email_verified", "groups"));
    json_end_object(out);
}
