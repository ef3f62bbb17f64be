/* SPDX-License-Identifier: Apache-2.0
 *
 * One log line as it grows: private to the log. */
#pragma once

#include "base/log.h"

struct log_line {
    struct log_line *next; /* in the queue */
    size_t len;            /* bytes in use */
    size_t capacity;       /* bytes there are room for */
    char bytes[];          /* a JSON object with its newline; not NUL-terminated */
};

/* event may be NULL. The caller frees with free. */
struct log_line *log_line_new(enum log_level level, const char *message, const char *event,
                              const struct log_field *fields);
