/* SPDX-License-Identifier: Apache-2.0
 *
 * /keys: the public keys that verify our tokens. API servers look again only when this answer's age is over,
 * so it stays short (facts C5: at most 60 s). */
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
    web_cache(req, "public, max-age=60");
    web_send_json(req, 200, writer);
    return 0;
}
