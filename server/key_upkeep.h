/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks after the signing keys while the server runs: takes up files that come and go, rotates by age, deletes
 * what is over; each change is an audit line. */
#pragma once

#include <stdatomic.h>

#include "base/config.h"
#include "base/loop.h"
#include "token/token.h"

struct key_upkeep {
    struct loop *loop;              /* borrowed, as is keys */
    struct token_keys *keys;        /* nobody else tends them */
    enum token_algorithm algorithm; /* a reload does not change it */
    _Atomic int64_t rotate_every_ms;
    struct loop_timer timer;
    struct error told; /* the complaint that was logged last */
    int64_t told_mono_ms;
};

/* On the loop's thread. */
void key_upkeep_start(struct key_upkeep *self, struct loop *loop, struct token_keys *keys,
                      const struct config *config);
/* From any thread: what a config says from now on. */
void key_upkeep_configure(struct key_upkeep *self, const struct config *config);
