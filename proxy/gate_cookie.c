/* SPDX-License-Identifier: Apache-2.0
 *
 * See gate_cookie.h. */
#include "gate_cookie.h"

#include <assert.h>
#include <ctype.h>

#include "base/json.h"
#include "base/text.h"
#include "http/web.h"
#include "token/ticket.h"

#define BEGIN_PURPOSE   "postern begin at an app"
#define SESSION_PURPOSE "postern session at an app"
#define NAME_CHARS      8  /* of begin, in the cookie's name */
#define SECRET_BYTES    16 /* what proves that begin was ours */
#define LOOK_AT         32 /* begin cookies of one request */
#define CLOCK_STEP_MS   60000
#define MAX_LEN         4096

/* ---- sealing ---- */

static h2o_iovec_t seal_object(h2o_mem_pool_t *pool, const struct seal_keys *keys,
                               const char *purpose, const struct json *object)
{
    h2o_iovec_t plain;
    struct json_writer *writer = json_writer_new(pool);
    json_put_tree(writer, object);
    bool good = json_writer_end(writer, &plain, NULL);
    assert(good); /* names, base64url, and paths of visible ASCII */
    h2o_iovec_t sealed = seal(pool, keys, purpose, plain);
    return base64url_encode(pool, sealed.base, sealed.len);
}

/* An object that we sealed for that purpose and for this app. */
static bool open_object(const struct gate_cookies *self, const char *purpose, h2o_iovec_t cookie,
                        struct json **out)
{
    h2o_mem_pool_t *pool = &self->req->pool;
    h2o_iovec_t sealed, plain, app;
    return cookie.base != NULL && cookie.len <= MAX_LEN &&
           base64url_decode(pool, cookie, &sealed) &&
           unseal(pool, self->keys, purpose, sealed, &plain) &&
           json_parse(pool, plain, NULL, out, NULL) && json_string(*out, "app", &app, NULL) &&
           iovec_equal(app, self->app->name);
}

static void drop(h2o_req_t *req, const char *name)
{
    web_set_cookie(req, name, h2o_iovec_init("", 0), 0);
}

/* ---- while the browser is away ---- */

static const char *begin_name(h2o_mem_pool_t *pool, const char *begin)
{
    return text_format(pool, GATE_BEGIN_COOKIE "%.*s", NAME_CHARS, begin);
}

struct survey {
    h2o_mem_pool_t *pool;
    const char *names[LOOK_AT];
    size_t count;
};

/* What else begins with our prefix is not from us, and perhaps can't even be named in a Set-Cookie. */
static void on_begin_cookie(void *ctx, h2o_iovec_t name, h2o_iovec_t value)
{
    struct survey *self = ctx;
    size_t prefix = strlen(GATE_BEGIN_COOKIE);
    (void)value;
    if (name.len != prefix + NAME_CHARS || self->count == LOOK_AT)
        return;
    for (size_t i = prefix; i < name.len; i++)
        if (!isalnum((unsigned char)name.base[i]) && name.base[i] != '-' && name.base[i] != '_')
            return;
    self->names[self->count++] = text_dup_iovec(self->pool, name);
}

/* Browsers send the oldest first (RFC 6265 5.4), so tabs that were opened last still get where they were to go. */
static void make_room(h2o_req_t *req)
{
    struct survey survey = {.pool = &req->pool};
    web_cookies_each(req, GATE_BEGIN_COOKIE, on_begin_cookie, &survey);
    for (size_t i = 0; i + GATE_BEGIN_MOST <= survey.count; i++)
        drop(req, survey.names[i]);
}

const char *gate_begin_give(const struct gate_cookies *self, const char *return_to, int64_t now_ms)
{
    h2o_mem_pool_t *pool = &self->req->pool;
    uint8_t random[SECRET_BYTES];
    crypto_random(random, sizeof(random));
    h2o_iovec_t secret = base64url_encode(pool, random, sizeof(random));
    const char *begin = ticket_begin(pool, secret);
    struct json *object = json_new_object(pool);
    json_add_string(pool, object, "app", self->app->name);
    json_add_string(pool, object, "secret", secret.base);
    json_add_string(pool, object, "return_to", return_to);
    json_add_int(pool, object, "made", now_ms);
    make_room(self->req);
    web_set_cookie(self->req, begin_name(pool, begin),
                   seal_object(pool, self->keys, BEGIN_PURPOSE, object), GATE_BEGIN_MS / 1000);
    return begin;
}

bool gate_begin_take(const struct gate_cookies *self, const char *begin, int64_t now_ms,
                     const char **return_to)
{
    h2o_mem_pool_t *pool = &self->req->pool;
    const char *name = begin_name(pool, begin);
    struct json *object;
    h2o_iovec_t secret, path;
    int64_t made_ms;
    if (!open_object(self, BEGIN_PURPOSE, web_cookie(self->req, name), &object) ||
        !json_string(object, "secret", &secret, NULL) ||
        !json_string(object, "return_to", &path, NULL) || !json_int(object, "made", &made_ms, NULL))
        return false;
    if (!crypto_equal_iovec(iovec_of(ticket_begin(pool, secret)), iovec_of(begin)) ||
        made_ms <= now_ms - GATE_BEGIN_MS || made_ms > now_ms + CLOCK_STEP_MS)
        return false;
    drop(self->req, name);
    *return_to = path.base;
    return true;
}

/* ---- while it is signed in ---- */

static const char *session_name(const struct gate_cookies *self)
{
    return text_format(&self->req->pool, GATE_APP_COOKIE "%s", self->app->name);
}

void gate_session_give(const struct gate_cookies *self, const char *grant_id)
{
    h2o_mem_pool_t *pool = &self->req->pool;
    struct json *object = json_new_object(pool);
    json_add_string(pool, object, "app", self->app->name);
    json_add_string(pool, object, "session", grant_id);
    web_set_cookie(self->req, session_name(self),
                   seal_object(pool, self->keys, SESSION_PURPOSE, object), -1);
}

bool gate_session_find(const struct gate_cookies *self, char out[SESSION_ID_SIZE])
{
    struct json *object;
    h2o_iovec_t id;
    if (!open_object(self, SESSION_PURPOSE, web_cookie(self->req, session_name(self)), &object) ||
        !json_string(object, "session", &id, NULL) || id.len >= SESSION_ID_SIZE)
        return false;
    memcpy(out, id.base, id.len + 1);
    return true;
}

void gate_session_drop(const struct gate_cookies *self)
{
    const char *name = session_name(self);
    if (web_cookie(self->req, name).base != NULL)
        drop(self->req, name);
}
