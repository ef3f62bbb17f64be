/* SPDX-License-Identifier: Apache-2.0
 *
 * Error texts are shown to people and logged: they are kept to one line of whole UTF-8 characters. */
#include "base/error.h"

#include <stdarg.h>

#include "base/text.h"

/* A text may hold a file name or a word from outside; it must not break the line. */
static void finish_text(struct error *err, int formatted)
{
    if (formatted < 0)
        err->text[0] = '\0';
    else if ((size_t)formatted >= sizeof(err->text))
        err->text[utf8_cut(err->text, sizeof(err->text) - 1)] = '\0';
    for (char *c = err->text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    }
}

bool error_set(struct error *err, enum error_kind kind, const char *format, ...)
{
    if (err == NULL)
        return false;
    va_list args;
    va_start(args, format);
    err->kind = kind;
    finish_text(err, vsnprintf(err->text, sizeof(err->text), format, args));
    va_end(args);
    return false;
}

bool error_prefix(struct error *err, const char *prefix)
{
    if (err == NULL)
        return false;
    struct error before = *err;
    finish_text(err, snprintf(err->text, sizeof(err->text), "%s: %s", prefix, before.text));
    return false;
}

const char *error_kind_name(enum error_kind kind)
{
    switch (kind) {
    case ERROR_NONE:
        return "none";
    case ERROR_REJECTED:
        return "rejected";
    case ERROR_BAD_INPUT:
        return "bad_input";
    case ERROR_UPSTREAM:
        return "upstream";
    case ERROR_INTERNAL:
        return "internal";
    }
    return "unknown";
}
