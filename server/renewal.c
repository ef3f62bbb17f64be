/* SPDX-License-Identifier: Apache-2.0
 *
 * See renewal.h. Every check that a start makes is made here, and those that only a running server needs: what
 * can't change under it, and whether the new seal keys open what the old ones sealed. */
#include "renewal.h"

#include "authorities.h"
#include "parts.h"
#include "stamps.h"

struct judge {
    const struct edition *current;
    const struct config *config; /* the new one */
    struct config_problems *problems;
};

/* ---- what needs a restart ---- */

static void hold(const struct judge *self, const char *key, bool same)
{
    if (!same)
        config_complain(self->problems, self->config, key, "was changed, which needs a restart");
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void judge_fixed(const struct judge *self)
{
    const struct config *old = self->current->config, *new = self->config;
    hold(self, "portal", old->has_portal == new->has_portal);
    hold(self, "webhook", old->has_webhook == new->has_webhook);
    hold(self, "proxy", old->has_proxy == new->has_proxy);
    hold(self, "proxy.listen", same_text(old->proxy.listen.text, new->proxy.listen.text));
    hold(self, "portal.url", same_text(old->portal.url, new->portal.url));
    hold(self, "portal.issuer_path", same_text(old->portal.issuer_path, new->portal.issuer_path));
    hold(self, "portal.listen", same_text(old->portal.listen.text, new->portal.listen.text));
    hold(self, "portal.tls", old->portal.plain == new->portal.plain);
    hold(self, "portal.proxy_protocol", old->portal.proxy_protocol == new->portal.proxy_protocol);
    hold(self, "webhook.listen", same_text(old->webhook.listen.text, new->webhook.listen.text));
    hold(self, "operations.listen",
         same_text(old->operations.listen.text, new->operations.listen.text));
    hold(self, "operations.control_socket",
         same_text(old->operations.control_socket, new->operations.control_socket));
    hold(self, "outgoing.proxy", same_text(old->outgoing.proxy, new->outgoing.proxy));
    hold(self, "tokens.keys_directory",
         same_text(old->tokens.keys_directory, new->tokens.keys_directory));
    hold(self, "tokens.leeway", old->tokens.leeway_ms == new->tokens.leeway_ms);
    hold(self, "tokens.algorithm", same_text(old->tokens.algorithm, new->tokens.algorithm));
    hold(self, "store.kind", old->store.kind == new->store.kind);
    hold(self, "store.path", same_text(old->store.path, new->store.path));
    hold(self, "workers", old->workers == new->workers);
}

/* ---- files ---- */

static bool note(const struct judge *self, const char *key, bool ok, const struct error *err)
{
    if (!ok)
        config_complain(self->problems, self->config, key, "%s", err->text);
    return ok;
}

static void load_edition(const struct judge *self, struct renewal *out)
{
    struct error err;
    const struct seal_keys *former = self->current->seal_keys;
    unsigned before = self->problems->count;
    authorities_check(self->config, self->problems);
    portal_icons_check(self->config, self->problems);
    if (self->problems->count != before)
        return;
    if (!note(self, "store.seal_key_files",
              edition_new(self->config, self->current, &out->edition, &err), &err))
        return;
    if (!seal_keys_open_those_of(out->edition->seal_keys, former))
        config_complain(self->problems, self->config, "store.seal_key_files",
                        "must still name the key that seals now, after the new one");
}

static void load_files(const struct judge *self, struct renewal *out)
{
    struct error err;
    const struct config *config = self->config;
    if (config->has_webhook) {
        note(self, "webhook.tls", parts_webhook_tls(config, &out->webhook_tls, &err), &err);
        webhook_check_config(config, self->problems);
    }
    if (config->has_portal && !config->portal.plain)
        note(self, "portal.tls", parts_portal_tls(config, &out->portal_tls, &err), &err);
    if (config->has_proxy)
        note(self, "proxy.tls", parts_proxy_tls(config, &out->proxy_tls, &err), &err);
    if (config->has_proxy)
        proxy_check_config(config, self->problems);
    note(self, "oidc", okta_settings_load(config, &out->okta, &err), &err);
}

/* ---- the whole ---- */

static void drop_parts(struct renewal *self)
{
    SSL_CTX_free(self->webhook_tls);
    SSL_CTX_free(self->portal_tls);
    SSL_CTX_free(self->proxy_tls);
    okta_settings_free(self->okta);
    edition_free(self->edition);
    self->webhook_tls = self->portal_tls = self->proxy_tls = NULL;
    self->okta = NULL;
    self->edition = NULL;
}

void renewal_dispose(struct renewal *self)
{
    drop_parts(self);
    config_free(self->config);
    free(self->stamps);
    *self = (struct renewal){.stamps = NULL};
}

/* The config goes into the edition; where it says nothing new, both are dropped. */
static struct config *settle(const struct edition *current, struct renewal *self)
{
    struct config *config = self->config;
    self->config = NULL;
    self->edition->own_config = config;
    if (edition_equal(self->edition, current)) {
        edition_free(self->edition);
        self->edition = NULL;
        config = NULL;
    }
    return config;
}

bool renewal_load(const struct edition *current, struct renewal *out,
                  struct config_problems *problems)
{
    const char *path = current->config->path;
    char *stamp = stamp_of_file(path); /* before reading: a later change is seen later */
    *out = (struct renewal){.config = config_load(path, problems)};
    out->stamps = stamps_of(out->config != NULL ? out->config : current->config, stamp);
    free(stamp);
    if (out->config == NULL)
        return false;
    struct judge judge = {current, out->config, problems};
    judge_fixed(&judge);
    load_edition(&judge, out);
    load_files(&judge, out);
    if (problems->count != 0) {
        drop_parts(out);
        return false;
    }
    if (settle(current, out) == NULL)
        okta_settings_use(out->okta, current->config);
    return true;
}
