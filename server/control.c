/* SPDX-License-Identifier: Apache-2.0
 *
 * See control.h. Runs on the background loop; the command line calls the middle part itself where no process runs. */
#include "control.h"

#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/web.h"

/* ---- the list ---- */

static void put_time(struct json_writer *out, const char *key, int64_t ms)
{
    char text[CLOCK_RFC3339_SIZE];
    json_key(out, key);
    json_put_string(out, clock_rfc3339(ms, text));
}

static void put_text(struct json_writer *out, const char *key, const char *value)
{
    json_key(out, key);
    json_put_string(out, value);
}

static void put_grant(struct json_writer *out, const struct session_grant *grant)
{
    json_begin_object(out);
    put_text(out, "id", grant->id);
    put_text(out, "cluster", grant->cluster);
    if (grant->app[0] != '\0')
        put_text(out, "app", grant->app);
    put_text(out, "name", grant->name);
    put_text(out, "address", grant->address);
    put_time(out, "created", grant->created_ms);
    put_time(out, "last_used", grant->last_used_ms);
    put_time(out, "ends", grant->ends_ms);
    json_end_object(out);
}

static void put_entry(struct json_writer *out, const struct session_entry *entry, const char *user)
{
    const struct session_login *login = &entry->login;
    json_begin_object(out);
    put_text(out, "id", login->id);
    put_text(out, "uid", login->uid);
    if (user != NULL)
        put_text(out, "user", user);
    put_text(out, "address", login->address);
    put_time(out, "created", login->created_ms);
    put_time(out, "last_used", login->last_used_ms);
    put_time(out, "ends", login->ends_ms);
    json_key(out, "kubeconfig_sessions");
    json_begin_array(out);
    for (size_t i = 0; i < entry->grant_count; i++)
        put_grant(out, &entry->grants[i]);
    json_end_array(out);
    json_end_object(out);
}

static bool is_of(const struct session_entry *entry, const char *username, const char *wanted)
{
    return wanted == NULL || strcmp(entry->login.uid, wanted) == 0 ||
           (username != NULL && strcmp(username, wanted) == 0);
}

struct json_writer *control_list(const struct control *self, h2o_mem_pool_t *pool, const char *user)
{
    struct session_list list;
    struct json_writer *out = json_writer_new(pool);
    sessions_list(self->sessions, pool, user, CONTROL_LIST_MAX, clock_wall_ms(), &list);
    if (user != NULL && list.total == 0) /* no UID of anybody here: a username */
        sessions_list(self->sessions, pool, NULL, CONTROL_LIST_MAX, clock_wall_ms(), &list);
    json_begin_object(out);
    json_key(out, "total"); /* of those who were looked at */
    json_put_int(out, (int64_t)list.total);
    json_key(out, "sign_ins");
    json_begin_array(out);
    for (size_t i = 0; i < list.count; i++) {
        const struct session_entry *entry = &list.entries[i];
        const struct identity *known =
            self->identities != NULL ? identities_recall(self->identities, entry->login.uid) : NULL;
        const char *username = known != NULL ? known->username : NULL;
        if (is_of(entry, username, user))
            put_entry(out, entry, username);
        identity_unref(known);
    }
    json_end_array(out);
    json_end_object(out);
    return out;
}

/* ---- ending ---- */

bool control_find(const struct control *self, struct control_target *target,
                  char uid[SESSION_UID_SIZE])
{
    struct session_list list;
    h2o_mem_pool_t pool;
    if (target->id != NULL) {
        target->uid = uid;
        return sessions_owner(self->sessions, target->id, uid, &target->is_grant);
    }
    h2o_mem_init_pool(&pool);
    sessions_list(self->sessions, &pool, target->uid, 1, clock_wall_ms(), &list);
    h2o_mem_clear_pool(&pool);
    return list.count > 0;
}

void control_end(const struct control *self, struct loop *loop, const struct control_target *target,
                 uid_t unix_uid, session_done_cb cb, void *ctx)
{
    const enum session_end reason = SESSION_ENDED_BY_ADMIN;
    log_audit("end_ordered", LOG_STR("by", "command line"), LOG_INT("unix_uid", unix_uid),
              LOG_STR("uid", target->uid), LOG_STR("session", target->id));
    if (target->id == NULL)
        sessions_end_user(self->sessions, loop, target->uid, reason, cb, ctx);
    else if (target->is_grant)
        sessions_end_grant(self->sessions, loop, target->id, reason, cb, ctx);
    else
        sessions_end_login(self->sessions, loop, target->id, reason, cb, ctx);
}

/* ---- over HTTP ---- */

struct ending;
struct waiting { /* in the request's pool */
    struct ending *ending;
};
struct ending {     /* on the heap, until the store has answered */
    h2o_req_t *req; /* NULL: who asked has left */
    struct waiting *waiting;
};

static void on_request_gone(void *data)
{
    struct waiting *waiting = data;
    if (waiting->ending != NULL)
        waiting->ending->req = NULL;
}

static void on_ended(void *ctx, bool written)
{
    struct ending *self = ctx;
    if (self->req != NULL) {
        struct json_writer *out = json_writer_new(&self->req->pool);
        self->waiting->ending = NULL;
        json_begin_object(out);
        json_key(out, "written"); /* false: ended, but still in the store; tried again */
        json_put_bool(out, written);
        json_end_object(out);
        web_send_json(self->req, 200, out);
    }
    free(self);
}

static uid_t peer_of(h2o_req_t *req)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t size = sizeof(peer);
    int fd = h2o_socket_get_fd(req->conn->callbacks->get_socket(req->conn));
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        peer.uid = (uid_t)-1;
    return peer.uid;
}

static void end(const struct control *self, h2o_req_t *req, struct control_target *target)
{
    char uid[SESSION_UID_SIZE];
    if (!control_find(self, target, uid)) {
        web_problem(req, 404, "Not found", "There is no such session.");
        return;
    }
    struct ending *ending = h2o_mem_alloc(sizeof(*ending));
    struct waiting *waiting = h2o_mem_alloc_shared(&req->pool, sizeof(*waiting), on_request_gone);
    *ending = (struct ending){req, waiting};
    waiting->ending = ending;
    control_end(self, web_loop(req), target, peer_of(req), on_ended, ending);
}

/* The user of the query in the request's pool, NULL where there is none; false: it was answered. */
static bool read_user(h2o_req_t *req, const char **out)
{
    struct web_form form;
    struct error err;
    if (!web_form_parse(&req->pool, web_query(req), &form, &err)) {
        web_problem(req, 400, "Bad query", err.text);
        return false;
    }
    *out = web_form_value(&form, "user").base;
    return true;
}

static int on_list(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    const char *user;
    (void)rest;
    if (read_user(req, &user))
        web_send_json(req, 200, control_list(ctx, &req->pool, user));
    return 0;
}

static int on_end_user(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct control_target target = {.id = NULL};
    (void)rest;
    if (!read_user(req, &target.uid))
        return 0;
    if (target.uid != NULL)
        end(ctx, req, &target);
    else
        web_problem(req, 400, "Whose?", "Say whose sessions: ?user=UID");
    return 0;
}

static int on_end_one(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct control_target target = {.id = text_dup_iovec(&req->pool, rest)};
    end(ctx, req, &target);
    return 0;
}

static const struct web_route ROUTES[] = {
    {"GET", "/sessions", on_list},
    {"DELETE", "/sessions", on_end_user},
    {"DELETE", "/sessions/*", on_end_one},
    {NULL, NULL, NULL},
};

struct control_handler {
    h2o_handler_t super;
    struct control *control;
};

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    struct control_handler *self = (struct control_handler *)handler;
    if (atomic_load(self->control->ready))
        return web_dispatch(ROUTES, self->control, req);
    web_problem(req, 503, "Not now", "Postern starts or stops.");
    return 0;
}

void control_register(struct control *self, h2o_hostconf_t *host)
{
    h2o_pathconf_t *conf = h2o_config_register_path(host, "/", 0);
    struct control_handler *handler =
        (struct control_handler *)h2o_create_handler(conf, sizeof(*handler));
    handler->super.on_req = on_request;
    handler->control = self;
}
