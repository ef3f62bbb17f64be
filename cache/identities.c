/* SPDX-License-Identifier: Apache-2.0
 *
 * The facts about users and what may be answered with them (design section 6): up to fresh_ms they are good;
 * up to max_age_ms they are answered and asked for behind; older ones wait for a question. When the last
 * question failed, or the one under way is late, the last known facts are answered at once, asked for behind
 * with back-off, until stale_if_error_ms. Not knowing is never taken for knowing of no groups (peers 64). */
#include "cache/identities.h"

#include <assert.h>

#include "identities_private.h"

static struct entry *entry_of(struct table_entry *link)
{
    return link == NULL ? NULL : H2O_STRUCT_FROM_MEMBER(struct entry, link, link);
}

/* ---- entries ---- */

void identities_note_now(struct identities *self, int64_t now_ms)
{
    int64_t known_ms = atomic_load_explicit(&self->now_ms, memory_order_relaxed);
    while (known_ms < now_ms &&
           !atomic_compare_exchange_weak_explicit(&self->now_ms, &known_ms, now_ms,
                                                  memory_order_relaxed, memory_order_relaxed))
        ; /* somebody else noted another time; judge again */
}

struct identity_shard *identities_shard(struct identities *self, const char *uid)
{
    return &self->shards[table_hash(uid) >> 32 & (IDENTITY_SHARDS - 1)];
}

struct entry *entry_find(struct identity_shard *shard, const char *uid)
{
    return entry_of(table_find(&shard->entries, uid));
}

static bool is_held(struct entry *entry)
{
    return entry->question != QUESTION_NONE || !h2o_linklist_is_empty(&entry->waits);
}

static void remove_entry(struct entry *entry)
{
    table_remove(&entry->shard->entries, &entry->link);
    identity_unref(entry->facts);
    free(entry);
}

/* Makes room by forgetting who was not asked for longest. */
static bool evict(struct identity_shard *shard)
{
    struct entry *oldest = NULL;
    struct table_entry *link = NULL;
    while ((link = table_next(&shard->entries, link)) != NULL)
        if (!is_held(entry_of(link)) &&
            (oldest == NULL || entry_of(link)->wanted_ms < oldest->wanted_ms))
            oldest = entry_of(link);
    if (oldest != NULL)
        remove_entry(oldest);
    return oldest != NULL;
}

struct entry *entry_find_or_add(struct identity_shard *shard, const char *uid, int64_t now_ms)
{
    struct entry *entry = entry_find(shard, uid);
    if (entry != NULL)
        return entry;
    if (shard->entries.count >= IDENTITY_ENTRIES_PER_SHARD && !evict(shard))
        return NULL;
    size_t size = strlen(uid) + 1;
    entry = h2o_mem_alloc(sizeof(*entry) + size);
    *entry = (struct entry){.shard = shard, .wanted_ms = now_ms};
    memcpy(entry->uid, uid, size);
    h2o_linklist_init_anchor(&entry->waits);
    table_insert(&shard->entries, &entry->link, entry->uid);
    return entry;
}

void entry_drop_if_empty(struct entry *entry)
{
    if (entry->facts == NULL && entry->retry_ms == 0 && !entry->due && !is_held(entry))
        remove_entry(entry);
}

/* ---- judgement ---- */

static bool has_usable_facts(const struct identities *self, const struct entry *entry,
                             int64_t now_ms)
{
    return entry->facts != NULL &&
           now_ms - entry->facts->learned_mono_ms <= self->rules.stale_if_error_ms;
}

/* A question that takes longer than anybody would wait counts as failed until it is answered. */
static bool is_late(const struct identities *self, const struct entry *entry, int64_t now_ms)
{
    return entry->question != QUESTION_NONE &&
           now_ms - entry->since_ms >= self->rules.ask_deadline_ms;
}

enum judgement entry_judge(const struct identities *self, const struct entry *entry, int64_t now_ms)
{
    bool late = is_late(self, entry, now_ms), failed = entry->retry_ms != 0;
    bool asked_for_due = entry->question == QUESTION_ASKED && entry->was_due;
    if (!has_usable_facts(self, entry, now_ms)) {
        bool may_ask = !failed || entry->due || now_ms >= entry->retry_at_ms;
        return may_ask || entry->question != QUESTION_NONE ? ASK_FIRST : REFUSE;
    }
    if ((entry->due || asked_for_due) && !late)
        return ASK_FIRST;
    int64_t age_ms = now_ms - entry->facts->learned_mono_ms;
    if (age_ms <= self->rules.fresh_ms && !failed)
        return ANSWER;
    bool is_short = atomic_load_explicit(&self->short_of_questions, memory_order_relaxed);
    return age_ms <= self->rules.max_age_ms || failed || late || is_short ? ANSWER_AND_ASK
                                                                          : ASK_FIRST;
}

/* ---- facts ---- */

const struct identity *entry_use_facts(const struct identities *self, struct entry *entry,
                                       int64_t now_ms)
{
    if (!has_usable_facts(self, entry, now_ms))
        return NULL;
    int64_t age_ms = now_ms - entry->facts->learned_mono_ms;
    if (age_ms > entry->shard->oldest_used_ms)
        entry->shard->oldest_used_ms = age_ms;
    return identity_ref(entry->facts);
}

void entry_take_facts(struct entry *entry, const struct identity *facts)
{
    const struct identity *older = facts;
    if (entry->facts == NULL || facts->learned_mono_ms >= entry->facts->learned_mono_ms) {
        older = entry->facts;
        entry->facts = facts;
    }
    identity_unref(older);
}

void entry_drop_facts(struct entry *entry)
{
    identity_unref(entry->facts);
    entry->facts = NULL;
}

/* also_stale: facts that the next answer would ask for anew are good enough. */
static const struct identity *look(struct identities *self, const char *uid, bool also_stale,
                                   int64_t now_mono_ms)
{
    const struct identity *facts = NULL;
    bool asks = false;
    struct identity_shard *shard = identities_shard(self, uid);
    identities_note_now(self, now_mono_ms);
    pthread_mutex_lock(&shard->mutex);
    struct entry *entry = entry_find(shard, uid);
    if (entry != NULL) {
        enum judgement judgement = entry_judge(self, entry, now_mono_ms);
        entry->wanted_ms = now_mono_ms;
        if (also_stale && judgement == ASK_FIRST)
            judgement = ANSWER_AND_ASK;
        if (judgement == ANSWER || judgement == ANSWER_AND_ASK)
            facts = entry_use_facts(self, entry, now_mono_ms);
        if (judgement == ANSWER_AND_ASK) {
            entry_ask(self, entry, false, now_mono_ms);
            asks = entry->question == QUESTION_QUEUED;
        }
    }
    pthread_mutex_unlock(&shard->mutex);
    if (asks)
        identities_start_questions(self);
    return facts;
}

const struct identity *identities_peek(struct identities *self, const char *uid,
                                       int64_t now_mono_ms)
{
    return look(self, uid, false, now_mono_ms);
}

const struct identity *identities_follow(struct identities *self, const char *uid,
                                         int64_t now_mono_ms)
{
    return look(self, uid, true, now_mono_ms);
}

const struct identity *identities_recall(struct identities *self, const char *uid)
{
    struct identity_shard *shard = identities_shard(self, uid);
    pthread_mutex_lock(&shard->mutex);
    const struct entry *entry = entry_find(shard, uid);
    const struct identity *facts =
        entry != NULL && entry->facts != NULL ? identity_ref(entry->facts) : NULL;
    pthread_mutex_unlock(&shard->mutex);
    return facts;
}

void identities_put(struct identities *self, struct identity *identity)
{
    struct identity_shard *shard = identities_shard(self, identity->uid);
    pthread_mutex_lock(&shard->mutex);
    struct entry *entry = entry_find_or_add(shard, identity->uid, identity->learned_mono_ms);
    if (entry != NULL) {
        entry->retry_ms = 0; /* the provider did answer */
        if (identity->learned_mono_ms > entry->wanted_ms)
            entry->wanted_ms = identity->learned_mono_ms;
        entry_take_facts(entry, identity);
    }
    pthread_mutex_unlock(&shard->mutex);
    if (entry == NULL)
        identity_unref(identity);
}

/* Of a user that nobody knows nothing can be out of date. */
void identities_mark_due(struct identities *self, const char *uid)
{
    struct identity_shard *shard = identities_shard(self, uid);
    pthread_mutex_lock(&shard->mutex);
    struct entry *entry = entry_find(shard, uid);
    if (entry != NULL)
        entry->due = true;
    pthread_mutex_unlock(&shard->mutex);
}

/* What a question in flight brings is too old at once, too. */
static void forget_entry(struct entry *entry)
{
    entry_drop_facts(entry);
    entry->retry_ms = 0;
    entry->due = is_held(entry);
    entry_drop_if_empty(entry);
}

void identities_forget(struct identities *self, const char *uid)
{
    struct identity_shard *shard = identities_shard(self, uid);
    pthread_mutex_lock(&shard->mutex);
    struct entry *entry = entry_find(shard, uid);
    if (entry != NULL)
        forget_entry(entry);
    pthread_mutex_unlock(&shard->mutex);
}

/* ---- reload ---- */

void identities_set_ages(struct identities *self, const struct identity_rules *rules)
{
    self->rules.fresh_ms = rules->fresh_ms;
    self->rules.max_age_ms = rules->max_age_ms;
    self->rules.stale_if_error_ms = rules->stale_if_error_ms;
}

static void for_each_entry(struct identities *self, void (*act)(struct entry *entry))
{
    for (size_t i = 0; i < IDENTITY_SHARDS; i++) {
        struct identity_shard *shard = &self->shards[i];
        pthread_mutex_lock(&shard->mutex);
        struct table_entry *link = table_next(&shard->entries, NULL);
        while (link != NULL) {
            struct entry *entry = entry_of(link);
            link = table_next(&shard->entries, link);
            act(entry);
        }
        pthread_mutex_unlock(&shard->mutex);
    }
}

static void mark_due(struct entry *entry)
{
    entry->due = true;
}

void identities_mark_all_due(struct identities *self)
{
    for_each_entry(self, mark_due);
}

void identities_forget_all(struct identities *self)
{
    for_each_entry(self, forget_entry);
}

/* The facts of a shard, each with a reference of the caller's. */
static const struct identity **take_copies(struct identity_shard *shard, size_t *count)
{
    struct table_entry *link = NULL;
    pthread_mutex_lock(&shard->mutex);
    const struct identity **copies = h2o_mem_alloc((shard->entries.count + 1) * sizeof(*copies));
    *count = 0;
    while ((link = table_next(&shard->entries, link)) != NULL)
        if (entry_of(link)->facts != NULL)
            copies[(*count)++] = identity_ref(entry_of(link)->facts);
    pthread_mutex_unlock(&shard->mutex);
    return copies;
}

/* Unless something else was learned meanwhile. Takes both references over. */
static void exchange_facts(struct identity_shard *shard, const struct identity *old,
                           const struct identity *fresh)
{
    pthread_mutex_lock(&shard->mutex);
    struct entry *entry = entry_find(shard, old->uid);
    if (entry != NULL && entry->facts == old) {
        entry->facts = fresh;
        fresh = old; /* the entry's reference */
    }
    pthread_mutex_unlock(&shard->mutex);
    identity_unref(fresh);
    identity_unref(old);
}

void identities_remap(struct identities *self,
                      struct identity *(*remap)(void *ctx, const struct identity *old), void *ctx)
{
    for (size_t i = 0; i < IDENTITY_SHARDS; i++) {
        size_t count;
        const struct identity **old = take_copies(&self->shards[i], &count);
        for (size_t j = 0; j < count; j++)
            exchange_facts(&self->shards[i], old[j], remap(ctx, old[j]));
        free(old);
    }
}

/* ---- upkeep ---- */

/* A question that failed is asked again without being asked for, as long as its answer is wanted. */
static void tick_entry(struct identities *self, struct entry *entry, int64_t now_ms)
{
    bool wanted = now_ms - entry->wanted_ms <= self->rules.retry_max_ms;
    if (!is_held(entry) && now_ms - entry->wanted_ms > IDENTITY_FORGET_MS)
        remove_entry(entry);
    else if (entry->retry_ms != 0 && wanted && has_usable_facts(self, entry, now_ms))
        entry_ask(self, entry, false, now_ms);
}

void identities_tick(struct identities *self, int64_t now_mono_ms)
{
    identities_note_now(self, now_mono_ms);
    for (size_t i = 0; i < IDENTITY_SHARDS; i++) {
        struct identity_shard *shard = &self->shards[i];
        pthread_mutex_lock(&shard->mutex);
        struct table_entry *link = table_next(&shard->entries, NULL);
        while (link != NULL) {
            struct entry *entry = entry_of(link);
            link = table_next(&shard->entries, link);
            tick_entry(self, entry, now_mono_ms);
        }
        pthread_mutex_unlock(&shard->mutex);
    }
    identities_start_questions(self);
}

static void add_numbers(struct identity_shard *shard, struct identity_numbers *out)
{
    struct table_entry *link = NULL;
    while ((link = table_next(&shard->entries, link)) != NULL)
        if (entry_of(link)->facts != NULL)
            out->known++;
    if (shard->oldest_used_ms > out->oldest_used_ms)
        out->oldest_used_ms = shard->oldest_used_ms;
    shard->oldest_used_ms = 0;
}

void identities_numbers(struct identities *self, int64_t now_mono_ms, struct identity_numbers *out)
{
    *out = (struct identity_numbers){0};
    identities_note_now(self, now_mono_ms);
    for (size_t i = 0; i < IDENTITY_SHARDS; i++) {
        pthread_mutex_lock(&self->shards[i].mutex);
        add_numbers(&self->shards[i], out);
        pthread_mutex_unlock(&self->shards[i].mutex);
    }
    pthread_mutex_lock(&self->queue_mutex);
    out->in_flight = self->in_flight;
    out->queued = self->queue.count;
    pthread_mutex_unlock(&self->queue_mutex);
}

struct identities *identities_new(const struct identity_rules *rules, identity_loader loader,
                                  void *loader_ctx)
{
    void *memory = NULL;
    int failed = posix_memalign(&memory, 64, sizeof(struct identities));
    assert(failed == 0 && rules->max_in_flight > 0);
    struct identities *self = memory;
    *self = (struct identities){.rules = {.ask_deadline_ms = rules->ask_deadline_ms,
                                          .retry_min_ms = rules->retry_min_ms,
                                          .retry_max_ms = rules->retry_max_ms,
                                          .max_in_flight = rules->max_in_flight,
                                          .may_ask = rules->may_ask,
                                          .may_ask_ctx = rules->may_ask_ctx},
                                .loader = loader,
                                .loader_ctx = loader_ctx,
                                .now_ms = INT64_MIN};
    identities_set_ages(self, rules);
    pthread_mutex_init(&self->queue_mutex, NULL);
    for (size_t i = 0; i < IDENTITY_SHARDS; i++)
        pthread_mutex_init(&self->shards[i].mutex, NULL);
    return self;
}

static void free_shard(struct identity_shard *shard)
{
    struct table_entry *link;
    while ((link = table_next(&shard->entries, NULL)) != NULL) {
        identities_free_load(entry_of(link)->load);
        remove_entry(entry_of(link));
    }
    table_dispose(&shard->entries);
    pthread_mutex_destroy(&shard->mutex);
}

void identities_free(struct identities *self)
{
    if (self == NULL)
        return;
    for (size_t i = 0; i < IDENTITY_SHARDS; i++)
        free_shard(&self->shards[i]);
    identity_queue_dispose(&self->queue);
    pthread_mutex_destroy(&self->queue_mutex);
    free(self);
}
