/* SPDX-License-Identifier: Apache-2.0
 *
 * Somebody who refreshes or redeems: one question, from the call to its one answer on the loop that asked. Where the
 * session's refresh token is being renewed already, the question waits in the session for what comes of it. */
#pragma once

#include "sessions_private.h"

struct session_ask {
    struct loop_call call;
    h2o_linklist_t
        link; /* in session.asks; under the shard's lock, or its session has left the table */
    struct loop_timer timer; /* while it waits */
    bool late; /* the timer has fired while it was on its way to be judged once more */
    struct sessions *self;
    struct loop *loop;
    int64_t now_ms;
    session_refresh_cb cb;
    void *ctx;
    char id[SESSION_ID_SIZE];
    char cluster[64];
    struct refresh_token token; /* wiped, as all that follows */
    char came_with[REFRESH_TOKEN_LEN + 1];
    char current[REFRESH_TOKEN_LEN + 1];
    /* of a redemption */
    char challenge[SESSION_CHALLENGE_LEN + 1]; /* what the verifier gives */
    char redirect_uri[sizeof(((struct session_code *)0)->redirect_uri)];
    /* the answer */
    struct session_refreshed answer; /* its pointers lead to the following */
    struct session_grant grant;
    char credential[REFRESH_TOKEN_LEN + 1];
    char nonce[sizeof(((struct session_code *)0)->nonce)];
};

struct session_ask *ask_new(struct sessions *self, struct loop *loop, int64_t now_ms,
                            session_refresh_cb cb, void *ctx);
/* No lock needed. What it is to answer is set; the callback runs later, on its loop. */
void ask_answer(struct session_ask *ask);
void ask_refuse(struct session_ask *ask, enum session_state state);
void ask_store_failed(struct session_ask *ask);
/* With the lock: sets what a live grant is answered. */
void ask_grant(struct session_ask *ask, const struct session *session, const char *credential);
/* With the lock: waits in the session. */
void ask_wait(struct session_ask *ask, struct session *session);
/* Without, on its loop, once it waits: for so long at most. A refresh goes on with the token that it came with then, a
 * redemption is told that the store failed. */
void ask_limit(struct session_ask *ask);

/* ---- sessions_redeem.c ---- */
/* No lock: judges once more what waited for another redemption. */
void ask_redeem_again(struct session_ask *ask);

/* ---- for sessions_write.c and sessions_end.c ---- */
/* With the lock: tells those who wait what came of the change. */
void session_answer_asks(struct sessions *self, struct session *session,
                         const struct session_change *change, bool done);
/* Without, of a session that has left the table. */
void sessions_refuse_asks(struct session *session);
