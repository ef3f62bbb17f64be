/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets: every copy has one owner that wipes it, in a pool by a destructor, since h2o's pools give
 * memory back as it is. */
#include "base/secret.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES 65536

void secret_set(struct secret *self, const char *bytes, size_t len)
{
    char *copy = h2o_mem_alloc(len + 1);
    if (len != 0)
        memcpy(copy, bytes, len);
    copy[len] = '\0';
    secret_dispose(self); /* only now: bytes may be part of the former content */
    *self = (struct secret){.bytes = copy, .len = len};
}

void secret_copy(struct secret *self, const struct secret *from)
{
    if (from->bytes == NULL)
        secret_dispose(self);
    else if (self != from)
        secret_set(self, from->bytes, from->len);
}

void secret_dispose(struct secret *self)
{
    if (self->bytes != NULL)
        OPENSSL_cleanse(self->bytes, self->len);
    free(self->bytes);
    *self = (struct secret){0};
}

h2o_iovec_t secret_iovec(const struct secret *self)
{
    return h2o_iovec_init(self->bytes, self->len);
}

struct pool_secret {
    size_t len;   /* without the NUL */
    char bytes[]; /* wiped in whole */
};

static void on_pool_secret_dispose(void *memory)
{
    struct pool_secret *self = memory;
    OPENSSL_cleanse(self->bytes, self->len);
}

h2o_iovec_t secret_alloc_in_pool(h2o_mem_pool_t *pool, size_t len)
{
    assert(len < SIZE_MAX / 2);
    struct pool_secret *self =
        h2o_mem_alloc_shared(pool, sizeof(*self) + len + 1, on_pool_secret_dispose);
    memset(self->bytes, 0, len + 1);
    self->len = len;
    return h2o_iovec_init(self->bytes, len);
}

h2o_iovec_t secret_in_pool(h2o_mem_pool_t *pool, h2o_iovec_t bytes)
{
    h2o_iovec_t copy = secret_alloc_in_pool(pool, bytes.len);
    if (bytes.len != 0)
        memcpy(copy.base, bytes.base, bytes.len);
    return copy;
}

/* ---- files ---- */

/* The opened file is judged, not the path: Kubernetes mounts swap files under a symbolic link. */
static bool judge_file(int fd, const char *path, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return error_set(err, ERROR_UPSTREAM, "%s: %m", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERROR_BAD_INPUT, "%s: is not a regular file", path);
    if ((st.st_mode & S_IRWXO) != 0)
        return error_set(err, ERROR_BAD_INPUT, "%s: can be read by others; chmod o= it", path);
    if (st.st_size > FILE_MAX_BYTES)
        return error_set(err, ERROR_BAD_INPUT, "%s: is larger than 64 KiB", path);
    return true;
}

/* Reads to the end of the file; *len is FILE_MAX_BYTES + 1 where it grew beyond the limit. */
static bool read_all(int fd, char buffer[FILE_MAX_BYTES + 1], size_t *len)
{
    *len = 0;
    while (*len <= FILE_MAX_BYTES) {
        ssize_t n = read(fd, buffer + *len, FILE_MAX_BYTES + 1 - *len);
        if (n == 0)
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        *len += (size_t)n;
    }
    return true;
}

static bool load_fd(int fd, const char *path, struct secret *out, struct error *err)
{
    if (!judge_file(fd, path, err))
        return false;
    char *buffer = h2o_mem_alloc(FILE_MAX_BYTES + 1);
    size_t len;
    bool good;
    if (!read_all(fd, buffer, &len))
        good = error_set(err, ERROR_UPSTREAM, "%s: %m", path);
    else if (len == 0)
        good = error_set(err, ERROR_BAD_INPUT, "%s: is empty", path);
    else if (len > FILE_MAX_BYTES)
        good = error_set(err, ERROR_BAD_INPUT, "%s: is larger than 64 KiB", path);
    else
        good = true;
    if (good)
        secret_set(out, buffer, len);
    OPENSSL_cleanse(buffer, FILE_MAX_BYTES + 1);
    free(buffer);
    return good;
}

bool secret_load_file(const char *path, struct secret *out, struct error *err)
{
    /* O_NONBLOCK: a FIFO in the file's place must not hold us up */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set(err, ERROR_UPSTREAM, "%s: %m", path);
    bool good = load_fd(fd, path, out, err);
    close(fd);
    return good;
}

static bool judge_line(const char *path, h2o_iovec_t line, struct error *err)
{
    if (line.len == 0)
        return error_set(err, ERROR_BAD_INPUT, "%s: is empty", path);
    if (memchr(line.base, '\0', line.len) != NULL)
        return error_set(err, ERROR_BAD_INPUT, "%s: holds a NUL byte", path);
    if (memchr(line.base, '\n', line.len) != NULL || memchr(line.base, '\r', line.len) != NULL)
        return error_set(err, ERROR_BAD_INPUT, "%s: must be one line", path);
    return true;
}

bool secret_load_line(const char *path, struct secret *out, struct error *err)
{
    struct secret file = {0};
    if (!secret_load_file(path, &file, err))
        return false;
    assert(file.len > 0);
    size_t len = file.len;
    if (file.bytes[len - 1] == '\n')
        len--;
    if (len < file.len && len > 0 && file.bytes[len - 1] == '\r')
        len--; /* a newline as Windows writes it */
    bool good = judge_line(path, h2o_iovec_init(file.bytes, len), err);
    if (good)
        secret_set(out, file.bytes, len);
    secret_dispose(&file);
    return good;
}
