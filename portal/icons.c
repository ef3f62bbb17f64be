/* SPDX-License-Identifier: Apache-2.0
 *
 * See icons.h. A file of the config is somebody else's drawing, and SVG may hold scripts: pages show it as an image, which
 * runs none, and its own policy sees to it that it runs none when it is opened by itself either. */
#include "icons.h"

#include <assert.h>
#include <stdio.h>

#include "base/crypto.h"
#include "base/text.h"
#include "files.h"
#include "http/web.h"

#define FOLDER     "/apps/icons/"
#define MAX_BYTES  ((size_t)64 * 1024)
#define HASH_BYTES 8
#define POLICY     "default-src 'none'; style-src 'unsafe-inline'; sandbox"

struct icon {
    char *own;         /* the file's bytes; NULL: it is one of ours */
    const char *bytes; /* own, or ours */
    size_t len;
    const char *content_type;
    char path[128];
};
struct portal_icons {
    unsigned count;
    struct icon *all; /* one for each app of the config */
};

/* ---- what a file holds ---- */

/* Behind white space, or where the text ends. */
static h2o_iovec_t skip_space(h2o_iovec_t text)
{
    size_t n = 0;
    while (n < text.len && strchr(" \t\r\n", text.base[n]) != NULL && text.base[n] != '\0')
        n++;
    return h2o_iovec_init(text.base + n, text.len - n);
}

static bool starts(h2o_iovec_t text, const char *with)
{
    return text.len >= strlen(with) && memcmp(text.base, with, strlen(with)) == 0;
}

/* Behind the next end; empty where there is none. */
static h2o_iovec_t skip_to(h2o_iovec_t text, const char *end)
{
    const char *at = memmem(text.base, text.len, end, strlen(end));
    if (at == NULL)
        return h2o_iovec_init("", 0);
    size_t n = (size_t)(at - text.base) + strlen(end);
    return h2o_iovec_init(text.base + n, text.len - n);
}

static bool is_svg(h2o_iovec_t text)
{
    if (!utf8_valid(text.base, text.len) || memchr(text.base, '\0', text.len) != NULL)
        return false;
    if (starts(text, "\xef\xbb\xbf"))
        text = h2o_iovec_init(text.base + 3, text.len - 3);
    for (;;) {
        text = skip_space(text);
        if (starts(text, "<?"))
            text = skip_to(text, "?>");
        else if (starts(text, "<!--"))
            text = skip_to(text, "-->");
        else if (starts(text, "<!DOCTYPE"))
            text = skip_to(text, ">");
        else
            break;
    }
    return starts(text, "<svg") && text.len > 4 && strchr(" \t\r\n>/", text.base[4]) != NULL;
}

enum icon_form icon_form_of(const char *bytes, size_t len)
{
    static const char png[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    if (len > sizeof(png) - 1 && memcmp(bytes, png, sizeof(png) - 1) == 0)
        return ICON_PNG;
    return is_svg(h2o_iovec_init(bytes, len)) ? ICON_SVG : ICON_NONE;
}

/* ---- reading ---- */

static bool read_file(const char *path, struct icon *out, struct error *err)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return error_set(err, ERROR_BAD_INPUT, "%s: can't be read: %m", path);
    char *bytes = h2o_mem_alloc(MAX_BYTES + 1);
    size_t len = fread(bytes, 1, MAX_BYTES + 1, file);
    bool failed = ferror(file) != 0;
    fclose(file);
    enum icon_form form = failed || len > MAX_BYTES ? ICON_NONE : icon_form_of(bytes, len);
    if (form == ICON_NONE) {
        free(bytes);
        return error_set(err, ERROR_BAD_INPUT, "%s: %s", path,
                         failed            ? "can't be read"
                         : len > MAX_BYTES ? "has more than 64 KiB"
                                           : "is neither SVG nor PNG");
    }
    out->own = bytes;
    out->bytes = bytes;
    out->len = len;
    out->content_type = form == ICON_PNG ? "image/png" : "image/svg+xml";
    return true;
}

static void take_ours(enum config_app_kind kind, struct icon *out)
{
    const char *name = kind == APP_HEADLAMP  ? "app_headlamp.svg"
                       : kind == APP_GENERIC ? "app_generic.svg"
                                             : "app_dashboard.svg";
    const struct embedded_file *file = embedded_find(portal_files, name);
    assert(file != NULL);
    out->bytes = file->bytes;
    out->len = file->len;
    out->content_type = "image/svg+xml";
}

static bool load_one(const struct config_app *app, struct icon *out, struct error *err)
{
    uint8_t digest[SHA256_SIZE];
    char hex[2 * HASH_BYTES + 1];
    if (app->icon_file == NULL)
        take_ours(app->kind, out);
    else if (!read_file(app->icon_file, out, err))
        return false;
    crypto_sha256(out->bytes, out->len, digest);
    for (size_t i = 0; i < HASH_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    snprintf(out->path, sizeof(out->path), FOLDER "%s.%s", app->name, hex);
    return true;
}

static const char *key_of(unsigned app, char out[64])
{
    snprintf(out, 64, "proxy.apps[%u].icon_file", app);
    return out;
}

bool portal_icons_load(const struct config *config, struct portal_icons **out, struct error *err)
{
    char key[64];
    unsigned count = config->proxy.app_count;
    struct portal_icons *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct portal_icons){count, h2o_mem_alloc((count + 1) * sizeof(*self->all))};
    memset(self->all, 0, (count + 1) * sizeof(*self->all));
    for (unsigned i = 0; i < count; i++) {
        if (load_one(&config->proxy.apps[i], &self->all[i], err))
            continue;
        portal_icons_free(self);
        return error_prefix(err, key_of(i, key));
    }
    *out = self;
    return true;
}

void portal_icons_free(struct portal_icons *self)
{
    if (self == NULL)
        return;
    for (unsigned i = 0; i < self->count; i++)
        free(self->all[i].own);
    free(self->all);
    free(self);
}

bool portal_icons_equal(const struct portal_icons *a, const struct portal_icons *b)
{
    bool equal = a->count == b->count;
    for (unsigned i = 0; equal && i < a->count; i++)
        equal = a->all[i].len == b->all[i].len &&
                memcmp(a->all[i].bytes, b->all[i].bytes, a->all[i].len) == 0;
    return equal;
}

void portal_icons_check(const struct config *config, struct config_problems *problems)
{
    char key[64];
    struct error err;
    for (unsigned i = 0; i < config->proxy.app_count; i++) {
        struct icon icon = {.own = NULL};
        if (!load_one(&config->proxy.apps[i], &icon, &err))
            config_complain(problems, config, key_of(i, key), "%s", err.text);
        free(icon.own);
    }
}

/* ---- showing ---- */

const char *icons_path(const struct portal_icons *self, unsigned app)
{
    assert(app < self->count);
    return self->all[app].path;
}

bool icons_send(const struct portal_icons *self, h2o_req_t *req, h2o_iovec_t name)
{
    for (unsigned i = 0; i < self->count; i++) {
        const struct icon *icon = &self->all[i];
        if (!iovec_equal(name, icon->path + strlen(FOLDER)))
            continue;
        web_add_header(req, "content-security-policy", POLICY);
        web_cache(req, "public, max-age=31536000, immutable");
        web_send(req, 200, icon->content_type, h2o_iovec_init(icon->bytes, icon->len));
        return true;
    }
    return false;
}
