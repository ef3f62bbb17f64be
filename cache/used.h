/* SPDX-License-Identifier: Apache-2.0
 *
 * What counts once, for ever: sign-in attempts, and tickets to apps. Shared by all threads. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

struct used_attempts;

struct used_attempts *used_attempts_new(size_t capacity);
void used_attempts_free(struct used_attempts *self);
/* Remembers the attempt. False: it was used before, or is older than what the table can still tell. */
bool used_attempts_add(struct used_attempts *self, h2o_iovec_t state, int64_t created_ms);
