/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole heads through the proxy's filters, as h2o hands them over. A client's ('q'): what goes on, the bearer and the
 * impersonation that are read of it. An upstream's: what comes back. */
#include "fuzz.h"

#include "bearer.h"
#include "headers.h"
#include "impersonation.h"
#include "picohttpparser.h"

#define MOST 100

static h2o_socket_t wire; /* the bytes, for the filter's own look at them */
static h2o_conn_t conn;

static h2o_socket_t *get_socket(h2o_conn_t *self)
{
    (void)self;
    return &wire;
}

static const h2o_conn_callbacks_t callbacks = {.get_socket = get_socket};

static void begin(h2o_req_t *req, h2o_iovec_t raw)
{
    memset(req, 0, sizeof(*req));
    h2o_mem_init_pool(&req->pool);
    conn.callbacks = &callbacks;
    req->conn = &conn;
    req->version = 0x101;
    req->res.content_length = SIZE_MAX;
    if (wire.input == NULL)
        h2o_buffer_init(&wire.input, &h2o_socket_buffer_prototype);
    h2o_buffer_consume(&wire.input, wire.input->size);
    h2o_buffer_reserve(&wire.input, raw.len + 1);
    if (raw.len != 0)
        memcpy(wire.input->bytes, raw.base, raw.len);
    wire.input->size = raw.len;
}

static h2o_iovec_t lower_of(h2o_mem_pool_t *pool, const struct phr_header *header)
{
    h2o_iovec_t name = h2o_strdup(pool, header->name, header->name_len);
    h2o_strtolower(name.base, name.len);
    return name;
}

/* As http1.c and http1client.c do. */
static void add(h2o_mem_pool_t *pool, h2o_headers_t *list, const struct phr_header *header)
{
    h2o_iovec_t name = lower_of(pool, header);
    h2o_add_header_by_str(pool, list, name.base, name.len, 1, header->name, header->value,
                          header->value_len);
}

/* The spelling in which a server behind us might read a name: '-' for all but letters and digits. */
static h2o_iovec_t spelling(h2o_mem_pool_t *pool, h2o_iovec_t name)
{
    h2o_iovec_t plain = h2o_strdup(pool, name.base, name.len);
    for (size_t i = 0; i < plain.len; ++i) {
        char c = (char)h2o_tolower(plain.base[i]);
        plain.base[i] = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
    }
    return plain;
}

static bool begins(h2o_iovec_t text, const char *with)
{
    return text.len >= strlen(with) && memcmp(text.base, with, strlen(with)) == 0;
}

static void check_line(h2o_iovec_t name, h2o_iovec_t value)
{
    assert(name.len != 0);
    for (size_t i = 0; i < name.len; ++i)
        assert(name.base[i] > ' ' && name.base[i] < 0x7f && name.base[i] != ':');
    for (size_t i = 0; i < value.len; ++i)
        assert(((unsigned char)value.base[i] >= ' ' && value.base[i] != 0x7f) ||
               value.base[i] == '\t');
}

static void check_cookies(h2o_iovec_t value)
{
    bool at_name = true;
    for (size_t i = 0; i < value.len; ++i) {
        char c = value.base[i];
        assert(!at_name ||
               !begins(h2o_iovec_init(value.base + i, value.len - i), "__Host-postern"));
        at_name = c == ';' || (at_name && (c == ' ' || c == '\t'));
    }
}

static void check_goes_on(h2o_mem_pool_t *pool, h2o_iovec_t name, h2o_iovec_t value)
{
    static const char *const ours[] = {
        "authorization", "host",       "connection", "content-length", "transfer-encoding", "te",
        "upgrade",       "keep-alive", "forwarded",  "x-real-ip"};
    static const char *const families[] = {"impersonate-", "x-remote-",  "x-forwarded-",
                                           "proxy-",       "x-webauth-", "x-auth-request-",
                                           "remote-"};
    h2o_iovec_t plain = spelling(pool, name);
    check_line(name, value);
    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); ++i)
        assert(!iovec_equal(plain, ours[i]));
    for (size_t i = 0; i < sizeof(families) / sizeof(*families); ++i)
        assert(!begins(plain, families[i]));
    if (iovec_equal(plain, "cookie"))
        check_cookies(value);
}

static void check_subprotocols(const struct header_list *list)
{
    struct header *header = NULL;
    while ((header = header_list_find(list, "sec-websocket-protocol", header)) != NULL)
        assert(h2o_strstr(header->value.base, header->value.len,
                          H2O_STRLIT("base64url.bearer.authorization.k8s.io.")) == SIZE_MAX);
}

/* Nothing that somebody asked to be is overlooked: their request would then be made as themselves. */
static void check_impersonation(h2o_req_t *req)
{
    struct impersonation asked;
    struct error err = {.kind = ERROR_NONE};
    if (!impersonation_read(req, &asked, &err)) {
        fuzz_check_error(&err);
        return;
    }
    size_t found = 0;
    for (size_t i = 0; i < req->headers.size; ++i)
        found += begins(spelling(&req->pool, *req->headers.entries[i].name), "impersonate-");
    assert(found == (asked.user.base != NULL) + (asked.uid.base != NULL) + asked.group_count +
                        asked.extra_count);
    assert(found == 0 || asked.user.base != NULL);
    if (impersonation_check(&asked, NULL)) {
        struct header_list list;
        header_list_init(&list, &req->pool);
        impersonation_add(&asked, &list);
        assert(list.count == found);
    }
}

static bool parse_request(h2o_req_t *req, h2o_iovec_t raw)
{
    struct phr_header headers[MOST];
    size_t count = MOST, path_len;
    const char *method, *path;
    int minor;
    if (phr_parse_request(raw.base, raw.len, &method, &req->input.method.len, &path, &path_len,
                          &minor, headers, &count, 0) <= 0)
        return false;
    req->input.method.base = (char *)(uintptr_t)method;
    for (size_t i = 0; i < count; ++i) {
        h2o_iovec_t value = h2o_iovec_init(headers[i].value, headers[i].value_len);
        if (headers[i].name == NULL)
            return false;
        h2o_iovec_t name = lower_of(&req->pool, &headers[i]);
        if (iovec_equal(name, "host"))
            req->input.authority = value;
        else if (iovec_equal(name, "upgrade"))
            req->upgrade = value;
        else if (!iovec_equal(name, "content-length") && !iovec_equal(name, "transfer-encoding") &&
                 !iovec_equal(name, "expect"))
            add(&req->pool, &req->headers, &headers[i]);
    }
    return req->input.authority.len != 0;
}

static void check_request(h2o_iovec_t raw)
{
    static const char *const drop[] = {"x-forwarded-id-token", "kubernetes-*", NULL};
    static const char *const drop_cookies[] = {"headlamp-auth-*", NULL};
    static const struct header_rules rules = {drop, drop_cookies};
    h2o_req_t req;
    begin(&req, raw);
    if (parse_request(&req, raw)) {
        struct header_list list;
        h2o_iovec_t bearer;
        struct error err = {.kind = ERROR_NONE};
        if (bearer_of(&req, &bearer) == BEARER_FOUND)
            assert(bearer.len != 0);
        check_impersonation(&req);
        if (headers_forward(&req, &rules, &list, &err)) {
            bearer_drop(&list);
            for (size_t i = 0; i < list.count; ++i)
                check_goes_on(&req.pool, list.entries[i].name, list.entries[i].value);
            check_subprotocols(&list);
        } else {
            fuzz_check_error(&err);
        }
    }
    h2o_mem_clear_pool(&req.pool);
}

static void check_comes_back(h2o_req_t *req, int status, const h2o_header_t *header)
{
    static const char *const never[] = {"connection",
                                        "content-length",
                                        "transfer-encoding",
                                        "keep-alive",
                                        "strict-transport-security",
                                        "alt-svc",
                                        "clear-site-data"};
    h2o_iovec_t plain = spelling(&req->pool, *header->name);
    check_line(*header->name, header->value);
    assert(status == 101 || !iovec_equal(plain, "upgrade"));
    for (size_t i = 0; i < sizeof(never) / sizeof(*never); ++i)
        assert(!iovec_equal(plain, never[i]));
    if (iovec_equal(plain, "set-cookie"))
        assert(!begins(header->value, "__Host-postern"));
}

static void check_answer(h2o_iovec_t raw)
{
    struct phr_header headers[MOST];
    size_t count = MOST, msg_len;
    const char *msg;
    int minor, status;
    h2o_req_t req;
    h2o_headers_t list = {NULL};
    struct error err = {.kind = ERROR_NONE};
    if (phr_parse_response(raw.base, raw.len, &minor, &status, &msg, &msg_len, headers, &count,
                           0) <= 0)
        return;
    begin(&req, raw);
    for (size_t i = 0; i < count; ++i)
        if (headers[i].name !=
            NULL) /* h2o's client joins folded lines before; headers_check_answer refuses them */
            add(&req.pool, &list, &headers[i]);
    struct upstream_head head = {status, list.entries, list.size};
    if (headers_back(&req, &head, &err))
        for (size_t i = 0; i < req.res.headers.size; ++i)
            check_comes_back(&req, status, &req.res.headers.entries[i]);
    else
        fuzz_check_error(&err);
    h2o_mem_clear_pool(&req.pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_iovec_t rest = h2o_iovec_init(bytes, len);
    if (fuzz_byte(&rest) == 'q')
        check_request(rest);
    else
        check_answer(rest);
    return 0;
}
