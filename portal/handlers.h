/* SPDX-License-Identifier: Apache-2.0
 *
 * One handler for each address (portal.c's table). ctx is the struct portal; all return 0. Beside them what
 * their pages show, as pure functions, so that tests and previews need no request. */
#pragma once

#include "cache/sessions.h"
#include "commands.h"
#include "device_requests.h"
#include "state.h"

int sign_in_begin(void *ctx, h2o_req_t *req, h2o_iovec_t rest);  /* GET /login */
int sign_in_finish(void *ctx, h2o_req_t *req, h2o_iovec_t rest); /* GET /auth/oidc */
int sign_out(void *ctx, h2o_req_t *req, h2o_iovec_t rest);       /* POST /logout */
int home(void *ctx, h2o_req_t *req, h2o_iovec_t rest);           /* GET / */
int profile(void *ctx, h2o_req_t *req, h2o_iovec_t rest);        /* GET /profile */
int token_make(void *ctx, h2o_req_t *req, h2o_iovec_t cluster);  /* POST /tokens/<cluster> */
int kubeconfig_send(void *ctx, h2o_req_t *req,
                    h2o_iovec_t cluster);                       /* POST /kubeconfig/<cluster> */
int device_ask(void *ctx, h2o_req_t *req, h2o_iovec_t rest);    /* GET /device */
int device_show(void *ctx, h2o_req_t *req, h2o_iovec_t rest);   /* POST /device */
int device_decide(void *ctx, h2o_req_t *req, h2o_iovec_t rest); /* POST /device/approve */
int device_authorization(void *ctx, h2o_req_t *req,
                         h2o_iovec_t rest);                        /* POST /device_authorization */
int issuer_discovery(void *ctx, h2o_req_t *req, h2o_iovec_t rest); /* issuer_is_discovery's GETs */
int issuer_token(void *ctx, h2o_req_t *req, h2o_iovec_t rest);     /* POST /token */
int issuer_userinfo(void *ctx, h2o_req_t *req, h2o_iovec_t rest);  /* GET, POST /userinfo */
int issuer_revoke(void *ctx, h2o_req_t *req, h2o_iovec_t rest);    /* POST /revoke */
int sessions_page(void *ctx, h2o_req_t *req, h2o_iovec_t rest);    /* GET /sessions */
int sessions_end(void *ctx, h2o_req_t *req, h2o_iovec_t rest);     /* POST /sessions/end */
int sessions_rename(void *ctx, h2o_req_t *req, h2o_iovec_t rest);  /* POST /sessions/name */
int sessions_stay(void *ctx, h2o_req_t *req, h2o_iovec_t rest);    /* POST /sessions/stay */
int admin_sessions(void *ctx, h2o_req_t *req, h2o_iovec_t rest);   /* GET /admin/sessions */
int admin_end(void *ctx, h2o_req_t *req, h2o_iovec_t rest);        /* POST /admin/sessions/end */
int authorize_show(void *ctx, h2o_req_t *req, h2o_iovec_t rest);   /* GET /authorize */
int authorize_answer(void *ctx, h2o_req_t *req, h2o_iovec_t rest); /* POST /authorize */
int app_enter(void *ctx, h2o_req_t *req, h2o_iovec_t rest);        /* GET /apps/enter */
int keys_show(void *ctx, h2o_req_t *req, h2o_iovec_t rest);        /* GET /keys */

/* ---- what pages show ---- */
struct json *home_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                        const struct config *config, const struct identity *identity,
                        int64_t now_ms);
struct json *profile_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                           const struct config *config, const struct identity *identity,
                           const struct session_login *login, int64_t now_ms);

struct sessions_streams { /* what is open of one sign-in */
    const struct portal_stream *all;
    size_t count; /* of all */
    size_t total; /* there are so many */
};
struct sessions_seen {
    const struct session_entry *entries; /* this person's */
    size_t count;
    const struct sessions_streams *streams; /* one for each entry; NULL: there is no proxy */
    const char *own_id;                     /* the sign-in of this browser */
    bool is_admin;
    int64_t now_ms;
};
struct json *sessions_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                            const struct config *config, const struct identity *identity,
                            const struct sessions_seen *seen);
/* One sign-in with what is below it, into entry. */
void sessions_add_entry(h2o_mem_pool_t *pool, struct json *entry, const struct config *config,
                        const struct session_entry *from, int64_t now_ms);

/* How many requests of it are open. */
void sessions_add_stream_count(h2o_mem_pool_t *pool, struct json *entry, size_t total);

/* Whether a kubeconfig session may be called that: short enough, without control characters. */
bool token_name_fits(h2o_iovec_t name);

struct token_made { /* lives until the answer is sent */
    const struct config_cluster *cluster;
    const char *api_ca, *portal_ca;    /* PEM; NULL: trusted anyway */
    const struct session_grant *grant; /* NULL: none was made, and there are no tokens */
    h2o_iovec_t id_token;
    const char *refresh_token;
    int64_t made_ms;
    int64_t expires_ms; /* of id_token */
};
struct json *token_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                         const struct config *config, const struct identity *identity,
                         const struct token_made *made, bool windows);
/* What commands and files are made of. Borrows. */
struct command_facts token_facts(const struct config *config, const struct identity *identity,
                                 const struct token_made *made);

/* user_code: what the form is filled in with; NULL: nothing. */
struct json *device_ask_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                              const struct identity *identity, const char *user_code);
struct device_view { /* what the person judges by */
    const struct device_request *request;
    const char *user_code;    /* as we show it */
    const char *here;         /* the address of the person's browser */
    int64_t began_ms, now_ms; /* wall */
};
struct json *device_show_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                               const struct identity *identity, const struct device_view *view);
struct json *device_done_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                               const struct identity *identity,
                               const struct device_request *request, bool approved);

struct okta_sign_out { /* the form that ends Okta's session too; action NULL: none is offered */
    const char *action;
    const char *origin; /* of action */
    const char *hint;   /* the last id_token */
    const char *back;
    const char *host;
};
struct json *sign_out_model(h2o_mem_pool_t *pool, const struct page_frame *frame, bool written,
                            const struct okta_sign_out *okta);
/* "https://host[:port]" of such an URL; NULL for another one, or one with odd characters in it. */
const char *sign_out_origin(h2o_mem_pool_t *pool, const char *url);

struct authorize_request;
struct authorize_asked {
    const struct authorize_request *request;
    const char *session_name; /* what is proposed */
    int64_t ends_ms;          /* of the sign-in */
    int64_t now_ms;
};
struct json *authorize_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                             const struct config *config, const struct identity *identity,
                             const struct authorize_asked *asked);

/* ---- tokens.c, for its two pages, and for others that give a cluster ---- */
struct visit;
/* Says why this person may not use that cluster, and what would change it. */
void token_refuse_cluster(struct visit *visit, const struct config_cluster *cluster);
typedef void (*token_answer)(const struct visit *visit, const struct token_made *made);
/* Makes the session and its first token, and calls answer; or answers itself where that can't be. A file is asked for
 * only where the cluster has an address; with style=exec, made has neither session nor tokens. Always 0. */
int token_start(struct portal *portal, h2o_req_t *req, h2o_iovec_t cluster, bool is_file,
                token_answer answer);
