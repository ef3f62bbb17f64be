/* SPDX-License-Identifier: Apache-2.0
 *
 * One h2o event loop with its thread's inbox and timers. Threads share nothing but calls: a struct
 * loop_call is handed to another loop with loop_post and from then on belongs to that loop's thread,
 * which runs it once. */
#pragma once

#include <h2o.h>
#include <h2o/multithread.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

/* Made, run and freed on one and the same thread (h2o binds its buffers to the creating thread). */
struct loop *loop_new(void);
h2o_loop_t *loop_h2o(struct loop *self);
h2o_multithread_queue_t *loop_queue(struct loop *self);
void loop_run(struct loop *self); /* until loop_stop; may be called again after it returned */
/* From any thread. loop_run returns after it ran the calls that were posted before; where it does not run
 * yet, the next loop_run does that. */
void loop_stop(struct loop *self);
/* Runs the calls that are still in the inbox, and those that they post, then frees; timers that
 * still run are forgotten. Nobody else may post any more; h2o wants its contexts on this loop disposed. */
void loop_free(struct loop *self);

struct loop_call {
    h2o_multithread_message_t message; /* the inbox's link */
    void (*run)(
        struct loop_call *call); /* on the loop's thread, once; frees the object it is part of */
};
/* From any thread. Calls of one sender run in the order in which they were posted. */
void loop_post(struct loop *self, struct loop_call *call);

/* A timer, part of a bigger object; used on the loop's own thread only. Zeroed before its first use. */
struct loop_timer {
    h2o_linklist_t link;                    /* in the loop's list of its duration */
    void (*fire)(struct loop_timer *timer); /* on the loop's thread; may start the timer anew */
    struct loop *loop;                      /* where it was started last */
    int64_t due_mono_ms;                    /* when it fires, or is linked anew for left_ms */
    int64_t left_ms;                        /* what of its delay comes after due_mono_ms */
    uint64_t turn;                          /* the loop's turn in which it was linked */
};
/* Fires once after about delay_ms, rounded up to the next of the loop's list of durations (0, 10, 50,
 * 100, 250, 500 ms; 1, 2, 3, 5, 10, 15, 30 s; 1, 2, 5, 10 min; longer ones are made of several): linking
 * is O(1) however many there are. By the monotonic clock: a step of the wall clock changes nothing. Never
 * fires inside this call. A started timer is started anew. */
void loop_timer_start(struct loop *self, struct loop_timer *timer, int64_t delay_ms,
                      void (*fire)(struct loop_timer *timer));
void loop_timer_stop(struct loop_timer *timer); /* accepts one that does not run */
bool loop_timer_runs(const struct loop_timer *timer);
