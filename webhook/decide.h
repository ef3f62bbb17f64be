/* SPDX-License-Identifier: Apache-2.0
 *
 * The decision table of design section 6: a bearer token and the cluster that asks, to yes, no or unsure with
 * the one reason. Knows neither HTTP nor Okta. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/config.h"
#include "base/loop.h"
#include "cache/identities.h"
#include "cache/sessions.h"
#include "token/token.h"

enum decision {
    DECISION_YES,
    DECISION_NO,     /* authenticated:false, no error: the API server caches it */
    DECISION_UNSURE, /* authenticated:false with status.error: not cached */
    DECISIONS,
};

enum reason {
    REASON_OK,
    REASON_FOREIGN_TOKEN,
    REASON_BAD_TOKEN,
    REASON_EXPIRED,
    REASON_WRONG_AUDIENCE,
    REASON_NO_COMMON_AUDIENCE, /* api_audiences has none of spec.audiences */
    REASON_SESSION_UNKNOWN,
    REASON_SESSION_IDLE,
    REASON_SESSION_OVER,
    REASON_USER_GONE, /* Okta said no for all of the user's sign-ins */
    REASON_USERNAME_REFUSED,
    REASON_NOT_ALLOWED, /* allowed_groups */
    REASON_UNKNOWN_KEY,
    REASON_NOT_YET,
    REASON_GROUPS_UNKNOWN, /* or too old, and Okta can't be asked in time */
    REASONS,
};
const char *decision_name(enum decision decision); /* "yes" "no" "unsure" */
const char *reason_name(enum reason reason);       /* snake_case, for audit and metrics */
enum decision reason_decision(enum reason reason); /* the one decision that goes with the reason */
/* status.error of an unsure answer: says nothing that helps guessing. */
const char *reason_public_text(enum reason reason);

struct verdict {
    enum decision decision;
    enum reason reason;
    const struct identity *identity; /* of a yes, and where it was known; the owner unrefs */
    struct session_grant session;    /* session.id is "" until the session was found */
    char jti[TOKEN_ID_SIZE];
};
void verdict_dispose(struct verdict *self);

struct decider { /* borrowed parts, shared by all threads */
    const struct config *config;
    struct token_verifier *verifier;
    struct sessions *sessions;
    struct identities *identities;
};

struct decide_gate {                      /* what somebody wants to use; borrowed */
    const struct config_cluster *cluster; /* NULL: an app that is of none */
    const char *app;                      /* its name; NULL: it is the cluster's API server */
    const struct config_strings *groups;  /* the app's own; NULL: it has none */
};
struct decide_gate decide_gate_of(const struct config *config, const struct config_app *app);
/* A good username, users.allowed_groups, the cluster's and the app's: all of them. */
bool decide_may_use(const struct config *config, const struct decide_gate *gate,
                    const struct identity *identity);

/* Of one who may not use it, with a good username: the first list in which they are not. Joining one of its groups is
 * what they can do about it. */
const struct config_strings *decide_missing_groups(const struct config *config,
                                                   const struct decide_gate *gate,
                                                   const struct identity *identity);

/* Whether a session is one of that gate's. */
bool decide_is_for(const struct decide_gate *gate, const struct session_grant *grant);

struct decide_wait; /* a decision that waits for an identity */
typedef void (*decide_cb)(void *ctx, struct verdict *verdict);
/* Decides at once where that is possible: fills *out and returns NULL. Else returns the wait, and cb runs once
 * on loop (verdict is then the callee's to dispose) unless cancelled; token and session are then judged again.
 * self and cluster are borrowed until then, token only for the call. */
struct decide_wait *decide(const struct decider *self, struct loop *loop,
                           const struct config_cluster *cluster, h2o_iovec_t token,
                           struct verdict *out, decide_cb cb, void *ctx);
/* The same for the session of that id, which somebody proved otherwise than by a token: it must be of that gate's
 * cluster and app. gate and grant_id are borrowed for the call, what gate points at until the end. */
struct decide_wait *decide_session(const struct decider *self, struct loop *loop,
                                   const struct decide_gate *gate, const char *grant_id,
                                   struct verdict *out, decide_cb cb, void *ctx);
void decide_cancel(struct decide_wait *wait);

/* Whether what a yes let in may stay open: the session is live (asking is no use of it), and the person is still
 * one who may use that. Never waits: facts on their way are judged when they are there. */
enum reason decide_still(const struct decider *self, const struct decide_gate *gate,
                         const char *grant_id, const char *uid);
