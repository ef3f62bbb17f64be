/* SPDX-License-Identifier: Apache-2.0
 *
 * Sign-ins (logins) and kubeconfig sessions (grants), all in memory on every replica, behind them a store.
 * A session's limits are judged when it is read; the sweeper only tidies up. All sessions of one user live
 * in one shard, which their ids name in their first byte, so one lock covers whatever belongs together.
 *
 * Order of writes (design section 7): a sign-in commits, then enters memory, then is answered; a sign-out
 * leaves memory first, then commits, then is answered. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/crypto.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/user.h"
#include "cache/store.h"

#define SESSION_ID_SIZE   24 /* base64url of 16 bytes, and NUL: a public name, never a credential */
#define SESSION_UID_SIZE  256 /* OIDC: sub is at most 255 ASCII characters */
#define SESSION_NAME_SIZE 128

struct session_limits {
    int64_t idle_ms;            /* of a browser */
    int64_t kubeconfig_idle_ms; /* of a grant */
    int64_t lifetime_ms;        /* of a login with everything below it */
    int per_user; /* live logins and grants together; beyond, the least recently used one ends */
};

enum session_end {
    SESSION_SIGNED_OUT,
    SESSION_IDLE_TOO_LONG,
    SESSION_LIFETIME_OVER,
    SESSION_REFUSED_BY_OKTA,
    SESSION_PUSHED_OUT,   /* per_user */
    SESSION_PARENT_ENDED, /* a grant whose login ended */
    SESSION_PROVIDER_CHANGED,
    SESSION_ENDED_BY_ADMIN,
    SESSION_TOKEN_REUSED, /* a refresh token or a code came back that was spent long ago: perhaps stolen */
};
const char *session_end_name(enum session_end reason); /* snake_case, for audit lines */

/* Told once for each session that ends, on whatever thread ended it, without locks held. */
struct session_ended {
    bool is_grant;
    const char *id, *uid;
    const char *cluster; /* NULL for a login; "" for a session of an app that has none */
    const char *app;     /* of an app's session; else NULL */
    enum session_end reason;
    const struct provider_tokens *tokens; /* of a login, to be revoked; NULL for a grant */
};
typedef void (*session_ended_cb)(void *ctx, const struct session_ended *ended);

struct sessions;

/* Loads the store; seal_keys and store are borrowed. Sessions past their limits are loaded too, answer as such, and
 * are ended and told by the first sweep, which also deletes grants without a login. A record that can't be read
 * (malformed, of a newer format, sealed with another key) is refused with its name; nothing is deleted then. */
MUST_CHECK bool sessions_new(const struct session_limits *limits, struct store *store,
                             const struct seal_keys *seal_keys, int64_t now_ms,
                             session_ended_cb ended, void *ended_ctx, struct sessions **out,
                             struct error *err);
/* When the loops run no more: its callbacks and its timer are on them. */
void sessions_free(struct sessions *self);

/* ---- sign-ins ---- */
struct session_login { /* a copy; the time stamps are wall-clock milliseconds */
    char id[SESSION_ID_SIZE];
    char uid[SESSION_UID_SIZE];
    int64_t created_ms, last_used_ms;
    int64_t ends_ms;      /* when the lifetime ends it, whatever happens */
    int64_t idle_ends_ms; /* when the browser must sign in again if nothing happens */
    char address[64];     /* from where it was made */
};
struct session_login_input { /* copied */
    const char *uid;
    const struct provider_tokens *tokens;
    const char *address;
};
/* cookie: the secret value for the browser, NULL on failure (err says why); lives until the callback returns. */
typedef void (*session_login_cb)(void *ctx, const char *cookie, const struct session_login *login,
                                 const struct error *err);
void sessions_add_login(struct sessions *self, struct loop *loop,
                        const struct session_login_input *input, int64_t now_ms,
                        session_login_cb cb, void *ctx);

enum session_state {
    SESSION_LIVE,
    SESSION_UNKNOWN, /* never was, was ended, or the cookie's secret is wrong */
    SESSION_IDLE,    /* not used for too long */
    SESSION_OVER,    /* its lifetime, or its login's, is over */
};
/* Looks the browser's cookie up (secret compared in constant time) and, when live, counts as use. */
enum session_state sessions_find_login(struct sessions *self, h2o_iovec_t cookie, int64_t now_ms,
                                       struct session_login *out);

/* ---- kubeconfig sessions, and those of apps: both are grants ---- */
struct session_grant {
    char id[SESSION_ID_SIZE];
    char login_id[SESSION_ID_SIZE];
    char uid[SESSION_UID_SIZE];
    char cluster[64]; /* "": an app's that has none */
    char app[64];     /* the app's name; "": a kubeconfig session */
    char name[SESSION_NAME_SIZE];
    char address[64];
    int64_t created_ms, last_used_ms, ends_ms;
};
#define SESSION_CHALLENGE_LEN 43
#define SESSION_CODE_MS       60000 /* a code's life */
struct
    session_code { /* what a public client's authorization code is bound to (RFC 6749, RFC 7636) */
    char challenge[SESSION_CHALLENGE_LEN + 1]; /* S256: base64url of 32 bytes */
    char redirect_uri[512];                    /* compared exactly */
    char nonce[256];                           /* for the id_token; "": none */
};
#define SESSION_CODES 8      /* pending ones of a login; beyond, the oldest goes */
struct session_grant_input { /* copied */
    const char *login_id, *cluster, *name, *address;
    const struct session_code
        *code; /* NULL: usable at once. Else pending for 60 s, and no session for anybody until
                                        it is redeemed: not listed, not counted, not told when it goes */
    const char *
        app; /* NULL: a kubeconfig session. Else an app's: the cluster may be "", there is no code, and no
                        refresh token is ever made */
};
/* grant NULL: failed. credential: the refresh token, or the code of a pending grant, "" of an app's session; lives until
 * the callback returns. */
typedef void (*session_grant_cb)(void *ctx, const struct session_grant *grant,
                                 const char *credential, const struct error *err);
/* REJECTED when the login ended meanwhile. */
void sessions_add_grant(struct sessions *self, struct loop *loop,
                        const struct session_grant_input *input, int64_t now_ms,
                        session_grant_cb cb, void *ctx);
/* The hot path: judges the grant and its login; when live, counts as use. out may be NULL. */
enum session_state sessions_use_grant(struct sessions *self, const char *id, int64_t now_ms,
                                      struct session_grant *out);

/* The same without counting as use: for what is open already. */
enum session_state sessions_look_at_grant(struct sessions *self, const char *id, int64_t now_ms);

/* ---- refresh tokens and codes ---- */
struct session_refreshed {    /* everything lives until the callback returns */
    enum session_state state; /* of the grant; LIVE: the rest is set */
    bool reused; /* not LIVE: this very question has ended the grant (SESSION_TOKEN_REUSED) */
    bool
        store_failed; /* of sessions_redeem, not LIVE: the code is as good as before, or (the store was slow) spent */
    const struct session_grant *grant;
    const char *refresh_token; /* the one to go on with: the same as asked, or its successor */
    const char *nonce;         /* of sessions_redeem; "": none */
};
typedef void (*session_refresh_cb)(void *ctx, const struct session_refreshed *refreshed);
/* Judges the token, counts as use, and rotates where it is time (design section 5): at most every 5 minutes, and
 * longer with a long kubeconfig idle limit. A rotation commits before it is answered, once for all who ask meanwhile;
 * where the store fails, the token stays the current one. An ancestor gets what its own successor has become, until that
 * was first used longer ago than the kubeconfig idle limit: then it counts as reused, and the grant ends. The
 * token must be of that cluster, else it is as unknown as one that we never made. Where the store takes longer than 3 s,
 * the token is answered that was asked with, and the rotation goes on. On loop's thread; the callback runs
 * there, never before this returns. */
struct session_presented {
    h2o_iovec_t token;
    const char *cluster;
};
void sessions_refresh(struct sessions *self, struct loop *loop,
                      const struct session_presented *presented, int64_t now_ms,
                      session_refresh_cb cb, void *ctx);

struct session_redemption {
    h2o_iovec_t code, redirect_uri;
    h2o_iovec_t verifier; /* 43 to 128 characters; its S256 is compared in constant time */
    const char *cluster;
};
/* Makes a pending grant usable: a compare-and-swap, durable before it is answered. Another cluster, redirect_uri or
 * verifier: UNKNOWN, and the code stays good. Whoever redeems a code that was redeemed ends the grant (reused). Where the
 * store takes longer than 3 s, store_failed is answered: whoever asks again meanwhile may still get the session; if
 * nobody waits when the store is done, the grant ends. Never does a code give two sessions. */
void sessions_redeem(struct sessions *self, struct loop *loop,
                     const struct session_redemption *redemption, int64_t now_ms,
                     session_refresh_cb cb, void *ctx);

/* ---- lists ---- */
struct
    session_note { /* a kubeconfig session of a login that ended otherwise than by its owner's hand */
    char name[SESSION_NAME_SIZE], cluster[64], app[64];
    enum session_end reason;
    int64_t ended_ms;
};
#define SESSION_NOTES 8 /* of one login; the newest */
struct session_entry {  /* one sign-in with what is below it */
    struct session_login login;
    struct session_grant *grants; /* last used first */
    size_t grant_count;
    struct session_note notes[SESSION_NOTES]; /* newest first; in memory only */
    size_t note_count;
};
struct session_list {
    struct session_entry *entries;
    size_t count;
    size_t total; /* how many there are, entries or not */
};
/* Copies, in pool, of at most max live sign-ins of a user (uid NULL: of everybody), last used first; those of which only
 * kubeconfig sessions live are among them. */
void sessions_list(struct sessions *self, h2o_mem_pool_t *pool, const char *uid, size_t max,
                   int64_t now_ms, struct session_list *out);
/* Whose session that is, login or grant; false when there is none such. */
MUST_CHECK bool sessions_owner(struct sessions *self, const char *id, char uid[SESSION_UID_SIZE],
                               bool *is_grant);
/* Stored before it is answered; false: the grant is gone, or the store failed (the name is the old one then). */
typedef void (*session_done_cb)(void *ctx, bool written);
void sessions_rename_grant(struct sessions *self, struct loop *loop, const char *id,
                           const char *name, session_done_cb cb, void *ctx);

/* ---- ending ---- */
/* written: false when the store could not be written yet; it is tried again in the background. */
/* The login with its grants leaves memory before this returns. cb may be NULL. An unknown id is done at once (deferred). */
void sessions_end_login(struct sessions *self, struct loop *loop, const char *login_id,
                        enum session_end reason, session_done_cb cb, void *ctx);
void sessions_end_grant(struct sessions *self, struct loop *loop, const char *id,
                        enum session_end reason, session_done_cb cb, void *ctx);
/* Every login and grant of the user. */
void sessions_end_user(struct sessions *self, struct loop *loop, const char *uid,
                       enum session_end reason, session_done_cb cb, void *ctx);

/* ---- the provider's tokens of a user's logins, for the identity loader ---- */
struct session_tokens {
    char login_id[SESSION_ID_SIZE];
    struct provider_tokens tokens; /* copies; the caller disposes */
};
/* At most max live logins of the user, most recently used first; returns how many were written. */
size_t sessions_tokens(struct sessions *self, const char *uid, int64_t now_ms,
                       struct session_tokens *out, size_t max);
/* Replaces a login's tokens in the store, then in memory, then answers; false: the login ended, or the store failed.
 * In the latter case memory has the new ones all the same, since the provider may have voided the old ones, and a
 * sweep writes them. */
void sessions_put_tokens(struct sessions *self, struct loop *loop, const char *login_id,
                         const struct provider_tokens *tokens, session_done_cb cb, void *ctx);
/* The tokens of one login, for the hint at sign-out; false when it is not known. The caller disposes. */
MUST_CHECK bool sessions_login_tokens(struct sessions *self, const char *login_id,
                                      struct provider_tokens *out);

/* ---- reload; from any thread ---- */
/* From now on these count, for the sessions that there are too. */
void sessions_set_limits(struct sessions *self, const struct session_limits *limits);
/* What is written from now on is sealed with these, and all that is stored by the next sweeps. The former keys must
 * live on. */
void sessions_set_seal_keys(struct sessions *self, const struct seal_keys *seal_keys);
/* Ends all sessions, on loop's thread, and lets none in until sessions_open, not even one that is on its way to
 * the store. */
void sessions_close(struct sessions *self, struct loop *loop, enum session_end reason);
void sessions_open(struct sessions *self);

/* ---- upkeep ---- */
/* Ends what is past its limits, writes used-at times whose stored ones are older than a quarter of the idle limit,
 * and tries again what the store refused; to be called every minute or so. */
void sessions_sweep(struct sessions *self, struct loop *loop, int64_t now_ms);
struct session_counts {
    size_t logins;
    size_t grants; /* kubeconfig sessions */
    size_t apps;   /* sessions of apps */
};
void sessions_count(struct sessions *self, struct session_counts *out);
