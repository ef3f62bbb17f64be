/* SPDX-License-Identifier: Apache-2.0
 *
 * See headers.h. One table says what never goes on, one what never comes back; both are compared with plain
 * spellings. The bytes of a request's head are looked at once more, because h2o keeps of repeated framing headers one
 * and says nothing (RFC 9112 sections 3.2, 5.1, 6.1, 6.3). */
#include "headers.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "http/web.h"
#include "plain.h"

#define MAX_COOKIES   16384
#define MAX_HEAD      262144 /* of an answer, in one line */
#define OWN_COOKIES   "__Host-postern"
#define MAX_CONNECTED 32 /* headers that Connection names */

/* ---- the list ---- */

void header_list_init(struct header_list *self, h2o_mem_pool_t *pool)
{
    *self = (struct header_list){.pool = pool};
}

static void append(struct header_list *self, h2o_iovec_t name, h2o_iovec_t value)
{
    if (self->count == self->capacity) {
        size_t capacity = self->capacity == 0
                              ? 24
                              : 2 * self->capacity; /* more would be no piece of h2o's pool */
        struct header *entries = h2o_mem_alloc_pool(self->pool, capacity * sizeof(*entries));
        if (self->count != 0)
            memcpy(entries, self->entries, self->count * sizeof(*entries));
        self->entries = entries;
        self->capacity = capacity;
    }
    self->entries[self->count++] = (struct header){name, value};
}

void header_list_add(struct header_list *self, const char *name, h2o_iovec_t value)
{
    assert(plain_is_token(iovec_of(name)) && plain_is_value(value));
    append(self, h2o_strdup(self->pool, name, strlen(name)),
           h2o_strdup(self->pool, value.base, value.len));
}

bool header_list_drop(struct header_list *self, const char *plain_name)
{
    size_t kept = 0, before = self->count;
    for (size_t i = 0; i < before; ++i)
        if (!plain_is(self->entries[i].name, plain_name))
            self->entries[kept++] = self->entries[i];
    self->count = kept;
    return kept != before;
}

struct header *header_list_find(const struct header_list *self, const char *plain_name,
                                const struct header *after)
{
    size_t at = after != NULL ? (size_t)(after - self->entries) + 1 : 0;
    for (; at < self->count; ++at)
        if (plain_is(self->entries[at].name, plain_name))
            return &self->entries[at];
    return NULL;
}

/* ---- what Connection names ---- */

struct connected {
    h2o_iovec_t names[MAX_CONNECTED];
    size_t count;
};

static bool read_connection(const h2o_header_t *headers, size_t count, struct connected *out)
{
    out->count = 0;
    for (size_t i = 0; i < count; ++i) {
        h2o_iovec_t rest = headers[i].value;
        if (!plain_is(*headers[i].name, "connection"))
            continue;
        while (rest.len != 0) {
            h2o_iovec_t name = plain_trim(plain_take(&rest, ','));
            if (name.len == 0)
                continue;
            if (out->count == MAX_CONNECTED)
                return false;
            out->names[out->count++] = name;
        }
    }
    return true;
}

static bool names(const struct connected *self, h2o_iovec_t name)
{
    for (size_t i = 0; i < self->count; ++i)
        if (plain_same(self->names[i], name))
            return true;
    return false;
}

/* ---- requests ---- */

static const char *const NEVER_ON[] = {"connection", "keep-alive", "proxy-*", "te", "trailer",
                                       "transfer-encoding", "upgrade", "http2-settings", "host",
                                       "content-length", "expect", "authorization", "impersonate-*",
                                       "x-remote-*", "x-forwarded-*", "forwarded", "x-real-ip",
                                       "x-original-*", "x-rewrite-*", "x-http-method*",
                                       /* by which other proxies say who it is */
                                       "x-webauth-*", "x-auth-request-*", "remote-*", NULL};

struct framing {
    unsigned content_length, transfer_encoding, host, upgrade;
};

static bool count_line(struct framing *self, h2o_iovec_t line, struct error *err)
{
    const char *colon = memchr(line.base, ':', line.len);
    if (colon == NULL || !plain_is_token(h2o_iovec_init(line.base, colon - line.base)))
        return error_set(err, ERROR_BAD_INPUT, "a header's name is no token");
    h2o_iovec_t name = h2o_iovec_init(line.base, colon - line.base);
    self->content_length += plain_is_exactly(name, "content-length");
    self->transfer_encoding += plain_is_exactly(name, "transfer-encoding");
    self->host += plain_is_exactly(name, "host");
    self->upgrade += plain_is_exactly(name, "upgrade");
    return true;
}

static bool judge_framing(const struct framing *self, struct error *err)
{
    if (self->content_length + self->transfer_encoding > 1)
        return error_set(err, ERROR_BAD_INPUT, "the body's length is said twice");
    if (self->host != 1)
        return error_set(err, ERROR_BAD_INPUT, "one Host header is needed");
    if (self->upgrade > 1)
        return error_set(err, ERROR_BAD_INPUT, "Upgrade stands there twice");
    return true;
}

bool headers_check_bytes(h2o_iovec_t raw, struct error *err)
{
    struct framing framing = {.host = 0};
    if (raw.len >= 2 && memcmp(raw.base, "\r\n", 2) == 0) /* h2o skips one as RFC 9112 2.2 has it */
        raw = h2o_iovec_init(raw.base + 2, raw.len - 2);
    for (bool first = true; raw.len != 0; first = false) {
        const char *lf = memchr(raw.base, '\n', raw.len);
        size_t len = lf != NULL ? (size_t)(lf - raw.base) : 0;
        if (lf == NULL)
            break;
        if (len == 0 || raw.base[len - 1] != '\r' || memchr(raw.base, '\r', len - 1) != NULL)
            return error_set(err, ERROR_BAD_INPUT, "a line does not end with CR LF");
        h2o_iovec_t line = h2o_iovec_init(raw.base, len - 1);
        raw = h2o_iovec_init(lf + 1, raw.len - len - 1);
        if (line.len == 0 && !first)
            return judge_framing(&framing, err);
        if (line.len != 0 && (line.base[0] == ' ' || line.base[0] == '\t'))
            return error_set(err, ERROR_BAD_INPUT, "a header is folded");
        if (!first && !count_line(&framing, line, err))
            return false;
    }
    return error_set(err, ERROR_BAD_INPUT, "the head has no end");
}

static bool is_dropped_cookie(h2o_iovec_t name, const struct header_rules *rules)
{
    if (name.len == 0 || (name.len >= sizeof(OWN_COOKIES) - 1 &&
                          strncasecmp(name.base, OWN_COOKIES, sizeof(OWN_COOKIES) - 1) == 0))
        return true;
    const char *const *drop = rules != NULL ? rules->drop_cookies : NULL;
    for (; drop != NULL && *drop != NULL; ++drop) {
        size_t len = strlen(*drop);
        bool rest = len != 0 && (*drop)[len - 1] == '*';
        len -= rest;
        if ((rest ? name.len >= len : name.len == len) && memcmp(name.base, *drop, len) == 0)
            return true;
    }
    return false;
}

/* A pair without '=' is nobody's cookie and stays here. */
static void add_cookies(struct text *out, h2o_iovec_t value, const struct header_rules *rules)
{
    while (value.len != 0) {
        h2o_iovec_t pair = plain_trim(plain_take(&value, ';'));
        const char *equals = pair.len != 0 ? memchr(pair.base, '=', pair.len) : NULL;
        if (equals == NULL ||
            is_dropped_cookie(plain_trim(h2o_iovec_init(pair.base, equals - pair.base)), rules))
            continue;
        if (out->len != 0)
            text_add_string(out, "; ");
        text_add(out, pair.base, pair.len);
    }
}

static bool is_dropped(h2o_iovec_t name, const struct header_rules *rules)
{
    return plain_is_of(name, NEVER_ON) ||
           (rules != NULL && rules->drop != NULL && plain_is_of(name, rules->drop));
}

static h2o_iovec_t written_name(const h2o_header_t *header)
{
    return h2o_iovec_init(header->orig_name != NULL ? header->orig_name : header->name->base,
                          header->name->len);
}

/* Letters of a host, a port and an address in brackets: what goes on in a Host header. */
static bool is_authority(h2o_iovec_t host)
{
    for (size_t i = 0; i < host.len; ++i)
        if (!isalnum((unsigned char)host.base[i]) &&
            (host.base[i] == '\0' || strchr("-._:[]", host.base[i]) == NULL))
            return false;
    return host.len != 0;
}

/* TRACE gives back what we add (a token); after a CONNECT, two readers find the next request in two places. */
static bool is_method(h2o_iovec_t method)
{
    static const char *const never[] = {"trace", "track", "connect", NULL};
    return plain_is_token(method) && !plain_is_of(method, never);
}

static bool check_wire(h2o_req_t *req, struct error *err)
{
    if (req->version >= 0x200)
        return error_set(err, ERROR_BAD_INPUT, "HTTP/1.1 is needed");
    if (!is_method(req->input.method) || !is_authority(req->input.authority))
        return error_set(err, ERROR_BAD_INPUT, "the method or the host is malformed");
    const h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    return headers_check_bytes(h2o_iovec_init(socket->input->bytes, socket->input->size), err);
}

static bool forward_all(h2o_req_t *req, const struct header_rules *rules, struct header_list *out,
                        struct error *err)
{
    struct connected connected;
    struct text cookies;
    text_init(&cookies, &req->pool);
    if (!read_connection(req->headers.entries, req->headers.size, &connected))
        return error_set(err, ERROR_BAD_INPUT, "Connection names too much");
    for (size_t i = 0; i < req->headers.size; ++i) {
        const h2o_header_t *header = &req->headers.entries[i];
        if (!plain_is_token(*header->name) || !plain_is_value(header->value))
            return error_set(err, ERROR_BAD_INPUT, "a header is malformed");
        if (plain_is(*header->name, "cookie"))
            add_cookies(&cookies, header->value, rules);
        else if (!is_dropped(*header->name, rules) && !names(&connected, *header->name))
            append(out, written_name(header), header->value);
    }
    if (cookies.len > MAX_COOKIES)
        return error_set(err, ERROR_BAD_INPUT, "too many cookies");
    if (cookies.len != 0)
        append(out, iovec_of("Cookie"), text_iovec(&cookies));
    return true;
}

bool headers_forward(h2o_req_t *req, const struct header_rules *rules, struct header_list *out,
                     struct error *err)
{
    struct header_list list;
    header_list_init(&list, &req->pool);
    if (!check_wire(req, err) || !forward_all(req, rules, &list, err))
        return false;
    *out = list;
    return true;
}

void headers_add_forwarded(h2o_req_t *req, struct header_list *list)
{
    char address[WEB_ADDRESS_SIZE];
    web_remote_address(req, address);
    if (address[0] != '\0')
        header_list_add(list, "X-Forwarded-For", iovec_of(address));
    header_list_add(list, "X-Forwarded-Host", req->input.authority);
    header_list_add(list, "X-Forwarded-Proto",
                    iovec_of(web_way(req) == WEB_WAY_SECURE ? "https" : "http"));
}

/* ---- answers ---- */

static const char *const NEVER_BACK[] = {
    "connection",        "keep-alive",      "proxy-*",        "te",   "trailer",
    "transfer-encoding", "upgrade",         "content-length", "date", "strict-transport-security",
    "alt-svc",           "clear-site-data", "set-cookie2",    NULL};

static bool is_number(h2o_iovec_t value)
{
    for (size_t i = 0; i < value.len; ++i)
        if (value.base[i] < '0' || value.base[i] > '9')
            return false;
    return value.len != 0 && value.len <= 18;
}

static bool check_length_line(h2o_iovec_t line, struct error *err)
{
    h2o_iovec_t value = line;
    h2o_iovec_t name = plain_trim(plain_take(&value, ':'));
    while (value.len != 0 && (value.base[0] == ' ' || value.base[0] == '\t'))
        value = h2o_iovec_init(value.base + 1, value.len - 1);
    if (plain_is_exactly(name, "content-length") && !is_number(value))
        return error_set(err, ERROR_UPSTREAM, "the answer's length is no number");
    if (plain_is_exactly(name, "transfer-encoding") && !iovec_equal(value, "chunked") &&
        !iovec_equal(value, "identity"))
        return error_set(err, ERROR_UPSTREAM, "the answer's transfer-encoding is unknown");
    return true;
}

static bool is_interim(h2o_iovec_t status_line)
{
    plain_take(&status_line, ' ');
    h2o_iovec_t status = plain_trim(status_line);
    return status.len >= 3 && status.base[0] == '1' && memcmp(status.base, "101", 3) != 0;
}

bool headers_check_answer(h2o_iovec_t raw, struct error *err)
{
    bool first = true, interim = false;
    const char *lf;
    while (raw.len != 0 && (lf = memchr(raw.base, '\n', raw.len)) != NULL) {
        size_t len = (size_t)(lf - raw.base);
        h2o_iovec_t line = h2o_iovec_init(raw.base, len);
        raw = h2o_iovec_init(lf + 1, raw.len - len - 1);
        line.len -= line.len != 0 && line.base[line.len - 1] == '\r';
        if (line.len == 0 && !first && !interim)
            return true;
        if (first)
            interim = is_interim(line);
        else if (line.len != 0 && !check_length_line(line, err))
            return false;
        first = line.len == 0;
    }
    return raw.len <= MAX_HEAD ||
           error_set(err, ERROR_UPSTREAM, "the head of the answer has no end");
}

/* Empty: it stays here. */
static h2o_iovec_t cookie_back(h2o_mem_pool_t *pool, h2o_iovec_t value)
{
    struct text out;
    text_init(&out, pool);
    for (bool first = true; value.len != 0; first = false) {
        h2o_iovec_t part = plain_trim(plain_take(&value, ';')), rest = part;
        h2o_iovec_t name = rest.len != 0 ? plain_trim(plain_take(&rest, '=')) : rest;
        if (first && is_dropped_cookie(name, NULL))
            return (h2o_iovec_t){NULL, 0};
        if (!first && (part.len == 0 || plain_is_exactly(name, "domain")))
            continue;
        if (!first)
            text_add_string(&out, "; ");
        text_add(&out, part.base, part.len);
    }
    return text_iovec(&out);
}

static void add_back(h2o_req_t *req, const h2o_header_t *header, h2o_iovec_t value)
{
    h2o_iovec_t name = h2o_strdup(&req->pool, header->name->base, header->name->len);
    h2o_iovec_t copy = h2o_strdup(&req->pool, value.base, value.len);
    h2o_add_header_by_str(&req->pool, &req->res.headers, name.base, name.len, 1, header->orig_name,
                          copy.base, copy.len);
}

static bool read_length(const struct upstream_head *head, size_t *out, struct error *err)
{
    unsigned lengths = 0, encodings = 0;
    *out = SIZE_MAX;
    for (size_t i = 0; i < head->header_count; ++i) {
        const h2o_header_t *header = &head->headers[i];
        if (!plain_is_token(*header->name) || !plain_is_value(header->value))
            return error_set(err, ERROR_UPSTREAM, "a header of the answer is malformed");
        encodings += plain_is_exactly(*header->name, "transfer-encoding");
        if (!plain_is_exactly(*header->name, "content-length"))
            continue;
        ++lengths;
        if ((*out = h2o_strtosize(header->value.base, header->value.len)) == SIZE_MAX)
            return error_set(err, ERROR_UPSTREAM, "the answer's length is no number");
    }
    if (lengths + encodings > 1)
        return error_set(err, ERROR_UPSTREAM, "the answer's length is said twice");
    return true;
}

static void add_all_back(h2o_req_t *req, const struct upstream_head *head,
                         const struct connected *connected)
{
    for (size_t i = 0; i < head->header_count; ++i) {
        const h2o_header_t *header = &head->headers[i];
        h2o_iovec_t value = header->value;
        bool upgrade = head->status == 101 && plain_is_exactly(*header->name, "upgrade");
        if (plain_is(*header->name, "set-cookie")) {
            value = cookie_back(&req->pool, value);
            if (value.len == 0)
                continue;
        }
        if (upgrade ||
            (!plain_is_of(*header->name, NEVER_BACK) && !names(connected, *header->name)))
            add_back(req, header, value);
    }
}

bool headers_back(h2o_req_t *req, const struct upstream_head *head, struct error *err)
{
    struct connected connected;
    size_t length;
    if (!read_length(head, &length, err))
        return false;
    if (head->status < 100 || head->status > 999)
        return error_set(err, ERROR_UPSTREAM, "the answer's status is no status");
    if (!read_connection(head->headers, head->header_count, &connected))
        return error_set(err, ERROR_UPSTREAM, "Connection of the answer names too much");
    add_all_back(req, head, &connected);
    req->res.status = head->status;
    req->res.content_length = head->status == 101 || head->status == 204 ? SIZE_MAX : length;
    return true;
}
