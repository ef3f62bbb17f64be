/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's life: make the loop and the listeners on the thread that runs them (h2o binds buffers to
 * the creating thread), run, drain, end. */
#include "worker.h"

#include "base/clock.h"
#include "base/log.h"

static void *on_thread(void *arg)
{
    struct worker *self = arg;
    self->loop = loop_new();
    for (size_t i = 0; i < self->kind_count; ++i)
        listener_start(&self->listeners[i], self->kinds[i], self->index, self->loop,
                       self->connection_cap);
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

void worker_join(struct worker *self)
{
    pthread_join(self->thread, NULL);
}
