/* SPDX-License-Identifier: Apache-2.0
 *
 * Cookies (RFC 6265). HTTP/2 may split what a browser sends into many Cookie headers; they are read as one.
 * What is malformed or too long is taken as no cookies at all, so that a crafted header can at most sign its
 * own browser out. */
#include "http/web.h"

#include <assert.h>

#include "web_private.h"

#define MAX_BYTES 16384 /* of all Cookie headers together */

/* Where the reading of all cookies stands. */
struct cursor {
    const h2o_headers_t *headers;
    ssize_t header;   /* index of the header that rest belongs to; -1 before the first */
    h2o_iovec_t rest; /* of that header */
};

struct pair {
    h2o_iovec_t name, value; /* borrowed from the header */
};

static bool well_formed(const h2o_headers_t *headers)
{
    size_t total = 0;
    ssize_t at = -1;
    while ((at = h2o_find_header(headers, H2O_TOKEN_COOKIE, at)) != -1) {
        h2o_iovec_t value = headers->entries[at].value;
        total += value.len + 2; /* as if joined by "; " */
        if (total > MAX_BYTES)
            return false;
        for (size_t i = 0; i < value.len; i++) {
            unsigned char c = (unsigned char)value.base[i];
            if ((c < 0x20 && c != '\t') || c == 0x7f)
                return false;
        }
    }
    return true;
}

/* A pair without '=' is nobody's cookie and is passed over. */
static bool next_pair(struct cursor *self, struct pair *out)
{
    for (;;) {
        while (self->rest.len == 0) {
            self->header = h2o_find_header(self->headers, H2O_TOKEN_COOKIE, self->header);
            if (self->header == -1)
                return false;
            self->rest = self->headers->entries[self->header].value;
        }
        h2o_iovec_t rest = web_take(&self->rest, ';');
        if (rest.len == 0 || memchr(rest.base, '=', rest.len) == NULL)
            continue;
        out->name = web_trim(web_take(&rest, '='));
        out->value = web_trim(rest);
        return true;
    }
}

h2o_iovec_t web_cookie(h2o_req_t *req, const char *name)
{
    struct cursor cursor = {&req->headers, -1, {NULL, 0}};
    struct pair pair;
    h2o_iovec_t found = {NULL, 0};
    if (!well_formed(&req->headers))
        return found;
    while (next_pair(&cursor, &pair)) {
        if (!iovec_equal(pair.name, name))
            continue;
        if (found.base != NULL)
            return (h2o_iovec_t){NULL, 0}; /* which of the two was ours can't be known */
        found = pair.value;
    }
    return found;
}

void web_cookies_each(h2o_req_t *req, const char *prefix,
                      void (*each)(void *ctx, h2o_iovec_t name, h2o_iovec_t value), void *ctx)
{
    struct cursor cursor = {&req->headers, -1, {NULL, 0}};
    struct pair pair;
    size_t len = strlen(prefix);
    if (!well_formed(&req->headers))
        return;
    while (next_pair(&cursor, &pair))
        if (pair.name.len >= len && memcmp(pair.name.base, prefix, len) == 0)
            each(ctx, pair.name, pair.value);
}

/* ---- setting ---- */

/* RFC 6265 section 4.1.1: what a value may hold, and a name even less of it. */
static bool is_cookie_octets(h2o_iovec_t value, const char *also_refused)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.base[i];
        if (c <= 0x20 || c >= 0x7f || strchr("\",;\\", c) != NULL || strchr(also_refused, c))
            return false;
    }
    return true;
}

void web_set_cookie(h2o_req_t *req, const char *name, h2o_iovec_t value, int64_t max_age_s)
{
    struct text out;
    assert(strncmp(name, "__Host-", 7) == 0 && is_cookie_octets(iovec_of(name), "=()<>@:/[]?{}"));
    assert(is_cookie_octets(value, ""));
    text_init(&out, &req->pool);
    text_add_format(&out, "%s=", name);
    text_add(&out, value.base, value.len);
    text_add_string(&out, "; Path=/; Secure; HttpOnly; SameSite=Lax");
    if (max_age_s >= 0)
        text_add_format(&out, "; Max-Age=%lld", (long long)max_age_s);
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_SET_COOKIE, NULL, out.bytes, out.len);
}
