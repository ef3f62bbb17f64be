/* SPDX-License-Identifier: Apache-2.0
 *
 * What the portal shows of the proxy, which it may not know. */
#pragma once

#include "portal/portal.h"

/* A portal_streams; ctx is the proxy's struct streams_hub. */
size_t open_streams_list(void *ctx, h2o_mem_pool_t *pool, const char *login_id,
                         struct portal_stream *out, size_t max);
