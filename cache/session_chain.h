/* SPDX-License-Identifier: Apache-2.0
 *
 * The refresh tokens of one kubeconfig session, as a chain of generations of which the last is the current one. kubectl
 * loses answers, can't always write its file, and shares it with tools that keep copies (facts/protocols.md B1), so an
 * ancestor goes on until its own successor was first used, and the kubeconfig idle limit has passed since.
 *
 * Only who presents the current token is given a next one. So each generation but the current one was used before the
 * generation after its successor was made, and a dozen rotations after that it is spent: what is remembered is
 * enough. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/crypto.h"

#define CHAIN_REMEMBERED 16

struct session_chain {
    bool begun; /* false: there are no refresh tokens of this session */
    uint32_t generation;
    uint8_t secret_hash[SHA256_SIZE]; /* of the current generation */
    int64_t made_ms;
    int64_t first_used_ms
        [CHAIN_REMEMBERED]; /* of the current generation, the one before it, …; 0: not yet */
};

void chain_begin(struct session_chain *self, const uint8_t secret_hash[SHA256_SIZE],
                 int64_t now_ms);
void chain_rotate(struct session_chain *self, const uint8_t secret_hash[SHA256_SIZE],
                  int64_t now_ms);

enum chain_place {
    CHAIN_CURRENT,
    CHAIN_ANCESTOR, /* still good */
    CHAIN_SPENT,    /* its successor has been in use for too long: whoever has it should not */
    CHAIN_FOREIGN,  /* a generation that never was */
};
enum chain_place chain_place_of(const struct session_chain *self, uint32_t generation,
                                int64_t idle_ms, int64_t now_ms);
/* The current token was presented. */
void chain_note_use(struct session_chain *self, int64_t now_ms);
/* Whether the current token, when presented, is to be replaced. */
bool chain_is_due(const struct session_chain *self, int64_t idle_ms, int64_t now_ms);
