/* SPDX-License-Identifier: Apache-2.0
 *
 * The person's own sessions: every sign-in with the kubeconfig sessions and apps below it, to name and to end, and what is
 * open through the proxy by them. What is somebody else's is as unknown here as what never was. */
#include "handlers.h"

#include "base/clock.h"
#include "base/text.h"
#include "http/web.h"
#include "later.h"
#include "visit.h"
#include "words.h"

#define MOST_ENTRIES                                                                               \
    64 /* more than config allows one user in practice; the rest is told as a number */

struct change { /* in the request's pool: what a form asks for */
    struct visit *visit;
    const char *id;
    const char *name;
};

#define MOST_STREAMS 50 /* shown on one page; the rest is told as a number */

/* ---- the page ---- */

static const char *why_ended(h2o_mem_pool_t *pool, const struct config *config,
                             enum session_end reason)
{
    switch (reason) {
    case SESSION_TOKEN_REUSED:
        return "a refresh token that was spent long ago came back, so somebody may have a copy of "
               "that kubeconfig. Make a new one, and remove the old file";
    case SESSION_ENDED_BY_ADMIN:
        return "an administrator ended it";
    case SESSION_PUSHED_OUT:
        return text_format(pool, "it made room for a newer one, as there may be %d at a time",
                           config->portal.session_per_user);
    case SESSION_IDLE_TOO_LONG:
        return text_format(pool, "it was not used for %s",
                           words_duration(pool, config->portal.session_kubeconfig_idle_ms));
    default:
        return "it ended";
    }
}

/* What a person knows it by: the name that they gave it, or the app and its cluster. */
static const char *title_of(h2o_mem_pool_t *pool, const struct session_grant *grant)
{
    if (grant->app[0] == '\0' || grant->cluster[0] == '\0')
        return grant->name;
    return text_format(pool, "%s on %s", grant->name, grant->cluster);
}

static void add_grants(h2o_mem_pool_t *pool, struct json *entry, const struct session_entry *from,
                       int64_t now_ms)
{
    struct json *list = json_add_array(pool, entry, "grants");
    for (size_t i = 0; i < from->grant_count; i++) {
        const struct session_grant *grant = &from->grants[i];
        struct json *row = json_push_object(pool, list);
        json_add_string(pool, row, "id", grant->id);
        json_add_string(pool, row, "name", grant->name);
        json_add_string(pool, row, "title", title_of(pool, grant));
        json_add_string(pool, row, "cluster", grant->cluster);
        json_add_bool(pool, row, "is_app", grant->app[0] != '\0');
        json_add_string(pool, row, "address", grant->address);
        page_add_time(pool, row, "created", grant->created_ms, now_ms);
        page_add_time(pool, row, "used", grant->last_used_ms, now_ms);
    }
    json_add_bool(pool, entry, "any_grant", from->grant_count > 0);
}

static void add_notes(h2o_mem_pool_t *pool, struct json *entry, const struct config *config,
                      const struct session_entry *from, int64_t now_ms)
{
    struct json *list = json_add_array(pool, entry, "notes");
    for (size_t i = 0; i < from->note_count; i++) {
        const struct session_note *note = &from->notes[i];
        struct json *row = json_push_object(pool, list);
        json_add_string(pool, row, "name", note->name);
        json_add_string(pool, row, "why", why_ended(pool, config, note->reason));
        json_add_bool(pool, row, "grave", note->reason == SESSION_TOKEN_REUSED);
        page_add_time(pool, row, "ended", note->ended_ms, now_ms);
    }
}

static const char *title_of_id(h2o_mem_pool_t *pool, const struct session_entry *entry,
                               const char *grant_id)
{
    for (size_t i = 0; grant_id != NULL && i < entry->grant_count; i++)
        if (strcmp(entry->grants[i].id, grant_id) == 0)
            return title_of(pool, &entry->grants[i]);
    return NULL; /* it ended just now */
}

static void add_streams(h2o_mem_pool_t *pool, struct json *entry, const struct session_entry *from,
                        const struct sessions_streams *streams, int64_t now_ms)
{
    struct json *list = json_add_array(pool, entry, "streams");
    for (size_t i = 0; i < streams->count; i++) {
        const struct portal_stream *stream = &streams->all[i];
        struct json *row = json_push_object(pool, list);
        json_add_string(pool, row, "what", stream->what);
        json_add_string(pool, row, "method", stream->method);
        json_add_string(pool, row, "path", stream->path);
        json_add_string(pool, row, "by", title_of_id(pool, from, stream->grant_id));
        json_add_string(pool, row, "bytes", words_bytes(pool, stream->bytes));
        page_add_time(pool, row, "since", stream->since_ms, now_ms);
    }
    sessions_add_stream_count(pool, entry, streams->total);
    if (streams->total > streams->count && streams->count > 0)
        json_add_string(
            pool, entry, "more_streams",
            text_format(pool, "%zu more are not shown.", streams->total - streams->count));
}

void sessions_add_stream_count(h2o_mem_pool_t *pool, struct json *entry, size_t total)
{
    json_add_bool(pool, entry, "any_stream", total > 0);
    json_add_string(pool, entry, "stream_count", words_count(pool, (int64_t)total, "open request"));
}

void sessions_add_entry(h2o_mem_pool_t *pool, struct json *entry, const struct config *config,
                        const struct session_entry *from, int64_t now_ms)
{
    json_add_string(pool, entry, "login", from->login.id);
    json_add_string(pool, entry, "from", from->login.address);
    page_add_time(pool, entry, "signed_in", from->login.created_ms, now_ms);
    page_add_time(pool, entry, "last_used", from->login.last_used_ms, now_ms);
    page_add_time(pool, entry, "over", from->login.ends_ms, now_ms);
    add_grants(pool, entry, from, now_ms);
    add_notes(pool, entry, config, from, now_ms);
}

struct json *sessions_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                            const struct config *config, const struct identity *identity,
                            const struct sessions_seen *seen)
{
    struct json *model = page_new(pool, frame, "Sessions", seen->now_ms);
    page_add_person(pool, model, identity);
    json_add_bool(pool, model, "at_sessions", true);
    json_add_bool(pool, model, "is_admin", seen->is_admin);
    json_add_string(pool, model, "kubeconfig_idle",
                    words_duration(pool, config->portal.session_kubeconfig_idle_ms));
    struct json *list = json_add_array(pool, model, "entries");
    for (size_t i = 0; i < seen->count; i++) {
        struct json *entry = json_push_object(pool, list);
        json_add_bool(pool, entry, "here", strcmp(seen->entries[i].login.id, seen->own_id) == 0);
        sessions_add_entry(pool, entry, config, &seen->entries[i], seen->now_ms);
        if (seen->streams != NULL)
            add_streams(pool, entry, &seen->entries[i], &seen->streams[i], seen->now_ms);
    }
    json_add_bool(pool, model, "several", seen->count > 1);
    return model;
}

/* What is open below each of the sign-ins, MOST_STREAMS together. */
static const struct sessions_streams *find_streams(const struct portal_parts *parts,
                                                   h2o_mem_pool_t *pool,
                                                   const struct session_list *list)
{
    size_t room = MOST_STREAMS;
    if (parts->streams == NULL)
        return NULL;
    struct sessions_streams *out = h2o_mem_alloc_pool(pool, (list->count + 1) * sizeof(*out));
    for (size_t i = 0; i < list->count; i++) {
        struct portal_stream *all = h2o_mem_alloc_pool(pool, (room + 1) * sizeof(*all));
        size_t total =
            parts->streams(parts->streams_ctx, pool, list->entries[i].login.id, all, room);
        out[i] = (struct sessions_streams){all, total < room ? total : room, total};
        room -= out[i].count;
    }
    return out;
}

static void show(struct visit *visit)
{
    const struct portal_parts *parts = &visit->portal->parts;
    h2o_mem_pool_t *pool = &visit->req->pool;
    struct session_list list;
    struct sessions_seen seen = {
        .own_id = visit->login.id, .is_admin = visit_is_admin(visit), .now_ms = visit->now_ms};
    sessions_list(parts->sessions, pool, visit->login.uid, MOST_ENTRIES, visit->now_ms, &list);
    seen.entries = list.entries;
    seen.count = list.count;
    seen.streams = find_streams(parts, pool, &list);
    visit_send(visit, "sessions.html",
               sessions_model(pool, &visit->portal->frame, parts->config, visit->identity, &seen));
}

int sessions_page(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)rest;
    return visit_start(ctx, req, show, NULL);
}

/* ---- changes ---- */

static void gone(struct visit *visit)
{
    page_trouble(&visit->portal->frame, visit->req,
                 &(struct trouble){.status = 404,
                                   .title = "There is no such session of yours",
                                   .what = "It may have ended meanwhile.",
                                   .todo = "The list shows those that there are.",
                                   .action = "Your sessions",
                                   .href = "/sessions"});
}

static void on_changed(void *ctx, bool written)
{
    struct portal *portal;
    struct change *change = later_end(ctx, &portal);
    if (change == NULL)
        return;
    if (written) {
        web_redirect(change->visit->req, "/sessions");
        return;
    }
    page_trouble(&portal->frame, change->visit->req,
                 &(struct trouble){.status = 503,
                                   .title = "Not saved yet",
                                   .what = "Postern could not write that down. A session that was "
                                           "to end has ended; a new name is not kept.",
                                   .todo = "Look at your sessions again in a moment.",
                                   .action = "Your sessions",
                                   .href = "/sessions"});
}

/* The form's session, if it is one of this person's. */
static struct change *read_change(struct visit *visit, bool *is_grant)
{
    struct web_form form;
    char uid[SESSION_UID_SIZE];
    if (!visit_form(visit, &form))
        return NULL;
    h2o_iovec_t id = web_form_value(&form, "id"), name = web_form_value(&form, "name");
    if (id.base == NULL || !sessions_owner(visit->portal->parts.sessions, id.base, uid, is_grant) ||
        strcmp(uid, visit->login.uid) != 0) {
        gone(visit);
        return NULL;
    }
    struct change *change = h2o_mem_alloc_pool(&visit->req->pool, sizeof(*change));
    *change = (struct change){visit, id.base, name.base};
    return change;
}

static void end_one(struct visit *visit)
{
    bool is_grant;
    struct change *change = read_change(visit, &is_grant);
    if (change == NULL)
        return;
    struct sessions *sessions = visit->portal->parts.sessions;
    struct loop *loop = web_loop(visit->req);
    struct later *later = later_new(visit->portal, visit->req, change);
    if (is_grant)
        sessions_end_grant(sessions, loop, change->id, SESSION_SIGNED_OUT, on_changed, later);
    else
        sessions_end_login(sessions, loop, change->id, SESSION_SIGNED_OUT, on_changed, later);
}

int sessions_end(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)rest;
    return visit_from_us(ctx, req) ? visit_start(ctx, req, end_one, NULL) : 0;
}

static void rename_one(struct visit *visit)
{
    bool is_grant;
    struct change *change = read_change(visit, &is_grant);
    if (change == NULL)
        return;
    if (!is_grant || change->name == NULL) {
        gone(visit);
        return;
    }
    if (!token_name_fits(iovec_of(change->name))) {
        page_trouble(&visit->portal->frame, visit->req,
                     &(struct trouble){.status = 400,
                                       .title = "That name does not fit",
                                       .what = text_format(&visit->req->pool,
                                                           "A name has at most %d bytes, and no "
                                                           "control characters.",
                                                           SESSION_NAME_SIZE - 1),
                                       .action = "Your sessions",
                                       .href = "/sessions"});
        return;
    }
    sessions_rename_grant(visit->portal->parts.sessions, web_loop(visit->req), change->id,
                          change->name, on_changed, later_new(visit->portal, visit->req, change));
}

int sessions_rename(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)rest;
    return visit_from_us(ctx, req) ? visit_start(ctx, req, rename_one, NULL) : 0;
}

/* ---- staying ---- */

/* The visit itself was the use; the page's script wants to know until when that holds. */
static void stay(struct visit *visit)
{
    char text[CLOCK_RFC3339_SIZE];
    if (!web_wants_json(visit->req)) {
        web_redirect(visit->req, "/");
        return;
    }
    struct json_writer *writer = json_writer_new(&visit->req->pool);
    json_begin_object(writer);
    json_key(writer, "idle_ends");
    json_put_string(writer, clock_rfc3339(visit->login.idle_ends_ms, text));
    json_key(writer, "ends");
    json_put_string(writer, clock_rfc3339(visit->login.ends_ms, text));
    json_end_object(writer);
    web_send_json(visit->req, 200, writer);
}

int sessions_stay(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)rest;
    return visit_from_us(ctx, req) ? visit_start(ctx, req, stay, NULL) : 0;
}
