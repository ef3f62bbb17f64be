/* SPDX-License-Identifier: Apache-2.0
 *
 * From Okta's claims to our words, as oidc.claims of the config says. Private to okta/. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/config.h"
#include "base/error.h"
#include "base/json.h"
#include "base/user.h"

/* userinfo's sub must be subject, unless userinfo is NULL (oidc.user_in_idtoken). What userinfo lacks is filled
 * in from id_token (may be NULL), but for the groups: those are one source's alone, userinfo's where there
 * is one. Everything in out lives in pool or in the trees. BAD_INPUT: a claim has a wrong type; REJECTED:
 * userinfo is somebody else's. */
MUST_CHECK bool claims_map(h2o_mem_pool_t *pool, const struct config *config, const char *subject,
                           const struct json *userinfo, const struct json *id_token,
                           struct user_claims *out, struct error *err);
