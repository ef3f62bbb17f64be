/* SPDX-License-Identifier: Apache-2.0
 *
 * One h2o event loop with its thread's inbox and timers. Threads share nothing but calls: a struct
 * loop_call is handed to another loop with loop_post and from then on belongs to that loop's thread,
 * which runs it once. */
#pragma once

#include <h2o.h>
#include <h2o/multithread.h>
#include <stdint.h>

struct loop;

/* Made, run and freed on one and the same thread (h2o binds its buffers to the creating thread). */
struct loop *loop_new(void);
h2o_loop_t *loop_h2o(struct loop *self);
h2o_multithread_queue_t *loop_queue(struct loop *self);
void loop_run(struct loop *self); /* until loop_stop */
void loop_stop(
    struct loop
        *self); /* from any thread: loop_run returns after the calls that were posted before */
void loop_free(struct loop *self);

struct loop_call {
    h2o_multithread_message_t message; /* the inbox's link */
    void (*run)(
        struct loop_call *call); /* on the loop's thread, once; frees the object it is part of */
};
/* From any thread. Calls of one sender run in the order in which they were posted. */
void loop_post(struct loop *self, struct loop_call *call);

/* A timer, part of a bigger object; used on the loop's own thread only. */
struct loop_timer {
    h2o_timeout_entry_t entry;
    void (*fire)(struct loop_timer *timer);
    int64_t due_mono_ms; /* when it is really due */
    struct loop *loop;
};
/* Fires once after about delay_ms, rounded up to the next of the loop's list of durations (0, 10, 50,
 * 100, 250, 500 ms; 1, 2, 3, 5, 10, 15, 30 s; 1, 2, 5, 10 min): linking is O(1) however many there are.
 * A started timer is started anew. The struct must be zeroed before its first use. */
void loop_timer_start(struct loop *self, struct loop_timer *timer, int64_t delay_ms,
                      void (*fire)(struct loop_timer *timer));
void loop_timer_stop(struct loop_timer *timer); /* accepts one that does not run */
