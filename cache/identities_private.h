/* SPDX-License-Identifier: Apache-2.0
 *
 * The identity cache, shared by identities.c (facts and their judgement), identities_ask.c (questions) and
 * identities_wait.c (who waits for them). A shard's lock covers its entries and their waits; the queue's
 * lock is taken inside it, never the other way round. Neither is held while the loader or a callback runs. */
#pragma once

#include <h2o.h>
#include <pthread.h>
#include <stdatomic.h>

#include "cache/identities.h"
#include "identity_queue.h"
#include "table.h"

#define IDENTITY_SHARDS            64
#define IDENTITY_ENTRIES_PER_SHARD 1563 /* 100,000 users */
#define IDENTITY_FORGET_MS         3600000

enum question {
    QUESTION_NONE,
    QUESTION_QUEUED, /* waits for its turn, or has just left the queue */
    QUESTION_ASKED,  /* the loader is at it */
};

struct entry {               /* one user; stays while it has a question or waits */
    struct table_entry link; /* by uid */
    struct identity_shard *shard;
    const struct identity *facts; /* the last known; NULL: none */
    int64_t wanted_ms;            /* when somebody asked for the user last */
    bool due;                     /* only a question that starts from now on may answer */
    /* the question */
    enum question question;
    bool was_due;               /* the question was asked because the facts were due */
    int64_t since_ms;           /* when it came up; it may have waited for its turn */
    int64_t asked_ms;           /* when the loader was called */
    struct queued queued;       /* covered by the queue's lock */
    struct identity_load *load; /* while asked */
    /* back-off */
    int64_t retry_ms;     /* the current delay; 0: the last question did not fail */
    int64_t retry_at_ms;  /* no question before */
    h2o_linklist_t waits; /* struct identity_wait.link */
    char uid[];
};

struct identity_shard {
    pthread_mutex_t mutex;
    struct table entries;
    int64_t oldest_used_ms; /* age of the oldest facts that were answered since it was read */
} __attribute__((aligned(64)));

struct identities {
    struct live_rules { /* struct identity_rules, of which a reload may change some at any time */
        _Atomic int64_t fresh_ms, max_age_ms, stale_if_error_ms;
        int64_t ask_deadline_ms, retry_min_ms, retry_max_ms;
        unsigned max_in_flight;
        bool (*may_ask)(void *ctx, bool urgent);
        void *may_ask_ctx;
    } rules;
    identity_loader loader;
    void *loader_ctx;
    /* The latest time that a caller named: the time for what has no caller to name it (a loader's answer).
     * The tick keeps it within a second of the clock. */
    _Atomic int64_t now_ms;
    atomic_bool short_of_questions; /* the last one that wanted to start had to stay in the queue */
    struct identity_shard shards[IDENTITY_SHARDS];
    pthread_mutex_t queue_mutex; /* covers the following */
    struct identity_queue queue;
    unsigned in_flight;
};

/* ---- identities.c ---- */
enum judgement {
    ANSWER,         /* the facts are good */
    ANSWER_AND_ASK, /* good enough; ask behind */
    ASK_FIRST,      /* wait for the question */
    REFUSE,         /* nothing to answer with, and no question before the back-off is over */
};
void identities_note_now(struct identities *self, int64_t now_ms);
struct identity_shard *identities_shard(struct identities *self, const char *uid);
/* All of these want the shard's lock. */
struct entry *entry_find(struct identity_shard *shard, const char *uid);
struct entry *entry_find_or_add(struct identity_shard *shard, const char *uid,
                                int64_t now_ms); /* NULL: too many users */
enum judgement entry_judge(const struct identities *self, const struct entry *entry,
                           int64_t now_ms);
/* The facts, counted as used and referenced; NULL: none that are young enough. */
const struct identity *entry_use_facts(const struct identities *self, struct entry *entry,
                                       int64_t now_ms);
/* Unless the facts that are there were learned later. Takes the reference over. */
void entry_take_facts(struct entry *entry, const struct identity *facts);
void entry_drop_facts(struct entry *entry);
/* Removes the entry unless it knows something or something holds it. */
void entry_drop_if_empty(struct entry *entry);

/* ---- identities_ask.c ---- */
/* With the shard's lock: sees to it that there is a question, unless the back-off forbids one. first:
 * somebody waits for it. */
void entry_ask(struct identities *self, struct entry *entry, bool first, int64_t now_ms);
/* Without locks: starts as many questions as may be in flight. */
void identities_start_questions(struct identities *self);
void identities_free_load(struct identity_load *load);

/* ---- identities_wait.c ---- */
/* With the shard's lock: takes the waits out of the entry with what they will be told, into list: facts that
 * are young enough, else refusal. */
void entry_settle_waits(const struct identities *self, struct entry *entry,
                        const struct error *refusal, int64_t now_ms, h2o_linklist_t *list);
/* Without locks: hands each to its loop. */
void identities_post_waits(h2o_linklist_t *list);
