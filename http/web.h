/* SPDX-License-Identifier: Apache-2.0
 *
 * What a handler needs of HTTP: its request's context, routing, cookies, forms and queries, the guard
 * against cross-site requests, and answers with the headers that every answer of ours carries. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/ip.h"
#include "base/json.h"
#include "base/loop.h"
#include "http/template.h"

/* ---- one loop's copy of what its handlers share: hung on the h2o context ---- */
/* Every h2o_context_t of ours has its struct loop registered once, right after h2o_context_init, so that
 * handlers find it. */
void web_context_set_loop(h2o_context_t *ctx, struct loop *loop);
struct loop *web_loop(h2o_req_t *req);

/* ---- the peer of a mutual-TLS connection ---- */
struct web_peer {
    char **names; /* each DNS and URI SAN of the verified client certificate, else its CN */
    size_t name_count;
    unsigned
        ca_mask; /* bit i: the chain verifies against the listener's CA file i (server/tls.c) */
};
/* The first member of the state that server/ hangs on a socket's on_close.data. */
struct web_connection {
    const struct web_peer *peer; /* NULL on a plain or a one-sided TLS connection */
    struct ip_address
        from;        /* the other end of the TCP connection; known where proxies are trusted */
    bool proxy_line; /* it began with a PROXY line, which says who the client is */
    bool taken_over; /* it speaks no HTTP any more, and what judges requests leaves it alone */
};
/* NULL as above, and where nothing hangs on the socket. */
const struct web_peer *web_peer(h2o_req_t *req);
/* After an upgrade: from now on whoever took the connection over sees to its end. */
void web_take_over(h2o_socket_t *socket);

/* ---- the client, and proxies in front ---- */
/* Whose X-Forwarded-* are believed in this context; borrowed, NULL: nobody's. May be called again, on the
 * context's thread. */
void web_context_set_proxies(h2o_context_t *ctx, const struct ip_networks *trusted);

#define WEB_ADDRESS_SIZE IP_TEXT_SIZE
/* The client's numeric address without port; "" where it can't be had. It is the connection's end (a PROXY
 * line has replaced it), or, when that is a trusted proxy, the right-most address of X-Forwarded-For that is
 * none; were all of them, the left-most. A malformed list or more than 16 hops: the connection's end. */
void web_remote_address(h2o_req_t *req, char out[WEB_ADDRESS_SIZE]);

/* How the request came from the client to us. */
enum web_way {
    WEB_WAY_SECURE,    /* over our TLS, or that of a trusted proxy */
    WEB_WAY_DIRECT,    /* plain HTTP, and not from a trusted proxy */
    WEB_WAY_NOT_HTTPS, /* plain HTTP from a trusted proxy that does not say X-Forwarded-Proto: https */
};
enum web_way web_way(h2o_req_t *req);

/* ---- requests ---- */
/* 16 hex characters, made at the first asking, sent as X-Request-Id with every answer of ours. */
const char *web_request_id(h2o_req_t *req);
h2o_iovec_t web_header(h2o_req_t *req,
                       const char *lower_case_name); /* {NULL, 0}: absent; of several the first */
size_t web_header_count(h2o_req_t *req, const char *lower_case_name);
bool web_method_is(h2o_req_t *req, const char *method);
h2o_iovec_t web_path(h2o_req_t *req);  /* normalized, without the query */
h2o_iovec_t web_query(h2o_req_t *req); /* without the '?', raw; {NULL, 0} when there is none */
/* A browser that goes to a page (or into a frame): Sec-Fetch-Mode: navigate, or, from one that sends no Sec-Fetch-*,
 * Accept names text/html. An upgrade never is. */
bool web_is_navigation(h2o_req_t *req);
/* Not a frame, an image or a fetch: Sec-Fetch-Dest is document, or the browser does not say. */
bool web_is_top_level(h2o_req_t *req);
bool web_wants_json(h2o_req_t *req); /* Accept names application/json and not text/html */
/* The media type of Content-Type, compared without case, parameters ignored; false when it stands there
 * twice. */
bool web_content_type_is(h2o_req_t *req, const char *media_type);

/* One cookie's value by exact name, borrowed; {NULL, 0} when absent, when it stands there twice, or when
 * the Cookie headers are malformed or longer than 16 KiB. */
h2o_iovec_t web_cookie(h2o_req_t *req, const char *name);
/* Calls each for every cookie whose name begins with prefix; never when web_cookie would say malformed. A
 * name that stands there twice comes twice. */
void web_cookies_each(h2o_req_t *req, const char *prefix,
                      void (*each)(void *ctx, h2o_iovec_t name, h2o_iovec_t value), void *ctx);
/* Adds Set-Cookie: name=value; Path=/; Secure; HttpOnly; SameSite=Lax. max_age_s < 0: a session cookie;
 * 0: deletes it. The name must begin with __Host-, name and value must be of the characters that RFC 6265
 * section 4.1.1 has for them (assert): base64url is. */
void web_set_cookie(h2o_req_t *req, const char *name, h2o_iovec_t value, int64_t max_age_s);

/* application/x-www-form-urlencoded, as query and as body: at most 64 fields, strict %-escapes, valid
 * UTF-8, no NUL, no field without a name; a field that comes twice is BAD_INPUT. */
struct web_form {
    struct web_field {
        h2o_iovec_t name, value;
    } * fields; /* decoded, NUL-terminated, in pool */
    size_t count;
};
MUST_CHECK bool web_form_parse(h2o_mem_pool_t *pool, h2o_iovec_t encoded, struct web_form *out,
                               struct error *err);
h2o_iovec_t web_form_value(const struct web_form *form, const char *name); /* {NULL, 0}: absent */
/* One name or value of a form: NUL-terminated, in pool. BAD_INPUT as above. */
MUST_CHECK bool web_form_decode(h2o_mem_pool_t *pool, h2o_iovec_t encoded, h2o_iovec_t *out,
                                struct error *err);
/* Adds "name=value" to out, percent-encoded, with '&' before it where out is not empty. */
void web_form_add(struct text *out, const char *name, h2o_iovec_t value);
void web_url_encode(struct text *out,
                    h2o_iovec_t value); /* everything but unreserved characters (RFC 3986) */

/* A local path to go back to, copied into pool unchanged: one '/' first, no empty segment and none that
 * begins with a dot, no backslash (nor any of these after decoding), no control characters, no scheme or
 * host however spelled, no fragment, ASCII only, at most 1024 bytes; a query may follow. Else NULL.
 * (peers 43) */
const char *web_return_to(h2o_mem_pool_t *pool, h2o_iovec_t candidate);

/* Design section 11: a state-changing request must have Sec-Fetch-Site: same-origin, or, where that header
 * is missing, Origin equal to origin ("https://host[:port]"). */
bool web_same_origin(h2o_req_t *req, const char *origin);

/* ---- routes ---- */
struct web_route {
    const char *method; /* "GET" also serves HEAD; NULL ends the table */
    const char *path; /* exact; a last '*' stands for one non-empty segment, handed over as rest */
    int (*handle)(void *ctx, h2o_req_t *req,
                  h2o_iovec_t rest); /* answers now, or later; returns 0 */
};
/* Finds and calls the route; answers 404 or 405 (with Allow) itself through web_problem. Always 0. */
int web_dispatch(const struct web_route *routes, void *ctx, h2o_req_t *req);

/* ---- answers: all carry X-Request-Id, X-Content-Type-Options: nosniff and Cache-Control: no-store
 * (unless set before by web_cache) ---- */
void web_add_header(h2o_req_t *req, const char *name,
                    const char *value); /* both copied; CR, LF and NUL are refused by assert */
void web_cache(h2o_req_t *req, const char *cache_control);
void web_send(h2o_req_t *req, int status, const char *content_type,
              h2o_iovec_t body); /* body is copied */
void web_send_json(h2o_req_t *req, int status,
                   struct json_writer *body); /* a writer that failed becomes a 500 */
/* 303. A location with characters that no URL has (control characters, spaces) becomes a 500. */
void web_redirect(h2o_req_t *req, const char *location);
/* RFC 9457 application/problem+json: {"title","status","detail","request_id"}. */
void web_problem(h2o_req_t *req, int status, const char *title, const char *detail);
int web_status_of(
    enum error_kind kind); /* REJECTED 403, BAD_INPUT 400, UPSTREAM 502, INTERNAL 500 */

/* ---- access log ---- */
/* Registers an h2o logger on every path that the host has by now and on its fallback, so call it after the
 * handlers are registered: one line per request (method, path without query, status, bytes, duration_ms,
 * request_id, listener, address) at debug, or at info when access is true. status is 0 for a request
 * whose client left before the answer. */
void web_access_log(h2o_hostconf_t *host, const char *listener, bool access);
