/* SPDX-License-Identifier: Apache-2.0
 *
 * Our service account at an API server: its token, read from a file that Kubernetes rotates. Used on all threads. */
#pragma once

#include <h2o.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/secret.h"

struct account {
    const char *file; /* NULL: there is no account */
    pthread_mutex_t mutex;
    struct secret token; /* under the mutex; empty until it was read */
};
void account_init(struct account *self, const char *file);
void account_dispose(struct account *self);
/* Reads the file again; what was read before goes on where that fails. */
MUST_CHECK bool account_load(struct account *self, struct error *err);
/* "Bearer <token>" in pool, wiped with it; len 0: there is none. */
h2o_iovec_t account_authorization(struct account *self, h2o_mem_pool_t *pool);
/* Whether the file holds a token, for `check` and a reload. */
MUST_CHECK bool account_check(const char *file, struct error *err);
