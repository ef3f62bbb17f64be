/* SPDX-License-Identifier: Apache-2.0
 *
 * See open_streams.h. */
#include "open_streams.h"

#include "proxy/streams.h"

static bool is_of_login(void *ctx, const struct stream_owner *owner)
{
    return owner->login_id != NULL && strcmp(owner->login_id, ctx) == 0;
}

size_t open_streams_list(void *ctx, h2o_mem_pool_t *pool, const char *login_id,
                         struct portal_stream *out, size_t max)
{
    const struct stream_query query = {is_of_login, (void *)(uintptr_t)login_id};
    struct stream_info *found = h2o_mem_alloc_pool(pool, (max + 1) * sizeof(*found));
    size_t count = streams_snapshot(ctx, &query, pool, found, max);
    for (size_t i = 0; i < count && i < max; i++)
        out[i] = (struct portal_stream){.grant_id = found[i].owner.grant_id,
                                        .what = found[i].what,
                                        .method = found[i].method,
                                        .path = found[i].path,
                                        .since_ms = found[i].since_wall_ms,
                                        .bytes = found[i].bytes_down + found[i].bytes_up};
    return count;
}
