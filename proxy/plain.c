/* SPDX-License-Identifier: Apache-2.0
 *
 * See plain.h. A CGI-like server makes HTTP_X_REMOTE_USER of each of "X-Remote-User", "X_Remote_User" and, some of
 * them, "X.Remote.User": here they are one name. */
#include "plain.h"

#include <string.h>
#include <strings.h>

static char plain_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c | 0x20);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
}

bool plain_is(h2o_iovec_t name, const char *plain)
{
    for (size_t i = 0;; ++i) {
        if (plain[i] == '*')
            return true;
        if (i == name.len || plain[i] == '\0')
            return i == name.len && plain[i] == '\0';
        if (plain_of(name.base[i]) != plain[i])
            return false;
    }
}

bool plain_is_of(h2o_iovec_t name, const char *const *list)
{
    for (; *list != NULL; ++list)
        if (plain_is(name, *list))
            return true;
    return false;
}

bool plain_same(h2o_iovec_t a, h2o_iovec_t b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; ++i)
        if (plain_of(a.base[i]) != plain_of(b.base[i]))
            return false;
    return true;
}

bool plain_is_exactly(h2o_iovec_t name, const char *lower_case)
{
    return name.len == strlen(lower_case) && strncasecmp(name.base, lower_case, name.len) == 0;
}

bool plain_is_token(h2o_iovec_t name)
{
    for (size_t i = 0; i < name.len; ++i) {
        char c = name.base[i];
        if (plain_of(c) == '-' && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return name.len != 0;
}

bool plain_is_value(h2o_iovec_t value)
{
    for (size_t i = 0; i < value.len; ++i) {
        unsigned char c = (unsigned char)value.base[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

h2o_iovec_t plain_trim(h2o_iovec_t bytes)
{
    while (bytes.len != 0 && (bytes.base[0] == ' ' || bytes.base[0] == '\t')) {
        ++bytes.base;
        --bytes.len;
    }
    while (bytes.len != 0 &&
           (bytes.base[bytes.len - 1] == ' ' || bytes.base[bytes.len - 1] == '\t'))
        --bytes.len;
    return bytes;
}

h2o_iovec_t plain_take(h2o_iovec_t *rest, char separator)
{
    const char *at = rest->len != 0 ? memchr(rest->base, separator, rest->len) : NULL;
    size_t len = at != NULL ? (size_t)(at - rest->base) : rest->len;
    h2o_iovec_t part = h2o_iovec_init(rest->base, len);
    len += at != NULL;
    *rest = h2o_iovec_init(rest->base + len, rest->len - len);
    return part;
}
