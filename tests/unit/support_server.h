/* SPDX-License-Identifier: Apache-2.0
 *
 * h2o with the handlers of a test, on the test's loop, and a client of HTTP/1.1 without TLS. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <h2o.h>
#include <h2o/http1.h>
#include <sys/socket.h>

#include "base/loop.h"
#include "base/text.h"
#include "http/web.h"

struct test_server {
    struct loop *loop;
    h2o_mem_pool_t *pool;
    h2o_globalconf_t conf;
    h2o_context_t ctx;
    h2o_accept_ctx_t accept;
    struct web_connection connection; /* of each that is made */
    h2o_socket_t *client;
    struct text heard; /* the answer so far */
};

/* Handlers are registered with what it returns; then server_start. */
static inline h2o_hostconf_t *server_init(struct test_server *self, struct loop *loop,
                                          h2o_mem_pool_t *pool)
{
    *self = (struct test_server){.loop = loop, .pool = pool};
    h2o_config_init(&self->conf);
    return h2o_config_register_host(&self->conf, iovec_of("default"), 65535);
}

static inline void server_start(struct test_server *self)
{
    h2o_context_init(&self->ctx, loop_h2o(self->loop), &self->conf);
    web_context_set_loop(&self->ctx, self->loop);
    self->accept = (h2o_accept_ctx_t){.ctx = &self->ctx, .hosts = self->conf.hosts};
}

static inline void server_stop(struct test_server *self)
{
    h2o_multithread_queue_t *queue = self->ctx.queue;
    h2o_context_dispose(&self->ctx);
    free(queue); /* h2o 2.2.5 does not */
    h2o_config_dispose(&self->conf);
}

static inline void server_on_written(h2o_socket_t *socket, const char *err)
{
    (void)socket;
    assert_null(err);
}

static inline void server_on_heard(h2o_socket_t *socket, const char *err)
{
    struct test_server *self = socket->data;
    text_add(&self->heard, socket->input->bytes, socket->input->size);
    h2o_buffer_consume(&socket->input, socket->input->size);
    if (err != NULL) { /* the server has closed: the answer is whole */
        h2o_socket_read_stop(socket);
        loop_stop(self->loop);
    }
}

/* Listens to that client from now on. */
static inline void server_listen(struct test_server *self, h2o_socket_t *client)
{
    self->client = client;
    text_init(&self->heard, self->pool);
    h2o_socket_read_start(client, server_on_heard);
}

/* A new connection, and a request on it that ends it. */
static inline void server_say(struct test_server *self, h2o_iovec_t request)
{
    int fds[2];
    h2o_loop_t *loop = loop_h2o(self->loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    h2o_socket_t *socket = h2o_evloop_socket_create(loop, fds[0], 0);
    socket->on_close.data = &self->connection;
    h2o_accept(&self->accept, socket);
    h2o_socket_t *client = h2o_evloop_socket_create(loop, fds[1], 0);
    client->data = self;
    h2o_socket_write(client, &request, 1, server_on_written);
    server_listen(self, client);
}

/* The whole answer's status. */
static inline int server_hear(struct test_server *self)
{
    int status = 0;
    loop_run(self->loop);
    h2o_socket_close(self->client);
    assert_non_null(self->heard.bytes);
    assert_int_equal(sscanf(self->heard.bytes, "HTTP/1.1 %d", &status), 1);
    return status;
}
