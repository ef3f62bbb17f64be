/* SPDX-License-Identifier: Apache-2.0
 *
 * How many questions about identities one of Okta's rate-limit buckets still bears (design section 6): four
 * fifths of what the last answer said remains, spread evenly until Okta's window ends; the rest is for
 * sign-ins, which are never held back here. Nothing is known until an answer named the limits; then nothing
 * is held back either. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct budget {
    pthread_mutex_t mutex;
    int64_t limit;           /* of a whole window; -1: not known */
    double rate;             /* questions a second until known_until_ms */
    double tokens;           /* that may be asked now; below 0: borrowed by urgent ones */
    int64_t refilled_ms;     /* all times are monotonic */
    int64_t known_until_ms;  /* then a new window begins, of which only the limit is known */
    int64_t closed_until_ms; /* Okta answered 429 */
};

struct budget_note { /* what an answer said; -1: it did not */
    int status;      /* of HTTP */
    int64_t limit, remaining;
    int64_t window_left_s; /* Reset minus Okta's own Date */
};

void budget_init(struct budget *self);
void budget_dispose(struct budget *self);
void budget_learn(struct budget *self, const struct budget_note *note, int64_t now_ms);
/* Counts one question and says whether it may be sent. urgent: somebody waits for the answer; it may borrow
 * what the next second brings. */
bool budget_take(struct budget *self, bool urgent, int64_t now_ms);
/* After a 429: anything sent before this is over is refused by Okta. */
bool budget_closed(struct budget *self, int64_t now_ms);
