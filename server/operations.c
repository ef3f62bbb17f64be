/* SPDX-License-Identifier: Apache-2.0
 *
 * What a cluster's probes and Prometheus ask. /readyz says 200 once keys, store and listeners are up;
 * Okta's state stands in the body only, as a 503 would take all replicas away at once. */
#include "operations.h"

#include "base/json.h"
#include "http/web.h"

static int on_healthz(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)ctx, (void)rest;
    web_send(req, 200, "text/plain; charset=utf-8", iovec_of("ok\n"));
    return 0;
}

static void put_okta(struct json_writer *out, struct okta *okta)
{
    struct okta_status status;
    okta_status(okta, &status);
    json_key(out, "okta");
    json_begin_object(out);
    json_key(out, "discovered");
    json_put_bool(out, status.discovered);
    if (status.error[0] != '\0') {
        json_key(out, "error");
        json_put_string(out, status.error);
    }
    json_end_object(out);
}

static int on_readyz(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct operations *self = ctx;
    (void)rest;
    bool ready = atomic_load(&self->ready);
    struct json_writer *out = json_writer_new(&req->pool);
    json_begin_object(out);
    json_key(out, "ready");
    json_put_bool(out, ready);
    json_key(out, "store");
    json_put_string(out, self->store);
    if (self->okta != NULL)
        put_okta(out, self->okta);
    json_end_object(out);
    web_send_json(req, ready ? 200 : 503, out);
    return 0;
}

static int on_metrics(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct operations *self = ctx;
    struct text out;
    (void)rest;
    text_init(&out, &req->pool);
    metrics_write(self->metrics, &out);
    web_send(req, 200, "text/plain; version=0.0.4; charset=utf-8", text_iovec(&out));
    return 0;
}

static const struct web_route PROBES[] = {
    {"GET", "/healthz", on_healthz},
    {"GET", "/readyz", on_readyz},
    {"GET", "/metrics", on_metrics},
    {NULL, NULL, NULL},
};

struct operations_handler {
    h2o_handler_t super;
    struct operations *operations;
};

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    struct operations_handler *self = (struct operations_handler *)handler;
    return web_dispatch(PROBES, self->operations, req);
}

static void register_at(struct operations *self, h2o_hostconf_t *host, const char *path)
{
    h2o_pathconf_t *conf = h2o_config_register_path(host, path, 0);
    struct operations_handler *handler =
        (struct operations_handler *)h2o_create_handler(conf, sizeof(*handler));
    handler->super.on_req = on_request;
    handler->operations = self;
}

void operations_register(struct operations *self, h2o_hostconf_t *host, bool with_metrics)
{
    if (with_metrics) {
        register_at(self, host, "/");
        return;
    }
    register_at(self, host, "/healthz");
    register_at(self, host, "/readyz");
}
