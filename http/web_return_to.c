/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a browser may be sent after the sign-in (peers 43). Browsers, proxies and servers disagree about what
 * odd paths mean, so this says yes only to paths about which nobody can: it knows what is good, not what
 * is bad. */
#include "http/web.h"

#include "web_private.h"

#define MAX_BYTES 1024

/* What RFC 3986 lets stand in a path or a query, escapes apart. There is no backslash, no space, no '#', no
 * control character and nothing beyond ASCII in it. */
static bool is_url_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~!$&'()*+,;=:@/?", c) != NULL);
}

/* Whatever decodes a path must find in it no separator, no dot, no second layer of escapes. */
static bool may_be_escaped_in_path(int byte)
{
    return byte >= 0x20 && byte < 0x7f && strchr("/\\.%:@;?#", byte) == NULL;
}

/* In a query everything may be escaped but control characters: it is data, such as another URL. */
static bool may_be_escaped_in_query(int byte)
{
    return byte >= 0x20 && byte != 0x7f;
}

static bool has_good_bytes(h2o_iovec_t bytes, bool (*may_be_escaped)(int byte))
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.base[i] == '%') {
            if (!may_be_escaped(percent_byte(h2o_iovec_init(bytes.base + i, bytes.len - i))))
                return false;
            i += 2;
        } else if (!is_url_char(bytes.base[i])) {
            return false;
        }
    }
    return true;
}

/* No segment is empty but the last, none begins with a dot ("..", "..;", ".%2e"). The first one has nothing that
 * could end a scheme or a user name. */
static bool has_good_segments(h2o_iovec_t path)
{
    for (size_t i = 0; i + 1 < path.len; i++)
        if (path.base[i] == '/' && (path.base[i + 1] == '/' || path.base[i + 1] == '.'))
            return false;
    for (size_t i = 1; i < path.len && path.base[i] != '/'; i++)
        if (strchr(":@;", path.base[i]) != NULL)
            return false;
    return true;
}

const char *web_return_to(h2o_mem_pool_t *pool, h2o_iovec_t candidate)
{
    if (candidate.len == 0 || candidate.len > MAX_BYTES || candidate.base[0] != '/')
        return NULL;
    h2o_iovec_t query = candidate, path = web_take(&query, '?');
    if (!has_good_bytes(path, may_be_escaped_in_path) || !has_good_segments(path) ||
        !has_good_bytes(query, may_be_escaped_in_query))
        return NULL;
    return text_dup_iovec(pool, candidate);
}
