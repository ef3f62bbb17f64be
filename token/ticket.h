/* SPDX-License-Identifier: Apache-2.0
 *
 * Tickets: what the portal hands a browser that is signed in, for it to show at an app's host. Sealed; worth nothing
 * after a minute, at another app, or in a browser other than the one in which the app's host began. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/crypto.h"

#define TICKET_LIFETIME_MS 60000
#define TICKET_BEGIN_LEN   43 /* base64url of a SHA-256 */

struct ticket {           /* borrowed to seal; in pool once opened */
    const char *login_id; /* the sign-in */
    const char *app;      /* its name */
    const char *begin;    /* what the app's host sent the browser away with (ticket_begin) */
    int64_t made_ms;
};

/* The text for a URL, in pool. No two are the same. */
h2o_iovec_t ticket_seal(h2o_mem_pool_t *pool, const struct seal_keys *keys,
                        const struct ticket *ticket);
/* False for anything that we did not seal as a ticket, for another app's, and for one that is too old. That it counts once
 * is cache/used's business: by its bytes, which nobody can change. */
MUST_CHECK bool ticket_open(h2o_mem_pool_t *pool, const struct seal_keys *keys, h2o_iovec_t text,
                            const char *app, int64_t now_ms, struct ticket *out);

/* The public half of a secret that stays with the browser: base64url of its SHA-256, in pool. */
const char *ticket_begin(h2o_mem_pool_t *pool, h2o_iovec_t secret);
bool ticket_is_begin(h2o_iovec_t text); /* by its form */
