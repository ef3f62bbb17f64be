/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of sessions, shared by sessions.c (look-ups), sessions_add.c, sessions_write.c
 * (what changes) and sessions_end.c. A shard's lock covers everything that belongs to its users; it is never held
 * while the store, a callback or cryptography is at work. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "cache/sessions.h"
#include "session_codec.h"
#include "table.h"
#include "token/refresh.h"

struct user {                 /* a user that has sessions */
    struct table_entry entry; /* by uid */
    h2o_linklist_t logins;    /* struct session.siblings */
    size_t count;             /* logins and grants, without pending ones */
    char uid[SESSION_UID_SIZE];
};

struct session {
    struct table_entry entry; /* by id */
    h2o_linklist_t siblings; /* a login among its user's logins, a grant among its login's grants */
    struct user *user;
    struct session *login;  /* of a grant; NULL for a login */
    h2o_linklist_t grants;  /* of a login */
    h2o_linklist_t pending; /* of a login: grants whose code waits; no sessions for anybody yet */
    struct session_notes *notes; /* of a login; NULL: none */
    struct session_record record;
    /* the store's side */
    uint64_t version;       /* of the stored record */
    int64_t stored_used_ms; /* last_used_ms as it is stored */
    bool writing;           /* a put is on its way: at most one, so that versions never conflict */
    bool unwritten; /* the store failed to take new tokens, or has it sealed with former keys */
    h2o_linklist_t waiting; /* struct session_write.link, which wait for that put */
    bool renewing;          /* a rotation or a redemption is under way, or waits for that put */
    h2o_linklist_t asks;    /* struct session_ask.link, which wait for what comes of it */
    /* when it has left the table */
    struct session *next_ended;
    enum session_end reason;
};

struct session_notes { /* newest first */
    struct session_note all[SESSION_NOTES];
    size_t count;
};

struct shard {
    pthread_mutex_t mutex;
    struct table by_id;         /* struct session */
    struct table users;         /* struct user */
    size_t logins, pending;     /* how many of by_id are logins, and pending grants */
    size_t apps;                /* and grants of apps */
} __attribute__((aligned(64))); /* no two shards' locks in one cache line */

struct ending; /* somebody who waits for deletes */
struct deletion {
    struct sessions *self;
    struct loop *loop;
    struct deletion *next;
    enum store_kind kind;
    char id[SESSION_ID_SIZE];
    struct ending *ending; /* waits for the first try; NULL: nobody does */
};

struct sessions {
    struct live_limits { /* struct session_limits, which a reload may change at any time */
        _Atomic int64_t idle_ms, kubeconfig_idle_ms, lifetime_ms;
        _Atomic int per_user;
    } limits;
    struct store *store;                       /* borrowed */
    const struct seal_keys *_Atomic seal_keys; /* borrowed */
    atomic_bool closed;                        /* no new login enters */
    atomic_uint epoch;                         /* how often it was closed */
    session_ended_cb ended;
    void *ended_ctx;
    int64_t answer_within_ms; /* how long a refresh waits for a rotation */
    struct shard shards[SESSION_SHARDS];
    /* deletes that the store refused: nothing may bring an ended session back after a restart */
    pthread_mutex_t retry_mutex; /* covers the following */
    struct deletion *retries;
    size_t retry_count;
    bool retry_timer_runs; /* on the loop that started it */
    int64_t retry_delay_ms;
    struct loop_timer retry_timer;
};

/* ---- sessions.c ---- */
/* Takes the record over; not in the table yet. */
struct session *session_new(struct session_record *record);
void session_free(struct session *self);
/* All of these want the shard's lock. */
void session_link(struct sessions *self, struct shard *shard, struct session *session,
                  struct session *login);
struct session *session_find(struct shard *shard, enum store_kind kind, const char *id);
/* The same, but a pending grant too. */
struct session *session_find_any(struct shard *shard, enum store_kind kind, const char *id);
bool session_is_pending(const struct session *session);
struct user *sessions_user(struct shard *shard, const char *uid); /* NULL: has no sessions */
/* Of a grant that was pending until its record was changed just now. */
void session_link_redeemed(struct shard *shard, struct session *session);
/* A login counts while it or a grant below it is live. */
bool session_login_is_live(const struct sessions *self, const struct session *login,
                           int64_t now_ms);
int64_t session_ends_ms(const struct sessions *self, const struct session *session);
enum session_state session_judge(const struct sessions *self, const struct session *session,
                                 int64_t now_ms);
/* Of a login: when it or a grant below it was used last. */
int64_t session_used_ms(const struct session *session);
void session_login_out(const struct sessions *self, const struct session *session,
                       struct session_login *out);
void session_grant_out(const struct sessions *self, const struct session *session,
                       struct session_grant *out);
/* No lock; NULL for what can't be an id of ours. */
struct shard *sessions_shard(struct sessions *self, const char *id);

/* ---- sessions_end.c ---- */
struct
    ended_list { /* sessions that left the table under the lock; a login stands before its grants */
    struct session *first, **tail;
    size_t count;
    int64_t now_ms; /* when they left; for notes */
};
void ended_list_init(struct ended_list *self, int64_t now_ms);
/* With the lock: takes a session, and what is below it, out of the table. */
void session_unlink(struct shard *shard, struct session *session, enum session_end reason,
                    struct ended_list *ended);
/* With the lock: ends what of the user is past its limits, then the least recently used ones beyond
 * per_user, but never keep and its login. */
void session_limit_user(struct sessions *self, struct shard *shard, struct session *keep,
                        int64_t now_ms, struct ended_list *ended);
/* With the lock: makes room for one more pending grant below the login. */
void session_limit_pending(struct shard *shard, struct session *login, struct ended_list *ended);
/* Without the lock: deletes them from the store, tells, frees. ending (may be NULL) waits for the deletes. */
void sessions_finish(struct sessions *self, struct loop *loop, struct ended_list *ended,
                     struct ending *ending);

/* ---- sessions_delete.c ---- */
/* Counts pending deletes on one loop; then, or at the first failure, calls cb once. NULL for no cb. */
struct ending *ending_new(session_done_cb cb, void *ctx, size_t pending);
/* Deletes the record, and goes on trying; ending may be NULL. */
void sessions_delete(struct sessions *self, struct loop *loop, const struct session_record *record,
                     struct ending *ending);
void sessions_delete_later(struct sessions *self,
                           const struct session_record *record);       /* by the next sweep */
void sessions_retry_deletes(struct sessions *self, struct loop *loop); /* all that failed, now */
void sessions_free_retries(struct sessions *self);

/* ---- sessions_write.c ---- */
enum session_change_kind {
    CHANGE_USED, /* nothing but what memory has already */
    CHANGE_TOKENS,
    CHANGE_NAME,
    CHANGE_ROTATION,
    CHANGE_REDEMPTION,
};
struct session_change { /* what a record is to become */
    enum session_change_kind kind;
    int64_t now_ms;
    struct loop *loop;  /* where the store answers */
    session_done_cb cb; /* NULL: nobody waits */
    void *ctx;
    struct provider_tokens tokens; /* owned */
    char name[SESSION_NAME_SIZE];
    uint8_t secret_hash[SHA256_SIZE];  /* of the refresh token that is the current one then */
    char token[REFRESH_TOKEN_LEN + 1]; /* that token */
};
void session_change_dispose(struct session_change *self);
struct session_write; /* a changed record on its way to the store */
/* With the lock: takes the change over. To be sent without it; NULL when it waits for the put that is on its way. */
struct session_write *session_change(struct sessions *self, struct session *session,
                                     struct session_change *change);
/* With the lock: a copy of the session for the store when its used-at time is due to be written, or its
 * tokens were not; else NULL. */
struct session_write *session_write_used(struct sessions *self, struct session *session);
/* Puts another one before it. */
struct session_write *session_write_join(struct session_write *list, struct session_write *before);
/* Without: sends the list. */
void sessions_send_writes(struct session_write *list, struct loop *loop);
/* Without: answers no to those that waited for a session that has ended. */
void sessions_refuse_waiting(h2o_linklist_t *waiting);
