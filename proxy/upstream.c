/* SPDX-License-Identifier: Apache-2.0
 *
 * See upstream.h. The name or address in a certificate is checked by OpenSSL as part of the chain's verification: h2o's own
 * check, which comes afterwards, is skipped with TLS 1.3 and knows no addresses. */
#include "upstream.h"

#include <arpa/inet.h>
#include <assert.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <string.h>

#include "base/text.h"

#define MOST_WORKERS 32
#define IDLE_MS                                                                                    \
    30000 /* shorter than what servers keep an idle connection for: Go's default is 90 s and more */

struct worker_pool {
    h2o_loop_t *loop; /* NULL: free */
    h2o_socketpool_t pool;
};

struct upstream {
    char *name, *authority, *host;
    uint16_t port;
    bool is_address;
    struct sockaddr_storage address; /* where is_address */
    socklen_t address_len;
    SSL_CTX *tls; /* NULL: plain */
    struct counter *results[UPSTREAM_RESULTS];
    struct histogram *latency;
    pthread_mutex_t lock; /* of the table, not of a worker's pool */
    struct worker_pool *pools[MOST_WORKERS];
};

/* ---- the URL ---- */

static void read_address(struct upstream *self)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&self->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&self->address;
    self->is_address = true;
    if (inet_pton(AF_INET, self->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(self->port);
        self->address_len = sizeof(*v4);
    } else if (inet_pton(AF_INET6, self->host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(self->port);
        self->address_len = sizeof(*v6);
    } else {
        self->is_address = false;
    }
}

static char *own(h2o_iovec_t bytes)
{
    return h2o_strdup(NULL, bytes.base, bytes.len).base;
}

static bool read_url(struct upstream *self, const char *url, bool *tls, struct error *err)
{
    h2o_url_t parsed;
    if (h2o_url_parse(url, strlen(url), &parsed) != 0 || parsed.host.len == 0 ||
        memchr(parsed.authority.base, '@', parsed.authority.len) != NULL ||
        !h2o_memis(parsed.path.base, parsed.path.len, H2O_STRLIT("/")))
        return error_set(err, ERROR_BAD_INPUT, "%s is no URL of a scheme and a host alone", url);
    self->authority = own(parsed.authority);
    self->host = own(parsed.host);
    self->port = h2o_url_get_port(&parsed);
    *tls = parsed.scheme == &H2O_URL_SCHEME_HTTPS;
    read_address(self);
    return true;
}

/* ---- TLS ---- */

static bool fail(const char *what, struct error *err)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return error_set(err, ERROR_BAD_INPUT, "%s%s%s", what, reason != NULL ? ": " : "",
                     reason != NULL ? reason : "");
}

/* As in server/tls.c: read once here, not by several threads at the first handshake. */
static void read_extensions(X509_STORE *store)
{
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
    for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
        X509 *certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
        if (certificate != NULL)
            X509_check_purpose(certificate, -1, 0);
    }
}

static bool expect_peer(const struct upstream *self, struct error *err)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(self->tls);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    int set = self->is_address ? X509_VERIFY_PARAM_set1_ip_asc(param, self->host)
                               : X509_VERIFY_PARAM_set1_host(param, self->host, 0);
    return set == 1 || fail("the host can't be looked for in certificates", err);
}

/* Runs for each message of TLS, so before the server's first. */
/* NOLINTNEXTLINE(readability-function-size): OpenSSL's type */
static void on_message(int is_ours, int version, int type, const void *bytes, size_t len, SSL *ssl,
                       void *unused)
{
    (void)version, (void)bytes, (void)len, (void)unused;
    if (is_ours != 0 && type == SSL3_RT_HANDSHAKE)
        SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
}

/* Where the peer is an address, h2o's own check after a handshake of TLS 1.2 finds no such name, and it passes over that
 * only where the context asks for no verification (http1client.c asks the context, not the connection). So the context asks
 * for none, and each connection for it from its first message on: OpenSSL then ends the handshake itself where chain, time or
 * address are not right. h2o still refuses who shows no certificate at all. */
static void demand_peer(struct upstream *self)
{
    SSL_CTX_set_verify(self->tls, self->is_address ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (self->is_address)
        SSL_CTX_set_msg_callback(self->tls, on_message);
    /* A resumed session's certificate would not be looked at again. */
    SSL_CTX_set_session_cache_mode(self->tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(self->tls, SSL_OP_NO_TICKET);
}

static bool make_tls(struct upstream *self, const char *ca_file, struct error *err)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    self->tls = SSL_CTX_new(TLS_client_method());
    if (self->tls == NULL)
        return error_set(err, ERROR_INTERNAL, "OpenSSL: no memory");
    SSL_CTX_set_min_proto_version(self->tls, TLS1_2_VERSION);
    demand_peer(self);
    if (SSL_CTX_set_alpn_protos(self->tls, alpn, sizeof(alpn) - 1) != 0)
        return error_set(err, ERROR_INTERNAL, "OpenSSL: no memory");
    int loaded = ca_file != NULL ? SSL_CTX_load_verify_file(self->tls, ca_file)
                                 : SSL_CTX_set_default_verify_paths(self->tls);
    if (loaded != 1)
        return fail(ca_file != NULL ? ca_file : "the system's roots can't be read", err);
    read_extensions(SSL_CTX_get_cert_store(self->tls));
    return expect_peer(self, err);
}

/* ---- the thing ---- */

static void make_metrics(struct upstream *self, struct metrics *metrics)
{
    static const char *const results[UPSTREAM_RESULTS] = {"ok", "unreachable", "timeout", "broken"};
    h2o_mem_pool_t pool;
    if (metrics == NULL)
        return;
    h2o_mem_init_pool(&pool);
    const char *name = metrics_label(&pool, self->name);
    for (int i = 0; i < UPSTREAM_RESULTS; ++i)
        self->results[i] =
            metrics_counter(metrics, "postern_proxy_upstream_requests_total",
                            "Requests that were passed on, by what came of them.",
                            text_format(&pool, "upstream=\"%s\",result=\"%s\"", name, results[i]));
    self->latency = metrics_histogram(metrics, "postern_proxy_upstream_seconds",
                                      "From the start of a request until its answer began.",
                                      text_format(&pool, "upstream=\"%s\"", name));
    h2o_mem_clear_pool(&pool);
}

bool upstream_new(const struct upstream_options *options, struct upstream **out, struct error *err)
{
    struct upstream *self = h2o_mem_alloc(sizeof(*self));
    bool tls = false;
    *self = (struct upstream){.name = own(iovec_of(options->name))};
    pthread_mutex_init(&self->lock, NULL);
    if (!read_url(self, options->url, &tls, err) ||
        (tls && !make_tls(self, options->certificate_authority_file, err))) {
        upstream_free(self);
        return false;
    }
    make_metrics(self, options->metrics);
    *out = self;
    return true;
}

void upstream_free(struct upstream *self)
{
    if (self == NULL)
        return;
    for (size_t i = 0; i < MOST_WORKERS && self->pools[i] != NULL; ++i) {
        self->pools[i]->pool._interval_cb.loop = NULL; /* it has ended, with its timers */
        h2o_socketpool_dispose(&self->pools[i]->pool);
        free(self->pools[i]);
    }
    pthread_mutex_destroy(&self->lock);
    SSL_CTX_free(self->tls);
    free(self->name);
    free(self->authority);
    free(self->host);
    free(self);
}

const char *upstream_name(const struct upstream *self)
{
    return self->name;
}

const char *upstream_authority(const struct upstream *self)
{
    return self->authority;
}

/* ---- connections ---- */

/* No name is asked for in SNI where there is none (RFC 6066 section 3): h2o sends what it has, OpenSSL takes an
 * empty one for none. */
static void forget_name(h2o_iovec_t *host)
{
    free(host->base);
    *host = h2o_strdup(NULL, "", 0);
}

static struct worker_pool *new_pool(struct upstream *self, h2o_loop_t *loop)
{
    struct worker_pool *worker = h2o_mem_alloc(sizeof(*worker));
    worker->loop = loop;
    if (self->is_address) {
        h2o_socketpool_init_by_address(&worker->pool, (struct sockaddr *)&self->address,
                                       self->address_len, self->tls != NULL, SIZE_MAX);
        forget_name(&worker->pool.peer.host);
    } else {
        h2o_socketpool_init_by_hostport(&worker->pool, iovec_of(self->host), self->port,
                                        self->tls != NULL, SIZE_MAX);
    }
    h2o_socketpool_set_timeout(&worker->pool, loop, IDLE_MS);
    return worker;
}

static h2o_socketpool_t *pool_of(struct upstream *self, h2o_loop_t *loop)
{
    size_t at = 0;
    pthread_mutex_lock(&self->lock);
    while (at < MOST_WORKERS && self->pools[at] != NULL && self->pools[at]->loop != loop)
        ++at;
    assert(at < MOST_WORKERS);
    if (self->pools[at] == NULL)
        self->pools[at] = new_pool(self, loop);
    h2o_socketpool_t *pool = &self->pools[at]->pool;
    pthread_mutex_unlock(&self->lock);
    return pool;
}

void upstream_connect(struct upstream *self, const struct upstream_dial *dial)
{
    dial->ctx->ssl_ctx = self->tls;
    if (!dial->fresh) {
        h2o_http1client_connect_with_pool(dial->client, dial->data, dial->ctx,
                                          pool_of(self, dial->ctx->loop), dial->cb);
        return;
    }
    h2o_http1client_connect(dial->client, dial->data, dial->ctx, iovec_of(self->host), self->port,
                            self->tls != NULL, dial->cb);
    h2o_http1client_t *client = *dial->client; /* NULL: it failed at once */
    if (client != NULL && self->tls != NULL && self->is_address) {
        h2o_iovec_t name = iovec_of(client->ssl.server_name);
        forget_name(&name);
        client->ssl.server_name = name.base;
    }
}

/* ---- numbers ---- */

void upstream_count(struct upstream *self, enum upstream_result result)
{
    counter_add(self->results[result], 1);
}

void upstream_observe_us(struct upstream *self, int64_t us)
{
    histogram_observe_us(self->latency, us);
}
