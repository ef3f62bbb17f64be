/* SPDX-License-Identifier: Apache-2.0
 *
 * Times and durations as a person reads them. postern.js has the same words for times that move on. */
#pragma once

#include <h2o.h>
#include <stdint.h>

/* "in 58 s", "12 s ago", "in 1 h 5 min", "3 days ago", "now". In pool. */
const char *words_relative(h2o_mem_pool_t *pool, int64_t when_ms, int64_t now_ms);
/* "2026-11-23 16:18:00 UTC". In pool. */
const char *words_exact(h2o_mem_pool_t *pool, int64_t when_ms);
/* "16:18:00 UTC". In pool. */
const char *words_clock(h2o_mem_pool_t *pool, int64_t when_ms);
/* "0 bytes", "812 bytes", "3.4 MB": powers of ten. In pool. */
const char *words_bytes(h2o_mem_pool_t *pool, uint64_t bytes);
/* A duration of the config, in the largest unit that fits evenly: "1 minute", "90 seconds", "12 hours". In pool. */
const char *words_duration(h2o_mem_pool_t *pool, int64_t ms);
/* "1 thing", "2 things". In pool. */
const char *words_count(h2o_mem_pool_t *pool, int64_t count, const char *thing);
