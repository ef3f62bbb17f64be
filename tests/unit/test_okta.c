/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's flows over real TLS, but for the refresh (test_okta_refresh.c): a home loop on a thread of its own,
 * questions from the test's loop, and a scripted Okta. */
#include "support_okta_client.h"

#include "token/jwt.h"

/* ---- authorize, discovery ---- */

static void test_authorize_url(void **state)
{
    struct world *self = *state;
    start(self);
    ask_url(self);
    expect(self, OKTA_OK, NULL);
    assert_string_equal(
        self->result.url,
        text_format(&self->pool,
                    "%s?client_id=" CLIENT "&response_type=code&redirect_uri="
                    "https%%3A%%2F%%2Flogin.k8s.example.test%%2Fauth%%2Foidc"
                    "&scope=openid%%20groups%%20offline_access&state=st%%26te&nonce=" NONCE
                    "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
                    "&code_challenge_method=S256",
                    scripted_url(&self->pool, "/oauth2/v1/authorize")));
    struct okta_status status;
    okta_status(self->okta, &status);
    assert_true(status.discovered);
    assert_string_equal(status.error, "");
    assert_string_equal(status.host, text_format(&self->pool, "127.0.0.1:%u", scripted.port));
    assert_string_equal(status.end_session_endpoint,
                        scripted_url(&self->pool, "/oauth2/v1/logout"));
    expect_metric(self, COUNT("discovery", "ok") "1");
    expect_metric(self, COUNT("keys", "ok") "1");
}

static void test_authorize_demands(void **state)
{
    struct world *self = *state;
    static char *values[] = {NULL, NULL};
    values[0] = literal("urn:okta:loa:2fa:any");
    values[1] = literal("phr");
    self->config.oidc.force_authentication = true;
    self->config.oidc.acr_values = (struct config_strings){values, 2};
    start(self);
    ask_url(self);
    expect(self, OKTA_OK, NULL);
    assert_non_null(strstr(self->result.url, "&max_age=0"));
    assert_non_null(strstr(self->result.url, "&acr_values=urn%3Aokta%3Aloa%3A2fa%3Aany%20phr"));
}

/* Many questions at the start: one load. */
static void test_one_load_for_all(void **state)
{
    struct world *self = *state;
    plan_hold(DISCOVERY, true);
    start(self);
    self->expected = 6;
    for (int i = 0; i < 6; i++)
        okta_authorize_url(self->okta, self->asker, &authorize, on_result, self);
    await_asked(self, DISCOVERY, 1);
    plan_hold(DISCOVERY, false);
    scripted_release();
    await(self);
    expect(self, OKTA_OK, NULL);
    assert_int_equal(plan_asked(DISCOVERY), 1);
    assert_int_equal(plan_asked(KEYS), 1);
}

/* Okta down at start: said at once and not asked for each question; then it recovers by itself. */
static void test_down_at_start(void **state)
{
    struct world *self = *state;
    plan_answer(DISCOVERY, 503, "");
    start(self);
    ask_url(self);
    expect(self, OKTA_UNKNOWN, "no_discovery");
    assert_non_null(strstr(self->result.error.text, "503"));
    for (int i = 0; i < 5; i++) { /* well within two seconds */
        ask_url(self);
        expect(self, OKTA_UNKNOWN, "no_discovery");
    }
    assert_true(plan_asked(DISCOVERY) <= 2);
    struct okta_status status;
    okta_status(self->okta, &status);
    assert_false(status.discovered);
    assert_non_null(strstr(status.error, "503"));
    plan_discovery(self, self->config.oidc.issuer);
    do
        ask_url(self);
    while (self->result.answer != OKTA_OK);
    okta_status(self->okta, &status);
    assert_true(status.discovered);
    assert_string_equal(status.error, "");
    expect_metric(self, COUNT("discovery", "server_error"));
}

static void test_wrong_issuer(void **state)
{
    struct world *self = *state;
    plan_discovery(self, "https://other.okta.test");
    start(self);
    ask_url(self);
    expect(self, OKTA_UNKNOWN, "no_discovery");
    assert_non_null(strstr(self->result.error.text, "https://other.okta.test"));
    assert_non_null(strstr(self->result.error.text, self->config.oidc.issuer));
    assert_int_equal(plan_asked(KEYS), 0);
    expect_metric(self, COUNT("discovery", "malformed") "1");
}

static void test_no_usable_keys(void **state)
{
    struct world *self = *state;
    plan_answer(KEYS, 200, "{\"keys\":[]}");
    start(self);
    ask_url(self);
    expect(self, OKTA_UNKNOWN, "no_discovery");
    assert_non_null(strstr(self->result.error.text, "key"));
}

/* ---- sign-in ---- */

static void test_sign_in(void **state)
{
    struct world *self = *state;
    start(self);
    sign_in(self);
    expect(self, OKTA_OK, NULL);
    assert_string_equal(self->tokens.access_token.bytes, "aT.1");
    assert_string_equal(self->tokens.refresh_token.bytes, "rT-1");
    assert_true(self->tokens.id_token.len > 0);
    assert_true(self->tokens.access_expires_wall_ms > clock_wall_ms() + 3500 * 1000);
    assert_string_equal(self->name, "Ada");
    assert_int_equal(self->group_count, 2);
    assert_true(self->result.asked_mono_ms > 0 && self->result.asked_wall_ms > 0);

    assert_string_equal(plan_form(&self->pool, TOKEN),
                        text_format(&self->pool,
                                    "grant_type=authorization_code&code=" CODE "&redirect_uri="
                                    "https%%3A%%2F%%2Flogin.k8s.example.test%%2Fauth%%2Foidc"
                                    "&code_verifier=%s",
                                    callback.code_verifier));
    /* "0oa1client2ID3xyz4k7:s3cret%2B%2F%20%25%26" */
    assert_string_equal(plan_authorization(&self->pool, TOKEN),
                        "Basic MG9hMWNsaWVudDJJRDN4eXo0azc6czNjcmV0JTJCJTJGJTIwJTI1JTI2");
    assert_string_equal(plan_authorization(&self->pool, USERINFO), "Bearer aT.1");
    expect_metric(self, COUNT("exchange", "ok") "1");
    expect_metric(self, COUNT("userinfo", "ok") "1");
    expect_metric(self, "postern_okta_rate_remaining{bucket=\"token\"} 41");
}

/* What userinfo lacks is not taken from the id_token: it would be there until the next question, and gone then. */
static void test_userinfo_alone_counts(void **state)
{
    struct world *self = *state;
    plan_answer(USERINFO, 200, "{\"sub\":\"" SUBJECT "\",\"groups\":[\"a\"]}");
    start(self);
    sign_in(self); /* whose id_token has a name */
    expect(self, OKTA_OK, NULL);
    assert_null(self->name);
    assert_int_equal(self->group_count, 1);
}

/* D2: a code is redeemed once, whatever comes of it */
static void test_code_is_not_tried_again(void **state)
{
    struct world *self = *state;
    plan_answer(TOKEN, 500, "{\"error\":\"server_error\"}");
    start(self);
    sign_in(self);
    expect(self, OKTA_UNKNOWN, "server_error");
    assert_int_equal(plan_asked(TOKEN), 1);
    assert_null(self->tokens.access_token.bytes);
}

static void test_code_refused(void **state)
{
    struct world *self = *state;
    plan_answer(TOKEN, 400, "{\"error\":\"invalid_grant\",\"error_description\":\"bad " CODE "\"}");
    start(self);
    sign_in(self);
    expect(self, OKTA_NO, "invalid_grant");
    assert_null(strstr(self->result.error.text, CODE));
    expect_metric(self, COUNT("exchange", "no") "1");
}

/* peers 16, and what was obtained is given back */
static void test_wrong_nonce(void **state)
{
    struct world *self = *state;
    plan_tokens(self, id_token(self, 0, "k1", "other"));
    start(self);
    sign_in(self);
    expect(self, OKTA_NO, "id_token_refused");
    await_asked(self, REVOKE, 1);
    assert_string_equal(plan_form(&self->pool, REVOKE), "token=rT-1&token_type_hint=refresh_token");
    assert_int_equal(plan_asked(USERINFO), 0);
    expect_metric(self, COUNT("exchange", "malformed") "1");
}

static void test_no_id_token(void **state)
{
    struct world *self = *state;
    plan_tokens(self, NULL);
    start(self);
    sign_in(self);
    expect(self, OKTA_UNKNOWN, "malformed");
    await_asked(self, REVOKE, 1);
}

static void test_wrong_signature(void **state)
{
    struct world *self = *state;
    plan_tokens(self, id_token(self, 1, "k1", NONCE));
    start(self);
    sign_in(self);
    expect(self, OKTA_NO, "id_token_refused");
    assert_int_equal(plan_asked(KEYS), 1);
}

/* peers 15 */
static void test_userinfo_of_somebody_else(void **state)
{
    struct world *self = *state;
    plan_answer(USERINFO, 200, "{\"sub\":\"00u9evil\",\"groups\":[\"system:masters\"]}");
    start(self);
    sign_in(self);
    expect(self, OKTA_NO, "wrong_sub");
    await_asked(self, REVOKE, 1);
    ask_userinfo(self);
    expect(self, OKTA_UNKNOWN, "wrong_sub");
}

static void test_fresh_token_is_not_old(void **state)
{
    struct world *self = *state;
    plan_answer(USERINFO, 401, "");
    start(self);
    sign_in(self);
    expect(self, OKTA_UNKNOWN, "http_401");
}

/* A discovery document that names only what every provider must have. */
static void plan_bare_discovery(struct world *self)
{
    const char *base = scripted_url(&self->pool, "/oauth2/v1");
    plan_answer(DISCOVERY, 200,
                text_format(&self->pool,
                            "{\"issuer\":\"%s\",\"authorization_endpoint\":\"%s/authorize\","
                            "\"token_endpoint\":\"%s/token\",\"jwks_uri\":\"%s/keys\"}",
                            self->config.oidc.issuer, base, base, base));
}

static void test_provider_without_userinfo(void **state)
{
    struct world *self = *state;
    plan_bare_discovery(self);
    start(self);
    ask_url(self);
    expect(self, OKTA_UNKNOWN, NULL);
    assert_non_null(strstr(self->result.error.text, "userinfo_endpoint"));
}

/* With oidc.user_in_idtoken people can sign in there; what can't be asked stays unknown, and ends nothing. */
static void test_provider_of_the_barest_kind(void **state)
{
    struct world *self = *state;
    self->config.oidc.user_in_idtoken = true;
    plan_bare_discovery(self);
    start(self);
    sign_in(self);
    expect(self, OKTA_OK, NULL);
    ask_userinfo(self);
    expect(self, OKTA_UNKNOWN, "no_userinfo");
    okta_revoke(self->okta, self->asker, iovec_of("rT-1"), on_result, self);
    await(self);
    expect(self, OKTA_UNKNOWN, "no_revocation");
    struct okta_status status;
    okta_status(self->okta, &status);
    assert_string_equal(status.end_session_endpoint, "");
}

/* ---- keys ---- */

/* D16, peers 3: an unknown kid makes us ask once; the next one, within half a minute, does not. */
static void test_unknown_kid(void **state)
{
    struct world *self = *state;
    start(self);
    ask_url(self);
    assert_int_equal(plan_asked(KEYS), 1);
    plan_answer(KEYS, 200, scripted_keys(&self->pool, 1, "k2"));
    plan_tokens(self, id_token(self, 1, "k2", NONCE));
    sign_in(self);
    expect(self, OKTA_OK, NULL);
    assert_int_equal(plan_asked(KEYS), 2);

    plan_answer(KEYS, 200, scripted_keys(&self->pool, 0, "k3"));
    plan_tokens(self, id_token(self, 0, "k3", NONCE));
    for (int i = 0; i < 3; i++) {
        sign_in(self);
        expect(self, OKTA_UNKNOWN, "unknown_key");
    }
    assert_int_equal(plan_asked(KEYS), 2);
}

static void test_keys_are_shared(void **state)
{
    struct world *self = *state;
    start(self);
    ask_url(self);
    plan_answer(KEYS, 200, scripted_keys(&self->pool, 1, "k2"));
    plan_tokens(self, id_token(self, 1, "k2", NONCE));
    plan_hold(KEYS, true);
    self->expected = 4;
    for (int i = 0; i < 4; i++)
        okta_sign_in(self->okta, self->asker, &callback, on_result, self);
    await_asked(self, KEYS, 2);
    await_asked(self, TOKEN, 4);
    plan_hold(KEYS, false);
    scripted_release();
    await(self);
    expect(self, OKTA_OK, NULL);
    assert_int_equal(plan_asked(KEYS), 2);
}

/* New keys that can't be had leave the old ones in place. */
static void test_keys_not_to_be_had(void **state)
{
    struct world *self = *state;
    start(self);
    ask_url(self);
    plan_answer(KEYS, 500, "");
    plan_tokens(self, id_token(self, 1, "k2", NONCE));
    sign_in(self);
    expect(self, OKTA_UNKNOWN, "unknown_key");
    plan_tokens(self, id_token(self, 0, "k1", NONCE));
    sign_in(self);
    expect(self, OKTA_OK, NULL);
}

/* So do keys that are none. */
static void test_malformed_keys(void **state)
{
    struct world *self = *state;
    start(self);
    ask_url(self);
    plan_answer(KEYS, 200, "{\"keys\":{\"kid\":\"k2\"}}");
    plan_tokens(self, id_token(self, 1, "k2", NONCE));
    sign_in(self);
    expect(self, OKTA_UNKNOWN, "unknown_key");
    expect_metric(self, COUNT("keys", "malformed") "1");
    plan_tokens(self, id_token(self, 0, "k1", NONCE));
    sign_in(self);
    expect(self, OKTA_OK, NULL);
}

/* ---- userinfo, revoke ---- */

static void test_userinfo(void **state)
{
    struct world *self = *state;
    start(self);
    ask_userinfo(self);
    expect(self, OKTA_OK, NULL);
    assert_int_equal(self->group_count, 2);
    assert_null(self->result.tokens);
    plan_answer(USERINFO, 401, "");
    ask_userinfo(self);
    expect(self, OKTA_TOKEN_OLD, "http_401");
    plan_answer(USERINFO, 200, "[" USERINFO_GOOD "]");
    ask_userinfo(self);
    expect(self, OKTA_UNKNOWN, "malformed");
    plan_answer(USERINFO, 429, "{\"errorCode\":\"E0000047\"}");
    ask_userinfo(self);
    expect(self, OKTA_UNKNOWN, "rate_limited");
    expect_metric(self, COUNT("userinfo", "rate_limited") "1");
    expect_metric(self, COUNT("userinfo", "token_old") "1");
    expect_metric(self, "postern_okta_rate_remaining{bucket=\"userinfo\"} 41");
}

static void test_revoke(void **state)
{
    struct world *self = *state;
    start(self);
    okta_revoke(self->okta, self->asker, iovec_of("rT+1"), on_result, self);
    await(self);
    expect(self, OKTA_OK, NULL);
    assert_string_equal(plan_form(&self->pool, REVOKE),
                        "token=rT%2B1&token_type_hint=refresh_token");
    assert_memory_equal(plan_authorization(&self->pool, REVOKE), "Basic ", 6);
}

static void test_revoke_behind_tries_again(void **state)
{
    struct world *self = *state;
    start(self);
    plan_answer(REVOKE, 500, "");
    assert_null(okta_revoke(self->okta, NULL, iovec_of("rT-1"), NULL, NULL));
    await_asked(self, REVOKE, 1);
    plan_answer(REVOKE, 200, "");
    await_asked(self, REVOKE, 2);
}

/* The pause before the next try is cut short. */
static void test_stop_with_a_revocation_that_waits(void **state)
{
    struct world *self = *state;
    start(self);
    plan_answer(REVOKE, 500, "");
    okta_revoke(self->okta, NULL, iovec_of("rT-1"), NULL, NULL);
    do {
        ask_userinfo(self);
    } while (strstr(metrics_text(self), COUNT("revoke", "server_error") "1") == NULL);
    ask_userinfo(self); /* by now the pause has begun, on the same loop */
}

/* ---- cancelling ---- */

static void test_cancelled_sign_in_gives_its_tokens_back(void **state)
{
    struct world *self = *state;
    plan_hold(TOKEN, true);
    start(self);
    struct okta_call *call = okta_sign_in(self->okta, self->asker, &callback, on_never, self);
    await_asked(self, TOKEN, 1);
    okta_cancel(call);
    plan_hold(TOKEN, false);
    scripted_release();
    await_asked(self, REVOKE, 1);
    assert_string_equal(plan_form(&self->pool, REVOKE), "token=rT-1&token_type_hint=refresh_token");
}

static void test_cancelled_at_once(void **state)
{
    struct world *self = *state;
    start(self);
    for (int i = 0; i < 20; i++)
        okta_cancel(
            okta_userinfo(self->okta, self->asker, iovec_of("aT"), SUBJECT, on_never, self));
    ask_userinfo(self); /* and others go on */
    expect(self, OKTA_OK, NULL);
}

/* Stopped with questions in flight and waiting: nothing is lost, nobody is called. */
static void test_stop_with_questions_in_flight(void **state)
{
    struct world *self = *state;
    plan_hold(TOKEN, true);
    start(self);
    ask_url(self);
    struct okta_call *calls[5];
    for (int i = 0; i < 5; i++)
        calls[i] = okta_refresh(self->okta, self->asker, iovec_of("rT-1"), SUBJECT, on_never, self);
    await_asked(self, TOKEN, 5);
    for (int i = 0; i < 5; i++)
        okta_cancel(calls[i]);
    plan_hold(TOKEN, false);
    scripted_release(); /* else the server keeps them for the next test */
}

/* ---- client authentication ---- */

/* The secret does not come back in an error's text, even where Okta repeats it. */
static void test_client_secret_post(void **state)
{
    struct world *self = *state;
    static const char proof[] = "&client_id=" CLIENT "&client_secret=s3cret%2B%2F%20%25%26";
    self->config.oidc.token_endpoint_auth_method = CLIENT_SECRET_POST;
    start(self);
    plan_answer(TOKEN, 401,
                "{\"error\":\"invalid_client\",\"error_description\":\"not " SECRET "\"}");
    refresh(self);
    expect(self, OKTA_UNKNOWN, "invalid_client");
    assert_null(strstr(self->result.error.text, "s3cret"));
    assert_string_equal(
        plan_form(&self->pool, TOKEN),
        text_format(&self->pool, "grant_type=refresh_token&refresh_token=rT-1%s", proof));
    okta_revoke(self->okta, self->asker, iovec_of("rT-1"), on_result, self);
    await(self);
    expect(self, OKTA_OK, NULL);
    assert_string_equal(
        plan_form(&self->pool, REVOKE),
        text_format(&self->pool, "token=rT-1&token_type_hint=refresh_token%s", proof));
    assert_string_equal(plan_authorization(&self->pool, TOKEN), "");
    assert_string_equal(plan_authorization(&self->pool, REVOKE), "");
    sign_in(self);
    assert_non_null(strstr(plan_form(&self->pool, TOKEN), proof));
}

static void write_client_key(struct world *self)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *file = fopen(self->secret_file, "w");
    assert_true(file != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
    fclose(file);
    EVP_PKEY_free(key);
    self->config.oidc.token_endpoint_auth_method = PRIVATE_KEY_JWT;
    self->config.oidc.client_secret_file = NULL;
    self->config.oidc.private_key_file = self->secret_file;
    self->config.oidc.private_key_id = literal("kid-1");
}

/* The form's assertion; its audience must be aud. */
static const char *expect_assertion(struct world *self, const char *path, const char *aud)
{
    static const char type[] = "&client_id=" CLIENT "&client_assertion_type=urn%3Aietf%3Aparams%3A"
                               "oauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=";
    const char *form = plan_form(&self->pool, path), *found = strstr(form, type);
    assert_non_null(found);
    const char *assertion = found + sizeof(type) - 1;
    struct jwt_parts parts;
    struct json *claims;
    h2o_iovec_t value;
    assert_true(jwt_split(&self->pool, iovec_of(assertion), 8192, &parts, NULL));
    assert_true(json_parse(&self->pool, parts.payload, NULL, &claims, NULL));
    assert_true(json_string(claims, "aud", &value, NULL));
    assert_string_equal(value.base, aud);
    assert_string_equal(plan_authorization(&self->pool, path), "");
    return assertion;
}

static void test_private_key_jwt(void **state)
{
    struct world *self = *state;
    write_client_key(self);
    start(self);
    sign_in(self);
    expect(self, OKTA_OK, NULL);
    const char *token_url = scripted_url(&self->pool, TOKEN);
    const char *first = expect_assertion(self, TOKEN, token_url);
    refresh(self);
    expect(self, OKTA_OK, NULL);
    assert_string_not_equal(expect_assertion(self, TOKEN, token_url), first);
    okta_revoke(self->okta, self->asker, iovec_of("rT-1"), on_result, self);
    await(self);
    expect(self, OKTA_OK, NULL);
    expect_assertion(self, REVOKE, scripted_url(&self->pool, REVOKE));
}

static void test_assertion_audience(void **state)
{
    struct world *self = *state;
    write_client_key(self);
    self->config.oidc.client_assertion_audience = literal("https://acme.okta.test");
    start(self);
    refresh(self);
    expect_assertion(self, TOKEN, "https://acme.okta.test");
}

/* ---- check ---- */

static void test_check_client_key(void **state)
{
    struct world *self = *state;
    struct error err = {0};
    write_client_key(self);
    assert_true(okta_check(&self->config, &err));
    FILE *file = fopen(self->secret_file, "w");
    fputs("sEcReT", file);
    fclose(file);
    assert_false(okta_check(&self->config, &err));
    assert_non_null(strstr(err.text, "oidc.private_key_file"));
    assert_non_null(strstr(err.text, self->secret_file));
    assert_null(strstr(err.text, "sEcReT"));
}

static void test_check(void **state)
{
    struct world *self = *state;
    struct error err = {0};
    assert_true(okta_check(&self->config, &err));

    assert_int_equal(chmod(self->secret_file, 0644), 0);
    assert_false(okta_check(&self->config, &err));
    assert_non_null(strstr(err.text, self->secret_file));
    assert_null(strstr(err.text, "s3cret"));
    struct okta *none = NULL;
    assert_false(
        okta_new(&self->config, REDIRECT, self->fetcher, self->home, self->metrics, &none, &err));
    assert_null(none);
    assert_int_equal(chmod(self->secret_file, 0600), 0);

    self->config.oidc.certificate_authority_file = literal("/nonexistent/ca.pem");
    assert_false(okta_check(&self->config, &err));
    assert_non_null(strstr(err.text, "/nonexistent/ca.pem"));
    self->config.oidc.certificate_authority_file = self->secret_file;
    assert_false(okta_check(&self->config, &err));
    assert_non_null(strstr(err.text, "certificate"));
    self->config.oidc.certificate_authority_file = NULL;
    self->config.oidc.issuer = literal("http://acme.okta.test");
    assert_false(okta_check(&self->config, &err));
    assert_non_null(strstr(err.text, "oidc.issuer"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(test_authorize_url),
        TEST(test_authorize_demands),
        TEST(test_one_load_for_all),
        TEST(test_down_at_start),
        TEST(test_wrong_issuer),
        TEST(test_no_usable_keys),
        TEST(test_sign_in),
        TEST(test_userinfo_alone_counts),
        TEST(test_code_is_not_tried_again),
        TEST(test_code_refused),
        TEST(test_wrong_nonce),
        TEST(test_no_id_token),
        TEST(test_wrong_signature),
        TEST(test_userinfo_of_somebody_else),
        TEST(test_fresh_token_is_not_old),
        TEST(test_provider_without_userinfo),
        TEST(test_provider_of_the_barest_kind),
        TEST(test_unknown_kid),
        TEST(test_keys_are_shared),
        TEST(test_keys_not_to_be_had),
        TEST(test_malformed_keys),
        TEST(test_userinfo),
        TEST(test_revoke),
        TEST(test_revoke_behind_tries_again),
        TEST(test_stop_with_a_revocation_that_waits),
        TEST(test_cancelled_sign_in_gives_its_tokens_back),
        TEST(test_cancelled_at_once),
        TEST(test_stop_with_questions_in_flight),
        TEST(test_client_secret_post),
        TEST(test_private_key_jwt),
        TEST(test_assertion_audience),
        TEST(test_check),
        TEST(test_check_client_key),
    };
    return cmocka_run_group_tests(tests, scripted_start, scripted_stop);
}
