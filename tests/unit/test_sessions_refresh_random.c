/* SPDX-License-Identifier: Apache-2.0
 *
 * Refresh tokens under random presentations, steps of the clock, and failures of the store, against the rule of
 * docs/ARCHITECTURE "A refresh token" in the plainest words. The seeds are fixed, and printed. */
#include "support_sessions.h"

#include "base/log.h"

enum {
    STEPS = 4000,
    GENERATIONS = 2000,
    IDLE = 60 * 60000,
    INTERVAL = 5 * 60000,
    LIFETIME = 5 * 60 * 60000
};

struct model {
    uint64_t seed, random;
    int64_t now;
    char id[SESSION_ID_SIZE];
    char tokens[GENERATIONS][REFRESH_TOKEN_LEN + 1];    /* all that there were, in their order */
    int64_t made[GENERATIONS], first_used[GENERATIONS]; /* 0: never */
    int current;                                        /* its index */
    int64_t used, begun; /* the session's last use; when its sign-in was made */
    unsigned live, rotated, reused, idle, over; /* what came */
};

static uint64_t draw(struct model *m, uint64_t below)
{
    m->random = m->random * 6364136223846793005u + 1442695040888963407u;
    return (m->random >> 33) % below;
}

/* A sign-in and a session of its own. Those before are forgotten. */
static void start_over(struct sessions_fixture *self, struct model *m)
{
    struct session_login login = add_login(self, "alice", m->now);
    struct session_grant grant = add_grant(self, login.id, m->now);
    m->current = 0;
    m->made[0] = m->used = m->begun = m->now;
    m->first_used[0] = 0;
    memcpy(m->id, grant.id, sizeof(m->id));
    memcpy(m->tokens[0], self->credential, sizeof(m->tokens[0]));
}

/* What the rule says of the token with this index. */
enum expected { GOES_ON, ROTATES, IS_REUSE, IS_IDLE, IS_OVER };
static enum expected judge(const struct model *m, int index)
{
    if (m->now >= m->begun + LIFETIME)
        return IS_OVER;
    if (m->now - m->used >= IDLE)
        return IS_IDLE;
    if (index == m->current)
        return m->now - m->made[index] >= INTERVAL ? ROTATES : GOES_ON;
    int64_t successor = m->first_used[index + 1];
    return successor != 0 && m->now - successor >= IDLE ? IS_REUSE : GOES_ON;
}

static void note_use(struct model *m, int index)
{
    m->used = m->now;
    if (index == m->current && m->first_used[index] == 0)
        m->first_used[index] = m->now;
    m->live++;
}

static void note_rotation(struct model *m, const char *token)
{
    m->current++;
    m->rotated++;
    assert_true(m->current < GENERATIONS);
    m->made[m->current] = m->now;
    m->first_used[m->current] = 0;
    memcpy(m->tokens[m->current], token, sizeof(m->tokens[0]));
}

static void expect_end(struct sessions_fixture *self, struct model *m, enum expected expected)
{
    assert_true(self->refreshed.reused == (expected == IS_REUSE));
    if (expected == IS_REUSE) {
        assert_int_equal(self->refreshed.state, SESSION_UNKNOWN);
        assert_null(refresh(self, m->tokens[m->current], m->now)); /* the whole chain is over */
    } else {
        assert_int_equal(self->refreshed.state, expected == IS_IDLE ? SESSION_IDLE : SESSION_OVER);
    }
    m->reused += expected == IS_REUSE;
    m->idle += expected == IS_IDLE;
    m->over += expected == IS_OVER;
    end_login(self, self->login.id);
    await(&self->waiter, 1);
    self->ended = 0;
    start_over(self, m);
}

static void present(struct sessions_fixture *self, struct model *m, int index)
{
    enum expected expected = judge(m, index);
    bool fails = draw(m, 10) == 0;
    unsigned puts = self->store->puts;
    self->store->failing_puts = fails;
    const char *answer = refresh(self, m->tokens[index], m->now);
    self->store->failing_puts = 0;
    assert_int_equal(self->store->puts - puts, expected == ROTATES);
    if (expected != GOES_ON && expected != ROTATES) {
        assert_null(answer);
        expect_end(self, m, expected);
        return;
    }
    assert_non_null(answer);
    assert_string_equal(self->grant.id, m->id);
    note_use(m, index);
    if (expected == GOES_ON || fails) {
        assert_string_equal(answer, m->tokens[m->current]);
        return;
    }
    for (int i = 0; i <= m->current; i++)
        assert_string_not_equal(answer, m->tokens[i]);
    note_rotation(m, answer);
}

/* Tokens that are not of this session's chain, and one of it for another cluster: unknown, and nothing comes of them. */
static void present_foreign(struct sessions_fixture *self, struct model *m)
{
    char token[REFRESH_TOKEN_LEN + 1];
    const struct session_presented elsewhere = {iovec_of(m->tokens[m->current]), "staging"};
    memcpy(token, m->tokens[m->current], sizeof(token));
    size_t at = (size_t)draw(m, REFRESH_TOKEN_LEN);
    token[at] = token[at] == 'A' ? 'B' : 'A';
    assert_null(refresh(self, token, m->now));
    assert_int_equal(self->refreshed.state, SESSION_UNKNOWN);
    assert_false(self->refreshed.reused);
    sessions_refresh(self->sessions, self->waiter.loop, &elsewhere, m->now, on_refreshed, self);
    await(&self->waiter, 1);
    assert_int_equal(self->refreshed.state, SESSION_UNKNOWN);
    assert_false(self->refreshed.reused);
}

/* Mostly those that are in use, sometimes an old one. */
static int some_token(struct model *m)
{
    uint64_t what = draw(m, 100);
    uint64_t back = what < 50 ? 0 : what < 97 ? draw(m, 3) : draw(m, (uint64_t)m->current + 1);
    return (int)back > m->current ? 0 : m->current - (int)back;
}

static void step(struct sessions_fixture *self, struct model *m)
{
    if (draw(m, 12) == 0)
        present_foreign(self, m);
    else
        present(self, m, some_token(m));
    uint64_t pace = draw(m, 40); /* at once, minutes, and seldom long enough to be idle */
    m->now += (int64_t)draw(m, pace < 15 ? 2000 : pace < 39 ? 12 * MINUTE : 80 * MINUTE);
}

static void follows_the_rule(void **state)
{
    static const uint64_t seeds[] = {1, 20261123, 0x9e3779b97f4a7c15u};
    struct sessions_fixture *self = *state;
    struct model *m = h2o_mem_alloc(sizeof(*m));
    self->limits.lifetime_ms = LIFETIME;
    sessions_set_limits(self->sessions, &self->limits);
    log_set_level(LOG_ERROR); /* the store fails on purpose */
    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        *m = (struct model){.seed = seeds[i], .random = seeds[i], .now = T0};
        print_message("seed %llu\n", (unsigned long long)m->seed);
        start_over(self, m);
        for (int at = 0; at < STEPS; at++)
            step(self, m);
        print_message("live %u, rotated %u, reused %u, idle %u, over %u\n", m->live, m->rotated,
                      m->reused, m->idle, m->over);
        assert_true(m->rotated > 0 && m->reused > 0 && m->idle > 0 && m->over > 0);
    }
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(follows_the_rule, sessions_setup, sessions_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
