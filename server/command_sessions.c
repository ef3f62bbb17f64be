/* SPDX-License-Identifier: Apache-2.0
 *
 * `sessions list` and `sessions end`: asks the running process by its control socket. Where none runs, it opens the
 * store itself, which a process elsewhere that holds it does not allow. */
#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "commands.h"
#include "control.h"
#include "http/web.h"
#include "parts.h"
#include "serve.h"
#include "server.h"

#define ID_CHARACTERS   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#define ID_LEN          22 /* base64url of 16 bytes */
#define NO_SUCH_SESSION "There is no such session."

struct asking { /* one command's way to the sessions */
    const struct config *config;
    h2o_mem_pool_t pool;
    bool offline;
    /* offline: */
    struct store *store;
    struct seal_keys *keys;
    struct loop *loop;
    struct control control;
    /* either way: */
    bool unwritten; /* something has ended, and the store would not have it */
};

/* ---- without a process ---- */

static void on_session_ended(void *ctx, const struct session_ended *ended)
{
    (void)ctx;
    serve_audit_ended(ended); /* Okta's tokens stay good there: nobody is asked */
}

static bool open_store(struct asking *self, struct error *err)
{
    const struct config *config = self->config;
    struct session_limits limits = server_session_limits(config);
    if (config->store.kind != STORE_SQLITE)
        return error_set(err, ERROR_UPSTREAM,
                         "no Postern runs that can be asked, and its sessions are in its memory");
    if (access(config->store.path, R_OK | W_OK) != 0) /* never made by us */
        return error_set(err, ERROR_UPSTREAM, "%s: %m", config->store.path);
    self->loop = loop_new();
    return parts_seal_keys(config, &self->keys, err) && parts_store(config, &self->store, err) &&
           sessions_new(&limits, self->store, self->keys, clock_wall_ms(), on_session_ended, self,
                        &self->control.sessions, err);
}

static void close_store(struct asking *self)
{
    if (self->store != NULL)
        store_free(self->store);
    loop_free(self->loop);
    sessions_free(self->control.sessions);
    seal_keys_free(self->keys);
}

static void on_ended(void *ctx, bool written)
{
    struct asking *self = ctx;
    self->unwritten = self->unwritten || !written;
    loop_stop(self->loop);
}

static bool end_offline(struct asking *self, struct control_target *target, struct error *err)
{
    char uid[SESSION_UID_SIZE];
    if (!control_find(&self->control, target, uid))
        return error_set(err, ERROR_REJECTED, NO_SUCH_SESSION);
    control_end(&self->control, self->loop, target, getuid(), on_ended, self);
    loop_run(self->loop);
    return true;
}

static bool list_offline(struct asking *self, const char *user, h2o_iovec_t *out, struct error *err)
{
    return json_writer_end(control_list(&self->control, &self->pool, user), out, err);
}

/* ---- by the socket ---- */

static bool judge_answer(struct asking *self, int status, h2o_iovec_t body, struct error *err)
{
    struct json *problem;
    h2o_iovec_t detail = iovec_of("");
    if (status == 200)
        return true;
    if (!json_parse(&self->pool, body, NULL, &problem, err) ||
        !json_optional_string(problem, "detail", &detail, err))
        return false;
    return error_set(err, status == 404 ? ERROR_REJECTED : ERROR_UPSTREAM, "%s", detail.base);
}

static bool ask(struct asking *self, const char *method, const char *target, h2o_iovec_t *body,
                struct error *err)
{
    int fd;
    struct control_answer answer;
    bool none_runs;
    if (!control_connect(self->config->operations.control_socket, &fd, &none_runs, err))
        return false;
    bool good = control_ask(&self->pool, fd, method, target, &answer, err) &&
                judge_answer(self, answer.status, answer.body, err);
    close(fd);
    if (good)
        *body = answer.body;
    return good;
}

static bool ask_to_end(struct asking *self, const char *target, struct error *err)
{
    h2o_iovec_t body;
    struct json *answer;
    if (!ask(self, "DELETE", target, &body, err) ||
        !json_parse(&self->pool, body, NULL, &answer, err))
        return false;
    const struct json *written = json_member(answer, "written");
    bool is_written = written != NULL && written->type == JSON_BOOL && written->boolean;
    self->unwritten = self->unwritten || !is_written;
    return true;
}

static const char *target_of_user(struct asking *self, const char *user)
{
    struct text form;
    text_init(&form, &self->pool);
    if (user == NULL)
        return "/sessions";
    web_form_add(&form, "user", iovec_of(user));
    return text_format(&self->pool, "/sessions?%s", form.bytes);
}

/* ---- either way ---- */

static bool begin(struct asking *self, const struct config *config, struct error *err)
{
    const char *path = config->operations.control_socket;
    int fd;
    *self = (struct asking){.config = config, .offline = true};
    h2o_mem_init_pool(&self->pool);
    if (path == NULL || *path == '\0')
        return open_store(self, err);
    if (control_connect(path, &fd, &self->offline, err)) {
        close(fd);
        return true;
    }
    return self->offline && open_store(self, err);
}

static int finish(struct asking *self, bool good, const struct error *err)
{
    if (self->offline)
        close_store(self);
    h2o_mem_clear_pool(&self->pool);
    if (!good)
        fprintf(stderr, "postern: %s\n", err->text);
    return good ? 0 : 1;
}

static bool list(struct asking *self, const char *user, h2o_iovec_t *out, struct error *err)
{
    return self->offline ? list_offline(self, user, out, err)
                         : ask(self, "GET", target_of_user(self, user), out, err);
}

static bool end_user(struct asking *self, const char *uid, struct error *err)
{
    struct control_target target = {.uid = uid};
    return self->offline ? end_offline(self, &target, err)
                         : ask_to_end(self, target_of_user(self, uid), err);
}

bool command_is_session_id(const char *word)
{
    return strlen(word) == ID_LEN && strspn(word, ID_CHARACTERS) == ID_LEN;
}

static bool end_one(struct asking *self, const char *id, struct error *err)
{
    struct control_target target = {.id = id};
    if (!command_is_session_id(id))
        return error_set(err, ERROR_REJECTED, NO_SUCH_SESSION); /* and no path of ours */
    if (self->offline)
        return end_offline(self, &target, err);
    return ask_to_end(self, text_format(&self->pool, "/sessions/%s", id), err);
}

struct listed {
    const struct json *sign_ins;
    bool cut; /* there are more */
};

static bool parse_list(struct asking *self, h2o_iovec_t body, struct listed *out, struct error *err)
{
    const struct json_limits limits = {SIZE_MAX, 8, SIZE_MAX};
    struct json *answer;
    int64_t total;
    if (!json_parse(&self->pool, body, &limits, &answer, err) ||
        !json_int(answer, "total", &total, err))
        return false;
    const struct json *sign_ins = json_member(answer, "sign_ins");
    if (sign_ins == NULL)
        return error_set(err, ERROR_UPSTREAM, "the answer is no list");
    *out = (struct listed){sign_ins, sign_ins->count > 0 && (size_t)total > sign_ins->count};
    return true;
}

static bool end_listed(struct asking *self, const struct json *sign_ins, struct error *err)
{
    h2o_iovec_t uid;
    assert(sign_ins != NULL); /* parse_list was content */
    for (const struct json *one = sign_ins->first; one != NULL; one = one->next) {
        if (!json_string(one, "uid", &uid, err))
            return false;
        if (!end_user(self, uid.base, err) && err->kind != ERROR_REJECTED)
            return false; /* REJECTED: it was ended with another sign-in of the same person */
    }
    return true;
}

/* Everybody who is in the list has all sessions ended; who signs in meanwhile stays. A list holds CONTROL_LIST_MAX. */
static bool end_all(struct asking *self, struct error *err)
{
    h2o_iovec_t body = {NULL, 0};
    struct listed listed = {NULL, false};
    do {
        if (!list(self, NULL, &body, err) || !parse_list(self, body, &listed, err) ||
            !end_listed(self, listed.sign_ins, err))
            return false;
    } while (listed.cut);
    return true;
}

/* ---- the table ---- */

/* Names are what people typed, perhaps to play with a terminal: plain ASCII only. */
static const char *plain(struct asking *self, const struct json *of, const char *key)
{
    h2o_iovec_t value = {NULL, 0};
    struct error err;
    if (!json_optional_string(of, key, &value, &err) || value.len == 0)
        return "-";
    char *made = text_dup_iovec(&self->pool, value);
    for (char *c = made; *c != '\0'; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    return made;
}

static void print_row(struct asking *self, const struct json *session, const struct json *sign_in)
{
    const char *kind = session == sign_in                    ? "sign-in"
                       : json_member(session, "app") != NULL ? "app"
                                                             : "kubeconfig";
    printf("%-24s  %-10s  %-24s  %-24s  %-16s  %-24s  %-20s  %-20s  %-20s  %s\n",
           plain(self, session, "id"), kind, plain(self, sign_in, "uid"),
           plain(self, sign_in, "user"), plain(self, session, "cluster"),
           plain(self, session, "name"), plain(self, session, "created"),
           plain(self, session, "last_used"), plain(self, session, "ends"),
           plain(self, session, "address"));
}

static void print_table(struct asking *self, const struct json *sign_ins)
{
    printf("%-24s  %-10s  %-24s  %-24s  %-16s  %-24s  %-20s  %-20s  %-20s  %s\n", "ID", "KIND",
           "UID", "USER", "CLUSTER", "NAME", "CREATED", "LAST USED", "ENDS", "FROM");
    for (const struct json *one = sign_ins->first; one != NULL; one = one->next) {
        const struct json *below = json_member(one, "kubeconfig_sessions");
        print_row(self, one, one);
        for (const struct json *at = below != NULL ? below->first : NULL; at != NULL; at = at->next)
            print_row(self, at, one);
    }
}

/* ---- the commands ---- */

int command_sessions_list(const struct config *config, const struct command_input *input)
{
    struct asking self;
    struct error err;
    h2o_iovec_t body = {NULL, 0};
    struct listed listed = {NULL, false};
    bool good = begin(&self, config, &err) && list(&self, input->user, &body, &err) &&
                parse_list(&self, body, &listed, &err);
    if (good && input->json)
        printf("%.*s\n", (int)body.len, body.base);
    else if (good)
        print_table(&self, listed.sign_ins);
    return finish(&self, good, &err);
}

int command_sessions_end(const struct config *config, const struct command_input *input)
{
    struct asking self;
    struct error err;
    if ((input->operand != NULL) + (input->user != NULL) + input->all != 1) {
        fputs("postern: say what ends: ID, --user UID or --all\n", stderr);
        return 2;
    }
    bool good = begin(&self, config, &err);
    if (good && input->all)
        good = end_all(&self, &err);
    else if (good)
        good = input->user != NULL ? end_user(&self, input->user, &err)
                                   : end_one(&self, input->operand, &err);
    if (good && self.unwritten)
        good = error_set(&err, ERROR_UPSTREAM,
                         self.offline
                             ? "the store could not be written"
                             : "ended, but not in the store yet: the running Postern tries again; "
                               "should it be restarted before it succeeds, end it once more");
    return finish(&self, good, &err);
}
