/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions to the loader: one at a time per user, a bounded number in all, the others queue. A due mark is
 * cleared only by a question that starts after it; when one is set while a question is in flight, those who
 * wait get the answer of the next one. */
#include <assert.h>

#include "identities_private.h"

struct identity_load {
    struct identities *self;
    struct entry *entry; /* stays in its table while it is asked */
};

void identities_free_load(struct identity_load *load)
{
    free(load);
}

/* ---- asking ---- */

static void enqueue(struct identities *self, struct entry *entry, bool first, int64_t now_ms)
{
    entry->question = QUESTION_QUEUED;
    entry->since_ms = now_ms;
    pthread_mutex_lock(&self->queue_mutex);
    entry->queued.first = first;
    entry->queued.learned_ms = entry->facts == NULL ? INT64_MIN : entry->facts->learned_mono_ms;
    identity_queue_push(&self->queue, &entry->queued);
    pthread_mutex_unlock(&self->queue_mutex);
}

void entry_ask(struct identities *self, struct entry *entry, bool first, int64_t now_ms)
{
    bool backs_off = entry->retry_ms != 0 && now_ms < entry->retry_at_ms && !entry->due;
    if (entry->question == QUESTION_NONE && !backs_off) {
        enqueue(self, entry, first, now_ms);
    } else if (entry->question == QUESTION_QUEUED && first) {
        pthread_mutex_lock(&self->queue_mutex);
        identity_queue_raise(&self->queue, &entry->queued);
        pthread_mutex_unlock(&self->queue_mutex);
    }
}

/* While questions must stay in the queue, who has facts is answered with them: waiting would bring nothing. */
static bool may_ask(struct identities *self, bool urgent)
{
    bool may = self->rules.may_ask == NULL || self->rules.may_ask(self->rules.may_ask_ctx, urgent);
    atomic_store_explicit(&self->short_of_questions, !may, memory_order_relaxed);
    return may;
}

/* The next entry whose turn it is, counted as in flight, or NULL. Its state still says queued, which holds it
 * in its table until start sets it. */
static struct entry *take_turn(struct identities *self)
{
    struct queued *queued = NULL;
    pthread_mutex_lock(&self->queue_mutex);
    const struct queued *next = identity_queue_first(&self->queue);
    if (next != NULL && self->in_flight < self->rules.max_in_flight && may_ask(self, next->first))
        queued = identity_queue_pop(&self->queue);
    if (queued != NULL)
        self->in_flight++;
    pthread_mutex_unlock(&self->queue_mutex);
    return queued == NULL ? NULL : H2O_STRUCT_FROM_MEMBER(struct entry, queued, queued);
}

static struct identity_load *start(struct identities *self, struct entry *entry)
{
    struct identity_load *load = h2o_mem_alloc(sizeof(*load));
    *load = (struct identity_load){.self = self, .entry = entry};
    pthread_mutex_lock(&entry->shard->mutex);
    assert(entry->question == QUESTION_QUEUED);
    entry->question = QUESTION_ASKED;
    entry->asked_ms = atomic_load_explicit(&self->now_ms, memory_order_relaxed);
    entry->was_due = entry->due;
    entry->due = false;
    entry->load = load;
    pthread_mutex_unlock(&entry->shard->mutex);
    return load;
}

void identities_start_questions(struct identities *self)
{
    struct entry *entry;
    while ((entry = take_turn(self)) != NULL) {
        char *uid = strdup(entry->uid); /* the answer may come, and the entry go, during the call */
        assert(uid != NULL);
        struct identity_load *load = start(self, entry);
        self->loader(self->loader_ctx, uid, load);
        free(uid);
    }
}

/* ---- answers: with the shard's lock ---- */

struct load_answer { /* what identity_load_done was told */
    enum identity_outcome outcome;
    struct identity *identity;
    const struct error *err;
};

static void fail(const struct identities *self, struct entry *entry, const struct error *err,
                 struct error *refusal, int64_t now_ms)
{
    int64_t longer_ms = entry->retry_ms == 0 ? self->rules.retry_min_ms : entry->retry_ms * 2;
    entry->retry_ms = longer_ms < self->rules.retry_max_ms ? longer_ms : self->rules.retry_max_ms;
    entry->retry_at_ms = now_ms + entry->retry_ms;
    error_set(refusal, ERROR_UPSTREAM, "the user's groups are not known: %s",
              err == NULL ? "the question failed" : err->text);
}

/* What a new sign-in learned after the question was sent outlives a no to the old ones. */
static void forget_gone(struct entry *entry, struct error *refusal)
{
    entry->retry_ms = 0;
    if (entry->facts != NULL && entry->facts->learned_mono_ms <= entry->asked_ms)
        entry_drop_facts(entry);
    error_set(refusal, ERROR_REJECTED, "the identity provider refuses this user");
}

/* refusal: what those are told who wait and get no facts. */
static void absorb(const struct identities *self, struct entry *entry,
                   const struct load_answer *answer, struct error *refusal, int64_t now_ms)
{
    switch (answer->outcome) {
    case IDENTITY_LEARNED:
        assert(answer->identity != NULL && strcmp(answer->identity->uid, entry->uid) == 0);
        entry->retry_ms = 0;
        entry_take_facts(entry, answer->identity);
        error_set(refusal, ERROR_UPSTREAM, "what was learned of the user is too old");
        break;
    case IDENTITY_GONE:
        forget_gone(entry, refusal);
        break;
    case IDENTITY_FAILED:
        fail(self, entry, answer->err, refusal, now_ms);
        break;
    }
}

static void leave_flight(struct identities *self)
{
    pthread_mutex_lock(&self->queue_mutex);
    assert(self->in_flight > 0);
    self->in_flight--;
    pthread_mutex_unlock(&self->queue_mutex);
}

void identity_load_done(struct identity_load *load, enum identity_outcome outcome,
                        struct identity *identity, const struct error *err)
{
    struct identities *self = load->self;
    struct entry *entry = load->entry;
    pthread_mutex_t *mutex = &entry->shard->mutex;
    struct load_answer answer = {outcome, identity, err};
    struct error refusal = {0};
    h2o_linklist_t settled;
    h2o_linklist_init_anchor(&settled);
    pthread_mutex_lock(mutex);
    int64_t now_ms = atomic_load_explicit(&self->now_ms, memory_order_relaxed);
    assert(entry->question == QUESTION_ASKED && entry->load == load);
    entry->question = QUESTION_NONE;
    entry->was_due = false;
    entry->load = NULL;
    absorb(self, entry, &answer, &refusal, now_ms);
    if (entry->due && outcome != IDENTITY_GONE && !h2o_linklist_is_empty(&entry->waits))
        entry_ask(self, entry, true, now_ms);
    else
        entry_settle_waits(self, entry, &refusal, now_ms, &settled);
    entry_drop_if_empty(entry);
    pthread_mutex_unlock(mutex);
    free(load);
    leave_flight(self);
    identities_start_questions(self);
    identities_post_waits(&settled);
}
