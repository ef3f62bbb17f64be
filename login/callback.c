/* SPDX-License-Identifier: Apache-2.0
 *
 * See callback.h. Browsers open connections ahead and say nothing on them, so several are kept at a time; when there are
 * too many, the oldest goes. */
#include "callback.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

#define CONNECTIONS    16
#define FOREIGN_MAX    1000
#define HEAD_MAX_BYTES 65536 /* all cookies for 127.0.0.1 come along, whosever they are */

struct connection {
    int fd;     /* -1: free */
    char *head; /* malloc'ed: what came so far; it may hold a code, and is wiped */
    size_t len;
    uint64_t turn; /* when it came */
};

struct callback {
    h2o_mem_pool_t *pool;
    int listener;
    const char *redirect_uri;
    struct connection connections[CONNECTIONS];
    struct connection *answered; /* the one that counted; NULL: none came yet */
    bool over;                   /* kind and what belongs to it are there */
    unsigned foreign;            /* requests that did not count */
    uint64_t turn;
    enum callback_kind kind;
    h2o_iovec_t code;
    struct error err;
};

/* ---- listening ---- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static int listen_on(union address *address, socklen_t len)
{
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    if (fd == -1)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, &address->any, len) != 0 || listen(fd, CONNECTIONS) != 0 ||
        getsockname(fd, &address->any, &len) != 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static int listen_v4(in_port_t port, in_port_t *got)
{
    union address address = {.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}};
    address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = listen_on(&address, sizeof(address.v4));
    *got = ntohs(address.v4.sin_port);
    return fd;
}

static int listen_v6(in_port_t port, in_port_t *got)
{
    union address address = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
    address.v6.sin6_addr = in6addr_loopback;
    int fd = listen_on(&address, sizeof(address.v6));
    *got = ntohs(address.v6.sin6_port);
    return fd;
}

static const char v4_begin[] = "127.0.0.1:", v6_begin[] = "[::1]:";

static bool read_port(const char *text, const char *begin, in_port_t *out)
{
    size_t len = strlen(begin);
    char *end;
    if (strncmp(text, begin, len) != 0 || text[len] < '0' || text[len] > '9')
        return false;
    unsigned long port = strtoul(text + len, &end, 10);
    *out = (in_port_t)port;
    return *end == '\0' && port <= 65535;
}

static bool open_listener(struct callback *self, const char *listen, struct error *err)
{
    in_port_t port = 0, got = 0;
    bool v4 = listen == NULL || read_port(listen, v4_begin, &port);
    bool v6 = listen == NULL || (!v4 && read_port(listen, v6_begin, &port));
    if (!v4 && !v6)
        return error_set(err, ERROR_BAD_INPUT,
                         "--listen: 127.0.0.1:PORT or [::1]:PORT is what it takes");
    const char *host = v4_begin;
    if (v4)
        self->listener = listen_v4(port, &got);
    if (v6 && self->listener == -1) {
        host = v6_begin;
        self->listener = listen_v6(port, &got);
    }
    if (self->listener == -1)
        return error_set(err, ERROR_UPSTREAM, "can't listen on %s: %s",
                         listen != NULL ? listen : "127.0.0.1", strerrordesc_np(errno));
    self->redirect_uri = text_format(self->pool, "http://%s%u/callback", host, (unsigned)got);
    return true;
}

bool callback_listen(h2o_mem_pool_t *pool, const char *listen, struct callback **out,
                     struct error *err)
{
    struct callback *self = h2o_mem_alloc_pool(pool, sizeof(*self));
    *self = (struct callback){.pool = pool, .listener = -1};
    for (size_t i = 0; i < CONNECTIONS; i++)
        self->connections[i].fd = -1;
    if (!open_listener(self, listen, err))
        return false;
    *out = self;
    return true;
}

const char *callback_redirect_uri(const struct callback *self)
{
    return self->redirect_uri;
}

/* ---- connections ---- */

static void drop(struct connection *connection)
{
    if (connection->fd == -1)
        return;
    close(connection->fd);
    explicit_bzero(connection->head, HEAD_MAX_BYTES);
    free(connection->head);
    *connection = (struct connection){.fd = -1};
}

static void answer(const struct connection *connection, const char *status, const char *words)
{
    char page[1024];
    int len =
        snprintf(page, sizeof(page),
                 "HTTP/1.1 %s\r\ncontent-type: text/html; charset=utf-8\r\nconnection: close\r\n"
                 "cache-control: no-store\r\nreferrer-policy: no-referrer\r\n"
                 "x-content-type-options: nosniff\r\n"
                 "content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n\r\n"
                 "<!doctype html><html lang=\"en\"><meta name=\"viewport\" "
                 "content=\"width=device-width\"><meta name=\"color-scheme\" "
                 "content=\"light dark\"><title>Postern</title><h1>Postern</h1><p>%s</p></html>\n",
                 status, words);
    /* It fits into the socket's buffer; who does not read it does not see it. */
    (void)send(connection->fd, page, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(connection->fd, SHUT_WR);
}

static void accept_one(struct callback *self)
{
    /* cppcheck-suppress nullPointer; accept4 takes it */
    int fd = accept4(self->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd == -1)
        return;
    struct connection *place = &self->connections[0];
    for (size_t i = 0; i < CONNECTIONS && place->fd != -1; i++)
        if (self->connections[i].fd == -1 || self->connections[i].turn < place->turn)
            place = &self->connections[i];
    drop(place);
    *place =
        (struct connection){.fd = fd, .head = h2o_mem_alloc(HEAD_MAX_BYTES), .turn = ++self->turn};
}

static void judge(struct callback *self, struct connection *connection,
                  const struct callback_expected *expected)
{
    h2o_iovec_t head = h2o_iovec_init(connection->head, connection->len);
    self->kind = callback_parse(self->pool, head, expected, &self->code, &self->err);
    if (self->kind != CALLBACK_FOREIGN) {
        self->answered = connection;
        self->over = true;
        return;
    }
    answer(connection, "404 Not Found", "There is nothing here.");
    drop(connection);
    if (++self->foreign == FOREIGN_MAX)
        self->over = !error_set(&self->err, ERROR_REJECTED,
                                "something on this computer floods the address that the browser "
                                "was to come back to");
}

static void read_some(struct callback *self, struct connection *connection,
                      const struct callback_expected *expected)
{
    ssize_t got = recv(connection->fd, connection->head + connection->len,
                       HEAD_MAX_BYTES - connection->len, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0)
        connection->len += (size_t)got;
    if (got > 0 && memmem(connection->head, connection->len, "\r\n\r\n", 4) != NULL)
        judge(self, connection, expected);
    else if (got <= 0 || connection->len == HEAD_MAX_BYTES)
        drop(connection);
}

static void take_turn(struct callback *self, const struct callback_expected *expected,
                      int64_t wait_ms)
{
    struct pollfd polled[CONNECTIONS + 1] = {{.fd = self->listener, .events = POLLIN}};
    for (size_t i = 0; i < CONNECTIONS; i++)
        polled[i + 1] = (struct pollfd){.fd = self->connections[i].fd, .events = POLLIN};
    if (poll(polled, CONNECTIONS + 1, (int)wait_ms) <= 0)
        return;
    for (size_t i = 0; i < CONNECTIONS && !self->over; i++)
        if (polled[i + 1].revents != 0)
            read_some(self, &self->connections[i], expected);
    if (polled[0].revents != 0 && !self->over)
        accept_one(self);
}

bool callback_wait(struct callback *self, const struct callback_expected *expected, int64_t wait_ms)
{
    int64_t until_ms = clock_mono_ms() + wait_ms, left_ms = wait_ms;
    while (!self->over && left_ms >= 0) {
        take_turn(self, expected, left_ms);
        left_ms = until_ms - clock_mono_ms();
    }
    return self->over;
}

bool callback_code(const struct callback *self, h2o_iovec_t *code, struct error *err)
{
    if (self->kind != CALLBACK_CODE)
        return error_set(err, self->err.kind, "%s", self->err.text);
    *code = self->code;
    return true;
}

void callback_end(struct callback *self, bool signed_in)
{
    if (self == NULL)
        return;
    if (self->answered != NULL && signed_in)
        answer(self->answered, "200 OK", "You are signed in; you can close this window.");
    else if (self->answered != NULL)
        answer(self->answered, "400 Bad Request",
               "You are not signed in; the terminal says why. You can close this window.");
    for (size_t i = 0; i < CONNECTIONS; i++)
        drop(&self->connections[i]);
    if (self->listener != -1)
        close(self->listener);
    self->listener = -1;
}
