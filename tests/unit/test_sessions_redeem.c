/* SPDX-License-Identifier: Apache-2.0
 *
 * Codes of public clients: what a pending session is not, what a redemption must match, that one of many succeeds and
 * that a second one ends the session. */
#include "support_sessions.h"

/* RFC 7636 appendix B */
#define VERIFIER  "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define CHALLENGE "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
#define URI       "http://127.0.0.1:8000/"

static void add_pending(struct sessions_fixture *self, const char *login_id, int64_t now_ms)
{
    struct session_code code = {CHALLENGE, URI, "n-0S6_WzA2Mj"};
    struct session_grant_input input = {login_id, "prod", "laptop", "192.0.2.8", &code, NULL};
    sessions_add_grant(self->sessions, self->waiter.loop, &input, now_ms, on_grant, self);
    await(&self->waiter, 1);
    assert_true(self->good);
}

static void start_redeem(struct sessions_fixture *self, int64_t now_ms)
{
    struct session_redemption redemption = {iovec_of(self->credential), iovec_of(URI),
                                            iovec_of(VERIFIER), "prod"};
    sessions_redeem(self->sessions, self->waiter.loop, &redemption, now_ms, on_refreshed, self);
}

static enum session_state redeem(struct sessions_fixture *self, int64_t now_ms)
{
    start_redeem(self, now_ms);
    assert_int_equal(self->waiter.arrived, 0);
    await(&self->waiter, 1);
    return self->refreshed.state;
}

static void a_pending_session_is_none(void **state)
{
    struct sessions_fixture *self = *state;
    h2o_mem_pool_t pool;
    struct session_list list;
    char uid[SESSION_UID_SIZE];
    bool is_grant;
    self->limits.per_user = 1;
    sessions_set_limits(self->sessions, &self->limits);
    struct session_login login = add_login(self, "alice", T0);
    for (int i = 0; i < SESSION_CODES + 1; i++)
        add_pending(self, login.id, T0);
    assert_int_equal(store_count(&self->store->store), 1 + SESSION_CODES);
    assert_int_equal(use(self, self->grant.id, T0), SESSION_UNKNOWN);
    assert_int_equal(counts(self).grants, 0);
    assert_false(sessions_owner(self->sessions, self->grant.id, uid, &is_grant));
    assert_null(refresh(self, self->credential, T0)); /* peers 47: a code refreshes nothing */
    h2o_mem_init_pool(&pool);
    sessions_list(self->sessions, &pool, NULL, 5, T0, &list);
    assert_int_equal(list.total, 1);
    assert_int_equal(list.entries[0].grant_count, 0);
    h2o_mem_clear_pool(&pool);
    reopen_sessions(self);
    sessions_sweep(self->sessions, self->waiter.loop, T0 + MINUTE);
    run_posted(self->waiter.loop);
    assert_int_equal(store_count(&self->store->store), 1);
    assert_int_equal(self->ended, 0); /* silently */
}

static void a_redeemed_session_is_one(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    add_pending(self, login.id, T0);
    assert_int_equal(redeem(self, T0 + 1), SESSION_LIVE);
    assert_string_equal(self->refreshed.nonce, "n-0S6_WzA2Mj");
    assert_int_equal(counts(self).grants, 1);
    reopen_sessions(self); /* it was durable before it was answered */
    assert_int_equal(use(self, self->grant.id, T0 + 2), SESSION_LIVE);
    char token[REFRESH_TOKEN_LEN + 1];
    memcpy(token, self->refreshed.token, sizeof(token));
    assert_string_equal(refresh(self, token, T0 + 3), token);
    assert_int_equal(redeem(self, T0 + 4), SESSION_UNKNOWN); /* known even after a restart */
    assert_true(self->refreshed.reused);
    assert_null(refresh(self, token, T0 + 5));
}

/* peers 47, 49: the code stays good for whom it is. */
static void what_does_not_match_is_unknown(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    add_pending(self, login.id, T0);
    char long_verifier[130];
    memset(long_verifier, 'a', 129);
    long_verifier[129] = '\0';
    const struct {
        const char *uri, *verifier, *cluster;
    } bad[] = {
        {"http://127.0.0.1:8001/", VERIFIER, "prod"},
        {"", VERIFIER, "prod"},
        {URI, VERIFIER, "staging"},
        {URI, "", "prod"},
        {URI, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl", "prod"},
        {URI, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjX", "prod"},
        {URI, CHALLENGE, "prod"}, /* as if the method were plain */
        {URI, long_verifier, "prod"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct session_redemption redemption = {iovec_of(self->credential), iovec_of(bad[i].uri),
                                                iovec_of(bad[i].verifier), bad[i].cluster};
        sessions_redeem(self->sessions, self->waiter.loop, &redemption, T0, on_refreshed, self);
        await(&self->waiter, 1);
        assert_int_equal(self->refreshed.state, SESSION_UNKNOWN);
        assert_false(self->refreshed.reused);
    }
    assert_int_equal(redeem(self, T0 + MINUTE), SESSION_UNKNOWN); /* too late */
    assert_int_equal(redeem(self, T0 + MINUTE - 1), SESSION_LIVE);
}

/* peers 46 */
static void one_of_a_thousand_redeems_and_the_session_ends(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    add_pending(self, login.id, T0);
    self->store->hold = true;
    for (int i = 0; i < 1000; i++)
        start_redeem(self, T0 + 1);
    held_release(self->store);
    await(&self->waiter, 1000);
    assert_int_equal(self->live, 1);
    assert_int_equal(self->reused, 1);
    assert_int_equal(self->ended, 1);
    assert_int_equal(self->endings[0].reason, SESSION_TOKEN_REUSED);
    run_posted(self->waiter.loop);
    assert_int_equal(store_count(&self->store->store), 1);
    assert_int_equal(counts(self).grants, 0);
}

static void a_failing_store_changes_nothing(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    add_pending(self, login.id, T0);
    self->store->failing_puts = 1;
    assert_int_equal(redeem(self, T0 + 1), SESSION_UNKNOWN);
    assert_true(self->refreshed.store_failed);
    assert_int_equal(redeem(self, T0 + 2), SESSION_LIVE);
}

/* After 3 s; and what nobody has must not live. */
static void a_slow_store_is_not_waited_for(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    add_pending(self, login.id, T0);
    self->store->hold = true;
    assert_int_equal(redeem(self, T0 + 1), SESSION_UNKNOWN);
    assert_true(self->refreshed.store_failed);
    held_release(self->store);
    run_posted(self->waiter.loop);
    assert_int_equal(counts(self).grants, 0);
    assert_int_equal(use(self, self->grant.id, T0 + 2), SESSION_UNKNOWN);
    assert_int_equal(self->ended, 1);
    assert_int_equal(self->endings[0].reason, SESSION_SIGNED_OUT);
    assert_int_equal(redeem(self, T0 + 2), SESSION_UNKNOWN);
    assert_false(self->refreshed.reused); /* it is no theft */
    assert_false(self->refreshed.store_failed);
    run_posted(self->waiter.loop);
    assert_int_equal(store_count(&self->store->store), 1);
}

static void who_asks_again_while_the_store_is_slow_gets_the_session_once(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    add_pending(self, login.id, T0);
    self->store->hold = true;
    assert_int_equal(redeem(self, T0 + 1), SESSION_UNKNOWN);
    start_redeem(self, T0 + 3001);
    held_release(self->store);
    await(&self->waiter, 1);
    assert_int_equal(self->refreshed.state, SESSION_LIVE);
    assert_string_equal(self->refreshed.nonce, "n-0S6_WzA2Mj");
    assert_int_equal(use(self, self->grant.id, T0 + 3002), SESSION_LIVE);
    assert_int_equal(self->ended, 0);
    assert_int_equal(redeem(self, T0 + 3003), SESSION_UNKNOWN);
    assert_true(self->refreshed.reused);
    assert_int_equal(counts(self).grants, 0);
}

static void an_ended_sign_in_takes_its_codes_along(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    add_pending(self, login.id, T0);
    self->store->hold = true;
    start_redeem(self, T0 + 1);
    sessions_end_user(self->sessions, self->waiter.loop, "alice", SESSION_ENDED_BY_ADMIN, on_done,
                      self);
    held_release(self->store);
    await(&self->waiter, 2);
    assert_int_equal(self->live, 0);
    assert_int_equal(self->ended, 1);
    assert_int_equal(store_count(&self->store->store), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sessions_setup, sessions_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pending_session_is_none),
        TEST(a_redeemed_session_is_one),
        TEST(what_does_not_match_is_unknown),
        TEST(one_of_a_thousand_redeems_and_the_session_ends),
        TEST(a_failing_store_changes_nothing),
        TEST(an_ended_sign_in_takes_its_codes_along),
        TEST(a_slow_store_is_not_waited_for),
        TEST(who_asks_again_while_the_store_is_slow_gets_the_session_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
