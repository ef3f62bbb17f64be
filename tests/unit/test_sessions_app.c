/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions of apps behind the proxy: grants that are named by a cookie of the app, so that there is no refresh token and
 * no code of theirs, whatever a record says. */
#include "support_sessions.h"

static struct session_grant add_app(struct sessions_fixture *self, const char *login_id,
                                    const char *cluster)
{
    struct session_grant_input input = {login_id,    cluster, "Headlamp",
                                        "192.0.2.8", NULL,    "headlamp"};
    sessions_add_grant(self->sessions, self->waiter.loop, &input, T0, on_grant, self);
    await(&self->waiter, 1);
    assert_true(self->good);
    assert_string_equal(self->credential, "");
    return self->grant;
}

static void assert_is_app(const struct session_grant *grant, const char *cluster)
{
    assert_string_equal(grant->app, "headlamp");
    assert_string_equal(grant->cluster, cluster);
    assert_string_equal(grant->name, "Headlamp");
}

static void apps_sessions_survive(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_grant found;
    struct session_login login = add_login(self, "alice", T0);
    struct session_grant with = add_app(self, login.id, "prod");
    struct session_grant without = add_app(self, login.id, "");
    assert_is_app(&with, "prod");
    assert_is_app(&without, "");
    reopen_sessions(self);
    assert_int_equal(sessions_use_grant(self->sessions, with.id, T0, &found), SESSION_LIVE);
    assert_is_app(&found, "prod");
    assert_int_equal(sessions_use_grant(self->sessions, without.id, T0, &found), SESSION_LIVE);
    assert_is_app(&found, "");
}

/* They count among a user's sessions, are listed with their sign-in and end with it. */
static void apps_sessions_are_grants(void **state)
{
    struct sessions_fixture *self = *state;
    h2o_mem_pool_t pool;
    struct session_list list;
    struct session_login login = add_login(self, "alice", T0);
    struct session_grant grant = add_app(self, login.id, "");
    assert_int_equal(counts(self).apps, 1);
    assert_int_equal(counts(self).grants, 0);
    h2o_mem_init_pool(&pool);
    sessions_list(self->sessions, &pool, "alice", 5, T0, &list);
    assert_int_equal(list.entries[0].grant_count, 1);
    assert_is_app(&list.entries[0].grants[0], "");
    sessions_end_grant(self->sessions, self->waiter.loop, grant.id, SESSION_ENDED_BY_ADMIN, on_done,
                       self);
    await(&self->waiter, 1);
    sessions_list(self->sessions, &pool, "alice", 5, T0, &list);
    assert_string_equal(list.entries[0].notes[0].app, "headlamp");
    h2o_mem_clear_pool(&pool);
    grant = add_app(self, login.id, "prod");
    end_login(self, login.id);
    await(&self->waiter, 1);
    assert_int_equal(use(self, grant.id, T0), SESSION_UNKNOWN);
    assert_int_equal(counts(self).apps, 0);
    assert_int_equal(store_count(&self->store->store), 0);
}

/* ---- records that were changed ---- */

struct kept {
    struct store_record record;
    char id[64];
};

static void keep_grant(void *ctx, const struct store_record *record)
{
    struct kept *kept = ctx;
    if (record->kind != STORE_GRANT)
        return;
    kept->record = *record;
    snprintf(kept->id, sizeof(kept->id), "%s", record->id);
    kept->record.id = kept->id;
    kept->record.data.base = strndup(record->data.base, record->data.len);
}

static void on_put(void *ctx, enum store_outcome outcome, uint64_t version, const struct error *err)
{
    (void)version, (void)err;
    assert_int_equal(outcome, STORE_DONE);
    arrive(ctx);
}

/* Replaces a text in the one grant that is stored. */
static void change_record(struct sessions_fixture *self, const char *from, const char *to)
{
    struct kept kept = {.id = ""};
    char text[4096];
    run_posted(self->waiter.loop);
    assert_true(store_load(&self->store->store, keep_grant, &kept, NULL));
    char *data = kept.record.data.base, *at = strstr(data, from);
    assert_non_null(at);
    snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - data), data, to, at + strlen(from));
    kept.record.data = iovec_of(text);
    store_put(&self->store->store, &kept.record, kept.record.version, self->waiter.loop, on_put,
              &self->waiter);
    await(&self->waiter, 1);
    free(data);
}

/* Fails closed: a session that is an app's is refreshed by nobody, though the token be the current one. */
static void apps_session_is_never_refreshed(void **state)
{
    struct sessions_fixture *self = *state;
    char token[REFRESH_TOKEN_LEN + 1];
    struct session_login login = add_login(self, "alice", T0);
    struct session_grant grant = add_grant(self, login.id, T0);
    memcpy(token, self->credential, sizeof(token));
    assert_non_null(refresh(self, token, T0));
    change_record(self, "\"cluster\":", "\"app\":\"headlamp\",\"cluster\":");
    reopen_sessions(self);
    assert_null(refresh(self, token, T0));
    assert_int_equal(self->refreshed.state, SESSION_UNKNOWN);
    assert_false(self->refreshed.reused);
    assert_int_equal(use(self, grant.id, T0), SESSION_LIVE);
}

static void apps_session_is_never_redeemed(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_code code = {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
                                "http://127.0.0.1:8000/", ""}; /* RFC 7636 appendix B */
    struct session_login login = add_login(self, "alice", T0);
    struct session_grant_input input = {login.id, "prod", "laptop", "192.0.2.8", &code, NULL};
    sessions_add_grant(self->sessions, self->waiter.loop, &input, T0, on_grant, self);
    await(&self->waiter, 1);
    change_record(self, "\"cluster\":", "\"app\":\"headlamp\",\"cluster\":");
    reopen_sessions(self);
    struct session_redemption redemption = {
        iovec_of(self->credential), iovec_of("http://127.0.0.1:8000/"),
        iovec_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), "prod"};
    sessions_redeem(self->sessions, self->waiter.loop, &redemption, T0, on_refreshed, self);
    await(&self->waiter, 1);
    assert_int_equal(self->refreshed.state, SESSION_UNKNOWN);
}

/* A record of an older Postern has no "app", and an empty one says the same. */
static void records_without_app_are_kubeconfig_sessions(void **state)
{
    struct sessions_fixture *self = *state;
    struct session_grant found;
    struct session_login login = add_login(self, "alice", T0);
    struct session_grant grant = add_grant(self, login.id, T0);
    change_record(self, "\"cluster\":", "\"app\":\"\",\"cluster\":");
    reopen_sessions(self);
    assert_int_equal(sessions_use_grant(self->sessions, grant.id, T0, &found), SESSION_LIVE);
    assert_string_equal(found.app, "");
    assert_non_null(refresh(self, self->credential, T0));
}

static void session_of_nothing_is_refused(void **state)
{
    struct sessions_fixture *self = *state;
    struct error err = {0};
    struct session_login login = add_login(self, "alice", T0);
    add_app(self, login.id, "");
    change_record(self, "\"app\":\"headlamp\"", "\"app\":\"\"");
    sessions_free(self->sessions);
    self->sessions = NULL;
    assert_false(sessions_new(&self->limits, &self->store->store, self->keys, T0, on_session_ended,
                              self, &self->sessions, &err));
    assert_non_null(strstr(err.text, "neither of a cluster nor of an app"));
    change_record(self, "\"app\":\"\"", "\"app\":\"headlamp\"");
    open_sessions(self);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sessions_setup, sessions_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(apps_sessions_survive),
        TEST(apps_sessions_are_grants),
        TEST(apps_session_is_never_refreshed),
        TEST(apps_session_is_never_redeemed),
        TEST(records_without_app_are_kubeconfig_sessions),
        TEST(session_of_nothing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
