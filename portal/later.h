/* SPDX-License-Identifier: Apache-2.0
 *
 * The sessions' writes can't be called off: their result comes back even when the request is gone. A struct
 * later lives until then and knows whether anybody still waits. */
#pragma once

#include <h2o.h>

struct portal;
struct later;

/* ctx lives in the request's pool. */
struct later *later_new(struct portal *portal, h2o_req_t *req, void *ctx);
/* What was waited for has come: frees self. The ctx, or NULL when the request is gone. */
void *later_end(struct later *self, struct portal **portal);
