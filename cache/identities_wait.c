/* SPDX-License-Identifier: Apache-2.0
 *
 * Waits for a question. A wait belongs to its loop's thread; as long as it hangs in its entry, another
 * thread may settle it (under the shard's lock) and then only posts it back. So it is freed in one of three
 * ways, all on its loop: its post arrives, its deadline passes first, or it is cancelled first. */
#include <assert.h>

#include "identities_private.h"

struct identity_wait {
    struct loop_call call;   /* brings it back to its loop */
    struct loop_timer timer; /* the deadline */
    struct identities *self;
    struct identity_shard *shard;
    struct loop *loop;
    identity_cb cb;
    void *ctx;
    int64_t deadline_ms; /* on the clock that the caller named */
    bool cancelled;      /* loop thread only: settled already, its post is on its way */
    /* covered by the shard's lock until it is settled, then the loop's */
    h2o_linklist_t link; /* in entry.waits; later in a list of settled ones */
    struct entry *entry; /* NULL: settled */
    const struct identity *facts;
    struct error error;
};

static void free_wait(struct identity_wait *wait)
{
    identity_unref(wait->facts);
    free(wait);
}

static void answer(struct identity_wait *wait)
{
    wait->cb(wait->ctx, wait->facts, &wait->error);
    free_wait(wait);
}

static void on_posted(struct loop_call *call)
{
    struct identity_wait *wait = H2O_STRUCT_FROM_MEMBER(struct identity_wait, call, call);
    loop_timer_stop(&wait->timer);
    if (wait->cancelled)
        free_wait(wait);
    else
        answer(wait);
}

/* ---- settling: with the shard's lock ---- */

static void settle(const struct identities *self, struct entry *entry, struct identity_wait *wait,
                   const struct error *refusal, int64_t now_ms)
{
    wait->entry = NULL;
    wait->facts = entry_use_facts(self, entry, now_ms);
    if (wait->facts == NULL)
        wait->error = *refusal;
}

void entry_settle_waits(const struct identities *self, struct entry *entry,
                        const struct error *refusal, int64_t now_ms, h2o_linklist_t *list)
{
    while (!h2o_linklist_is_empty(&entry->waits)) {
        struct identity_wait *wait =
            H2O_STRUCT_FROM_MEMBER(struct identity_wait, link, entry->waits.next);
        h2o_linklist_unlink(&wait->link);
        settle(self, entry, wait, refusal, now_ms);
        h2o_linklist_insert(list, &wait->link);
    }
}

void identities_post_waits(h2o_linklist_t *list)
{
    while (!h2o_linklist_is_empty(list)) {
        struct identity_wait *wait = H2O_STRUCT_FROM_MEMBER(struct identity_wait, link, list->next);
        h2o_linklist_unlink(&wait->link);
        loop_post(wait->loop, &wait->call); /* not ours from here on */
    }
}

/* Takes the wait out of its entry. False: it was settled before, its post is on its way. */
static bool leave_entry(struct identity_wait *wait, bool late)
{
    struct error refusal;
    pthread_mutex_lock(&wait->shard->mutex);
    struct entry *entry = wait->entry;
    bool in_time = entry != NULL;
    if (in_time) {
        h2o_linklist_unlink(&wait->link);
        error_set(&refusal, ERROR_UPSTREAM, "the user's groups were not to be had in time");
        if (late)
            settle(wait->self, entry, wait, &refusal, wait->deadline_ms);
        entry_drop_if_empty(entry);
    }
    pthread_mutex_unlock(&wait->shard->mutex);
    return in_time;
}

static void on_deadline(struct loop_timer *timer)
{
    struct identity_wait *wait = H2O_STRUCT_FROM_MEMBER(struct identity_wait, timer, timer);
    if (leave_entry(wait, true))
        answer(wait);
}

void identities_cancel(struct identity_wait *wait)
{
    assert(!wait->cancelled);
    loop_timer_stop(&wait->timer);
    if (leave_entry(wait, false))
        free_wait(wait);
    else
        wait->cancelled = true;
}

/* ---- waiting ---- */

/* With the shard's lock: hangs the wait into its entry, or settles it at once. */
static void join(struct identities *self, const char *uid, struct identity_wait *wait,
                 int64_t now_ms)
{
    struct error refusal;
    struct entry *entry = entry_find_or_add(wait->shard, uid, now_ms);
    if (entry == NULL) {
        error_set(&wait->error, ERROR_INTERNAL, "too many users are asked for at once");
        return;
    }
    entry->wanted_ms = now_ms;
    enum judgement judgement = entry_judge(self, entry, now_ms);
    if (judgement == ASK_FIRST) {
        wait->entry = entry;
        h2o_linklist_insert(&entry->waits, &wait->link);
    } else {
        error_set(&refusal, ERROR_UPSTREAM,
                  "the user's groups are not known, and the last question failed a moment ago");
        settle(self, entry, wait, &refusal, now_ms);
    }
    if (judgement == ASK_FIRST || judgement == ANSWER_AND_ASK)
        entry_ask(self, entry, judgement == ASK_FIRST, now_ms);
}

struct identity_wait *identities_wait(struct identities *self, struct loop *loop, const char *uid,
                                      int64_t now_mono_ms, identity_cb cb, void *ctx)
{
    struct identity_wait *wait = h2o_mem_alloc(sizeof(*wait));
    *wait = (struct identity_wait){.call.run = on_posted,
                                   .self = self,
                                   .shard = identities_shard(self, uid),
                                   .loop = loop,
                                   .cb = cb,
                                   .ctx = ctx,
                                   .deadline_ms = now_mono_ms + self->rules.ask_deadline_ms};
    identities_note_now(self, now_mono_ms);
    pthread_mutex_lock(&wait->shard->mutex);
    join(self, uid, wait, now_mono_ms);
    bool settled = wait->entry == NULL;
    pthread_mutex_unlock(&wait->shard->mutex);
    if (settled)
        loop_post(loop, &wait->call);
    else
        loop_timer_start(loop, &wait->timer, self->rules.ask_deadline_ms, on_deadline);
    identities_start_questions(self);
    return wait;
}
