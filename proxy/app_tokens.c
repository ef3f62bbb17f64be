/* SPDX-License-Identifier: Apache-2.0
 *
 * See app_tokens.h. A table of sets as in a processor's cache: a session's id names its set, in which the least recently
 * used token gives way. What gives way is made again when it is asked for, so the bound costs time and nothing else. */
#include "app_tokens.h"

#include <pthread.h>
#include <string.h>

#include "base/secret.h"

#define SETS      1024
#define WAYS      4
#define AHEAD_MS  INT64_C(30000)
#define FORGET_MS 5000

struct slot {
    char grant_id[SESSION_ID_SIZE]; /* "": free */
    struct secret token;
    int64_t facts_ms, made_ms, renew_ms, expires_ms, used_ms;
};

struct app_tokens {
    struct set {
        pthread_mutex_t lock;
        struct slot slots[WAYS];
    } sets[SETS];
};

struct app_tokens *app_tokens_new(void)
{
    struct app_tokens *self = h2o_mem_alloc(sizeof(*self));
    memset(self, 0, sizeof(*self));
    for (size_t i = 0; i < SETS; i++)
        pthread_mutex_init(&self->sets[i].lock, NULL);
    return self;
}

static void empty(struct slot *slot)
{
    secret_dispose(&slot->token);
    *slot = (struct slot){.used_ms = 0};
}

void app_tokens_free(struct app_tokens *self)
{
    if (self == NULL)
        return;
    for (size_t i = 0; i < SETS; i++) {
        for (size_t j = 0; j < WAYS; j++)
            empty(&self->sets[i].slots[j]);
        pthread_mutex_destroy(&self->sets[i].lock);
    }
    free(self);
}

/* FNV-1a; ids are random, and nobody chooses them. */
static struct set *set_of(struct app_tokens *self, const char *grant_id)
{
    uint32_t hash = 2166136261U;
    for (; *grant_id != '\0'; grant_id++)
        hash = (hash ^ (unsigned char)*grant_id) * 16777619U;
    return &self->sets[hash % SETS];
}

static struct slot *find(struct set *set, const char *grant_id)
{
    for (size_t i = 0; i < WAYS; i++)
        if (strcmp(set->slots[i].grant_id, grant_id) == 0)
            return &set->slots[i];
    return NULL;
}

static struct slot *oldest(struct set *set)
{
    struct slot *found = &set->slots[0];
    for (size_t i = 1; i < WAYS; i++)
        if (set->slots[i].used_ms < found->used_ms)
            found = &set->slots[i];
    return found;
}

/* Tokens that are over need not wait until somebody takes their place. */
static void tidy(struct set *set, int64_t now_ms)
{
    for (size_t i = 0; i < WAYS; i++)
        if (set->slots[i].expires_ms <= now_ms)
            empty(&set->slots[i]);
}

static int64_t renew_at(const struct issued_token *made)
{
    int64_t half = (made->expires_ms - made->made_ms) / 2;
    return made->expires_ms - (half < AHEAD_MS ? half : AHEAD_MS);
}

static bool fill(struct set *set, const struct app_token_ask *ask, struct slot **out,
                 struct error *err)
{
    struct issued_token made;
    struct slot *slot = find(set, ask->grant_id);
    if (!ask->make(ask->ctx, &made, err))
        return false;
    if (slot == NULL)
        slot = oldest(set);
    empty(slot);
    secret_set(&slot->token, made.token.base, made.token.len);
    snprintf(slot->grant_id, sizeof(slot->grant_id), "%s", ask->grant_id);
    slot->facts_ms = ask->facts_ms;
    slot->made_ms = made.made_ms;
    slot->expires_ms = made.expires_ms;
    slot->renew_ms = renew_at(&made);
    *out = slot;
    return true;
}

static bool get(struct set *set, const struct app_token_ask *ask, struct slot **out,
                struct error *err)
{
    tidy(set, ask->now_ms);
    struct slot *slot = find(set, ask->grant_id);
    if ((slot == NULL || slot->facts_ms != ask->facts_ms || slot->renew_ms <= ask->now_ms) &&
        !fill(set, ask, &slot, err))
        return false;
    slot->used_ms = ask->now_ms;
    *out = slot;
    return true;
}

bool app_tokens_get(struct app_tokens *self, h2o_mem_pool_t *pool, const struct app_token_ask *ask,
                    h2o_iovec_t *out, struct error *err)
{
    struct set *set = set_of(self, ask->grant_id);
    struct slot *slot;
    pthread_mutex_lock(&set->lock);
    bool done = get(set, ask, &slot, err);
    if (done)
        *out = secret_in_pool(pool, secret_iovec(&slot->token));
    pthread_mutex_unlock(&set->lock);
    return done;
}

void app_tokens_forget(struct app_tokens *self, const char *grant_id, int64_t now_ms)
{
    struct set *set = set_of(self, grant_id);
    pthread_mutex_lock(&set->lock);
    struct slot *slot = find(set, grant_id);
    if (slot != NULL && now_ms - slot->made_ms >= FORGET_MS)
        empty(slot);
    pthread_mutex_unlock(&set->lock);
}
