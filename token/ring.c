/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring of signing keys. What a key does at a time follows from the clock alone: the one with the latest
 * sign_from up to now signs; each verifies from the moment it is in the ring until KEY_OVERLAP_MS after the
 * next one began to sign. So every replica that has read the same files agrees without talking. */
#include <assert.h>
#include <sys/file.h>
#include <unistd.h>

#include "keys.h"

static void ring_free(struct token_keys *self)
{
    for (size_t i = 0; i < self->count; i++)
        token_key_free(self->entries[i]);
    free(self->entries);
    *self = (struct token_keys){0};
}

static int by_sign_from(const void *a, const void *b)
{
    const struct token_key *left = *(struct token_key *const *)a;
    const struct token_key *right = *(struct token_key *const *)b;
    if (left->sign_from_ms != right->sign_from_ms)
        return left->sign_from_ms < right->sign_from_ms ? -1 : 1;
    return strcmp(left->kid, right->kid);
}

static void settle(struct token_keys *self)
{
    if (self->count > 1)
        qsort(self->entries, self->count, sizeof(struct token_key *), by_sign_from);
    for (size_t i = 0; i + 1 < self->count; i++)
        self->entries[i]->verify_until_ms = self->entries[i + 1]->sign_from_ms + KEY_OVERLAP_MS;
}

static bool make_first_key(int fd, const char *directory, int64_t now_ms, struct token_keys *keys,
                           struct error *err)
{
    struct token_key *key;
    if (!token_key_generate(now_ms, now_ms, &key, err))
        return false;
    if (!key_files_write(fd, directory, key, err)) {
        token_key_free(key);
        return false;
    }
    keys->entries = h2o_mem_alloc(sizeof(struct token_key *));
    keys->entries[0] = key;
    keys->count = 1;
    return true;
}

/* The lock makes two processes that start on an empty directory agree on one first key. */
static bool fill(int fd, const char *directory, int64_t now_ms, struct token_keys *keys,
                 struct error *err)
{
    if (flock(fd, LOCK_EX) != 0)
        return error_set(err, ERROR_UPSTREAM, "%s: can't be locked: %m", directory);
    if (!key_files_read(fd, directory, keys, err))
        return false;
    return keys->count > 0 || make_first_key(fd, directory, now_ms, keys, err);
}

bool token_keys_open(const char *directory, int64_t now_ms, struct token_keys **out,
                     struct error *err)
{
    int fd;
    if (!key_files_open(directory, true, &fd, err))
        return false;
    struct token_keys keys = {0};
    bool good = fill(fd, directory, now_ms, &keys, err);
    close(fd); /* gives the lock back */
    if (!good) {
        ring_free(&keys);
        return false;
    }
    settle(&keys);
    *out = h2o_mem_alloc(sizeof(keys));
    **out = keys;
    return true;
}

bool token_keys_check(const char *directory, struct error *err)
{
    int fd;
    if (!key_files_open(directory, false, &fd, err))
        return false;
    if (fd < 0)
        return true;
    struct token_keys keys = {0};
    bool good = key_files_read(fd, directory, &keys, err);
    close(fd);
    ring_free(&keys);
    return good;
}

void token_keys_free(struct token_keys *self)
{
    if (self == NULL)
        return;
    ring_free(self);
    free(self);
}

const struct token_key *token_keys_signer(const struct token_keys *self, int64_t now_ms)
{
    const struct token_key *signer = self->count > 0 ? self->entries[0] : NULL;
    for (size_t i = 1; i < self->count && self->entries[i]->sign_from_ms <= now_ms; i++)
        signer = self->entries[i];
    return signer;
}

const struct token_key *token_keys_find(const struct token_keys *self, const char *header)
{
    for (size_t i = 0; i < self->count; i++) {
        if (memcmp(self->entries[i]->header, header, KEY_HEADER_LEN) == 0)
            return self->entries[i];
    }
    return NULL;
}

static void write_jwk(const struct token_key *key, struct json_writer *out)
{
    const char *members[][2] = {{"kty", "EC"},  {"crv", "P-256"}, {"x", key->x},    {"y", key->y},
                                {"use", "sig"}, {"alg", "ES256"}, {"kid", key->kid}};
    json_begin_object(out);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        json_key(out, members[i][0]);
        json_put_string(out, members[i][1]);
    }
    json_end_object(out);
}

void token_keys_write_jwks(const struct token_keys *self, int64_t now_ms, struct json_writer *out)
{
    json_begin_object(out);
    json_key(out, "keys");
    json_begin_array(out);
    for (size_t i = 0; i < self->count; i++) {
        if (now_ms < self->entries[i]->verify_until_ms)
            write_jwk(self->entries[i], out);
    }
    json_end_array(out);
    json_end_object(out);
}
