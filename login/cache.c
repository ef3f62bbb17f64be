/* SPDX-License-Identifier: Apache-2.0
 *
 * See cache.h. All files are reached from the directory's descriptor, so that what was judged is what is used. Changes
 * are made under the lock only; reading needs none, because a whole file takes the place of another. */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/json.h"
#include "base/text.h"

#define FILE_MAX_BYTES (256 * 1024)

/* ---- the directory ---- */

const char *cache_usual_directory(h2o_mem_pool_t *pool)
{
    const char *cache = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");    /* NOLINT(concurrency-mt-unsafe) */
    if (cache != NULL && cache[0] == '/') /* the XDG specification: relative ones are ignored */
        return text_format(pool, "%s/postern", cache);
    if (home != NULL && home[0] == '/')
        return text_format(pool, "%s/.cache/postern", home);
    return NULL;
}

/* Parents that are missing are made, too; whether it worked shows when the directory is opened. */
static void make_directories(h2o_mem_pool_t *pool, const char *path)
{
    char *part = text_dup(pool, path);
    for (char *end = part + (part[0] == '/'); (end = strchr(end, '/')) != NULL; end++) {
        *end = '\0';
        (void)mkdir(part, 0700);
        *end = '/';
    }
    (void)mkdir(part, 0700);
}

/* Nobody else may have any right to it, and it may not be somebody else's. */
static bool is_private(int fd, const char *path, struct error *err)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return error_set(err, ERROR_UPSTREAM, "%s: %s", path, strerrordesc_np(errno));
    if (status.st_uid != geteuid())
        return error_set(err, ERROR_REJECTED, "%s belongs to somebody else", path);
    if ((status.st_mode & 077) != 0)
        return error_set(err, ERROR_REJECTED,
                         "others have rights to %s: `chmod go= %s`, and sign out at the portal if "
                         "somebody may have read it",
                         path, path);
    return true;
}

static void name_files(h2o_mem_pool_t *pool, const struct cache_key *key, struct cache *out)
{
    struct text all;
    uint8_t hash[SHA256_SIZE];
    const char *parts[] = {key->issuer, key->client_id, key->ca_pem != NULL ? key->ca_pem : ""};
    text_init(&all, pool);
    for (size_t i = 0; i < 3; i++)
        text_add(&all, parts[i], strlen(parts[i]) + 1); /* with the NUL between them */
    crypto_sha256(all.bytes, all.len, hash);
    const char *base = base64url_encode(pool, hash, sizeof(hash)).base;
    out->name = text_format(pool, "%s.json", base);
    out->new_name = text_format(pool, "%s.new", base);
    out->lock_name = text_format(pool, "%s.lock", base);
}

bool cache_open(h2o_mem_pool_t *pool, const char *directory, const struct cache_key *key,
                struct cache *out, struct error *err)
{
    *out = (struct cache){.directory = -1, .lock = -1, .path = directory};
    name_files(pool, key, out);
    if (directory == NULL)
        return error_set(err, ERROR_UPSTREAM,
                         "neither XDG_CACHE_HOME nor HOME says where files can be kept");
    make_directories(pool, directory);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1)
        return error_set(err, ERROR_UPSTREAM, "%s: %s", directory, strerrordesc_np(errno));
    if (!is_private(fd, directory, err)) {
        close(fd);
        return false;
    }
    out->directory = fd;
    return true;
}

void cache_close(struct cache *self)
{
    if (self->lock != -1)
        close(self->lock);
    if (self->directory != -1)
        close(self->directory);
    self->lock = self->directory = -1;
}

/* ---- the tokens ---- */

static bool take_secret(const struct json *object, const char *key, struct secret *out,
                        struct error *err)
{
    h2o_iovec_t value = {NULL, 0};
    if (!json_optional_string(object, key, &value, err))
        return false;
    if (value.len != 0)
        secret_set(out, value.base, value.len);
    return true;
}

bool cache_parse(h2o_iovec_t text, struct login_tokens *out, struct error *err)
{
    h2o_mem_pool_t pool;
    struct json *document;
    struct login_tokens self = {.received_s = 0};
    h2o_mem_init_pool(&pool);
    bool good = json_parse(&pool, text, NULL, &document, err) &&
                json_int(document, "received_at", &self.received_s, err) &&
                json_int(document, "expires_at", &self.expires_s, err) &&
                take_secret(document, "id_token", &self.id_token, err) &&
                take_secret(document, "refresh_token", &self.refresh_token, err);
    h2o_mem_clear_pool(&pool);
    if (good && (self.received_s < 0 || self.expires_s < self.received_s ||
                 self.expires_s > INT32_MAX * INT64_C(1000)))
        good = error_set(err, ERROR_BAD_INPUT, "its times make no sense");
    if (good)
        *out = self;
    else
        login_tokens_dispose(&self);
    return good;
}

/* -1 with err.kind ERROR_NONE: there is no such file. */
static int open_private(const struct cache *self, const char *path, struct error *err)
{
    int fd = openat(self->directory, self->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd == -1 && errno == ENOENT)
        return -1;
    if (fd == -1) {
        error_set(err, ERROR_UPSTREAM, "%s: %s", path, strerrordesc_np(errno));
    } else if (!is_private(fd, path, err)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

bool cache_read(const struct cache *self, struct login_tokens *out, struct error *err)
{
    struct error why = {.kind = ERROR_NONE};
    char path[PATH_MAX];
    struct login_tokens none = {.received_s = 0};
    snprintf(path, sizeof(path), "%s/%s", self->path, self->name);
    int fd = self->directory != -1 ? open_private(self, path, &why) : -1;
    if (fd == -1) {
        *out = none;
        return why.kind == ERROR_NONE || error_set(err, why.kind, "%s", why.text);
    }
    char *bytes = h2o_mem_alloc(FILE_MAX_BYTES);
    ssize_t got = 0;
    size_t len = 0;
    while (len < FILE_MAX_BYTES && (got = read(fd, bytes + len, FILE_MAX_BYTES - len)) > 0)
        len += (size_t)got;
    close(fd);
    bool good = got == 0 ? cache_parse(h2o_iovec_init(bytes, len), out, err)
                         : error_set(err, ERROR_BAD_INPUT, "it can't be read");
    explicit_bzero(bytes, FILE_MAX_BYTES);
    free(bytes);
    return good || error_prefix(err, path);
}

static bool write_all(int fd, h2o_iovec_t text)
{
    while (text.len != 0) {
        ssize_t put = write(fd, text.base, text.len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        text.base += put;
        text.len -= (size_t)put;
    }
    return fsync(fd) == 0;
}

static void put_member(struct json_writer *writer, const char *key, const struct secret *value)
{
    if (value->len == 0)
        return;
    json_key(writer, key);
    json_put_iovec(writer, secret_iovec(value));
}

static bool write_text(h2o_mem_pool_t *pool, const struct login_tokens *tokens, h2o_iovec_t *out,
                       struct error *err)
{
    struct json_writer *writer = json_writer_new(pool);
    json_begin_object(writer);
    put_member(writer, "id_token", &tokens->id_token);
    json_key(writer, "received_at");
    json_put_int(writer, tokens->received_s);
    json_key(writer, "expires_at");
    json_put_int(writer, tokens->expires_s);
    put_member(writer, "refresh_token", &tokens->refresh_token);
    json_end_object(writer);
    return json_writer_end(writer, out, err);
}

/* The half-written one has always the same name: what a crash leaves behind is overwritten, not added to. */
static bool replace(const struct cache *self, h2o_iovec_t text, struct error *err)
{
    (void)unlinkat(self->directory, self->new_name, 0);
    int fd = openat(self->directory, self->new_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = fd != -1 && write_all(fd, text);
    int why = errno;
    if (fd != -1 && close(fd) != 0 && good) {
        good = false;
        why = errno;
    }
    if (good && renameat(self->directory, self->new_name, self->directory, self->name) != 0) {
        good = false;
        why = errno;
    }
    if (!good) {
        (void)unlinkat(self->directory, self->new_name, 0);
        return error_set(err, ERROR_UPSTREAM, "%s: %s", self->path, strerrordesc_np(why));
    }
    (void)fsync(self->directory); /* without it an older file may come back, which is no harm */
    return true;
}

bool cache_write(const struct cache *self, const struct login_tokens *tokens, struct error *err)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t text = {NULL, 0};
    if (self->directory == -1)
        return true;
    h2o_mem_init_pool(&pool);
    bool good = write_text(&pool, tokens, &text, err) && replace(self, text, err);
    if (text.base != NULL)
        explicit_bzero(text.base, text.len);
    h2o_mem_clear_pool(&pool);
    return good;
}
