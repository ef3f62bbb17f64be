/* SPDX-License-Identifier: Apache-2.0
 *
 * Ten thousand people whose facts have gone stale, and an Okta that does not answer about them: sessions, identities,
 * resolver, client and fetch thread as the server ties them together, against a scripted Okta over TLS. It is the
 * order of events that is tested: what is held is held until the test lets go. */
#include "support_okta_client.h"

#include "server.h"

#define PEOPLE 10000
#define NOW    "known-now"
#define ONCE   "known-once"
#define BEARER "Bearer crowd-"
#define SUB    "00uCrowd"

struct crowd {
    struct world *world;
    struct server server; /* the resolver alone is used */
    struct config config;
    struct store *store;
    struct seal_keys *seal_keys;
    struct subject_rules *rules;
    struct sessions *sessions;
    struct identities *identities;
    unsigned signed_in;
    unsigned waiting, answered, answered_with_facts; /* reviews that wait, and did */
};

/* ---- Okta, as the crowd sees it; the server's thread, but for the atomics ---- */

static struct {
    h2o_req_t *held[PEOPLE];
    unsigned held_count;
    bool released;
    atomic_uint asked, in_flight, most_in_flight;
} okta_side;

static void on_userinfo_end(void *memory)
{
    (void)memory;
    atomic_fetch_sub(&okta_side.in_flight, 1);
}

static void send_userinfo(h2o_req_t *req)
{
    h2o_iovec_t authorization = web_header(req, "authorization");
    size_t prefix = sizeof(BEARER) - 1;
    char *body = text_format(&req->pool, "{\"sub\":\"" SUB "%.*s\",\"groups\":[\"" NOW "\"]}",
                             (int)(authorization.len - prefix), authorization.base + prefix);
    web_send(req, 200, "application/json", iovec_of(body));
}

/* Questions about the crowd wait; whatever else is asked is the scripted Okta's own. */
static bool hold_crowd(h2o_req_t *req, h2o_iovec_t authorization)
{
    size_t prefix = sizeof(BEARER) - 1;
    if (authorization.len < prefix || memcmp(authorization.base, BEARER, prefix) != 0)
        return false;
    atomic_fetch_add(&okta_side.asked, 1);
    unsigned in_flight = atomic_fetch_add(&okta_side.in_flight, 1) + 1;
    if (in_flight > atomic_load(&okta_side.most_in_flight))
        atomic_store(&okta_side.most_in_flight, in_flight);
    h2o_mem_alloc_shared(&req->pool, 1, on_userinfo_end);
    if (okta_side.released)
        send_userinfo(req);
    else
        okta_side.held[okta_side.held_count++] = req;
    return true;
}

static void on_let_go(struct loop_call *call)
{
    (void)call;
    okta_side.released = true;
    for (unsigned i = 0; i < okta_side.held_count; i++)
        send_userinfo(okta_side.held[i]);
}

/* ---- the crowd ---- */

static const char *uid_of(char out[static 64], unsigned i)
{
    snprintf(out, 64, SUB "%u", i);
    return out;
}

static void on_login(void *ctx, const char *cookie, const struct session_login *login,
                     const struct error *err)
{
    struct crowd *self = ctx;
    (void)login, (void)err;
    assert_non_null(cookie);
    if (++self->signed_in == PEOPLE)
        loop_stop(self->world->asker);
}

/* Each has signed in once, with an access token that still works. */
static void add_logins(struct crowd *self)
{
    char uid[64], token[64];
    int64_t now_ms = clock_wall_ms();
    for (unsigned i = 0; i < PEOPLE; i++) {
        struct provider_tokens tokens = {.access_expires_wall_ms = now_ms + 3600000};
        int len = snprintf(token, sizeof(token), "crowd-%u", i);
        secret_set(&tokens.access_token, token, (size_t)len);
        struct session_login_input input = {uid_of(uid, i), &tokens, "192.0.2.7"};
        sessions_add_login(self->sessions, self->world->asker, &input, now_ms, on_login, self);
        provider_tokens_dispose(&tokens);
    }
    loop_run(self->world->asker);
    assert_int_equal(self->signed_in, PEOPLE);
}

/* What was learned of every second one is so old that an answer waits for the question, of the others not quite. */
static void put_stale_facts(struct crowd *self)
{
    char uid[64];
    const char *groups[] = {ONCE};
    int64_t now_ms = clock_mono_ms();
    for (unsigned i = 0; i < PEOPLE; i++) {
        struct identity identity = {.uid = uid_of(uid, i),
                                    .username = uid,
                                    .groups = groups,
                                    .group_count = 1,
                                    .learned_mono_ms = now_ms - (i % 2 == 0 ? 90000 : 45000)};
        identities_put(self->identities, identity_new(&identity));
    }
}

static int open_crowd(void **state)
{
    int done = set_up(state);
    struct crowd *self = calloc(1, sizeof(*self));
    static char nothing[] = "";
    self->world = *state;
    self->config = (struct config){
        .identity = {.fresh_ms = 30000, .max_age_ms = 60000, .stale_if_error_ms = 600000},
        .users = {.username_prefix = nothing, .groups_prefix = nothing}};
    struct session_limits limits = {
        .idle_ms = 900000, .kubeconfig_idle_ms = 3600000, .lifetime_ms = 43200000, .per_user = 20};
    start(self->world);
    self->store = store_memory_new();
    self->seal_keys = seal_keys_random();
    assert_true(subject_rules_new(&self->config, &self->rules, NULL));
    assert_true(sessions_new(&limits, self->store, self->seal_keys, clock_wall_ms(), NULL, NULL,
                             &self->sessions, NULL));
    self->server.resolver =
        (struct resolver){self->world->home, self->world->okta, self->sessions, self->rules};
    struct identity_rules rules = server_identity_rules(&self->server, &self->config);
    self->identities = identities_new(&rules, resolve_identity, &self->server.resolver);
    add_logins(self);
    put_stale_facts(self);
    scripted_hook = hold_crowd;
    *state = self;
    return done;
}

static int close_crowd(void **state)
{
    struct crowd *self = *state;
    void *world = self->world;
    scripted_hook = NULL;
    tear_down(&world);
    identities_free(self->identities);
    sessions_free(self->sessions);
    store_free(self->store);
    seal_keys_free(self->seal_keys);
    subject_rules_free(self->rules);
    free(self);
    return 0;
}

/* ---- the test ---- */

static void on_identity(void *ctx, const struct identity *identity, const struct error *err)
{
    struct crowd *self = ctx;
    (void)err;
    self->answered++;
    self->answered_with_facts += identity != NULL;
}

/* As webhook/decide.c asks. */
static void review_everybody(struct crowd *self)
{
    char uid[64];
    for (unsigned i = 0; i < PEOPLE; i++) {
        int64_t now_ms = clock_mono_ms();
        const struct identity *known = identities_peek(self->identities, uid_of(uid, i), now_ms);
        identity_unref(known);
        if (known != NULL)
            continue;
        self->waiting++;
        identities_wait(self->identities, self->world->asker, uid, now_ms, on_identity, self);
    }
}

struct crowd_watch {
    struct loop_timer timer;
    struct crowd *crowd;
    bool (*likes)(struct crowd *crowd);
};

static void on_crowd_look(struct loop_timer *timer)
{
    struct crowd_watch *self = H2O_STRUCT_FROM_MEMBER(struct crowd_watch, timer, timer);
    if (self->likes(self->crowd))
        loop_stop(self->crowd->world->asker);
    else
        loop_timer_start(self->crowd->world->asker, timer, 10, on_crowd_look);
}

static void run_until(struct crowd *self, bool (*likes)(struct crowd *crowd))
{
    struct crowd_watch watch = {.crowd = self, .likes = likes};
    loop_timer_start(self->world->asker, &watch.timer, 0, on_crowd_look);
    loop_run(self->world->asker);
}

static bool is_full(struct crowd *self)
{
    (void)self;
    return atomic_load(&okta_side.in_flight) >= 20;
}

static bool is_over(struct crowd *self)
{
    struct identity_numbers numbers;
    identities_numbers(self->identities, clock_mono_ms(), &numbers);
    return numbers.in_flight == 0 && numbers.queued == 0 && self->answered == self->waiting;
}

static void expect_everybody_known_anew(struct crowd *self)
{
    char uid[64];
    for (unsigned i = 0; i < PEOPLE; i++) {
        const struct identity *known =
            identities_peek(self->identities, uid_of(uid, i), clock_mono_ms());
        assert_non_null(known);
        assert_string_equal(known->groups[0], NOW);
        identity_unref(known);
    }
}

/* peers 26, 27 */
static void test_a_stale_crowd_delays_no_sign_in(void **state)
{
    struct crowd *self = *state;
    struct loop_call let_go = {.run = on_let_go};
    review_everybody(self);
    assert_int_equal(self->waiting, PEOPLE / 2);
    run_until(self, is_full);

    sign_in(self->world);
    expect(self->world, OKTA_OK, NULL);
    assert_int_equal(self->world->group_count, 2);
    assert_int_equal(atomic_load(&okta_side.asked), 20); /* and none of these was answered */
    assert_int_equal(atomic_load(&okta_side.in_flight), 20);

    loop_post(scripted.loop, &let_go);
    run_until(self, is_over);
    assert_int_equal(atomic_load(&okta_side.most_in_flight), 20);
    assert_int_equal(atomic_load(&okta_side.asked), PEOPLE);
    assert_int_equal(self->answered_with_facts, PEOPLE / 2);
    expect_everybody_known_anew(self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_stale_crowd_delays_no_sign_in, open_crowd,
                                        close_crowd),
    };
    return cmocka_run_group_tests(tests, scripted_start, scripted_stop);
}
