/* SPDX-License-Identifier: Apache-2.0
 *
 * The portal's own state: made at start, read by all threads; what changes (used attempts, counters) locks
 * itself. */
#pragma once

#include "pages.h"
#include "portal/portal.h"
#include "used.h"

#define SESSION_COOKIE "__Host-postern"

enum sign_in_result {
    SIGN_IN_DONE,
    SIGN_IN_UNKNOWN_ATTEMPT, /* not begun in this browser, too old, or used before */
    SIGN_IN_BAD_ANSWER,      /* Okta's answer is malformed, or does not verify */
    SIGN_IN_REFUSED,         /* Okta said no */
    SIGN_IN_OKTA_FAILED,     /* Okta did not do its part */
    SIGN_IN_NOT_ALLOWED,     /* username or groups are not what the config wants */
    SIGN_IN_NOT_SAVED,       /* the store failed */
    SIGN_IN_RESULTS,
};

struct portal {
    struct portal_parts parts;
    struct page_frame frame;
    struct used_attempts *used;
    bool owns_used; /* else it is an older portal's */
    struct counter *sign_ins[SIGN_IN_RESULTS];
    struct counter **tokens_issued; /* one for each cluster of the config */
    struct issuer_tally *issuer;    /* of token requests */
};
