/* SPDX-License-Identifier: Apache-2.0
 *
 * A ticket goes through the browser's address line, so it may be seen by whoever looks over a shoulder, and by an
 * attacker who sends theirs to somebody else. Alone it opens nothing: the app's host wants the secret that begin is the
 * hash of, which is in a cookie of the browser that was sent to the portal. */
#include "token/ticket.h"

#include <assert.h>
#include <ctype.h>

#include "base/json.h"
#include "base/text.h"

#define PURPOSE       "postern ticket to an app"
#define MAX_LEN       1024
#define CLOCK_STEP_MS 5000 /* replicas' clocks may differ so much */

h2o_iovec_t ticket_seal(h2o_mem_pool_t *pool, const struct seal_keys *keys,
                        const struct ticket *ticket)
{
    struct json_writer *writer = json_writer_new(pool);
    h2o_iovec_t plain;
    json_begin_object(writer);
    json_key(writer, "login");
    json_put_string(writer, ticket->login_id);
    json_key(writer, "app");
    json_put_string(writer, ticket->app);
    json_key(writer, "begin");
    json_put_string(writer, ticket->begin);
    json_key(writer, "made");
    json_put_int(writer, ticket->made_ms);
    json_end_object(writer);
    bool good = json_writer_end(writer, &plain, NULL);
    assert(good); /* names and base64url */
    h2o_iovec_t sealed = seal(pool, keys, PURPOSE, plain);
    return base64url_encode(pool, sealed.base, sealed.len);
}

static bool read_ticket(const struct json *object, struct ticket *out)
{
    h2o_iovec_t login, app, begin;
    if (!json_string(object, "login", &login, NULL) || !json_string(object, "app", &app, NULL) ||
        !json_string(object, "begin", &begin, NULL) ||
        !json_int(object, "made", &out->made_ms, NULL))
        return false;
    out->login_id = login.base;
    out->app = app.base;
    out->begin = begin.base;
    return ticket_is_begin(begin);
}

bool ticket_open(h2o_mem_pool_t *pool, const struct seal_keys *keys, h2o_iovec_t text,
                 const char *app, int64_t now_ms, struct ticket *out)
{
    h2o_iovec_t sealed, plain;
    struct json *object;
    struct ticket found;
    if (text.len > MAX_LEN || !base64url_decode(pool, text, &sealed) ||
        !unseal(pool, keys, PURPOSE, sealed, &plain) ||
        !json_parse(pool, plain, NULL, &object, NULL) || !read_ticket(object, &found))
        return false;
    if (strcmp(found.app, app) != 0 || found.made_ms <= now_ms - TICKET_LIFETIME_MS ||
        found.made_ms > now_ms + CLOCK_STEP_MS)
        return false;
    *out = found;
    return true;
}

const char *ticket_begin(h2o_mem_pool_t *pool, h2o_iovec_t secret)
{
    uint8_t digest[SHA256_SIZE];
    crypto_sha256(secret.base, secret.len, digest);
    return base64url_encode(pool, digest, sizeof(digest)).base;
}

bool ticket_is_begin(h2o_iovec_t text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!isalnum((unsigned char)text.base[i]) && text.base[i] != '-' && text.base[i] != '_')
            return false;
    return text.len == TICKET_BEGIN_LEN;
}
