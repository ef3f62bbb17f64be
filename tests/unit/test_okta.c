/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's flows over real TLS: a home loop on a thread of its own, questions from the test's loop,
 * and a scripted Okta. */
#include "support_okta.h"

#include "base/clock.h"
#include "okta/okta.h"
#include "token/jwt.h"

#define DISCOVERY "/.well-known/openid-configuration"
#define TOKEN     "/oauth2/v1/token"
#define USERINFO  "/oauth2/v1/userinfo"
#define KEYS      "/oauth2/v1/keys"
#define REVOKE    "/oauth2/v1/revoke"
#define CLIENT    "0oa1client2ID3xyz4k7"
#define SECRET    "s3cret+/ %&"
#define CODE      "sEcReT-cOdE"
#define NONCE     "n-0S6_WzA2Mj"
#define SUBJECT   "00u1abcd2EFGH3ijk4l5"
#define REDIRECT  "https://login.k8s.example.test/auth/oidc"

struct world {
    h2o_mem_pool_t pool;
    struct config config;
    struct fetcher *fetcher;
    struct metrics *metrics;
    struct okta *okta;
    struct loop *home, *asker;
    pthread_t thread;
    pthread_barrier_t ready;
    char secret_file[64];

    unsigned expected, answered; /* the asker's loop stops when as many came as were expected */
    struct okta_result result;   /* the last one; its strings and tokens are copies */
    struct provider_tokens tokens;
    size_t group_count;
    const char *name;
};

/* ---- the world ---- */

static void *run_home(void *arg)
{
    struct world *self = arg;
    self->home = loop_new();
    pthread_barrier_wait(&self->ready);
    loop_run(self->home);
    loop_free(self->home);
    return NULL;
}

static char *literal(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void configure(struct world *self)
{
    static char *scopes[] = {NULL, NULL, NULL};
    scopes[0] = literal("openid");
    scopes[1] = literal("groups");
    scopes[2] = literal("offline_access");
    snprintf(self->secret_file, sizeof(self->secret_file), "/tmp/postern-okta-secret-%d", getpid());
    FILE *file = fopen(self->secret_file, "w");
    assert_non_null(file);
    fputs(SECRET "\n", file);
    fclose(file);
    assert_int_equal(chmod(self->secret_file, 0600), 0);
    self->config.oidc.issuer = literal(scripted_url(&self->pool, ""));
    self->config.oidc.client_id = literal(CLIENT);
    self->config.oidc.client_secret_file = self->secret_file;
    self->config.oidc.certificate_authority_file = scripted_ca;
    self->config.oidc.scopes = (struct config_strings){scopes, 3};
    self->config.oidc.claims[USER_SUB] = literal("sub");
    self->config.oidc.claims[USER_DISPLAY_NAME] = literal("name");
    self->config.oidc.claim_groups = literal("groups");
}

static void plan_discovery(struct world *self, const char *issuer)
{
    const char *base = scripted_url(&self->pool, "/oauth2/v1");
    plan_answer(DISCOVERY, 200,
                text_format(&self->pool,
                            "{\"issuer\":\"%s\",\"authorization_endpoint\":\"%s/authorize\","
                            "\"token_endpoint\":\"%s/token\",\"userinfo_endpoint\":\"%s/userinfo\","
                            "\"jwks_uri\":\"%s/keys\",\"revocation_endpoint\":\"%s/revoke\","
                            "\"end_session_endpoint\":\"%s/logout\"}",
                            issuer, base, base, base, base, base, base));
}

static const char *id_token(struct world *self, int which, const char *kid, const char *nonce)
{
    int64_t now_s = clock_wall_ms() / 1000;
    return scripted_jwt(
        &self->pool, which, kid,
        text_format(&self->pool,
                    "{\"iss\":\"%s\",\"aud\":\"" CLIENT "\",\"sub\":\"" SUBJECT
                    "\",\"iat\":%lld,\"exp\":%lld,\"nonce\":\"%s\",\"name\":\"Thin\"}",
                    self->config.oidc.issuer, (long long)now_s, (long long)now_s + 3600, nonce));
}

static void plan_tokens(struct world *self, const char *id)
{
    plan_answer(
        TOKEN, 200,
        text_format(&self->pool,
                    "{\"token_type\":\"Bearer\",\"expires_in\":3600,\"access_token\":\"aT.1\","
                    "\"refresh_token\":\"rT-1\"%s%s%s}",
                    id != NULL ? ",\"id_token\":\"" : "", id != NULL ? id : "",
                    id != NULL ? "\"" : ""));
}

#define USERINFO_GOOD                                                                              \
    "{\"sub\":\"" SUBJECT "\",\"name\":\"Ada\",\"groups\":[\"Everyone\",\"k8s-admins\"]}"

static int set_up(void **state)
{
    struct world *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct world){.expected = 1};
    h2o_mem_init_pool(&self->pool);
    configure(self);
    plan_discovery(self, self->config.oidc.issuer);
    plan_answer(KEYS, 200, scripted_keys(&self->pool, 0, "k1"));
    plan_tokens(self, id_token(self, 0, "k1", NONCE));
    plan_answer(USERINFO, 200, USERINFO_GOOD);
    plan_answer(REVOKE, 200, "");
    self->metrics = metrics_new();
    self->asker = loop_new();
    pthread_barrier_init(&self->ready, NULL, 2);
    assert_int_equal(pthread_create(&self->thread, NULL, run_home, self), 0);
    pthread_barrier_wait(&self->ready);
    assert_true(fetcher_start(&(struct fetch_options){0}, &self->fetcher, NULL));
    *state = self;
    return 0;
}

static void start(struct world *self)
{
    struct error err = {0};
    if (!okta_new(&self->config, REDIRECT, self->fetcher, self->home, self->metrics, &self->okta,
                  &err))
        fail_msg("%s", err.text);
}

static int tear_down(void **state)
{
    struct world *self = *state;
    fetcher_stop(self->fetcher);
    loop_stop(self->home);
    pthread_join(self->thread, NULL);
    loop_free(self->asker);
    okta_free(self->okta);
    fetcher_free(self->fetcher);
    metrics_free(self->metrics);
    provider_tokens_dispose(&self->tokens);
    unlink(self->secret_file);
    plans_reset();
    h2o_mem_clear_pool(&self->pool);
    free(self);
    return 0;
}

/* ---- asking ---- */

static void on_result(void *ctx, struct okta_result *result)
{
    struct world *self = ctx;
    self->result = *result;
    self->result.code = result->code != NULL ? text_dup(&self->pool, result->code) : NULL;
    self->result.url = result->url != NULL ? text_dup(&self->pool, result->url) : NULL;
    assert_int_equal(result->answer == OKTA_OK, result->error.kind == ERROR_NONE);
    assert_int_equal(result->answer == OKTA_OK, result->code == NULL);
    if (result->tokens != NULL)
        provider_tokens_copy(&self->tokens, result->tokens);
    if (result->claims != NULL) {
        self->group_count = result->claims->group_count;
        self->name = text_dup(&self->pool, result->claims->attributes[USER_DISPLAY_NAME]);
    }
    if (++self->answered == self->expected)
        loop_stop(self->asker);
}

static void on_never(void *ctx, struct okta_result *result)
{
    (void)ctx, (void)result;
    fail_msg("a cancelled question called back");
}

static void await(struct world *self)
{
    self->answered = 0;
    loop_run(self->asker);
    assert_int_equal(self->answered, self->expected);
}

static const struct okta_callback callback = {.code = {(char *)(uintptr_t)CODE, sizeof(CODE) - 1},
                                              .code_verifier =
                                                  "vErIfIeR-0123456789-0123456789-0123456789-01234",
                                              .nonce = NONCE};
static const struct okta_authorize authorize = {.state = "st&te",
                                                .nonce = NONCE,
                                                .code_challenge =
                                                    "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"};

static void sign_in(struct world *self)
{
    okta_sign_in(self->okta, self->asker, &callback, on_result, self);
    await(self);
}

static void ask_url(struct world *self)
{
    okta_authorize_url(self->okta, self->asker, &authorize, on_result, self);
    await(self);
}

static void ask_userinfo(struct world *self)
{
    okta_userinfo(self->okta, self->asker, iovec_of("aT.1"), SUBJECT, on_result, self);
    await(self);
}

static void refresh(struct world *self)
{
    okta_refresh(self->okta, self->asker, iovec_of("rT-1"), SUBJECT, on_result, self);
    await(self);
}

static void expect(const struct world *self, enum okta_answer answer, const char *code)
{
    if (self->result.answer != answer)
        fail_msg("answer %d: %s: %s", (int)self->result.answer, self->result.code,
                 self->result.error.text);
    if (code != NULL)
        assert_string_equal(self->result.code, code);
}

/* Runs the asker's loop, looking each 10 ms, until the path was asked so often. */
struct watch {
    struct loop_timer timer;
    struct loop *loop;
    const char *path;
    unsigned wanted;
};

static void on_look(struct loop_timer *timer)
{
    struct watch *self = H2O_STRUCT_FROM_MEMBER(struct watch, timer, timer);
    if (plan_asked(self->path) >= self->wanted)
        loop_stop(self->loop);
    else
        loop_timer_start(self->loop, timer, 10, on_look);
}

static void await_asked(struct world *self, const char *path, unsigned wanted)
{
    struct watch watch = {.loop = self->asker, .path = path, .wanted = wanted};
    loop_timer_start(self->asker, &watch.timer, 0, on_look);
    loop_run(self->asker);
}

static const char *metrics_text(struct world *self)
{
    struct text text;
    text_init(&text, &self->pool);
    metrics_write(self->metrics, &text);
    return text.bytes;
}

static void expect_metric(struct world *self, const char *line)
{
    const char *text = metrics_text(self);
    if (strstr(text, line) == NULL)
        fail_msg("no \"%s\" in\n%s", line, text);
}

#define COUNT(endpoint, result)                                                                    \
    "postern_okta_requests_total{endpoint=\"" endpoint "\",result=\"" result "\"} "

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

static void test_user_in_idtoken(void **state)
{
    struct world *self = *state;
    self->config.oidc.user_in_idtoken = true;
    start(self);
    sign_in(self);
    expect(self, OKTA_OK, NULL);
    assert_string_equal(self->name, "Thin");
    assert_int_equal(plan_asked(USERINFO), 0);
    assert_true(self->result.asked_mono_ms > 0);
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

/* ---- userinfo, refresh, revoke ---- */

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

static void test_refresh(void **state)
{
    struct world *self = *state;
    plan_answer(TOKEN, 200,
                "{\"token_type\":\"Bearer\",\"expires_in\":3600,\"access_token\":\"aT.2\"}");
    start(self);
    refresh(self);
    expect(self, OKTA_OK, NULL);
    assert_string_equal(self->tokens.access_token.bytes, "aT.2");
    assert_string_equal(self->tokens.refresh_token.bytes, "rT-1"); /* the old one goes on */
    assert_int_equal(self->tokens.id_token.len, 0);
    assert_string_equal(plan_form(&self->pool, TOKEN),
                        "grant_type=refresh_token&refresh_token=rT-1");

    plan_answer(TOKEN, 200,
                "{\"token_type\":\"Bearer\",\"access_token\":\"aT.3\",\"refresh_token\":\"rT-2\"}");
    refresh(self);
    expect(self, OKTA_OK, NULL);
    assert_string_equal(self->tokens.refresh_token.bytes, "rT-2");
    expect_metric(self, COUNT("refresh", "ok") "2");
}

/* design section 6: what counts as a no */
static void test_refresh_refused(void **state)
{
    struct world *self = *state;
    start(self);
    plan_answer(TOKEN, 400, "{\"error\":\"invalid_grant\"}");
    refresh(self);
    expect(self, OKTA_NO, "invalid_grant");
    plan_answer(TOKEN, 401, "{\"errorCode\":\"invalid_client\"}");
    refresh(self);
    expect(self, OKTA_UNKNOWN, "invalid_client");
    plan_answer(TOKEN, 429, "{\"error\":\"invalid_grant\"}");
    refresh(self);
    expect(self, OKTA_UNKNOWN, "rate_limited");
}

static void test_refreshed_id_token(void **state)
{
    struct world *self = *state;
    start(self);
    plan_tokens(self, id_token(self, 0, "k1", NONCE));
    refresh(self);
    expect(self, OKTA_OK, NULL);
    assert_true(self->tokens.id_token.len > 0);

    okta_refresh(self->okta, self->asker, iovec_of("rT-1"), "00u9other", on_result, self);
    await(self);
    expect(self, OKTA_UNKNOWN, "id_token_refused");

    /* its key can't be had: the tokens are worth more than the hint */
    plan_tokens(self, id_token(self, 1, "k2", NONCE));
    refresh(self);
    expect(self, OKTA_OK, NULL);
    assert_int_equal(self->tokens.id_token.len, 0);
    assert_string_equal(self->tokens.refresh_token.bytes, "rT-1");
    assert_int_equal(plan_asked(REVOKE), 0); /* a refresh gives nothing back */
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
        TEST(test_code_is_not_tried_again),
        TEST(test_code_refused),
        TEST(test_wrong_nonce),
        TEST(test_no_id_token),
        TEST(test_wrong_signature),
        TEST(test_userinfo_of_somebody_else),
        TEST(test_fresh_token_is_not_old),
        TEST(test_user_in_idtoken),
        TEST(test_unknown_kid),
        TEST(test_keys_are_shared),
        TEST(test_keys_not_to_be_had),
        TEST(test_userinfo),
        TEST(test_refresh),
        TEST(test_refresh_refused),
        TEST(test_refreshed_id_token),
        TEST(test_revoke),
        TEST(test_revoke_behind_tries_again),
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
