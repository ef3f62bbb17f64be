/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes that must not stay in memory longer than needed, nor leave it: wiped when freed, loaded from
 * files only, never printed. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/error.h"

struct secret {
    char *bytes; /* malloc'ed, NUL-terminated; NULL while empty */
    size_t len;
};

void secret_set(struct secret *self, const char *bytes,
                size_t len); /* copies; the former content is wiped */
void secret_copy(struct secret *self, const struct secret *from);
void secret_dispose(struct secret *self);            /* wipes; accepts a zeroed one */
h2o_iovec_t secret_iovec(const struct secret *self); /* borrowed */
/* A copy in pool that is wiped before the pool gives the memory back. */
h2o_iovec_t secret_in_pool(h2o_mem_pool_t *pool, h2o_iovec_t bytes);
/* The same, zeroed, for a caller that writes the len bytes itself. NUL-terminated. */
h2o_iovec_t secret_alloc_in_pool(h2o_mem_pool_t *pool, size_t len);

/* Reads a secret file of at most 64 KiB. Refused when others (o+r) can read it, or when it is empty.
 * The error names the file. */
MUST_CHECK bool secret_load_file(const char *path, struct secret *out, struct error *err);
/* The same, for a one-line secret: one trailing newline is dropped, more lines are refused. */
MUST_CHECK bool secret_load_line(const char *path, struct secret *out, struct error *err);
