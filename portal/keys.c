/* SPDX-License-Identifier: Apache-2.0
 *
 * /keys: the public keys that verify our tokens. An API server that meets an unknown key looks again only from 30 s
 * before this answer's age is over (facts C5): with 30 s it looks at once, whatever was rotated a moment ago. */
#include "handlers.h"

#include "base/clock.h"
#include "base/json.h"
#include "http/web.h"

int keys_show(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    const struct portal *portal = ctx;
    struct json_writer *writer = json_writer_new(&req->pool);
    (void)rest;
    token_keys_write_jwks(portal->parts.keys, clock_wall_ms(), writer);
    web_cache(req, "public, max-age=30");
    web_send_json(req, 200, writer);
    return 0;
}
