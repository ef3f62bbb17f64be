/* SPDX-License-Identifier: Apache-2.0
 *
 * See server.h. */
#include "server.h"

#include <signal.h>

void bench_fail(const char *message)
{
    fprintf(stderr, "bench: %s\n", message);
    exit(1);
}

/* arguments: ADDRESS:PORT CERTIFICATE KEY */
void bench_open(struct bench_server *self, char **arguments, struct tls_options *options)
{
    struct error err;
    SSL_CTX *tls;
    *self = (struct bench_server){.files = {arguments[1], arguments[2], NULL}};
    options->files = &self->files;
    if (!config_parse_address(arguments[0], &self->address))
        bench_fail("the address is no address");
    if (!tls_context_new(options, &tls, &err))
        bench_fail(err.text);
    h2o_socket_buffer_mmap_settings.threshold = SIZE_MAX; /* as Postern has it */
    listener_kind_init(&self->kind, options->session_context, 1024 * 1024);
    self->kind.connection_cap = 1000;
    self->kind.conf.http1.req_timeout = 120 * 1000;
    self->kind.conf.http2.idle_timeout = 120 * 1000;
    listener_kind_set_tls(&self->kind, tls);
    self->root = h2o_config_register_path(self->kind.host, "/", 0);
}

void bench_handle(struct bench_server *self, int (*on_request)(h2o_handler_t *, h2o_req_t *))
{
    h2o_create_handler(self->root, sizeof(h2o_handler_t))->on_req = on_request;
}

int bench_serve(struct bench_server *self)
{
    static struct worker worker;
    struct listener_kind *kinds[] = {&self->kind};
    struct error err;
    sem_t ready;
    sigset_t signals;
    int number;
    /* Part of the listener: without it bytes only add up. */
    listener_kind_guard(&self->kind, metrics_new());
    if (!listener_kind_bind(&self->kind, &self->address, 1, &err))
        bench_fail(err.text);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    sem_init(&ready, 0, 0);
    worker = (struct worker){.kinds = kinds, .kind_count = 1, .ready = &ready};
    worker_start(&worker);
    sem_wait(&ready);
    printf("ready\n");
    fflush(stdout);
    sigwait(&signals, &number);
    worker_drain(&worker, 1000);
    worker_join(&worker);
    return 0;
}
