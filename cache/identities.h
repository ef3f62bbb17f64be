/* SPDX-License-Identifier: Apache-2.0
 *
 * Identities: what the provider says of a user now, and when that was learned. One per user, shared by all of
 * the user's sessions and all threads. The cache knows ages, not Okta: it is handed a loader. Freshness rules:
 * design section 6. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/user.h"

/* Immutable once made; shared by reference. Strings live in the object. */
struct identity {
    const char *uid;      /* Okta's verified sub; TokenReview's uid */
    const char *username; /* as RBAC sees it; NULL when it was refused */
    const char *refusal;  /* why there is no username, for the profile and the audit; else NULL */
    const char *attributes[USER_ATTRIBUTES]; /* NULL: not given */
    bool email_verified;
    bool groups_present;            /* the provider sent a groups claim */
    bool groups_suspicious;         /* exactly 100: perhaps cut */
    const char *const *okta_groups; /* Okta's names, no duplicates, each acceptable as text */
    size_t okta_group_count;
    const char *const *groups; /* as RBAC sees them: filtered, prefixed, no duplicates */
    size_t group_count;
    size_t groups_unused;    /* how many Okta groups are not in groups */
    int64_t learned_mono_ms; /* the moment the question was sent */
    int64_t learned_wall_ms;
};
/* Copies everything; one reference is the caller's. */
struct identity *identity_new(const struct identity *from);
const struct identity *identity_ref(const struct identity *self);
void identity_unref(const struct identity *self); /* accepts NULL */
bool identity_in_group(const struct identity *self, const char *okta_group);

struct identities;
struct identity_load; /* one question in flight */

enum identity_outcome {
    IDENTITY_LEARNED,
    IDENTITY_GONE,   /* a definite no for all of the user's sign-ins, which have been ended */
    IDENTITY_FAILED, /* don't know: last known facts stay */
};
/* Starts asking; ends with exactly one identity_load_done, on any thread, not before it returns. */
typedef void (*identity_loader)(void *ctx, const char *uid, struct identity_load *load);
/* identity (its reference is taken over) for LEARNED, else NULL. err for FAILED. */
void identity_load_done(struct identity_load *load, enum identity_outcome outcome,
                        struct identity *identity, const struct error *err);

struct identity_rules {
    int64_t fresh_ms, max_age_ms, stale_if_error_ms;
    int64_t ask_deadline_ms;            /* 3000: how long an answer waits for a question */
    int64_t retry_min_ms, retry_max_ms; /* 5000, 60000: back-off after a failed question */
    unsigned max_in_flight;             /* 20; beyond, questions queue up, oldest facts first */
    /* Whether one more question may be asked now; those that may not stay in the queue until the next tick, and
     * facts that can't be renewed are answered while stale_if_error_ms allows. urgent: somebody waits. Must
     * not block or call back. NULL: always. */
    bool (*may_ask)(void *ctx, bool urgent);
    void *may_ask_ctx;
};
struct identities *identities_new(const struct identity_rules *rules, identity_loader loader,
                                  void *loader_ctx);
void identities_free(struct identities *self);

/* The answer that can be given at once, or NULL: then wait. The caller unrefs. Asks behind where the rules
 * say so. Never blocks. */
const struct identity *identities_peek(struct identities *self, const char *uid,
                                       int64_t now_mono_ms);

/* For what was let in and is still open: what is known within stale_if_error_ms, or NULL. Where the next answer would
 * ask first, this asks behind instead of refusing. The caller unrefs. Never blocks. */
const struct identity *identities_follow(struct identities *self, const char *uid,
                                         int64_t now_mono_ms);

/* What is remembered of the user, however old, or NULL; asks nobody and counts as no use. The caller unrefs. */
const struct identity *identities_recall(struct identities *self, const char *uid);

/* identity NULL: err says why (REJECTED: gone; UPSTREAM: not to be had in time). Borrowed; ref to keep. */
typedef void (*identity_cb)(void *ctx, const struct identity *identity, const struct error *err);
struct identity_wait;
/* Joins or starts the one question for that user; the callback runs on loop, once, within ask_deadline_ms, and
 * not before this returns. For use after identities_peek said NULL; it judges anew. */
struct identity_wait *identities_wait(struct identities *self, struct loop *loop, const char *uid,
                                      int64_t now_mono_ms, identity_cb cb, void *ctx);
/* On the same loop, before the callback ran; nobody else's wait is touched. */
void identities_cancel(struct identity_wait *wait);

/* What a sign-in has just learned (takes the reference over). Never replaces facts learned later. */
void identities_put(struct identities *self, struct identity *identity);
/* The next answer asks first; survives a question that is in flight now. */
void identities_mark_due(struct identities *self, const char *uid);
void identities_forget(struct identities *self, const char *uid);

/* ---- reload; from any thread ---- */
/* From now on these ages count; the rest of the rules stays as it was made. */
void identities_set_ages(struct identities *self, const struct identity_rules *rules);
/* Replaces all facts by what remap makes of them: a new reference, with the same uid and time of learning. */
void identities_remap(struct identities *self,
                      struct identity *(*remap)(void *ctx, const struct identity *old), void *ctx);
void identities_mark_all_due(struct identities *self);
void identities_forget_all(struct identities *self);

/* Starts questions that waited for their turn or their back-off; forgets users not asked for an hour. Every second or so. */
void identities_tick(struct identities *self, int64_t now_mono_ms);

struct identity_numbers {
    size_t known, in_flight, queued;
    int64_t
        oldest_used_ms; /* age of the oldest fact that was used for an answer since the last call */
};
void identities_numbers(struct identities *self, int64_t now_mono_ms, struct identity_numbers *out);
