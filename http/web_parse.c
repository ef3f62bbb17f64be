/* SPDX-License-Identifier: Apache-2.0
 *
 * The small steps that the parsers of this folder share. */
#include "web_private.h"

#include <stdbool.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

h2o_iovec_t web_trim(h2o_iovec_t bytes)
{
    while (bytes.len > 0 && is_blank(bytes.base[0])) {
        bytes.base++;
        bytes.len--;
    }
    while (bytes.len > 0 && is_blank(bytes.base[bytes.len - 1]))
        bytes.len--;
    return bytes;
}

h2o_iovec_t web_take(h2o_iovec_t *rest, char separator)
{
    const char *end = memchr(rest->base, separator, rest->len);
    size_t len = end != NULL ? (size_t)(end - rest->base) : rest->len;
    size_t taken = end != NULL ? len + 1 : len;
    h2o_iovec_t part = {rest->base, len};
    *rest = h2o_iovec_init(rest->base + taken, rest->len - taken);
    return part;
}
