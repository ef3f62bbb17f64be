/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's state on its home loop, and a question's way through it. Private to okta/.
 *
 * A struct okta_call belongs to one thread at a time, with its pool: the asker makes it and posts it to the
 * home loop; there its steps run, each ending in one of call_ask, provider_wait, keys_wait, call_finish,
 * call_fail; then it is posted back to the asker, who hears the result and frees it. A call that was
 * cancelled ends at home: its asker's loop may be gone by then. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "answers.h"
#include "base/json.h"
#include "base/secret.h"
#include "budget.h"
#include "client_auth.h"
#include "okta/okta.h"
#include "provider.h"
#include "token/jwt.h"

enum okta_endpoint {
    ENDPOINT_DISCOVERY,
    ENDPOINT_KEYS,
    ENDPOINT_EXCHANGE,
    ENDPOINT_REFRESH,
    ENDPOINT_USERINFO,
    ENDPOINT_REVOKE,
    ENDPOINTS,
};

/* Okta counts requests in buckets; these two are the ones that we fill. */
enum okta_bucket { BUCKET_TOKEN, BUCKET_USERINFO, BUCKETS };

#define DOCUMENT_TIMEOUT_MS 5000   /* of discovery and of keys, each */
#define TOKEN_ANSWER_MAX    131072 /* bytes: an id_token with many groups, and the rest */

struct loading { /* discovery and keys, one after the other; discovery.c */
    bool running;
    struct provider *provider; /* the new document while its keys are fetched */
    int64_t began_mono_ms;     /* the last try */
    int64_t failures;          /* tries in a row that failed */
    struct loop_timer timer;   /* the next try */
    h2o_linklist_t waiting;    /* okta_call.wait */
    struct fetch *fetch;       /* while running */
};

struct rekeying { /* keys anew, for a kid that we don't know; keys.c */
    bool running;
    struct fetch *fetch;   /* while running */
    int64_t began_mono_ms; /* the last one; 0: never */
    h2o_linklist_t waiting;
};

struct okta {
    const struct config *config;
    char *redirect_uri;
    struct fetcher *fetcher;
    struct loop *home;
    struct client_auth auth;     /* for the token and revocation endpoints */
    atomic_bool user_in_idtoken; /* the config's, for other threads */
    struct counter *requests[ENDPOINTS][OUTCOMES];
    struct okta_rate {
        atomic_int_fast64_t remaining; /* as the last answer said; -1: none did */
        struct budget budget;
    } rates[BUCKETS];

    pthread_mutex_t status_lock;
    struct okta_status status; /* under the lock */

    /* Changed on the home loop when the provider changes. What began under another one is not sent on. */
    atomic_uint epoch;

    /* on the home loop only */
    bool closed; /* between okta_close and okta_renew */
    struct loop_call boot;
    h2o_linklist_t calls;       /* okta_call.link: those that are at home */
    h2o_linklist_t revocations; /* of revoke.c */
    struct provider *provider;  /* NULL until the first load worked */
    struct jwks *keys;          /* set with provider */
    struct loading loading;
    struct rekeying rekeying;
    int64_t document_asked_ms[ENDPOINT_KEYS + 1]; /* by endpoint; monotonic */
};

/* ---- a question (call.c) ---- */
enum call_state { CALL_OPEN, CALL_CANCELLED, CALL_ANSWERED };

struct okta_call {
    struct loop_call hop; /* to the home loop, then back to the asker */
    struct okta *okta;
    struct loop *asker;
    okta_cb cb;
    void *ctx;
    atomic_int state;    /* enum call_state: decides between cancelling and answering */
    unsigned epoch;      /* okta's when it was asked */
    h2o_mem_pool_t pool; /* goes with the call */

    /* at home */
    h2o_linklist_t link, wait;
    void (*begin)(struct okta_call *self); /* its first step */
    void (*next)(struct okta_call *self);  /* its step after a wait */
    int64_t deadline_mono_ms;
    struct loop_timer timer; /* the deadline */
    enum okta_endpoint endpoint;
    bool asking; /* a fetch is in flight */
    int asked_timeout_ms;
    int64_t asked_mono_ms, asked_wall_ms; /* when the last request was sent */
    void (*answered)(struct okta_call *self, const struct fetch_result *result);
    void (*verified)(struct okta_call *self); /* its step after the id_token is verified */
    bool keys_asked;                          /* it has waited for new keys once */

    /* the question; strings are in pool */
    bool signing_in;
    enum fetch_lane lane;
    h2o_iovec_t credential; /* code, refresh token or access token; wiped with the pool */
    h2o_iovec_t verifier;   /* of PKCE; wiped with the pool */
    const char *state_param, *nonce, *challenge;
    int64_t begun_wall_ms;    /* of a sign-in */
    const char *expected_sub; /* of a refresh or userinfo; then the id_token's */
    h2o_iovec_t proof;        /* of our client, as it was sent last; wiped with the pool */

    /* the answer */
    struct json *id_claims; /* of the id_token, once it is verified */
    bool keeps_tokens;      /* they are the asker's even if the call fails */
    struct answer failure;
    struct provider_tokens tokens;
    struct user_claims claims;
    struct okta_result result;
};

struct call_params {
    struct loop *asker;
    okta_cb cb;
    void *ctx;
    enum fetch_lane lane;
    void (*begin)(struct okta_call *self);
};
struct okta_call *call_new(struct okta *okta, const struct call_params *params);
/* Off to the home loop; nothing may be touched afterwards. */
void call_send(struct okta_call *self);

struct ask {
    enum okta_endpoint endpoint;
    const char *url;
    struct text *form;         /* of call_form, sent with our client's proof; NULL: GET */
    h2o_iovec_t authorization; /* of a GET */
    size_t max_body;
    void (*answered)(struct okta_call *self, const struct fetch_result *result);
};
/* Sends a request; answered judges what comes, with call_judged. Where nothing comes the call fails by itself,
 * perhaps before this returns: nothing of it may be touched afterwards. */
void call_ask(struct okta_call *self, const struct ask *ask);
/* Counts what came of the request, once for each. Returns good; else the call has failed with answer. */
bool call_judged(struct okta_call *self, bool good, const struct answer *answer);
void call_fail(struct okta_call *self, const struct answer *answer);
void call_finish(struct okta_call *self); /* OKTA_OK */
/* A text for a form that is wiped with the call; longest: of all values together, before encoding. There is
 * room for our client's proof besides. */
struct text call_form(struct okta_call *self, size_t longest);
struct sent call_sent(const struct okta_call *self);
/* Ends every call that is still at home, without a word: for okta_free. */
void calls_drop(struct okta *okta);

/* ---- state of the provider (discovery.c, keys.c) ---- */
void loading_boot(struct okta *self); /* the first load, unless one runs */
/* Forgets the provider and its keys, and what was being learned of it; who waits fails. */
void loading_close(struct okta *self);
/* Goes on with next at once, or after the load that is under way or is worth a try; else the call fails. */
void provider_wait(struct okta_call *call, void (*next)(struct okta_call *call));
/* Goes on with next after the keys were fetched anew. False where that was done a short while ago. */
MUST_CHECK bool keys_wait(struct okta_call *call, void (*next)(struct okta_call *call));
/* Counts a fetch for ourselves and judges it as a document. */
bool document_good(struct okta *self, enum okta_endpoint endpoint,
                   const struct fetch_result *result, const struct error *err, struct answer *out);
struct fetch *keys_start(struct okta *self, const char *url, fetch_cb cb);
void keys_wake(h2o_linklist_t *waiting); /* every waiting call goes on with its next */

/* ---- shared bits (okta.c) ---- */
void okta_count(struct okta *self, enum okta_endpoint endpoint, enum okta_outcome outcome);
void okta_note_rate(struct okta *self, enum okta_endpoint endpoint,
                    const struct fetch_result *result);
void okta_set_trouble(struct okta *self, const char *text); /* "": none */
void okta_set_discovered(struct okta *self);

/* ---- steps that several questions share ---- */
/* Verifies tokens.id_token: sets id_claims and expected_sub, then goes on with verified, which counts; else counts, and the
 * call fails. A refresh whose id_token can't be judged, as its key can't be had, goes on without id_token and
 * id_claims. */
void id_token_verify(struct okta_call *self, void (*verified)(struct okta_call *self));
/* Asks userinfo about expected_sub with an access token; sets claims and finishes the call, or fails it. */
void userinfo_ask(struct okta_call *self, h2o_iovec_t access_token);
/* Revokes without anybody waiting for it. From any thread. */
void revoke_behind(struct okta *okta, h2o_iovec_t refresh_token);
void revocations_drop(struct okta *okta); /* for okta_free */
