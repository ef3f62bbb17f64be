/* SPDX-License-Identifier: Apache-2.0
 *
 * Who the client is when proxies stand in front. A header is as good as whoever wrote it: X-Forwarded-For is
 * looked at only when the connection's own end is a trusted proxy, and from its right end, where that proxy
 * wrote; each address that is a trusted proxy's vouches for the one before it. Neither X-Forwarded-Host nor
 * RFC 7239's Forwarded is ever looked at: where we are, portal.url says alone. (peers 37) */
#include "http/web.h"

#include "web_private.h"

#define PROXIES_SLOT 1 /* of the context's storage; web_request.c has 0 */
#define MOST_HOPS    16
#define MAX_ENTRY    64 /* an IPv6 address with brackets and port has 54 */

static const struct ip_networks **proxies_slot(h2o_context_t *ctx)
{
    size_t key = PROXIES_SLOT;
    return (const struct ip_networks **)h2o_context_get_storage(ctx, &key, NULL);
}

void web_context_set_proxies(h2o_context_t *ctx, const struct ip_networks *trusted)
{
    *proxies_slot(ctx) = trusted;
}

/* ---- X-Forwarded-For ---- */

/* Some proxies write the client's port, too: "192.0.2.7:4711", "[2001:db8::7]:4711". */
static bool parse_entry(h2o_iovec_t entry, struct ip_address *out)
{
    char text[MAX_ENTRY];
    if (entry.len == 0 || entry.len >= sizeof(text) || memchr(entry.base, 0, entry.len) != NULL)
        return false;
    memcpy(text, entry.base, entry.len);
    text[entry.len] = '\0';
    char *address = text, *behind = NULL;
    if (*text == '[') {
        address++;
        behind = strchr(text, ']');
        if (behind == NULL)
            return false;
        *behind++ = '\0';
    } else if (strchr(text, '.') != NULL && strspn(text, "0123456789.:") == entry.len) {
        behind = text + strcspn(text, ":");
    }
    if (behind != NULL && *behind != '\0') {
        size_t digits = strspn(behind + 1, "0123456789");
        if (*behind != ':' || digits == 0 || digits > 5 || behind[1 + digits] != '\0')
            return false;
        *behind = '\0';
    }
    return ip_parse(address, out);
}

/* Takes the last entry of the list off; after the first one the list's base is NULL. */
static h2o_iovec_t take_last(h2o_iovec_t *list)
{
    h2o_iovec_t last = *list;
    const char *comma = memrchr(list->base, ',', list->len);
    if (comma == NULL) {
        *list = (h2o_iovec_t){NULL, 0};
        return web_trim(last);
    }
    list->len = (size_t)(comma - list->base);
    return web_trim(h2o_iovec_init(last.base + list->len + 1, last.len - list->len - 1));
}

enum walk { WALK_ON, WALK_FOUND, WALK_NOTHING };

static enum walk walk_line(h2o_iovec_t line, const struct ip_networks *trusted, unsigned *hops,
                           struct ip_address *out)
{
    do {
        struct ip_address address;
        if (++*hops > MOST_HOPS || !parse_entry(take_last(&line), &address))
            return WALK_NOTHING;
        *out = address;
        if (!ip_networks_have(trusted, &address))
            return WALK_FOUND;
    } while (line.base != NULL);
    return WALK_ON;
}

bool web_forwarded_for(const h2o_headers_t *headers, const struct ip_networks *trusted,
                       struct ip_address *out)
{
    struct ip_address found;
    unsigned hops = 0;
    enum walk walk = WALK_ON;
    for (size_t i = headers->size; i > 0 && walk == WALK_ON;
         i--) { /* the last line is the latest */
        const h2o_header_t *header = &headers->entries[i - 1];
        if (iovec_equal(*header->name, "x-forwarded-for"))
            walk = walk_line(header->value, trusted, &hops, &found);
    }
    if (walk == WALK_NOTHING || hops == 0)
        return false;
    *out = found;
    return true;
}

/* ---- the client ---- */

void web_remote_address(h2o_req_t *req, char out[WEB_ADDRESS_SIZE])
{
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    const struct ip_networks *trusted = *proxies_slot(req->conn->ctx);
    req->conn->callbacks->get_peername(req->conn, (struct sockaddr *)&peer);
    struct ip_address address = ip_of_sockaddr((const struct sockaddr *)&peer), forwarded;
    if (trusted != NULL && ip_networks_have(trusted, &address) &&
        web_forwarded_for(&req->headers, trusted, &forwarded))
        address = forwarded;
    ip_write(&address, out);
}

enum web_way web_way(h2o_req_t *req)
{
    const h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    const struct web_connection *connection = socket != NULL ? socket->on_close.data : NULL;
    const struct ip_networks *trusted = *proxies_slot(req->conn->ctx);
    if (socket != NULL && socket->ssl != NULL)
        return WEB_WAY_SECURE;
    if (connection == NULL || trusted == NULL || !ip_networks_have(trusted, &connection->from))
        return WEB_WAY_DIRECT;
    size_t count = web_header_count(req, "x-forwarded-proto");
    h2o_iovec_t scheme = web_header(req, "x-forwarded-proto");
    if (count == 0 &&
        connection->proxy_line) /* no HTTP is spoken where such a proxy passes bytes on */
        return WEB_WAY_SECURE;
    bool is_https = count == 1 && h2o_lcstris(scheme.base, scheme.len, H2O_STRLIT("https"));
    return is_https ? WEB_WAY_SECURE : WEB_WAY_NOT_HTTPS;
}
