/* SPDX-License-Identifier: Apache-2.0
 *
 * One handler for each address (portal.c's table). ctx is the struct portal; all return 0. Beside them what
 * their pages show, as pure functions, so that tests and previews need no request. */
#pragma once

#include "cache/sessions.h"
#include "state.h"

int sign_in_begin(void *ctx, h2o_req_t *req, h2o_iovec_t rest);  /* GET /login */
int sign_in_finish(void *ctx, h2o_req_t *req, h2o_iovec_t rest); /* GET /auth/oidc */
int sign_out(void *ctx, h2o_req_t *req, h2o_iovec_t rest);       /* POST /logout */
int home(void *ctx, h2o_req_t *req, h2o_iovec_t rest);           /* GET / */
int profile(void *ctx, h2o_req_t *req, h2o_iovec_t rest);        /* GET /profile */
int token_make(void *ctx, h2o_req_t *req, h2o_iovec_t cluster);  /* POST /tokens/<cluster> */
int keys_show(void *ctx, h2o_req_t *req, h2o_iovec_t rest);      /* GET /keys */

/* ---- what pages show ---- */
struct json *home_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                        const struct config *config, const struct identity *identity,
                        int64_t now_ms);
struct json *profile_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                           const struct config *config, const struct identity *identity,
                           const struct session_login *login, int64_t now_ms);

struct token_made {
    const struct config_cluster *cluster;
    const struct session_grant *grant;
    h2o_iovec_t id_token;
    int64_t made_ms;
    int64_t expires_ms;
};
struct json *token_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                         const struct config *config, const struct identity *identity,
                         const struct token_made *made);

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
