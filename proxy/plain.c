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
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
        return c;
    return '-';
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

/* tchar of RFC 9110 section 5.6.2, a bit each: !#$%&'*+-.^_`|~, digits and letters. */
static bool is_token_char(unsigned char c)
{
    static const uint64_t allowed[] = {UINT64_C(0x3ff6cfa00000000), UINT64_C(0x57ffffffc7fffffe), 0,
                                       0};
    return (allowed[c >> 6] >> (c & 63) & 1) != 0;
}

bool plain_is_token(h2o_iovec_t name)
{
    for (size_t i = 0; i < name.len; ++i)
        if (!is_token_char((unsigned char)name.base[i]))
            return false;
    return name.len != 0;
}

static unsigned char is_control(unsigned char c)
{
    return (unsigned char)(((c < 0x20) & (c != '\t')) | (c == 0x7f));
}

/* Sixteen at a time without a branch, which compilers make vectors of: a head holds a token of a KiB, and is looked
 * through by everybody who touches it. */
bool plain_is_value(h2o_iovec_t value)
{
    const unsigned char *at = (const unsigned char *)value.base, *end = at + value.len;
    unsigned char found = 0;
    for (; end - at >= 16; at += 16)
        for (int i = 0; i < 16; ++i)
            found |= is_control(at[i]);
    for (; at < end; ++at)
        found |= is_control(*at);
    return found == 0;
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
