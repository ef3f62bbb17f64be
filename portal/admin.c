/* SPDX-License-Identifier: Apache-2.0
 *
 * Everyone's sessions, for members of portal.admin_groups: to find somebody's and to end them. Whether this is
 * an administrator is asked anew at each act, not remembered from the sign-in. */
#include "handlers.h"

#include <assert.h>

#include "base/log.h"
#include "base/text.h"
#include "http/web.h"
#include "later.h"
#include "visit.h"
#include "words.h"

#define MOST_LOOKED_AT 20000
#define MOST_SHOWN     100

struct found { /* one sign-in that fits the search */
    const struct session_entry *entry;
    const struct identity *identity; /* NULL: nothing is known of the person any more */
};

struct admin_act { /* in the request's pool */
    struct visit *visit;
    const char *back;
};

/* ---- searching ---- */

static bool holds(const char *text, const char *wanted)
{
    return text != NULL && strcasestr(text, wanted) != NULL;
}

static bool grant_fits(const struct session_grant *grant, const char *wanted)
{
    return holds(grant->name, wanted) || holds(grant->cluster, wanted) ||
           holds(grant->app, wanted) || holds(grant->address, wanted) || holds(grant->id, wanted);
}

static bool fits(const struct found *self, const char *wanted)
{
    const struct session_entry *entry = self->entry;
    assert(entry != NULL);
    bool good = wanted[0] == '\0' || holds(entry->login.uid, wanted) ||
                holds(entry->login.address, wanted) || holds(entry->login.id, wanted);
    if (!good && self->identity != NULL)
        good = holds(self->identity->username, wanted) ||
               holds(self->identity->attributes[USER_EMAIL], wanted) ||
               holds(self->identity->attributes[USER_DISPLAY_NAME], wanted);
    for (size_t i = 0; !good && i < entry->grant_count; i++)
        good = grant_fits(&entry->grants[i], wanted);
    return good;
}

/* ---- the page ---- */

static void add_found(struct visit *visit, struct json *list, const struct found *found)
{
    h2o_mem_pool_t *pool = &visit->req->pool;
    struct json *row = json_push_object(pool, list);
    const struct identity *identity = found->identity;
    json_add_string(pool, row, "uid", found->entry->login.uid);
    json_add_string(pool, row, "who",
                    identity != NULL ? page_person_name(identity) : found->entry->login.uid);
    if (identity != NULL)
        json_add_string(pool, row, "username", identity->username);
    sessions_add_entry(pool, row, visit->portal->parts.config, found->entry, visit->now_ms);
    const struct portal_parts *parts = &visit->portal->parts;
    if (parts->streams != NULL) /* what they are is nobody else's business */
        sessions_add_stream_count(
            pool, row, parts->streams(parts->streams_ctx, pool, found->entry->login.id, NULL, 0));
}

static size_t add_matches(struct visit *visit, struct json *list, const char *wanted)
{
    const struct portal_parts *parts = &visit->portal->parts;
    struct session_list all;
    size_t fitting = 0;
    sessions_list(parts->sessions, &visit->req->pool, NULL, MOST_LOOKED_AT, visit->now_ms, &all);
    for (size_t i = 0; i < all.count; i++) {
        struct found found = {&all.entries[i],
                              identities_recall(parts->identities, all.entries[i].login.uid)};
        if (fits(&found, wanted) && fitting++ < MOST_SHOWN)
            add_found(visit, list, &found);
        identity_unref(found.identity);
    }
    return fitting;
}

static void refuse(struct visit *visit)
{
    page_trouble(&visit->portal->frame, visit->req,
                 &(struct trouble){
                     .status = 403,
                     .title = "This page is for administrators",
                     .what = "Okta does not say that you are in one of the groups that may see "
                             "and end everyone's sessions.",
                     .todo = "Your own sessions are on another page.",
                     .action = "Your sessions",
                     .href = "/sessions",
                 });
}

static const char *searched(struct visit *visit)
{
    struct web_form query;
    if (!web_form_parse(&visit->req->pool, web_query(visit->req), &query, NULL))
        return "";
    h2o_iovec_t wanted = web_form_value(&query, "q");
    return wanted.base != NULL ? wanted.base : "";
}

static void show(struct visit *visit)
{
    h2o_mem_pool_t *pool = &visit->req->pool;
    if (!visit_is_admin(visit)) {
        refuse(visit);
        return;
    }
    const char *wanted = searched(visit);
    struct json *model =
        page_new(pool, &visit->portal->frame, "Everyone's sessions", visit->now_ms);
    page_add_person(pool, model, visit->identity);
    json_add_string(pool, model, "wanted", wanted);
    size_t fitting = add_matches(visit, json_add_array(pool, model, "entries"), wanted);
    json_add_string(pool, model, "found", words_count(pool, (int64_t)fitting, "sign-in"));
    if (fitting > MOST_SHOWN)
        json_add_string(
            pool, model, "cut",
            text_format(pool, "The %d used last are shown; search for more.", MOST_SHOWN));
    visit_send(visit, "admin.html", model);
}

int admin_sessions(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)rest;
    return visit_start(ctx, req, show, NULL);
}

/* ---- ending ---- */

static void on_ended(void *ctx, bool written)
{
    struct portal *portal;
    struct admin_act *act = later_end(ctx, &portal);
    if (act == NULL)
        return;
    if (written) {
        web_redirect(act->visit->req, act->back);
        return;
    }
    page_trouble(&portal->frame, act->visit->req,
                 &(struct trouble){.status = 503,
                                   .title = "Ended, but not saved yet",
                                   .what = "The session has ended here, but Postern could not "
                                           "write that down. It keeps trying; should it be "
                                           "restarted before it succeeds, end it once more.",
                                   .action = "Everyone's sessions",
                                   .href = act->back});
}

static void audit(struct visit *visit, const char *target_uid, const char *session)
{
    char address[WEB_ADDRESS_SIZE];
    web_remote_address(visit->req, address);
    log_audit("end_ordered", LOG_STR("by", "administrator"),
              LOG_STR("by_user", visit->identity->username), LOG_STR("by_uid", visit->login.uid),
              LOG_STR("uid", target_uid), LOG_STR("session", session), LOG_STR("address", address),
              LOG_STR("request_id", web_request_id(visit->req)));
}

static const char *way_back(struct visit *visit, const struct web_form *form)
{
    struct text path;
    h2o_iovec_t wanted = web_form_value(form, "q");
    text_init(&path, &visit->req->pool);
    text_add_string(&path, "/admin/sessions");
    if (wanted.len != 0) {
        text_add_string(&path, "?q=");
        web_url_encode(&path, wanted);
    }
    return path.bytes;
}

static void end_session(struct admin_act *act, const char *id)
{
    struct visit *visit = act->visit;
    struct sessions *sessions = visit->portal->parts.sessions;
    struct loop *loop = web_loop(visit->req);
    char uid[SESSION_UID_SIZE];
    bool is_grant;
    if (!sessions_owner(sessions, id, uid, &is_grant)) {
        web_redirect(visit->req, act->back); /* it has ended: what was wanted */
        return;
    }
    audit(visit, uid, id);
    struct later *later = later_new(visit->portal, visit->req, act);
    if (is_grant)
        sessions_end_grant(sessions, loop, id, SESSION_ENDED_BY_ADMIN, on_ended, later);
    else
        sessions_end_login(sessions, loop, id, SESSION_ENDED_BY_ADMIN, on_ended, later);
}

static void end(struct visit *visit)
{
    struct web_form form;
    if (!visit_is_admin(visit)) {
        refuse(visit);
        return;
    }
    if (!visit_form(visit, &form))
        return;
    h2o_iovec_t id = web_form_value(&form, "id"), uid = web_form_value(&form, "uid");
    struct admin_act *act = h2o_mem_alloc_pool(&visit->req->pool, sizeof(*act));
    *act = (struct admin_act){visit, way_back(visit, &form)};
    if (id.base != NULL) {
        end_session(act, id.base);
    } else if (uid.len != 0) {
        audit(visit, uid.base, NULL);
        sessions_end_user(visit->portal->parts.sessions, web_loop(visit->req), uid.base,
                          SESSION_ENDED_BY_ADMIN, on_ended,
                          later_new(visit->portal, visit->req, act));
    } else {
        web_redirect(visit->req, act->back);
    }
}

int admin_end(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)rest;
    return visit_from_us(ctx, req) ? visit_start_anew(ctx, req, end, NULL) : 0;
}
