/* SPDX-License-Identifier: Apache-2.0
 *
 * The identity cache: the object, and the freshness rules of design section 6 against a loader that the test
 * answers by hand, on a clock of its own. */
#include "support_identities.h"

/* ---- the object ---- */

static void identity_is_a_copy(void **state)
{
    (void)state;
    char name[] = "alice", group[] = "k8s-admins", mail[] = "a@example.com";
    const char *okta_groups[] = {group, "other"}, *groups[] = {group};
    struct identity from = {.uid = name,
                            .username = name,
                            .attributes = {[USER_EMAIL] = mail},
                            .groups_present = true,
                            .okta_groups = okta_groups,
                            .okta_group_count = 2,
                            .groups = groups,
                            .group_count = 1,
                            .groups_unused = 1,
                            .learned_mono_ms = 5,
                            .learned_wall_ms = 6};
    struct identity *copy = identity_new(&from);
    memset(name, 'x', 5), memset(group, 'x', 10), memset(mail, 'x', 13);
    okta_groups[1] = groups[0] = NULL;
    assert_string_equal(copy->uid, "alice");
    assert_string_equal(copy->username, "alice");
    assert_null(copy->refusal);
    assert_null(copy->attributes[USER_SUB]);
    assert_string_equal(copy->attributes[USER_EMAIL], "a@example.com");
    assert_string_equal(copy->okta_groups[0], "k8s-admins");
    assert_string_equal(copy->okta_groups[1], "other");
    assert_string_equal(copy->groups[0], "k8s-admins");
    assert_int_equal(copy->groups_unused, 1);
    assert_true(copy->groups_present && copy->learned_mono_ms == 5 && copy->learned_wall_ms == 6);
    assert_true(identity_in_group(copy, "other"));
    assert_false(identity_in_group(copy, "othe"));
    assert_false(identity_in_group(copy, ""));
    const struct identity *second = identity_ref(copy);
    identity_unref(copy);
    assert_string_equal(second->uid, "alice");
    identity_unref(second);
    identity_unref(NULL);
    struct identity empty = {.uid = "bob"};
    copy = identity_new(&empty);
    assert_int_equal(copy->okta_group_count, 0);
    assert_false(identity_in_group(copy, "x"));
    identity_unref(copy);
}

/* ---- ages ---- */

static void ages(void **state)
{
    static const struct {
        int64_t age;
        bool answers, asks;
    } rows[] = {
        {0, true, false},        {30 * S, true, false},      {30 * S + 1, true, true},
        {60 * S, true, true},    {60 * S + 1, false, false}, {600 * S, false, false},
        {601 * S, false, false},
    };
    struct identities_fixture *self = *state;
    assert_null(peek(self, "nobody", T0));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put(self, "alice", T0, "old");
        assert_int_equal(peek(self, "alice", T0 + rows[i].age) != NULL, rows[i].answers);
        assert_int_equal(self->load_count, rows[i].asks); /* peek alone asks only behind */
        if (rows[i].asks)
            learn(self, 0, T0 + rows[i].age, "new");
        self->load_count = 0;
        identities_forget(self->identities, "alice");
    }
}

static void asking_behind_brings_new_facts(void **state)
{
    struct identities_fixture *self = *state;
    put(self, "alice", T0, "old");
    assert_string_equal(peek(self, "alice", T0 + 40 * S), "old");
    assert_string_equal(peek(self, "alice", T0 + 41 * S), "old");
    assert_int_equal(self->load_count, 1); /* single flight */
    assert_string_equal(self->loads[0].uid, "alice");
    learn(self, 0, T0 + 40 * S, "new");
    assert_string_equal(peek(self, "alice", T0 + 41 * S), "new");
    assert_int_equal(self->load_count, 1);
}

/* ---- asking first ---- */

static void waits_share_one_question(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answers[3] = {{0}};
    for (int i = 0; i < 3; i++)
        wait_for(self, "alice", T0, &answers[i]);
    wait_for(self, "bob", T0, &answers[0]);
    assert_int_equal(self->load_count, 2);
    assert_int_equal(self->waiter.arrived, 0);
    learn(self, 0, T0, "g");
    await(&self->waiter, 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(answers[i].group, "g");
    learn(self, 1, T0, "h");
    await(&self->waiter, 1);
    assert_string_equal(answers[0].group, "h");
}

/* The facts came between peek and wait: it judges anew, and answers later than it returns. */
static void a_wait_judges_anew(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answer = {0};
    put(self, "alice", T0, "g");
    wait_for(self, "alice", T0, &answer);
    assert_int_equal(self->waiter.arrived, 0);
    await(&self->waiter, 1);
    assert_string_equal(answer.group, "g");
    assert_int_equal(self->load_count, 0);
}

static void a_cancelled_wait_is_its_own_affair(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answers[3] = {{0}};
    struct identity_wait *first = wait_for(self, "alice", T0, &answers[0]);
    wait_for(self, "alice", T0, &answers[1]);
    struct identity_wait *third = wait_for(self, "alice", T0, &answers[2]);
    identities_cancel(first);
    learn(self, 0, T0, "g");
    identities_cancel(third); /* its answer is on the way */
    await(&self->waiter, 1);
    run_posted(self->waiter.loop);
    assert_string_equal(answers[1].group, "g");
    assert_int_equal(self->waiter.arrived, 0);
    put(self, "bob", T0, "g");
    identities_cancel(wait_for(self, "bob", T0, &answers[0])); /* answered at once, but not yet */
    run_posted(self->waiter.loop);
    assert_int_equal(self->waiter.arrived, 0);
    /* the question of a wait that left goes on, and its answer is kept */
    identities_cancel(wait_for(self, "carol", T0, &answers[0]));
    learn(self, 1, T0, "c");
    assert_string_equal(peek(self, "carol", T0), "c");
}

/* ---- failures ---- */

static void failure_answers_the_last_known(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answer = {0};
    put(self, "alice", T0, "old");
    wait_for(self, "alice", T0 + 61 * S, &answer);
    failed(self, 0);
    await(&self->waiter, 1);
    assert_string_equal(answer.group, "old");
    /* from now on at once, and behind after 5, 10, 20, 40, 60, 60 s */
    static const int64_t delays[] = {5, 10, 20, 40, 60, 60};
    int64_t now = T0 + 61 * S;
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(peek(self, "alice", now + delays[i] * S - 1), "old");
        assert_int_equal(self->load_count, i + 1);
        now += delays[i] * S;
        assert_string_equal(peek(self, "alice", now), "old");
        assert_int_equal(self->load_count, i + 2);
        failed(self, i + 1);
    }
    assert_string_equal(peek(self, "alice", T0 + 600 * S), "old");
    failed(self, 7);
    /* too old: unknown is not "no groups" (peers 64) */
    assert_null(peek(self, "alice", T0 + 600 * S + 1));
    wait_for(self, "alice", T0 + 600 * S + 1, &answer);
    await(&self->waiter, 1); /* refused at once: no question before the back-off is over */
    assert_false(answer.good);
    assert_int_equal(answer.kind, ERROR_UPSTREAM);
    assert_int_equal(self->load_count, 8);
    wait_for(self, "alice", T0 + 700 * S, &answer);
    assert_int_equal(self->load_count, 9);
    learn(self, 8, T0 + 700 * S, "new");
    await(&self->waiter, 1);
    assert_string_equal(answer.group, "new");
    assert_string_equal(peek(self, "alice", T0 + 730 * S), "new");
    assert_int_equal(self->load_count, 9); /* and the back-off is forgotten */
}

static void failure_without_facts_is_unknown(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answer = {.good = true};
    wait_for(self, "alice", T0, &answer);
    failed(self, 0);
    await(&self->waiter, 1);
    assert_false(answer.good);
    assert_int_equal(answer.kind, ERROR_UPSTREAM);
    assert_non_null(strstr(answer.text, "okta said 503"));
    wait_for(self, "alice", T0 + 1, &answer);
    await(&self->waiter, 1);
    assert_int_equal(self->load_count, 1);
}

static void the_tick_asks_again(void **state)
{
    struct identities_fixture *self = *state;
    put(self, "alice", T0, "old");
    peek(self, "alice", T0 + 40 * S);
    failed(self, 0);
    identities_tick(self->identities, T0 + 45 * S - 1);
    assert_int_equal(self->load_count, 1);
    identities_tick(self->identities, T0 + 45 * S);
    assert_int_equal(self->load_count, 2);
    failed(self, 1);
    identities_tick(self->identities, T0 + 101 * S); /* nobody wanted it for more than a minute */
    assert_int_equal(self->load_count, 2);
}

/* Okta hangs: one wait, then the last known facts at once, until it answers. */
static void a_late_question_counts_as_failed(void **state)
{
    struct identities_fixture *self = *state;
    put(self, "alice", T0, "old");
    struct answer answer = {0};
    wait_for(self, "alice", T0 + 61 * S, &answer);
    assert_null(peek(self, "alice", T0 + 64 * S - 1));
    assert_string_equal(peek(self, "alice", T0 + 64 * S), "old");
    assert_int_equal(self->load_count, 1);
    learn(self, 0, T0 + 61 * S, "new");
    await(&self->waiter, 1);
    assert_string_equal(answer.group, "new");
    assert_null(peek(self, "alice", T0 + 122 * S)); /* asks first again */
}

static void deadlines_pass(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answers[3] = {{0}};
    self->rules.ask_deadline_ms = 10;
    renew(self);
    put(self, "alice", T0, "old");
    put(self, "bob", T0, "old");
    wait_for(self, "alice", T0 + 61 * S, &answers[0]);
    wait_for(self, "bob", T0 + 601 * S, &answers[1]);
    wait_for(self, "carol", T0, &answers[2]);
    await(&self->waiter, 3);
    assert_string_equal(answers[0].group, "old");
    for (int i = 1; i < 3; i++) {
        assert_false(answers[i].good);
        assert_int_equal(answers[i].kind, ERROR_UPSTREAM);
    }
    learn(self, 2, T0, "late"); /* is kept all the same */
    assert_string_equal(peek(self, "carol", T0), "late");
}

/* ---- due marks ---- */

static void a_due_mark_asks_first(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answer = {0};
    put(self, "alice", T0, "old");
    identities_mark_due(self->identities, "alice");
    identities_mark_due(self->identities, "nobody");
    assert_null(peek(self, "alice", T0 + 1));
    wait_for(self, "alice", T0 + 1, &answer);
    assert_null(peek(self, "alice", T0 + 2)); /* not while the question is under way either */
    learn(self, 0, T0 + 1, "new");
    await(&self->waiter, 1);
    assert_string_equal(answer.group, "new");
    assert_string_equal(peek(self, "alice", T0 + 3), "new");
    assert_int_equal(self->load_count, 1);
}

static void a_due_mark_survives_the_question_in_flight(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answers[2] = {{0}};
    wait_for(self, "alice", T0, &answers[0]);
    identities_mark_due(self->identities, "alice");
    wait_for(self, "alice", T0, &answers[1]);
    learn(self, 0, T0, "before the mark");
    run_posted(self->waiter.loop);
    assert_int_equal(self->waiter.arrived, 0);
    assert_int_equal(self->load_count, 2);
    learn(self, 1, T0 + 1, "after the mark");
    await(&self->waiter, 2);
    assert_string_equal(answers[0].group, "after the mark");
    assert_string_equal(answers[1].group, "after the mark");
    /* nobody waits: the mark stays for the next one who asks */
    peek(self, "alice", T0 + 40 * S);
    identities_mark_due(self->identities, "alice");
    learn(self, 2, T0 + 40 * S, "before the mark");
    assert_null(peek(self, "alice", T0 + 40 * S));
    /* and a sign-in does not clear it */
    put(self, "alice", T0 + 41 * S, "sign-in");
    assert_null(peek(self, "alice", T0 + 41 * S));
}

static void a_due_question_that_fails_gives_the_last_known(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answer = {0};
    put(self, "alice", T0, "old");
    identities_mark_due(self->identities, "alice");
    wait_for(self, "alice", T0, &answer);
    failed(self, 0);
    await(&self->waiter, 1);
    assert_string_equal(answer.group, "old");
    assert_string_equal(peek(self, "alice", T0 + 5 * S), "old");
    assert_int_equal(self->load_count, 2); /* though fresh: the last question failed */
    failed(self, 1);
    identities_mark_due(self->identities, "alice"); /* does not wait for the back-off */
    assert_null(peek(self, "alice", T0 + 6 * S));
    wait_for(self, "alice", T0 + 6 * S, &answer);
    assert_int_equal(self->load_count, 3);
    learn(self, 2, T0 + 6 * S, "new");
    await(&self->waiter, 1);
}

/* ---- gone, forgotten, older ---- */

static void gone_is_a_no(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answer = {.good = true};
    put(self, "alice", T0, "old");
    wait_for(self, "alice", T0 + 61 * S, &answer);
    identity_load_done(self->loads[0].load, IDENTITY_GONE, NULL, NULL);
    await(&self->waiter, 1);
    assert_false(answer.good);
    assert_int_equal(answer.kind, ERROR_REJECTED);
    assert_null(peek(self, "alice", T0 + 61 * S));
    assert_int_equal(numbers(self).known, 0);
    put(self, "alice", T0 + 62 * S, "new sign-in");
    assert_string_equal(peek(self, "alice", T0 + 62 * S), "new sign-in");
}

static void a_new_sign_in_outlives_the_no_to_the_old_ones(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answer = {0};
    put(self, "alice", T0, "old");
    wait_for(self, "alice", T0 + 61 * S, &answer);
    put(self, "alice", T0 + 61 * S + 1, "new sign-in");
    identity_load_done(self->loads[0].load, IDENTITY_GONE, NULL, NULL);
    await(&self->waiter, 1);
    assert_string_equal(answer.group, "new sign-in");
    assert_string_equal(peek(self, "alice", T0 + 62 * S), "new sign-in");
}

static void older_facts_never_replace_later_ones(void **state)
{
    struct identities_fixture *self = *state;
    put(self, "alice", T0 + 2, "second");
    put(self, "alice", T0 + 1, "first");
    assert_string_equal(peek(self, "alice", T0 + 2), "second");
    peek(self, "alice", T0 + 40 * S);
    put(self, "alice", T0 + 41 * S, "third");
    learn(self, 0, T0 + 40 * S, "asked before");
    assert_string_equal(peek(self, "alice", T0 + 41 * S), "third");
}

static void forgotten_is_forgotten(void **state)
{
    struct identities_fixture *self = *state;
    put(self, "alice", T0, "old");
    identities_forget(self->identities, "alice");
    identities_forget(self->identities, "nobody");
    assert_null(peek(self, "alice", T0));
    assert_int_equal(numbers(self).known, 0);
    put(self, "alice", T0, "old");
    peek(self, "alice", T0 + 40 * S);
    identities_forget(self->identities, "alice");
    learn(self, 0, T0 + 40 * S, "asked before"); /* not answered without another question */
    assert_null(peek(self, "alice", T0 + 40 * S));
}

/* ---- bounds ---- */

static void questions_queue_by_need_and_age(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answer = {0};
    self->rules.max_in_flight = 2;
    renew(self);
    static const char *const uids[] = {"a", "b", "young", "oldest", "old", "first", "raised"};
    static const int64_t learned[] = {0, 0, 9, 3, 5, 9, 9};
    for (size_t i = 0; i < 7; i++)
        put(self, uids[i], T0 + learned[i] * S, "g");
    int64_t now = T0 + 45 * S;
    for (size_t i = 0; i < 7; i++)
        if (strcmp(uids[i], "first") != 0)
            assert_non_null(peek(self, uids[i], now));
    assert_int_equal(self->load_count, 2);
    identities_mark_due(self->identities, "first");
    identities_mark_due(self->identities, "raised");
    wait_for(self, "raised", now, &answer); /* was queued behind */
    wait_for(self, "first", now, &answer);
    struct identity_numbers all = numbers(self);
    assert_int_equal(all.in_flight, 2);
    assert_int_equal(all.queued, 5);
    for (size_t i = 0; i < 7; i++)
        learn(self, i, now, "new");
    static const char *const order[] = {"a", "b", "raised", "first", "oldest", "old", "young"};
    assert_int_equal(self->load_count, 7);
    for (size_t i = 0; i < 7; i++)
        if (i != 2 && i != 3) /* these two are of one age */
            assert_string_equal(self->loads[i].uid, order[i]);
    assert_int_equal(numbers(self).in_flight, 0);
    await(&self->waiter, 2);
}

static bool budget_allows;

static bool may_ask(void *ctx, bool urgent)
{
    (void)ctx, (void)urgent;
    return budget_allows;
}

/* Okta's rate limit is used up: ages stretch, up to stale_if_error, and nobody waits in vain. */
static void a_short_budget_stretches_ages(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answer = {0};
    self->rules.may_ask = may_ask;
    renew(self);
    budget_allows = false;
    put(self, "alice", T0, "g");
    put(self, "bob", T0, "g");
    assert_non_null(peek(self, "alice", T0 + 45 * S));
    assert_int_equal(self->load_count, 0);
    assert_non_null(peek(self, "bob", T0 + 90 * S)); /* beyond max_age, and at once */
    assert_non_null(peek(self, "alice", T0 + 600 * S));
    assert_null(peek(self, "bob", T0 + 601 * S));
    wait_for(self, "bob", T0 + 601 * S, &answer);
    assert_int_equal(self->load_count, 0);
    budget_allows = true;
    identities_tick(self->identities, T0 + 602 * S);
    assert_int_equal(self->load_count, 2);
    assert_string_equal(self->loads[0].uid, "bob"); /* somebody waits for him */
    learn(self, 0, T0 + 602 * S, "new");
    learn(self, 1, T0 + 602 * S, "new");
    await(&self->waiter, 1);
    assert_true(answer.good);
}

static void users_not_asked_for_go(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answer = {0};
    put(self, "alice", T0, "g");
    put(self, "bob", T0, "g");
    wait_for(self, "carol", T0, &answer);
    peek(self, "bob", T0 + 1000 * S);
    identities_tick(self->identities, T0 + 3600 * S);
    assert_int_equal(numbers(self).known, 2);
    identities_tick(self->identities, T0 + 3600 * S + 1);
    assert_int_equal(numbers(self).known, 1);
    learn(self, 0, T0 + 3600 * S, "g"); /* somebody waits: it was kept */
    await(&self->waiter, 1);
    assert_true(answer.good);
}

static void memory_is_bounded(void **state)
{
    struct identities_fixture *self = *state;
    char uid[32];
    for (int i = 0; i < 103000; i++) {
        snprintf(uid, sizeof(uid), "user-%d", i);
        put(self, uid, T0 + i, "g");
    }
    assert_in_range(numbers(self).known, 90000, 64 * 1563);
    assert_string_equal(peek(self, "user-102999", T0 + 102999), "g"); /* the old ones went */
    assert_null(peek(self, "user-1", T0 + 1));
}

static void oldest_fact_is_counted(void **state)
{
    struct identities_fixture *self = *state;
    put(self, "alice", T0, "g");
    put(self, "bob", T0 + 10 * S, "g");
    assert_int_equal(numbers(self).oldest_used_ms, 0);
    peek(self, "bob", T0 + 30 * S);
    peek(self, "alice", T0 + 30 * S);
    peek(self, "bob", T0 + 31 * S);
    assert_int_equal(numbers(self).oldest_used_ms, 30 * S);
    assert_int_equal(numbers(self).oldest_used_ms, 0); /* since the last call */
}

/* ---- reload ---- */

static struct identity *remap(void *ctx, const struct identity *old)
{
    ++*(unsigned *)ctx;
    return make_identity(old->uid, old->learned_mono_ms, "remapped");
}

static void a_reload_reaches_every_user(void **state)
{
    struct identities_fixture *self = *state;
    struct answer answer = {0};
    unsigned remapped = 0;
    char uid[32];
    for (int i = 0; i < 200; i++) {
        snprintf(uid, sizeof(uid), "user-%d", i);
        put(self, uid, T0, "old");
    }
    wait_for(self, "new", T0, &answer);
    identities_remap(self->identities, remap, &remapped);
    assert_int_equal(remapped, 200);
    assert_string_equal(peek(self, "user-7", T0 + 30 * S), "remapped");
    self->rules.fresh_ms = 10 * S;
    self->rules.max_age_ms = 20 * S;
    self->rules.stale_if_error_ms = 40 * S;
    identities_set_ages(self->identities, &self->rules);
    assert_non_null(peek(self, "user-7", T0 + 10 * S));
    assert_int_equal(self->load_count, 1); /* that of the new user */
    assert_non_null(peek(self, "user-7", T0 + 11 * S));
    assert_int_equal(self->load_count, 2);
    assert_null(peek(self, "user-8", T0 + 21 * S));
    identities_mark_all_due(self->identities);
    assert_null(peek(self, "user-9", T0));
    identities_forget_all(self->identities);
    assert_int_equal(numbers(self).known, 0);
    learn(self, 0, T0, "before"); /* asked before all was forgotten */
    assert_int_equal(self->load_count, 3);
    learn(self, 2, T0, "after");
    await(&self->waiter, 1);
    assert_string_equal(answer.group, "after");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, identities_setup, identities_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_is_a_copy),
        TEST(ages),
        TEST(asking_behind_brings_new_facts),
        TEST(waits_share_one_question),
        TEST(a_wait_judges_anew),
        TEST(a_cancelled_wait_is_its_own_affair),
        TEST(failure_answers_the_last_known),
        TEST(failure_without_facts_is_unknown),
        TEST(the_tick_asks_again),
        TEST(a_late_question_counts_as_failed),
        TEST(deadlines_pass),
        TEST(a_due_mark_asks_first),
        TEST(a_due_mark_survives_the_question_in_flight),
        TEST(a_due_question_that_fails_gives_the_last_known),
        TEST(gone_is_a_no),
        TEST(a_new_sign_in_outlives_the_no_to_the_old_ones),
        TEST(older_facts_never_replace_later_ones),
        TEST(forgotten_is_forgotten),
        TEST(questions_queue_by_need_and_age),
        TEST(a_short_budget_stretches_ages),
        TEST(users_not_asked_for_go),
        TEST(memory_is_bounded),
        TEST(oldest_fact_is_counted),
        TEST(a_reload_reaches_every_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
