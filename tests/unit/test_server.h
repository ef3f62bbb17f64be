/* SPDX-License-Identifier: Apache-2.0
 *
 * A real h2o server on loopback with a thread of its own, for tests that need an h2o_req_t or somebody to
 * fetch from. One handler serves every path. What it allocates lives until the process ends, reachable from
 * the static struct that the test keeps. */
#pragma once

#include <arpa/inet.h>
#include <assert.h>
#include <h2o.h>
#include <h2o/http1.h>
#include <h2o/http2.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/loop.h"
#include "http/web.h"

struct test_server {
    int (*on_req)(h2o_handler_t *handler, h2o_req_t *req); /* set before the start */
    SSL_CTX *tls;                                          /* NULL: plain */
    uint16_t port;                                         /* set by the start */
    atomic_uint accepted;                                  /* connections so far */

    struct loop *loop;
    h2o_globalconf_t conf;
    h2o_hostconf_t *host;
    h2o_context_t ctx;
    h2o_accept_ctx_t accept;
    h2o_socket_t *listener;
    int fd;
    pthread_t thread;
    pthread_barrier_t ready;
};

/* A socket bound to a free port of loopback that does not listen: who connects is refused. */
static int test_bind(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int done = bind(fd, (struct sockaddr *)&address, len);
    assert(fd >= 0 && done == 0);
    done = getsockname(fd, (struct sockaddr *)&address, &len);
    assert(done == 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void test_on_accept(h2o_socket_t *listener, const char *err)
{
    struct test_server *self = listener->data;
    h2o_socket_t *socket = err == NULL ? h2o_evloop_socket_accept(listener) : NULL;
    if (socket == NULL)
        return;
    atomic_fetch_add(&self->accepted, 1);
    h2o_accept(&self->accept, socket);
}

static void *test_server_run(void *arg)
{
    struct test_server *self = arg;
    self->loop = loop_new();
    h2o_context_init(&self->ctx, loop_h2o(self->loop), &self->conf);
    web_context_set_loop(&self->ctx, self->loop);
    self->accept =
        (h2o_accept_ctx_t){.ctx = &self->ctx, .hosts = self->conf.hosts, .ssl_ctx = self->tls};
    self->listener =
        h2o_evloop_socket_create(loop_h2o(self->loop), self->fd, H2O_SOCKET_FLAG_DONT_READ);
    self->listener->data = self;
    h2o_socket_read_start(self->listener, test_on_accept);
    pthread_barrier_wait(&self->ready);
    loop_run(self->loop);
    return NULL;
}

static void test_server_start(struct test_server *self)
{
    signal(SIGPIPE, SIG_IGN);
    self->fd = test_bind(&self->port);
    int done = listen(self->fd, 128);
    assert(done == 0);
    h2o_config_init(&self->conf);
    self->host = h2o_config_register_host(&self->conf, h2o_iovec_init("default", 7), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(self->host, "/", 0);
    h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = self->on_req;
    web_access_log(self->host, "test", false);
    pthread_barrier_init(&self->ready, NULL, 2);
    done = pthread_create(&self->thread, NULL, test_server_run, self);
    assert(done == 0);
    pthread_barrier_wait(&self->ready);
}

static void test_server_stop(struct test_server *self)
{
    loop_stop(self->loop);
    pthread_join(self->thread, NULL);
}
