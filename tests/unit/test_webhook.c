/* SPDX-License-Identifier: Apache-2.0
 *
 * The endpoint through a real h2o connection: who may ask, in which form, and answers that come later. What
 * mutual TLS and HTTP/2 add is the integration tests' matter. */
#include "decide_world.h"
#include "support_server.h"

#include <h2o/http2.h>

#include "base/log.h"
#include "webhook/webhook.h"

#define FIRST_CA  1u /* bits of ca_mask */
#define SECOND_CA 2u

struct stage {
    struct world world;
    h2o_iovec_t token; /* good for kubernetes */
    struct metrics *metrics;
    struct webhook *webhook;
    struct test_server server;
    char *names[2];
    struct web_peer peer;
};

static void configure(struct world *world)
{
    static char first[] = "first.crt", second[] = "second.crt", apiserver[] = "kube-apiserver",
                other[] = "kube-apiserver.staging", own[] = "https://kubernetes.default.svc",
                vault[] = "vault";
    static char *first_names[] = {apiserver}, *second_names[] = {other},
                *audiences[] = {own, vault};
    world->clusters[0].client_ca_file = first;
    world->clusters[0].client_names = (struct config_strings){first_names, 1};
    world->clusters[1].client_ca_file = second;
    world->clusters[1].client_names = (struct config_strings){second_names, 1};
    world->clusters[1].api_audiences = (struct config_strings){audiences, 2};
}

static void open_stage_of(struct stage *self, unsigned clusters)
{
    static char apiserver[] = "kube-apiserver";
    struct instant now = {clock_wall_ms(), clock_mono_ms()};
    memset(self, 0, sizeof(*self));
    world_open(&self->world, &now);
    configure(&self->world);
    self->world.config.cluster_count = clusters;
    world_sign_in(&self->world, "kubernetes");
    self->token = world_good_token(&self->world);
    self->metrics = metrics_new();
    self->webhook = webhook_new(&self->world.decider, self->metrics);
    webhook_register(self->webhook,
                     server_init(&self->server, self->world.loop, &self->world.pool));
    server_start(&self->server);
    self->names[0] = apiserver;
    self->peer = (struct web_peer){self->names, 1, FIRST_CA};
    self->server.connection.peer = &self->peer;
}

static void open_stage(struct stage *self)
{
    open_stage_of(self, 2);
}

static void close_stage(struct stage *self)
{
    server_stop(&self->server);
    webhook_free(self->webhook);
    metrics_free(self->metrics);
    world_close(&self->world);
}

/* ---- one connection, one question ---- */

static int hear(struct stage *self)
{
    int status = server_hear(&self->server);
    assert_null(strstr(self->server.heard.bytes, "retry-after"));
    return status;
}

static const char *body_of(const struct stage *self)
{
    const char *end = strstr(self->server.heard.bytes, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

static h2o_iovec_t request_of(struct stage *self, const char *line, const char *headers,
                              h2o_iovec_t body)
{
    struct text request;
    text_init(&request, &self->world.pool);
    text_add_format(&request, "%s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n%s", line, headers);
    if (body.base != NULL)
        text_add_format(&request, "content-length: %zu\r\n", body.len);
    text_add_string(&request, "\r\n");
    if (body.base != NULL)
        text_add(&request, body.base, body.len);
    return text_iovec(&request);
}

static h2o_iovec_t review_of(struct stage *self, h2o_iovec_t token, const char *audiences)
{
    struct text body;
    text_init(&body, &self->world.pool);
    text_add_format(&body,
                    "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\","
                    "\"spec\":{\"token\":\"%.*s\",\"audiences\":%s}}",
                    (int)token.len, token.base, audiences);
    return text_iovec(&body);
}

#define JSON "content-type: application/json\r\n"

static int ask(struct stage *self, const char *line, const char *headers, h2o_iovec_t body)
{
    server_say(&self->server, request_of(self, line, headers, body));
    return hear(self);
}

/* ---- peers 18, 21, 22: the order of the checks ---- */

static const struct {
    int status;
    const char *line, *headers;
    const char *peer; /* the certificate's name; NULL: no certificate */
    unsigned ca_mask;
    const char *body; /* NULL: a good review */
} refusals[] = {
    {404, "POST /", JSON, "kube-apiserver", FIRST_CA, NULL},
    {404, "POST /tokenreview", JSON, "kube-apiserver", FIRST_CA, NULL}, /* two clusters */
    {404, "POST /tokenreview/", JSON, "kube-apiserver", FIRST_CA, NULL},
    {404, "POST /tokenreview/unknown", JSON, "kube-apiserver", FIRST_CA, NULL},
    {404, "POST /tokenreview/kubernetes/more", JSON, "kube-apiserver", FIRST_CA, NULL},
    {404, "POST /tokenreview/Kubernetes", JSON, "kube-apiserver", FIRST_CA, NULL},
    {404, "GET /tokenreview/unknown", "", NULL, 0, ""},
    {405, "GET /tokenreview/kubernetes", "", NULL, 0, ""},
    {405, "PUT /tokenreview/kubernetes", JSON, "kube-apiserver", FIRST_CA, NULL},
    {403, "POST /tokenreview/kubernetes", JSON, NULL, 0, NULL},
    {403, "POST /tokenreview/kubernetes", JSON, "kube-apiserver", 0, NULL},
    {403, "POST /tokenreview/kubernetes", JSON, "kube-apiserver", SECOND_CA, NULL},
    {403, "POST /tokenreview/kubernetes", JSON, "kube-apiserver.staging", FIRST_CA, NULL},
    {403, "POST /tokenreview/kubernetes", JSON, "Kube-Apiserver", FIRST_CA, NULL},
    {403, "POST /tokenreview/kubernetes", JSON, "kube-apiserver.", FIRST_CA, NULL},
    {403, "POST /tokenreview/staging", JSON, "kube-apiserver", FIRST_CA | SECOND_CA, NULL},
    {403, "POST /tokenreview/staging", JSON, "kube-apiserver.staging", FIRST_CA, NULL},
    {403, "POST /tokenreview/kubernetes", "", "nobody", FIRST_CA, "junk"},
    {415, "POST /tokenreview/kubernetes", "", "kube-apiserver", FIRST_CA, NULL},
    {415, "POST /tokenreview/kubernetes", "content-type: text/plain\r\n", "kube-apiserver",
     FIRST_CA, NULL},
    {415, "POST /tokenreview/kubernetes", JSON JSON, "kube-apiserver", FIRST_CA, NULL},
    {406, "POST /tokenreview/kubernetes", JSON "accept: text/html\r\n", "kube-apiserver", FIRST_CA,
     "junk"},
    {400, "POST /tokenreview/kubernetes", JSON, "kube-apiserver", FIRST_CA, "junk"},
    {400, "POST /tokenreview/kubernetes", JSON, "kube-apiserver", FIRST_CA, ""},
};

static void test_refusals(void **state)
{
    (void)state;
    struct stage self;
    open_stage(&self);
    h2o_iovec_t good = review_of(&self, self.token, "[]");
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s", refusals[i].peer == NULL ? "" : refusals[i].peer);
        self.names[0] = name;
        self.peer.ca_mask = refusals[i].ca_mask;
        self.server.connection.peer = refusals[i].peer == NULL ? NULL : &self.peer;
        h2o_iovec_t body = refusals[i].body == NULL ? good : iovec_of(refusals[i].body);
        int status = ask(&self, refusals[i].line, refusals[i].headers, body);
        if (status != refusals[i].status)
            fail_msg("refusal %zu, %s: %d\n%s", i, refusals[i].line, status,
                     self.server.heard.bytes);
        assert_non_null(strstr(self.server.heard.bytes, "content-type: application/problem+json"));
        assert_true((strstr(self.server.heard.bytes, "allow: POST") != NULL) == (status == 405));
        assert_null(strstr(self.server.heard.bytes, "authenticated"));
        assert_null(strstr(self.server.heard.bytes, self.token.base));
    }
    close_stage(&self);
}

/* peers 21: our own 413 from 256 KiB. */
static void test_too_large(void **state)
{
    (void)state;
    struct stage self;
    open_stage(&self);
    size_t len = WEBHOOK_MAX_BODY;
    char *bytes = h2o_mem_alloc_pool(&self.world.pool, len + 1);
    memset(bytes, ' ', len + 1);
    h2o_iovec_t review = review_of(&self, iovec_of("junk"), "[]");
    memcpy(bytes, review.base, review.len);
    h2o_iovec_t body = h2o_iovec_init(bytes, len);
    assert_int_equal(ask(&self, "POST /tokenreview/kubernetes", JSON, body), 200);
    body.len = len + 1;
    assert_int_equal(ask(&self, "POST /tokenreview/kubernetes", JSON, body), 413);
    close_stage(&self);
}

/* ---- answers ---- */

static void test_at_once(void **state)
{
    (void)state;
    struct stage self;
    open_stage(&self);
    identities_put(self.world.identities, world_identity(&self.world, self.world.now.mono_ms));
    h2o_iovec_t review = review_of(&self, self.token, "[\"https://kubernetes.default.svc\"]");
    const char *headers = JSON "accept: application/json, */*\r\n";
    assert_int_equal(ask(&self, "POST /tokenreview/kubernetes?timeout=30s", headers, review), 200);
    assert_non_null(strstr(self.server.heard.bytes, "content-type: application/json\r\n"));
    assert_non_null(strstr(body_of(&self), "\"authenticated\":true"));
    assert_non_null(strstr(body_of(&self), "\"username\":\"ada\""));
    assert_null(strstr(body_of(&self), "audiences")); /* none is claimed that is not configured */
    review = review_of(&self, iovec_of("junk"), "[]");
    assert_int_equal(ask(&self, "POST /tokenreview/kubernetes", headers, review), 200);
    assert_string_equal(body_of(&self), "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":"
                                        "\"TokenReview\",\"status\":{\"authenticated\":false}}");
    close_stage(&self);
}

/* The answer waits for Okta; nothing is sent before. */
static void test_later(void **state)
{
    (void)state;
    struct stage self;
    open_stage(&self);
    self.world.stops_when_asked = true;
    server_say(&self.server, request_of(&self, "POST /tokenreview/kubernetes", JSON,
                                        review_of(&self, self.token, "[]")));
    loop_run(self.world.loop);
    assert_non_null(self.world.asked);
    assert_int_equal(self.server.heard.len, 0);
    world_answer(&self.world);
    assert_int_equal(hear(&self), 200);
    assert_non_null(strstr(body_of(&self), "\"authenticated\":true"));
    close_stage(&self);
}

/* peers 26, 27: Okta can't say, and the API server is told so that it does not remember it. */
static void test_unsure(void **state)
{
    (void)state;
    struct stage self;
    open_stage(&self);
    self.world.stops_when_asked = true;
    self.world.says = OKTA_FAILS;
    server_say(&self.server, request_of(&self, "POST /tokenreview/kubernetes", JSON,
                                        review_of(&self, self.token, "[]")));
    loop_run(self.world.loop);
    world_answer(&self.world);
    assert_int_equal(hear(&self), 200);
    assert_non_null(strstr(body_of(&self), "\"authenticated\":false,\"error\":\"postern: "));
    close_stage(&self);
}

/* ---- overload, and callers that leave ---- */

static void test_overload(void **state)
{
    (void)state;
    struct stage self;
    open_stage(&self);
    webhook_limit_waiting(self.webhook, 1);
    self.world.stops_when_asked = true;
    h2o_iovec_t request =
        request_of(&self, "POST /tokenreview/kubernetes", JSON, review_of(&self, self.token, "[]"));
    server_say(&self.server, request);
    loop_run(self.world.loop);
    h2o_socket_t *first = self.server.client;
    h2o_socket_read_stop(first);
    for (int i = 0; i < 2; i++) { /* those who are sent away take no place */
        server_say(&self.server, request);
        assert_int_equal(hear(&self), 503);
    }
    h2o_iovec_t junk = review_of(&self, iovec_of("junk"), "[]");
    assert_int_equal(ask(&self, "POST /tokenreview/kubernetes", JSON, junk), 200);
    server_listen(&self.server, first);
    world_answer(&self.world);
    assert_int_equal(hear(&self), 200);

    identities_forget(self.world.identities, UID); /* and who had waited has given its place back */
    server_say(&self.server, request);
    loop_run(self.world.loop);
    world_answer(&self.world);
    assert_int_equal(hear(&self), 200);
    close_stage(&self);
}

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6 };

static void put_frame(struct text *out, int type, int flags, uint32_t stream, h2o_iovec_t payload)
{
    const unsigned char head[9] = {(unsigned char)(payload.len >> 16),
                                   (unsigned char)(payload.len >> 8),
                                   (unsigned char)payload.len,
                                   (unsigned char)type,
                                   (unsigned char)flags,
                                   0,
                                   0,
                                   0,
                                   (unsigned char)stream};
    text_add(out, (const char *)head, sizeof(head));
    text_add(out, payload.base, payload.len);
}

/* Preface and one review on stream 1, HPACK with literals only. */
static h2o_iovec_t http2_review(struct stage *self)
{
    struct text out;
    static char head[] = "\x83\x87"                        /* POST, https */
                         "\x04\x17/tokenreview/kubernetes" /* :path */
                         "\x01\x01x"                       /* :authority */
                         "\x0f\x10\x10"
                         "application/json"; /* content-type */
    text_init(&out, &self->world.pool);
    text_add_string(&out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    put_frame(&out, SETTINGS, 0, 0, h2o_iovec_init("", 0));
    put_frame(&out, HEADERS, 4, 1, h2o_iovec_init(head, sizeof(head) - 1));
    put_frame(&out, DATA, 1, 1, review_of(self, self->token, "[]"));
    return text_iovec(&out);
}

static void on_pong(h2o_socket_t *socket, const char *err)
{
    struct test_server *self = socket->data;
    assert_null(err);
    text_add(&self->heard, socket->input->bytes, socket->input->size);
    h2o_buffer_consume(&socket->input, socket->input->size);
    if (memmem(self->heard.bytes, self->heard.len, "pingpong", 8) != NULL)
        loop_stop(self->loop);
}

static unsigned answered(struct stage *self)
{
    struct text out;
    unsigned count = 0;
    text_init(&out, &self->world.pool);
    metrics_write(self->metrics, &out);
    const char *line =
        strstr(out.bytes, "postern_review_duration_seconds_count{cluster=\"kubernetes\"}");
    assert_non_null(line);
    assert_int_equal(sscanf(strchr(line, '}') + 1, "%u", &count), 1);
    return count;
}

/* peers 24: the stream is reset while the answer waits; the wait ends with it. */
static void test_reset_stream(void **state)
{
    (void)state;
    struct stage self;
    struct text more;
    open_stage(&self);
    self.world.stops_when_asked = true;
    server_say(&self.server, http2_review(&self));
    loop_run(self.world.loop);
    assert_non_null(self.world.asked);
    text_init(&more, &self.world.pool);
    put_frame(&more, RST_STREAM, 0, 1, h2o_iovec_init("\0\0\0\x08", 4));
    put_frame(&more, PING, 0, 0, h2o_iovec_init("pingpong", 8));
    h2o_iovec_t bytes = text_iovec(&more);
    h2o_socket_write(self.server.client, &bytes, 1, server_on_written);
    h2o_socket_read_start(self.server.client, on_pong);
    loop_run(self.world.loop);
    world_answer(&self.world);
    world_run_posted(&self.world);
    assert_int_equal(answered(&self), 0);
    h2o_socket_close(self.server.client);
    world_run_posted(&self.world);
    close_stage(&self);
}

/* peers 19 */
static void test_audiences(void **state)
{
    (void)state;
    static const struct {
        const char *asked, *answer; /* answer NULL: no */
    } table[] = {
        {"[\"vault\"]", "\"audiences\":[\"vault\"]"},
        {"[\"x\",\"https://kubernetes.default.svc\",\"vault\"]",
         "\"audiences\":[\"https://kubernetes.default.svc\",\"vault\"]"},
        {"[\"x\"]", NULL},
        {"[]", NULL},
        {"null", NULL},
    };
    static char name[] = "kube-apiserver.staging";
    struct stage self;
    open_stage(&self);
    world_sign_in(&self.world, "staging");
    self.names[0] = name;
    self.peer.ca_mask = SECOND_CA;
    identities_put(self.world.identities, world_identity(&self.world, self.world.now.mono_ms));
    h2o_iovec_t token =
        world_token(&self.world, self.world.keys, ISSUER, "staging", self.world.now.wall_ms / 1000);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        h2o_iovec_t review = review_of(&self, token, table[i].asked);
        assert_int_equal(ask(&self, "POST /tokenreview/staging", JSON, review), 200);
        bool is_yes = strstr(body_of(&self), "\"authenticated\":true") != NULL;
        assert_int_equal(is_yes, table[i].answer != NULL);
        if (is_yes)
            assert_non_null(strstr(body_of(&self), table[i].answer));
    }
    close_stage(&self);
}

/* ---- one cluster, and the CA files ---- */

static void test_short_path(void **state)
{
    (void)state;
    struct stage self;
    open_stage_of(&self, 1);
    h2o_iovec_t review = review_of(&self, iovec_of("junk"), "[]");
    assert_int_equal(ask(&self, "POST /tokenreview", JSON, review), 200);
    assert_int_equal(ask(&self, "POST /tokenreview/kubernetes", JSON, review), 200);
    assert_int_equal(ask(&self, "POST /tokenreview/staging", JSON, review), 404);
    close_stage(&self);
}

static void test_ca_files(void **state)
{
    (void)state;
    static char a[] = "a.crt", b[] = "b.crt", again[] = "a.crt";
    struct config_cluster clusters[4] = {
        {.client_ca_file = a}, {.client_ca_file = b}, {.client_ca_file = again}, {.name = NULL}};
    struct config config = {.clusters = clusters, .cluster_count = 4};
    const char *files[4];
    assert_int_equal(webhook_ca_files(&config, files, 4), 2);
    assert_string_equal(files[0], "a.crt");
    assert_string_equal(files[1], "b.crt");
    assert_int_equal(webhook_ca_files(&config, files, 1), 1);
    config.cluster_count = 0;
    assert_int_equal(webhook_ca_files(&config, files, 4), 0);
}

/* More CAs than ca_mask has bits: said by `check`; the clusters beyond answer nobody. */
static void test_too_many_cas(void **state)
{
    (void)state;
    h2o_mem_pool_t pool;
    struct config_problems problems = {.count = 0};
    struct config_cluster clusters[34];
    char names[34][16], path[] = "x.yaml";
    struct config config = {.path = path, .clusters = clusters, .cluster_count = 32};
    h2o_mem_init_pool(&pool);
    text_init(&problems.text, &pool);
    for (size_t i = 0; i < 34; i++) {
        snprintf(names[i], sizeof(names[i]), "ca-%zu", i % 33);
        clusters[i] = (struct config_cluster){.client_ca_file = names[i]};
    }
    webhook_check_config(&config, &problems);
    assert_int_equal(problems.count, 0);
    config.cluster_count = 34;
    webhook_check_config(&config, &problems);
    assert_int_equal(problems.count, 1);
    assert_non_null(strstr(problems.text.bytes, "clusters[32].client_ca_file"));
    h2o_mem_clear_pool(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_at_once),      cmocka_unit_test(test_later),
        cmocka_unit_test(test_unsure),       cmocka_unit_test(test_audiences),
        cmocka_unit_test(test_short_path),   cmocka_unit_test(test_overload),
        cmocka_unit_test(test_reset_stream), cmocka_unit_test(test_ca_files),
        cmocka_unit_test(test_too_many_cas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
