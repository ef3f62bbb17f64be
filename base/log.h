/* SPDX-License-Identifier: Apache-2.0
 *
 * One JSON object a line on stderr, written by one thread from a bounded queue. Fields are typed, so
 * nothing is ever formatted into a line by hand; strings are cut at 512 bytes, bad UTF-8 and control
 * characters are escaped. Never hand a token, code, cookie or key to it.
 *
 *     log_warn("jwks fetch failed", LOG_STR("kid", kid), LOG_INT("status", 503));
 *
 * gives {"time":"…","level":"warn","message":"jwks fetch failed","kid":"…","status":503}. An error is
 * logged once, by whoever decides the answer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *key; /* NULL ends the list */
    enum { LOG_FIELD_STRING, LOG_FIELD_INT, LOG_FIELD_BOOL } kind;
    const char *string; /* NULL is left out of the line */
    int64_t number;     /* also the boolean */
};

#define LOG_STR(key, value)                                                                        \
    {                                                                                              \
        (key), LOG_FIELD_STRING, (value), 0                                                        \
    }
#define LOG_INT(key, value)                                                                        \
    {                                                                                              \
        (key), LOG_FIELD_INT, NULL, (value)                                                        \
    }
#define LOG_BOOL(key, value)                                                                       \
    {                                                                                              \
        (key), LOG_FIELD_BOOL, NULL, (value)                                                       \
    }

/* Starts the writer thread; before that, lines are written at once by the caller. fd is borrowed. */
void log_start(int fd, enum log_level least);
/* Writes what is queued, ends the thread; later lines are written at once again. */
void log_stop(void);
void log_set_level(enum log_level least); /* from any thread */
bool log_enabled(enum log_level level);
bool log_level_parse(const char *name, enum log_level *out); /* "debug" "info" "warn" "error" */
/* Lines lost because the queue was full (the writer also says so in a line of its own). */
uint64_t log_lost(void);

void log_write(enum log_level level, const char *message, const struct log_field *fields);

#define LOG_END                                                                                    \
    {                                                                                              \
        NULL, LOG_FIELD_INT, NULL, 0                                                               \
    }
#ifdef CPPCHECK /* which does not know __VA_OPT__; only looks, never builds */
#define LOG_FIELDS(...)                                                                            \
    (const struct log_field[])                                                                     \
    {                                                                                              \
        LOG_END, __VA_ARGS__                                                                       \
    }
#else
#define LOG_FIELDS(...)                                                                            \
    (const struct log_field[])                                                                     \
    {                                                                                              \
        __VA_ARGS__ __VA_OPT__(, ) LOG_END                                                         \
    }
#endif

#define LOG_AT(level, message, ...)                                                                \
    do {                                                                                           \
        if (log_enabled(level))                                                                    \
            log_write((level), (message), LOG_FIELDS(__VA_ARGS__));                                \
    } while (0)
#define log_debug(message, ...) LOG_AT(LOG_DEBUG, message, __VA_ARGS__)
#define log_info(message, ...)  LOG_AT(LOG_INFO, message, __VA_ARGS__)
#define log_warn(message, ...)  LOG_AT(LOG_WARN, message, __VA_ARGS__)
#define log_error(message, ...) LOG_AT(LOG_ERROR, message, __VA_ARGS__)

/* An audit line: message "audit" with "event" first. Written at every level setting. */
void log_audit_write(const char *event, const struct log_field *fields);
#define log_audit(event, ...) log_audit_write((event), LOG_FIELDS(__VA_ARGS__))
