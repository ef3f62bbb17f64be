/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/app_kinds, proxy/app_cache: where an app lives, what of it is closed, which of its parts answers, what it is told,
 * and what caches may keep of it. */
#include "app_kinds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "app_cache.h"
#include "base/text.h"
#include "plain.h"

static struct config_app app_at(const char *url, enum config_app_kind kind)
{
    static char buffer[128];
    snprintf(buffer, sizeof(buffer), "%s", url);
    return (struct config_app){.url = buffer, .kind = kind};
}

/* ---- where it lives ---- */

static void test_below_at_a_segment(void **state)
{
    static const struct {
        const char *url, *target;
        bool below;
    } cases[] = {
        {"https://a.example.com", "/", true},
        {"https://a.example.com", "/x?y", true},
        {"https://a.example.com:8444/graf", "/graf", true},
        {"https://a.example.com:8444/graf", "/graf?x=1", true},
        {"https://a.example.com:8444/graf", "/graf/x", true},
        {"https://a.example.com:8444/graf", "/grafana", false},
        {"https://a.example.com:8444/graf", "/Graf/x", false},
        {"https://a.example.com:8444/graf", "/gra%66/x", false},
        {"https://a.example.com:8444/graf", "/", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config_app app = app_at(cases[i].url, APP_GENERIC);
        assert_int_equal(app_is_below(&app, iovec_of(cases[i].target)), cases[i].below);
    }
}

/* ---- what is closed ---- */

static void test_headlamp_takes_no_token_from_a_browser(void **state)
{
    static const char *const closed[] = {
        "/auth/set-token",
        "/auth/set-token/",
        "/auth/set-token?x",
        "//auth//set-token",
        "/AUTH/Set-Token",
        "/auth/set%2Dtoken",
        "/%61uth/set-token",
        "/auth%2Fset-token",
        "/auth%252fset-token",
        "/auth/set-token;x=1",
        "/auth;x/set-token",
        "/auth/set-token%20",
        "/clusters/main/set-token",
        "/clusters/a%2Fb/set-token",
        "/clusters/main%2fset-token",
        "/clusters/main/%73et-token",
        "/oidc",
        "/oidc?cluster=main",
        "/%6fidc",
        "/%256fidc",
        "/oidc-callback",
        "/oidc-callback/?code=x",
    };
    static const char *const open[] = {
        "/",
        "/config",
        "/clusters/main/me",
        "/clusters/main/api/v1/namespaces/default/configmaps/set-token",
        "/clusters/oidc/api/v1/pods",
        "/auth/x",
        "/set-token",
        "/oidc-client",
    };
    h2o_mem_pool_t pool;
    struct config_app headlamp = app_at("https://h.example.com", APP_HEADLAMP);
    (void)state;
    h2o_mem_init_pool(&pool);
    for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
        if (!app_is_closed(&pool, &headlamp, iovec_of(closed[i])))
            fail_msg("%s is open", closed[i]);
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
        if (app_is_closed(&pool, &headlamp, iovec_of(open[i])))
            fail_msg("%s is closed", open[i]);
    struct config_app below = app_at("https://h.example.com/hl", APP_HEADLAMP);
    assert_true(app_is_closed(&pool, &below, iovec_of("/hl/auth/set-token")));
    assert_true(app_is_closed(&pool, &below, iovec_of("/hl/oidc")));
    assert_false(app_is_closed(&pool, &below, iovec_of("/hl/config")));
    struct config_app other = app_at("https://h.example.com", APP_GENERIC);
    assert_false(app_is_closed(&pool, &other, iovec_of("/oidc")));
    h2o_mem_clear_pool(&pool);
}

/* ---- parts ---- */

static void test_dashboard_7_needs_no_kong(void **state)
{
    static const struct {
        const char *target;
        enum app_part part;
    } cases[] = {
        {"/", APP_WEB},
        {"/metrics", APP_API},
        {"/metricsx", APP_WEB},
        {"/api/v1/login", APP_AUTH},
        {"/api/v1/login/status", APP_AUTH},
        {"/api/v1/loginx", APP_API},
        {"/api/v1/csrftoken/login", APP_AUTH},
        {"/api/v1/csrftoken/scale", APP_API},
        {"/api/v1/me", APP_AUTH},
        {"/api/v1/me?x=1", APP_AUTH},
        {"/api/sockjs/1/2/websocket", APP_API},
        {"/apix", APP_WEB},
        {"/assets/api", APP_WEB},
    };
    struct config_app app = app_at("https://d.example.com", APP_KUBERNETES_DASHBOARD_7);
    static char api[] = "http://api", auth[] = "http://auth", web[] = "http://web";
    (void)state;
    app.upstreams.api = api;
    app.upstreams.auth = auth;
    app.upstreams.web = web;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(app_part_of(&app, iovec_of(cases[i].target)), cases[i].part);
    assert_string_equal(app_upstream(&app, APP_AUTH), "http://auth");
    assert_string_equal(app_upstream(&app, APP_WEB), "http://web");
}

/* ---- what it is told ---- */

static const char *value_of(const struct header_list *list, const char *name)
{
    struct header *found = header_list_find(list, name, NULL);
    return found != NULL ? text_dup_iovec(list->pool, found->value) : NULL;
}

static bool tell(h2o_mem_pool_t *pool, const struct config_app *app,
                 const struct identity *identity, struct header_list *list)
{
    const struct app_person person = {identity, iovec_of(app_wants_token(app) ? "a.b.c" : "")};
    header_list_init(list, pool);
    return app_add_person(app, &person, list);
}

static void test_told_by_kind(void **state)
{
    static const char *const groups[] = {"k8s-admins", "a,b", "line\nbreak", " blank ", "devs"};
    struct identity identity = {.username = "ada@example.com",
                                .email_verified = true,
                                .groups = groups,
                                .group_count = 5,
                                .attributes = {[USER_EMAIL] = "ada@example.com"}};
    h2o_mem_pool_t pool;
    struct header_list list;
    struct config_app app = app_at("https://h.example.com", APP_HEADLAMP);
    (void)state;
    h2o_mem_init_pool(&pool);

    app.inject = INJECT_PROXY_AUTH;
    assert_true(tell(&pool, &app, &identity, &list));
    assert_string_equal(value_of(&list, "x-forwarded-id-token"), "a.b.c");
    assert_string_equal(value_of(&list, "x-forwarded-user"), "ada@example.com");
    assert_string_equal(value_of(&list, "x-forwarded-group"), "k8s-admins,devs");
    assert_string_equal(value_of(&list, "x-forwarded-email"), "ada@example.com");
    assert_null(value_of(&list, "authorization"));

    app.inject = INJECT_TOKEN;
    assert_true(tell(&pool, &app, &identity, &list));
    assert_string_equal(value_of(&list, "authorization"), "Bearer a.b.c");
    assert_int_equal(list.count, 1);

    app.kind = APP_GENERIC;
    app.inject = INJECT_NONE;
    assert_true(tell(&pool, &app, &identity, &list));
    assert_int_equal(list.count, 0);

    app.inject = INJECT_PROXY_AUTH;
    identity.email_verified = false;
    assert_true(tell(&pool, &app, &identity, &list));
    assert_string_equal(value_of(&list, "x-forwarded-user"), "ada@example.com");
    assert_string_equal(value_of(&list, "x-forwarded-preferred-username"), "ada@example.com");
    assert_string_equal(value_of(&list, "x-forwarded-groups"), "k8s-admins,devs");
    assert_null(value_of(&list, "x-forwarded-email"));
    assert_null(value_of(&list, "x-forwarded-id-token"));
    h2o_mem_clear_pool(&pool);
}

static void test_nothing_is_sent_without_who_it_is(void **state)
{
    static const char *const names[] = {NULL, "", "a\nb", " a", "a "};
    h2o_mem_pool_t pool;
    struct header_list list;
    struct config_app app = app_at("https://h.example.com", APP_GENERIC);
    (void)state;
    h2o_mem_init_pool(&pool);
    app.inject = INJECT_PROXY_AUTH;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct identity identity = {.username = names[i]};
        assert_false(tell(&pool, &app, &identity, &list));
        assert_int_equal(list.count, 0);
    }
    app.inject = INJECT_TOKEN;
    const struct identity ada = {.username = "ada"};
    const struct app_person person = {&ada, {NULL, 0}};
    header_list_init(&list, &pool);
    assert_false(app_add_person(&app, &person, &list));
    assert_int_equal(list.count, 0);
    h2o_mem_clear_pool(&pool);
}

/* ---- caches ---- */

static const char *cached(h2o_mem_pool_t *pool, const char *name, const char *value)
{
    h2o_req_t req;
    memset(&req, 0, sizeof(req));
    h2o_mem_init_pool(&req.pool);
    if (name != NULL)
        h2o_add_header_by_str(&req.pool, &req.res.headers, name, strlen(name), 1, NULL, value,
                              strlen(value));
    app_cache_private(&req);
    assert_int_equal(req.res.headers.size, 1);
    assert_ptr_equal(req.res.headers.entries[0].name, &H2O_TOKEN_CACHE_CONTROL->buf);
    const char *out = text_dup_iovec(pool, req.res.headers.entries[0].value);
    h2o_mem_clear_pool(&req.pool);
    return out;
}

static void test_no_shared_cache_keeps_it(void **state)
{
    static const struct {
        const char *name, *value, *expected;
    } cases[] = {
        {NULL, NULL, "no-store"},
        {"cache-control", "no-store", "no-store"},
        {"cache-control", "no-cache", "no-cache, private"},
        {"cache-control", "public, max-age=31536000, immutable",
         "max-age=31536000, immutable, private"},
        {"cache-control", "S-MaxAge=60,Public", "private"},
        {"cache-control", "private, max-age=5", "private, max-age=5"},
        {"cache-control", "private=\"a, public\", max-age=5", "max-age=5, private"},
        {"cache-control", "no-cache=\"a, b\", s-maxage = 5", "no-cache=\"a, b\", private"},
        {"cache-control", "", "private"},
        {"cdn-cache-control", "public", "no-store"},
        {"surrogate-control", "max-age=5", "no-store"},
    };
    h2o_mem_pool_t pool;
    (void)state;
    h2o_mem_init_pool(&pool);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(cached(&pool, cases[i].name, cases[i].value), cases[i].expected);
    h2o_mem_clear_pool(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_below_at_a_segment),
        cmocka_unit_test(test_headlamp_takes_no_token_from_a_browser),
        cmocka_unit_test(test_dashboard_7_needs_no_kong),
        cmocka_unit_test(test_told_by_kind),
        cmocka_unit_test(test_nothing_is_sent_without_who_it_is),
        cmocka_unit_test(test_no_shared_cache_keeps_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
