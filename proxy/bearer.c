/* SPDX-License-Identifier: Apache-2.0
 *
 * See bearer.h. Stricter than an API server, which takes the first of several and ignores what stands behind a
 * blank: whoever writes such a thing may mean another token than we judge. */
#include "bearer.h"

#include "base/crypto.h"
#include "base/secret.h"
#include "base/text.h"
#include "http/web.h"
#include "plain.h"

#define PROTOCOLS "sec-websocket-protocol"
#define PREFIX    "base64url.bearer.authorization.k8s.io."

/* Also where something stands before it: an API server takes off more blanks than we do, Unicode's too. */
static bool is_token_item(h2o_iovec_t item)
{
    return h2o_strstr(item.base, item.len, H2O_STRLIT(PREFIX)) != SIZE_MAX;
}

/* Visible ASCII: what a header may carry on, and no more. */
static bool is_sendable(h2o_iovec_t token)
{
    for (size_t i = 0; i < token.len; i++)
        if (token.base[i] <= 0x20 || token.base[i] >= 0x7f)
            return false;
    return token.len > 0;
}

static enum bearer of_authorization(h2o_req_t *req, h2o_iovec_t *out)
{
    h2o_iovec_t value = web_header(req, "authorization");
    if (value.base == NULL)
        return BEARER_NONE;
    if (web_header_count(req, "authorization") != 1 || value.len < 8 ||
        !h2o_lcstris(value.base, 7, H2O_STRLIT("bearer ")))
        return BEARER_MALFORMED;
    h2o_iovec_t token = h2o_iovec_init(value.base + 7, value.len - 7);
    if (!is_sendable(token))
        return BEARER_MALFORMED;
    *out = token;
    return BEARER_FOUND;
}

static enum bearer of_item(h2o_req_t *req, h2o_iovec_t item, h2o_iovec_t *out)
{
    h2o_iovec_t encoded =
        h2o_iovec_init(item.base + sizeof(PREFIX) - 1, item.len - (sizeof(PREFIX) - 1));
    if (memcmp(item.base, PREFIX, sizeof(PREFIX) - 1) != 0 ||
        !base64url_decode(&req->pool, encoded, out) || !is_sendable(*out))
        return BEARER_MALFORMED;
    return BEARER_FOUND;
}

static enum bearer of_protocols(h2o_req_t *req, h2o_iovec_t *out)
{
    enum bearer found = BEARER_NONE;
    for (size_t i = 0; i < req->headers.size; i++) {
        const h2o_header_t *header = &req->headers.entries[i];
        h2o_iovec_t list = header->value;
        if (!iovec_equal(*header->name, PROTOCOLS))
            continue;
        while (list.len != 0) {
            h2o_iovec_t item = plain_trim(plain_take(&list, ','));
            if (!is_token_item(item))
                continue;
            found = found == BEARER_NONE ? of_item(req, item, out) : BEARER_MALFORMED;
        }
    }
    return found;
}

enum bearer bearer_of(h2o_req_t *req, h2o_iovec_t *out)
{
    h2o_iovec_t by_header = {NULL, 0}, by_protocol = {NULL, 0};
    enum bearer header = of_authorization(req, &by_header);
    enum bearer protocol = of_protocols(req, &by_protocol);
    if (protocol == BEARER_NONE) {
        *out = by_header;
        return header;
    }
    *out = by_protocol;
    return header == BEARER_NONE && req->upgrade.base != NULL ? protocol : BEARER_MALFORMED;
}

static h2o_iovec_t bearer_without(h2o_mem_pool_t *pool, h2o_iovec_t protocols)
{
    struct text rest;
    text_init(&rest, pool);
    while (protocols.len != 0) {
        h2o_iovec_t item = plain_trim(plain_take(&protocols, ','));
        if (item.len > 0 && !is_token_item(item))
            text_add_format(&rest, "%s%.*s", rest.len == 0 ? "" : ", ", (int)item.len, item.base);
    }
    return text_iovec(&rest);
}

void bearer_drop(struct header_list *list)
{
    struct header *header = NULL;
    bool left = false;
    while ((header = header_list_find(list, PROTOCOLS, header)) != NULL) {
        header->value = bearer_without(list->pool, header->value);
        left = left || header->value.len != 0;
    }
    if (!left)
        header_list_drop(list, PROTOCOLS);
}
