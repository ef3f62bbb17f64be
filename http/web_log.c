/* SPDX-License-Identifier: Apache-2.0
 *
 * Access lines. h2o calls a logger when it gives a request's memory back, so every request gets one, also
 * those that were cancelled or that h2o answered itself. A query may hold codes and is never logged; a long
 * segment of the path may be a token that somebody put there, so its place is marked and it is left out. */
#include "http/web.h"

#include "base/log.h"

struct access_logger {
    h2o_logger_t super;
    enum log_level level;
    char listener[32];
};

#define MAX_LOGGED_SEGMENT 32 /* shorter than any secret of ours or of Okta's */

static void add_segment(struct text *out, const char *begin, const char *end)
{
    if (end - begin <= MAX_LOGGED_SEGMENT)
        text_add(out, begin, (size_t)(end - begin));
    else
        text_add_string(out, "(long)");
}

/* As sent: what h2o made of it may hide something. */
static const char *logged_path(h2o_req_t *req)
{
    h2o_iovec_t path = req->input.path;
    struct text out;
    text_init(&out, &req->pool);
    const char *end = path.base + path.len, *begin = path.base;
    for (const char *at = begin; at <= end; ++at) {
        if (at < end && *at != '/' && *at != '?')
            continue;
        add_segment(&out, begin, at);
        if (at == end || *at == '?')
            break;
        text_add(&out, at, 1);
        begin = at + 1;
    }
    return out.bytes;
}

static int64_t duration_ms(h2o_req_t *req)
{
    const struct timeval *begin = &req->timestamps.request_begin_at;
    if (begin->tv_sec == 0)
        return 0;
    const struct timeval *now = h2o_get_timestamp(req->conn->ctx, NULL, NULL);
    int64_t us = (now->tv_sec - begin->tv_sec) * INT64_C(1000000) + now->tv_usec - begin->tv_usec;
    return us > 0 ? us / 1000 : 0;
}

static const char *sent_request_id(const h2o_req_t *req)
{
    const h2o_headers_t *headers = &req->res.headers;
    ssize_t found = h2o_find_header_by_str(headers, H2O_STRLIT("x-request-id"), -1);
    return found != -1 ? headers->entries[found].value.base : NULL;
}

static void on_log_access(h2o_logger_t *super, h2o_req_t *req)
{
    const struct access_logger *self = (struct access_logger *)super;
    char address[WEB_ADDRESS_SIZE];
    if (!log_enabled(self->level))
        return;
    web_remote_address(req, address);
    LOG_AT(self->level, "access", LOG_STR("listener", self->listener),
           LOG_STR("method", text_dup_iovec(&req->pool, req->input.method)),
           LOG_STR("path", logged_path(req)), LOG_INT("status", req->res.status),
           LOG_INT("bytes", (int64_t)req->bytes_sent), LOG_INT("duration_ms", duration_ms(req)),
           LOG_STR("request_id", sent_request_id(req)), LOG_STR("address", address));
}

static void add_logger(h2o_pathconf_t *path, const char *listener, bool access)
{
    struct access_logger *self =
        (struct access_logger *)h2o_create_logger(path, sizeof(struct access_logger));
    self->super.log_access = on_log_access;
    self->level = access ? LOG_INFO : LOG_DEBUG;
    snprintf(self->listener, sizeof(self->listener), "%s", listener);
}

void web_access_log(h2o_hostconf_t *host, const char *listener, bool access)
{
    for (size_t i = 0; i < host->paths.size; i++)
        add_logger(&host->paths.entries[i], listener, access);
    add_logger(&host->fallback_path, listener, access);
}
