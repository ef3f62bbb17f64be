/* SPDX-License-Identifier: Apache-2.0
 *
 * Loops: calls between threads arrive once and in order; timers fire when due, never early, never within
 * the call that starts them. Run under TSan too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/loop.h"

static int set_up(void **state)
{
    *state = loop_new();
    return 0;
}

static int tear_down(void **state)
{
    loop_free(*state);
    return 0;
}

/* ---- calls ---- */

#define SENDERS 4
#define CALLS   2000

struct numbered_call {
    struct loop_call call;
    struct inbox *inbox;
    int sender, number;
};

struct inbox {
    struct loop *loop;
    int next[SENDERS]; /* the number that must come next from each sender */
    int total;
    pthread_t thread; /* the loop's */
};

struct sender {
    struct inbox *inbox;
    int index;
};

static void on_numbered(struct loop_call *call)
{
    struct numbered_call *self = (struct numbered_call *)call;
    struct inbox *inbox = self->inbox;
    assert_true(pthread_equal(pthread_self(), inbox->thread));
    assert_int_equal(self->number, inbox->next[self->sender]);
    inbox->next[self->sender]++;
    if (++inbox->total == SENDERS * CALLS)
        loop_stop(inbox->loop);
    free(self);
}

static void *send_calls(void *arg)
{
    const struct sender *sender = arg;
    for (int i = 0; i < CALLS; i++) {
        struct numbered_call *call = calloc(1, sizeof(*call));
        call->call.run = on_numbered;
        call->inbox = sender->inbox;
        call->sender = sender->index;
        call->number = i;
        loop_post(sender->inbox->loop, &call->call);
    }
    return NULL;
}

static void test_calls_arrive_once_and_in_order(void **state)
{
    struct inbox inbox = {.loop = *state, .thread = pthread_self()};
    pthread_t threads[SENDERS];
    struct sender senders[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){&inbox, i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_calls, &senders[i]), 0);
    }
    loop_run(*state);
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(inbox.next[i], CALLS);
    }
}

static void test_stop_comes_after_what_was_posted_before(void **state)
{
    struct inbox inbox = {.loop = *state, .thread = pthread_self()};
    struct sender sender = {&inbox, 0};
    send_calls(&sender);
    loop_stop(*state);
    loop_stop(*state); /* twice is once */
    loop_run(*state);
    assert_int_equal(inbox.total, CALLS);
}

static void test_run_again_after_stop(void **state)
{
    for (int i = 0; i < 3; i++) {
        loop_stop(*state);
        loop_run(*state);
    }
}

static void test_free_runs_what_is_in_the_inbox(void **state)
{
    struct loop *loop = loop_new();
    struct inbox inbox = {.loop = loop, .thread = pthread_self()};
    struct sender sender = {&inbox, 0};
    send_calls(&sender);
    loop_free(loop);
    assert_int_equal(inbox.total, CALLS);
    loop_free(NULL);
    (void)state;
}

/* Two loops hand one object to and fro: each side writes it without a lock. */
struct ball {
    struct loop_call call;
    struct loop *loops[2];
    int bounces;
};

static void on_ball(struct loop_call *call)
{
    struct ball *ball = (struct ball *)call;
    if (++ball->bounces == 1000) {
        loop_stop(ball->loops[0]);
        loop_stop(ball->loops[1]);
        return;
    }
    loop_post(ball->loops[ball->bounces % 2], call);
}

struct other_thread {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    struct loop *loop;
};

static void *run_other_loop(void *arg)
{
    struct other_thread *other = arg;
    struct loop *loop = loop_new(); /* on its own thread, as h2o wants it */
    pthread_mutex_lock(&other->lock);
    other->loop = loop;
    pthread_cond_signal(&other->ready);
    pthread_mutex_unlock(&other->lock);
    loop_run(loop);
    loop_free(loop);
    return NULL;
}

static void test_loops_play_ball(void **state)
{
    struct other_thread other = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                 .ready = PTHREAD_COND_INITIALIZER};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_other_loop, &other), 0);
    pthread_mutex_lock(&other.lock);
    while (other.loop == NULL)
        pthread_cond_wait(&other.ready, &other.lock);
    pthread_mutex_unlock(&other.lock);
    struct ball ball = {.call = {.run = on_ball}, .loops = {*state, other.loop}};
    loop_post(*state, &ball.call);
    loop_run(*state);
    pthread_join(thread, NULL);
    assert_int_equal(ball.bounces, 1000);
}

static void test_free_runs_what_calls_post(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct ball ball = {.call = {.run = on_ball}, .loops = {loop, loop}, .bounces = 990};
    loop_post(loop, &ball.call);
    loop_free(loop);
    assert_int_equal(ball.bounces, 1000);
}

/* ---- timers ---- */

struct test_timer {
    struct loop_timer timer;
    int fired;
    int64_t fired_at_ms;
    uint64_t last_turn;        /* in which it had been linked when it fired last */
    int stop_at;               /* ends the loop after so many */
    int64_t again_ms;          /* >= 0: starts itself anew with it */
    struct test_timer *victim; /* stopped when this one fires */
};

static void on_timer(struct loop_timer *timer)
{
    struct test_timer *self = (struct test_timer *)timer;
    assert_false(loop_timer_runs(timer));
    if (self->fired > 0) /* never twice in one turn */
        assert_true(timer->turn > self->last_turn);
    self->last_turn = timer->turn;
    self->fired++;
    self->fired_at_ms = clock_mono_ms();
    if (self->victim != NULL)
        loop_timer_stop(&self->victim->timer);
    if (self->fired == self->stop_at)
        loop_stop(timer->loop);
    else if (self->again_ms >= 0)
        loop_timer_start(timer->loop, timer, self->again_ms, on_timer);
}

static void test_zero_timer_fires_in_the_next_turn(void **state)
{
    struct test_timer timer = {.stop_at = 1, .again_ms = -1};
    loop_timer_start(*state, &timer.timer, 0, on_timer);
    assert_int_equal(timer.fired, 0);
    assert_true(loop_timer_runs(&timer.timer));
    loop_run(*state);
    assert_int_equal(timer.fired, 1);
}

/* A timer that starts itself anew without delay must not starve the inbox, whence the stop comes. */
static void test_restarted_zero_timer_lets_others_in(void **state)
{
    struct test_timer busy = {.stop_at = -1, .again_ms = 0};
    struct test_timer other = {.stop_at = 1, .again_ms = -1};
    int64_t start = clock_mono_ms();
    loop_timer_start(*state, &busy.timer, 0, on_timer);
    loop_timer_start(*state, &other.timer, 10, on_timer);
    loop_run(*state);
    assert_int_equal(other.fired, 1);
    assert_true(other.fired_at_ms - start >= 10);
    assert_true(busy.fired > 1);
    loop_timer_stop(&busy.timer);
}

static void test_timers_are_never_early_and_keep_their_order(void **state)
{
    static const int64_t delays_ms[] = {100, 50, 7, 10, 0};
    struct test_timer timers[5];
    int64_t start = clock_mono_ms();
    for (int i = 0; i < 5; i++) {
        timers[i] = (struct test_timer){.stop_at = i == 0 ? 1 : -1, .again_ms = -1};
        loop_timer_start(*state, &timers[i].timer, delays_ms[i], on_timer);
    }
    loop_run(*state);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(timers[i].fired, 1);
        assert_true(timers[i].fired_at_ms - start >= delays_ms[i]);
        if (i > 0 && delays_ms[i] < delays_ms[i - 1])
            assert_true(timers[i].fired_at_ms <= timers[i - 1].fired_at_ms);
    }
}

static void test_delays_are_rounded_up(void **state)
{
    static const struct {
        int64_t delay_ms, rounded_ms, left_ms;
    } cases[] = {
        {-5, 0, 0},          {0, 0, 0},
        {1, 10, 0},          {10, 10, 0},
        {11, 50, 0},         {101, 250, 0},
        {500, 500, 0},       {501, 1000, 0},
        {3000, 3000, 0},     {3001, 5000, 0},
        {30001, 60000, 0},   {600000, 600000, 0},
        {600001, 600000, 1}, {86400000, 600000, 85800000},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test_timer timer = {.again_ms = -1};
        int64_t before = clock_mono_ms();
        loop_timer_start(*state, &timer.timer, cases[i].delay_ms, on_timer);
        int64_t after = clock_mono_ms();
        assert_in_range(timer.timer.due_mono_ms, before + cases[i].rounded_ms,
                        after + cases[i].rounded_ms);
        assert_int_equal(timer.timer.left_ms, cases[i].left_ms);
        loop_timer_stop(&timer.timer);
    }
}

/* A day is made of many short ones; here the first is brought to its end at once. */
static void test_long_timer_goes_on_with_what_is_left(void **state)
{
    struct test_timer longer = {.stop_at = -1, .again_ms = -1},
                      end = {.stop_at = 1, .again_ms = -1};
    loop_timer_start(*state, &longer.timer, 600000 + 61000, on_timer);
    longer.timer.due_mono_ms = clock_mono_ms();
    loop_timer_start(*state, &end.timer, 10, on_timer);
    loop_run(*state);
    assert_int_equal(longer.fired, 0);
    assert_true(loop_timer_runs(&longer.timer));
    assert_int_equal(longer.timer.left_ms, 0);
    int64_t rest_ms = longer.timer.due_mono_ms - clock_mono_ms();
    assert_true(rest_ms > 61000 && rest_ms <= 120000);
    loop_timer_stop(&longer.timer);
}

static void test_stopped_and_restarted_timers(void **state)
{
    struct test_timer stopped = {.again_ms = -1}, restarted = {.stop_at = 1, .again_ms = -1};
    loop_timer_stop(&stopped.timer); /* one that never ran */
    loop_timer_start(*state, &stopped.timer, 0, on_timer);
    loop_timer_stop(&stopped.timer);
    assert_false(loop_timer_runs(&stopped.timer));
    loop_timer_start(*state, &restarted.timer, 600000, on_timer);
    loop_timer_start(*state, &restarted.timer, 10, on_timer);
    loop_run(*state);
    assert_int_equal(stopped.fired, 0);
    assert_int_equal(restarted.fired, 1);
    assert_false(loop_timer_runs(&restarted.timer));
}

/* Both are due in the same round; the first one's callback stops the second. */
static void test_a_timer_stops_its_neighbour(void **state)
{
    struct test_timer second = {.again_ms = -1};
    struct test_timer first = {.stop_at = 1, .again_ms = -1, .victim = &second};
    loop_timer_start(*state, &first.timer, 0, on_timer);
    loop_timer_start(*state, &second.timer, 0, on_timer);
    loop_run(*state);
    assert_int_equal(first.fired, 1);
    assert_int_equal(second.fired, 0);
}

static void test_free_forgets_running_timers(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct test_timer timer = {.again_ms = -1};
    loop_timer_start(loop, &timer.timer, 0, on_timer);
    loop_free(loop);
    assert_int_equal(timer.fired, 0);
    assert_false(loop_timer_runs(&timer.timer));
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(test_calls_arrive_once_and_in_order),
        WITH_LOOP(test_stop_comes_after_what_was_posted_before),
        WITH_LOOP(test_run_again_after_stop),
        cmocka_unit_test(test_free_runs_what_is_in_the_inbox),
        WITH_LOOP(test_loops_play_ball),
        cmocka_unit_test(test_free_runs_what_calls_post),
        WITH_LOOP(test_zero_timer_fires_in_the_next_turn),
        WITH_LOOP(test_restarted_zero_timer_lets_others_in),
        WITH_LOOP(test_timers_are_never_early_and_keep_their_order),
        WITH_LOOP(test_delays_are_rounded_up),
        WITH_LOOP(test_long_timer_goes_on_with_what_is_left),
        WITH_LOOP(test_stopped_and_restarted_timers),
        WITH_LOOP(test_a_timer_stops_its_neighbour),
        cmocka_unit_test(test_free_forgets_running_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
