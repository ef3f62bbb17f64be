/* SPDX-License-Identifier: Apache-2.0
 *
 * See waits.h. */
#include "waits.h"

#include <assert.h>

static double read_count(void *ctx)
{
    struct waits *self = ctx;
    return (double)atomic_load(&self->count);
}

void waits_init(struct waits *self, struct metrics *metrics)
{
    atomic_init(&self->count, 0);
    self->most = WAITS_MOST;
    metrics_gauge(metrics, "postern_proxy_waiting", "Requests in the proxy that wait for Okta.", "",
                  read_count, self);
}

bool waits_enter(struct waits *self)
{
    if (atomic_fetch_add(&self->count, 1) < self->most)
        return true;
    waits_leave(self);
    return false;
}

void waits_leave(struct waits *self)
{
    unsigned before = atomic_fetch_sub(&self->count, 1);
    assert(before > 0);
}
