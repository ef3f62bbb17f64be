/* SPDX-License-Identifier: Apache-2.0
 *
 * kubectl tries a Basic header with an empty secret first, id and secret encoded as a form's, and the form's fields
 * when that fails (facts B1). Both at once are refused: two readers would see two clients. */
#include "client_auth.h"

#include "base/crypto.h"
#include "base/text.h"

#define BASIC           "Basic "
#define CREDENTIALS_MAX 8192

/* RFC 7617 has the plain alphabet and padding; the strict reader is base64url's. */
static bool decode_base64(h2o_mem_pool_t *pool, h2o_iovec_t encoded, h2o_iovec_t *out)
{
    if (encoded.len == 0 || encoded.len > CREDENTIALS_MAX || encoded.len % 4 != 0)
        return false;
    char *copy = text_dup_iovec(pool, encoded);
    size_t len = encoded.len;
    for (int padding = 0; padding < 2 && copy[len - 1] == '='; padding++)
        len--;
    for (size_t i = 0; i < len; i++) {
        if (copy[i] == '-' || copy[i] == '_')
            return false;
        if (copy[i] == '+')
            copy[i] = '-';
        else if (copy[i] == '/')
            copy[i] = '_';
    }
    return base64url_decode(pool, h2o_iovec_init(copy, len), out);
}

static enum client_named read_basic(h2o_mem_pool_t *pool, h2o_iovec_t authorization,
                                    h2o_iovec_t *client_id)
{
    const size_t scheme = sizeof(BASIC) - 1;
    h2o_iovec_t decoded, id, secret;
    if (authorization.len < scheme || strncasecmp(authorization.base, BASIC, scheme) != 0)
        return CLIENT_MISSING;
    h2o_iovec_t encoded = h2o_iovec_init(authorization.base + scheme, authorization.len - scheme);
    if (!decode_base64(pool, encoded, &decoded))
        return CLIENT_MALFORMED;
    const char *colon = memchr(decoded.base, ':', decoded.len);
    if (colon == NULL)
        return CLIENT_MALFORMED;
    size_t len = (size_t)(colon - decoded.base);
    if (!web_form_decode(pool, h2o_iovec_init(decoded.base, len), &id, NULL) ||
        !web_form_decode(pool, h2o_iovec_init(colon + 1, decoded.len - len - 1), &secret, NULL))
        return CLIENT_MALFORMED;
    if (secret.len != 0)
        return CLIENT_SECRET;
    if (id.len == 0)
        return CLIENT_MISSING;
    *client_id = id;
    return CLIENT_NAMED;
}

enum client_named client_auth_read(h2o_mem_pool_t *pool, h2o_iovec_t authorization, size_t times,
                                   const struct web_form *form, h2o_iovec_t *client_id)
{
    h2o_iovec_t id = web_form_value(form, "client_id"),
                secret = web_form_value(form, "client_secret");
    if (times > 1 || (times == 1 && (id.base != NULL || secret.base != NULL)))
        return CLIENT_TWICE;
    if (times == 1)
        return read_basic(pool, authorization, client_id);
    if (secret.len != 0)
        return CLIENT_SECRET;
    if (id.len == 0)
        return CLIENT_MISSING;
    *client_id = id;
    return CLIENT_NAMED;
}
