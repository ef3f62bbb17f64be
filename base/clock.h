/* SPDX-License-Identifier: Apache-2.0
 *
 * The two clocks. Deadlines and ages use the monotonic one; what is stored or shown uses the wall. Code
 * that judges by time takes "now" as a parameter, so that tests need no clock of their own. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int64_t clock_wall_ms(void); /* milliseconds since 1970, may step */
int64_t clock_mono_ms(void); /* milliseconds since some start, never steps */
int64_t clock_mono_us(void); /* the same in microseconds */

#define CLOCK_RFC3339_SIZE 32

/* Writes wall_ms as RFC 3339 in UTC with seconds ("2026-11-23T16:18:00Z") and returns out. */
const char *clock_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_SIZE]);
