/* SPDX-License-Identifier: Apache-2.0
 *
 * An edition: the config with all that is made of it and that requests hold on to while they run. A reload makes
 * a new one; older ones stay until the end, as a request may still be at work with them. They are small, and one
 * is made only where the config, the seal keys, the CAs or the icons differ. */
#pragma once

#include "base/config.h"
#include "base/crypto.h"
#include "portal/portal.h"
#include "proxy/proxy.h"
#include "webhook/webhook.h"

struct edition {
    const struct config *config;
    struct config *own_config; /* NULL: the first one, which is the caller's */
    struct seal_keys *seal_keys;
    struct subject_rules *rules;
    struct portal_authorities *authorities;
    struct portal_icons *icons;
    struct webhook *webhook; /* NULL where the config has none */
    struct portal *portal;   /* the same */
    struct proxy *proxy;     /* the same */
    char *upstream_stamps;   /* of the CA files that proxy has read */
    struct edition *older;
};

/* With the parts that come from the config and its files; the error names the file or the key. former (may be
 * NULL) is the one of now: seal keys that are in no file are taken on from it. */
MUST_CHECK bool edition_new(const struct config *config, const struct edition *former,
                            struct edition **out, struct error *err);
void edition_free(struct edition *self); /* with all older ones; accepts NULL */
/* The same config, written as config_print does, the same keys, CAs and icons. (Tokens of service accounts come and
 * go: proxy_reload_files.) */
bool edition_equal(const struct edition *a, const struct edition *b);
