/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions under random operations: on one thread against a simple model with a clock of its own, where
 * every answer, every ended callback and the store's contents must be the model's (peers 10: no yes outlives
 * its session); and on several threads at once, where all must add up in the end. */
#include <pthread.h>
#include <stdatomic.h>

#include "support_sessions.h"

#define USERS    3
#define SESSIONS 4000

/* ---- the model: what design section 7 says, in the plainest words ---- */

enum { IDLE = 1000, GRANT_IDLE = 4000, LIFETIME = 20000, PER_USER = 5, NOBODY = -1 };

struct model_session {
    bool is_grant, here; /* here: not ended */
    int user, login;     /* login: index of a grant's login */
    int64_t created, used, stored;
    char id[SESSION_ID_SIZE];
    char cookie[80];
};

struct model {
    struct model_session all[SESSIONS];
    int count;
    int64_t now;
    struct {
        const char *id;
        enum session_end reason;
    } ended[SESSIONS]; /* of this step */
    unsigned ended_count;
    uint64_t random;
};

static uint64_t draw(struct model *m, uint64_t below)
{
    m->random = m->random * 6364136223846793005u + 1442695040888963407u;
    return (m->random >> 33) % below;
}

static enum session_state judge(const struct model *m, const struct model_session *s)
{
    const struct model_session *login = s->is_grant ? &m->all[s->login] : s;
    if (!s->here)
        return SESSION_UNKNOWN;
    if (m->now >= login->created + LIFETIME)
        return SESSION_OVER;
    return m->now - s->used >= (s->is_grant ? GRANT_IDLE : IDLE) ? SESSION_IDLE : SESSION_LIVE;
}

static void model_end(struct model *m, int index, enum session_end reason)
{
    m->all[index].here = false;
    m->ended[m->ended_count].id = m->all[index].id;
    m->ended[m->ended_count++].reason = reason;
    for (int i = 0; i < m->count && !m->all[index].is_grant; i++)
        if (m->all[i].here && m->all[i].is_grant && m->all[i].login == index)
            model_end(m, i, SESSION_PARENT_ENDED);
}

static bool spared(const struct model *m, int index, int keep)
{
    return index == keep ||
           (keep != NOBODY && m->all[keep].is_grant && m->all[keep].login == index);
}

static bool has_grants(const struct model *m, int login)
{
    for (int i = 0; i < m->count; i++)
        if (m->all[i].here && m->all[i].is_grant && m->all[i].login == login)
            return true;
    return false;
}

static void model_tidy(struct model *m, int user, int keep)
{
    for (int i = 0; i < m->count; i++)
        if (!m->all[i].is_grant && m->all[i].user == user && !spared(m, i, keep) &&
            judge(m, &m->all[i]) == SESSION_OVER)
            model_end(m, i, SESSION_LIFETIME_OVER);
    for (int i = 0; i < m->count; i++)
        if (m->all[i].is_grant && m->all[i].user == user && !spared(m, i, keep) &&
            judge(m, &m->all[i]) == SESSION_IDLE)
            model_end(m, i, SESSION_IDLE_TOO_LONG);
    for (int i = 0; i < m->count; i++)
        if (!m->all[i].is_grant && m->all[i].user == user && !spared(m, i, keep) &&
            judge(m, &m->all[i]) == SESSION_IDLE && !has_grants(m, i))
            model_end(m, i, SESSION_IDLE_TOO_LONG);
}

static int64_t model_used(const struct model *m, int index)
{
    int64_t used = m->all[index].used;
    for (int i = 0; i < m->count; i++)
        if (m->all[i].here && m->all[i].is_grant && m->all[i].login == index &&
            m->all[i].used > used)
            used = m->all[i].used;
    return used;
}

static int model_least(const struct model *m, int user, int keep)
{
    int least = NOBODY;
    for (int i = 0; i < m->count; i++) {
        if (!m->all[i].here || m->all[i].user != user || spared(m, i, keep))
            continue;
        if (least == NOBODY || model_used(m, i) < model_used(m, least) ||
            (model_used(m, i) == model_used(m, least) && m->all[i].is_grant))
            least = i;
    }
    return least;
}

static int model_count(const struct model *m, int user)
{
    int count = 0;
    for (int i = 0; i < m->count; i++)
        count += m->all[i].here && (user == NOBODY || m->all[i].user == user);
    return count;
}

static void model_limit(struct model *m, int user, int keep)
{
    model_tidy(m, user, keep);
    while (model_count(m, user) > PER_USER)
        model_end(m, model_least(m, user, keep), SESSION_PUSHED_OUT);
}

/* ---- one step on both ---- */

static void step_add_login(struct sessions_fixture *self, struct model *m)
{
    static const char *const names[USERS] = {"alice", "bob", "carol"};
    int user = (int)draw(m, USERS), index = m->count++;
    add_login(self, names[user], m->now);
    m->all[index] = (struct model_session){
        .here = true, .user = user, .created = m->now, .used = m->now, .stored = m->now};
    memcpy(m->all[index].id, self->login.id, SESSION_ID_SIZE);
    memcpy(m->all[index].cookie, self->cookie, sizeof(self->cookie));
    model_limit(m, user, index);
}

/* Any session but the very old, which would only be unknown. */
static int pick(struct model *m, bool is_grant)
{
    for (int tries = 0; tries < 20 && m->count > 0; tries++) {
        int index = m->count - 1 - (int)draw(m, (uint64_t)(m->count < 40 ? m->count : 40));
        if (m->all[index].is_grant == is_grant)
            return index;
    }
    return NOBODY;
}

static void step_add_grant(struct sessions_fixture *self, struct model *m)
{
    int login = pick(m, false);
    if (login == NOBODY)
        return;
    enum session_state state = judge(m, &m->all[login]);
    start_grant(self, m->all[login].id, m->now);
    await(&self->waiter, 1);
    assert_int_equal(self->good, state == SESSION_LIVE || state == SESSION_IDLE);
    if (!self->good)
        return;
    int index = m->count++;
    m->all[index] = (struct model_session){.is_grant = true,
                                           .here = true,
                                           .user = m->all[login].user,
                                           .login = login,
                                           .created = m->now,
                                           .used = m->now,
                                           .stored = m->now};
    memcpy(m->all[index].id, self->grant.id, SESSION_ID_SIZE);
    model_limit(m, m->all[index].user, index);
}

static void step_use(struct sessions_fixture *self, struct model *m, bool is_grant)
{
    int index = pick(m, is_grant);
    if (index == NOBODY)
        return;
    struct model_session *s = &m->all[index];
    enum session_state state = is_grant ? use(self, s->id, m->now) : find(self, s->cookie, m->now);
    assert_int_equal(state, judge(m, s));
    if (state == SESSION_LIVE)
        s->used = m->now;
}

static void step_end(struct sessions_fixture *self, struct model *m, bool is_grant)
{
    int index = pick(m, is_grant);
    if (index == NOBODY)
        return;
    if (is_grant)
        end_grant(self, m->all[index].id);
    else
        end_login(self, m->all[index].id);
    await(&self->waiter, 1);
    assert_true(self->written);
    if (m->all[index].here)
        model_end(m, index, SESSION_SIGNED_OUT);
}

static void step_sweep(struct sessions_fixture *self, struct model *m)
{
    sessions_sweep(self->sessions, self->waiter.loop, m->now);
    for (int user = 0; user < USERS; user++)
        model_tidy(m, user, NOBODY);
    for (int i = 0; i < m->count; i++) {
        struct model_session *s = &m->all[i];
        if (s->here && s->used - s->stored >= (s->is_grant ? GRANT_IDLE : IDLE) / 4)
            s->stored = s->used;
    }
}

static void step_restart(struct sessions_fixture *self, struct model *m)
{
    reopen_sessions(self);
    for (int i = 0; i < m->count; i++)
        m->all[i].used = m->all[i].stored;
}

static void step(struct sessions_fixture *self, struct model *m)
{
    uint64_t what = draw(m, 100);
    if (what < 12)
        step_add_login(self, m);
    else if (what < 30)
        step_add_grant(self, m);
    else if (what < 60)
        step_use(self, m, true);
    else if (what < 85)
        step_use(self, m, false);
    else if (what < 88)
        step_end(self, m, false);
    else if (what < 91)
        step_end(self, m, true);
    else if (what < 97)
        step_sweep(self, m);
    else
        step_restart(self, m);
    m->now += 1 + (int64_t)draw(m, draw(m, 20) == 0 ? 3000 : 60);
}

static void compare(struct sessions_fixture *self, struct model *m)
{
    run_posted(self->waiter.loop);
    assert_int_equal(self->ended, m->ended_count);
    for (unsigned i = 0; i < m->ended_count; i++) {
        unsigned at = 0;
        while (at < self->ended && strcmp(self->endings[at].id, m->ended[i].id) != 0)
            at++;
        assert_int_not_equal(at, self->ended);
        assert_int_equal(self->endings[at].reason, m->ended[i].reason);
    }
    self->ended = m->ended_count = 0;
    struct session_counts all = counts(self);
    assert_int_equal(all.logins + all.grants, model_count(m, NOBODY));
    assert_int_equal(store_count(&self->store->store), model_count(m, NOBODY));
}

static void behaves_as_the_model(void **state)
{
    struct sessions_fixture *self = *state;
    struct model *m = malloc(sizeof(*m));
    *m = (struct model){.now = T0, .random = (uint64_t)time(NULL)};
    print_message("seed %llu\n", (unsigned long long)m->random);
    self->limits = (struct session_limits){IDLE, GRANT_IDLE, LIFETIME, PER_USER};
    reopen_sessions(self);
    for (int i = 0; i < 8000 && m->count < SESSIONS; i++) {
        step(self, m);
        compare(self, m);
    }
    free(m);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 60 };

static atomic_uint added, told;

static void on_told(void *ctx, const struct session_ended *ended)
{
    (void)ctx;
    assert_non_null(ended->uid);
    atomic_fetch_add(&told, 1);
}

static void on_added_grant(void *ctx, const struct session_grant *grant, const char *credential,
                           const struct error *err)
{
    (void)err; /* its sign-in may be pushed out by another thread's */
    if (grant != NULL)
        atomic_fetch_add(&added, 1);
    on_grant(ctx, grant, credential, err);
}

static void one_round(struct sessions_fixture *self, int round)
{
    static const char *const uids[] = {"u0", "u1"};
    const char *uid = uids[round % 2];
    struct session_tokens tokens[4];
    struct session_login login = add_login(self, uid, T0);
    atomic_fetch_add(&added, 1);
    struct session_grant_input input = {login.id, "prod", "n", "a", NULL, NULL};
    for (int i = 0; i < 3; i++)
        sessions_add_grant(self->sessions, self->waiter.loop, &input, T0, on_added_grant, self);
    await(&self->waiter, 3);
    if (self->good)
        use(self, self->grant.id, T0 + 20 * MINUTE);
    find(self, self->cookie, T0 + 5 * MINUTE);
    size_t count = sessions_tokens(self->sessions, uid, T0, tokens, 4);
    for (size_t i = 0; i < count; i++) { /* also those of other threads, as they end them */
        sessions_put_tokens(self->sessions, self->waiter.loop, tokens[i].login_id,
                            &tokens[i].tokens, on_done, self);
        provider_tokens_dispose(&tokens[i].tokens);
    }
    if (round % 3 != 0)
        end_login(self, login.id);
    sessions_add_grant(self->sessions, self->waiter.loop, &input, T0, on_added_grant, self);
    await(&self->waiter, (unsigned)count + 1 + (round % 3 != 0));
}

static void *run_rounds(void *arg)
{
    struct sessions_fixture self = {.sessions = arg};
    self.waiter.loop = loop_new();
    for (int i = 0; i < ROUNDS; i++)
        one_round(&self, i);
    sessions_sweep(self.sessions, self.waiter.loop, T0 + 10 * MINUTE);
    run_posted(self.waiter.loop);
    run_posted(self.waiter.loop);
    loop_free(self.waiter.loop);
    return NULL;
}

static void threads_add_up(void **state)
{
    struct sessions_fixture *self = *state;
    struct sessions *sessions;
    struct session_counts all;
    pthread_t threads[THREADS];
    struct store *store = store_memory_new();
    assert_true(sessions_new(&self->limits, store, self->keys, T0, on_told, NULL, &sessions, NULL));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_rounds, sessions), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    sessions_count(sessions, &all);
    assert_int_equal(store_count(store), all.logins + all.grants);
    assert_int_equal(atomic_load(&added), atomic_load(&told) + all.logins + all.grants);
    sessions_sweep(sessions, self->waiter.loop, T0 + 24 * HOUR);
    run_posted(self->waiter.loop);
    assert_int_equal(store_count(store), 0);
    assert_int_equal(atomic_load(&added), atomic_load(&told));
    sessions_free(sessions);
    store_free(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sessions_setup, sessions_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(behaves_as_the_model), TEST(threads_add_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
