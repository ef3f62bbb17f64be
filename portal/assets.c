/* SPDX-License-Identifier: Apache-2.0
 *
 * The three files that pages refer to. A path with another hash is not found: a page of an older build asks
 * for a file that this one does not have. */
#include "assets.h"

#include <assert.h>

#include "base/crypto.h"
#include "base/text.h"
#include "files.h"
#include "http/web.h"

#define FOLDER     "/assets/"
#define HASH_BYTES 8

static void init(struct asset *self, const char *stem, const char *suffix, const char *content_type)
{
    char name[32], hex[2 * HASH_BYTES + 1];
    uint8_t digest[SHA256_SIZE];
    snprintf(name, sizeof(name), "%s.%s", stem, suffix);
    self->file = embedded_find(portal_files, name);
    assert(self->file != NULL);
    self->content_type = content_type;
    crypto_sha256(self->file->bytes, self->file->len, digest);
    for (size_t i = 0; i < HASH_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    snprintf(self->path, sizeof(self->path), FOLDER "%s.%s.%s", stem, hex, suffix);
}

void assets_init(struct assets *self)
{
    init(&self->style, "style", "css", "text/css; charset=utf-8");
    init(&self->script, "postern", "js", "text/javascript; charset=utf-8");
    init(&self->icon, "mark", "svg", "image/svg+xml");
}

bool assets_send(const struct assets *self, h2o_req_t *req, h2o_iovec_t name)
{
    const struct asset *all[] = {&self->style, &self->script, &self->icon};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (!iovec_equal(name, all[i]->path + strlen(FOLDER)))
            continue;
        web_cache(req, "public, max-age=31536000, immutable");
        web_send(req, 200, all[i]->content_type,
                 h2o_iovec_init(all[i]->file->bytes, all[i]->file->len));
        return true;
    }
    return false;
}
