/* SPDX-License-Identifier: Apache-2.0
 *
 * What stands behind the proxies that are measured: TLS and HTTP/1.1, cheap, so that it is not what is measured.
 * Answers a body of as many bytes as the query says (?bytes=N), with the headers of an API server. The answer to
 * /handshakes is how many TLS connections there were: few, when a proxy keeps them.
 *
 *     upstream ADDRESS:PORT CERTIFICATE KEY
 */
#include <openssl/ssl.h>

#include "server.h"

static char filling[65536];
static struct bench_server server;

struct answer {
    h2o_generator_t generator; /* first */
    size_t left;
};

static void send_piece(h2o_generator_t *generator, h2o_req_t *req)
{
    struct answer *self = (struct answer *)generator;
    h2o_iovec_t piece =
        h2o_iovec_init(filling, self->left < sizeof(filling) ? self->left : sizeof(filling));
    self->left -= piece.len;
    h2o_send(req, &piece, 1, self->left == 0 ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

static int answer_handshakes(h2o_req_t *req)
{
    char text[32];
    snprintf(text, sizeof(text), "%ld", SSL_CTX_sess_accept_good(server.kind.tls));
    h2o_send_inline(req, text, strlen(text));
    return 0;
}

static void add_header(h2o_req_t *req, const char *name, const char *value)
{
    h2o_add_header_by_str(&req->pool, &req->res.headers, name, strlen(name), 1, NULL, value,
                          strlen(value));
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    static const char key[] = "bytes=";
    char *found = memmem(req->path.base, req->path.len, key, sizeof(key) - 1);
    struct answer *answer = h2o_mem_alloc_pool(&req->pool, sizeof(*answer));
    (void)handler;
    req->res.status = 200;
    req->res.reason = "OK";
    if (h2o_memis(req->path.base, req->path.len, H2O_STRLIT("/handshakes")))
        return answer_handshakes(req);
    *answer = (struct answer){.generator = {send_piece, NULL},
                              .left = found != NULL ? strtoul(found + 6, NULL, 10) : 0};
    req->res.content_length = answer->left;
    add_header(req, "content-type", "application/json");
    add_header(req, "audit-id", "6a0f6d3e-6f9c-4f0e-8f6b-0f2f6c1d3b5a");
    add_header(req, "cache-control", "no-cache, private");
    add_header(req, "x-kubernetes-pf-flowschema-uid", "b1b0b0a5-2f4e-4a56-9a4d-5b8b4f6f7c11");
    add_header(req, "x-kubernetes-pf-prioritylevel-uid", "0e6d3a0b-8a8c-4d0f-9b1c-2c3d4e5f6a7b");
    h2o_start_response(req, &answer->generator);
    send_piece(&answer->generator, req);
    return 0;
}

int main(int argc, char **argv)
{
    struct tls_options options = {.session_context = "upstream"};
    if (argc != 4)
        return 2;
    memset(filling, ' ', sizeof(filling));
    bench_open(&server, argv + 1, &options);
    server.kind.limits = &GUARD_PROXY_LIMITS; /* no end to an answer that takes its time */
    bench_handle(&server, on_request);
    return bench_serve(&server);
}
