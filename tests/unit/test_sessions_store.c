/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions and their store: the order of writes, what happens when things end while the store is at work, when
 * it fails, what is loaded and what is refused, and what a reload changes. */
#include "support_sessions.h"

/* ---- order of writes ---- */

static void sign_in_commits_first(void **state)
{
    struct sessions_fixture *self = *state;
    self->store->hold = true;
    start_login(self, "alice", T0, "r");
    run_posted(self->waiter.loop);
    assert_int_equal(self->waiter.arrived, 0);
    assert_int_equal(counts(self).logins, 0);
    held_release(self->store);
    await(&self->waiter, 1);
    assert_true(self->good);
    assert_int_equal(counts(self).logins, 1);
}

static void sign_out_leaves_memory_first(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    struct session_grant grant = add_grant(self, login.id, T0);
    self->store->hold = true;
    end_login(self, login.id);
    assert_int_equal(use(self, grant.id, T0), SESSION_UNKNOWN);
    assert_int_equal(find(self, self->cookie, T0), SESSION_UNKNOWN);
    assert_int_equal(self->ended, 2);
    run_posted(self->waiter.loop);
    assert_int_equal(self->waiter.arrived, 0);
    assert_int_equal(store_count(&self->store->store), 2);
    held_release(self->store);
    await(&self->waiter, 1);
    assert_true(self->written);
    assert_int_equal(store_count(&self->store->store), 0);
}

static void nothing_to_end_is_done(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    end_login(self, "AAAAAAAAAAAAAAAAAAAAAA");
    end_grant(self, "!");
    end_grant(self, login.id);
    assert_int_equal(self->waiter.arrived, 0); /* never before the call returns */
    await(&self->waiter, 3);
    assert_true(self->written);
    assert_int_equal(self->ended, 0);
    sessions_end_login(self->sessions, self->waiter.loop, login.id, SESSION_REFUSED_BY_OKTA, NULL,
                       NULL);
    assert_int_equal(self->ended, 1);
    assert_int_equal(self->endings[0].reason, SESSION_REFUSED_BY_OKTA);
}

/* peers 64: a store that fails makes no session, and says so. */
static void failing_store_makes_no_session(void **state)
{
    struct sessions_fixture *self = *state;
    self->store->failing_puts = 1;
    start_login(self, "alice", T0, "r");
    await(&self->waiter, 1);
    assert_false(self->good);
    assert_int_equal(self->error.kind, ERROR_UPSTREAM);
    assert_non_null(strstr(self->error.text, "the disk is full"));
    assert_int_equal(counts(self).logins, 0);
    struct session_login login = add_login(self, "alice", T0);
    self->store->failing_puts = 1;
    start_grant(self, login.id, T0);
    await(&self->waiter, 1);
    assert_false(self->good);
    assert_int_equal(counts(self).grants, 0);
}

struct until_empty {
    struct loop_timer timer;
    struct sessions_fixture *self;
};

static void on_look(struct loop_timer *timer)
{
    struct until_empty *until = H2O_STRUCT_FROM_MEMBER(struct until_empty, timer, timer);
    if (store_count(&until->self->store->store) == 0)
        loop_stop(until->self->waiter.loop);
    else
        loop_timer_start(timer->loop, timer, 10, on_look);
}

static void failed_delete_is_told_and_tried_again(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    add_grant(self, login.id, T0);
    self->store->failing_deletes = 2;
    end_login(self, login.id);
    await(&self->waiter, 1); /* once, though both deletes fail */
    assert_false(self->written);
    assert_int_equal(store_count(&self->store->store), 2);
    run_posted(self->waiter.loop);
    assert_int_equal(self->waiter.arrived, 0);
    self->store->failing_deletes = 1;
    sessions_sweep(self->sessions, self->waiter.loop, T0); /* one works */
    run_posted(self->waiter.loop);
    assert_int_equal(store_count(&self->store->store), 1);
    struct until_empty until = {.self = self}; /* the other by the timer */
    loop_timer_start(self->waiter.loop, &until.timer, 10, on_look);
    loop_run(self->waiter.loop);
    assert_int_equal(self->ended, 2);
}

static void one_failed_delete_of_two_is_no_success(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    add_grant(self, login.id, T0);
    self->store->failing_deletes = 1;
    end_login(self, login.id);
    await(&self->waiter, 1);
    assert_int_equal(self->yes, 0);
}

static void bad_texts_are_refused(void **state)
{
    struct sessions_fixture *self = *state;
    char long_text[300];
    memset(long_text, 'x', sizeof(long_text));
    long_text[SESSION_UID_SIZE] = '\0';
    const char *const uids[] = {"", long_text, "\xff"};
    for (size_t i = 0; i < 3; i++) {
        start_login(self, uids[i], T0, "r");
        assert_int_equal(self->waiter.arrived, 0);
        await(&self->waiter, 1);
        assert_false(self->good);
    }
    struct session_login login = add_login(self, "alice", T0);
    struct session_code code = {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "http://localhost/",
                                ""}; /* which an app's session never has */
    struct session_grant_input inputs[] = {
        {login.id, long_text, "n", "a", NULL, NULL}, {login.id, "c", long_text, "a", NULL, NULL},
        {login.id, "c", "n", long_text, NULL, NULL}, {login.id, "c", "n\xc3", "a", NULL, NULL},
        {login.id, "c", "n", "a", NULL, long_text},  {login.id, "c", "n", "a", NULL, "\xff"},
        {login.id, "", "n", "a", NULL, NULL},        {login.id, "", "n", "a", NULL, ""},
        {login.id, "c", "n", "a", &code, "headlamp"}};
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        sessions_add_grant(self->sessions, self->waiter.loop, &inputs[i], T0, on_grant, self);
        await(&self->waiter, 1);
        assert_false(self->good);
        assert_int_not_equal(self->error.kind, ERROR_NONE);
    }
    assert_int_equal(counts(self).grants, 0);
    assert_int_equal(store_count(&self->store->store), 1);
}

/* ---- what ends while the store is at work ---- */

static void end_beats_tokens_on_their_way(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    self->store->hold = true;
    put_tokens(self, login.id, "second");
    put_tokens(self, login.id, "third"); /* waits in the session */
    end_login(self, login.id);
    held_release(self->store);
    await(&self->waiter, 3);
    assert_int_equal(self->ended, 1);
    assert_string_equal(self->endings[0].refresh_token, "refresh-token-of-okta");
    assert_int_equal(store_count(&self->store->store), 0);
    assert_int_equal(counts(self).logins, 0);
    put_tokens(self, login.id, "fourth");
    put_tokens(self, "!", "fifth");
    await(&self->waiter, 2);
    assert_false(self->written);
    assert_int_equal(store_count(&self->store->store), 0);
}

static void end_beats_tokens_that_were_just_stored(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    put_tokens(self, login.id, "second"); /* stored; its answer is on the way */
    end_login(self, login.id);
    await(&self->waiter, 2);
    assert_int_equal(self->yes, 1); /* the end's */
    assert_int_equal(store_count(&self->store->store), 0);
}

static void end_beats_grant_on_its_way(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    self->store->hold = true;
    start_grant(self, login.id, T0);
    end_login(self, login.id);
    held_release(self->store);
    await(&self->waiter, 2);
    assert_false(self->good);
    assert_int_equal(self->error.kind, ERROR_REJECTED);
    assert_int_equal(self->ended, 1); /* the grant never was */
    assert_int_equal(store_count(&self->store->store), 0);
    assert_int_equal(counts(self).grants, 0);
}

static void end_beats_used_time_on_its_way(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    assert_int_equal(find(self, self->cookie, T0 + 10 * MINUTE), SESSION_LIVE);
    self->store->hold = true;
    sessions_sweep(self->sessions, self->waiter.loop, T0 + 10 * MINUTE);
    assert_non_null(self->store->first);
    end_login(self, login.id);
    held_release(self->store);
    await(&self->waiter, 1);
    assert_int_equal(store_count(&self->store->store), 0);
}

/* ---- used-at times ---- */

static void used_times_are_written_sparingly(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    struct session_grant grant = add_grant(self, login.id, T0);
    unsigned before = self->store->puts;
    find(self, self->cookie, T0 + 15 * MINUTE / 4 - 1);
    use(self, grant.id, T0 + HOUR / 4 - 1);
    sessions_sweep(self->sessions, self->waiter.loop, T0 + HOUR / 4);
    assert_int_equal(self->store->puts, before);
    find(self, self->cookie, T0 + 15 * MINUTE / 4);
    use(self, grant.id, T0 + HOUR / 4);
    self->store->hold = true;
    sessions_sweep(self->sessions, self->waiter.loop, T0 + HOUR / 4);
    sessions_sweep(self->sessions, self->waiter.loop, T0 + HOUR / 4); /* they are on their way */
    assert_int_equal(self->store->puts, before + 2);
    held_release(self->store);
    run_posted(self->waiter.loop);
    sessions_sweep(self->sessions, self->waiter.loop, T0 + HOUR / 4);
    assert_int_equal(self->store->puts, before + 2);
    reopen_sessions(self);
    assert_int_equal(use(self, grant.id, T0 + HOUR + 14 * MINUTE), SESSION_LIVE);
    assert_int_equal(find(self, self->cookie, T0 + 18 * MINUTE), SESSION_LIVE);
}

/* ---- loading ---- */

static void sessions_survive(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_grant found;
    struct session_login login = add_login(self, "alice", T0);
    struct session_grant grant = add_grant(self, login.id, T0);
    reopen_sessions(self);
    assert_int_equal(find(self, self->cookie, T0 + 1), SESSION_LIVE);
    assert_int_equal(sessions_use_grant(self->sessions, grant.id, T0 + 2, &found), SESSION_LIVE);
    grant.last_used_ms = T0 + 2;
    assert_memory_equal(found.id, grant.id, SESSION_ID_SIZE);
    assert_string_equal(found.login_id, login.id);
    assert_string_equal(found.uid, "alice");
    assert_string_equal(found.cluster, "prod");
    assert_string_equal(found.name, "laptop \xc3\xa4");
    assert_string_equal(found.address, "192.0.2.8");
    assert_int_equal(found.created_ms, T0);
    assert_int_equal(found.ends_ms, T0 + 12 * HOUR);
    /* what is over by now is told and deleted by the first sweep, not lost */
    reopen_sessions(self);
    sessions_sweep(self->sessions, self->waiter.loop, T0 + 13 * HOUR);
    assert_int_equal(self->ended, 2);
    assert_string_equal(self->endings[0].refresh_token, "refresh-token-of-okta");
    assert_int_equal(store_count(&self->store->store), 0);
}

static void on_ignored(void *ctx, enum store_outcome outcome, uint64_t version,
                       const struct error *err)
{
    (void)version, (void)err;
    assert_int_equal(outcome, STORE_DONE);
    arrive(ctx);
}

static void orphans_are_deleted(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    add_grant(self, login.id, T0);
    store_delete(&self->store->store, STORE_LOGIN, login.id, self->waiter.loop, on_ignored,
                 &self->waiter);
    await(&self->waiter, 1);
    reopen_sessions(self);
    assert_int_equal(counts(self).grants, 0);
    sessions_sweep(self->sessions, self->waiter.loop, T0);
    assert_int_equal(store_count(&self->store->store), 0);
    assert_int_equal(self->ended, 0);
}

struct edit { /* one replacement in a record's text */
    struct store_record record;
    char id[64];
};

static void keep_login(void *ctx, const struct store_record *record)
{
    struct edit *edit = ctx;
    edit->record = *record;
    snprintf(edit->id, sizeof(edit->id), "%s", record->id);
    edit->record.id = edit->id;
    edit->record.data.base = strndup(record->data.base, record->data.len);
}

static void overwrite(struct sessions_fixture *self, const struct store_record *record,
                      uint64_t expected, const char *text)
{
    struct store_record changed = *record;
    changed.data = iovec_of(text);
    store_put(&self->store->store, &changed, expected, self->waiter.loop, on_ignored,
              &self->waiter);
    await(&self->waiter, 1);
}

/* peers 65: refused with the record's name, nothing deleted, nothing changed. */
static void unreadable_records_are_refused_and_kept(void **state)
{
    static const struct {
        const char *from, *to, *says;
    } rows[] = {
        {"\"format\":2", "\"format\":3", "newer Postern (format 3"},
        {"\"format\":2", "\"format\":0", "format 0 is unknown"},
        {"\"format\":2,", "", "format"},
        {"\"uid\":\"alice\"", "\"uid\":\"mallory\"", "not one of that user's"},
        {"\"uid\":\"alice\"", "\"uid\":\"\"", "uid is empty"},
        {"\"uid\":\"alice\"", "\"uid\":5", "uid"},
        {"\"created_ms\":1", "\"created_ms\":-1", "created_ms"},
        {"\"created_ms\":1", "\"created_ms\":99999999999999991", "created_ms"},
        {"\"secret_sha256\":\"", "\"secret_sha256\":\"AAAA", "secret_sha256"},
        {"\"tokens\":\"", "\"tokens\":\"AAAA", "can't be opened"},
        {"}", "", "stored login"},
    };
    struct sessions_fixture *self = *state;
    struct edit edit;
    add_login(self, "alice", T0);
    assert_true(store_load(&self->store->store, keep_login, &edit, NULL));
    uint64_t version = edit.record.version;
    sessions_free(self->sessions);
    self->sessions = NULL;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct error err = {0};
        char text[4096];
        const char *at = strstr(edit.record.data.base, rows[i].from);
        assert_non_null(at);
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - edit.record.data.base),
                 edit.record.data.base, rows[i].to, at + strlen(rows[i].from));
        overwrite(self, &edit.record, version++, text);
        assert_false(sessions_new(&self->limits, &self->store->store, self->keys, T0,
                                  on_session_ended, self, &self->sessions, &err));
        if (strstr(err.text, rows[i].says) == NULL || strstr(err.text, edit.id) == NULL)
            fail_msg("row %zu says: %s", i, err.text);
        assert_int_equal(store_count(&self->store->store), 1);
    }
    overwrite(self, &edit.record, version, edit.record.data.base);
    open_sessions(self);
    assert_int_equal(find(self, self->cookie, T0), SESSION_LIVE);
    free(edit.record.data.base);
}

static void another_seal_key_is_refused(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    struct seal_keys *right = self->keys;
    struct error err = {0};
    sessions_free(self->sessions);
    self->sessions = NULL;
    self->keys = seal_keys_random();
    assert_false(sessions_new(&self->limits, &self->store->store, self->keys, T0, on_session_ended,
                              self, &self->sessions, &err));
    assert_non_null(strstr(err.text, "seal_key_files"));
    assert_non_null(strstr(err.text, login.id));
    assert_int_equal(store_count(&self->store->store), 1);
    assert_int_equal(self->ended, 0);
    seal_keys_free(self->keys);
    self->keys = right;
    open_sessions(self);
    assert_int_equal(find(self, self->cookie, T0), SESSION_LIVE);
}

/* A blob that is moved to another record does not open there. */
static void sealed_tokens_are_bound_to_their_record(void **state)
{
    struct sessions_fixture *self = *state;
    struct error err = {0};
    struct edit one, two;
    struct session_login login = add_login(self, "alice", T0);
    assert_true(store_load(&self->store->store, keep_login, &one, NULL));
    end_login(self, login.id);
    await(&self->waiter, 1);
    add_login(self, "alice", T0);
    assert_true(store_load(&self->store->store, keep_login, &two, NULL));
    overwrite(self, &two.record, two.record.version, one.record.data.base);
    sessions_free(self->sessions);
    self->sessions = NULL;
    assert_false(sessions_new(&self->limits, &self->store->store, self->keys, T0, on_session_ended,
                              self, &self->sessions, &err));
    assert_non_null(strstr(err.text, "can't be opened"));
    free(one.record.data.base);
    free(two.record.data.base);
}

/* ---- reload ---- */

/* Whatever was on its way when the keys changed: after a sweep the former ones are needed no more. */
static void other_seal_keys_reach_every_record(void **state)
{
    struct sessions_fixture *self = *state;
    struct seal_keys *former = self->keys;
    struct session_login first = add_login(self, "alice", T0);
    char cookie[80];
    memcpy(cookie, self->cookie, sizeof(cookie));
    add_login(self, "alice", T0);
    self->store->hold = true;
    put_tokens(self, first.id, "second");
    start_login(self, "bob", T0, "r");
    self->keys = seal_keys_random();
    sessions_set_seal_keys(self->sessions, self->keys);
    held_release(self->store);
    await(&self->waiter, 2);
    sessions_sweep(self->sessions, self->waiter.loop, T0);
    reopen_sessions(self);
    assert_int_equal(find(self, cookie, T0), SESSION_LIVE);
    assert_int_equal(find(self, self->cookie, T0), SESSION_LIVE);
    assert_refresh_token(self, first.id, "second");
    seal_keys_free(former);
}

static void other_limits_count_at_once(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    struct session_grant grant = add_grant(self, login.id, T0);
    assert_int_equal(use(self, grant.id, T0 + 10), SESSION_LIVE);
    sessions_set_limits(self->sessions, &(struct session_limits){10, 20, 1000, 1});
    assert_int_equal(find(self, self->cookie, T0 + 10), SESSION_IDLE);
    assert_int_equal(use(self, grant.id, T0 + 30), SESSION_IDLE);
    assert_int_equal(use(self, grant.id, T0 + 1000), SESSION_OVER);
    add_login(self, "alice", T0 + 15);
    assert_int_equal(counts(self).logins + counts(self).grants, 1);
}

static void closing_ends_all_and_lets_none_in(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_login login = add_login(self, "alice", T0);
    add_grant(self, login.id, T0);
    add_login(self, "bob", T0);
    self->store->hold = true;
    start_login(self, "carol", T0, "r"); /* on its way */
    start_grant(self, login.id, T0);
    sessions_close(self->sessions, self->waiter.loop, SESSION_PROVIDER_CHANGED);
    assert_int_equal(self->ended, 3);
    assert_int_equal(counts(self).logins + counts(self).grants, 0);
    sessions_open(self->sessions);
    held_release(self->store);
    await(&self->waiter, 2); /* too late, though it is open again */
    assert_false(self->good);
    assert_int_equal(counts(self).logins, 0);
    run_posted(self->waiter.loop);
    assert_int_equal(store_count(&self->store->store), 0);
    sessions_close(self->sessions, self->waiter.loop, SESSION_PROVIDER_CHANGED);
    start_login(self, "alice", T0, "r");
    await(&self->waiter, 1);
    assert_false(self->good);
    assert_int_equal(self->error.kind, ERROR_REJECTED);
    sessions_open(self->sessions);
    add_login(self, "alice", T0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sessions_setup, sessions_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sign_in_commits_first),
        TEST(sign_out_leaves_memory_first),
        TEST(nothing_to_end_is_done),
        TEST(failing_store_makes_no_session),
        TEST(failed_delete_is_told_and_tried_again),
        TEST(one_failed_delete_of_two_is_no_success),
        TEST(bad_texts_are_refused),
        TEST(end_beats_tokens_on_their_way),
        TEST(end_beats_tokens_that_were_just_stored),
        TEST(end_beats_grant_on_its_way),
        TEST(end_beats_used_time_on_its_way),
        TEST(used_times_are_written_sparingly),
        TEST(sessions_survive),
        TEST(orphans_are_deleted),
        TEST(unreadable_records_are_refused_and_kept),
        TEST(another_seal_key_is_refused),
        TEST(sealed_tokens_are_bound_to_their_record),
        TEST(other_seal_keys_reach_every_record),
        TEST(other_limits_count_at_once),
        TEST(closing_ends_all_and_lets_none_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
