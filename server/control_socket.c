/* SPDX-License-Identifier: Apache-2.0
 *
 * The control socket's two ends: the one that listens, and the few lines of HTTP/1.0 of who asks. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "control.h"

#define ANSWER_MAX ((size_t)64 << 20)
#define PATIENCE_S 30

static bool fill_address(const char *path, struct sockaddr_un *out, struct error *err)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(out->sun_path))
        return error_set(err, ERROR_BAD_INPUT, "%s is too long for a Unix socket", path);
    memcpy(out->sun_path, path, strlen(path));
    return true;
}

static bool fail(struct error *err, const char *path)
{
    return error_set(err, ERROR_UPSTREAM, "%s: %m", path);
}

bool control_connect(const char *path, int *out, bool *none_runs, struct error *err)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_un address;
    *none_runs = false;
    if (!fill_address(path, &address, err))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
        *out = fd;
        return true;
    }
    *none_runs = errno == ECONNREFUSED || errno == ENOENT;
    fail(err, path);
    if (fd >= 0)
        close(fd);
    return false;
}

/* ---- listening ---- */

/* What a process left behind that did not end by itself is taken away. */
static bool clear_way(const char *path, struct error *err)
{
    struct stat st;
    int fd;
    bool none_runs;
    if (lstat(path, &st) != 0)
        return errno == ENOENT || fail(err, path);
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, ERROR_BAD_INPUT, "%s is there and no socket; it was left as it is",
                         path);
    if (control_connect(path, &fd, &none_runs, err)) {
        close(fd);
        return error_set(err, ERROR_UPSTREAM, "%s: another Postern listens there", path);
    }
    return none_runs && (unlink(path) == 0 || errno == ENOENT || fail(err, path));
}

bool control_listen(const char *path, int *out, struct error *err)
{
    struct sockaddr_un address;
    if (!fill_address(path, &address, err) || !clear_way(path, err))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The mode is set before there is a name for it: nobody else can ever have opened it. */
    if (fd >= 0 && fchmod(fd, S_IRUSR | S_IWUSR) == 0 &&
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
        listen(fd, SOMAXCONN) == 0) {
        *out = fd;
        return true;
    }
    fail(err, path);
    if (fd >= 0)
        close(fd);
    return false;
}

/* ---- asking ---- */

static bool send_all(int fd, h2o_iovec_t bytes)
{
    while (bytes.len > 0) {
        ssize_t sent = send(fd, bytes.base, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        bytes = h2o_iovec_init(bytes.base + sent, bytes.len - (size_t)sent);
    }
    return true;
}

static bool receive_all(int fd, struct text *out, struct error *err)
{
    char piece[16384];
    for (;;) {
        ssize_t got = recv(fd, piece, sizeof(piece), 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set(err, ERROR_UPSTREAM, "no answer: %m");
        if (got == 0)
            return true;
        if (out->len + (size_t)got > ANSWER_MAX)
            return error_set(err, ERROR_UPSTREAM, "the answer is too long");
        text_add(out, piece, (size_t)got);
    }
}

/* "HTTP/1.1 200 OK" */
static bool read_status(const struct text *answer, int *out)
{
    const char *digits = answer->bytes + 9;
    if (answer->len < 12 || memcmp(answer->bytes, "HTTP/1.", 7) != 0)
        return false;
    *out = 0;
    for (int i = 0; i < 3; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        *out = *out * 10 + digits[i] - '0';
    }
    return true;
}

bool control_ask(h2o_mem_pool_t *pool, int fd, const char *method, const char *target,
                 struct control_answer *out, struct error *err)
{
    struct text answer;
    const char *request = text_format(pool, "%s %s HTTP/1.0\r\n\r\n", method, target);
    text_init(&answer, pool);
    if (!send_all(fd, iovec_of(request)))
        return error_set(err, ERROR_UPSTREAM, "can't be asked: %m");
    if (!receive_all(fd, &answer, err))
        return false;
    size_t head =
        answer.len == 0 ? SIZE_MAX : h2o_strstr(answer.bytes, answer.len, H2O_STRLIT("\r\n\r\n"));
    if (head == SIZE_MAX || !read_status(&answer, &out->status))
        return error_set(err, ERROR_UPSTREAM, "the answer is no HTTP");
    out->body = h2o_iovec_init(answer.bytes + head + 4, answer.len - head - 4);
    return true;
}
