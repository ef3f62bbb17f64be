/* SPDX-License-Identifier: Apache-2.0
 *
 * Both ends of thousands of streams through the proxy, in one lean process: the clients, each with a person's token,
 * and the API server behind, which knows watches and WebSockets and nothing else.
 *
 *     ends UPSTREAM-PORT CERTIFICATE KEY PROXY-PORT TOKENS WATCHES SOCKETS
 *
 * TOKENS is a file with a person's token on each line; stream i is of person i modulo their number. Lines on stdin:
 *     open     opens all, OPENING at a time      → {"opened":N}
 *     event    the API server says something on each open stream; WebSockets answer
 *                                                → {"told":N} once it has come to every client and all answers came back
 * A stream that ends says {"closed":STREAM,"person":P,"at_ms":WALL-CLOCK}. The end of stdin is the end. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define OPENING    32
#define MAX_HEAD   8192
#define MAX_PEOPLE 256
#define MARK       '#' /* one in each event and each answer, and nowhere else */

enum state { HANDSHAKE, HEAD, OPEN };

struct end {
    SSL *ssl;
    int fd;
    enum state state;
    bool is_client, is_socket;
    int stream; /* -1: the upstream has not read it yet */
    char *head; /* what of it has come; NULL once it is whole */
    size_t len;
    unsigned marks; /* that have come in */
};

static struct {
    SSL_CTX *server, *client;
    int epoll, listener, proxy_port, count, watches, people;
    char *tokens[MAX_PEOPLE];
    struct end **clients, **upstreams; /* by stream; NULL: not open */
    int next, opening, open;
    bool asked_to_open;
    unsigned rounds; /* how often it was told */
    int missing;     /* of this round: marks that did not come yet */
} world;

static void fail(const char *what)
{
    fprintf(stderr, "ends: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* ---- connections ---- */

static long long wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct end *new_end(int fd, bool is_client)
{
    static const int one = 1;
    struct end *self = calloc(1, sizeof(*self));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = self};
    *self = (struct end){.fd = fd, .is_client = is_client, .stream = -1};
    self->ssl = SSL_new(is_client ? world.client : world.server);
    self->head = malloc(MAX_HEAD);
    SSL_set_fd(self->ssl, fd);
    if (is_client)
        SSL_set_connect_state(self->ssl);
    else
        SSL_set_accept_state(self->ssl);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (epoll_ctl(world.epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll");
    return self;
}

static void told_one_less(int marks)
{
    world.missing -= marks;
    if (world.missing == 0 && marks != 0)
        printf("{\"told\":%d}\n", world.open);
}

static unsigned expected(const struct end *self)
{
    return self->is_client || self->is_socket ? world.rounds : 0;
}

static void close_end(struct end *self)
{
    if (self->stream >= 0 && self->is_client) {
        world.clients[self->stream] = NULL;
        world.opening -= self->state != OPEN;
        world.open -= self->state == OPEN;
        printf("{\"closed\":%d,\"person\":%d,\"at_ms\":%lld}\n", self->stream,
               self->stream % world.people, wall_ms());
    } else if (self->stream >= 0) {
        world.upstreams[self->stream] = NULL;
    }
    if (self->state == OPEN && expected(self) > self->marks)
        told_one_less((int)(expected(self) - self->marks));
    SSL_free(self->ssl);
    close(self->fd);
    free(self->head);
    free(self);
}

/* Small pieces on empty sockets: what does not go at once is a failure. */
static void send_all(struct end *self, const char *bytes, size_t len)
{
    if (SSL_write(self->ssl, bytes, (int)len) != (int)len)
        fprintf(stderr, "ends: stream %d takes nothing\n", self->stream);
}

/* ---- what is said ---- */

static void send_request(struct end *self)
{
    char head[MAX_HEAD];
    const char *upgrade = self->is_socket ? "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                                            "Sec-WebSocket-Version: 13\r\n"
                                            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                          : "";
    int len = snprintf(head, sizeof(head),
                       "GET /api/v1/pods?watch=true&stream=%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                       "Authorization: Bearer %s\r\n%s\r\n",
                       self->stream, world.proxy_port, world.tokens[self->stream % world.people],
                       upgrade);
    send_all(self, head, (size_t)len);
}

static void send_answer(struct end *self)
{
    static const char watch[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                "Transfer-Encoding: chunked\r\n\r\n";
    static const char socket[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                                 "Upgrade: websocket\r\n"
                                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    if (self->is_socket)
        send_all(self, socket, sizeof(socket) - 1);
    else
        send_all(self, watch, sizeof(watch) - 1);
}

static void send_event(struct end *self)
{
    static const char chunk[] = "1f\r\n{\"type\":\"BOOKMARK\",\"is\":\"a #\"}\n\r\n";
    static const char frame[] = "\x81\x07"
                                "event #";
    if (self->is_socket)
        send_all(self, frame, sizeof(frame) - 1);
    else
        send_all(self, chunk, sizeof(chunk) - 1);
}

static void tell_all(void)
{
    ++world.rounds;
    world.missing = 0;
    for (int i = 0; i < world.count; ++i)
        if (world.upstreams[i] != NULL && world.clients[i] != NULL)
            world.missing += world.upstreams[i]->is_socket ? 2 : 1;
    for (int i = 0; i < world.count; ++i) {
        struct end *up = world.upstreams[i], *client = world.clients[i];
        if (up == NULL || client == NULL)
            continue;
        client->marks = world.rounds - 1;
        up->marks = up->is_socket ? world.rounds - 1 : 0;
        send_event(up);
    }
}

/* ---- what comes ---- */

static void open_more(void)
{
    while (world.asked_to_open && world.next < world.count && world.opening < OPENING) {
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)world.proxy_port),
                                 .sin_addr = {htonl(INADDR_LOOPBACK)}};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
            fail("connect");
        struct end *end = new_end(fd, true);
        end->stream = world.next++;
        end->is_socket = end->stream >= world.watches;
        world.clients[end->stream] = end;
        ++world.opening;
        SSL_do_handshake(end->ssl); /* begins; on_end goes on */
    }
}

static void client_is_open(struct end *self)
{
    if (memcmp(self->head, self->is_socket ? "HTTP/1.1 101" : "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "ends: stream %d got %.200s\n", self->stream, self->head);
        exit(1);
    }
    --world.opening;
    if (++world.open == world.count)
        printf("{\"opened\":%d}\n", world.open);
    open_more();
}

static void upstream_is_open(struct end *self)
{
    const char *stream = strstr(self->head, "stream=");
    self->stream = stream != NULL ? (int)strtol(stream + 7, NULL, 10) : -1;
    if (self->stream < 0 || self->stream >= world.count)
        fail("a request that nobody sent");
    self->is_socket = strstr(self->head, "\r\nUpgrade: ") != NULL;
    world.upstreams[self->stream] = self;
    send_answer(self);
}

static void take_head(struct end *self, const char *bytes, size_t len)
{
    if (self->len + len >= MAX_HEAD)
        fail("a head without an end");
    memcpy(self->head + self->len, bytes, len);
    self->len += len;
    self->head[self->len] = '\0';
    if (strstr(self->head, "\r\n\r\n") == NULL)
        return;
    self->state = OPEN;
    if (self->is_client)
        client_is_open(self);
    else
        upstream_is_open(self);
    free(self->head);
    self->head = NULL;
}

static void take(struct end *self, const char *bytes, size_t len)
{
    static const char answer[] = "\x81\x84\0\0\0\0ack#";
    int marks = 0;
    if (self->state == HEAD) {
        take_head(self, bytes, len);
        return;
    }
    for (size_t i = 0; i < len; ++i)
        marks += bytes[i] == MARK;
    if (self->is_client && self->is_socket)
        for (int i = 0; i < marks; ++i)
            send_all(self, answer, sizeof(answer) - 1);
    self->marks += (unsigned)marks;
    told_one_less(marks);
}

static void on_end(struct end *self)
{
    char bytes[16384];
    int got;
    ERR_clear_error();
    if (self->state == HANDSHAKE) {
        int done = SSL_do_handshake(self->ssl);
        if (done != 1 && SSL_get_error(self->ssl, done) == SSL_ERROR_WANT_READ)
            return;
        if (done != 1)
            fail(self->is_client ? "a client's handshake" : "the upstream's handshake");
        self->state = HEAD;
        if (self->is_client)
            send_request(self);
    }
    while ((got = SSL_read(self->ssl, bytes, sizeof(bytes))) > 0)
        take(self, bytes, (size_t)got);
    if (SSL_get_error(self->ssl, got) != SSL_ERROR_WANT_READ)
        close_end(self);
}

static void on_accept(void)
{
    int fd = accept4(world.listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        fail("accept");
    new_end(fd, false);
}

static void on_command(void)
{
    char line[256];
    ssize_t len = read(STDIN_FILENO, line, sizeof(line) - 1);
    if (len <= 0)
        exit(0);
    line[len] = '\0';
    if (strcmp(line, "open\n") == 0) {
        world.asked_to_open = true;
        open_more();
    } else if (strcmp(line, "event\n") == 0) {
        tell_all();
    } else {
        fail("an unknown command");
    }
}

/* ---- the beginning ---- */

static void read_tokens(const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    while (file != NULL && world.people < MAX_PEOPLE &&
           (len = getline(&line, &capacity, file)) > 0) {
        line[len - 1] = '\0';
        world.tokens[world.people++] = strdup(line);
    }
    free(line);
    if (file == NULL || world.people == 0)
        fail(path);
    fclose(file);
}

static SSL_CTX *new_tls(const SSL_METHOD *method)
{
    SSL_CTX *tls = SSL_CTX_new(method);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS); /* it is not our memory that is measured */
    SSL_CTX_set_num_tickets(tls, 0);
    return tls;
}

static void listen_on(int port)
{
    static const int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    world.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(world.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(world.listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(world.listener, 1024) != 0)
        fail("listen");
}

static void serve(void)
{
    /* Their addresses stand for the two that are no end. */
    struct epoll_event listener = {.events = EPOLLIN, .data.ptr = &world.listener};
    struct epoll_event commands = {.events = EPOLLIN, .data.ptr = &world};
    struct epoll_event events[1]; /* one at a time: handling one may free another */
    epoll_ctl(world.epoll, EPOLL_CTL_ADD, world.listener, &listener);
    epoll_ctl(world.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &commands);
    for (;;) {
        if (epoll_wait(world.epoll, events, 1, -1) != 1)
            continue;
        if (events[0].data.ptr == &world.listener)
            on_accept();
        else if (events[0].data.ptr == &world)
            on_command();
        else
            on_end(events[0].data.ptr);
    }
}

int main(int argc, char **argv)
{
    if (argc != 8)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    world.epoll = epoll_create1(EPOLL_CLOEXEC);
    world.server = new_tls(TLS_server_method());
    world.client = new_tls(TLS_client_method()); /* the proxy's certificate is not the question */
    if (SSL_CTX_use_certificate_chain_file(world.server, argv[2]) != 1 ||
        SSL_CTX_use_PrivateKey_file(world.server, argv[3], SSL_FILETYPE_PEM) != 1)
        fail("certificate");
    listen_on((int)strtol(argv[1], NULL, 10));
    world.proxy_port = (int)strtol(argv[4], NULL, 10);
    read_tokens(argv[5]);
    world.watches = (int)strtol(argv[6], NULL, 10);
    world.count = world.watches + (int)strtol(argv[7], NULL, 10);
    world.clients = calloc((size_t)world.count, sizeof(struct end *));
    world.upstreams = calloc((size_t)world.count, sizeof(struct end *));
    serve();
}
