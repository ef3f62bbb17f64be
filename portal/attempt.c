/* SPDX-License-Identifier: Apache-2.0
 *
 * The pending sign-in as a sealed cookie. The state in Okta's answer names the cookie by its first
 * characters and must equal the sealed one whole, so an answer counts only in the browser that asked
 * (protocols.md D1, D2); that it counts once is used.c's business. */
#include "attempt.h"

#include <assert.h>
#include <ctype.h>

#include "base/json.h"
#include "base/text.h"
#include "http/web.h"

#define PURPOSE        "postern sign-in attempt"
#define NAME_CHARS     8  /* of the state, in the cookie's name */
#define LOOK_AT        32 /* cookies of one request; more are dropped unseen */
#define CLOCK_STEP_MS  60000
#define RANDOM_BYTES   32
#define STATE_LENGTH   (ATTEMPT_SECRET_SIZE - 1)
#define MAX_COOKIE_LEN 4096

/* ---- the attempt ---- */

static void make_secret(char out[ATTEMPT_SECRET_SIZE])
{
    uint8_t bytes[RANDOM_BYTES];
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    crypto_random(bytes, sizeof(bytes));
    h2o_iovec_t text = base64url_encode(&pool, bytes, sizeof(bytes));
    assert(text.len == STATE_LENGTH);
    memcpy(out, text.base, text.len + 1);
    h2o_mem_clear_pool(&pool);
}

/* Coming back to these would begin a sign-in anew, or end in an error. */
static bool is_sign_in_page(const char *path)
{
    static const char *const pages[] = {"/login", "/logout", "/auth/"};
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        if (strncmp(path, pages[i], strlen(pages[i])) == 0)
            return true;
    return false;
}

/* It is judged on both ways: what was sealed by a former version of ours has no more trust than what comes from outside. */
static const char *return_path(h2o_mem_pool_t *pool, const char *return_to)
{
    const char *path = web_return_to(pool, iovec_of(return_to));
    return path != NULL && !is_sign_in_page(path) ? path : "/";
}

void attempt_new(const char *return_to, int64_t now_ms, struct attempt *out)
{
    bool usable =
        return_to != NULL && strlen(return_to) <= ATTEMPT_RETURN_MAX && !is_sign_in_page(return_to);
    make_secret(out->state);
    make_secret(out->nonce);
    make_secret(out->verifier);
    out->return_to = usable ? return_to : "/";
    out->created_ms = now_ms;
}

const char *attempt_challenge(h2o_mem_pool_t *pool, const struct attempt *self)
{
    uint8_t digest[SHA256_SIZE];
    crypto_sha256(self->verifier, strlen(self->verifier), digest);
    return base64url_encode(pool, digest, sizeof(digest)).base;
}

/* ---- sealing ---- */

h2o_iovec_t attempt_seal(h2o_mem_pool_t *pool, const struct seal_keys *keys,
                         const struct attempt *attempt)
{
    struct json_writer *writer = json_writer_new(pool);
    h2o_iovec_t plain;
    json_begin_object(writer);
    json_key(writer, "state");
    json_put_string(writer, attempt->state);
    json_key(writer, "nonce");
    json_put_string(writer, attempt->nonce);
    json_key(writer, "verifier");
    json_put_string(writer, attempt->verifier);
    json_key(writer, "return_to");
    json_put_string(writer, attempt->return_to);
    json_key(writer, "created");
    json_put_int(writer, attempt->created_ms);
    json_end_object(writer);
    bool good = json_writer_end(writer, &plain, NULL);
    assert(good); /* web_return_to let valid UTF-8 through only */
    h2o_iovec_t sealed = seal(pool, keys, PURPOSE, plain);
    return base64url_encode(pool, sealed.base, sealed.len);
}

static bool read_secret(const struct json *object, const char *key, char out[ATTEMPT_SECRET_SIZE])
{
    h2o_iovec_t value;
    if (!json_string(object, key, &value, NULL) || value.len != STATE_LENGTH)
        return false;
    memcpy(out, value.base, value.len + 1);
    return true;
}

bool attempt_open(h2o_mem_pool_t *pool, const struct seal_keys *keys, h2o_iovec_t cookie,
                  int64_t now_ms, struct attempt *out)
{
    h2o_iovec_t sealed, plain, return_to;
    struct json *object;
    struct attempt found;
    if (cookie.len > MAX_COOKIE_LEN || !base64url_decode(pool, cookie, &sealed) ||
        !unseal(pool, keys, PURPOSE, sealed, &plain) ||
        !json_parse(pool, plain, NULL, &object, NULL))
        return false;
    if (!read_secret(object, "state", found.state) || !read_secret(object, "nonce", found.nonce) ||
        !read_secret(object, "verifier", found.verifier) ||
        !json_string(object, "return_to", &return_to, NULL) ||
        !json_int(object, "created", &found.created_ms, NULL))
        return false;
    if (found.created_ms < now_ms - ATTEMPT_LIFETIME_MS ||
        found.created_ms > now_ms + CLOCK_STEP_MS)
        return false;
    found.return_to = return_path(pool, return_to.base);
    *out = found;
    return true;
}

/* ---- cookies ---- */

const char *attempt_cookie_name(h2o_mem_pool_t *pool, h2o_iovec_t state)
{
    assert(state.len >= NAME_CHARS);
    return text_format(pool, ATTEMPT_COOKIE "%.*s", NAME_CHARS, state.base);
}

struct survey { /* of the attempts that the browser has already */
    h2o_req_t *req;
    const struct seal_keys *keys;
    int64_t now_ms;
    size_t seen; /* cookies looked at */
    size_t live;
    struct live_attempt {
        const char *cookie;
        int64_t created_ms;
    } attempts[LOOK_AT];
};

static void drop(h2o_req_t *req, const char *cookie)
{
    web_set_cookie(req, cookie, h2o_iovec_init("", 0), 0);
}

/* Characters of base64url. */
static bool is_secret_text(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)bytes[i]) && bytes[i] != '-' && bytes[i] != '_')
            return false;
    return true;
}

/* What else begins with our prefix is not from us, and can't even be named in a Set-Cookie. */
static bool is_cookie_name(h2o_iovec_t name)
{
    size_t prefix = strlen(ATTEMPT_COOKIE);
    return name.len == prefix + NAME_CHARS && is_secret_text(name.base + prefix, NAME_CHARS);
}

static void on_cookie(void *ctx, h2o_iovec_t name, h2o_iovec_t value)
{
    struct survey *self = ctx;
    struct attempt attempt;
    if (!is_cookie_name(name))
        return;
    const char *cookie = text_dup_iovec(&self->req->pool, name);
    if (++self->seen > LOOK_AT ||
        !attempt_open(&self->req->pool, self->keys, value, self->now_ms, &attempt))
        drop(self->req, cookie);
    else
        self->attempts[self->live++] = (struct live_attempt){cookie, attempt.created_ms};
}

static void drop_oldest(struct survey *self)
{
    size_t oldest = 0;
    for (size_t i = 1; i < self->live; i++)
        if (self->attempts[i].created_ms < self->attempts[oldest].created_ms)
            oldest = i;
    drop(self->req, self->attempts[oldest].cookie);
    self->attempts[oldest] = self->attempts[--self->live];
}

void attempt_give(h2o_req_t *req, const struct seal_keys *keys, const struct attempt *attempt)
{
    struct survey survey = {.req = req, .keys = keys, .now_ms = attempt->created_ms};
    web_cookies_each(req, ATTEMPT_COOKIE, on_cookie, &survey);
    while (survey.live >= ATTEMPT_MAX)
        drop_oldest(&survey);
    web_set_cookie(req, attempt_cookie_name(&req->pool, iovec_of(attempt->state)),
                   attempt_seal(&req->pool, keys, attempt), ATTEMPT_LIFETIME_MS / 1000);
}

static bool is_state(h2o_iovec_t state)
{
    return state.len == STATE_LENGTH && is_secret_text(state.base, state.len);
}

bool attempt_take(h2o_req_t *req, const struct seal_keys *keys, h2o_iovec_t state, int64_t now_ms,
                  struct attempt *out)
{
    struct attempt found;
    if (!is_state(state))
        return false;
    const char *name = attempt_cookie_name(&req->pool, state);
    h2o_iovec_t cookie = web_cookie(req, name);
    if (cookie.base == NULL)
        return false;
    if (!attempt_open(&req->pool, keys, cookie, now_ms, &found)) {
        drop(req, name);
        return false;
    }
    if (!crypto_equal_iovec(iovec_of(found.state), state))
        return false; /* another attempt's cookie: a wrong answer must not end it */
    drop(req, name);
    *out = found;
    return true;
}
