/* SPDX-License-Identifier: Apache-2.0
 *
 * See quote.h. Single quotes in both: within them a POSIX shell knows nothing but the quote itself, and PowerShell
 * nothing but its five kinds of it. (peers 53) */
#include "quote.h"

/* A command's name or a plain argument: "set-cluster". A leading dash is quoted, as PowerShell reads such words anew. */
static bool is_plain(const char *word)
{
    if (*word < 'a' || *word > 'z')
        return false;
    for (const char *c = word; *c != '\0'; c++)
        if ((*c < 'a' || *c > 'z') && *c != '-')
            return false;
    return true;
}

static bool is_control(const char *c, size_t len)
{
    const unsigned char *b = (const unsigned char *)c;
    if (len == 1)
        return b[0] < 0x20 || b[0] == 0x7f;
    if (len == 2)
        return b[0] == 0xc2 && b[1] < 0xa0; /* C1 */
    if (len != 3 || b[0] != 0xe2)
        return false;
    return (b[1] == 0x80 && b[2] >= 0xa8 && b[2] <= 0xae)     /* U+2028 to U+202E */
           || (b[1] == 0x81 && b[2] >= 0xa6 && b[2] <= 0xa9); /* U+2066 to U+2069 */
}

static bool is_pasteable(const char *word, struct error *err)
{
    for (size_t len = strlen(word), step; len > 0; word += step, len -= step) {
        step = utf8_char(word, len);
        if (step == 0)
            return error_set(err, ERROR_BAD_INPUT, "has bytes that are no UTF-8");
        if (is_control(word, step))
            return error_set(err, ERROR_BAD_INPUT,
                             "has control characters, or such that turn the direction of writing");
    }
    return true;
}

bool quote_sh(struct text *out, const char *word, struct error *err)
{
    if (!is_pasteable(word, err))
        return false;
    if (is_plain(word)) {
        text_add_string(out, word);
        return true;
    }
    text_add_string(out, "'");
    for (const char *c = word; *c != '\0'; c++) {
        if (*c == '\'')
            text_add_string(out, "'\\''");
        else
            text_add(out, c, 1);
    }
    text_add_string(out, "'");
    return true;
}

/* ' and U+2018 to U+201B: each of them begins and ends a string, and two of a kind are one within. */
static bool is_powershell_quote(const char *c, size_t len)
{
    const unsigned char *b = (const unsigned char *)c;
    return (len == 1 && b[0] == '\'') ||
           (len == 3 && b[0] == 0xe2 && b[1] == 0x80 && b[2] >= 0x98 && b[2] <= 0x9b);
}

bool quote_powershell(struct text *out, const char *word, struct error *err)
{
    size_t len = strlen(word);
    if (!is_pasteable(word, err))
        return false;
    if (strchr(word, '"') != NULL)
        return error_set(err, ERROR_BAD_INPUT, "has a double quote");
    if (len == 0 || word[len - 1] == '\\')
        return error_set(err, ERROR_BAD_INPUT, "is empty, or ends with a backslash");
    if (is_plain(word)) {
        text_add_string(out, word);
        return true;
    }
    text_add_string(out, "'");
    for (size_t step; *word != '\0'; word += step, len -= step) {
        step = utf8_char(word, len);
        text_add(out, word, step);
        if (is_powershell_quote(word, step))
            text_add(out, word, step);
    }
    text_add_string(out, "'");
    return true;
}
