/* SPDX-License-Identifier: Apache-2.0
 *
 * Signing keys in files: one directory, <kid>.json for each key:
 *
 *     {"kid":"postern-…","algorithm":"ES256","created_at_ms":…,"sign_from_ms":…,"private_key":"-----BEGIN …"}
 *
 * Whoever can read one of them can be anybody in the cluster, so everything about them is judged before it
 * is believed: owner and mode of the directory and of each file, name, kid and key. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "keys.h"

#define SUFFIX      ".json"
#define LATEST_TIME INT64_C(253402300799999) /* the end of the year 9999 */

/* ---- the directory ---- */

static bool owned_by_us(const struct stat *st)
{
    return st->st_uid == geteuid() || st->st_uid == 0;
}

static bool judge_directory(int fd, const char *directory, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return error_set(err, ERROR_UPSTREAM, "%s: %m", directory);
    if (!owned_by_us(&st))
        return error_set(err, ERROR_BAD_INPUT, "%s: belongs to another user", directory);
    if ((st.st_mode & S_IWGRP) != 0)
        return error_set(err, ERROR_BAD_INPUT, "%s: can be written by its group; chmod g-w it",
                         directory);
    if ((st.st_mode & S_IRWXO) != 0)
        return error_set(err, ERROR_BAD_INPUT, "%s: is open to others; chmod o= it", directory);
    return true;
}

bool key_files_open(const char *directory, bool make, int *fd, struct error *err)
{
    if (make && mkdir(directory, 0700) != 0 && errno != EEXIST)
        return error_set(err, ERROR_UPSTREAM, "%s: can't be made: %m", directory);
    int opened = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0 && errno == ENOENT && !make) {
        *fd = -1;
        return true;
    }
    if (opened < 0)
        return error_set(err, ERROR_UPSTREAM, "%s: %m", directory);
    if (!judge_directory(opened, directory, err)) {
        close(opened);
        return false;
    }
    *fd = opened;
    return true;
}

/* ---- reading ---- */

static bool judge_file(int fd, const char *name, struct error *err)
{
    struct stat st;
    if (fstatat(fd, name, &st, 0) != 0)
        return error_set(err, ERROR_UPSTREAM, "%m");
    if (!owned_by_us(&st))
        return error_set(err, ERROR_BAD_INPUT, "belongs to another user");
    if ((st.st_mode & S_IWGRP) != 0)
        return error_set(err, ERROR_BAD_INPUT, "can be written by its group; chmod g-w it");
    return true; /* others: secret_load_file judges */
}

static bool read_time(const struct json *object, const char *key, int64_t *out, struct error *err)
{
    int64_t value;
    if (!json_int(object, key, &value, err))
        return false;
    if (value < 0 || value > LATEST_TIME)
        return error_set(err, ERROR_BAD_INPUT, "%s is out of range", key);
    *out = value;
    return true;
}

static bool parse_key(h2o_mem_pool_t *pool, h2o_iovec_t text, struct token_key **out,
                      struct error *err)
{
    struct json *object;
    h2o_iovec_t kid = {NULL, 0}, algorithm = {NULL, 0}, pem = {NULL, 0};
    int64_t created_at_ms = 0, sign_from_ms = 0;
    if (!json_parse(pool, text, NULL, &object, err) || !json_string(object, "kid", &kid, err) ||
        !json_string(object, "algorithm", &algorithm, err) ||
        !read_time(object, "created_at_ms", &created_at_ms, err) ||
        !read_time(object, "sign_from_ms", &sign_from_ms, err) ||
        !json_string(object, "private_key", &pem, err))
        return false;
    if (!token_key_kid_valid(kid))
        return error_set(err, ERROR_BAD_INPUT, "kid is not of our form");
    bool good = token_key_from_pem(kid.base, pem, out, err);
    explicit_bzero(pem.base, pem.len);
    if (!good)
        return false;
    if (!iovec_equal(algorithm, token_algorithm_name((*out)->algorithm))) {
        token_key_free(*out);
        return error_set(err, ERROR_BAD_INPUT, "algorithm is not that of the private key");
    }
    (*out)->created_at_ms = created_at_ms;
    (*out)->sign_from_ms = sign_from_ms;
    return true;
}

static bool load_key(h2o_mem_pool_t *pool, const char *path, const char *name,
                     struct token_key **out, struct error *err)
{
    struct secret file = {0};
    if (!secret_load_file(path, &file, err))
        return false;
    struct token_key *key = NULL;
    bool good = parse_key(pool, secret_iovec(&file), &key, err);
    secret_dispose(&file);
    assert(!good || key != NULL);
    size_t len = strlen(name) - strlen(SUFFIX);
    if (good && (len != KEY_KID_LEN || memcmp(name, key->kid, len) != 0)) {
        token_key_free(key);
        good = error_set(err, ERROR_BAD_INPUT, "the file's name is not its kid");
    }
    if (!good)
        return error_prefix(err, path);
    *out = key;
    return true;
}

static bool add_file(int fd, const char *directory, const char *name, struct key_ring *ring,
                     struct error *err)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    const char *path = text_format(&pool, "%s/%s", directory, name);
    struct token_key *key = NULL;
    bool good = ring->count < TOKEN_KEYS_MOST
                    ? judge_file(fd, name, err)
                    : error_set(err, ERROR_BAD_INPUT, "is one key too many");
    if (!good)
        error_prefix(err, path);
    good = good && load_key(&pool, path, name, &key, err);
    h2o_mem_clear_pool(&pool);
    if (!good)
        return false;
    key_ring_add(ring, key);
    return true;
}

/* What is hidden (our own temporary files, Kubernetes' ..data) or no .json is none of ours. */
static bool is_key_file(const char *name)
{
    size_t len = strlen(name), suffix = strlen(SUFFIX);
    return name[0] != '.' && len > suffix && strcmp(name + len - suffix, SUFFIX) == 0;
}

static DIR *open_listing(int fd)
{
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* fdopendir takes it over */
    DIR *dir = again >= 0 ? fdopendir(again) : NULL;
    if (dir == NULL && again >= 0)
        close(again);
    return dir;
}

/* The next key file's name, or NULL with errno 0 at the end. */
static const char *next_key_file(DIR *dir)
{
    const struct dirent *entry;
    do {
        errno = 0;
        entry = readdir(dir); /* NOLINT(concurrency-mt-unsafe): nobody else reads this DIR */
    } while (entry != NULL && !is_key_file(entry->d_name));
    return entry != NULL ? entry->d_name : NULL;
}

bool key_files_read(int fd, const char *directory, struct key_ring *ring, struct error *err)
{
    DIR *dir = open_listing(fd);
    if (dir == NULL)
        return error_set(err, ERROR_UPSTREAM, "%s: %m", directory);
    bool good = true;
    const char *name;
    while (good && (name = next_key_file(dir)) != NULL)
        good = add_file(fd, directory, name, ring, err);
    if (good && errno != 0)
        good = error_set(err, ERROR_UPSTREAM, "%s: %m", directory);
    closedir(dir);
    return good;
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t len) /* FNV-1a */
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t stamp_of(const char *name, const struct stat *st)
{
    const uint64_t facts[] = {st->st_ino,
                              st->st_mode,
                              st->st_uid,
                              (uint64_t)st->st_size,
                              (uint64_t)st->st_mtim.tv_sec,
                              (uint64_t)st->st_mtim.tv_nsec,
                              (uint64_t)st->st_ctim.tv_sec,
                              (uint64_t)st->st_ctim.tv_nsec};
    uint64_t hash = mix(UINT64_C(0xcbf29ce484222325), name, strlen(name));
    return mix(hash, facts, sizeof(facts));
}

uint64_t key_files_stamp(int fd)
{
    DIR *dir = open_listing(fd);
    if (dir == NULL)
        return 0;
    uint64_t sum = 1;
    const char *name;
    while ((name = next_key_file(dir)) != NULL) {
        struct stat st = {0}; /* stays so for a file that is gone again: the next look differs */
        (void)fstatat(fd, name, &st, 0);
        sum += stamp_of(name, &st); /* whatever the order */
    }
    closedir(dir);
    return sum;
}

/* ---- writing ---- */

static bool write_all(int fd, h2o_iovec_t bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.base, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes.base += n;
        bytes.len -= (size_t)n;
    }
    return true;
}

static bool write_file(int dir_fd, const char *name, h2o_iovec_t bytes)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool good = fchmod(fd, 0600) == 0 && write_all(fd, bytes) && fsync(fd) == 0;
    int saved = errno;
    good = close(fd) == 0 && good;
    if (saved != 0)
        errno = saved;
    return good;
}

static bool key_text(h2o_mem_pool_t *pool, const struct token_key *key, h2o_iovec_t *out,
                     struct error *err)
{
    struct secret pem = {0};
    if (!token_key_to_pem(key, &pem, err))
        return false;
    struct json_writer *writer = json_writer_new(pool);
    json_begin_object(writer);
    json_key(writer, "kid");
    json_put_string(writer, key->kid);
    json_key(writer, "algorithm");
    json_put_string(writer, token_algorithm_name(key->algorithm));
    json_key(writer, "created_at_ms");
    json_put_int(writer, key->created_at_ms);
    json_key(writer, "sign_from_ms");
    json_put_int(writer, key->sign_from_ms);
    json_key(writer, "private_key");
    json_put_iovec(writer, secret_iovec(&pem));
    json_end_object(writer);
    secret_dispose(&pem);
    return json_writer_end(writer, out, err);
}

bool key_files_write(int fd, const char *directory, const struct token_key *key, struct error *err)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    const char *name = text_format(&pool, "%s" SUFFIX, key->kid);
    const char *temporary = text_format(&pool, ".%s.tmp", key->kid);
    h2o_iovec_t text;
    bool good = key_text(&pool, key, &text, err);
    if (good && (!write_file(fd, temporary, text) || renameat(fd, temporary, fd, name) != 0 ||
                 fsync(fd) != 0))
        good = error_set(err, ERROR_UPSTREAM, "%s/%s: can't be written: %m", directory, name);
    if (good)
        explicit_bzero(text.base, text.len);
    h2o_mem_clear_pool(&pool);
    return good;
}

bool key_files_remove(int fd, const char *directory, const struct token_key *key, struct error *err)
{
    char name[TOKEN_KID_SIZE + sizeof(SUFFIX)];
    snprintf(name, sizeof(name), "%s" SUFFIX, key->kid);
    if ((unlinkat(fd, name, 0) != 0 && errno != ENOENT) || fsync(fd) != 0)
        return error_set(err, ERROR_UPSTREAM, "%s/%s: can't be deleted: %m", directory, name);
    return true;
}
