/* SPDX-License-Identifier: Apache-2.0
 *
 * The way to Okta: GET /login makes an attempt (state, nonce, PKCE verifier), gives it to the browser sealed,
 * and sends it to Okta. The way back is sign_in_finish.c. */
#include "handlers.h"

#include "attempt.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/web.h"
#include "refusal.h"
#include "visit.h"

struct departure { /* in the request's pool */
    struct portal *portal;
    h2o_req_t *req;
    struct attempt attempt;
    struct okta_call *call; /* NULL unless Okta is being asked */
};

static void on_dispose(void *data)
{
    struct departure *self = data;
    if (self->call != NULL)
        okta_cancel(self->call);
}

static void on_url(void *ctx, struct okta_result *result)
{
    struct departure *self = ctx;
    self->call = NULL;
    if (result->answer == OKTA_OK) {
        attempt_give(self->req, self->portal->parts.seal_keys, &self->attempt);
        web_redirect(self->req, result->url);
        return;
    }
    struct trouble trouble;
    refusal_okta_down(&trouble);
    log_warn("sign-in can't begin", LOG_STR("reason", result->error.text),
             LOG_STR("request_id", web_request_id(self->req)));
    page_trouble(&self->portal->frame, self->req, &trouble);
}

static void depart(struct portal *portal, h2o_req_t *req, const char *return_to)
{
    struct departure *self = h2o_mem_alloc_shared(&req->pool, sizeof(*self), on_dispose);
    *self = (struct departure){.portal = portal, .req = req};
    attempt_new(return_to, clock_wall_ms(), &self->attempt);
    struct okta_authorize params = {.state = self->attempt.state,
                                    .nonce = self->attempt.nonce,
                                    .code_challenge =
                                        attempt_challenge(&req->pool, &self->attempt)};
    self->call = okta_authorize_url(portal->parts.okta, web_loop(req), &params, on_url, self);
}

/* Whether another site sent the browser here. Signing in by such a link would end the session that the
 * browser has, without anybody's wish (peers 52): a page with the button is shown instead. */
static bool is_foreign_link(h2o_req_t *req)
{
    h2o_iovec_t site = web_header(req, "sec-fetch-site");
    return site.base != NULL && !iovec_equal(site, "same-origin") && !iovec_equal(site, "none");
}

/* Two tabs that wait at the sign-in page: the second one's click finds the browser signed in, and need not
 * end what the first tab has begun. */
static bool is_signed_in_already(struct portal *portal, h2o_req_t *req)
{
    struct session_login login;
    h2o_iovec_t cookie = web_cookie(req, SESSION_COOKIE);
    return iovec_equal(web_header(req, "sec-fetch-site"), "same-origin") && cookie.base != NULL &&
           sessions_find_login(portal->parts.sessions, cookie, clock_wall_ms(), &login) ==
               SESSION_LIVE;
}

int sign_in_begin(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct portal *portal = ctx;
    struct web_form query;
    (void)rest;
    if (!web_form_parse(&req->pool, web_query(req), &query, NULL)) {
        page_trouble(&portal->frame, req,
                     &(struct trouble){.status = 400,
                                       .title = "This address is malformed",
                                       .what = "What stands behind the \"?\" can't be read.",
                                       .todo = "Begin at the home page."});
        return 0;
    }
    const char *return_to = web_return_to(&req->pool, web_form_value(&query, "return_to"));
    if (is_foreign_link(req))
        visit_offer_sign_in(portal, req, 200, NULL, return_to);
    else if (is_signed_in_already(portal, req))
        web_redirect(req, return_to != NULL ? return_to : "/");
    else
        depart(portal, req, return_to);
    return 0;
}
