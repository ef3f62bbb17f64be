/* SPDX-License-Identifier: Apache-2.0
 *
 * What of a request's head goes on to an upstream, and what of its answer comes back. Both heads are written
 * anew from lists; nothing is edited in place. A name is judged in its plain spelling: lower case, with '-'
 * for every character that is neither letter nor digit, because servers behind us may read "Impersonate_User"
 * as "Impersonate-User" (peers 29, 30, 32, 38). */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/error.h"

struct header {
    h2o_iovec_t name; /* as it is written */
    h2o_iovec_t value;
};

struct header_list {
    h2o_mem_pool_t *pool; /* where entries and what header_list_add is told live */
    struct header *entries;
    size_t count, capacity;
};

/* What an app wants kept off besides what never goes on. Each list ends with NULL (and may be NULL); a last '*'
 * stands for any rest. */
struct header_rules {
    const char *const *drop;         /* plain spellings: "x-forwarded-id-token", "kubernetes-*" */
    const char *const *drop_cookies; /* cookies' names, exact in case: "headlamp-auth-*" */
};

void header_list_init(struct header_list *self, h2o_mem_pool_t *pool);
/* Both copied. A name that is no token and a value with control characters are refused by assert. */
void header_list_add(struct header_list *self, const char *name, h2o_iovec_t value);
/* Takes every header of that plain spelling out; says whether there was one. */
bool header_list_drop(struct header_list *self, const char *plain_name);
/* The first of that plain spelling after `after` (NULL: from the start); NULL: none. Its value may be replaced. */
struct header *header_list_find(const struct header_list *self, const char *plain_name,
                                const struct header *after);

/* The request's headers without: hop-by-hop ones and those that Connection names, Host, Content-Length (the
 * engine writes its own), Authorization, Impersonate-*, X-Remote-*, X-Forwarded-*, Forwarded, X-Real-IP,
 * X-WebAuth-*, X-Auth-Request-*, Remote-*, our cookies (__Host-postern*), and what rules (may be NULL) name. Sec-WebSocket-* stay. BAD_INPUT, to be answered
 * with 400 and the connection's end, where two readers could see two requests: obs-fold, a bare LF or CR, names
 * that are no token, Content-Length beside Transfer-Encoding or either one twice, Host missing or twice; also
 * more than 16 KiB of cookies, and the methods TRACE and CONNECT. */
MUST_CHECK bool headers_forward(h2o_req_t *req, const struct header_rules *rules,
                                struct header_list *out, struct error *err);
/* The part of headers_forward that looks at the head's bytes, up to the empty line and whatever follows. */
MUST_CHECK bool headers_check_bytes(h2o_iovec_t raw, struct error *err);
/* Adds X-Forwarded-For, -Host and -Proto, as we know them. */
void headers_add_forwarded(h2o_req_t *req, struct header_list *list);

/* Puts the upstream's status line and headers into req->res (copied into its pool) without: hop-by-hop ones and those that
 * Connection names, Date and Content-Length (h2o writes its own; res.content_length is set), Strict-Transport-
 * Security, Alt-Svc, Clear-Site-Data, Set-Cookie for a cookie of ours, a cookie's Domain. With a 101, Upgrade stays. UPSTREAM for a head that two
 * readers would read differently: obs-fold, Content-Length twice or beside Transfer-Encoding. */
struct upstream_head {
    int status;
    const h2o_header_t *headers; /* of h2o's client */
    size_t header_count;
};
/* Looks at what has come of an answer's head, interim ones before it too, so that h2o's client may: UPSTREAM for a
 * Content-Length that is no number, a Transfer-Encoding but chunked and identity, a line beyond 256 KiB. */
MUST_CHECK bool headers_check_answer(h2o_iovec_t raw, struct error *err);
MUST_CHECK bool headers_back(h2o_req_t *req, const struct upstream_head *head, struct error *err);
