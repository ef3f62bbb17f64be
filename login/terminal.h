/* SPDX-License-Identifier: Apache-2.0
 *
 * Talk to the person: on stderr, because stdout is client-go's. */
#pragma once

#include <stdint.h>

/* One line, with "postern login: " before it. Strings of others must be cleaned first. */
void terminal_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Makes text of others harmless for a terminal, in place: what is no printable ASCII becomes '?'. Returns text. */
char *terminal_clean(char *text);
void pause_ms(int64_t ms);
