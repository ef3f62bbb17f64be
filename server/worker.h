/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads that run a loop: the workers with their listeners, and one background loop for Okta, identities
 * and upkeep. */
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include "listener.h"

#define WORKER_MAX_KINDS 4

struct worker {
    pthread_t thread;
    unsigned index;
    struct loop *loop;            /* made on the thread */
    struct listener_kind **kinds; /* borrowed */
    size_t kind_count;            /* 0: the background loop */
    struct listener listeners[WORKER_MAX_KINDS];
    struct loop_timer drain_timer;
    int64_t drain_deadline_ms; /* monotonic */
    struct loop_call drain_call;
    sem_t *ready; /* posted once the loop and the listeners are there */
};

/* Returns at once; worker->loop is set when `ready` is posted. */
void worker_start(struct worker *self);
/* From any thread: stop accepting, let connections finish for at most deadline_ms, then end the loop. */
void worker_drain(struct worker *self, int64_t deadline_ms);
/* Runs step on the loop of each worker; returns when all have run it. For the main thread only. */
void workers_run(struct worker *workers, unsigned count,
                 void (*step)(void *ctx, struct worker *worker), void *ctx);
/* Waits for the thread's end. */
void worker_join(struct worker *self);
