/* SPDX-License-Identifier: Apache-2.0
 *
 * portal/attempt: what the sealed cookie of a pending sign-in gives back, and what is no such cookie. (peers
 * 16, 43, 55) */
#include "attempt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/text.h"

#define NOW 1790000000000

static struct seal_keys *keys;
static h2o_mem_pool_t pool;

static int set_up(void **state)
{
    (void)state;
    keys = seal_keys_random();
    h2o_mem_init_pool(&pool);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    seal_keys_free(keys);
    h2o_mem_clear_pool(&pool);
    return 0;
}

static bool opens(h2o_iovec_t cookie, int64_t now_ms)
{
    struct attempt out = {.state = "untouched"};
    if (attempt_open(&pool, keys, cookie, now_ms, &out))
        return true;
    assert_string_equal(out.state, "untouched");
    return false;
}

static void test_round_trip(void **state)
{
    struct attempt made, found;
    (void)state;
    attempt_new("/profile?x=%C3%A4", NOW, &made);
    h2o_iovec_t cookie = attempt_seal(&pool, keys, &made);
    assert_null(memmem(cookie.base, cookie.len, made.verifier, strlen(made.verifier)));
    assert_true(attempt_open(&pool, keys, cookie, NOW + 5000, &found));
    assert_string_equal(found.state, made.state);
    assert_string_equal(found.nonce, made.nonce);
    assert_string_equal(found.verifier, made.verifier);
    assert_string_equal(found.return_to, "/profile?x=%C3%A4");
    assert_int_equal(found.created_ms, NOW);
}

static void test_secrets_differ_and_have_the_form(void **state)
{
    struct attempt a, b;
    (void)state;
    attempt_new("/", NOW, &a);
    attempt_new("/", NOW, &b);
    assert_string_not_equal(a.state, b.state);
    assert_string_not_equal(a.nonce, b.nonce);
    assert_string_not_equal(a.verifier, b.verifier);
    assert_string_not_equal(a.state, a.nonce);
    assert_string_not_equal(a.state, a.verifier);
    const char *secrets[] = {a.state, a.nonce, a.verifier};
    for (size_t i = 0; i < 3; i++) {
        /* RFC 7636 section 4.1: 43 characters at least */
        assert_int_equal(strlen(secrets[i]), 43);
        assert_int_equal(strspn(secrets[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                            "0123456789-_"),
                         43);
    }
}

/* RFC 7636 appendix B */
static void test_challenge(void **state)
{
    struct attempt attempt;
    (void)state;
    attempt_new("/", NOW, &attempt);
    memcpy(attempt.verifier, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", 44);
    assert_string_equal(attempt_challenge(&pool, &attempt),
                        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

static void test_age(void **state)
{
    struct attempt attempt;
    (void)state;
    attempt_new("/", NOW, &attempt);
    h2o_iovec_t cookie = attempt_seal(&pool, keys, &attempt);
    assert_true(opens(cookie, NOW));
    assert_true(opens(cookie, NOW + ATTEMPT_LIFETIME_MS));
    assert_false(opens(cookie, NOW + ATTEMPT_LIFETIME_MS + 1));
    assert_true(opens(cookie, NOW - 1000));     /* the clock was set back a little */
    assert_false(opens(cookie, NOW - 3600000)); /* or an attempt of the future */
}

static void test_changed_bytes(void **state)
{
    struct attempt attempt;
    (void)state;
    attempt_new("/", NOW, &attempt);
    h2o_iovec_t cookie = attempt_seal(&pool, keys, &attempt);
    for (size_t i = 0; i < cookie.len; i++) {
        char was = cookie.base[i];
        cookie.base[i] = was == 'A' ? 'B' : 'A';
        assert_false(opens(cookie, NOW));
        cookie.base[i] = was;
    }
    for (size_t len = 0; len < cookie.len; len++)
        assert_false(opens(h2o_iovec_init(cookie.base, len), NOW));
    assert_true(opens(cookie, NOW));
}

static void test_not_ours(void **state)
{
    static const char short_secrets[] =
        "{\"state\":\"short\",\"nonce\":\"short\",\"verifier\":\"short\","
        "\"return_to\":\"/\",\"created\":1790000000000}";
    static const char *const plain[] = {
        "", "{}", "[]", "null", "{\"state\":1}", short_secrets,
    };
    (void)state;
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        h2o_iovec_t sealed = seal(&pool, keys, "postern sign-in attempt", iovec_of(plain[i]));
        assert_false(opens(base64url_encode(&pool, sealed.base, sealed.len), NOW));
        assert_false(opens(iovec_of(plain[i]), NOW));
    }
    struct attempt attempt;
    attempt_new("/", NOW, &attempt);
    struct seal_keys *other = seal_keys_random();
    assert_false(opens(attempt_seal(&pool, other, &attempt), NOW));
    seal_keys_free(other);
    char *huge = h2o_mem_alloc_pool(&pool, 100000);
    memset(huge, 'A', 100000);
    assert_false(opens(h2o_iovec_init(huge, 100000), NOW));
    assert_false(opens((h2o_iovec_t){NULL, 0}, NOW));
}

static void test_return_to(void **state)
{
    static const struct {
        const char *asked, *given;
    } rows[] = {
        {NULL, "/"},
        {"/", "/"},
        {"/profile", "/profile"},
        {"/login?return_to=/login", "/"},
        {"/logout", "/"},
        {"/auth/oidc?code=x", "/"},
    };
    struct attempt attempt;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        attempt_new(rows[i].asked, NOW, &attempt);
        assert_string_equal(attempt.return_to, rows[i].given);
    }
    char path[ATTEMPT_RETURN_MAX + 2];
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[ATTEMPT_RETURN_MAX + 1] = '\0';
    attempt_new(path, NOW, &attempt);
    assert_string_equal(attempt.return_to, "/");
    path[ATTEMPT_RETURN_MAX] = '\0';
    attempt_new(path, NOW, &attempt);
    assert_string_equal(attempt.return_to, path);
}

/* Eight of the longest and a session's cookie fit into the 16 KiB of cookies that are read, with 2 KiB left for what a
 * balancer adds. */
static void test_size(void **state)
{
    char path[ATTEMPT_RETURN_MAX + 1];
    struct attempt attempt;
    (void)state;
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[ATTEMPT_RETURN_MAX] = '\0';
    attempt_new(path, NOW, &attempt);
    const char *name = attempt_cookie_name(&pool, iovec_of(attempt.state));
    assert_int_equal(strlen(name), strlen(ATTEMPT_COOKIE) + 8);
    assert_int_equal(strncmp(name + strlen(ATTEMPT_COOKIE), attempt.state, 8), 0);
    size_t each = strlen(name) + 3 + attempt_seal(&pool, keys, &attempt).len;
    assert_true(each < 4096);
    assert_true(ATTEMPT_MAX * each < 14 * 1024);
}

/* Found by tests/fuzz/cookies.c: anybody can send a cookie that begins as ours do. */
static void test_strange_cookie_names(void **state)
{
    static const char *const headers[] = {
        ATTEMPT_COOKIE "(aaaaaaa=x",
        ATTEMPT_COOKIE "\xc3\xa4"
                       "aaaaaa=x",
        ATTEMPT_COOKIE "=x",
        ATTEMPT_COOKIE "aaaa aaa=x",
        ATTEMPT_COOKIE "aaaaaaaaa=x",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        h2o_req_t *req = h2o_mem_alloc(sizeof(*req));
        struct attempt attempt;
        memset(req, 0, sizeof(*req));
        h2o_mem_init_pool(&req->pool);
        h2o_add_header(&req->pool, &req->headers, H2O_TOKEN_COOKIE, NULL, headers[i],
                       strlen(headers[i]));
        attempt_new("/", NOW, &attempt);
        attempt_give(req, keys, &attempt);
        assert_int_equal(req->res.headers.size, 1); /* the new attempt's, and none is dropped */
        h2o_mem_clear_pool(&req->pool);
        free(req);
    }
}

/* A cookie that opens says when it was made; no number may lead to an overflow. */
static void test_impossible_times(void **state)
{
    static const char *const times[] = {"-9223372036854775808", "9223372036854775807", "0"};
    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        const char *plain =
            text_format(&pool,
                        "{\"state\":\"%043d\",\"nonce\":\"%043d\",\"verifier\":\"%043d\","
                        "\"return_to\":\"/\",\"created\":%s}",
                        0, 0, 0, times[i]);
        h2o_iovec_t sealed = seal(&pool, keys, "postern sign-in attempt", iovec_of(plain));
        assert_false(opens(base64url_encode(&pool, sealed.base, sealed.len), NOW));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_secrets_differ_and_have_the_form),
        TEST(test_challenge),
        TEST(test_age),
        TEST(test_changed_bytes),
        TEST(test_not_ours),
        TEST(test_return_to),
        TEST(test_size),
        TEST(test_strange_cookie_names),
        TEST(test_impossible_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
