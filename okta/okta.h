/* SPDX-License-Identifier: Apache-2.0
 *
 * The OIDC client towards Okta: discovery, keys, authorize URL, code exchange, id_token, userinfo,
 * refresh, revoke. All its state lives on one loop (its home), so it needs no locks: the functions below
 * may be called on any loop, hand the question to the home loop, and bring the result back as a callback
 * on the loop that asked. Each question ends within its deadline (10 s). */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/config.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/user.h"
#include "http/fetch.h"

struct okta;
struct okta_call; /* a question in flight */

/* config and the others are borrowed and outlive it. redirect_uri is <portal.url>/auth/oidc. Discovery is
 * loaded at once in the background, tried again every 5 to 60 s until it worked, and refreshed daily. Fails
 * when the client secret can't be read. */
MUST_CHECK bool okta_new(const struct config *config, const char *redirect_uri,
                         struct fetcher *fetcher, struct loop *home, struct metrics *metrics,
                         struct okta **out, struct error *err);
/* Reads and judges what okta_new would, without network, for `check`. */
MUST_CHECK bool okta_check(const struct config *config, struct error *err);
void okta_free(struct okta *self); /* after the home loop has stopped */

/* ---- reload ---- */
struct okta_settings; /* what okta_new would read of another config and its files */
MUST_CHECK bool okta_settings_load(const struct config *config, struct okta_settings **out,
                                   struct error *err);
/* With another config that says the same and lives longer. */
void okta_settings_use(struct okta_settings *self, const struct config *config);
void okta_settings_free(struct okta_settings *self); /* accepts NULL */
/* On the home loop: takes the settings over; their config is borrowed and outlives self. */
void okta_renew(struct okta *self, struct okta_settings *settings);
/* On the home loop, before a renewal that changes the issuer or the client: what is under way ends as OKTA_UNKNOWN,
 * as does what is asked until then, and no code or token that belongs to the old provider reaches the new one.
 * What was answered before is on its way to the asker's loop still. */
void okta_close(struct okta *self);

/* What an answer means (design section 6, "what counts as a no"; judged by HTTP status first). */
enum okta_answer {
    OKTA_OK,
    OKTA_NO, /* a definite no: 400 invalid_grant, user_not_assigned, 401 no_matching_policy at the token endpoint;
                       a callback that does not verify */
    OKTA_TOKEN_OLD, /* userinfo 401: the access token is not good any more; a refresh may help */
    OKTA_UNKNOWN, /* don't know: 401 invalid_client, 403, 429, 5xx, time-out, too many groups, malformed, no discovery */
};

struct okta_result {
    enum okta_answer answer;
    struct error error; /* why, where the answer is not OKTA_OK; fit for a log and a page */
    const char *
        code; /* Okta's error code or a word of ours ("timeout", "invalid_grant"); never NULL but on OK */
    const char *url; /* of okta_authorize_url */
    const struct user_claims
        *claims; /* of okta_sign_in and okta_userinfo; of okta_refresh with oidc.user_in_idtoken */
    struct provider_tokens
        *tokens; /* of okta_sign_in and okta_refresh; the callback may take the secrets out */
    int64_t asked_mono_ms; /* when the question for the claims was sent */
    int64_t asked_wall_ms;
};
/* Everything in result lives until the callback returns. Runs exactly once, or never after okta_cancel. */
typedef void (*okta_cb)(void *ctx, struct okta_result *result);

/* On the asking loop, before the callback ran. The question itself goes on to its end; the tokens of a sign-in
 * that nobody takes are given back to Okta. Don't cancel a refresh whose tokens you need: a rotated refresh
 * token would be lost. */
void okta_cancel(struct okta_call *call);

struct okta_authorize { /* strings are copied */
    const char *state;
    const char *nonce;
    const char *code_challenge; /* S256 */
};
/* Waits for discovery if it must (one try, then OKTA_UNKNOWN), then builds the URL. */
struct okta_call *okta_authorize_url(struct okta *self, struct loop *asker,
                                     const struct okta_authorize *params, okta_cb cb, void *ctx);

struct okta_callback { /* strings are copied */
    h2o_iovec_t code;
    const char *code_verifier;
    const char *nonce;
    int64_t begun_wall_ms; /* the attempt's begin, for oidc.force_authentication */
};
/* Exchanges the code, verifies the id_token (D13-D17), asks userinfo (sub must match), but with
 * oidc.user_in_idtoken, where the id_token says it all and a refresh token must come along. */
struct okta_call *okta_sign_in(struct okta *self, struct loop *asker,
                               const struct okta_callback *params, okta_cb cb, void *ctx);
struct okta_call *okta_userinfo(struct okta *self, struct loop *asker, h2o_iovec_t access_token,
                                const char *expected_sub, okta_cb cb, void *ctx);
/* tokens has access_token, its expiry, and refresh_token (the old one where Okta sent no new one); a new
 * id_token, where there is one, is verified and must have the same sub, else the answer is OKTA_UNKNOWN. Where
 * there is none, or its key can't be had now, id_token is empty: keep the one you have.
 * With oidc.user_in_idtoken the claims come from that new id_token (OIDC Core 12.2). Where it says nothing the answer
 * is OKTA_UNKNOWN, and tokens is set all the same: keep them, the ones you have may be void. */
struct okta_call *okta_refresh(struct okta *self, struct loop *asker, h2o_iovec_t refresh_token,
                               const char *expected_sub, okta_cb cb, void *ctx);
/* Revokes at Okta (RFC 7009). cb may be NULL, asker too then: it is tried up to 3 times, a failure is one log
 * line, and NULL is returned. */
struct okta_call *okta_revoke(struct okta *self, struct loop *asker, h2o_iovec_t refresh_token,
                              okta_cb cb, void *ctx);

/* oidc.user_in_idtoken: identities are asked for by okta_refresh, and okta_userinfo is not for use. From any thread. */
bool okta_user_in_idtoken(const struct okta *self);
/* Whether a question about an identity may be asked now, by the budget that Okta's rate limit leaves, and
 * counts it. urgent: somebody waits for the answer. From any thread; never blocks. */
bool okta_may_ask(struct okta *self, bool urgent);

/* ---- what the portal and /readyz say; from any thread ---- */
struct okta_status {
    bool discovered;
    char error[240];                 /* the last failure of discovery or keys; "" when none */
    char end_session_endpoint[1024]; /* "" where there is none */
    char host[256];                  /* of the issuer, for "You will be sent to …" */
};
void okta_status(struct okta *self, struct okta_status *out);
