/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers, with the headers that each of ours carries. h2o leaves the body away for HEAD; the length stays. */
#include "http/web.h"

#include <assert.h>

#include "base/log.h"

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {409, "Conflict"},
        {410, "Gone"},
        {413, "Payload Too Large"},
        {415, "Unsupported Media Type"},
        {422, "Unprocessable Entity"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown"; /* RFC 9112 section 4: nobody reads it */
}

/* ---- headers ---- */

static bool is_header_value(const char *value)
{
    for (; *value != '\0'; value++)
        if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
            return false;
    return true;
}

static char *lower_case(h2o_mem_pool_t *pool, const char *name)
{
    char *copy = text_dup(pool, name);
    h2o_strtolower(copy, strlen(copy));
    return copy;
}

void web_add_header(h2o_req_t *req, const char *name, const char *value)
{
    assert(is_header_value(name) && is_header_value(value));
    const char *name_copy = lower_case(&req->pool, name);
    const char *value_copy = text_dup(&req->pool, value);
    h2o_add_header_by_str(&req->pool, &req->res.headers, name_copy, strlen(name_copy), 1, NULL,
                          value_copy, strlen(value_copy));
}

void web_cache(h2o_req_t *req, const char *cache_control)
{
    assert(is_header_value(cache_control));
    const char *value = text_dup(&req->pool, cache_control);
    h2o_set_header(&req->pool, &req->res.headers, H2O_TOKEN_CACHE_CONTROL, value, strlen(value), 1);
}

static void add_common_headers(h2o_req_t *req)
{
    h2o_headers_t *headers = &req->res.headers;
    (void)web_request_id(req);
    h2o_set_header_by_str(&req->pool, headers, H2O_STRLIT("x-content-type-options"), 0,
                          H2O_STRLIT("nosniff"), 1);
    h2o_set_header(&req->pool, headers, H2O_TOKEN_CACHE_CONTROL, H2O_STRLIT("no-store"), 0);
}

/* ---- answers ---- */

void web_send(h2o_req_t *req, int status, const char *content_type, h2o_iovec_t body)
{
    add_common_headers(req);
    if (content_type != NULL) {
        assert(is_header_value(content_type));
        const char *type = text_dup(&req->pool, content_type);
        h2o_set_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, type, strlen(type),
                       1);
    }
    req->res.status = status;
    req->res.reason = reason_of(status);
    if (status != 204 && status != 304)
        req->res.content_length = body.len;
    h2o_send_inline(req, body.base, body.len);
}

void web_send_json(h2o_req_t *req, int status, struct json_writer *body)
{
    struct error err = {.kind = ERROR_NONE};
    h2o_iovec_t bytes;
    if (json_writer_end(body, &bytes, &err)) {
        web_send(req, status, "application/json", bytes);
        return;
    }
    log_error("an answer can't be written as JSON", LOG_STR("request_id", web_request_id(req)),
              LOG_STR("reason", err.text));
    web_problem(req, 500, "Internal error", "The answer could not be written.");
}

static bool is_location(const char *location)
{
    for (const char *c = location; *c != '\0'; c++)
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
            return false;
    return *location != '\0';
}

void web_redirect(h2o_req_t *req, const char *location)
{
    if (!is_location(location)) {
        log_error("a redirect's address is malformed", LOG_STR("request_id", web_request_id(req)));
        web_problem(req, 500, "Internal error", "The next address is malformed.");
        return;
    }
    web_add_header(req, "location", location);
    web_send(req, 303, NULL, (h2o_iovec_t){NULL, 0});
}

static void write_problem(struct json_writer *out, int status, const char *title,
                          const char *detail)
{
    json_begin_object(out);
    json_key(out, "title");
    json_put_string(out, title);
    json_key(out, "status");
    json_put_int(out, status);
    if (detail != NULL) {
        json_key(out, "detail");
        json_put_string(out, detail);
    }
}

void web_problem(h2o_req_t *req, int status, const char *title, const char *detail)
{
    struct json_writer *out = json_writer_new(&req->pool);
    h2o_iovec_t body;
    write_problem(out, status, title, detail);
    json_key(out, "request_id");
    json_put_string(out, web_request_id(req));
    json_end_object(out);
    if (!json_writer_end(out, &body, NULL)) /* detail is not UTF-8: the status says enough */
        body = iovec_of("{\"title\":\"Error\"}");
    web_send(req, status, "application/problem+json", body);
}

int web_status_of(enum error_kind kind)
{
    switch (kind) {
    case ERROR_REJECTED:
        return 403;
    case ERROR_BAD_INPUT:
        return 400;
    case ERROR_UPSTREAM:
        return 502;
    case ERROR_NONE: /* an error that nobody set is ours */
    case ERROR_INTERNAL:
        break;
    }
    return 500;
}
