/* SPDX-License-Identifier: Apache-2.0
 *
 * Codes of public clients (RFC 6749 section 4.1.3, RFC 7636). A pending grant becomes a session by one put that
 * expects the pending record, so of all who redeem a code at once one succeeds; the others wait for it, and the
 * next of them ends the session again: a code that comes twice was seen by somebody else (RFC 9700 section 4.5,
 * peers 46). Nobody waits for a slow store for long; a redemption that is stored when nobody waits for it any more
 * ends its session, whose token nobody has. */
#include <assert.h>

#include "sessions_ask.h"

#define VERIFIER_MIN 43
#define VERIFIER_MAX 128

static const char unreserved[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

/* RFC 7636 section 4.6; false for what can't be a verifier. */
static bool make_challenge(h2o_iovec_t verifier, char out[SESSION_CHALLENGE_LEN + 1])
{
    h2o_mem_pool_t pool;
    uint8_t hash[SHA256_SIZE];
    if (verifier.len < VERIFIER_MIN || verifier.len > VERIFIER_MAX)
        return false;
    for (size_t i = 0; i < verifier.len; i++)
        if (memchr(unreserved, verifier.base[i], sizeof(unreserved) - 1) == NULL)
            return false;
    crypto_sha256(verifier.base, verifier.len, hash);
    h2o_mem_init_pool(&pool);
    memcpy(out, base64url_encode(&pool, hash, sizeof(hash)).base, SESSION_CHALLENGE_LEN + 1);
    h2o_mem_clear_pool(&pool);
    return true;
}

/* With the lock: the grant that this code was made for, pending or not. */
static struct session *grant_of(const struct session_ask *ask, struct shard *shard,
                                const uint8_t code_hash[SHA256_SIZE])
{
    struct session *grant = session_find_any(shard, STORE_GRANT, ask->id);
    bool matches = grant != NULL && grant->record.app[0] == '\0' &&
                   crypto_equal(grant->record.code.secret_hash, code_hash, SHA256_SIZE);
    return matches ? grant : NULL;
}

static bool may_redeem(const struct session_ask *ask, const struct session *grant)
{
    const struct session_code *bound = &grant->record.code.bound;
    return ask->now_ms < grant->record.code.expires_ms &&
           strcmp(grant->record.cluster, ask->cluster) == 0 &&
           strcmp(bound->redirect_uri, ask->redirect_uri) == 0 &&
           crypto_equal(bound->challenge, ask->challenge, SESSION_CHALLENGE_LEN) &&
           session_judge(ask->self, grant->login, ask->now_ms) != SESSION_OVER;
}

/* The refresh token of generation 0. */
static struct session_change redemption_of(const struct session_ask *ask)
{
    struct session_change change = {
        .kind = CHANGE_REDEMPTION, .now_ms = ask->now_ms, .loop = ask->loop};
    struct refresh_token first;
    refresh_token_first(ask->token.session, &first);
    refresh_token_hash(&first, change.secret_hash);
    refresh_token_write(ask->self->seal_keys, REFRESH_TOKEN, &first, change.token);
    explicit_bzero(&first, sizeof(first));
    return change;
}

struct redeeming {
    struct session_ask *ask;
    struct shard *shard;
    struct session_change redemption;
    struct session_write *write; /* it, to be sent */
    struct ended_list ended;
};

/* With the lock; false: the question waits, else its answer is set. */
static bool judge(struct redeeming *redeeming, struct session *grant)
{
    struct session_ask *ask = redeeming->ask;
    ask->answer.state = SESSION_UNKNOWN;
    if (grant == NULL)
        return true;
    if (!session_is_pending(grant)) {
        session_unlink(redeeming->shard, grant, SESSION_TOKEN_REUSED, &redeeming->ended);
        ask->answer.reused = true;
        return true;
    }
    if (!may_redeem(ask, grant))
        return true;
    memcpy(ask->nonce, grant->record.code.bound.nonce, sizeof(ask->nonce));
    if (!grant->renewing) {
        grant->renewing = true;
        redeeming->write = session_change(ask->self, grant, &redeeming->redemption);
    }
    ask_wait(ask, grant);
    return false;
}

static void redeem(struct session_ask *ask)
{
    struct redeeming redeeming = {
        .ask = ask, .shard = sessions_shard(ask->self, ask->id), .redemption = redemption_of(ask)};
    uint8_t code_hash[SHA256_SIZE];
    refresh_token_hash(&ask->token, code_hash);
    ended_list_init(&redeeming.ended, ask->now_ms);
    pthread_mutex_lock(&redeeming.shard->mutex);
    bool answered = judge(&redeeming, grant_of(ask, redeeming.shard, code_hash));
    pthread_mutex_unlock(&redeeming.shard->mutex);
    sessions_finish(ask->self, ask->loop, &redeeming.ended, NULL);
    if (answered)
        ask_answer(ask);
    else if (!loop_timer_runs(&ask->timer))
        ask_limit(ask);
    sessions_send_writes(redeeming.write, redeeming.ask->loop);
    session_change_dispose(&redeeming.redemption);
}

static void on_again(struct loop_call *call)
{
    struct session_ask *ask = H2O_STRUCT_FROM_MEMBER(struct session_ask, call, call);
    if (ask->late)
        ask_store_failed(ask);
    else
        redeem(ask);
}

void ask_redeem_again(struct session_ask *ask)
{
    ask->call.run = on_again;
    loop_post(ask->loop, &ask->call);
}

static bool read_redemption(struct session_ask *ask, const struct session_redemption *redemption)
{
    h2o_iovec_t uri = redemption->redirect_uri;
    if (!refresh_token_read(ask->self->seal_keys, AUTHORIZATION_CODE, redemption->code,
                            &ask->token))
        return false;
    session_id_text(ask->token.session, ask->id);
    bool whole = make_challenge(redemption->verifier, ask->challenge) &&
                 session_text(ask->cluster, sizeof(ask->cluster), redemption->cluster) &&
                 uri.len < sizeof(ask->redirect_uri) && memchr(uri.base, '\0', uri.len) == NULL;
    if (!whole) { /* matches none; but that a spent code came back is noticed all the same */
        ask->cluster[0] = '\0';
        return true;
    }
    memcpy(ask->redirect_uri, uri.base, uri.len);
    return true;
}

void sessions_redeem(struct sessions *self, struct loop *loop,
                     const struct session_redemption *redemption, int64_t now_ms,
                     session_refresh_cb cb, void *ctx)
{
    struct session_ask *ask = ask_new(self, loop, now_ms, cb, ctx);
    if (read_redemption(ask, redemption))
        redeem(ask);
    else
        ask_refuse(ask, SESSION_UNKNOWN);
}
