/* SPDX-License-Identifier: Apache-2.0
 *
 * The identity cache under random operations: on one thread and a clock of its own, where every answer is
 * held against what design section 6 promises (peers 10); and on several threads, with a loader on a thread of
 * its own, where every wait must be answered once and every question end. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "support_identities.h"

#define USERS 4

/* ---- promises ---- */

struct user_model {  /* what the test knows of one user */
    int64_t learned; /* of the latest facts that were handed over; INT64_MIN: none */
    int64_t marked;  /* the last due mark */
    int64_t began;   /* the last question that began since; INT64_MIN: none */
    bool failing;    /* the last question that ended failed */
    bool asking;
    int64_t asked; /* the question under way */
    int64_t seen;  /* of the facts answered last */
};

struct run {
    struct identities_fixture *fixture;
    struct user_model users[USERS];
    int64_t now;
    uint64_t random;
    unsigned waiting; /* callbacks that are to come */
};

static const char *const uids[USERS] = {"alice", "bob", "carol", "dave"};

static uint64_t draw(struct run *run, uint64_t below)
{
    run->random = run->random * 6364136223846793005u + 1442695040888963407u;
    return (run->random >> 33) % below;
}

static struct user_model *user_of(struct run *run, const char *uid)
{
    for (size_t i = 0; i < USERS; i++)
        if (strcmp(uids[i], uid) == 0)
            return &run->users[i];
    fail();
    return NULL;
}

/* Questions that began since the last look. */
static void note_questions(struct run *run)
{
    struct identities_fixture *f = run->fixture;
    for (size_t i = 0; i < f->load_count; i++) {
        struct user_model *user = user_of(run, f->loads[i].uid);
        if (user->asking)
            continue;
        user->asking = true;
        user->asked = run->now;
    }
    unsigned asking = 0;
    for (size_t i = 0; i < USERS; i++)
        asking += run->users[i].asking;
    assert_int_equal(asking, f->load_count); /* single flight */
    assert_true(asking <= f->rules.max_in_flight);
}

/* at_once: without a question, which itself may take long. */
static void check_facts(struct run *run, const char *uid, int64_t learned, bool at_once)
{
    struct user_model *user = user_of(run, uid);
    const struct identity_rules *rules = &run->fixture->rules;
    int64_t age = run->now - learned;
    assert_int_equal(learned, user->learned); /* the latest, nothing else */
    assert_true(learned >= user->seen);       /* never backwards */
    user->seen = learned;
    assert_true(age <= rules->stale_if_error_ms);
    if (!at_once || user->failing || user->asking || numbers(run->fixture).queued > 0)
        return; /* the last question failed, or may be late */
    assert_true(age <= rules->max_age_ms);
    assert_true(learned >= user->marked || user->began >= user->marked);
}

static void on_random_answer(void *ctx, const struct identity *identity, const struct error *err)
{
    struct run *run = ctx;
    if (identity != NULL)
        check_facts(run, identity->uid, identity->learned_mono_ms, false);
    else
        assert_true(err->kind == ERROR_UPSTREAM || err->kind == ERROR_REJECTED);
    arrive(&run->fixture->waiter);
}

static void step_ask(struct run *run)
{
    struct identities_fixture *f = run->fixture;
    const char *uid = uids[draw(run, USERS)];
    const struct identity *identity = identities_peek(f->identities, uid, run->now);
    if (identity != NULL)
        check_facts(run, uid, identity->learned_mono_ms, true);
    else
        identities_wait(f->identities, f->waiter.loop, uid, run->now, on_random_answer, run),
            run->waiting++;
    identity_unref(identity);
}

static void step_answer(struct run *run)
{
    struct identities_fixture *f = run->fixture;
    if (f->load_count == 0)
        return;
    size_t i = draw(run, f->load_count);
    struct identity_load *load = f->loads[i].load;
    struct user_model *user = user_of(run, f->loads[i].uid);
    const char *uid = uids[user - run->users];
    f->loads[i] = f->loads[--f->load_count];
    int64_t asked = user->asked;
    uint64_t what = draw(run, 10);
    user->asking = false;
    user->failing = what >= 6 && what < 9;
    user->began = asked;
    if (what < 6 && asked >= user->learned)
        user->learned = asked;
    if (what == 9 && user->learned <= asked)
        user->learned = user->seen = INT64_MIN;
    if (what < 6)
        identity_load_done(load, IDENTITY_LEARNED, make_identity(uid, asked, "g"), NULL);
    else
        identity_load_done(load, what == 9 ? IDENTITY_GONE : IDENTITY_FAILED, NULL,
                           &(struct error){.kind = ERROR_UPSTREAM, .text = "no"});
}

static void step_put(struct run *run)
{
    struct user_model *user = &run->users[draw(run, USERS)];
    int64_t learned = run->now - (int64_t)draw(run, 100 * S);
    put(run->fixture, uids[user - run->users], learned, "g");
    if (learned >= user->learned)
        user->learned = learned;
    user->failing = false;
}

static void step(struct run *run)
{
    struct identities_fixture *f = run->fixture;
    struct identity_numbers all;
    uint64_t what = draw(run, 100);
    identities_numbers(f->identities, run->now, &all); /* tells the time, as a tick does */
    if (what < 60) {
        step_ask(run);
    } else if (what < 85) {
        step_answer(run);
    } else if (what < 90) {
        struct user_model *user = &run->users[draw(run, USERS)];
        identities_mark_due(f->identities, uids[user - run->users]);
        if (user->learned != INT64_MIN) /* of nobody nothing can be out of date */
            user->marked = run->now;
    } else if (what < 93) {
        step_put(run);
    } else {
        identities_tick(f->identities, run->now);
    }
    note_questions(run);
    run_posted(f->waiter.loop);
    static const int64_t steps[] = {0, 100, 1000, 7000, 35000, 70000};
    run->now += 1 + steps[draw(run, draw(run, 3) == 0 ? 6 : 3)];
}

static void answers_keep_the_promises(void **state)
{
    struct identities_fixture *self = *state;
    struct run run = {.fixture = self, .now = T0, .random = (uint64_t)time(NULL)};
    print_message("seed %llu\n", (unsigned long long)run.random);
    self->rules.max_in_flight = 3;
    renew(self);
    for (size_t i = 0; i < USERS; i++)
        run.users[i] = (struct user_model){
            .learned = INT64_MIN, .marked = INT64_MIN, .began = INT64_MIN, .seen = INT64_MIN};
    for (int i = 0; i < 20000; i++)
        step(&run);
    while (self->load_count > 0) { /* every wait is answered once */
        step_answer(&run);
        note_questions(&run);
    }
    if (run.waiting > self->waiter.arrived)
        await(&self->waiter, run.waiting);
    assert_int_equal(numbers(self).in_flight, 0);
}

/* ---- threads ---- */

enum { THREADS = 3, WAITS = 4000 };

struct job {
    struct job *next;
    char uid[16];
    struct identity_load *load;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t arrived;
    struct job *first;
    bool closing;
} office = {.mutex = PTHREAD_MUTEX_INITIALIZER, .arrived = PTHREAD_COND_INITIALIZER};

static atomic_int in_flight, most_in_flight;

static void on_office_load(void *ctx, const char *uid, struct identity_load *load)
{
    (void)ctx;
    struct job *job = malloc(sizeof(*job));
    snprintf(job->uid, sizeof(job->uid), "%s", uid);
    job->load = load;
    int flying = atomic_fetch_add(&in_flight, 1) + 1, most = atomic_load(&most_in_flight);
    while (flying > most && !atomic_compare_exchange_weak(&most_in_flight, &most, flying))
        ;
    pthread_mutex_lock(&office.mutex);
    job->next = office.first;
    office.first = job;
    pthread_cond_signal(&office.arrived);
    pthread_mutex_unlock(&office.mutex);
}

static void do_job(struct job *job, unsigned count)
{
    struct error err;
    error_set(&err, ERROR_UPSTREAM, "no");
    atomic_fetch_sub(&in_flight, 1);
    if (count % 5 < 3)
        identity_load_done(job->load, IDENTITY_LEARNED,
                           make_identity(job->uid, clock_mono_ms(), "g"), NULL);
    else
        identity_load_done(job->load, count % 5 == 3 ? IDENTITY_FAILED : IDENTITY_GONE, NULL, &err);
    free(job);
}

static void *run_office(void *arg)
{
    (void)arg;
    unsigned count = 0;
    pthread_mutex_lock(&office.mutex);
    while (office.first != NULL || !office.closing) {
        struct job *job = office.first;
        if (job == NULL) {
            pthread_cond_wait(&office.arrived, &office.mutex);
            continue;
        }
        office.first = job->next;
        pthread_mutex_unlock(&office.mutex);
        do_job(job, count++);
        pthread_mutex_lock(&office.mutex);
    }
    pthread_mutex_unlock(&office.mutex);
    return NULL;
}

struct asker {
    struct identities *identities;
    pthread_t thread;
    struct waiter waiter;
    unsigned answered;
};

static void on_asked(void *ctx, const struct identity *identity, const struct error *err)
{
    struct asker *self = ctx;
    assert_true(identity != NULL || err->kind != ERROR_NONE);
    if (identity != NULL)
        assert_string_equal(identity->groups[0], "g");
    self->answered++;
    arrive(&self->waiter);
}

static void *run_asker(void *arg)
{
    struct asker *self = arg;
    self->waiter.loop = loop_new();
    for (unsigned i = 0; i < WAITS; i++) {
        const char *uid = uids[i % USERS];
        struct identity_wait *waits[2];
        identity_unref(identities_peek(self->identities, uid, clock_mono_ms()));
        for (int k = 0; k < 2; k++)
            waits[k] = identities_wait(self->identities, self->waiter.loop, uid, clock_mono_ms(),
                                       on_asked, self);
        identities_cancel(waits[i % 2]);
        if (i % 7 == 0)
            identities_mark_due(self->identities, uid);
        if (i % 11 == 0)
            identities_forget(self->identities, uid);
        if (i % 13 == 0)
            identities_put(self->identities, make_identity(uid, clock_mono_ms(), "g"));
        if (i % 17 == 0)
            identities_tick(self->identities, clock_mono_ms());
        await(&self->waiter, 1);
    }
    run_posted(self->waiter.loop);
    loop_free(self->waiter.loop);
    return NULL;
}

static void threads_get_their_answers(void **state)
{
    (void)state;
    struct identity_rules rules = {.fresh_ms = 1,
                                   .max_age_ms = 2,
                                   .stale_if_error_ms = 10,
                                   .ask_deadline_ms = 10,
                                   .retry_min_ms = 1,
                                   .retry_max_ms = 2,
                                   .max_in_flight = 2};
    struct identities *identities = identities_new(&rules, on_office_load, NULL);
    struct asker askers[THREADS] = {{0}};
    pthread_t clerk;
    assert_int_equal(pthread_create(&clerk, NULL, run_office, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        askers[i].identities = identities;
        assert_int_equal(pthread_create(&askers[i].thread, NULL, run_asker, &askers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_int_equal(askers[i].answered, WAITS);
    }
    pthread_mutex_lock(&office.mutex);
    office.closing = true;
    pthread_cond_signal(&office.arrived);
    pthread_mutex_unlock(&office.mutex);
    pthread_join(clerk, NULL);
    struct identity_numbers all;
    identities_numbers(identities, clock_mono_ms(), &all);
    assert_int_equal(all.in_flight, 0);
    assert_int_equal(all.queued, 0);
    assert_in_range(atomic_load(&most_in_flight), 1, 2);
    identities_free(identities);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_keep_the_promises, identities_setup,
                                        identities_teardown),
        cmocka_unit_test(threads_get_their_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
