/* SPDX-License-Identifier: Apache-2.0
 *
 * The proxy's engine behind a plain listener, without sign-in, for tests/integration/80_proxy_engine.test.mjs:
 *   proxy_engine PORT UPSTREAM_URL CA_FILE|- HEAD_MS IDLE_MS CUT_FILE
 * What is open is judged away once CUT_FILE exists. */
#include <arpa/inet.h>
#include <h2o.h>
#include <h2o/http1.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http/web.h"
#include "stream.h"
#include "target.h"

static struct {
    struct upstream *upstream;
    struct streams_hub *hub;
    const char *cut_file;
    int64_t head_ms, idle_ms;
} world;

static h2o_accept_ctx_t accept_ctx;

static bool judge(void *ctx, const struct stream_owner *owner)
{
    (void)ctx, (void)owner;
    return access(world.cut_file, F_OK) != 0;
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    static const struct stream_owner owner = {.login_id = "l", .cluster = "c"};
    struct header_list list;
    struct error err = {.kind = ERROR_NONE};
    (void)handler;
    if (!headers_forward(req, NULL, &list, &err) || !target_check(req->input.path, &err)) {
        req->http1_is_persistent = 0;
        web_problem(req, 400, "Bad request", err.text);
        return 0;
    }
    header_list_add(&list, "Authorization", iovec_of("Bearer ours"));
    const struct proxy_request request = {.upstream = world.upstream,
                                          .streams = streams_here(world.hub, web_loop(req)),
                                          .owner = &owner,
                                          .method = req->input.method,
                                          .path = req->input.path,
                                          .host = iovec_of(upstream_authority(world.upstream)),
                                          .headers = list.entries,
                                          .header_count = list.count,
                                          .upgrade = req->upgrade.base != NULL,
                                          .head_ms = world.head_ms,
                                          .idle_ms = world.idle_ms};
    proxy_forward(req, &request);
    return 0;
}

static void on_accept(h2o_socket_t *listener, const char *err)
{
    h2o_socket_t *socket = err == NULL ? h2o_evloop_socket_accept(listener) : NULL;
    if (socket != NULL)
        h2o_accept(&accept_ctx, socket);
}

static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 128) != 0) {
        perror("listen");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    static h2o_globalconf_t conf;
    static h2o_context_t ctx;
    struct error err = {.kind = ERROR_NONE};
    if (argc != 7)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    h2o_socket_buffer_mmap_settings.threshold = SIZE_MAX;
    const struct upstream_options options = {.name = "test",
                                             .url = argv[2],
                                             .certificate_authority_file =
                                                 strcmp(argv[3], "-") != 0 ? argv[3] : NULL};
    if (!upstream_new(&options, &world.upstream, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    world.head_ms = strtol(argv[4], NULL, 10);
    world.idle_ms = strtol(argv[5], NULL, 10);
    world.cut_file = argv[6];
    world.hub = streams_hub_new(judge, NULL, NULL);
    h2o_config_init(&conf);
    conf.http1.upgrade_to_http2 = 0;
    conf.max_request_entity_size = 64 * 1024 * 1024;
    h2o_hostconf_t *host =
        h2o_config_register_host(&conf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_handler_t *handler =
        h2o_create_handler(h2o_config_register_path(host, "/", 0), sizeof(*handler));
    handler->on_req = on_request;
    struct loop *loop = loop_new();
    h2o_context_init(&ctx, loop_h2o(loop), &conf);
    web_context_set_loop(&ctx, loop);
    accept_ctx = (h2o_accept_ctx_t){.ctx = &ctx, .hosts = conf.hosts};
    h2o_socket_t *listener = h2o_evloop_socket_create(
        loop_h2o(loop), listen_on((int)strtol(argv[1], NULL, 10)), H2O_SOCKET_FLAG_DONT_READ);
    h2o_socket_read_start(listener, on_accept);
    fprintf(stderr, "{\"message\":\"ready\"}\n");
    loop_run(loop);
    return 0;
}
