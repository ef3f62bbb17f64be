/* SPDX-License-Identifier: Apache-2.0
 *
 * The floor that figures are told against: the same listener (mutual TLS, HTTP/2, one worker's loop) with
 * a handler that answers a fixed body.
 *
 *     bare ADDRESS:PORT CERTIFICATE KEY CLIENT-CA BYTES
 */
#include <signal.h>

#include "server/tls.h"
#include "server/worker.h"

static h2o_iovec_t answer;

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    (void)handler;
    req->res.status = 200;
    req->res.reason = "OK";
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                   H2O_STRLIT("application/json"));
    h2o_send_inline(req, answer.base, answer.len);
    return 0;
}

static int fail(const struct error *err)
{
    fprintf(stderr, "bare: %s\n", err->text);
    return 1;
}

int main(int argc, char **argv)
{
    struct config_address address;
    struct error err;
    static struct listener_kind kind;
    static struct worker worker;
    sem_t ready;
    SSL_CTX *tls;
    sigset_t signals;
    int number;
    if (argc != 6 || !config_parse_address(argv[1], &address))
        return 2;
    struct config_tls files = {argv[2], argv[3], argv[4]};
    struct tls_options options = {.files = &files, .session_context = "bare", .http2 = true};
    options.client_cas[options.client_ca_count++] = argv[4];
    answer.len = strtoul(argv[5], NULL, 10);
    answer.base = h2o_mem_alloc(answer.len);
    memset(answer.base, ' ', answer.len);
    if (!tls_context_new(&options, &tls, &err))
        return fail(&err);
    listener_kind_init(&kind, "bare", 1024 * 1024);
    kind.conf.http2.idle_timeout = 120 * 1000;
    listener_kind_set_tls(&kind, tls);
    h2o_create_handler(h2o_config_register_path(kind.host, "/", 0), sizeof(h2o_handler_t))->on_req =
        on_request;
    listener_kind_guard(&kind,
                        metrics_new()); /* part of the listener: without it bytes only add up */
    if (!listener_kind_bind(&kind, &address, 1, &err))
        return fail(&err);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    sem_init(&ready, 0, 0);
    struct listener_kind *kinds[] = {&kind};
    worker =
        (struct worker){.kinds = kinds, .kind_count = 1, .connection_cap = 1000, .ready = &ready};
    worker_start(&worker);
    sem_wait(&ready);
    printf("ready\n");
    fflush(stdout);
    sigwait(&signals, &number);
    worker_drain(&worker, 1000);
    worker_join(&worker);
    return 0;
}
