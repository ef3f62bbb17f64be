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

struct claims_source {
    const char *subject;       /* the verified sub; the object's must be the same */
    const struct json *object; /* userinfo, or an id_token's claims (oidc.user_in_idtoken) */
};
/* All of a person is in that one object: what it lacks is not there, so that each question is answered in the
 * same way. Everything in out lives in pool or in the tree. BAD_INPUT: a claim has a wrong type; REJECTED: the
 * object is somebody else's. */
MUST_CHECK bool claims_map(h2o_mem_pool_t *pool, const struct config *config,
                           const struct claims_source *source, struct user_claims *out,
                           struct error *err);
