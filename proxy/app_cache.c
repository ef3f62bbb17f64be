/* SPDX-License-Identifier: Apache-2.0
 *
 * See app_cache.h. */
#include "app_cache.h"

#include <string.h>

#include "base/text.h"
#include "plain.h"

/* Up to the next comma that is in no quotes. */
static h2o_iovec_t take_directive(h2o_iovec_t *rest)
{
    bool quoted = false;
    size_t len = 0;
    for (; len < rest->len && (quoted || rest->base[len] != ','); len++) {
        if (quoted && rest->base[len] == '\\' && len + 1 < rest->len)
            len++;
        else if (rest->base[len] == '"')
            quoted = !quoted;
    }
    h2o_iovec_t taken = h2o_iovec_init(rest->base, len);
    len += len < rest->len;
    *rest = h2o_iovec_init(rest->base + len, rest->len - len);
    return plain_trim(taken);
}

struct control {
    struct text kept;
    bool is_private; /* or may not be stored at all */
};

static void read_control(struct control *self, h2o_iovec_t value)
{
    while (value.len != 0) {
        h2o_iovec_t directive = take_directive(&value), rest = directive;
        h2o_iovec_t name = directive.len != 0 ? plain_trim(plain_take(&rest, '=')) : directive;
        bool bare = name.len == directive.len;
        if (name.len == 0 || plain_is_exactly(name, "public") ||
            plain_is_exactly(name, "s-maxage") || (plain_is_exactly(name, "private") && !bare))
            continue;
        self->is_private = self->is_private || plain_is_exactly(name, "private") ||
                           plain_is_exactly(name, "no-store");
        text_add_format(&self->kept, "%s%.*s", self->kept.len != 0 ? ", " : "", (int)directive.len,
                        directive.base);
    }
}

/* For shared caches alone: RFC 9213 and what came before it. */
static bool is_targeted(h2o_iovec_t name)
{
    static const char ending[] = "-cache-control";
    size_t len = sizeof(ending) - 1;
    if (plain_is(name, "surrogate-control"))
        return true;
    return name.len > len && plain_is(h2o_iovec_init(name.base + name.len - len, len), ending);
}

void app_cache_private(h2o_req_t *req)
{
    struct control control = {.is_private = false};
    h2o_headers_t *headers = &req->res.headers;
    bool found = false;
    text_init(&control.kept, &req->pool);
    for (size_t i = 0; i < headers->size;) {
        h2o_iovec_t name = *headers->entries[i].name;
        bool ours = plain_is(name, "cache-control");
        if (ours)
            read_control(&control, headers->entries[i].value);
        found = found || ours;
        if (ours || is_targeted(name))
            h2o_delete_header(headers, (ssize_t)i);
        else
            i++;
    }
    if (found && !control.is_private)
        text_add_format(&control.kept, "%sprivate", control.kept.len != 0 ? ", " : "");
    h2o_iovec_t value = found ? text_iovec(&control.kept) : iovec_of("no-store");
    h2o_add_header(&req->pool, headers, H2O_TOKEN_CACHE_CONTROL, NULL, value.base, value.len);
}
