/* SPDX-License-Identifier: Apache-2.0
 *
 * Cookies as a browser, or somebody else, sends them: each line of the input is one Cookie header. What is
 * read is one clean pair or nothing; and whatever they are, a sign-in may begin and end with them. */
#include "fuzz.h"

#include "attempt.h"
#include "cache/sessions.h"
#include "http/web.h"

#define MOST 60

struct seen {
    h2o_iovec_t names[MOST], values[MOST];
    size_t count;
};

static void on_pair(void *ctx, h2o_iovec_t name, h2o_iovec_t value)
{
    struct seen *self = ctx;
    for (size_t i = 0; i < name.len; i++)
        assert(strchr("=;", name.base[i]) == NULL);
    for (size_t i = 0; i < value.len; i++)
        assert((unsigned char)value.base[i] >= ' ' || value.base[i] == '\t');
    assert(value.len == 0 || memchr(value.base, ';', value.len) == NULL);
    if (self->count < MOST) {
        self->names[self->count] = name;
        self->values[self->count++] = value;
    }
}

/* By name there is the one that stands there once. */
static void check_lookups(h2o_req_t *req, const struct seen *seen)
{
    for (size_t i = 0; i < seen->count && seen->count < MOST; i++) {
        const char *name = text_dup_iovec(&req->pool, seen->names[i]);
        h2o_iovec_t value = web_cookie(req, name);
        size_t times = 0;
        for (size_t j = 0; j < seen->count; j++)
            times += fuzz_same(seen->names[i], seen->names[j]);
        assert((value.base != NULL) == (times == 1));
        assert(times != 1 || value.base == seen->values[i].base);
    }
}

/* Nobody is signed in, whatever the cookie says. */
static void check_sessions(const struct seen *seen, const struct seal_keys *keys)
{
    static struct sessions *sessions;
    static const struct session_limits limits = {1, 1, 1, 1};
    if (sessions == NULL) {
        bool good = sessions_new(&limits, store_memory_new(), keys, FUZZ_NOW_MS, NULL, NULL,
                                 &sessions, NULL);
        assert(good);
    }
    for (size_t i = 0; i < seen->count; i++) {
        struct session_login login;
        enum session_state state =
            sessions_find_login(sessions, seen->values[i], FUZZ_NOW_MS, &login);
        assert(state == SESSION_UNKNOWN);
    }
}

/* What goes out is one of our cookies each, with nothing that could end the header. */
static void check_answer(h2o_req_t *req)
{
    ssize_t at = -1;
    while ((at = h2o_find_header(&req->res.headers, H2O_TOKEN_SET_COOKIE, at)) != -1) {
        h2o_iovec_t value = req->res.headers.entries[at].value;
        assert(value.len > 23 && memcmp(value.base, ATTEMPT_COOKIE, 23) == 0);
        for (size_t i = 0; i < value.len; i++)
            assert(value.base[i] >= ' ' && value.base[i] < 0x7f);
    }
}

static void sign_in(h2o_req_t *req, const struct seal_keys *keys)
{
    struct attempt attempt, taken;
    attempt_new("/profile", FUZZ_NOW_MS, &attempt);
    attempt_give(req, keys, &attempt);
    /* nobody but us can make the cookie that this needs */
    bool good = attempt_take(req, keys, iovec_of(attempt.state), FUZZ_NOW_MS, &taken);
    assert(!good);
    h2o_iovec_t wild = web_cookie(req, ATTEMPT_COOKIE "AAAAAAAA");
    good = wild.base != NULL && attempt_open(&req->pool, keys, wild, FUZZ_NOW_MS, &taken);
    assert(!good);
    good = attempt_take(req, keys, iovec_of("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
                        FUZZ_NOW_MS, &taken);
    assert(!good);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static struct seal_keys *keys;
    static h2o_req_t request; /* headers and a pool are all that is looked at */
    h2o_req_t *req = &request;
    struct seen seen = {.count = 0};
    h2o_iovec_t rest = h2o_iovec_init(bytes, len);
    if (keys == NULL)
        keys = seal_keys_random();
    memset(req, 0, sizeof(*req));
    h2o_mem_init_pool(&req->pool);
    for (int i = 0; i < 16 && rest.len != 0; i++) {
        h2o_iovec_t line = fuzz_line(&rest);
        h2o_add_header(&req->pool, &req->headers, H2O_TOKEN_COOKIE, NULL, line.base, line.len);
    }
    web_cookies_each(req, "", on_pair, &seen);
    check_lookups(req, &seen);
    check_sessions(&seen, keys);
    sign_in(req, keys);
    check_answer(req);
    h2o_mem_clear_pool(&req->pool);
    return 0;
}
