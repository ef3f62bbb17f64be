/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists of sessions for people. First it is noted which sign-ins there are and when they were used, then the
 * latest are copied, each under the lock of its shard: who lists everybody's holds no lock for long. */
#include "sessions_private.h"

struct found {
    char id[SESSION_ID_SIZE];
    int64_t used_ms;
};

struct search {
    const struct sessions *sessions;
    int64_t now_ms;
    struct found *all; /* malloc'ed */
    size_t count, capacity;
};

static struct session *sibling_of(h2o_linklist_t *link)
{
    return H2O_STRUCT_FROM_MEMBER(struct session, siblings, link);
}

static void add_found(struct search *search, const struct session *login)
{
    if (search->count == search->capacity) {
        search->capacity = search->capacity == 0 ? 32 : search->capacity * 2;
        search->all = h2o_mem_realloc(search->all, search->capacity * sizeof(search->all[0]));
    }
    struct found *found = &search->all[search->count++];
    memcpy(found->id, login->record.id, sizeof(found->id));
    found->used_ms = session_used_ms(login);
}

/* With the lock. */
static void search_user(struct search *search, struct user *user)
{
    for (h2o_linklist_t *link = user->logins.next; link != &user->logins; link = link->next)
        if (session_login_is_live(search->sessions, sibling_of(link), search->now_ms))
            add_found(search, sibling_of(link));
}

static void search_shard(struct search *search, struct shard *shard, const char *uid)
{
    struct table_entry *entry = NULL;
    pthread_mutex_lock(&shard->mutex);
    if (uid != NULL) {
        struct user *user = sessions_user(shard, uid);
        if (user != NULL)
            search_user(search, user);
    } else {
        while ((entry = table_next(&shard->users, entry)) != NULL)
            search_user(search, H2O_STRUCT_FROM_MEMBER(struct user, entry, entry));
    }
    pthread_mutex_unlock(&shard->mutex);
}

static int later_first(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->used_ms != y->used_ms)
        return x->used_ms < y->used_ms ? 1 : -1;
    return strcmp(x->id, y->id);
}

static int later_grant_first(const void *a, const void *b)
{
    const struct session_grant *x = a, *y = b;
    if (x->last_used_ms != y->last_used_ms)
        return x->last_used_ms < y->last_used_ms ? 1 : -1;
    return strcmp(x->id, y->id);
}

/* ---- copies ---- */

struct copying {
    struct sessions *self;
    h2o_mem_pool_t *pool;
    int64_t now_ms;
};

static void copy_grants(const struct copying *copying, struct session *login,
                        struct session_entry *out)
{
    const h2o_linklist_t *anchor = &login->grants;
    size_t room = 0;
    for (h2o_linklist_t *link = anchor->next; link != anchor; link = link->next)
        room++;
    out->grants = h2o_mem_alloc_pool(copying->pool, (room + 1) * sizeof(out->grants[0]));
    for (h2o_linklist_t *link = anchor->next; link != anchor; link = link->next)
        if (session_judge(copying->self, sibling_of(link), copying->now_ms) == SESSION_LIVE)
            session_grant_out(copying->self, sibling_of(link), &out->grants[out->grant_count++]);
    qsort(out->grants, out->grant_count, sizeof(out->grants[0]), later_grant_first);
}

/* False: it has ended since. */
static bool copy_login(const struct copying *copying, const char *id, struct session_entry *out)
{
    struct shard *shard = sessions_shard(copying->self, id);
    pthread_mutex_lock(&shard->mutex);
    struct session *login = session_find(shard, STORE_LOGIN, id);
    if (login != NULL) {
        *out = (struct session_entry){0};
        session_login_out(copying->self, login, &out->login);
        copy_grants(copying, login, out);
        if (login->notes != NULL) {
            memcpy(out->notes, login->notes->all, sizeof(out->notes));
            out->note_count = login->notes->count;
        }
    }
    pthread_mutex_unlock(&shard->mutex);
    return login != NULL;
}

void sessions_list(struct sessions *self, h2o_mem_pool_t *pool, const char *uid, size_t max,
                   int64_t now_ms, struct session_list *out)
{
    struct search search = {.sessions = self, .now_ms = now_ms};
    struct copying copying = {self, pool, now_ms};
    for (size_t i = 0; i < SESSION_SHARDS; i++)
        if (uid == NULL || i == session_shard_of_uid(uid))
            search_shard(&search, &self->shards[i], uid);
    if (search.count != 0)
        qsort(search.all, search.count, sizeof(search.all[0]), later_first);
    size_t copies = search.count < max ? search.count : max;
    out->entries = h2o_mem_alloc_pool(pool, (copies + 1) * sizeof(out->entries[0]));
    out->count = 0;
    out->total = search.count;
    for (size_t i = 0; i < copies; i++)
        out->count += copy_login(&copying, search.all[i].id, &out->entries[out->count]);
    free(search.all);
}

bool sessions_owner(struct sessions *self, const char *id, char uid[SESSION_UID_SIZE],
                    bool *is_grant)
{
    struct shard *shard = sessions_shard(self, id);
    if (shard == NULL)
        return false;
    pthread_mutex_lock(&shard->mutex);
    const struct session *session = session_find(shard, STORE_LOGIN, id);
    if (session == NULL)
        session = session_find(shard, STORE_GRANT, id);
    if (session != NULL) {
        memcpy(uid, session->record.uid, SESSION_UID_SIZE);
        *is_grant = session->record.kind == STORE_GRANT;
    }
    pthread_mutex_unlock(&shard->mutex);
    return session != NULL;
}
