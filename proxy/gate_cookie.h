/* SPDX-License-Identifier: Apache-2.0
 *
 * The two cookies of an app's host: one while a browser is away at the portal, one while it is signed in. Both are sealed,
 * both name their app (apps may share a host), and neither goes to the app (headers.c). */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/config.h"
#include "base/crypto.h"
#include "cache/sessions.h"

#define GATE_BEGIN_COOKIE "__Host-postern-begin-" /* and the first characters of begin */
#define GATE_APP_COOKIE   "__Host-postern-app-"   /* and the app's name */
#define GATE_BEGIN_MS     600000
#define GATE_BEGIN_MOST   8 /* of one browser; then the oldest expire */

struct gate_cookies { /* of one request; borrowed */
    h2o_req_t *req;
    const struct seal_keys *keys;
    const struct config_app *app;
};

/* Gives the browser a begin cookie; what the portal is told of it, in the request's pool. return_to: a local path. */
const char *gate_begin_give(const struct gate_cookies *self, const char *return_to, int64_t now_ms);
/* Finds this browser's cookie of that begin (ticket_is_begin), takes it away, and says where the browser wanted to go. */
MUST_CHECK bool gate_begin_take(const struct gate_cookies *self, const char *begin, int64_t now_ms,
                                const char **return_to);

void gate_session_give(const struct gate_cookies *self, const char *grant_id);
/* The id of the app's session, which may be over; false: the browser has none. */
MUST_CHECK bool gate_session_find(const struct gate_cookies *self, char out[SESSION_ID_SIZE]);
/* Takes away what the browser has, if it has one. */
void gate_session_drop(const struct gate_cookies *self);
