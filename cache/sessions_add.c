/* SPDX-License-Identifier: Apache-2.0
 *
 * New sessions. Each is first written to the store and only then enters memory, so what was answered
 * survives a crash. Entering may push out the user's least recently used sessions. */
#include <assert.h>

#include "base/text.h"
#include "sessions_private.h"
#include "token/refresh.h"

#define COOKIE_SIZE 65 /* base64url of id and secret, and NUL */

struct add {
    struct loop_call call; /* when it failed before the store was asked */
    struct sessions *self;
    struct loop *loop;
    int64_t now_ms;
    unsigned epoch;                         /* the sessions' when it began */
    const struct seal_keys *seal_keys;      /* that its record was sealed with */
    struct session *session;                /* in the table only when it is stored */
    char cookie[COOKIE_SIZE];               /* of a login; wiped */
    char credential[REFRESH_TOKEN_LEN + 1]; /* of a grant; wiped */
    session_login_cb login_cb;
    session_grant_cb grant_cb;
    void *ctx;
    struct error error;
};

static struct add *new_add(struct sessions *self, struct loop *loop, int64_t now_ms, void *ctx)
{
    struct add *add = h2o_mem_alloc(sizeof(*add));
    *add = (struct add){.self = self,
                        .loop = loop,
                        .now_ms = now_ms,
                        .epoch = atomic_load(&self->epoch),
                        .ctx = ctx};
    return add;
}

static void free_add(struct add *add)
{
    session_free(add->session);
    explicit_bzero(add->cookie, sizeof(add->cookie));
    explicit_bzero(add->credential, sizeof(add->credential));
    free(add);
}

static void answer_failure(struct add *add)
{
    if (add->login_cb != NULL)
        add->login_cb(add->ctx, NULL, NULL, &add->error);
    else
        add->grant_cb(add->ctx, NULL, NULL, &add->error);
    free_add(add);
}

static void on_failed(struct loop_call *call)
{
    answer_failure(H2O_STRUCT_FROM_MEMBER(struct add, call, call));
}

static void fail_later(struct add *add)
{
    add->call.run = on_failed;
    loop_post(add->loop, &add->call);
}

/* ---- the record ---- */

static bool fill(struct add *add, struct session_record *record, const char *uid,
                 const char *address)
{
    if (uid[0] == '\0' || !session_text(record->uid, sizeof(record->uid), uid))
        return error_set(&add->error, ERROR_BAD_INPUT, "the user id is empty or too long");
    if (!session_text(record->address, sizeof(record->address), address == NULL ? "" : address))
        return error_set(&add->error, ERROR_BAD_INPUT, "the address is too long");
    record->created_ms = record->last_used_ms = add->now_ms;
    session_make_id(uid, record->id);
    return true;
}

/* The id is random like the secret, so nothing that a browser sent before lives on in it (peers 52). */
static void make_cookie(struct add *add, struct session_record *record)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    h2o_iovec_t bytes = secret_alloc_in_pool(&pool, SESSION_ID_BYTES + SHA256_SIZE);
    char *secret = bytes.base + SESSION_ID_BYTES;
    session_id_bytes(record->id, (uint8_t *)bytes.base);
    crypto_random(secret, SHA256_SIZE);
    crypto_sha256(secret, SHA256_SIZE, record->secret_hash);
    h2o_iovec_t cookie = base64url_encode(&pool, bytes.base, bytes.len);
    bool good = session_text(add->cookie, sizeof(add->cookie), cookie.base);
    assert(good);
    explicit_bzero(cookie.base, cookie.len);
    h2o_mem_clear_pool(&pool);
}

static void write_record(struct add *add, struct session_record *record, store_cb cb)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t data;
    struct sessions *self = add->self;
    h2o_mem_init_pool(&pool);
    add->seal_keys = self->seal_keys;
    bool good = session_encode(&pool, add->seal_keys, record, &data, &add->error);
    add->session = session_new(record);
    if (good) {
        struct store_record stored = {
            .kind = add->session->record.kind, .id = add->session->record.id, .data = data};
        store_put(self->store, &stored, 0, add->loop, cb, add);
    } else {
        fail_later(add);
    }
    h2o_mem_clear_pool(&pool);
}

static bool judge_outcome(struct add *add, enum store_outcome outcome, const struct error *err)
{
    if (outcome == STORE_DONE)
        return true;
    if (outcome == STORE_CONFLICT)
        return error_set(&add->error, ERROR_INTERNAL, "a new session's id was taken");
    return error_set(&add->error, ERROR_UPSTREAM, "the session could not be stored: %s", err->text);
}

/* With the lock: the stored session enters memory. */
static void enter(struct add *add, struct shard *shard, struct session *login, uint64_t version,
                  struct ended_list *ended)
{
    struct session *session = add->session;
    add->session = NULL;
    session->version = version;
    session->unwritten = add->seal_keys != add->self->seal_keys; /* a reload came between */
    if (session_is_pending(session))
        session_limit_pending(shard, login, ended);
    session_link(add->self, shard, session, login);
    if (!session_is_pending(session))
        session_limit_user(add->self, shard, session, add->now_ms, ended);
}

/* ---- sign-ins ---- */

/* A sign-in of before the provider was changed is nobody's. */
static bool may_enter(struct add *add)
{
    if (!atomic_load(&add->self->closed) && add->epoch == atomic_load(&add->self->epoch))
        return true;
    return error_set(&add->error, ERROR_REJECTED, "the identity provider was changed meanwhile");
}

static void on_login_stored(void *ctx, enum store_outcome outcome, uint64_t version,
                            const struct error *err)
{
    struct add *add = ctx;
    struct session_login login;
    struct ended_list ended;
    if (!judge_outcome(add, outcome, err)) {
        answer_failure(add);
        return;
    }
    struct session *session = add->session;
    struct shard *shard = sessions_shard(add->self, session->record.id);
    ended_list_init(&ended, add->now_ms);
    pthread_mutex_lock(
        &shard->mutex); /* sessions_close looks into each shard after it has closed */
    bool enters = may_enter(add);
    if (enters) {
        enter(add, shard, NULL, version, &ended);
        session_login_out(add->self, session, &login);
    }
    pthread_mutex_unlock(&shard->mutex);
    if (!enters) {
        sessions_delete(add->self, add->loop, &session->record, NULL);
        answer_failure(add);
        return;
    }
    sessions_finish(add->self, add->loop, &ended, NULL);
    add->login_cb(add->ctx, add->cookie, &login, &add->error);
    free_add(add);
}

void sessions_add_login(struct sessions *self, struct loop *loop,
                        const struct session_login_input *input, int64_t now_ms,
                        session_login_cb cb, void *ctx)
{
    struct add *add = new_add(self, loop, now_ms, ctx);
    struct session_record record = {.kind = STORE_LOGIN};
    add->login_cb = cb;
    if (!may_enter(add) || !fill(add, &record, input->uid, input->address)) {
        fail_later(add);
        return;
    }
    make_cookie(add, &record);
    provider_tokens_copy(&record.tokens, input->tokens);
    write_record(add, &record, on_login_stored);
}

/* ---- kubeconfig sessions ---- */

/* With the lock: the login that a grant belongs to, unless it has ended. */
static struct session *live_login(struct add *add, struct shard *shard, const char *login_id)
{
    struct session *login = session_find(shard, STORE_LOGIN, login_id);
    if (login != NULL && session_judge(add->self, login, add->now_ms) != SESSION_OVER)
        return login;
    error_set(&add->error, ERROR_REJECTED, "the sign-in has ended");
    return NULL;
}

static void on_grant_stored(void *ctx, enum store_outcome outcome, uint64_t version,
                            const struct error *err)
{
    struct add *add = ctx;
    struct session_grant grant;
    struct ended_list ended;
    if (!judge_outcome(add, outcome, err)) {
        answer_failure(add);
        return;
    }
    struct session *session = add->session;
    struct shard *shard = sessions_shard(add->self, session->record.id);
    ended_list_init(&ended, add->now_ms);
    pthread_mutex_lock(&shard->mutex);
    struct session *login = live_login(add, shard, session->record.login_id);
    if (login != NULL) {
        enter(add, shard, login, version, &ended);
        session_grant_out(add->self, session, &grant);
    }
    pthread_mutex_unlock(&shard->mutex);
    if (login == NULL) { /* it ended while the grant was on its way to the store */
        sessions_delete(add->self, add->loop, &session->record, NULL);
        answer_failure(add);
        return;
    }
    sessions_finish(add->self, add->loop, &ended, NULL);
    add->grant_cb(add->ctx, &grant, add->credential, &add->error);
    free_add(add);
}

static bool find_uid(struct add *add, const char *login_id, char uid[SESSION_UID_SIZE])
{
    struct shard *shard = sessions_shard(add->self, login_id);
    if (shard == NULL)
        return error_set(&add->error, ERROR_REJECTED, "the sign-in has ended");
    pthread_mutex_lock(&shard->mutex);
    const struct session *login = live_login(add, shard, login_id);
    if (login != NULL)
        memcpy(uid, login->record.uid, SESSION_UID_SIZE);
    pthread_mutex_unlock(&shard->mutex);
    return login != NULL;
}

static bool code_is_good(const struct session_code *code)
{
    return strlen(code->challenge) == SESSION_CHALLENGE_LEN && code->redirect_uri[0] != '\0';
}

/* The refresh token, or the code until which there is none; nothing for an app: its cookie names the session. */
static bool make_credential(struct add *add, struct session_record *record,
                            const struct session_code *code)
{
    const struct seal_keys *keys = add->self->seal_keys;
    struct refresh_token token;
    uint8_t id[SESSION_ID_BYTES], hash[SHA256_SIZE];
    if (code != NULL && (record->app[0] != '\0' || !code_is_good(code)))
        return error_set(&add->error, ERROR_BAD_INPUT, "what the code is bound to is malformed");
    if (record->app[0] != '\0')
        return true;
    session_id_bytes(record->id, id);
    refresh_token_first(id, &token);
    refresh_token_hash(&token, hash);
    refresh_token_write(keys, code == NULL ? REFRESH_TOKEN : AUTHORIZATION_CODE, &token,
                        add->credential);
    explicit_bzero(&token, sizeof(token));
    if (code == NULL) {
        chain_begin(&record->chain, hash, add->now_ms);
    } else {
        record->code = (struct session_code_record){.expires_ms = add->now_ms + SESSION_CODE_MS,
                                                    .bound = *code};
        memcpy(record->code.secret_hash, hash, sizeof(hash));
    }
    return true;
}

static bool fill_grant(struct add *add, struct session_record *record,
                       const struct session_grant_input *input)
{
    char uid[SESSION_UID_SIZE];
    if (!find_uid(add, input->login_id, uid) || !fill(add, record, uid, input->address))
        return false;
    if (!session_text(record->login_id, sizeof(record->login_id), input->login_id) ||
        !session_text(record->cluster, sizeof(record->cluster), input->cluster))
        return error_set(&add->error, ERROR_BAD_INPUT, "the cluster's name is too long");
    if (!session_text(record->app, sizeof(record->app), input->app == NULL ? "" : input->app))
        return error_set(&add->error, ERROR_BAD_INPUT, "the app's name is too long");
    if (record->app[0] == '\0' && record->cluster[0] == '\0')
        return error_set(&add->error, ERROR_BAD_INPUT, "the session is of no cluster and no app");
    if (!session_text(record->name, sizeof(record->name), input->name == NULL ? "" : input->name))
        return error_set(&add->error, ERROR_BAD_INPUT, "the session's name is longer than %d bytes",
                         SESSION_NAME_SIZE - 1);
    return make_credential(add, record, input->code);
}

void sessions_add_grant(struct sessions *self, struct loop *loop,
                        const struct session_grant_input *input, int64_t now_ms,
                        session_grant_cb cb, void *ctx)
{
    struct add *add = new_add(self, loop, now_ms, ctx);
    struct session_record record = {.kind = STORE_GRANT};
    add->grant_cb = cb;
    if (fill_grant(add, &record, input))
        write_record(add, &record, on_grant_stored);
    else
        fail_later(add);
}
