/* SPDX-License-Identifier: Apache-2.0
 *
 * What a handler asks of its request: the loop it runs on, the peer, its id, headers and the guard against
 * cross-site requests. h2o's header names are lower case already, whatever was sent. */
#include "http/web.h"

#include <assert.h>

#include "base/crypto.h"
#include "web_private.h"

/* h2o hands keys out from a variable that its threads would share; ours is fixed instead, the first one of
 * each context. */
static void **loop_slot(h2o_context_t *ctx)
{
    size_t key = 0;
    return h2o_context_get_storage(ctx, &key, NULL);
}

void web_context_set_loop(h2o_context_t *ctx, struct loop *loop)
{
    assert(ctx->storage.size == 0); /* else slot 0 is somebody else's */
    *loop_slot(ctx) = loop;
}

struct loop *web_loop(h2o_req_t *req)
{
    struct loop *loop = *loop_slot(req->conn->ctx);
    assert(loop != NULL);
    return loop;
}

const struct web_peer *web_peer(h2o_req_t *req)
{
    const h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    if (socket == NULL || socket->on_close.data == NULL)
        return NULL;
    const struct web_connection *connection = socket->on_close.data;
    return connection->peer;
}

void web_take_over(h2o_socket_t *socket)
{
    struct web_connection *connection = socket->on_close.data;
    if (connection != NULL)
        connection->taken_over = true;
}

/* Kept as the response header that it becomes. */
const char *web_request_id(h2o_req_t *req)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t random[8];
    h2o_headers_t *headers = &req->res.headers;
    ssize_t found = h2o_find_header_by_str(headers, H2O_STRLIT("x-request-id"), -1);
    if (found != -1)
        return headers->entries[found].value.base;
    char *id = h2o_mem_alloc_pool(&req->pool, 2 * sizeof(random) + 1);
    crypto_random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++) {
        id[2 * i] = hex[random[i] >> 4];
        id[2 * i + 1] = hex[random[i] & 0xf];
    }
    id[2 * sizeof(random)] = '\0';
    h2o_add_header_by_str(&req->pool, headers, H2O_STRLIT("x-request-id"), 0, NULL, id,
                          2 * sizeof(random));
    return id;
}

/* ---- headers ---- */

h2o_iovec_t web_header(h2o_req_t *req, const char *lower_case_name)
{
    ssize_t found =
        h2o_find_header_by_str(&req->headers, lower_case_name, strlen(lower_case_name), -1);
    if (found == -1)
        return (h2o_iovec_t){NULL, 0};
    return req->headers.entries[found].value;
}

size_t web_header_count(h2o_req_t *req, const char *lower_case_name)
{
    size_t count = 0, len = strlen(lower_case_name);
    ssize_t at = -1;
    while ((at = h2o_find_header_by_str(&req->headers, lower_case_name, len, at)) != -1)
        count++;
    return count;
}

bool web_method_is(h2o_req_t *req, const char *method)
{
    return iovec_equal(req->method, method);
}

h2o_iovec_t web_path(h2o_req_t *req)
{
    return req->path_normalized;
}

h2o_iovec_t web_query(h2o_req_t *req)
{
    if (req->query_at >= req->path.len) /* SIZE_MAX: none */
        return (h2o_iovec_t){NULL, 0};
    size_t start = req->query_at + 1;
    return h2o_iovec_init(req->path.base + start, req->path.len - start);
}

/* Whether the media range's type is that one; its parameters do not count. */
static bool is_media_type(h2o_iovec_t range, const char *media_type)
{
    if (range.len == 0)
        return false;
    h2o_iovec_t type = web_trim(web_take(&range, ';'));
    return type.len == strlen(media_type) && strncasecmp(type.base, media_type, type.len) == 0;
}

static bool accepts(h2o_req_t *req, const char *media_type)
{
    ssize_t at = -1;
    while ((at = h2o_find_header(&req->headers, H2O_TOKEN_ACCEPT, at)) != -1) {
        h2o_iovec_t rest = req->headers.entries[at].value;
        while (rest.len != 0)
            if (is_media_type(web_take(&rest, ','), media_type))
                return true;
    }
    return false;
}

bool web_wants_json(h2o_req_t *req)
{
    return accepts(req, "application/json") && !accepts(req, "text/html");
}

bool web_is_top_level(h2o_req_t *req)
{
    h2o_iovec_t destination = web_header(req, "sec-fetch-dest");
    return destination.base == NULL || iovec_equal(destination, "document");
}

bool web_is_navigation(h2o_req_t *req)
{
    bool is_modern = web_header(req, "sec-fetch-mode").base != NULL ||
                     web_header(req, "sec-fetch-site").base != NULL ||
                     web_header(req, "sec-fetch-dest").base != NULL;
    if (req->upgrade.base != NULL)
        return false;
    return is_modern ? web_header_count(req, "sec-fetch-mode") == 1 &&
                           iovec_equal(web_header(req, "sec-fetch-mode"), "navigate")
                     : accepts(req, "text/html");
}

bool web_content_type_is(h2o_req_t *req, const char *media_type)
{
    return web_header_count(req, "content-type") == 1 &&
           is_media_type(web_header(req, "content-type"), media_type);
}

/* ---- cross-site requests ---- */

bool web_same_origin(h2o_req_t *req, const char *origin)
{
    size_t fetch_sites = web_header_count(req, "sec-fetch-site");
    if (fetch_sites != 0)
        return fetch_sites == 1 && iovec_equal(web_header(req, "sec-fetch-site"), "same-origin");
    return web_header_count(req, "origin") == 1 && iovec_equal(web_header(req, "origin"), origin);
}
