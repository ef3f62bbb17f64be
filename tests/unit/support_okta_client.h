/* SPDX-License-Identifier: Apache-2.0
 *
 * A client of the scripted Okta: a home loop on a thread of its own, questions from the test's loop, and the
 * answers of an Okta where all is well. */
#pragma once

#include "support_okta.h"

#include "base/clock.h"
#include "okta/okta.h"

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

static inline void *run_home(void *arg)
{
    struct world *self = arg;
    self->home = loop_new();
    pthread_barrier_wait(&self->ready);
    loop_run(self->home);
    loop_free(self->home);
    return NULL;
}

static inline char *literal(const char *text)
{
    return (char *)(uintptr_t)text;
}

static inline void configure(struct world *self)
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

static inline void plan_discovery(struct world *self, const char *issuer)
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

static inline const char *id_token(struct world *self, int which, const char *kid,
                                   const char *nonce)
{
    int64_t now_s = clock_wall_ms() / 1000;
    return scripted_jwt(
        &self->pool, which, kid,
        text_format(&self->pool,
                    "{\"iss\":\"%s\",\"aud\":\"" CLIENT "\",\"sub\":\"" SUBJECT
                    "\",\"iat\":%lld,\"exp\":%lld,\"nonce\":\"%s\",\"name\":\"Thin\"}",
                    self->config.oidc.issuer, (long long)now_s, (long long)now_s + 3600, nonce));
}

static inline void plan_tokens(struct world *self, const char *id)
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

static inline int set_up(void **state)
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

static inline void start(struct world *self)
{
    struct error err = {0};
    if (!okta_new(&self->config, REDIRECT, self->fetcher, self->home, self->metrics, &self->okta,
                  &err))
        fail_msg("%s", err.text);
}

static inline int tear_down(void **state)
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

static inline void on_result(void *ctx, struct okta_result *result)
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
        const char *name = result->claims->attributes[USER_DISPLAY_NAME];
        self->name = name != NULL ? text_dup(&self->pool, name) : NULL;
    }
    if (++self->answered == self->expected)
        loop_stop(self->asker);
}

static inline void on_never(void *ctx, struct okta_result *result)
{
    (void)ctx, (void)result;
    fail_msg("a cancelled question called back");
}

static inline void await(struct world *self)
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

static inline void sign_in(struct world *self)
{
    okta_sign_in(self->okta, self->asker, &callback, on_result, self);
    await(self);
}

static inline void ask_url(struct world *self)
{
    okta_authorize_url(self->okta, self->asker, &authorize, on_result, self);
    await(self);
}

static inline void ask_userinfo(struct world *self)
{
    okta_userinfo(self->okta, self->asker, iovec_of("aT.1"), SUBJECT, on_result, self);
    await(self);
}

static inline void refresh(struct world *self)
{
    okta_refresh(self->okta, self->asker, iovec_of("rT-1"), SUBJECT, on_result, self);
    await(self);
}

static inline void expect(const struct world *self, enum okta_answer answer, const char *code)
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

static inline void on_look(struct loop_timer *timer)
{
    struct watch *self = H2O_STRUCT_FROM_MEMBER(struct watch, timer, timer);
    if (plan_asked(self->path) >= self->wanted)
        loop_stop(self->loop);
    else
        loop_timer_start(self->loop, timer, 10, on_look);
}

static inline void await_asked(struct world *self, const char *path, unsigned wanted)
{
    struct watch watch = {.loop = self->asker, .path = path, .wanted = wanted};
    loop_timer_start(self->asker, &watch.timer, 0, on_look);
    loop_run(self->asker);
}

static inline const char *metrics_text(struct world *self)
{
    struct text text;
    text_init(&text, &self->pool);
    metrics_write(self->metrics, &text);
    return text.bytes;
}

static inline void expect_metric(struct world *self, const char *line)
{
    const char *text = metrics_text(self);
    if (strstr(text, line) == NULL)
        fail_msg("no \"%s\" in\n%s", line, text);
}

#define COUNT(endpoint, result)                                                                    \
    "postern_okta_requests_total{endpoint=\"" endpoint "\",result=\"" result "\"} "
