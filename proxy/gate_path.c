/* SPDX-License-Identifier: Apache-2.0
 *
 * See gate_private.h. Servers disagree about what a path means, so this asks for every way in which one could mean our own
 * corner of an app's host; an app that has such a segment itself can't be had here. */
#include "base/text.h"
#include "gate_private.h"

#define OURS        ".postern"
#define MOST_LAYERS 4 /* of escapes; nobody means a path with more */

static bool is_separator(char c)
{
    return c == '/' || c == '\\';
}

static bool has_our_segment(h2o_iovec_t path)
{
    size_t begin = 0;
    for (size_t i = 0; i <= path.len; i++) {
        if (i != path.len && !is_separator(path.base[i]))
            continue;
        h2o_iovec_t segment = h2o_iovec_init(path.base + begin, i - begin);
        for (size_t cut = 0; cut < segment.len; cut++)
            if (segment.base[cut] == ';' || segment.base[cut] == '\0')
                segment.len = cut;
        if (segment.len == strlen(OURS) && h2o_lcstris(segment.base, segment.len, H2O_STRLIT(OURS)))
            return true;
        begin = i + 1;
    }
    return false;
}

/* Takes one layer of escapes off, in place; broken ones stay. False: there was none. */
static bool decode(h2o_iovec_t *path)
{
    size_t len = 0;
    for (size_t i = 0; i < path->len; i++) {
        int byte = percent_byte(h2o_iovec_init(path->base + i, path->len - i));
        char c = path->base[i];
        if (byte >= 0)
            c = (char)byte;
        path->base[len++] = c;
        i += byte >= 0 ? 2 : 0;
    }
    bool changed = len != path->len;
    path->len = len;
    return changed;
}

bool gate_path_is_ours(h2o_mem_pool_t *pool, h2o_iovec_t target)
{
    const char *end = target.len != 0 ? memchr(target.base, '?', target.len) : NULL;
    h2o_iovec_t path =
        h2o_strdup(pool, target.base, end != NULL ? (size_t)(end - target.base) : target.len);
    for (unsigned layer = 0; layer < MOST_LAYERS; layer++) {
        if (has_our_segment(path))
            return true;
        if (!decode(&path))
            return false;
    }
    return true;
}
