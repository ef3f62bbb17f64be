/* SPDX-License-Identifier: Apache-2.0
 *
 * What proxying costs by itself: h2o's own reverse proxy handler on our listener, TLS on both sides, upstream
 * connections kept, the upstream's certificate checked as proxy/upstream.c does it (h2o's own check is skipped with
 * TLS 1.3). It asks nobody who they are.
 *
 *     plain_proxy ADDRESS:PORT CERTIFICATE KEY UPSTREAM UPSTREAM-CA     UPSTREAM: https://IP-ADDRESS:PORT
 */
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "server.h"

static SSL_CTX *upstream_tls(const h2o_url_t *upstream, const char *ca)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    const char *host = h2o_strdup(NULL, upstream->host.base, upstream->host.len).base;
    SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_file(tls, ca) != 1 ||
        X509_VERIFY_PARAM_set1_ip_asc(SSL_CTX_get0_param(tls), host) != 1)
        bench_fail("the upstream's CA, or its address");
    return tls;
}

int main(int argc, char **argv)
{
    static struct bench_server server;
    struct tls_options options = {.session_context = "plain_proxy"};
    h2o_url_t upstream;
    if (argc != 6 || h2o_url_parse(argv[4], SIZE_MAX, &upstream) != 0)
        return 2;
    h2o_proxy_config_vars_t config = {.io_timeout = 75000, .keepalive_timeout = 30000};
    config.ssl_ctx = upstream_tls(&upstream, argv[5]);
    bench_open(&server, argv + 1, &options);
    server.kind.limits = &GUARD_PROXY_LIMITS;
    h2o_proxy_register_reverse_proxy(server.root, &upstream, &config);
    return bench_serve(&server);
}
