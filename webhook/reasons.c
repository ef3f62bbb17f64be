/* SPDX-License-Identifier: Apache-2.0
 *
 * The words for decisions and reasons: names for audit lines and metrics, and what an unsure answer tells the
 * API server's log. */
#include <assert.h>

#include "webhook/decide.h"

const char *decision_name(enum decision decision)
{
    static const char *const names[DECISIONS] = {
        [DECISION_YES] = "yes",
        [DECISION_NO] = "no",
        [DECISION_UNSURE] = "unsure",
    };
    assert(decision < DECISIONS);
    return names[decision];
}

const char *reason_name(enum reason reason)
{
    static const char *const names[REASONS] = {
        [REASON_OK] = "ok",
        [REASON_FOREIGN_TOKEN] = "foreign_token",
        [REASON_BAD_TOKEN] = "bad_token",
        [REASON_EXPIRED] = "expired",
        [REASON_WRONG_AUDIENCE] = "wrong_audience",
        [REASON_NO_COMMON_AUDIENCE] = "no_common_audience",
        [REASON_SESSION_UNKNOWN] = "session_unknown",
        [REASON_SESSION_IDLE] = "session_idle",
        [REASON_SESSION_OVER] = "session_over",
        [REASON_USER_GONE] = "user_gone",
        [REASON_USERNAME_REFUSED] = "username_refused",
        [REASON_NOT_ALLOWED] = "not_allowed",
        [REASON_UNKNOWN_KEY] = "unknown_key",
        [REASON_NOT_YET] = "not_yet",
        [REASON_GROUPS_UNKNOWN] = "groups_unknown",
    };
    assert(reason < REASONS);
    return names[reason];
}

const char *reason_public_text(enum reason reason)
{
    switch (reason) {
    case REASON_UNKNOWN_KEY:
        return "postern: the token's key is not known yet";
    case REASON_NOT_YET:
        return "postern: the token is not valid yet";
    case REASON_GROUPS_UNKNOWN:
        return "postern: the user's groups can't be had now";
    default:
        return "postern: can't tell now";
    }
}

enum decision reason_decision(enum reason reason)
{
    switch (reason) {
    case REASON_OK:
        return DECISION_YES;
    case REASON_UNKNOWN_KEY:
    case REASON_NOT_YET:
    case REASON_GROUPS_UNKNOWN:
        return DECISION_UNSURE;
    default:
        return DECISION_NO;
    }
}
