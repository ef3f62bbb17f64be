/* SPDX-License-Identifier: Apache-2.0
 *
 * Decisions: the table (tests/data/webhook/decisions.tsv), a random walk with a clock of its own, and the waits
 * of the real thing. */
#include "tsv.h"

#include "decide_world.h"

static const struct instant START = {INT64_C(1790000000000), 1000000};

static void pass(struct world *world, int64_t ms)
{
    world->now.wall_ms += ms;
    world->now.mono_ms += ms;
}

/* ---- asking with the test's clock ---- */

struct asking {
    struct world *world;
    struct decide_facts facts;
    struct verdict verdict;
};

static void on_identity(void *ctx, const struct identity *identity, const struct error *err)
{
    struct asking *self = ctx;
    decide_after(&self->world->decider, &self->facts, identity, err, &self->world->now,
                 &self->verdict);
    world_arrive(self->world);
}

/* Waits where it was not decided at once; meanwhile runs while the question is open; may be NULL. */
static struct verdict finish(struct asking *self, bool decided, void (*meanwhile)(struct world *))
{
    struct world *world = self->world;
    if (!decided) {
        assert_int_equal(self->verdict.reason, REASON_GROUPS_UNKNOWN);
        identities_wait(world->identities, world->loop, self->verdict.session.uid,
                        world->now.mono_ms, on_identity, self);
    }
    if (!decided && meanwhile != NULL)
        meanwhile(world);
    world_answer(world);
    if (!decided)
        loop_run(world->loop);
    world->arrived = 0;
    assert_int_equal(self->verdict.decision, reason_decision(self->verdict.reason));
    return self->verdict;
}

static struct verdict ask(struct world *world, h2o_iovec_t token, void (*meanwhile)(struct world *))
{
    struct asking self = {.world = world, .facts = {.gate = {.cluster = &world->clusters[0]}}};
    return finish(&self,
                  decide_now(&world->decider, &self.facts, token, &world->now, &self.verdict),
                  meanwhile);
}

/* ---- the table ---- */

enum { WHAT, TOKEN, SESSION, IDENTITY, DECISION, REASON };

static bool is(const struct tsv_row *row, unsigned column, const char *word)
{
    return strcmp(row->fields[column], word) == 0;
}

static h2o_iovec_t token_of(struct world *world, const struct tsv_row *row)
{
    int64_t now_s = world->now.wall_ms / 1000;
    h2o_iovec_t token = world_good_token(world);
    if (is(row, TOKEN, "foreign"))
        return iovec_of("eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.AAAA");
    if (is(row, TOKEN, "bad"))
        token.base[token.len - 10] ^= 1;
    if (is(row, TOKEN, "wrong_issuer"))
        return world_token(world, world->keys, "https://other.example.test", "kubernetes", now_s);
    if (is(row, TOKEN, "wrong_audience"))
        return world_token(world, world->keys, ISSUER, "staging", now_s);
    if (is(row, TOKEN, "unknown_key"))
        return world_token(world, world->other_keys, ISSUER, "kubernetes", now_s);
    if (is(row, TOKEN, "not_yet"))
        return world_token(world, world->keys, ISSUER, "kubernetes", now_s + 300);
    if (is(row, TOKEN, "expired"))
        return world_token(world, world->keys, ISSUER, "kubernetes", now_s - 120);
    if (is(row, TOKEN, "runs_out"))
        return world_token(world, world->keys, ISSUER, "kubernetes", now_s - 119);
    return token;
}

static void make_session(struct world *world, const struct tsv_row *row)
{
    bool is_app = is(row, SESSION, "app") || is(row, SESSION, "app_without_cluster");
    world->app = is_app ? "headlamp" : NULL;
    world_sign_in(world, is(row, SESSION, "other_cluster")         ? "staging"
                         : is(row, SESSION, "app_without_cluster") ? ""
                                                                   : "kubernetes");
    if (is(row, SESSION, "unknown"))
        snprintf(world->grant.id, sizeof(world->grant.id), "AAAAAAAAAAAAAAAAAAAAAA");
    else if (is(row, SESSION, "signed_out"))
        world_sign_out(world);
    else if (is(row, SESSION, "grant_ended"))
        sessions_end_grant(world->sessions, world->loop, world->grant.id, SESSION_SIGNED_OUT, NULL,
                           NULL);
    else if (is(row, SESSION, "idle"))
        pass(world, 60 * 60 * 1000);
    else if (is(row, SESSION, "over"))
        pass(world, 12 * 60 * 60 * 1000);
}

static void make_identity(struct world *world, const struct tsv_row *row)
{
    bool is_asked_first = is(row, IDENTITY, "learned") || is(row, IDENTITY, "learned_guest") ||
                          is(row, IDENTITY, "gone") || is(row, IDENTITY, "failed");
    if (is(row, IDENTITY, "gone"))
        world->says = OKTA_SAYS_GONE;
    else if (is(row, IDENTITY, "failed"))
        world->says = OKTA_FAILS;
    else if (is(row, IDENTITY, "refused"))
        world->username = "system:admin";
    else if (is(row, IDENTITY, "outsider"))
        world->group = "sales";
    else if (is(row, IDENTITY, "guest") || is(row, IDENTITY, "learned_guest"))
        world->group = "k8s-users";
    if (!is_asked_first)
        identities_put(world->identities, world_identity(world, world->now.mono_ms));
}

static void a_second_passes(struct world *world)
{
    pass(world, 1000);
}

static void decision_row(const struct tsv_row *row)
{
    struct world world;
    world_open(&world, &START);
    make_session(&world, row);
    make_identity(&world, row);
    h2o_iovec_t token = token_of(&world, row);
    void (*meanwhile)(struct world *) = NULL;
    if (is(row, SESSION, "ended_meanwhile"))
        meanwhile = world_sign_out;
    else if (is(row, TOKEN, "runs_out"))
        meanwhile = a_second_passes;
    struct verdict verdict = ask(&world, token, meanwhile);
    const char *decision = decision_name(verdict.decision), *reason = reason_name(verdict.reason);
    if (!is(row, DECISION, decision) || !is(row, REASON, reason))
        fail_msg("line %u, %s: %s, %s", row->line, row->fields[WHAT], decision, reason);
    if (verdict.decision == DECISION_YES) {
        assert_string_equal(verdict.identity->username, "ada");
        assert_string_equal(verdict.identity->uid, UID);
        assert_string_equal(verdict.session.id, world.grant.id);
        assert_true(verdict.jti[0] != '\0');
    }
    verdict_dispose(&verdict);
    world_close(&world);
}

static void test_table(void **state)
{
    (void)state;
    tsv_each("webhook/decisions.tsv", decision_row);
}

/* ---- sessions without a token, at gates of all kinds ---- */

enum { GATE = 1, GROUP = 4, GATE_REASON };

static void make_gate_session(struct world *world, const struct tsv_row *row)
{
    char app[64];
    const char *at = strchr(row->fields[SESSION], '@');
    snprintf(app, sizeof(app), "%.*s", at != NULL ? (int)(at - row->fields[SESSION]) : 64,
             at != NULL ? row->fields[SESSION] : "grafana");
    world->app = app[0] != '\0' ? app : NULL;
    world_sign_in(world, at != NULL ? at + 1 : "kubernetes");
    world->app = NULL;
    if (is(row, SESSION, "signed_out"))
        world_sign_out(world);
    else if (is(row, SESSION, "idle"))
        pass(world, 60 * 60 * 1000);
}

static void gate_row(const struct tsv_row *row)
{
    struct world world;
    char *group[] = {row->fields[GROUP]};
    const struct config_strings groups = {group, is(row, GROUP, "-") ? 0 : 1};
    world_open(&world, &START);
    make_gate_session(&world, row);
    make_identity(&world, row);
    struct asking self = {.world = &world,
                          .facts = {.gate = {.cluster = &world.clusters[0],
                                             .app = is(row, GATE, "api") ? NULL : "grafana",
                                             .groups = &groups}}};
    if (is(row, GATE, "homeless"))
        self.facts.gate.cluster = NULL;
    bool decided =
        decide_session_now(&world.decider, &self.facts, world.grant.id, &world.now, &self.verdict);
    struct verdict verdict =
        finish(&self, decided, is(row, SESSION, "ended_meanwhile") ? world_sign_out : NULL);
    if (!is(row, GATE_REASON, reason_name(verdict.reason)))
        fail_msg("line %u, %s: %s", row->line, row->fields[WHAT], reason_name(verdict.reason));
    assert_true(verdict.jti[0] == '\0');
    verdict_dispose(&verdict);
    world_close(&world);
}

static void test_gates(void **state)
{
    (void)state;
    tsv_each("webhook/gates.tsv", gate_row);
}

/* ---- peers 10: no yes outlives the token, the session, or the groups ---- */

enum { TOKENS = 8, STEPS = 4000 };

struct walk {
    struct world world;
    uint32_t seed;
    struct issued {
        h2o_iovec_t bytes;
        char session[SESSION_ID_SIZE];
        int64_t issued_s;
    } tokens[TOKENS];
    size_t token_count;
    int64_t created_ms, used_ms; /* of the grant at hand */
    bool ended, may_fail;
    unsigned version;           /* of the groups */
    char group[32];             /* "v<version>" */
    int64_t replaced_ms[STEPS]; /* when each version was; monotonic */
    int64_t failing_until_ms;   /* monotonic; a question failed not long before */
    unsigned yes, no, unsure, waited;
};

static uint32_t roll(struct walk *self, uint32_t sides)
{
    self->seed = self->seed * 1664525u + 1013904223u;
    return (self->seed >> 8) % sides;
}

static void walk_sign_in(struct walk *self)
{
    world_sign_in(&self->world, "kubernetes");
    self->created_ms = self->used_ms = self->world.now.wall_ms;
    self->ended = false;
}

static void walk_issue(struct walk *self)
{
    struct issued *slot = &self->tokens[roll(self, TOKENS)];
    if (self->token_count < TOKENS)
        slot = &self->tokens[self->token_count++];
    slot->bytes = world_good_token(&self->world);
    slot->issued_s = self->world.now.wall_ms / 1000;
    memcpy(slot->session, self->world.grant.id, sizeof(slot->session));
}

static void walk_change_groups(struct walk *self)
{
    self->replaced_ms[self->version++] = self->world.now.mono_ms;
    snprintf(self->group, sizeof(self->group), "v%u", self->version);
}

static bool walk_is_live(const struct walk *self, const struct issued *token)
{
    int64_t now_ms = self->world.now.wall_ms;
    return strcmp(token->session, self->world.grant.id) == 0 && !self->ended &&
           now_ms - self->used_ms < 60 * 60 * 1000 &&
           now_ms < self->created_ms + 12 * 60 * 60 * 1000;
}

static void walk_check_yes(const struct walk *self, const struct verdict *verdict)
{
    unsigned version;
    int64_t now_ms = self->world.now.mono_ms;
    int64_t bound_ms = now_ms < self->failing_until_ms ? 600000 : 60000;
    assert_int_equal(sscanf(verdict->identity->groups[0], "v%u", &version), 1);
    if (version != self->version && now_ms - self->replaced_ms[version] > bound_ms)
        fail_msg("groups that were replaced %lld ms ago",
                 (long long)(now_ms - self->replaced_ms[version]));
}

static void walk_ask(struct walk *self)
{
    const struct issued *token = &self->tokens[roll(self, (uint32_t)self->token_count)];
    bool is_valid = self->world.now.wall_ms / 1000 < token->issued_s + 60 + 60;
    bool is_live = walk_is_live(self, token);
    self->world.says = self->may_fail && roll(self, 10) == 0 ? OKTA_FAILS : OKTA_SAYS_GROUPS;
    if (self->world.says == OKTA_FAILS) /* back-off and age, at their most */
        self->failing_until_ms = self->world.now.mono_ms + 600000;
    struct verdict verdict = ask(&self->world, token->bytes, NULL);
    if (is_valid && is_live)
        self->used_ms = self->world.now.wall_ms;
    else
        assert_int_equal(verdict.decision, DECISION_NO);
    if (is_valid && is_live)
        assert_int_not_equal(verdict.decision, DECISION_NO);
    self->yes += verdict.decision == DECISION_YES;
    self->no += verdict.decision == DECISION_NO;
    self->unsure += verdict.decision == DECISION_UNSURE;
    if (verdict.decision == DECISION_YES)
        walk_check_yes(self, &verdict);
    verdict_dispose(&verdict);
}

static void walk_step(struct walk *self)
{
    static const int64_t pauses[] = {0, 500, 1000, 20000, 59999, 60001, 121000, 1500000};
    switch (roll(self, 12)) {
    case 0:
        pass(&self->world, pauses[roll(self, 8)]);
        break;
    case 1:
        walk_change_groups(self);
        break;
    case 2:
        if (roll(self, 4) == 0) {
            world_sign_out(&self->world);
            self->ended = true;
        }
        break;
    case 3:
        if (self->ended || roll(self, 4) == 0) {
            world_sign_out(&self->world);
            walk_sign_in(self);
        }
        break;
    case 4:
    case 5:
        walk_issue(self);
        break;
    default:
        pass(&self->world, roll(self, 3) * 1000);
        walk_ask(self);
    }
}

static void test_walk(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 3; seed++) {
        struct walk *self = calloc(1, sizeof(*self));
        self->seed = seed;
        self->may_fail = seed > 1;
        world_open(&self->world, &START);
        self->world.config.users.allowed_groups.count = 0;
        self->world.clusters[0].allowed_groups.count = 0;
        self->world.group = self->group;
        snprintf(self->group, sizeof(self->group), "v0");
        walk_sign_in(self);
        walk_issue(self);
        for (unsigned i = 0; i < STEPS; i++)
            walk_step(self);
        assert_true(self->yes > 300 && self->no > 300 && (self->unsure > 0) == self->may_fail);
        world_close(&self->world);
        free(self);
    }
}

/* ---- decide() with the real clocks ---- */

static struct verdict told;

static void on_verdict(void *ctx, struct verdict *verdict)
{
    told = *verdict;
    world_arrive(ctx);
}

static h2o_iovec_t open_now(struct world *world)
{
    struct instant now = {clock_wall_ms(), clock_mono_ms()};
    world_open(world, &now);
    world_sign_in(world, "kubernetes");
    return world_good_token(world);
}

static struct decide_wait *begin(struct world *world, h2o_iovec_t token, struct verdict *out)
{
    return decide(&world->decider, world->loop, &world->clusters[0], token, out, on_verdict, world);
}

static void test_at_once(void **state)
{
    (void)state;
    struct world world;
    struct verdict verdict;
    h2o_iovec_t token = open_now(&world);
    identities_put(world.identities, world_identity(&world, world.now.mono_ms));
    assert_null(begin(&world, token, &verdict));
    assert_int_equal(verdict.reason, REASON_OK);
    verdict_dispose(&verdict);
    assert_null(begin(&world, iovec_of("junk"), &verdict));
    assert_int_equal(verdict.reason, REASON_FOREIGN_TOKEN);
    verdict_dispose(&verdict);
    assert_int_equal(world.arrived, 0);
    world_close(&world);
}

static void wait_for(void (*meanwhile)(struct world *), enum okta_says says, enum reason wanted)
{
    struct world world;
    struct verdict verdict;
    h2o_iovec_t token = open_now(&world);
    assert_non_null(begin(&world, token, &verdict));
    assert_int_equal(world.arrived, 0);
    memset(token.base, 'x', token.len); /* borrowed for the call only */
    if (meanwhile != NULL)
        meanwhile(&world);
    world.says = says;
    world_answer(&world);
    assert_int_equal(world.arrived, 0); /* never inside somebody else's call */
    loop_run(world.loop);
    assert_int_equal(world.arrived, 1);
    assert_int_equal(told.reason, wanted);
    if (wanted == REASON_OK)
        assert_string_equal(told.identity->username, "ada");
    verdict_dispose(&told);
    world_close(&world);
}

static void test_wait(void **state)
{
    (void)state;
    wait_for(NULL, OKTA_SAYS_GROUPS, REASON_OK);
    wait_for(NULL, OKTA_SAYS_GONE, REASON_USER_GONE);
    wait_for(NULL, OKTA_FAILS, REASON_GROUPS_UNKNOWN);
    wait_for(world_sign_out, OKTA_SAYS_GROUPS, REASON_SESSION_UNKNOWN);
    wait_for(world_sign_out, OKTA_FAILS, REASON_SESSION_UNKNOWN);
}

/* What an app has open: judged with the same gate, and a look is no use. */
static void test_still(void **state)
{
    (void)state;
    struct world world;
    struct verdict verdict;
    char guests[] = "k8s-users", *allowed[] = {guests};
    struct config_strings groups = {allowed, 0};
    struct instant now = {clock_wall_ms(), clock_mono_ms()};
    world_open(&world, &now);
    world.app = "grafana";
    world_sign_in(&world, "");
    struct decide_gate gate = {.app = "grafana", .groups = &groups};
    identities_put(world.identities, world_identity(&world, now.mono_ms));
    assert_null(decide_session(&world.decider, world.loop, &gate, world.grant.id, &verdict,
                               on_verdict, &world));
    assert_int_equal(verdict.reason, REASON_OK);
    assert_string_equal(verdict.session.app, "grafana");
    verdict_dispose(&verdict);
    assert_int_equal(decide_still(&world.decider, &gate, world.grant.id, UID), REASON_OK);
    groups.count = 1;
    assert_int_equal(decide_still(&world.decider, &gate, world.grant.id, UID), REASON_NOT_ALLOWED);
    world_sign_out(&world);
    assert_int_equal(decide_still(&world.decider, &gate, world.grant.id, UID),
                     REASON_SESSION_UNKNOWN);
    assert_int_equal(world.arrived, 0);
    world_close(&world);
}

/* Peers 40: an open stream is no use of its session, so it ends when that is idle or over, and with what Okta says. */
static void test_still_in_time(void **state)
{
    static const int64_t MINUTE_MS = 60000;
    static const struct {
        int64_t minutes; /* since the session was used last */
        enum reason reason;
    } rows[] = {{0, REASON_OK},
                {59, REASON_OK},
                {61, REASON_SESSION_IDLE},
                {12 * 60 + 1, REASON_SESSION_OVER}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world world;
        struct instant now = {clock_wall_ms() - rows[i].minutes * MINUTE_MS, clock_mono_ms()};
        world_open(&world, &now);
        world_sign_in(&world, "kubernetes");
        const struct decide_gate gate = {.cluster = &world.clusters[0]};
        identities_put(world.identities, world_identity(&world, now.mono_ms));
        for (int looks = 0; looks < 2; looks++)
            assert_int_equal(decide_still(&world.decider, &gate, world.grant.id, UID),
                             rows[i].reason);
        if (rows[i].reason == REASON_OK) {
            identities_forget(world.identities, UID);
            assert_int_equal(decide_still(&world.decider, &gate, world.grant.id, UID),
                             REASON_GROUPS_UNKNOWN);
        }
        world_close(&world);
    }
}

/* A session that waits for Okta is judged again when the answer is there. */
static void test_session_waits(void **state)
{
    (void)state;
    struct world world;
    struct verdict verdict;
    struct instant now = {clock_wall_ms(), clock_mono_ms()};
    world_open(&world, &now);
    world.app = "grafana";
    world_sign_in(&world, "");
    struct decide_gate gate = {.app = "grafana"};
    assert_non_null(decide_session(&world.decider, world.loop, &gate, world.grant.id, &verdict,
                                   on_verdict, &world));
    world_answer(&world);
    loop_run(world.loop);
    assert_int_equal(told.reason, REASON_OK);
    assert_string_equal(told.identity->username, "ada");
    verdict_dispose(&told);
    world_close(&world);
}

/* peers 24: who leaves cancels its own wait, and nobody else's. */
static void test_cancel(void **state)
{
    (void)state;
    struct world world;
    struct verdict first, second;
    h2o_iovec_t token = open_now(&world);
    struct decide_wait *leaves = begin(&world, token, &first);
    assert_non_null(leaves);
    assert_non_null(begin(&world, token, &second));
    decide_cancel(leaves);
    world_answer(&world);
    loop_run(world.loop);
    world_run_posted(&world);
    assert_int_equal(world.arrived, 1);
    assert_int_equal(told.reason, REASON_OK);
    verdict_dispose(&told);

    identities_forget(world.identities, UID);
    world.arrived = 0;
    leaves = begin(&world, token, &first);
    assert_non_null(leaves);
    world_answer(&world); /* the answer is on its way when the client leaves */
    decide_cancel(leaves);
    world_run_posted(&world);
    assert_int_equal(world.arrived, 0);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),         cmocka_unit_test(test_gates),
        cmocka_unit_test(test_still_in_time), cmocka_unit_test(test_still),
        cmocka_unit_test(test_session_waits), cmocka_unit_test(test_walk),
        cmocka_unit_test(test_at_once),       cmocka_unit_test(test_wait),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
