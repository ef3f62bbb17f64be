/* SPDX-License-Identifier: Apache-2.0
 *
 * A small world for decisions: real keys, sessions and identities, clocks in the test's hands, and an Okta
 * that answers when and what the test says. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <unistd.h>

#include "base/clock.h"
#include "decide_private.h"
#include "webhook/subject.h"

#define UID    "00u1abcd2EFGH3ijk4l5"
#define ISSUER "https://login.k8s.example.test"

enum okta_says { OKTA_SAYS_GROUPS, OKTA_SAYS_GONE, OKTA_FAILS };

struct world {
    h2o_mem_pool_t pool;
    struct instant now; /* of everything that takes a time */
    struct loop *loop;
    struct config config;
    struct config_cluster clusters[2];
    struct token_keys *keys, *other_keys;
    struct token_verifier *verifier;
    struct seal_keys *seal_keys;
    struct store *store;
    struct sessions *sessions;
    struct identities *identities;
    struct subject_rules *rules;
    struct decider decider;

    enum okta_says says;
    const char *username, *group; /* what it says of the user */
    struct identity_load *asked;  /* the question that waits for its answer */
    int64_t asked_mono_ms;
    bool stops_when_asked; /* the loop */

    struct session_login login;
    struct session_grant grant;
    const char *app;  /* whose session the next sign-in makes; NULL: a kubeconfig session */
    unsigned arrived; /* callbacks */
};

/* ---- Okta ---- */

static inline void world_on_question(void *ctx, const char *uid, struct identity_load *load)
{
    struct world *self = ctx;
    assert_string_equal(uid, UID);
    assert_null(self->asked);
    self->asked = load;
    self->asked_mono_ms = self->now.mono_ms;
    if (self->stops_when_asked)
        loop_stop(self->loop);
}

static inline struct identity *world_identity(struct world *self, int64_t learned_mono_ms)
{
    const char *groups[] = {self->group};
    struct user_claims claims = {.uid = UID,
                                 .attributes = {self->username},
                                 .groups_present = true,
                                 .groups = groups,
                                 .group_count = 1};
    return subject_map(self->rules, &claims, learned_mono_ms, self->now.wall_ms);
}

/* Answers the question that waits, if one does. As the real loader, ends the sign-ins of a user who is gone. */
static inline void world_answer(struct world *self)
{
    struct identity_load *load = self->asked;
    struct error err = {.kind = ERROR_NONE};
    if (load == NULL)
        return;
    self->asked = NULL;
    if (self->says == OKTA_SAYS_GROUPS) {
        identity_load_done(load, IDENTITY_LEARNED, world_identity(self, self->asked_mono_ms), NULL);
    } else if (self->says == OKTA_SAYS_GONE) {
        sessions_end_login(self->sessions, self->loop, self->login.id, SESSION_REFUSED_BY_OKTA,
                           NULL, NULL);
        identity_load_done(load, IDENTITY_GONE, NULL, NULL);
    } else {
        error_set(&err, ERROR_UPSTREAM, "Okta is down");
        identity_load_done(load, IDENTITY_FAILED, NULL, &err);
    }
}

/* ---- sessions ---- */

static inline void world_arrive(struct world *self)
{
    self->arrived++;
    loop_stop(self->loop);
}

static inline void world_on_login(void *ctx, const char *cookie, const struct session_login *login,
                                  const struct error *err)
{
    struct world *self = ctx;
    (void)err;
    assert_non_null(cookie);
    self->login = *login;
    world_arrive(self);
}

static inline void world_on_grant(void *ctx, const struct session_grant *grant,
                                  const char *credential, const struct error *err)
{
    (void)credential;
    struct world *self = ctx;
    (void)err;
    assert_non_null(grant);
    self->grant = *grant;
    world_arrive(self);
}

static inline void world_sign_in(struct world *self, const char *cluster)
{
    struct provider_tokens tokens = {.access_expires_wall_ms = self->now.wall_ms + 3600000};
    secret_set(&tokens.access_token, "access", 6);
    secret_set(&tokens.refresh_token, "refresh", 7);
    struct session_login_input login = {UID, &tokens, "192.0.2.1"};
    sessions_add_login(self->sessions, self->loop, &login, self->now.wall_ms, world_on_login, self);
    loop_run(self->loop);
    struct session_grant_input grant = {self->login.id, cluster, "laptop",
                                        "192.0.2.1",    NULL,    self->app};
    sessions_add_grant(self->sessions, self->loop, &grant, self->now.wall_ms, world_on_grant, self);
    loop_run(self->loop);
    assert_int_equal(self->arrived, 2);
    self->arrived = 0;
    provider_tokens_dispose(&tokens);
}

static inline void world_sign_out(struct world *self)
{
    sessions_end_login(self->sessions, self->loop, self->login.id, SESSION_SIGNED_OUT, NULL, NULL);
}

/* ---- tokens ---- */

static inline h2o_iovec_t world_token(struct world *self, const struct token_keys *keys,
                                      const char *issuer, const char *audience, int64_t now_s)
{
    h2o_iovec_t token;
    struct token_claims claims = {.issuer = issuer,
                                  .subject = UID,
                                  .audience = audience,
                                  .session = self->grant.id,
                                  .now_ms = now_s * 1000,
                                  .lifetime_s = 60};
    assert_true(token_issue(&self->pool, keys, &claims, &token, NULL, NULL));
    return token;
}

static inline h2o_iovec_t world_good_token(struct world *self)
{
    return world_token(self, self->keys, ISSUER, "kubernetes", self->now.wall_ms / 1000);
}

static inline struct token_keys *world_keys(int64_t now_ms)
{
    char parent[] = "/tmp/postern-test-XXXXXX", directory[64], path[400];
    struct token_keys *keys = NULL;
    struct error err = {.kind = ERROR_NONE};
    assert_non_null(mkdtemp(parent));
    snprintf(directory, sizeof(directory), "%s/keys", parent);
    if (!token_keys_open(directory, TOKEN_ES256, now_ms, &keys, &err))
        fail_msg("%s", err.text);
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    closedir(dir);
    rmdir(directory);
    rmdir(parent);
    return keys;
}

/* ---- the world ---- */

static inline void world_configure(struct world *self)
{
    static char kubernetes[] = "kubernetes", staging[] = "staging", nothing[] = "",
                users[] = "k8s-users", admins[] = "k8s-admins";
    static char *may_sign_in[] = {users, admins}, *may_use[] = {admins};
    self->clusters[0] = (struct config_cluster){
        .name = kubernetes, .audience = kubernetes, .allowed_groups = {may_use, 1}};
    self->clusters[1] = (struct config_cluster){.name = staging, .audience = staging};
    self->config.clusters = self->clusters;
    self->config.cluster_count = 2;
    self->config.users.username_prefix = self->config.users.groups_prefix = nothing;
    self->config.users.allowed_groups = (struct config_strings){may_sign_in, 2};
    self->config.tokens.leeway_ms = 60000;
}

static inline void world_on_ended(void *ctx, const struct session_ended *ended)
{
    (void)ctx, (void)ended;
}

static inline void world_open(struct world *self, const struct instant *now)
{
    static const struct session_limits limits = {.idle_ms = 15 * 60 * 1000,
                                                 .kubeconfig_idle_ms = 60 * 60 * 1000,
                                                 .lifetime_ms = 12 * 60 * 60 * 1000,
                                                 .per_user = 20};
    static const struct identity_rules rules = {.fresh_ms = 30000,
                                                .max_age_ms = 60000,
                                                .stale_if_error_ms = 600000,
                                                .ask_deadline_ms = 3000,
                                                .retry_min_ms = 5000,
                                                .retry_max_ms = 60000,
                                                .max_in_flight = 20};
    *self = (struct world){.now = *now, .username = "ada", .group = "k8s-admins"};
    h2o_mem_init_pool(&self->pool);
    self->loop = loop_new();
    world_configure(self);
    self->keys = world_keys(now->wall_ms);
    self->other_keys = world_keys(now->wall_ms);
    self->verifier = token_verifier_new(self->keys, ISSUER, 60, 1024);
    self->seal_keys = seal_keys_random();
    self->store = store_memory_new();
    assert_true(subject_rules_new(&self->config, &self->rules, NULL));
    assert_true(sessions_new(&limits, self->store, self->seal_keys, now->wall_ms, world_on_ended,
                             self, &self->sessions, NULL));
    self->identities = identities_new(&rules, world_on_question, self);
    self->decider =
        (struct decider){&self->config, self->verifier, self->sessions, self->identities};
}

struct world_pause {
    struct loop_call call;
    struct loop *loop;
};

static inline void world_on_pause(struct loop_call *call)
{
    loop_stop(H2O_STRUCT_FROM_MEMBER(struct world_pause, call, call)->loop);
}

/* Runs what was posted to the loop before. */
static inline void world_run_posted(struct world *self)
{
    struct world_pause pause = {{.run = world_on_pause}, self->loop};
    loop_post(self->loop, &pause.call);
    loop_run(self->loop);
}

/* Answers what is still asked and frees everything. */
static inline void world_close(struct world *self)
{
    world_answer(self);
    world_run_posted(self);
    world_run_posted(self); /* what the first round posted */
    identities_free(self->identities);
    sessions_free(self->sessions);
    store_free(self->store);
    seal_keys_free(self->seal_keys);
    subject_rules_free(self->rules);
    token_verifier_free(self->verifier);
    token_keys_free(self->keys);
    token_keys_free(self->other_keys);
    loop_free(self->loop);
    h2o_mem_clear_pool(&self->pool);
}
