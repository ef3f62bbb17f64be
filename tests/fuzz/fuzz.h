/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fuzz targets share. Each target is one file with the function that libFuzzer calls; without
 * libFuzzer, standalone.c calls it for each file of a corpus. A target asserts what must hold for every
 * input, so that a wrong yes is found too, not only a crash. */
#pragma once

#include <assert.h>
#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

#define FUZZ_NOW_S  INT64_C(1790000000)
#define FUZZ_NOW_MS (FUZZ_NOW_S * 1000)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Takes the first line off *rest, without its line end. */
h2o_iovec_t fuzz_line(h2o_iovec_t *rest);
/* Takes the first byte; 0 where there is none. */
char fuzz_byte(h2o_iovec_t *rest);
/* A failure says of what kind it is and why, in one line. */
void fuzz_check_error(const struct error *err);
/* NUL-terminated and valid UTF-8 without a NUL inside. */
void fuzz_check_text(h2o_iovec_t text);
/* A copy of genuine, changed as edits says: three bytes each, a place (two bytes, big-endian, 0xffff: append)
 * and what to XOR there. *changed tells whether the copy differs. */
h2o_iovec_t fuzz_edit(h2o_mem_pool_t *pool, h2o_iovec_t genuine, h2o_iovec_t edits, bool *changed);
bool fuzz_same(h2o_iovec_t a, h2o_iovec_t b);
