/* SPDX-License-Identifier: Apache-2.0
 *
 * The floor that figures are told against: the same listener (mutual TLS, HTTP/2, one worker's loop) with
 * a handler that answers a fixed body.
 *
 *     bare ADDRESS:PORT CERTIFICATE KEY CLIENT-CA BYTES
 */
#include "server.h"

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

int main(int argc, char **argv)
{
    static struct bench_server server;
    struct tls_options options = {.session_context = "bare", .http2 = true};
    if (argc != 6)
        return 2;
    options.client_cas[options.client_ca_count++] = argv[4];
    answer.len = strtoul(argv[5], NULL, 10);
    answer.base = h2o_mem_alloc(answer.len);
    memset(answer.base, ' ', answer.len);
    bench_open(&server, argv + 1, &options);
    bench_handle(&server, on_request);
    return bench_serve(&server);
}
