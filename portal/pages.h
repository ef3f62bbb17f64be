/* SPDX-License-Identifier: Apache-2.0
 *
 * What all pages share: the model that the layout needs, the headers, and pages that say what went wrong.
 * A page is a template of portal/pages and a model (struct json) made in the request's pool. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "assets.h"
#include "base/json.h"
#include "base/text.h"
#include "cache/identities.h"

struct portal_icons;
struct page_frame {   /* the same for every page; shared by all threads */
    const char *site; /* config portal.title */
    struct assets assets;
    const struct portal_icons *icons; /* of the config's apps */
};

/* ---- models ---- */
/* The model that head.html and foot.html need; title is the page's own. */
struct json *page_new(h2o_mem_pool_t *pool, const struct page_frame *frame, const char *title,
                      int64_t now_ms);
/* By what a person knows themselves best: e-mail address, name, username, Okta user id. Borrowed. */
const char *page_person_name(const struct identity *identity);
/* Who is signed in, for the header. */
void page_add_person(h2o_mem_pool_t *pool, struct json *model, const struct identity *identity);
/* {iso, exact, text}: for <time>. */
void page_add_time(h2o_mem_pool_t *pool, struct json *model, const char *key, int64_t when_ms,
                   int64_t now_ms);
/* "groups", and "any_group" and "many" as they apply. */
void page_add_groups(h2o_mem_pool_t *pool, struct json *model, const char *const *groups,
                     size_t count);

/* False: the template is broken (a bug, told in err). */
MUST_CHECK bool page_render(const char *template_name, const struct json *model, struct text *out,
                            struct error *err);

/* ---- answers ---- */
/* On every answer, pages or not. */
void page_add_headers(h2o_req_t *req);
void page_send(h2o_req_t *req, int status, const char *template_name, const struct json *model);
/* The same with one more origin that a form of this page may post to. */
void page_send_with_form_to(h2o_req_t *req, const char *template_name, const struct json *model,
                            const char *origin);

/* What happened, and what to do about it. Strings are for people; NULL leaves a part out. */
struct trouble {
    int status;
    const char *title;         /* a short sentence: what happened */
    const char *what;          /* the same in whole sentences */
    const char *todo;          /* what to do */
    const char *quote;         /* somebody else's words: shown as such, cut */
    const char *const *groups; /* Okta groups that the text speaks of */
    size_t group_count;
    const char *action, *href; /* the next step's button: its label, and a local path */
};
/* A page, or application/problem+json for those who want JSON. */
void page_trouble(const struct page_frame *frame, h2o_req_t *req, const struct trouble *trouble);
/* The page of a trouble, without sending it. */
struct json *page_trouble_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                                const struct trouble *trouble, const char *request_id);
