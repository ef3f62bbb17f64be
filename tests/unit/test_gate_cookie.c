/* SPDX-License-Identifier: Apache-2.0
 *
 * The cookies of an app's host: what each gives back, to whom and for how long, and that a browser's lot of them fits into a
 * request. (peers 38, 45, 55) */
#include "gate_cookie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/text.h"
#include "http/web.h"
#include "token/ticket.h"

#define NOW  INT64_C(1790000000000)
#define ID   "AAAAAAAAAAAAAAAAAAAAAA"
#define ROOM (16 * 1024) /* of cookies that are read */

/* A browser that keeps what it is given, and the request that it makes next. */
struct browser {
    h2o_req_t req;
    struct seal_keys *keys;
    struct config_app app;
    struct gate_cookies cookies;
};

static char grafana[] = "grafana", reports[] = "reports";

static void browser_open(struct browser *self)
{
    memset(self, 0, sizeof(*self));
    h2o_mem_init_pool(&self->req.pool);
    self->keys = seal_keys_random();
    self->app.name = grafana;
    self->cookies = (struct gate_cookies){&self->req, self->keys, &self->app};
}

static void browser_close(struct browser *self)
{
    seal_keys_free(self->keys);
    h2o_mem_clear_pool(&self->req.pool);
}

/* Sends the cookies that it was given back, under another name where there is one. */
static void go_on(struct browser *self, const char *name)
{
    h2o_mem_pool_t *pool = &self->req.pool;
    for (size_t i = 0; i < self->req.res.headers.size; i++) {
        h2o_iovec_t line = self->req.res.headers.entries[i].value;
        const char *equals = memchr(line.base, '=', line.len),
                   *end = memchr(line.base, ';', line.len);
        if (end == equals + 1)
            continue; /* taken away */
        h2o_iovec_t pair = h2o_iovec_init(line.base, (size_t)(end - line.base));
        if (name != NULL)
            pair = iovec_of(text_format(pool, "%s%.*s", name, (int)(end - equals), equals));
        h2o_add_header(pool, &self->req.headers, H2O_TOKEN_COOKIE, NULL, pair.base, pair.len);
    }
    self->req.res.headers.size = 0;
}

static bool takes(struct browser *self, const char *begin, int64_t now_ms)
{
    const char *return_to = NULL;
    bool found = gate_begin_take(&self->cookies, begin, now_ms, &return_to);
    assert_true(found == (return_to != NULL));
    if (found)
        assert_string_equal(return_to, "/d/1?x=%2F");
    return found;
}

static void test_begin(void **state)
{
    (void)state;
    struct browser browser;
    browser_open(&browser);
    const char *begin = gate_begin_give(&browser.cookies, "/d/1?x=%2F", NOW);
    assert_true(ticket_is_begin(iovec_of(begin)));
    go_on(&browser, NULL);
    assert_true(takes(&browser, begin, NOW));
    assert_int_equal(browser.req.res.headers.size, 1); /* and takes it away */
    assert_true(takes(&browser, begin, NOW + GATE_BEGIN_MS - 1));
    assert_false(takes(&browser, begin, NOW + GATE_BEGIN_MS));
    assert_false(takes(&browser, begin, NOW - 60001));
    assert_false(takes(&browser, ticket_begin(&browser.req.pool, iovec_of("other")), NOW));
    browser.app.name = reports;
    assert_false(takes(&browser, begin, NOW));
    browser_close(&browser);
}

/* Its name has a part of begin only, so another's cookie may stand under it. */
static void test_begin_of_the_same_name(void **state)
{
    (void)state;
    struct browser browser;
    browser_open(&browser);
    const char *begin = ticket_begin(&browser.req.pool, iovec_of("what the ticket names"));
    gate_begin_give(&browser.cookies, "/d/1?x=%2F", NOW);
    go_on(&browser, text_format(&browser.req.pool, GATE_BEGIN_COOKIE "%.8s", begin));
    assert_false(takes(&browser, begin, NOW));
    assert_int_equal(browser.req.res.headers.size, 0);
    browser_close(&browser);
}

static void test_session(void **state)
{
    (void)state;
    struct browser browser;
    char id[SESSION_ID_SIZE] = "untouched";
    browser_open(&browser);
    assert_false(gate_session_find(&browser.cookies, id));
    gate_session_drop(&browser.cookies);
    assert_int_equal(browser.req.res.headers.size, 0); /* there was none */
    gate_session_give(&browser.cookies, ID);
    go_on(&browser, NULL);
    browser.app.name = reports;
    assert_false(gate_session_find(&browser.cookies, id));
    browser.app.name = grafana;
    assert_string_equal(id, "untouched");
    assert_true(gate_session_find(&browser.cookies, id));
    assert_string_equal(id, ID);
    gate_session_drop(&browser.cookies);
    assert_int_equal(browser.req.res.headers.size, 1);
    browser_close(&browser);
}

/* What we sealed for something else is no session, under whatever name it comes back. */
static void test_no_session(void **state)
{
    (void)state;
    struct browser browser;
    char id[SESSION_ID_SIZE];
    browser_open(&browser);
    gate_begin_give(&browser.cookies, "/", NOW);
    go_on(&browser, GATE_APP_COOKIE "grafana");
    assert_true(web_cookie(&browser.req, GATE_APP_COOKIE "grafana").base != NULL);
    assert_false(gate_session_find(&browser.cookies, id));
    browser_close(&browser);
}

/* As many as a browser can have, each with the longest way back: they are still read, and then the oldest goes. */
static void test_room(void **state)
{
    (void)state;
    struct browser browser;
    char path[1025] = "/", id[SESSION_ID_SIZE];
    size_t sum = 0;
    memset(path + 1, 'x', sizeof(path) - 2);
    browser_open(&browser);
    for (int i = 0; i < GATE_BEGIN_MOST; i++)
        gate_begin_give(&browser.cookies, path, NOW);
    gate_session_give(&browser.cookies, ID);
    go_on(&browser, NULL);
    for (size_t i = 0; i < browser.req.headers.size; i++)
        sum += browser.req.headers.entries[i].value.len + 2;
    assert_true(sum < ROOM);
    assert_true(gate_session_find(&browser.cookies, id));
    gate_begin_give(&browser.cookies, "/", NOW);
    assert_int_equal(browser.req.res.headers.size, 2); /* one that goes, and the new one */
    browser_close(&browser);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begin),   cmocka_unit_test(test_begin_of_the_same_name),
        cmocka_unit_test(test_session), cmocka_unit_test(test_no_session),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
