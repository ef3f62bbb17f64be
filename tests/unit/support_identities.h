/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of identities share: a cache whose questions the test answers by hand. */
#pragma once

#include "support_cache.h"

#include "cache/identities.h"

#define S  INT64_C(1000)
#define T0 INT64_C(5000000) /* on the monotonic clock */

struct identities_fixture {
    struct waiter waiter;
    struct identity_rules rules;
    struct identities *identities;
    struct {
        char uid[64];
        struct identity_load *load;
    } loads[64]; /* every question so far */
    size_t load_count;
    char peeked[64];
};

struct answer { /* of a wait */
    struct identities_fixture *fixture;
    bool good;
    char group[64];
    enum error_kind kind;
    char text[240];
};

static inline void on_load(void *ctx, const char *uid, struct identity_load *load)
{
    struct identities_fixture *self = ctx;
    assert_true(self->load_count < 64);
    snprintf(self->loads[self->load_count].uid, 64, "%s", uid);
    self->loads[self->load_count++].load = load;
}

static inline void renew(struct identities_fixture *self)
{
    identities_free(self->identities);
    self->identities = identities_new(&self->rules, on_load, self);
}

static inline int identities_setup(void **state)
{
    struct identities_fixture *self = calloc(1, sizeof(*self));
    self->waiter.loop = loop_new();
    self->rules = (struct identity_rules){.fresh_ms = 30 * S,
                                          .max_age_ms = 60 * S,
                                          .stale_if_error_ms = 600 * S,
                                          .ask_deadline_ms = 3 * S,
                                          .retry_min_ms = 5 * S,
                                          .retry_max_ms = 60 * S,
                                          .max_in_flight = 20};
    renew(self);
    *state = self;
    return 0;
}

/* Questions that were never answered must not leak either. */
static inline int identities_teardown(void **state)
{
    struct identities_fixture *self = *state;
    identities_free(self->identities);
    loop_free(self->waiter.loop);
    free(self);
    return 0;
}

static inline struct identity *make_identity(const char *uid, int64_t learned_ms, const char *group)
{
    const char *groups[] = {group};
    struct identity identity = {.uid = uid,
                                .username = uid,
                                .okta_groups = groups,
                                .okta_group_count = 1,
                                .groups = groups,
                                .group_count = 1,
                                .learned_mono_ms = learned_ms};
    return identity_new(&identity);
}

static inline void put(struct identities_fixture *self, const char *uid, int64_t learned_ms,
                       const char *group)
{
    identities_put(self->identities, make_identity(uid, learned_ms, group));
}

static inline void learn(struct identities_fixture *self, size_t i, int64_t learned_ms,
                         const char *group)
{
    assert_true(i < self->load_count);
    identity_load_done(self->loads[i].load, IDENTITY_LEARNED,
                       make_identity(self->loads[i].uid, learned_ms, group), NULL);
}

static inline void failed(struct identities_fixture *self, size_t i)
{
    struct error err;
    assert_true(i < self->load_count);
    error_set(&err, ERROR_UPSTREAM, "okta said 503");
    identity_load_done(self->loads[i].load, IDENTITY_FAILED, NULL, &err);
}

/* The group that is answered at once, or NULL. */
static inline const char *peek(struct identities_fixture *self, const char *uid, int64_t now_ms)
{
    const struct identity *identity = identities_peek(self->identities, uid, now_ms);
    if (identity == NULL)
        return NULL;
    assert_string_equal(identity->uid, uid);
    snprintf(self->peeked, sizeof(self->peeked), "%s", identity->groups[0]);
    identity_unref(identity);
    return self->peeked;
}

static inline void on_answer(void *ctx, const struct identity *identity, const struct error *err)
{
    struct answer *answer = ctx;
    answer->good = identity != NULL;
    answer->kind = err->kind;
    snprintf(answer->text, sizeof(answer->text), "%s", err->text);
    snprintf(answer->group, sizeof(answer->group), "%s",
             identity == NULL ? "" : identity->groups[0]);
    arrive(&answer->fixture->waiter);
}

static inline struct identity_wait *wait_for(struct identities_fixture *self, const char *uid,
                                             int64_t now_ms, struct answer *answer)
{
    answer->fixture = self;
    return identities_wait(self->identities, self->waiter.loop, uid, now_ms, on_answer, answer);
}

static inline struct identity_numbers numbers(struct identities_fixture *self)
{
    struct identity_numbers out;
    identities_numbers(self->identities, T0, &out);
    return out;
}
