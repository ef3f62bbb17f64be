/* SPDX-License-Identifier: Apache-2.0
 *
 * The discovery document, judged. Private to okta/. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/error.h"

#define PROVIDER_URL_MAX 1023

struct provider { /* immutable; every URL is https on the issuer's own host */
    char *authorization_endpoint;
    char *token_endpoint;
    char *userinfo_endpoint; /* NULL where the document has none */
    char *jwks_uri;
    char *revocation_endpoint;  /* NULL where the document has none */
    char *end_session_endpoint; /* NULL where the document has none */
};

/* issuer must stand in the document byte for byte. BAD_INPUT otherwise, naming what is wrong. */
MUST_CHECK bool provider_parse(h2o_iovec_t body, const char *issuer, struct provider **out,
                               struct error *err);
void provider_free(struct provider *self); /* accepts NULL */

/* "host" or "host:port" of an https URL without user, fragment or odd characters; {NULL, 0} for anything else. */
h2o_iovec_t provider_authority(const char *url);
