/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's life: make the loop and the listeners on the thread that runs them (h2o binds buffers to
 * the creating thread), run, drain, end. */
#include "worker.h"

#include <semaphore.h>

#include "base/clock.h"
#include "base/log.h"

static void *on_thread(void *arg)
{
    struct worker *self = arg;
    self->loop = loop_new();
    for (size_t i = 0; i < self->kind_count; ++i)
        listener_start(&self->listeners[i], self->kinds[i], self->index, self->loop);
    sem_post(self->ready);
    loop_run(self->loop);
    return NULL;
}

void worker_start(struct worker *self)
{
    h2o_multithread_create_thread(&self->thread, NULL, on_thread, self);
}

static size_t open_connections(const struct worker *self)
{
    size_t count = 0;
    for (size_t i = 0; i < self->kind_count; ++i)
        count += self->listeners[i].connection_count;
    return count;
}

static void on_drain_tick(struct loop_timer *timer)
{
    struct worker *self = H2O_STRUCT_FROM_MEMBER(struct worker, drain_timer, timer);
    size_t left = open_connections(self);
    if (left != 0 && clock_mono_ms() < self->drain_deadline_ms) {
        loop_timer_start(self->loop, timer, 50, on_drain_tick);
        return;
    }
    if (left != 0)
        log_warn("stopping with open connections", LOG_INT("connections", (int64_t)left));
    loop_stop(self->loop);
}

static void on_drain(struct loop_call *call)
{
    struct worker *self = H2O_STRUCT_FROM_MEMBER(struct worker, drain_call, call);
    for (size_t i = 0; i < self->kind_count; ++i)
        listener_drain(&self->listeners[i]);
    loop_timer_start(self->loop, &self->drain_timer, 0, on_drain_tick);
}

void worker_drain(struct worker *self, int64_t deadline_ms)
{
    self->drain_deadline_ms = clock_mono_ms() + deadline_ms;
    self->drain_call.run = on_drain;
    loop_post(self->loop, &self->drain_call);
}

/* ---- rounds ---- */

struct round {
    void (*step)(void *ctx, struct worker *worker);
    void *ctx;
    sem_t done;
};

struct visit { /* of a round to one worker */
    struct loop_call call;
    struct round *round;
    struct worker *worker;
};

static void on_visit(struct loop_call *call)
{
    struct visit *self = H2O_STRUCT_FROM_MEMBER(struct visit, call, call);
    self->round->step(self->round->ctx, self->worker);
    sem_post(&self->round->done); /* the round and this visit may be gone from here on */
}

void workers_run(struct worker *workers, unsigned count,
                 void (*step)(void *ctx, struct worker *worker), void *ctx)
{
    struct round round = {.step = step, .ctx = ctx};
    struct visit *visits = h2o_mem_alloc(count * sizeof(*visits));
    sem_init(&round.done, 0, 0);
    for (unsigned i = 0; i < count; ++i) {
        visits[i] = (struct visit){.call.run = on_visit, .round = &round, .worker = &workers[i]};
        loop_post(workers[i].loop, &visits[i].call);
    }
    for (unsigned i = 0; i < count;)
        i += sem_wait(&round.done) == 0;
    sem_destroy(&round.done);
    free(visits);
}

void worker_join(struct worker *self)
{
    pthread_join(self->thread, NULL);
    for (size_t i = 0; i < self->kind_count; ++i)
        listener_dispose(&self->listeners[i]);
}
