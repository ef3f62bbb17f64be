/* SPDX-License-Identifier: Apache-2.0
 *
 * Sign-ins and kubeconfig sessions: their cookies, their clocks, the limit per user, the provider's tokens. */
#include "support_sessions.h"

/* ---- cookies ---- */

static void cookies_are_fresh_and_exact(void **state)
{
    struct sessions_fixture *self = *state;
    char first[80], wrong[80];
    struct session_login found, one = add_login(self, "alice", T0);
    memcpy(first, self->cookie, sizeof(first));
    struct session_login two = add_login(self, "alice", T0);
    assert_int_equal(strlen(first), 64);
    /* peers 52: each sign-in has an id and a secret of its own */
    assert_string_not_equal(one.id, two.id);
    assert_memory_not_equal(first + 22, self->cookie + 22, 42);
    assert_int_equal(sessions_find_login(self->sessions, iovec_of(first), T0 + 1, &found),
                     SESSION_LIVE);
    assert_string_equal(found.id, one.id);
    assert_string_equal(found.uid, "alice");
    assert_string_equal(found.address, "192.0.2.7");
    assert_int_equal(found.created_ms, T0);
    assert_int_equal(found.last_used_ms, T0 + 1);
    assert_int_equal(found.ends_ms, T0 + 12 * HOUR);
    assert_int_equal(found.idle_ends_ms, T0 + 1 + 15 * MINUTE);
    /* every character counts (peers 11, as far as a test can see it) */
    for (size_t i = 0; i < 64; i++) {
        memcpy(wrong, first, sizeof(wrong));
        wrong[i] = wrong[i] == 'A' ? 'B' : 'A';
        assert_int_equal(find(self, wrong, T0), SESSION_UNKNOWN);
    }
    /* the id of one with the secret of another */
    memcpy(wrong, first, sizeof(wrong));
    memcpy(wrong, self->cookie, 21);
    assert_int_equal(find(self, wrong, T0), SESSION_UNKNOWN);
}

static void junk_is_unknown(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0), found;
    struct session_grant grant = add_grant(self, login.id, T0);
    static const char *const junk[] = {
        "", "A", "AAAAAAAAAAAAAAAAAAAAAA", "=====", "!", "\xff", "../../../../etc/passwd"};
    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
        assert_int_equal(find(self, junk[i], T0), SESSION_UNKNOWN);
        assert_int_equal(use(self, junk[i], T0), SESSION_UNKNOWN);
    }
    h2o_iovec_t cut = h2o_iovec_init(self->cookie, 63);
    assert_int_equal(sessions_find_login(self->sessions, cut, T0, &found), SESSION_UNKNOWN);
    assert_int_equal(sessions_find_login(self->sessions, h2o_iovec_init(NULL, 0), T0, &found),
                     SESSION_UNKNOWN);
    /* ids are not exchangeable between the kinds */
    assert_int_equal(use(self, login.id, T0), SESSION_UNKNOWN);
    struct provider_tokens tokens;
    assert_false(sessions_login_tokens(self->sessions, grant.id, &tokens));
    start_grant(self, grant.id, T0);
    await(&self->waiter, 1);
    assert_false(self->good);
    assert_int_equal(self->error.kind, ERROR_REJECTED);
}

static void look_for_secrets(void *ctx, const struct store_record *record)
{
    const char *const *secrets = ctx;
    for (; *secrets != NULL; secrets++)
        assert_null(memmem(record->data.base, record->data.len, *secrets, strlen(*secrets)));
}

static void store_holds_no_plain_secret(void **state)
{
    struct sessions_fixture *self = *state;
    add_login(self, "alice", T0);
    const char *secrets[] = {self->cookie,    self->cookie + 22,  "access-token",
                             "refresh-token", "id-token-of-okta", NULL};
    assert_true(store_load(&self->store->store, look_for_secrets, secrets, NULL));
}

/* ---- clocks ---- */

static void two_clocks(void **state)
{
    static const struct {
        int64_t login_age, grant_age; /* since the last use of each */
        enum session_state login, grant;
        size_t logins, grants; /* after a sweep */
    } rows[] = {
        {0, 0, SESSION_LIVE, SESSION_LIVE, 1, 1},
        {15 * MINUTE - 1, 0, SESSION_LIVE, SESSION_LIVE, 1, 1},
        {15 * MINUTE, 15 * MINUTE, SESSION_IDLE, SESSION_LIVE, 1, 1}, /* ends no grant */
        {HOUR, HOUR - 1, SESSION_IDLE, SESSION_LIVE, 1, 1},
        {HOUR, HOUR, SESSION_IDLE, SESSION_IDLE, 0, 0},
        {0, HOUR, SESSION_LIVE, SESSION_IDLE, 1, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sessions_fixture *self = *state;
        int64_t now = T0 + 5 * HOUR; /* the sign-in is kept alive until shortly before */
        struct session_login login = add_login(self, "alice", T0);
        struct session_grant grant = add_grant(self, login.id, T0);
        for (int64_t t = T0; t <= now - rows[i].login_age; t += 10 * MINUTE)
            assert_int_equal(find(self, self->cookie, t), SESSION_LIVE);
        for (int64_t t = T0; t <= now - rows[i].grant_age; t += 50 * MINUTE)
            assert_int_equal(use(self, grant.id, t), SESSION_LIVE);
        assert_int_equal(find(self, self->cookie, now - rows[i].login_age), SESSION_LIVE);
        assert_int_equal(use(self, grant.id, now - rows[i].grant_age), SESSION_LIVE);
        struct session_counts all;
        /* judging what is not live changes nothing */
        if (rows[i].login != SESSION_LIVE)
            assert_int_equal(find(self, self->cookie, now), rows[i].login);
        if (rows[i].grant != SESSION_LIVE)
            assert_int_equal(use(self, grant.id, now), rows[i].grant);
        sessions_sweep(self->sessions, self->waiter.loop, now);
        all = counts(self);
        assert_int_equal(all.logins, rows[i].logins);
        assert_int_equal(all.grants, rows[i].grants);
        if (rows[i].login == SESSION_LIVE)
            assert_int_equal(find(self, self->cookie, now), SESSION_LIVE);
        if (rows[i].grant == SESSION_LIVE)
            assert_int_equal(use(self, grant.id, now), SESSION_LIVE);
        end_login(self, login.id);
        await(&self->waiter, 1);
    }
}

static void lifetime_ends_everything(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    struct session_grant grant = add_grant(self, login.id, T0 + 11 * HOUR + 30 * MINUTE);
    assert_int_equal(grant.ends_ms, T0 + 12 * HOUR);
    assert_int_equal(use(self, grant.id, T0 + 12 * HOUR - 1), SESSION_LIVE);
    assert_int_equal(use(self, grant.id, T0 + 12 * HOUR), SESSION_OVER);
    assert_int_equal(find(self, self->cookie, T0 + 12 * HOUR), SESSION_OVER);
    start_grant(self, login.id, T0 + 12 * HOUR);
    await(&self->waiter, 1);
    assert_false(self->good);
    assert_int_equal(self->error.kind, ERROR_REJECTED);
    sessions_sweep(self->sessions, self->waiter.loop, T0 + 12 * HOUR);
    assert_int_equal(self->ended, 2);
    assert_string_equal(self->endings[0].id, login.id);
    assert_int_equal(self->endings[0].reason, SESSION_LIFETIME_OVER);
    assert_string_equal(self->endings[0].refresh_token, "refresh-token-of-okta");
    assert_string_equal(self->endings[1].id, grant.id);
    assert_int_equal(self->endings[1].reason, SESSION_PARENT_ENDED);
    assert_int_equal(use(self, grant.id, T0 + 12 * HOUR), SESSION_UNKNOWN);
    assert_int_equal(store_count(&self->store->store), 0);
}

/* Design section 9: without offline_access a sign-in lives no longer than Okta's access token. */
static void no_refresh_token_no_long_life(void **state)
{
    struct sessions_fixture *self = *state;
    start_login(self, "alice", T0, NULL);
    await(&self->waiter, 1);
    assert_true(self->good);
    assert_int_equal(self->login.ends_ms, T0 + HOUR);
    struct session_grant grant = add_grant(self, self->login.id, T0 + 30 * MINUTE);
    assert_int_equal(grant.ends_ms, T0 + HOUR);
    assert_int_equal(use(self, grant.id, T0 + HOUR), SESSION_OVER);
}

/* Over at once, but that is for whoever reads it to find, not for its own making. */
static void over_from_the_start(void **state)
{
    struct sessions_fixture *self = *state;
    struct provider_tokens tokens = make_tokens(NULL, T0 - 1);
    struct session_login_input input = {"alice", &tokens, "192.0.2.7"};
    sessions_add_login(self->sessions, self->waiter.loop, &input, T0, on_login, self);
    provider_tokens_dispose(&tokens);
    await(&self->waiter, 1);
    assert_true(self->good);
    assert_int_equal(self->ended, 0);
    assert_int_equal(find(self, self->cookie, T0), SESSION_OVER);
}

static void using_a_grant_is_no_use_of_the_browser(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    struct session_grant grant = add_grant(self, login.id, T0);
    assert_int_equal(use(self, grant.id, T0 + 14 * MINUTE), SESSION_LIVE);
    assert_int_equal(find(self, self->cookie, T0 + 15 * MINUTE), SESSION_IDLE);
}

/* ---- the limit per user ---- */

static void least_used_is_pushed_out(void **state)
{
    struct sessions_fixture *self = *state;
    self->limits.per_user = 4;
    reopen_sessions(self);
    struct session_login old = add_login(self, "alice", T0);
    struct session_grant g1 = add_grant(self, old.id, T0 + 1);
    struct session_grant g2 = add_grant(self, old.id, T0 + 2);
    struct session_login other = add_login(self, "bob", T0);
    use(self, g1.id, T0 + 3);
    struct session_login new = add_login(self, "alice", T0 + 4);
    assert_int_equal(self->ended, 0);
    struct session_grant g3 = add_grant(self, new.id, T0 + 5);
    assert_int_equal(self->ended, 1); /* not old: a grant below it was used later */
    assert_string_equal(self->endings[0].id, g2.id);
    assert_int_equal(self->endings[0].reason, SESSION_PUSHED_OUT);
    struct session_grant g4 = add_grant(self, new.id, T0 + 6);
    assert_string_equal(self->endings[1].id, g1.id);
    add_grant(self, new.id, T0 + 7);
    assert_string_equal(self->endings[2].id, old.id); /* nothing below it any more */
    assert_true(!self->endings[2].is_grant && self->endings[2].reason == SESSION_PUSHED_OUT);
    assert_int_equal(use(self, g3.id, T0 + 8), SESSION_LIVE);
    assert_int_equal(use(self, g4.id, T0 + 8), SESSION_LIVE);
    assert_int_equal(use(self, g2.id, T0 + 8), SESSION_UNKNOWN);
    assert_int_equal(counts(self).logins, 2);
    assert_int_equal(counts(self).grants, 3);
    assert_int_equal(store_count(&self->store->store), 5);
    assert_string_not_equal(other.id, old.id);
}

/* The one that is added always stays, and its login. */
static void a_tiny_limit_keeps_the_newest(void **state)
{
    struct sessions_fixture *self = *state;
    self->limits.per_user = 1;
    reopen_sessions(self);
    add_login(self, "alice", T0);
    struct session_login login = add_login(self, "alice", T0); /* used at the same moment */
    assert_int_equal(self->ended, 1);
    struct session_grant grant = add_grant(self, login.id, T0);
    assert_int_equal(use(self, grant.id, T0), SESSION_LIVE);
    assert_int_equal(find(self, self->cookie, T0), SESSION_LIVE);
    add_grant(self, login.id, T0);
    assert_int_equal(use(self, grant.id, T0), SESSION_UNKNOWN);
}

/* Sessions past their limits make room before a live one is pushed out. */
static void dead_ones_go_first(void **state)
{
    struct sessions_fixture *self = *state;
    self->limits.per_user = 2;
    reopen_sessions(self);
    struct session_login idle = add_login(self, "alice", T0);
    add_login(self, "alice", T0 + 15 * MINUTE);
    assert_int_equal(self->ended, 1);
    assert_string_equal(self->endings[0].id, idle.id);
    assert_int_equal(self->endings[0].reason, SESSION_IDLE_TOO_LONG);
}

/* ---- tokens ---- */

static void tokens_are_replaced_and_survive(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    put_tokens(self, login.id, "second");
    put_tokens(self, login.id, "third"); /* waits for the first put */
    await(&self->waiter, 2);
    assert_true(self->written);
    assert_refresh_token(self, login.id, "third");
    reopen_sessions(self);
    assert_refresh_token(self, login.id, "third");
    put_tokens(self, login.id, "fourth"); /* with the version that was loaded */
    await(&self->waiter, 1);
    assert_true(self->written);
}

static void tokens_come_latest_use_first(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_tokens out[3];
    char ids[4][SESSION_ID_SIZE];
    for (size_t i = 0; i < 4; i++) {
        struct session_login login = add_login(self, "alice", T0 + (int64_t)i);
        memcpy(ids[i], login.id, SESSION_ID_SIZE);
    }
    struct session_grant grant = add_grant(self, ids[1], T0 + 10);
    assert_int_equal(sessions_tokens(self->sessions, "nobody", T0 + 20, out, 3), 0);
    assert_int_equal(sessions_tokens(self->sessions, "alice", T0 + 20, out, 0), 0);
    assert_int_equal(sessions_tokens(self->sessions, "alice", T0 + 20, out, 3), 3);
    assert_string_equal(out[0].login_id, ids[1]); /* by its grant */
    assert_string_equal(out[1].login_id, ids[3]);
    assert_string_equal(out[2].login_id, ids[2]);
    assert_string_equal(out[2].tokens.access_token.bytes, "access-token-of-okta");
    for (size_t i = 0; i < 3; i++)
        provider_tokens_dispose(&out[i].tokens);
    /* idle browsers drop out, but for the one with a live grant */
    assert_int_equal(use(self, grant.id, T0 + 30 * MINUTE), SESSION_LIVE);
    assert_int_equal(sessions_tokens(self->sessions, "alice", T0 + 30 * MINUTE, out, 3), 1);
    assert_string_equal(out[0].login_id, ids[1]);
    provider_tokens_dispose(&out[0].tokens);
    assert_int_equal(sessions_tokens(self->sessions, "alice", T0 + 12 * HOUR, out, 3), 0);
}

/* The provider may have rotated: memory must not fall back to spent tokens. */
static void tokens_that_were_not_stored_are_kept(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    self->store->failing_puts = 1;
    put_tokens(self, login.id, "second");
    await(&self->waiter, 1);
    assert_false(self->written);
    assert_refresh_token(self, login.id, "second");
    sessions_sweep(self->sessions, self->waiter.loop, T0 + 1);
    run_posted(self->waiter.loop);
    unsigned puts = self->store->puts;
    sessions_sweep(self->sessions, self->waiter.loop, T0 + 2); /* once is enough */
    assert_int_equal(self->store->puts, puts);
    reopen_sessions(self);
    assert_refresh_token(self, login.id, "second");
}

static void reasons_have_names(void **state)
{
    (void)state;
    assert_string_equal(session_end_name(SESSION_SIGNED_OUT), "signed_out");
    assert_string_equal(session_end_name(SESSION_IDLE_TOO_LONG), "idle_too_long");
    assert_string_equal(session_end_name(SESSION_LIFETIME_OVER), "lifetime_over");
    assert_string_equal(session_end_name(SESSION_REFUSED_BY_OKTA), "refused_by_okta");
    assert_string_equal(session_end_name(SESSION_PUSHED_OUT), "pushed_out");
    assert_string_equal(session_end_name(SESSION_PARENT_ENDED), "parent_ended");
    assert_string_equal(session_end_name(SESSION_PROVIDER_CHANGED), "provider_changed");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sessions_setup, sessions_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(cookies_are_fresh_and_exact),  TEST(junk_is_unknown),
        TEST(store_holds_no_plain_secret),  TEST(two_clocks),
        TEST(lifetime_ends_everything),     TEST(no_refresh_token_no_long_life),
        TEST(over_from_the_start),          TEST(using_a_grant_is_no_use_of_the_browser),
        TEST(least_used_is_pushed_out),     TEST(a_tiny_limit_keeps_the_newest),
        TEST(dead_ones_go_first),           TEST(tokens_are_replaced_and_survive),
        TEST(tokens_come_latest_use_first), TEST(tokens_that_were_not_stored_are_kept),
        TEST(reasons_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
