/* SPDX-License-Identifier: Apache-2.0
 *
 * The first half of a reload: reads the config and its files anew and judges all of it, beside what runs. */
#pragma once

#include "edition.h"
#include "okta/okta.h"
#include "tls.h"

struct renewal {
    struct config
        *config; /* as it was read; NULL where it can't be. Not of a success: the edition owns it */
    struct edition *edition;    /* NULL: config, seal keys and CAs are those of now */
    SSL_CTX *webhook_tls;       /* NULL where the config has none */
    SSL_CTX *portal_tls;        /* the same */
    SSL_CTX *proxy_tls;         /* the same */
    struct okta_settings *okta; /* with the edition's config, or that of now */
    char *stamps;               /* of the files, from before they were read; never NULL */
};

/* False: every complaint is in problems, and nothing but config and stamps is there. Owned by the caller either
 * way; what is taken out must be set to NULL. */
MUST_CHECK bool renewal_load(const struct edition *current, struct renewal *out,
                             struct config_problems *problems);
void renewal_dispose(struct renewal *self);
