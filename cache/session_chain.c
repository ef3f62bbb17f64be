/* SPDX-License-Identifier: Apache-2.0
 *
 * The rule of refresh tokens, without secrets, locks and stores. */
#include "session_chain.h"

#define ROTATE_MIN_MS (5 * 60 * INT64_C(1000))

/* With twelve rotations to an idle limit, what is older than CHAIN_REMEMBERED generations is always spent. */
static int64_t interval_ms(int64_t idle_ms)
{
    return idle_ms / 12 > ROTATE_MIN_MS ? idle_ms / 12 : ROTATE_MIN_MS;
}

void chain_begin(struct session_chain *self, const uint8_t secret_hash[SHA256_SIZE], int64_t now_ms)
{
    *self = (struct session_chain){.begun = true, .made_ms = now_ms};
    memcpy(self->secret_hash, secret_hash, SHA256_SIZE);
}

void chain_rotate(struct session_chain *self, const uint8_t secret_hash[SHA256_SIZE],
                  int64_t now_ms)
{
    memmove(self->first_used_ms + 1, self->first_used_ms,
            (CHAIN_REMEMBERED - 1) * sizeof(self->first_used_ms[0]));
    self->first_used_ms[0] = 0;
    self->generation++;
    self->made_ms = now_ms;
    memcpy(self->secret_hash, secret_hash, SHA256_SIZE);
}

enum chain_place chain_place_of(const struct session_chain *self, uint32_t generation,
                                int64_t idle_ms, int64_t now_ms)
{
    if (!self->begun || generation > self->generation)
        return CHAIN_FOREIGN;
    if (generation == self->generation)
        return CHAIN_CURRENT;
    uint32_t successor = self->generation - generation - 1; /* counted back from the current one */
    if (successor >= CHAIN_REMEMBERED)
        return CHAIN_SPENT;
    int64_t used_ms = self->first_used_ms[successor];
    return used_ms != 0 && now_ms - used_ms >= idle_ms ? CHAIN_SPENT : CHAIN_ANCESTOR;
}

void chain_note_use(struct session_chain *self, int64_t now_ms)
{
    if (self->first_used_ms[0] == 0)
        self->first_used_ms[0] = now_ms;
}

bool chain_is_due(const struct session_chain *self, int64_t idle_ms, int64_t now_ms)
{
    return now_ms - self->made_ms >= interval_ms(idle_ms);
}
