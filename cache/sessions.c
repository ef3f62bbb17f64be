/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of sessions and what reads it: loading, look-ups by cookie and by id, the provider's tokens.
 * Whether a session is live follows from its record, the limits and the clock alone, so a session past its
 * limits is dead at once, whenever the sweeper comes by. */
#include "cache/sessions.h"

#include <assert.h>

#include "base/log.h"
#include "sessions_private.h"

#define COOKIE_SECRET_BYTES 32
#define ANSWER_WITHIN_MS    3000 /* kubectl has no time-out of its own (facts/protocols.md B1) */

static struct session *session_of(struct table_entry *entry)
{
    return entry == NULL ? NULL : H2O_STRUCT_FROM_MEMBER(struct session, entry, entry);
}

static struct user *user_of(struct table_entry *entry)
{
    return entry == NULL ? NULL : H2O_STRUCT_FROM_MEMBER(struct user, entry, entry);
}

static struct session *sibling_of(h2o_linklist_t *link)
{
    return H2O_STRUCT_FROM_MEMBER(struct session, siblings, link);
}

/* ---- one session ---- */

struct session *session_new(struct session_record *record)
{
    struct session *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct session){.record = *record, .stored_used_ms = record->last_used_ms};
    *record = (struct session_record){0};
    h2o_linklist_init_anchor(&self->grants);
    h2o_linklist_init_anchor(&self->pending);
    h2o_linklist_init_anchor(&self->waiting);
    h2o_linklist_init_anchor(&self->asks);
    return self;
}

void session_free(struct session *self)
{
    if (self == NULL)
        return;
    session_record_dispose(&self->record);
    free(self->notes);
    free(self);
}

/* Without a refresh token nothing can be asked about the user once the access token is over. */
int64_t session_ends_ms(const struct sessions *self, const struct session *session)
{
    const struct session_record *login =
        session->login == NULL ? &session->record : &session->login->record;
    int64_t ends_ms = login->created_ms + self->limits.lifetime_ms;
    if (login->tokens.refresh_token.len == 0 && login->tokens.access_expires_wall_ms < ends_ms)
        return login->tokens.access_expires_wall_ms;
    return ends_ms;
}

enum session_state session_judge(const struct sessions *self, const struct session *session,
                                 int64_t now_ms)
{
    int64_t idle_ms =
        session->login == NULL ? self->limits.idle_ms : self->limits.kubeconfig_idle_ms;
    if (now_ms >= session_ends_ms(self, session))
        return SESSION_OVER;
    return now_ms - session->record.last_used_ms >= idle_ms ? SESSION_IDLE : SESSION_LIVE;
}

int64_t session_used_ms(const struct session *session)
{
    int64_t used_ms = session->record.last_used_ms;
    const h2o_linklist_t *anchor = &session->grants;
    for (h2o_linklist_t *link = anchor->next; link != anchor; link = link->next)
        if (sibling_of(link)->record.last_used_ms > used_ms)
            used_ms = sibling_of(link)->record.last_used_ms;
    return used_ms;
}

bool session_login_is_live(const struct sessions *self, const struct session *login, int64_t now_ms)
{
    enum session_state state = session_judge(self, login, now_ms);
    const h2o_linklist_t *anchor = &login->grants;
    for (h2o_linklist_t *link = anchor->next; link != anchor && state == SESSION_IDLE;
         link = link->next)
        state = session_judge(self, sibling_of(link), now_ms);
    return state == SESSION_LIVE;
}

void session_login_out(const struct sessions *self, const struct session *session,
                       struct session_login *out)
{
    const struct session_record *record = &session->record;
    *out = (struct session_login){.created_ms = record->created_ms,
                                  .last_used_ms = record->last_used_ms,
                                  .ends_ms = session_ends_ms(self, session),
                                  .idle_ends_ms = record->last_used_ms + self->limits.idle_ms};
    memcpy(out->id, record->id, sizeof(out->id));
    memcpy(out->uid, record->uid, sizeof(out->uid));
    memcpy(out->address, record->address, sizeof(out->address));
}

void session_grant_out(const struct sessions *self, const struct session *session,
                       struct session_grant *out)
{
    const struct session_record *record = &session->record;
    out->created_ms = record->created_ms;
    out->last_used_ms = record->last_used_ms;
    out->ends_ms = session_ends_ms(self, session);
    memcpy(out->id, record->id, sizeof(out->id));
    memcpy(out->login_id, record->login_id, sizeof(out->login_id));
    memcpy(out->uid, record->uid, sizeof(out->uid));
    memcpy(out->cluster, record->cluster, sizeof(out->cluster));
    memcpy(out->app, record->app, sizeof(out->app));
    memcpy(out->name, record->name, sizeof(out->name));
    memcpy(out->address, record->address, sizeof(out->address));
}

/* ---- the table ---- */

struct shard *sessions_shard(struct sessions *self, const char *id)
{
    int index = session_shard_of_id(id);
    return index < 0 ? NULL : &self->shards[index];
}

static struct user *user_for(struct shard *shard, const char *uid)
{
    struct user *user = sessions_user(shard, uid);
    if (user != NULL)
        return user;
    user = h2o_mem_alloc(sizeof(*user));
    *user = (struct user){0};
    bool fits = session_text(user->uid, sizeof(user->uid), uid);
    assert(fits);
    h2o_linklist_init_anchor(&user->logins);
    table_insert(&shard->users, &user->entry, user->uid);
    return user;
}

void session_link(struct sessions *self, struct shard *shard, struct session *session,
                  struct session *login)
{
    assert(shard == sessions_shard(self, session->record.id));
    bool is_pending = session_is_pending(session);
    session->user = user_for(shard, session->record.uid);
    session->user->count += !is_pending;
    session->login = login;
    table_insert(&shard->by_id, &session->entry, session->record.id);
    h2o_linklist_insert(login == NULL ? &session->user->logins
                        : is_pending  ? &login->pending
                                      : &login->grants,
                        &session->siblings);
    shard->logins += login == NULL;
    shard->pending += is_pending;
    shard->apps += session->record.app[0] != '\0' && !is_pending;
}

void session_link_redeemed(struct shard *shard, struct session *session)
{
    assert(!session_is_pending(session));
    h2o_linklist_unlink(&session->siblings);
    h2o_linklist_insert(&session->login->grants, &session->siblings);
    session->user->count++;
    shard->pending--;
}

bool session_is_pending(const struct session *session)
{
    return session->record.code.expires_ms != 0;
}

struct session *session_find_any(struct shard *shard, enum store_kind kind, const char *id)
{
    struct session *session = session_of(table_find(&shard->by_id, id));
    return session != NULL && session->record.kind == kind ? session : NULL;
}

struct user *sessions_user(struct shard *shard, const char *uid)
{
    return user_of(table_find(&shard->users, uid));
}

struct session *session_find(struct shard *shard, enum store_kind kind, const char *id)
{
    struct session *session = session_find_any(shard, kind, id);
    return session == NULL || session_is_pending(session) ? NULL : session;
}

/* ---- reload ---- */

void sessions_set_limits(struct sessions *self, const struct session_limits *limits)
{
    self->limits.idle_ms = limits->idle_ms;
    self->limits.kubeconfig_idle_ms = limits->kubeconfig_idle_ms;
    self->limits.lifetime_ms = limits->lifetime_ms;
    self->limits.per_user = limits->per_user;
}

void sessions_set_seal_keys(struct sessions *self, const struct seal_keys *seal_keys)
{
    self->seal_keys = seal_keys;
    for (size_t i = 0; i < SESSION_SHARDS; i++) {
        struct shard *shard = &self->shards[i];
        struct table_entry *entry = NULL;
        pthread_mutex_lock(&shard->mutex);
        while ((entry = table_next(&shard->by_id, entry)) != NULL)
            session_of(entry)->unwritten = true; /* the next sweep writes it */
        pthread_mutex_unlock(&shard->mutex);
    }
}

/* ---- start and end ---- */

struct loading { /* grants wait until every login is there */
    struct sessions *self;
    struct session *grants; /* by next_ended */
    bool failed;
    struct error *err; /* of the first record that can't be read */
};

static void on_loaded(void *ctx, const struct store_record *stored)
{
    struct loading *loading = ctx;
    struct session_record record = {0};
    if (loading->failed)
        return;
    if (!session_decode(loading->self->seal_keys, stored, &record, loading->err)) {
        loading->failed = true;
        return;
    }
    struct session *session = session_new(&record);
    session->version = stored->version;
    if (session->record.kind == STORE_LOGIN) {
        session_link(loading->self, sessions_shard(loading->self, session->record.id), session,
                     NULL);
    } else {
        session->next_ended = loading->grants;
        loading->grants = session;
    }
}

/* A grant whose login is gone is what a crash in the middle of a sign-out leaves. */
static void link_grants(struct loading *loading)
{
    while (loading->grants != NULL) {
        struct session *grant = loading->grants;
        struct shard *shard = sessions_shard(loading->self, grant->record.id);
        struct session *login = session_find(shard, STORE_LOGIN, grant->record.login_id);
        loading->grants = grant->next_ended;
        grant->next_ended = NULL;
        if (!loading->failed && login != NULL &&
            strcmp(login->record.uid, grant->record.uid) == 0) {
            session_link(loading->self, shard, grant, login);
            continue;
        }
        if (!loading->failed)
            sessions_delete_later(loading->self, &grant->record);
        session_free(grant);
    }
}

/* NOLINTNEXTLINE(readability-function-size): each parameter is a part of it, named once in server/ */
bool sessions_new(const struct session_limits *limits, struct store *store,
                  const struct seal_keys *seal_keys, int64_t now_ms, session_ended_cb ended,
                  void *ended_ctx, struct sessions **out, struct error *err)
{
    void *memory = NULL;
    int failed = posix_memalign(&memory, 64, sizeof(struct sessions));
    assert(failed == 0 && limits->per_user > 0);
    struct sessions *self = memory;
    (void)now_ms; /* what is past its limits is ended, told and deleted by the first sweep */
    *self = (struct sessions){.store = store,
                              .seal_keys = seal_keys,
                              .ended = ended,
                              .ended_ctx = ended_ctx,
                              .answer_within_ms = ANSWER_WITHIN_MS};
    sessions_set_limits(self, limits);
    pthread_mutex_init(&self->retry_mutex, NULL);
    for (size_t i = 0; i < SESSION_SHARDS; i++)
        pthread_mutex_init(&self->shards[i].mutex, NULL);
    struct loading loading = {.self = self, .err = err};
    if (!store_load(store, on_loaded, &loading, err))
        loading.failed = true;
    link_grants(&loading);
    if (loading.failed) {
        sessions_free(self);
        return false;
    }
    *out = self;
    return true;
}

static void free_shard(struct shard *shard)
{
    struct table_entry *entry;
    while ((entry = table_next(&shard->by_id, NULL)) != NULL) {
        table_remove(&shard->by_id, entry);
        session_free(session_of(entry));
    }
    while ((entry = table_next(&shard->users, NULL)) != NULL) {
        table_remove(&shard->users, entry);
        free(user_of(entry));
    }
    table_dispose(&shard->by_id);
    table_dispose(&shard->users);
    pthread_mutex_destroy(&shard->mutex);
}

void sessions_free(struct sessions *self)
{
    if (self == NULL)
        return;
    for (size_t i = 0; i < SESSION_SHARDS; i++)
        free_shard(&self->shards[i]);
    sessions_free_retries(self);
    pthread_mutex_destroy(&self->retry_mutex);
    free(self);
}

/* ---- look-ups ---- */

struct cookie {
    char id[SESSION_ID_SIZE];
    uint8_t secret_hash[SHA256_SIZE];
};

/* base64url(id bytes, secret bytes) */
static bool read_cookie(h2o_iovec_t text, struct cookie *out)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t bytes;
    h2o_mem_init_pool(&pool);
    bool good = text.len == (size_t)(SESSION_ID_BYTES + COOKIE_SECRET_BYTES) / 3 * 4 &&
                base64url_decode(&pool, text, &bytes);
    if (good) {
        crypto_sha256(bytes.base + SESSION_ID_BYTES, COOKIE_SECRET_BYTES, out->secret_hash);
        explicit_bzero(bytes.base + SESSION_ID_BYTES, COOKIE_SECRET_BYTES);
        session_id_text((const uint8_t *)bytes.base, out->id);
    }
    h2o_mem_clear_pool(&pool);
    return good;
}

enum session_state sessions_find_login(struct sessions *self, h2o_iovec_t cookie, int64_t now_ms,
                                       struct session_login *out)
{
    struct cookie wanted;
    if (!read_cookie(cookie, &wanted))
        return SESSION_UNKNOWN;
    struct shard *shard = sessions_shard(self, wanted.id);
    enum session_state state = SESSION_UNKNOWN;
    pthread_mutex_lock(&shard->mutex);
    struct session *login = session_find(shard, STORE_LOGIN, wanted.id);
    if (login != NULL && crypto_equal(login->record.secret_hash, wanted.secret_hash, SHA256_SIZE))
        state = session_judge(self, login, now_ms);
    if (state == SESSION_LIVE)
        login->record.last_used_ms = now_ms;
    if (state != SESSION_UNKNOWN)
        session_login_out(self, login, out);
    pthread_mutex_unlock(&shard->mutex);
    return state;
}

enum session_state sessions_use_grant(struct sessions *self, const char *id, int64_t now_ms,
                                      struct session_grant *out)
{
    struct shard *shard = sessions_shard(self, id);
    if (shard == NULL)
        return SESSION_UNKNOWN;
    pthread_mutex_lock(&shard->mutex);
    struct session *grant = session_find(shard, STORE_GRANT, id);
    enum session_state state = grant == NULL ? SESSION_UNKNOWN : session_judge(self, grant, now_ms);
    if (state == SESSION_LIVE)
        grant->record.last_used_ms = now_ms;
    if (grant != NULL && out != NULL)
        session_grant_out(self, grant, out);
    pthread_mutex_unlock(&shard->mutex);
    return state;
}

enum session_state sessions_look_at_grant(struct sessions *self, const char *id, int64_t now_ms)
{
    struct shard *shard = sessions_shard(self, id);
    if (shard == NULL)
        return SESSION_UNKNOWN;
    pthread_mutex_lock(&shard->mutex);
    struct session *grant = session_find(shard, STORE_GRANT, id);
    enum session_state state = grant == NULL ? SESSION_UNKNOWN : session_judge(self, grant, now_ms);
    pthread_mutex_unlock(&shard->mutex);
    return state;
}

/* ---- the provider's tokens ---- */

/* Keeps found sorted, latest use first, at most max of them. */
static size_t insert_by_use(const struct session **found, size_t count, size_t max,
                            const struct session *login)
{
    size_t i = count < max ? count : max - 1;
    if (count == max && session_used_ms(found[i]) >= session_used_ms(login))
        return count;
    for (; i > 0 && session_used_ms(found[i - 1]) < session_used_ms(login); i--)
        found[i] = found[i - 1];
    found[i] = login;
    return count < max ? count + 1 : max;
}

size_t sessions_tokens(struct sessions *self, const char *uid, int64_t now_ms,
                       struct session_tokens *out, size_t max)
{
    if (max == 0)
        return 0;
    struct shard *shard = &self->shards[session_shard_of_uid(uid)];
    const struct session **found = h2o_mem_alloc(max * sizeof(*found));
    size_t count = 0;
    pthread_mutex_lock(&shard->mutex);
    struct user *user = sessions_user(shard, uid);
    if (user != NULL)
        for (h2o_linklist_t *link = user->logins.next; link != &user->logins; link = link->next)
            if (session_login_is_live(self, sibling_of(link), now_ms))
                count = insert_by_use(found, count, max, sibling_of(link));
    for (size_t i = 0; i < count; i++) {
        out[i] = (struct session_tokens){0};
        memcpy(out[i].login_id, found[i]->record.id, sizeof(out[i].login_id));
        provider_tokens_copy(&out[i].tokens, &found[i]->record.tokens);
    }
    pthread_mutex_unlock(&shard->mutex);
    free(found);
    return count;
}

bool sessions_login_tokens(struct sessions *self, const char *login_id, struct provider_tokens *out)
{
    struct shard *shard = sessions_shard(self, login_id);
    if (shard == NULL)
        return false;
    pthread_mutex_lock(&shard->mutex);
    const struct session *login = session_find(shard, STORE_LOGIN, login_id);
    if (login != NULL) {
        *out = (struct provider_tokens){0};
        provider_tokens_copy(out, &login->record.tokens);
    }
    pthread_mutex_unlock(&shard->mutex);
    return login != NULL;
}

void sessions_count(struct sessions *self, struct session_counts *out)
{
    *out = (struct session_counts){0};
    for (size_t i = 0; i < SESSION_SHARDS; i++) {
        struct shard *shard = &self->shards[i];
        pthread_mutex_lock(&shard->mutex);
        out->logins += shard->logins;
        out->apps += shard->apps;
        out->grants += shard->by_id.count - shard->logins - shard->pending - shard->apps;
        pthread_mutex_unlock(&shard->mutex);
    }
}
