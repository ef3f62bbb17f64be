/* SPDX-License-Identifier: Apache-2.0
 *
 * Two halves that know each other: one in the request's pool, one on the heap. Whichever ends first tells
 * the other. Both are used on the request's loop only. */
#include "later.h"

struct half {            /* in the pool */
    struct later *later; /* NULL: the result has come */
};

struct later { /* on the heap */
    struct portal *portal;
    struct half *half; /* NULL: the request is gone */
    void *ctx;
};

static void on_request_gone(void *data)
{
    struct half *half = data;
    if (half->later != NULL)
        half->later->half = NULL;
}

struct later *later_new(struct portal *portal, h2o_req_t *req, void *ctx)
{
    struct later *self = h2o_mem_alloc(sizeof(*self));
    struct half *half = h2o_mem_alloc_shared(&req->pool, sizeof(*half), on_request_gone);
    half->later = self;
    *self = (struct later){portal, half, ctx};
    return self;
}

void *later_end(struct later *self, struct portal **portal)
{
    void *ctx = self->half != NULL ? self->ctx : NULL;
    if (self->half != NULL)
        self->half->later = NULL;
    *portal = self->portal;
    free(self);
    return ctx;
}
