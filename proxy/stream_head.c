/* SPDX-License-Identifier: Apache-2.0
 *
 * See stream_head.h. What would end a line or begin another is a bug by now, so it is asserted and not answered:
 * headers.c has judged the client's bytes, and what we add is ours. */
#include "stream_head.h"

#include <assert.h>

#include "plain.h"
#include "target.h"

/* A method that has a body by nature says so of an empty one, too (RFC 9110 section 8.6). */
static bool has_length(const struct proxy_request *request, size_t body_len)
{
    static const char *const methods[] = {"POST", "PUT", "PATCH"};
    bool always = false;
    for (size_t i = 0; i < 3; ++i)
        always = always || iovec_equal(request->method, methods[i]);
    return always || body_len != 0;
}

static void add_line(struct text *out, h2o_iovec_t name, h2o_iovec_t value)
{
    assert(plain_is_token(name) && plain_is_value(value));
    text_add(out, name.base, name.len);
    text_add(out, ": ", 2);
    text_add(out, value.base, value.len);
    text_add(out, "\r\n", 2);
}

static size_t head_size(const struct proxy_request *request)
{
    size_t size = request->method.len + request->path.len + request->host.len + 256;
    for (size_t i = 0; i < request->header_count; ++i)
        size += request->headers[i].name.len + request->headers[i].value.len + 4;
    return size;
}

h2o_iovec_t stream_head(h2o_req_t *req, const struct proxy_request *request)
{
    struct text out;
    text_init(&out, &req->pool);
    text_reserve(&out, head_size(request));
    assert(plain_is_token(request->method) && target_check(request->path, NULL));
    text_add(&out, request->method.base, request->method.len);
    text_add(&out, " ", 1);
    text_add(&out, request->path.base, request->path.len);
    text_add_string(&out, " HTTP/1.1\r\n");
    add_line(&out, iovec_of("Host"), request->host);
    for (size_t i = 0; i < request->header_count; ++i)
        add_line(&out, request->headers[i].name, request->headers[i].value);
    if (request->upgrade) {
        add_line(&out, iovec_of("Connection"), iovec_of("Upgrade"));
        add_line(&out, iovec_of("Upgrade"), req->upgrade);
    }
    if (has_length(request, req->entity.len))
        text_add_format(&out, "Content-Length: %zu\r\n", req->entity.len);
    text_add(&out, "\r\n", 2);
    return text_iovec(&out);
}
