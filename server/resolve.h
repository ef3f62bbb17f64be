/* SPDX-License-Identifier: Apache-2.0
 *
 * The identity cache's loader: asks Okta with the tokens of a user's sign-ins, and carries out what Okta's
 * answer means (design section 6, "what counts as a no"). The one place that knows both. */
#pragma once

#include "base/loop.h"
#include "cache/identities.h"
#include "cache/sessions.h"
#include "okta/okta.h"
#include "webhook/subject.h"

struct resolver {      /* borrowed parts */
    struct loop *home; /* where the questions are asked */
    struct okta *okta;
    struct sessions *sessions;
    const struct subject_rules *rules;
};

/* An identity_loader; ctx is a struct resolver. From any thread. */
void resolve_identity(void *ctx, const char *uid, struct identity_load *load);
/* The same resolver's answer to struct identity_rules' may_ask: what Okta's rate limit leaves. */
bool resolve_may_ask(void *ctx, bool urgent);
