/* SPDX-License-Identifier: Apache-2.0
 *
 * The directory of signing keys through time: opened at the start, looked at while the server runs, rotated by
 * age or by hand. Whoever changes it holds a lock on it and judges what is in it then, so that processes that
 * share it do each thing once. A key that this process can't write down never signs. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "keys.h"

struct work { /* on a directory, locked while fd is open */
    int fd;
    const char *directory;
    enum token_algorithm algorithm; /* of the key that is added */
    int64_t now_ms;
    struct key_ring *ring;          /* what is in it */
    struct token_key *added;        /* by us, in ring */
    const struct token_key *former; /* the one that signed before added does, in ring */
};

static struct key_ring *ring_new(void)
{
    struct key_ring *ring = h2o_mem_alloc(sizeof(*ring));
    *ring = (struct key_ring){0};
    return ring;
}

static bool add_key(struct work *self, int64_t sign_from_ms, struct error *err)
{
    struct token_key *key;
    if (faccessat(self->fd, ".", W_OK, AT_EACCESS) != 0) /* before the work of making one */
        return error_set(err, ERROR_UPSTREAM, "%s: can't be written: %m", self->directory);
    if (!token_key_generate(self->algorithm, self->now_ms, sign_from_ms, &key, err))
        return false;
    if (!key_files_write(self->fd, self->directory, key, err)) {
        token_key_free(key);
        return false;
    }
    key_ring_add(self->ring, key);
    key_ring_settle(self->ring);
    self->added = key;
    return true;
}

/* The lock makes two processes that start on an empty directory agree on one first key. */
static bool read_locked(struct work *self, struct error *err)
{
    if (!key_files_read(self->fd, self->directory, self->ring, err))
        return false;
    key_ring_settle(self->ring);
    return self->ring->count > 0 || add_key(self, self->now_ms, err);
}

static bool is_past(const struct work *work, const struct token_key *key)
{
    return work->now_ms >= key->verify_until_ms;
}

static bool is_other(const struct work *work, const struct token_key *key)
{
    return key != work->added;
}

static bool waits(const struct work *work, const struct token_key *key)
{
    return key != work->added && key != work->former && key->sign_from_ms > work->now_ms;
}

static bool drop_keys(struct work *self,
                      bool (*condemned)(const struct work *work, const struct token_key *key),
                      struct error *err)
{
    size_t kept = 0;
    bool good = true;
    for (size_t i = 0; i < self->ring->count; i++) {
        struct token_key *key = self->ring->entries[i];
        bool drop = condemned(self, key);
        good = good && (!drop || key_files_remove(self->fd, self->directory, key, err));
        if (drop && good)
            token_key_free(key);
        else
            self->ring->entries[kept++] = key;
    }
    self->ring->count = kept;
    key_ring_settle(self->ring);
    return good;
}

/* ---- opening ---- */

static struct token_keys *keys_new(const struct work *work)
{
    struct token_keys *keys = h2o_mem_alloc(sizeof(*keys));
    *keys = (struct token_keys){.directory = h2o_strdup(NULL, work->directory, SIZE_MAX).base};
    token_keys_publish(keys, work->ring);
    return keys;
}

/* Only at a start, and only where this process is told so anew: two replicas with different configs change the
 * algorithm once each, and not once a second. */
static bool change_algorithm(struct work *self, struct error *err)
{
    const struct token_key *signer = key_ring_signer(self->ring, self->now_ms);
    if (signer->algorithm == self->algorithm)
        return true;
    self->former = signer;
    return add_key(self, self->now_ms + (self->now_ms == signer->sign_from_ms), err) &&
           drop_keys(self, waits, err);
}

static bool open_locked(struct work *work, struct error *err)
{
    return read_locked(work, err) && change_algorithm(work, err);
}

bool token_keys_open(const char *directory, enum token_algorithm algorithm, int64_t now_ms,
                     struct token_keys **out, struct error *err)
{
    struct work work = {.directory = directory, .algorithm = algorithm, .now_ms = now_ms};
    if (!key_files_open(directory, true, &work.fd, err))
        return false;
    work.ring = ring_new();
    bool good = flock(work.fd, LOCK_EX) == 0
                    ? open_locked(&work, err)
                    : error_set(err, ERROR_UPSTREAM, "%s: can't be locked: %m", directory);
    if (good)
        *out = keys_new(&work);
    else
        key_ring_free(work.ring);
    close(work.fd); /* gives the lock back */
    return good;
}

bool token_keys_load(const char *directory, struct token_keys **out, struct error *err)
{
    struct work work = {.directory = directory};
    if (!key_files_open(directory, false, &work.fd, err))
        return false;
    work.ring = ring_new();
    bool good = work.fd < 0 || key_files_read(work.fd, directory, work.ring, err);
    key_ring_settle(work.ring);
    if (good)
        *out = keys_new(&work);
    else
        key_ring_free(work.ring);
    if (work.fd >= 0)
        close(work.fd);
    return good;
}

bool token_keys_check(const char *directory, struct error *err)
{
    struct token_keys *keys;
    if (!token_keys_load(directory, &keys, err))
        return false;
    token_keys_free(keys);
    return true;
}

/* ---- tending ---- */

static bool is_due(const struct key_ring *ring, const struct token_key_rules *rules, int64_t now_ms)
{
    const struct token_key *signer = key_ring_signer(ring, now_ms);
    return signer != NULL && rules->rotate_every_ms > 0 &&
           now_ms - signer->sign_from_ms >= rules->rotate_every_ms &&
           key_ring_next(ring, now_ms) == NULL;
}

static bool is_over(const struct key_ring *ring, int64_t now_ms)
{
    return ring->count > 0 && now_ms >= ring->entries[0]->verify_until_ms;
}

static bool same_keys(const struct key_ring *a, const struct key_ring *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = token_key_same(a->entries[i], b->entries[i]);
    return same;
}

/* What was read is taken up even where the rest failed. The stamp is from before the reading, so that whatever
 * changes meanwhile, by us or by others, is looked at once more. */
static bool tend_locked(struct token_keys *self, struct work *work,
                        const struct token_key_rules *rules, struct error *err)
{
    uint64_t stamp = key_files_stamp(work->fd);
    work->ring = ring_new();
    if (!read_locked(work, err)) {
        key_ring_free(work->ring);
        return false;
    }
    bool good =
        !is_due(work->ring, rules, work->now_ms) || add_key(work, work->now_ms + KEY_AHEAD_MS, err);
    good = good && drop_keys(work, is_past, err);
    self->stamp = stamp;
    if (same_keys(token_keys_ring(self), work->ring))
        key_ring_free(work->ring);
    else
        token_keys_publish(self, work->ring);
    return good;
}

bool token_keys_tend(struct token_keys *self, const struct token_key_rules *rules, int64_t now_ms,
                     bool *changed, struct error *err)
{
    const struct key_ring *before = token_keys_ring(self);
    struct work work = {
        .directory = self->directory, .algorithm = rules->algorithm, .now_ms = now_ms};
    *changed = false;
    if (!key_files_open(self->directory, false, &work.fd, err))
        return false;
    if (work.fd < 0)
        return error_set(err, ERROR_UPSTREAM, "%s: is gone", self->directory);
    bool wanted = key_files_stamp(work.fd) != self->stamp || is_due(before, rules, now_ms) ||
                  is_over(before, now_ms);
    bool good = true;
    if (wanted && flock(work.fd, LOCK_EX | LOCK_NB) == 0)
        good = tend_locked(self, &work, rules, err);
    else if (wanted && errno != EWOULDBLOCK) /* else somebody is at it: the next call sees what */
        good = error_set(err, ERROR_UPSTREAM, "%s: can't be locked: %m", self->directory);
    close(work.fd);
    *changed = token_keys_ring(self) != before;
    return good;
}

/* ---- by hand ---- */

static bool rotate_locked(struct work *work, bool at_once, struct error *err)
{
    if (!key_files_read(work->fd, work->directory, work->ring, err))
        return false;
    key_ring_settle(work->ring);
    const struct token_key *next = key_ring_next(work->ring, work->now_ms);
    if (!at_once && next != NULL)
        return error_set(err, ERROR_REJECTED, "the key %s already waits to sign", next->kid);
    bool first = work->ring->count == 0;
    if (!add_key(work, at_once || first ? work->now_ms : work->now_ms + KEY_AHEAD_MS, err))
        return false;
    return !at_once || drop_keys(work, is_other, err);
}

bool token_keys_rotate(struct token_keys *self, enum token_algorithm algorithm, int64_t now_ms,
                       bool at_once, struct error *err)
{
    struct work work = {.directory = self->directory, .algorithm = algorithm, .now_ms = now_ms};
    if (!key_files_open(self->directory, true, &work.fd, err))
        return false;
    work.ring = ring_new();
    bool good = flock(work.fd, LOCK_EX) == 0
                    ? rotate_locked(&work, at_once, err)
                    : error_set(err, ERROR_UPSTREAM, "%s: can't be locked: %m", self->directory);
    close(work.fd);
    if (good)
        token_keys_publish(self, work.ring);
    else
        key_ring_free(work.ring);
    return good;
}
