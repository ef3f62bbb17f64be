/* SPDX-License-Identifier: Apache-2.0
 *
 * Refresh tokens in use. The store keeps the hash of the current one; whoever comes with an ancestor has its secret, from
 * which the current one's follows. So a token is walked to the end of its chain without the lock, and then judged
 * under it. A rotation is one put for all who ask meanwhile, and none of them waits for a slow store for long: the token
 * that they came with goes on being good. */
#include <assert.h>

#include "sessions_ask.h"

/* With the lock: the grant that the question is about; NULL: there is none. An app's has no refresh tokens. */
static struct session *grant_of(struct session_ask *ask, struct shard *shard)
{
    struct session *grant = session_find(shard, STORE_GRANT, ask->id);
    bool matches = grant != NULL && grant->record.app[0] == '\0' && grant->record.chain.begun &&
                   strcmp(grant->record.cluster, ask->cluster) == 0;
    return matches ? grant : NULL;
}

/* Whether the token, walked forward, is the current one. A generation that is too far away is not walked to: it is
 * judged by its number alone, which the tag proves. */
static bool walk(const struct seal_keys *keys, const struct session_chain *seen,
                 struct refresh_token *token)
{
    uint8_t hash[SHA256_SIZE];
    if (token->generation > seen->generation)
        return false;
    if (seen->generation - token->generation > CHAIN_REMEMBERED)
        return true;
    while (token->generation < seen->generation)
        refresh_token_next(keys, token, token);
    refresh_token_hash(token, hash);
    return crypto_equal(hash, seen->secret_hash, sizeof(hash));
}

static struct session_change rotation_of(const struct session_ask *ask,
                                         const struct seal_keys *keys,
                                         const struct refresh_token *current)
{
    struct session_change change = {
        .kind = CHANGE_ROTATION, .now_ms = ask->now_ms, .loop = ask->loop};
    struct refresh_token next;
    refresh_token_next(keys, current, &next);
    refresh_token_hash(&next, change.secret_hash);
    refresh_token_write(keys, REFRESH_TOKEN, &next, change.token);
    explicit_bzero(&next, sizeof(next));
    return change;
}

struct judging {
    struct session_ask *ask;
    struct shard *shard;
    bool due;                       /* the token is the current one, and to be replaced */
    struct session_change rotation; /* then: by this */
    struct session_write *write;    /* it, to be sent */
    struct ended_list ended;
};

/* With the lock; false: the question waits, else its answer is set. */
static bool judge(struct judging *judging, struct session *grant)
{
    struct session_ask *ask = judging->ask;
    struct sessions *self = ask->self;
    struct session_chain *chain = &grant->record.chain;
    int64_t idle_ms = self->limits.kubeconfig_idle_ms;
    enum chain_place place = chain_place_of(chain, ask->token.generation, idle_ms, ask->now_ms);
    ask->answer.state = session_judge(self, grant, ask->now_ms);
    if (ask->answer.state != SESSION_LIVE)
        return true;
    if (place == CHAIN_SPENT) {
        session_unlink(judging->shard, grant, SESSION_TOKEN_REUSED, &judging->ended);
        ask->answer.state = SESSION_UNKNOWN;
        ask->answer.reused = true;
        return true;
    }
    grant->record.last_used_ms = ask->now_ms;
    if (place == CHAIN_CURRENT)
        chain_note_use(chain, ask->now_ms);
    if (judging->due && !grant->renewing) {
        grant->renewing = true;
        judging->write = session_change(self, grant, &judging->rotation);
    }
    if (grant->renewing) {
        ask_wait(ask, grant);
        return false;
    }
    ask_grant(ask, grant, ask->current);
    return true;
}

/* The second look; false: the chain went on since the first, so that the token must be walked further. */
static bool settle(struct judging *judging, uint32_t seen_generation)
{
    struct session_ask *ask = judging->ask;
    bool answered = true;
    ended_list_init(&judging->ended, ask->now_ms);
    pthread_mutex_lock(&judging->shard->mutex);
    struct session *grant = grant_of(ask, judging->shard);
    bool moved = grant != NULL && grant->record.chain.generation != seen_generation;
    if (grant == NULL)
        ask->answer.state = SESSION_UNKNOWN;
    else if (!moved)
        answered = judge(judging, grant);
    pthread_mutex_unlock(&judging->shard->mutex);
    if (moved)
        return false;
    sessions_finish(ask->self, ask->loop, &judging->ended, NULL);
    if (answered)
        ask_answer(ask);
    else
        ask_limit(ask);
    sessions_send_writes(judging->write, ask->loop);
    return true;
}

/* The first look, and what takes cryptography between both; false as above. */
static bool look(struct session_ask *ask, const struct seal_keys *keys,
                 struct refresh_token *current)
{
    struct judging judging = {.ask = ask, .shard = sessions_shard(ask->self, ask->id)};
    struct session_chain seen = {0};
    pthread_mutex_lock(&judging.shard->mutex);
    const struct session *grant = grant_of(ask, judging.shard);
    if (grant != NULL)
        seen = grant->record.chain;
    pthread_mutex_unlock(&judging.shard->mutex);
    if (grant == NULL || !walk(keys, &seen, current)) {
        ask_refuse(ask, SESSION_UNKNOWN);
        return true;
    }
    judging.due = ask->token.generation == seen.generation &&
                  chain_is_due(&seen, ask->self->limits.kubeconfig_idle_ms, ask->now_ms);
    refresh_token_write(keys, REFRESH_TOKEN, current, ask->current);
    if (judging.due)
        judging.rotation = rotation_of(ask, keys, current);
    bool settled = settle(&judging, seen.generation);
    session_change_dispose(&judging.rotation);
    return settled;
}

void sessions_refresh(struct sessions *self, struct loop *loop,
                      const struct session_presented *presented, int64_t now_ms,
                      session_refresh_cb cb, void *ctx)
{
    struct session_ask *ask = ask_new(self, loop, now_ms, cb, ctx);
    const struct seal_keys *keys = self->seal_keys;
    if (!refresh_token_read(keys, REFRESH_TOKEN, presented->token, &ask->token) ||
        !session_text(ask->cluster, sizeof(ask->cluster), presented->cluster)) {
        ask_refuse(ask, SESSION_UNKNOWN);
        return;
    }
    session_id_text(ask->token.session, ask->id);
    memcpy(ask->came_with, presented->token.base, REFRESH_TOKEN_LEN);
    struct refresh_token current = ask->token;
    while (!look(ask, keys, &current))
        ; /* somebody else rotated it between the looks: at most once in minutes */
    explicit_bzero(&current, sizeof(current));
}
