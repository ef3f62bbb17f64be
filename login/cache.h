/* SPDX-License-Identifier: Apache-2.0
 *
 * What `postern login` keeps on the laptop's disk: for each issuer, client and CA one file with the tokens, and one
 * that is locked by whoever refreshes or signs in, so that the others wait for the outcome. Both are the user's alone. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "tokens.h"

struct cache {
    int directory;    /* descriptor; -1: there is no cache, and all below do nothing */
    int lock;         /* descriptor; -1: not locked */
    bool waited;      /* somebody else had the lock first */
    int64_t asked_ns; /* wall: when it was asked for */
    const char *path; /* of the directory, in pool, for messages */
    const char *name; /* of the tokens' file, in pool; so the next two */
    const char *new_name;
    const char *lock_name;
};

struct cache_key { /* borrowed */
    const char *issuer;
    const char *client_id;
    const char *ca_pem; /* NULL: the system's */
};

/* $XDG_CACHE_HOME/postern or ~/.cache/postern, in pool; NULL where the environment says neither. */
const char *cache_usual_directory(h2o_mem_pool_t *pool);
/* Makes the directory where it is missing. REJECTED: others can get at it; else (UPSTREAM) there is no place to write,
 * and *out is a cache that keeps nothing. directory may be NULL. */
MUST_CHECK bool cache_open(h2o_mem_pool_t *pool, const char *directory, const struct cache_key *key,
                           struct cache *out, struct error *err);
void cache_close(struct cache *self); /* unlocks, too */

/* No file: *out is empty. REJECTED: others can read it; BAD_INPUT: it makes no sense; UPSTREAM: it can't be read. */
MUST_CHECK bool cache_read(const struct cache *self, struct login_tokens *out, struct error *err);
/* Whole or not at all, also when the power fails. */
MUST_CHECK bool cache_write(const struct cache *self, const struct login_tokens *tokens,
                            struct error *err);
/* The file's text. BAD_INPUT when it is not what cache_write writes. */
MUST_CHECK bool cache_parse(h2o_iovec_t text, struct login_tokens *out, struct error *err);

/* Waits for the lock at most wait_ms; says once what it waits for. The lock goes with the process. */
MUST_CHECK bool cache_lock(struct cache *self, int64_t wait_ms, struct error *err);
/* What the former holder of the lock could not do while this one waited for it: then nobody needs to try the same
 * again. False: nothing of the kind. */
bool cache_failed_meanwhile(const struct cache *self, struct error *err);
/* Leaves that for those who wait. NULL: forgets it. */
void cache_note_failure(const struct cache *self, const struct error *err);
