/* SPDX-License-Identifier: Apache-2.0
 *
 * Refreshing as kubectl does it (facts/protocols.md B1): fan-out, lost answers, tools with copies of their own, a
 * kubeconfig that can't be written; reuse, limits, and a store that fails or is slow. */
#include <pthread.h>

#include "support_sessions.h"

/* A kubeconfig session of alice; its first refresh token. */
static const char *begin(struct sessions_fixture *self)
{
    struct session_login login = add_login(self, "alice", T0);
    add_grant(self, login.id, T0);
    return self->credential;
}

static void a_token_is_not_rotated_at_once(void **state)
{
    struct sessions_fixture *self = *state;
    const char *first = begin(self);
    unsigned puts = self->store->puts;
    assert_string_equal(refresh(self, first, T0 + 5 * MINUTE - 1), first);
    assert_string_equal(self->grant.cluster, "prod");
    assert_int_equal(self->store->puts, puts);
    const char *next = refresh(self, first, T0 + 5 * MINUTE);
    assert_string_not_equal(next, first);
    assert_int_equal(self->store->puts, puts + 1);
    assert_int_equal(use(self, self->grant.id, T0 + HOUR + 4 * MINUTE),
                     SESSION_LIVE); /* it counts as use */
}

static char kept[8][REFRESH_TOKEN_LEN + 1];

static const char *keep(unsigned i, const char *token)
{
    assert_non_null(token);
    memcpy(kept[i], token, sizeof(kept[i]));
    return kept[i];
}

/* peers 50: ten POSTs of the same token at once make one successor, by one put. */
static void fan_out_gets_one_successor(void **state)
{
    struct sessions_fixture *self = *state;
    const char *first = begin(self);
    unsigned puts = self->store->puts;
    self->store->hold = true;
    for (int i = 0; i < 10; i++)
        start_refresh(self, first, T0 + 10 * MINUTE);
    run_posted(self->waiter.loop);
    assert_int_equal(self->waiter.arrived, 0); /* commit, then memory, then the answer */
    held_release(self->store);
    await(&self->waiter, 10);
    assert_int_equal(self->live, 10);
    assert_int_equal(self->store->puts, puts + 1);
    const char *next = keep(0, self->refreshed.token);
    assert_string_not_equal(next, first);
    assert_string_equal(refresh(self, first, T0 + 10 * MINUTE), next);
}

/* The answer was lost: also across a restart, which knows what was committed. */
static void a_lost_answer_is_given_again(void **state)
{
    struct sessions_fixture *self = *state;
    const char *first = begin(self);
    const char *next = keep(0, refresh(self, first, T0 + 10 * MINUTE));
    assert_string_equal(refresh(self, first, T0 + 12 * MINUTE), next);
    reopen_sessions(self);
    assert_string_equal(refresh(self, first, T0 + 20 * MINUTE), next);
    assert_string_equal(refresh(self, next, T0 + 14 * MINUTE), next);
}

/* Always the first token, for as long as the session lives. */
static void a_kubeconfig_that_cannot_be_written_works_on(void **state)
{
    struct sessions_fixture *self = *state;
    const char *first = begin(self), *next = NULL;
    for (int64_t at = 10 * MINUTE; at < 12 * HOUR; at += 30 * MINUTE) {
        const char *answer = refresh(self, first, T0 + at);
        assert_non_null(answer);
        if (next == NULL)
            next = keep(0, answer);
        assert_string_equal(answer, next);
    }
    assert_null(refresh(self, first, T0 + 12 * HOUR));
    assert_int_equal(self->refreshed.state, SESSION_OVER);
}

/* k9s keeps the token that it began with, while kubectl goes on. */
static void two_tools_with_copies(void **state)
{
    struct sessions_fixture *self = *state;
    const char *first = begin(self);
    const char *second = keep(0, refresh(self, first, T0 + 10 * MINUTE));
    const char *third = keep(1, refresh(self, second, T0 + 20 * MINUTE)); /* first use of second */
    assert_string_equal(refresh(self, first, T0 + 30 * MINUTE), third);
    assert_string_equal(refresh(self, second, T0 + 50 * MINUTE), third);
    assert_string_equal(refresh(self, first, T0 + 80 * MINUTE - 1), third);
    assert_int_equal(self->reused, 0);
}

static void reuse_ends_that_grant_only(void **state)
{
    struct sessions_fixture *self = *state;
    const char *first = keep(2, begin(self));
    struct session_grant stolen = self->grant;
    struct session_grant other = add_grant(self, stolen.login_id, T0);
    const char *second = keep(0, refresh(self, first, T0 + 10 * MINUTE));
    const char *third = keep(1, refresh(self, second, T0 + 20 * MINUTE));
    assert_string_equal(refresh(self, third, T0 + 70 * MINUTE - 1), self->refreshed.token);
    use(self, other.id, T0 + 50 * MINUTE);
    assert_null(refresh(self, first, T0 + 80 * MINUTE)); /* second was first used an hour ago */
    assert_true(self->refreshed.reused);
    assert_int_equal(self->refreshed.state, SESSION_UNKNOWN);
    assert_int_equal(self->ended, 1);
    assert_string_equal(self->endings[0].id, stolen.id);
    assert_int_equal(self->endings[0].reason, SESSION_TOKEN_REUSED);
    assert_null(refresh(self, third, T0 + 80 * MINUTE));
    assert_false(self->refreshed.reused); /* told once */
    assert_int_equal(use(self, other.id, T0 + 80 * MINUTE), SESSION_LIVE);
    h2o_mem_pool_t pool;
    struct session_list list;
    h2o_mem_init_pool(&pool);
    sessions_list(self->sessions, &pool, "alice", 5, T0 + 81 * MINUTE, &list);
    assert_int_equal(list.total, 1);
    assert_int_equal(list.entries[0].note_count, 1);
    assert_int_equal(list.entries[0].notes[0].reason, SESSION_TOKEN_REUSED);
    assert_int_equal(list.entries[0].notes[0].ended_ms, T0 + 80 * MINUTE);
    h2o_mem_clear_pool(&pool);
}

static void an_ancestor_of_long_ago_is_reuse(void **state)
{
    struct sessions_fixture *self = *state;
    const char *first = keep(0, begin(self)), *token = first;
    for (int i = 1; i <= 30; i++)
        token = keep(1, refresh(self, token, T0 + i * 5 * MINUTE));
    assert_string_equal(refresh(self, token, T0 + 151 * MINUTE), token);
    assert_null(refresh(self, first, T0 + 151 * MINUTE));
    assert_true(self->refreshed.reused);
}

static void what_is_not_ours_is_unknown(void **state)
{
    struct sessions_fixture *self = *state;
    const char *first = begin(self);
    assert_null(refresh(self, "", T0));
    assert_null(refresh(self, "eyJhbGciOiJFUzI1NiJ9.e30.AAAA", T0));
    const struct session_presented elsewhere = {iovec_of(first), "staging"};
    sessions_refresh(self->sessions, self->waiter.loop, &elsewhere, T0, on_refreshed, self);
    await(&self->waiter, 1);
    assert_int_equal(self->refreshed.state, SESSION_UNKNOWN); /* peers 47: another cluster's */
    assert_null(refresh(self, first, T0 + HOUR));
    assert_int_equal(self->refreshed.state, SESSION_IDLE);
    assert_int_equal(self->ended, 0);
    end_grant(self, self->grant.id);
    await(&self->waiter, 1);
    assert_null(refresh(self, first, T0 + MINUTE));
    assert_int_equal(self->refreshed.state, SESSION_UNKNOWN);
}

/* peers 64 */
static void a_failing_store_keeps_the_token(void **state)
{
    struct sessions_fixture *self = *state;
    const char *first = begin(self);
    self->store->failing_puts = 1;
    assert_string_equal(refresh(self, first, T0 + 10 * MINUTE), first);
    const char *next = keep(0, refresh(self, first, T0 + 10 * MINUTE));
    assert_string_not_equal(next, first);
    assert_string_equal(refresh(self, next, T0 + 11 * MINUTE), next);
}

static void a_slow_store_is_not_waited_for(void **state)
{
    struct sessions_fixture *self = *state;
    const char *first = begin(self);
    self->store->hold = true;
    assert_string_equal(refresh(self, first, T0 + 10 * MINUTE), first); /* after 3 s */
    held_release(self->store);
    run_posted(self->waiter.loop);
    assert_string_not_equal(refresh(self, first, T0 + 11 * MINUTE), first); /* it went on */
}

static void what_ends_meanwhile_is_unknown(void **state)
{
    struct sessions_fixture *self = *state;
    const char *first = begin(self);
    self->store->hold = true;
    start_refresh(self, first, T0 + 10 * MINUTE);
    start_refresh(self, first, T0 + 10 * MINUTE);
    end_login(self, self->login.id);
    held_release(self->store);
    await(&self->waiter, 3);
    assert_int_equal(self->live, 0);
    assert_int_equal(self->refreshed.state, SESSION_UNKNOWN);
    assert_int_equal(store_count(&self->store->store), 0);
}

static void a_rename_and_a_rotation_do_not_disturb_each_other(void **state)
{
    struct sessions_fixture *self = *state;
    const char *first = begin(self);
    self->store->hold = true;
    sessions_rename_grant(self->sessions, self->waiter.loop, self->grant.id, "desk", on_done, self);
    start_refresh(self, first, T0 + 10 * MINUTE);
    held_release(self->store);
    while (self->waiter.arrived < 2)
        run_posted(self->waiter.loop);
    await(&self->waiter, 2);
    assert_true(self->written);
    assert_int_equal(self->live, 1);
    const char *next = keep(0, self->refreshed.token);
    reopen_sessions(self);
    assert_string_equal(refresh(self, first, T0 + 11 * MINUTE), next);
    assert_string_equal(self->grant.name, "desk");
    sessions_rename_grant(self->sessions, self->waiter.loop, self->grant.id, "\xff", on_done, self);
    await(&self->waiter, 1);
    assert_false(self->written);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 40 };

struct crowd {
    struct sessions *sessions;
    pthread_barrier_t barrier;
    char token[REFRESH_TOKEN_LEN + 1]; /* changed by the first thread between two barriers */
};

static void *run_rounds(void *arg)
{
    struct crowd *crowd = arg;
    struct sessions_fixture self = {.sessions = crowd->sessions};
    self.waiter.loop = loop_new();
    for (int round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < 5; i++)
            start_refresh(&self, crowd->token, T0 + round * 6 * MINUTE);
        await(&self.waiter, 5);
        assert_int_equal(self.live, 5 * round);
        if (pthread_barrier_wait(&crowd->barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            memcpy(crowd->token, self.refreshed.token, sizeof(crowd->token));
        pthread_barrier_wait(&crowd->barrier);
        assert_string_equal(self.refreshed.token, crowd->token); /* all got the same */
    }
    loop_free(self.waiter.loop);
    return NULL;
}

static void threads_get_the_same_successor(void **state)
{
    struct sessions_fixture *self = *state;
    pthread_t threads[THREADS];
    struct store *store = store_memory_new();
    sessions_free(self->sessions);
    self->sessions = NULL;
    assert_true(sessions_new(&self->limits, store, self->keys, T0, on_session_ended, self,
                             &self->sessions, NULL));
    struct crowd crowd = {.sessions = self->sessions};
    memcpy(crowd.token, begin(self), sizeof(crowd.token));
    pthread_barrier_init(&crowd.barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_rounds, &crowd), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&crowd.barrier);
    run_posted(self->waiter.loop);
    sessions_free(self->sessions);
    self->sessions = NULL;
    store_free(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sessions_setup, sessions_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_token_is_not_rotated_at_once),
        TEST(fan_out_gets_one_successor),
        TEST(a_lost_answer_is_given_again),
        TEST(a_kubeconfig_that_cannot_be_written_works_on),
        TEST(two_tools_with_copies),
        TEST(reuse_ends_that_grant_only),
        TEST(an_ancestor_of_long_ago_is_reuse),
        TEST(what_is_not_ours_is_unknown),
        TEST(a_failing_store_keeps_the_token),
        TEST(a_slow_store_is_not_waited_for),
        TEST(what_ends_meanwhile_is_unknown),
        TEST(a_rename_and_a_rotation_do_not_disturb_each_other),
        TEST(threads_get_the_same_successor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
