/* SPDX-License-Identifier: Apache-2.0
 *
 * From what Okta says of a person to what RBAC sees: username and groups, after the filters of design section
 * 6. One place, used by the webhook, the portal and the proxy. */
#pragma once

#include <stdbool.h>

#include "base/config.h"
#include "base/error.h"
#include "base/user.h"
#include "cache/identities.h"

struct subject_rules; /* compiled; immutable; shared by all threads */

/* Fails when an expression of users.groups_include does not compile; the error names it. */
MUST_CHECK bool subject_rules_new(const struct config *config, struct subject_rules **out,
                                  struct error *err);
void subject_rules_free(struct subject_rules *self);

/* Never fails: a username that may not be becomes identity->refusal. The caller owns the reference. */
struct identity *subject_map(const struct subject_rules *rules, const struct user_claims *claims,
                             int64_t asked_mono_ms, int64_t asked_wall_ms);

/* What other rules make of what is known already: the same facts, of the same time. */
struct identity *subject_remap(const struct subject_rules *rules, const struct identity *known);

/* allowed_groups of users and of the cluster (exact Okta names; empty lists allow everybody). A refused username may use nothing. */
bool subject_may_sign_in(const struct config *config, const struct identity *identity);
bool subject_may_use(const struct config *config, const struct config_cluster *cluster,
                     const struct identity *identity);
/* True when the list is empty or the identity is in one of its groups. */
bool subject_in_any(const struct config_strings *groups, const struct identity *identity);
