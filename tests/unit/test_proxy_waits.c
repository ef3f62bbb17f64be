/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests through the proxy that wait for Okta, by a real h2o connection: how many may, and what may happen
 * meanwhile. What stands behind the proxy has no certificate here, so whoever gets past the decision hears of that. */
#include "decide_world.h"
#include "support_server.h"

#include "gate_cookie.h"
#include "proxy/proxy.h"

#define MISSING "/nonexistent/ca.crt"

struct stage {
    struct world world;
    struct config_app app;
    struct metrics *metrics;
    struct proxy *proxy;
    struct test_server server;
};

static char file[] = MISSING, behind[] = "https://127.0.0.1:1",
            api_url[] = "https://api.example.test", app_url[] = "https://reports.example.test",
            reports[] = "reports", kubernetes[] = "kubernetes";

static void open_stage(struct stage *self, const char *app)
{
    struct instant now = {clock_wall_ms(), clock_mono_ms()};
    memset(self, 0, sizeof(*self));
    world_open(&self->world, &now);
    self->world.clusters[0].api =
        (struct config_api){.url = api_url, .upstream = behind, .certificate_authority_file = file};
    self->app = (struct config_app){.name = reports,
                                    .label = reports,
                                    .url = app_url,
                                    .upstream = behind,
                                    .certificate_authority_file = file,
                                    .cluster = kubernetes};
    self->world.config.proxy.apps = &self->app;
    self->world.config.proxy.app_count = 1;
    self->world.app = app;
    world_sign_in(&self->world, kubernetes);
    self->metrics = metrics_new();
    self->proxy = proxy_new(&(struct proxy_parts){.decider = self->world.decider,
                                                  .metrics = self->metrics,
                                                  .keys = self->world.keys,
                                                  .seal_keys = self->world.seal_keys});
    proxy_register(self->proxy, server_init(&self->server, self->world.loop, &self->world.pool));
    server_start(&self->server);
}

static void close_stage(struct stage *self)
{
    server_stop(&self->server);
    proxy_free(self->proxy);
    metrics_free(self->metrics);
    world_close(&self->world);
}

/* ---- one connection, one request ---- */

static void hears(struct stage *self, int wanted, const char *text)
{
    assert_int_equal(server_hear(&self->server), wanted);
    if (strstr(self->server.heard.bytes, text) == NULL)
        fail_msg("%s\nlacks: %s", self->server.heard.bytes, text);
}

static void assert_waiting(struct stage *self, const char *gauge)
{
    struct text out;
    text_init(&out, &self->world.pool);
    metrics_write(self->metrics, &out);
    assert_non_null(strstr(out.bytes, gauge));
}

/* ---- who asks ---- */

static h2o_iovec_t api_request(struct stage *self)
{
    h2o_iovec_t token = world_good_token(&self->world);
    return iovec_of(text_format(&self->world.pool,
                                "GET /api/v1/pods HTTP/1.1\r\nhost: api.example.test\r\n"
                                "connection: close\r\nauthorization: Bearer %.*s\r\n\r\n",
                                (int)token.len, token.base));
}

/* With the cookie of the session, as the gate would have given it. */
static h2o_iovec_t app_request(struct stage *self)
{
    h2o_req_t *req = h2o_mem_alloc(sizeof(*req));
    memset(req, 0, sizeof(*req));
    h2o_mem_init_pool(&req->pool);
    const struct gate_cookies cookies = {req, self->world.seal_keys, &self->app};
    gate_session_give(&cookies, self->world.grant.id);
    h2o_iovec_t line = req->res.headers.entries[0].value;
    const char *end = memchr(line.base, ';', line.len);
    assert_non_null(end);
    const char *request = text_format(&self->world.pool,
                                      "GET /whoami HTTP/1.1\r\nhost: reports.example.test\r\n"
                                      "connection: close\r\ncookie: %.*s\r\n\r\n",
                                      (int)(end - line.base), line.base);
    h2o_mem_clear_pool(&req->pool);
    free(req);
    return iovec_of(request);
}

static const struct way {
    const char *app;
    h2o_iovec_t (*request)(struct stage *self);
    const char *crowd; /* of the 503 */
    int status;        /* of who got past the decision */
    const char *passed;
} ways[] = {
    {NULL, api_request, "too many requests wait for Okta here: try again in a moment", 503,
     "can't be asked through the proxy now"},
    {"reports", app_request, "Too many wait for Okta", 502, "The app can't be told who you are"},
};

static void test_crowd(void **state)
{
    struct stage self;
    const struct way *way = *state;
    open_stage(&self, way->app);
    proxy_limit_waiting(self.proxy, 1);
    self.world.stops_when_asked = true;
    h2o_iovec_t request = way->request(&self);
    server_say(&self.server, request);
    loop_run(self.world.loop);
    assert_waiting(&self, "postern_proxy_waiting 1\n");
    h2o_socket_t *first = self.server.client;
    h2o_socket_read_stop(first);
    for (int i = 0; i < 2; i++) { /* those who are sent away take no place */
        server_say(&self.server, request);
        hears(&self, 503, way->crowd);
    }
    server_listen(&self.server, first);
    world_answer(&self.world);
    hears(&self, way->status, way->passed);
    assert_waiting(&self, "postern_proxy_waiting 0\n");

    server_say(&self.server, request); /* what is known is no matter of waiting */
    hears(&self, way->status, way->passed);
    identities_forget(self.world.identities, UID); /* and who had waited has given its place back */
    server_say(&self.server, request);
    loop_run(self.world.loop);
    world_answer(&self.world);
    hears(&self, way->status, way->passed);
    close_stage(&self);
}

/* What Okta says then is of a person without a session: they sign in again, whatever their groups are. */
static void test_session_ended_meanwhile(void **state)
{
    (void)state;
    struct stage self;
    open_stage(&self, reports);
    self.world.stops_when_asked = true;
    server_say(&self.server, app_request(&self));
    loop_run(self.world.loop);
    sessions_end_grant(self.world.sessions, self.world.loop, self.world.grant.id,
                       SESSION_SIGNED_OUT, NULL, NULL);
    world_answer(&self.world);
    hears(&self, 401, "You are not signed in any more");
    close_stage(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_crowd, (void *)(uintptr_t)&ways[0]),
        cmocka_unit_test_prestate(test_crowd, (void *)(uintptr_t)&ways[1]),
        cmocka_unit_test(test_session_ended_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
