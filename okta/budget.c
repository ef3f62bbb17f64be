/* SPDX-License-Identifier: Apache-2.0
 *
 * See budget.h. A token bucket whose rate follows what Okta says. */
#include "budget.h"

#define SHARE    0.8 /* of what remains; the rest is for sign-ins */
#define WINDOW_S 60  /* Okta's, and the longest that we believe */

static int64_t clamp(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

void budget_init(struct budget *self)
{
    *self = (struct budget){.limit = -1};
    pthread_mutex_init(&self->mutex, NULL);
}

void budget_dispose(struct budget *self)
{
    pthread_mutex_destroy(&self->mutex);
}

static double most_tokens(const struct budget *self)
{
    return self->rate > 1 ? self->rate : 1;
}

/* What the time since the last look has brought; a window that ended makes room for a whole one. */
static void refill(struct budget *self, int64_t now_ms)
{
    if (now_ms >= self->known_until_ms) {
        self->rate = SHARE * (double)self->limit / WINDOW_S;
        self->known_until_ms = now_ms + WINDOW_S * 1000;
    }
    self->tokens += self->rate * (double)(now_ms - self->refilled_ms) / 1000;
    self->refilled_ms = now_ms;
    if (self->tokens > most_tokens(self))
        self->tokens = most_tokens(self);
}

/* A 429 that does not say that the bucket is empty is one user's own limit (Okta allows four token requests a
 * second for each): that user's back-off is enough. */
static void learn_refusal(struct budget *self, const struct budget_note *note, int64_t now_ms)
{
    if (note->remaining == 0 && note->window_left_s >= 0)
        self->closed_until_ms = now_ms + clamp(note->window_left_s + 1, 1, WINDOW_S) * 1000;
}

void budget_learn(struct budget *self, const struct budget_note *note, int64_t now_ms)
{
    pthread_mutex_lock(&self->mutex);
    if (note->status == 429) {
        learn_refusal(self, note, now_ms);
    } else if (note->limit > 0 && note->remaining >= 0 && note->window_left_s >= 0) {
        int64_t left_s = clamp(note->window_left_s, 1, WINDOW_S);
        if (self->limit < 0)
            self->refilled_ms = now_ms;
        self->limit = note->limit;
        self->rate = SHARE * (double)note->remaining / (double)left_s;
        self->known_until_ms = now_ms + left_s * 1000;
    }
    pthread_mutex_unlock(&self->mutex);
}

bool budget_take(struct budget *self, bool urgent, int64_t now_ms)
{
    pthread_mutex_lock(&self->mutex);
    bool allowed = now_ms >= self->closed_until_ms;
    if (allowed && self->limit >= 0) {
        refill(self, now_ms);
        double least = urgent ? 1 - most_tokens(self) : 1;
        allowed = self->tokens >= least;
        self->tokens -= allowed ? 1 : 0;
    }
    pthread_mutex_unlock(&self->mutex);
    return allowed;
}

bool budget_closed(struct budget *self, int64_t now_ms)
{
    pthread_mutex_lock(&self->mutex);
    bool closed = now_ms < self->closed_until_ms;
    pthread_mutex_unlock(&self->mutex);
    return closed;
}
