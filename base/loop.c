/* SPDX-License-Identifier: Apache-2.0
 *
 * One event loop. h2o does the sockets; the timers are our own lists, because h2o measures its timeouts by
 * the wall clock, so that a step of it fires all of them early or holds all of them back. There is one
 * list for each duration: appending keeps it sorted, so only the heads are looked at. */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#include "base/clock.h"

static const int64_t durations_ms[] = {0,     10,    50,     100,    250,   500,
                                       1000,  2000,  3000,   5000,   10000, 15000,
                                       30000, 60000, 120000, 300000, 600000};
#define DURATIONS   (sizeof(durations_ms) / sizeof(durations_ms[0]))
#define MAX_WAIT_MS 60000

struct loop {
    h2o_loop_t *h2o;                     /* the sockets */
    h2o_multithread_queue_t *queue;      /* wakes the loop; also carries h2o's own messages */
    h2o_multithread_receiver_t receiver; /* of struct loop_call */
    h2o_linklist_t timers[DURATIONS];    /* struct loop_timer.link, soonest first */
    uint64_t turn;                       /* counts the rounds of timers */
    struct loop_call stop_call;          /* what loop_stop posts */
    atomic_bool stop_posted;             /* stop_call is on its way: it can't be posted twice */
    bool stopped;                        /* stop_call ran */
};

static void on_messages(h2o_multithread_receiver_t *receiver, h2o_linklist_t *messages)
{
    (void)receiver;
    while (!h2o_linklist_is_empty(messages)) {
        struct loop_call *call =
            H2O_STRUCT_FROM_MEMBER(struct loop_call, message.link, messages->next);
        h2o_linklist_unlink(&call->message.link);
        call->run(call);
    }
}

static void on_stop(struct loop_call *call)
{
    struct loop *self = H2O_STRUCT_FROM_MEMBER(struct loop, stop_call, call);
    self->stopped = true;
    atomic_store(&self->stop_posted, false);
}

struct loop *loop_new(void)
{
    struct loop *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct loop){.h2o = h2o_evloop_create(), .stop_call = {.run = on_stop}};
    self->queue = h2o_multithread_create_queue(self->h2o);
    h2o_multithread_register_receiver(self->queue, &self->receiver, on_messages);
    for (size_t i = 0; i < DURATIONS; i++)
        h2o_linklist_init_anchor(&self->timers[i]);
    return self;
}

h2o_loop_t *loop_h2o(struct loop *self)
{
    return self->h2o;
}

h2o_multithread_queue_t *loop_queue(struct loop *self)
{
    return self->queue;
}

/* ---- timers ---- */

static struct loop_timer *first_timer(h2o_linklist_t *list)
{
    if (h2o_linklist_is_empty(list))
        return NULL;
    return H2O_STRUCT_FROM_MEMBER(struct loop_timer, link, list->next);
}

static int32_t wait_ms(struct loop *self)
{
    int64_t now = clock_mono_ms(), soonest = now + MAX_WAIT_MS;
    for (size_t i = 0; i < DURATIONS; i++) {
        const struct loop_timer *timer = first_timer(&self->timers[i]);
        if (timer != NULL && timer->due_mono_ms < soonest)
            soonest = timer->due_mono_ms;
    }
    return soonest > now ? (int32_t)(soonest - now) : 0;
}

static void expire(struct loop *self, struct loop_timer *timer)
{
    h2o_linklist_unlink(&timer->link);
    if (timer->left_ms > 0)
        loop_timer_start(self, timer, timer->left_ms, timer->fire);
    else
        timer->fire(timer);
}

/* Timers that are started in this round wait for the next one, so that a timer of no delay that starts
 * itself anew never keeps the sockets waiting. */
static void run_timers(struct loop *self)
{
    int64_t now = clock_mono_ms();
    self->turn++;
    for (size_t i = 0; i < DURATIONS; i++) {
        struct loop_timer *timer;
        while ((timer = first_timer(&self->timers[i])) != NULL && timer->due_mono_ms <= now &&
               timer->turn != self->turn)
            expire(self, timer);
    }
}

void loop_timer_start(struct loop *self, struct loop_timer *timer, int64_t delay_ms,
                      void (*fire)(struct loop_timer *timer))
{
    loop_timer_stop(timer);
    size_t i = 0;
    while (i < DURATIONS - 1 && durations_ms[i] < delay_ms)
        i++;
    timer->loop = self;
    timer->fire = fire;
    timer->due_mono_ms = clock_mono_ms() + durations_ms[i];
    timer->left_ms = delay_ms > durations_ms[i] ? delay_ms - durations_ms[i] : 0;
    timer->turn = self->turn;
    h2o_linklist_insert(&self->timers[i], &timer->link);
}

void loop_timer_stop(struct loop_timer *timer)
{
    if (h2o_linklist_is_linked(&timer->link))
        h2o_linklist_unlink(&timer->link);
}

bool loop_timer_runs(const struct loop_timer *timer)
{
    return timer->link.next != NULL;
}

/* ---- running ---- */

void loop_run(struct loop *self)
{
    while (!self->stopped) {
        int failed = h2o_evloop_run(self->h2o, wait_ms(self));
        assert(failed == 0 || errno == EINTR);
        if (!self->stopped)
            run_timers(self);
    }
    self->stopped = false;
}

void loop_post(struct loop *self, struct loop_call *call)
{
    h2o_multithread_send_message(&self->receiver, &call->message);
}

void loop_stop(struct loop *self)
{
    if (!atomic_exchange(&self->stop_posted, true))
        loop_post(self, &self->stop_call);
}

static void forget_timers(struct loop *self)
{
    for (size_t i = 0; i < DURATIONS; i++) {
        struct loop_timer *timer;
        while ((timer = first_timer(&self->timers[i])) != NULL) {
            assert(timer->link.prev == &self->timers[i]);
            h2o_linklist_unlink(&timer->link);
        }
    }
}

/* h2o goes on until the inbox is empty, so this also runs what the last calls post. */
static void empty_inbox(struct loop *self)
{
    loop_stop(self);
    while (!self->stopped)
        h2o_evloop_run(self->h2o, 0);
}

void loop_free(struct loop *self)
{
    if (self == NULL)
        return;
    empty_inbox(self);
    forget_timers(self);
    h2o_multithread_unregister_receiver(self->queue, &self->receiver);
    h2o_multithread_destroy_queue(self->queue);
    free(
        self->queue); /* h2o 2.2.5 does not; one that did has other signatures and would not compile */
    h2o_evloop_destroy(self->h2o);
    free(self);
}
