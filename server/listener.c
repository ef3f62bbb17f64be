/* SPDX-License-Identifier: Apache-2.0
 *
 * Sockets, accepted connections and what hangs on them. A connection keeps its own reference to the
 * SSL_CTX that it was accepted with (h2o keeps a bare pointer until the first byte), and the peer's
 * certificate as the handshake left it. */
#include "listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy_line.h"
#include "tls.h"

struct connection {            /* hangs on its socket's on_close */
    struct web_connection web; /* first: what handlers see (http/web.h) */
    struct tls_peer *peer;
    struct guard guard;
    struct listener *listener;
    h2o_socket_t *socket;
    h2o_linklist_t link;
    SSL_CTX *tls;
    int64_t awaits_line_ms; /* monotonic: since when its PROXY line is awaited; 0: it is not */
};

#define WATCH_MS           5000
#define LINE_MS            10000 /* as h2o's for a handshake */
#define TURNED_AWAY_LOG_MS 10000

/* ---- connections ---- */

static void on_accept(h2o_socket_t *socket, const char *err);

static void on_connection_close(void *data)
{
    struct connection *self = data;
    struct listener *listener = self->listener;
    h2o_linklist_unlink(&self->link);
    --listener->connection_count;
    if (listener->paused && listener->socket != NULL) {
        listener->paused = false;
        h2o_socket_read_start(listener->socket, on_accept);
    }
    guard_dispose(&self->guard);
    tls_peer_free(self->peer);
    SSL_CTX_free(self->tls);
    free(self);
}

static void on_tls_info(const SSL *ssl, int where, int ret)
{
    (void)ret;
    if ((where & SSL_CB_HANDSHAKE_DONE) == 0)
        return;
    h2o_socket_t *socket = BIO_get_data(SSL_get_rbio(ssl)); /* h2o's BIO carries its socket */
    struct connection *self = socket->on_close.data;
    guard_watch_input(&self->guard, ssl);
    if (SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE)
        return;
    tls_peer_free(self->peer);
    /* A reload may have come during the handshake: the listener's context of now is what counts. */
    self->peer = tls_peer_new(ssl, self->listener->accept.ssl_ctx);
    self->web.peer = self->peer != NULL ? &self->peer->web : NULL;
}

static struct guard *find_guard(h2o_req_t *req)
{
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    struct connection *self = socket != NULL ? socket->on_close.data : NULL;
    return self != NULL ? &self->guard : NULL;
}

static struct connection *connection_of(h2o_linklist_t *link)
{
    return H2O_STRUCT_FROM_MEMBER(struct connection, link, link);
}

static void watch(struct connection *self, int64_t now_ms)
{
    if (self->awaits_line_ms != 0 && now_ms - self->awaits_line_ms > LINE_MS)
        guard_end(&self->guard, GUARD_PROXY_LINE);
    guard_check(&self->guard, now_ms);
}

static void on_watch(struct loop_timer *timer)
{
    struct listener *self = H2O_STRUCT_FROM_MEMBER(struct listener, watch, timer);
    int64_t now_ms = clock_mono_ms();
    for (h2o_linklist_t *at = self->connections.next; at != &self->connections; at = at->next)
        watch(connection_of(at), now_ms);
    loop_timer_start(self->loop, timer, WATCH_MS, on_watch);
}

/* h2o has it from here on. */
static void hand_over(struct connection *self)
{
    self->tls = self->listener->accept.ssl_ctx;
    if (self->tls != NULL)
        SSL_CTX_up_ref(self->tls);
    h2o_accept(&self->listener->accept, self->socket);
}

static void on_proxy_line(h2o_socket_t *socket, const char *err)
{
    struct connection *self = socket->on_close.data;
    struct sockaddr_storage client;
    size_t len = 0;
    enum proxy_line line = PROXY_LINE_BAD;
    if (err == NULL)
        line = proxy_line_parse(h2o_iovec_init(socket->input->bytes, socket->input->size), &len,
                                &client);
    if (line == PROXY_LINE_PART)
        return;
    h2o_socket_read_stop(socket);
    if (line == PROXY_LINE_BAD) {
        if (err == NULL)
            guard_end(&self->guard, GUARD_PROXY_LINE);
        h2o_socket_close(socket);
        return;
    }
    self->awaits_line_ms = 0;
    h2o_buffer_consume(&socket->input, len);
    /* Where the balancer does not know the client, its own address must not stand for one. */
    h2o_socket_setpeername(socket, (struct sockaddr *)&client, sizeof(client));
    hand_over(self);
}

static struct ip_address address_of(h2o_socket_t *socket)
{
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    h2o_socket_getpeername(socket, (struct sockaddr *)&peer);
    return ip_of_sockaddr((struct sockaddr *)&peer);
}

/* Whoever may send a PROXY line may say who they are: only trusted proxies may connect. */
static void turn_away(struct listener *self, h2o_socket_t *socket)
{
    char address[IP_TEXT_SIZE];
    struct ip_address from = address_of(socket);
    int64_t now_ms = clock_mono_ms();
    counter_add(self->kind->ended[GUARD_UNTRUSTED], 1);
    h2o_socket_close(socket);
    ++self->turned_away;
    if (self->turned_away_logged_ms != 0 &&
        now_ms - self->turned_away_logged_ms < TURNED_AWAY_LOG_MS)
        return;
    ip_write(&from, address);
    log_warn("connections closed: not from a trusted proxy", LOG_STR("listener", self->kind->name),
             LOG_STR("address", address), LOG_INT("count", self->turned_away));
    self->turned_away = 0;
    self->turned_away_logged_ms = now_ms;
}

static void adopt(struct listener *self, h2o_socket_t *socket)
{
    struct ip_address from = {{0}};
    if (self->kind->proxies != NULL)
        from = address_of(socket);
    if (self->kind->proxy_protocol && !ip_networks_have(self->proxies, &from)) {
        turn_away(self, socket);
        return;
    }
    struct connection *connection = h2o_mem_alloc(sizeof(*connection));
    *connection =
        (struct connection){.web = {.from = from, .proxy_line = self->kind->proxy_protocol},
                            .listener = self,
                            .socket = socket};
    guard_init(&connection->guard, socket, self->kind->limits, self->kind->ended,
               &self->kind->unfinished);
    h2o_linklist_insert(&self->connections, &connection->link);
    ++self->connection_count;
    socket->on_close.cb = on_connection_close;
    socket->on_close.data = connection;
    if (!self->kind->proxy_protocol) {
        hand_over(connection);
        return;
    }
    connection->awaits_line_ms = clock_mono_ms();
    h2o_socket_read_start(socket, on_proxy_line);
}

static void on_accept(h2o_socket_t *socket, const char *err)
{
    struct listener *self = socket->data;
    if (err != NULL)
        return;
    for (int burst = 0; burst < 16; ++burst) {
        if (self->connection_count >= self->kind->connection_cap) {
            self->paused = true;
            h2o_socket_read_stop(socket);
            log_warn("connections at their cap", LOG_STR("listener", self->kind->name),
                     LOG_INT("cap", (int64_t)self->kind->connection_cap));
            return;
        }
        h2o_socket_t *accepted = h2o_evloop_socket_accept(socket);
        if (accepted == NULL)
            return;
        adopt(self, accepted);
    }
}

/* ---- binding ---- */

static int open_socket(const struct config_address *address, bool reuse_port, struct error *err)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *info = NULL;
    char port[8];
    int one = 1;
    snprintf(port, sizeof(port), "%u", address->port);
    if (getaddrinfo(address->host, port, &hints, &info) != 0) {
        error_set(err, ERROR_BAD_INPUT, "%s is no numeric address", address->text);
        return -1;
    }
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 &&
        (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
         (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0) ||
         bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, 1024) != 0)) {
        int reason = errno;
        close(fd);
        fd = -1;
        errno = reason;
    }
    if (fd < 0)
        error_set(err, ERROR_UPSTREAM, "can't listen on %s: %s", address->text,
                  strerror(errno)); /* NOLINT: safe in glibc since 2.32 */
    freeaddrinfo(info);
    return fd;
}

bool listener_kind_bind(struct listener_kind *kind, const struct config_address *address,
                        unsigned workers, struct error *err)
{
    /* With SO_REUSEPORT a second process of the same user would share the port in silence: try
     * without it first. */
    int probe = open_socket(address, false, err);
    if (probe < 0)
        return error_prefix(err, kind->name);
    close(probe);
    for (unsigned i = 0; i < workers; ++i)
        if ((kind->fds[i] = open_socket(address, true, err)) < 0)
            return error_prefix(err, kind->name);
    return true;
}

void listener_kind_init(struct listener_kind *kind, const char *name, size_t max_body)
{
    *kind = (struct listener_kind){.name = name, .limits = &GUARD_LIMITS};
    for (size_t i = 0; i < LISTENER_MAX_WORKERS; ++i)
        kind->fds[i] = -1;
    h2o_config_init(&kind->conf);
    kind->conf.server_name = h2o_iovec_init(NULL, 0); /* no Server header */
    kind->conf.max_request_entity_size = max_body;
    kind->conf.http1.upgrade_to_http2 = 0;
    kind->conf.http1.req_timeout = 30000;
    kind->conf.http2.graceful_shutdown_timeout = 5000;
    kind->host =
        h2o_config_register_host(&kind->conf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
}

void listener_kind_set_tls(struct listener_kind *kind, SSL_CTX *tls)
{
    SSL_CTX_set_info_callback(tls, on_tls_info);
    SSL_CTX_free(kind->tls);
    kind->tls = tls;
}

void listener_kind_guard(struct listener_kind *kind, struct metrics *metrics)
{
    guard_counters(metrics, kind->name, kind->ended);
    guard_register(kind->host, find_guard);
}

void listener_kind_dispose(struct listener_kind *kind)
{
    if (kind->name == NULL)
        return;
    for (size_t i = 0; i < LISTENER_MAX_WORKERS; ++i)
        if (kind->fds[i] >= 0)
            close(kind->fds[i]);
    SSL_CTX_free(kind->tls);
    h2o_config_dispose(&kind->conf);
}

/* ---- a worker's listener ---- */

void listener_start(struct listener *self, struct listener_kind *kind, unsigned worker,
                    struct loop *loop)
{
    *self = (struct listener){.kind = kind, .loop = loop};
    h2o_linklist_init_anchor(&self->connections);
    h2o_context_init(&self->ctx, loop_h2o(loop), &kind->conf);
    web_context_set_loop(&self->ctx, loop);
    listener_trust(self, kind->proxies);
    self->accept =
        (h2o_accept_ctx_t){.ctx = &self->ctx, .hosts = kind->conf.hosts, .ssl_ctx = kind->tls};
    if (kind->tls != NULL)
        SSL_CTX_up_ref(kind->tls);
    self->socket =
        h2o_evloop_socket_create(loop_h2o(loop), kind->fds[worker], H2O_SOCKET_FLAG_DONT_READ);
    kind->fds[worker] = -1; /* the socket owns it now */
    self->socket->data = self;
    h2o_socket_read_start(self->socket, on_accept);
    loop_timer_start(loop, &self->watch, WATCH_MS, on_watch);
}

/* Who is not of our client CAs any more is cut off: the next connection would not come about either. */
static void judge_anew(struct connection *connection, SSL_CTX *tls)
{
    if (connection->peer == NULL)
        return;
    tls_peer_judge(connection->peer, tls);
    if (connection->peer->web.ca_mask == 0)
        shutdown(h2o_socket_get_fd(connection->socket), SHUT_RDWR);
}

void listener_renew_tls(struct listener *self)
{
    SSL_CTX *tls = self->kind->tls;
    if (tls == self->accept.ssl_ctx)
        return;
    SSL_CTX_up_ref(tls);
    SSL_CTX_free(self->accept.ssl_ctx);
    self->accept.ssl_ctx = tls;
    for (h2o_linklist_t *at = self->connections.next; at != &self->connections; at = at->next)
        judge_anew(connection_of(at), tls);
}

void listener_trust(struct listener *self, const struct ip_networks *proxies)
{
    self->proxies = proxies;
    web_context_set_proxies(&self->ctx, proxies);
    if (!self->kind->proxy_protocol)
        return; /* each request is judged by itself */
    for (h2o_linklist_t *at = self->connections.next; at != &self->connections; at = at->next)
        if (!ip_networks_have(proxies, &connection_of(at)->web.from))
            shutdown(h2o_socket_get_fd(connection_of(at)->socket), SHUT_RDWR);
}

void listener_dispose(struct listener *self)
{
    SSL_CTX_free(self->accept.ssl_ctx);
    self->accept.ssl_ctx = NULL;
}

static bool speaks_http2(h2o_socket_t *socket)
{
    h2o_iovec_t protocol = {NULL, 0};
    if (socket->ssl != NULL)
        protocol = h2o_socket_ssl_get_selected_protocol(socket);
    return h2o_memis(protocol.base, protocol.len, H2O_STRLIT("h2"));
}

void listener_drain(struct listener *self)
{
    if (self->socket == NULL)
        return;
    h2o_socket_read_stop(self->socket);
    h2o_socket_close(self->socket);
    self->socket = NULL;
    h2o_context_request_shutdown(&self->ctx);
    for (h2o_linklist_t *node = self->connections.next; node != &self->connections;
         node = node->next) {
        /* h2o lets an idle HTTP/1.1 connection live until its request timeout. Ending our reading side
         * closes the idle ones and leaves an answer that is being made alone. */
        if (!speaks_http2(connection_of(node)->socket))
            shutdown(h2o_socket_get_fd(connection_of(node)->socket), SHUT_RD);
    }
}
