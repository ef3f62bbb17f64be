/* SPDX-License-Identifier: Apache-2.0
 *
 * A request of somebody who is signed in: finds the session by its cookie and what Okta says of the person
 * now, or answers itself with the sign-in page, or with one that says why it can't. */
#pragma once

#include <h2o.h>

#include "cache/identities.h"
#include "cache/sessions.h"
#include "http/web.h"
#include "state.h"

struct visit { /* in the request's pool */
    struct portal *portal;
    h2o_req_t *req;
    struct session_login login;
    const struct identity *identity; /* never NULL when ready runs */
    int64_t now_ms;                  /* wall */
    void (*ready)(struct visit *self);
    void *detail;               /* the page's own */
    struct identity_wait *wait; /* NULL unless the identity is waited for */
    const char *return_to; /* where a sign-in leads back to; NULL: this page, where it is one */
};

/* Always 0, as handlers want it. ready runs at most once, now or later, and answers. */
int visit_start(struct portal *portal, h2o_req_t *req, void (*ready)(struct visit *self),
                void *detail);

/* The same for an act that wants to know the person's groups of now: Okta is asked first. Where it does not answer, what
 * was known counts as long as it does elsewhere. */
int visit_start_anew(struct portal *portal, h2o_req_t *req, void (*ready)(struct visit *self),
                     void *detail);

/* The same for a page whose address is more than its path, or an act that begins at such a page: return_to, of ours. */
int visit_start_at(struct portal *portal, h2o_req_t *req, const char *return_to,
                   void (*ready)(struct visit *self), void *detail);

/* Whether the person is in one of portal.admin_groups; nobody is where that is empty. */
bool visit_is_admin(const struct visit *self);
/* The body's form; without one it is empty. False: the request was answered with what is wrong. */
MUST_CHECK bool visit_form(struct visit *self, struct web_form *out);
/* The page with what the layout says about this sign-in's end. */
void visit_send(const struct visit *self, const char *template_name, struct json *model);

/* The sign-in page; notice may be NULL. return_to is a path of ours, or NULL. */
void visit_offer_sign_in(struct portal *portal, h2o_req_t *req, int status, const char *notice,
                         const char *return_to);
/* What the sign-in page shows; okta is what okta_status says. */
struct json *visit_sign_in_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                                 const struct okta_status *okta, const char *notice,
                                 const char *return_to);

/* A state-changing request of another site is answered with 403, and false comes back. */
MUST_CHECK bool visit_from_us(struct portal *portal, h2o_req_t *req);
