/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests that wait until Okta has said who their person is, over all workers, API servers and apps. Each holds its
 * connection and all that it sent, so there is a most; who comes beyond that is told at once to try again. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/metrics.h"

#define WAITS_MOST 4096 /* each some 30 KiB with its connection, and a body of at most 8 MiB */

struct waits {
    atomic_uint count;
    unsigned most;
};
/* self is borrowed for as long as metrics are read. */
void waits_init(struct waits *self, struct metrics *metrics);
/* True: one more waits, who leaves again. False: there are too many. From any thread. */
bool waits_enter(struct waits *self);
void waits_leave(struct waits *self);
