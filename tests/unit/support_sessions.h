/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of sessions share: one loop, one store, and calls that wait for their callback. */
#pragma once

#include "support_cache.h"

#include "base/text.h"
#include "cache/sessions.h"
#include "token/refresh.h"

#define MINUTE INT64_C(60000)
#define HOUR   (60 * MINUTE)
#define T0     INT64_C(1790000000000) /* when everything begins */

struct sessions_fixture {
    struct waiter waiter;
    struct held_store *store;
    struct seal_keys *keys;
    struct session_limits limits;
    struct sessions *sessions;
    unsigned ended; /* how often the callback was called */
    struct {
        char id[SESSION_ID_SIZE];
        enum session_end reason;
        bool is_grant;
        char refresh_token[32]; /* of a login */
    } endings[64];
    /* what the last callback said */
    bool good, written;
    unsigned yes; /* how often written was true */
    char cookie[80];
    struct session_login login;
    struct session_grant grant;
    char credential[REFRESH_TOKEN_LEN + 1];
    struct error error;
    struct { /* what the last refresh or redemption was answered */
        enum session_state state;
        bool reused, store_failed;
        char token[REFRESH_TOKEN_LEN + 1], nonce[64];
    } refreshed;
    unsigned live, reused; /* how many were */
};

static inline void on_session_ended(void *ctx, const struct session_ended *ended)
{
    struct sessions_fixture *self = ctx;
    assert_true(self->ended < 64);
    snprintf(self->endings[self->ended].id, SESSION_ID_SIZE, "%s", ended->id);
    self->endings[self->ended].is_grant = ended->is_grant;
    assert_true(ended->is_grant == (ended->cluster != NULL));
    assert_true(ended->is_grant == (ended->tokens == NULL));
    if (ended->tokens != NULL && ended->tokens->refresh_token.len != 0)
        snprintf(self->endings[self->ended].refresh_token, 32, "%s",
                 ended->tokens->refresh_token.bytes);
    self->endings[self->ended++].reason = ended->reason;
}

static inline void open_sessions(struct sessions_fixture *self)
{
    struct error err = {0};
    assert_null(self->sessions);
    if (!sessions_new(&self->limits, &self->store->store, self->keys, T0, on_session_ended, self,
                      &self->sessions, &err))
        fail_msg("%s", err.text);
}

static inline void reopen_sessions(struct sessions_fixture *self)
{
    run_posted(self->waiter.loop);
    sessions_free(self->sessions);
    self->sessions = NULL;
    open_sessions(self);
}

static inline int sessions_setup(void **state)
{
    struct sessions_fixture *self = calloc(1, sizeof(*self));
    self->waiter.loop = loop_new();
    self->store = held_new(store_memory_new());
    self->keys = seal_keys_random();
    self->limits = (struct session_limits){15 * MINUTE, HOUR, 12 * HOUR, 20};
    open_sessions(self);
    *state = self;
    return 0;
}

static inline int sessions_teardown(void **state)
{
    struct sessions_fixture *self = *state;
    run_posted(self->waiter.loop); /* the store's last answers */
    loop_free(self->waiter.loop);
    sessions_free(self->sessions);
    store_free(&self->store->store);
    seal_keys_free(self->keys);
    free(self);
    return 0;
}

/* ---- calls ---- */

static inline struct provider_tokens make_tokens(const char *refresh_token, int64_t expires_ms)
{
    struct provider_tokens tokens = {.access_expires_wall_ms = expires_ms};
    secret_set(&tokens.access_token, "access-token-of-okta", 20);
    secret_set(&tokens.id_token, "id-token-of-okta", 16);
    if (refresh_token != NULL)
        secret_set(&tokens.refresh_token, refresh_token, strlen(refresh_token));
    return tokens;
}

static inline void on_login(void *ctx, const char *cookie, const struct session_login *login,
                            const struct error *err)
{
    struct sessions_fixture *self = ctx;
    self->good = cookie != NULL;
    self->error = *err;
    if (cookie != NULL) {
        snprintf(self->cookie, sizeof(self->cookie), "%s", cookie);
        self->login = *login;
    }
    arrive(&self->waiter);
}

static inline void start_login(struct sessions_fixture *self, const char *uid, int64_t now_ms,
                               const char *refresh_token)
{
    struct provider_tokens tokens = make_tokens(refresh_token, now_ms + HOUR);
    struct session_login_input input = {uid, &tokens, "192.0.2.7"};
    sessions_add_login(self->sessions, self->waiter.loop, &input, now_ms, on_login, self);
    provider_tokens_dispose(&tokens);
}

static inline struct session_login add_login(struct sessions_fixture *self, const char *uid,
                                             int64_t now_ms)
{
    start_login(self, uid, now_ms, "refresh-token-of-okta");
    await(&self->waiter, 1);
    assert_true(self->good);
    return self->login;
}

static inline void on_grant(void *ctx, const struct session_grant *grant, const char *credential,
                            const struct error *err)
{
    struct sessions_fixture *self = ctx;
    self->good = grant != NULL;
    self->error = *err;
    assert_true((grant == NULL) == (credential == NULL));
    if (grant != NULL) {
        self->grant = *grant;
        memcpy(self->credential, credential, sizeof(self->credential));
    }
    arrive(&self->waiter);
}

static inline void start_grant(struct sessions_fixture *self, const char *login_id, int64_t now_ms)
{
    struct session_grant_input input = {login_id,    "prod", "laptop \xc3\xa4",
                                        "192.0.2.8", NULL,   NULL};
    sessions_add_grant(self->sessions, self->waiter.loop, &input, now_ms, on_grant, self);
}

static inline struct session_grant add_grant(struct sessions_fixture *self, const char *login_id,
                                             int64_t now_ms)
{
    start_grant(self, login_id, now_ms);
    await(&self->waiter, 1);
    assert_true(self->good);
    return self->grant;
}

static inline void on_refreshed(void *ctx, const struct session_refreshed *refreshed)
{
    struct sessions_fixture *self = ctx;
    self->refreshed.state = refreshed->state;
    self->refreshed.reused = refreshed->reused;
    self->refreshed.store_failed = refreshed->store_failed;
    self->live += refreshed->state == SESSION_LIVE;
    self->reused += refreshed->reused;
    if (refreshed->state == SESSION_LIVE) {
        self->grant = *refreshed->grant;
        memcpy(self->refreshed.token, refreshed->refresh_token, REFRESH_TOKEN_LEN + 1);
        snprintf(self->refreshed.nonce, sizeof(self->refreshed.nonce), "%s", refreshed->nonce);
    }
    arrive(&self->waiter);
}

static inline void start_refresh(struct sessions_fixture *self, const char *token, int64_t now_ms)
{
    const struct session_presented presented = {iovec_of(token), "prod"};
    sessions_refresh(self->sessions, self->waiter.loop, &presented, now_ms, on_refreshed, self);
}

/* The refresh token to go on with; NULL: it was refused. Good until the next answer. */
static inline const char *refresh(struct sessions_fixture *self, const char *token, int64_t now_ms)
{
    unsigned live = self->live;
    start_refresh(self, token, now_ms);
    assert_int_equal(self->waiter.arrived, 0); /* never before the call returns */
    await(&self->waiter, 1);
    return self->live != live ? self->refreshed.token : NULL;
}

static inline void on_done(void *ctx, bool written)
{
    struct sessions_fixture *self = ctx;
    self->written = written;
    self->yes += written;
    arrive(&self->waiter);
}

static inline void end_login(struct sessions_fixture *self, const char *id)
{
    sessions_end_login(self->sessions, self->waiter.loop, id, SESSION_SIGNED_OUT, on_done, self);
}

static inline void end_grant(struct sessions_fixture *self, const char *id)
{
    sessions_end_grant(self->sessions, self->waiter.loop, id, SESSION_SIGNED_OUT, on_done, self);
}

static inline enum session_state find(struct sessions_fixture *self, const char *cookie,
                                      int64_t now_ms)
{
    struct session_login login;
    return sessions_find_login(self->sessions, iovec_of(cookie), now_ms, &login);
}

static inline enum session_state use(struct sessions_fixture *self, const char *id, int64_t now_ms)
{
    return sessions_use_grant(self->sessions, id, now_ms, NULL);
}

static inline struct session_counts counts(struct sessions_fixture *self)
{
    struct session_counts out;
    sessions_count(self->sessions, &out);
    return out;
}

static inline void put_tokens(struct sessions_fixture *self, const char *login_id,
                              const char *refresh)
{
    struct provider_tokens tokens = make_tokens(refresh, T0 + 2 * HOUR);
    sessions_put_tokens(self->sessions, self->waiter.loop, login_id, &tokens, on_done, self);
    provider_tokens_dispose(&tokens);
}

static inline void assert_refresh_token(struct sessions_fixture *self, const char *login_id,
                                        const char *wanted)
{
    struct provider_tokens tokens;
    assert_true(sessions_login_tokens(self->sessions, login_id, &tokens));
    assert_string_equal(tokens.refresh_token.bytes, wanted);
    provider_tokens_dispose(&tokens);
}
