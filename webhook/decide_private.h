/* SPDX-License-Identifier: Apache-2.0
 *
 * The decision with "now" as a parameter: what decide.c does around the clocks, and what tests drive with
 * clocks of their own. */
#pragma once

#include "webhook/decide.h"

struct instant {
    int64_t wall_ms, mono_ms;
};

/* What a question knows once its token was good. */
struct decide_facts {
    struct decide_gate gate;
    int64_t token_expires_at_s; /* INT64_MAX: there is no token */
};

/* Decides without waiting: true, and *out is the verdict. False: the user's identity must be asked for
 * (uid in out->session), and decide_after ends it. */
bool decide_now(const struct decider *self, struct decide_facts *facts, h2o_iovec_t token,
                const struct instant *now, struct verdict *out);
/* The same for a session that is named without a token. */
bool decide_session_now(const struct decider *self, struct decide_facts *facts,
                        const char *grant_id, const struct instant *now, struct verdict *out);
/* After the wait: token and session are judged again, as both may have ended meanwhile. identity NULL: err
 * says why. Borrows identity. */
void decide_after(const struct decider *self, const struct decide_facts *facts,
                  const struct identity *identity, const struct error *err,
                  const struct instant *now, struct verdict *out);
