/* SPDX-License-Identifier: Apache-2.0
 *
 * What a function that failed says. Every fallible function takes a struct error last and returns
 * bool; outputs are written only on success. The text is for an operator: it never holds a token, a
 * code, a cookie or another secret. */
#pragma once

#include <stdbool.h>

enum error_kind {
    ERROR_NONE,      /* nothing failed */
    ERROR_REJECTED,  /* a clear no: the credential or the request is not acceptable */
    ERROR_BAD_INPUT, /* the caller's input is malformed */
    ERROR_UPSTREAM,  /* somebody we depend on (Okta, the disk) did not do its part */
    ERROR_INTERNAL,  /* ours: a limit or a library that failed */
};

struct error {
    enum error_kind kind; /* ERROR_NONE while nothing failed */
    char text[240];       /* one line, cut at the end when it does not fit */
};

#define MUST_CHECK __attribute__((warn_unused_result))

/* Sets the error; returns false always, so that a function can say `return error_set(...)`.
 * err may be NULL. */
bool error_set(struct error *err, enum error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text that is there; returns false always. */
bool error_prefix(struct error *err, const char *prefix);

const char *error_kind_name(enum error_kind kind);
