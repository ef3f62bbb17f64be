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

struct claims_sources {
    const char *subject;         /* the verified sub; userinfo's must be the same */
    const struct json *userinfo; /* NULL: not asked (oidc.user_in_idtoken) */
    const struct json *id_token; /* may be NULL */
};
/* What userinfo lacks is filled in from the id_token, but for the groups: those are one source's alone,
 * userinfo's where there is one. Everything in out lives in pool or in the trees. BAD_INPUT: a claim has a
 * wrong type; REJECTED: userinfo is somebody else's. */
MUST_CHECK bool claims_map(h2o_mem_pool_t *pool, const struct config *config,
                           const struct claims_sources *sources, struct user_claims *out,
                           struct error *err);
