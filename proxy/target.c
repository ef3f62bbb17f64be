/* SPDX-License-Identifier: Apache-2.0
 *
 * See target.h. Nothing is decoded or mended: what a server behind us could read as another path is refused. */
#include "target.h"

#include <string.h>

#include "base/text.h"
#include "plain.h"

struct segment { /* what was seen of it */
    size_t dots, others;
    bool parameters;
};

static bool is_of_dots(const struct segment *self)
{
    return self->others == 0 && (self->dots == 1 || self->dots == 2);
}

/* What comes to be "." or ".." once it is decoded, a '/' too, and its parameters are off. */
static bool check_segment(h2o_iovec_t bytes, struct error *err)
{
    struct segment segment = {.dots = 0};
    for (size_t i = 0; i < bytes.len; ++i) {
        int c = (unsigned char)bytes.base[i];
        if (c == '%') {
            c = percent_byte(h2o_iovec_init(bytes.base + i, bytes.len - i));
            if (c < 0)
                return error_set(err, ERROR_BAD_INPUT, "the path has a broken escape");
            i += 2;
        }
        if (c < 0x20 || c == 0x7f || c == '\\')
            return error_set(err, ERROR_BAD_INPUT, "the path has a character that it may not have");
        if (c == '/') {
            if (is_of_dots(&segment))
                break;
            segment = (struct segment){.dots = 0};
            continue;
        }
        segment.parameters = segment.parameters || c == ';';
        segment.dots += !segment.parameters && c == '.';
        segment.others += !segment.parameters && c != '.';
    }
    if (is_of_dots(&segment))
        return error_set(err, ERROR_BAD_INPUT, "the path has a segment of dots");
    return true;
}

bool target_check(h2o_iovec_t target, struct error *err)
{
    if (target.len == 0 || target.base[0] != '/' || (target.len > 1 && target.base[1] == '/'))
        return error_set(err, ERROR_BAD_INPUT, "the target is no path");
    for (size_t i = 0; i < target.len; ++i)
        if (target.base[i] <= ' ' || target.base[i] >= 0x7f || target.base[i] == '#')
            return error_set(err, ERROR_BAD_INPUT, "the path has a character that it may not have");
    h2o_iovec_t path = plain_take(&target, '?');
    if (path.len != 0 && memchr(path.base, '\\', path.len) != NULL) /* some read it as '/' */
        return error_set(err, ERROR_BAD_INPUT, "the path has a character that it may not have");
    while (path.len != 0)
        if (!check_segment(plain_take(&path, '/'), err))
            return false;
    return true;
}
