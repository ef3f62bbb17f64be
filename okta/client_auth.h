/* SPDX-License-Identifier: Apache-2.0
 *
 * How we prove to Okta who we are (oidc.token_endpoint_auth_method): by the client secret in the Authorization
 * header or in the form, or by a JWT that is signed with our key. Private to okta/. */
#pragma once

#include "base/config.h"
#include "base/secret.h"
#include "base/text.h"
#include "token/jwt.h"

struct client_auth {
    const struct config *config; /* of now: a reload may put an equal one in its place */
    struct secret secret;        /* "Basic …", or the client secret; empty with a key */
    struct jwt_signer *signer;   /* NULL with a secret */
};

/* Reads the file that the config names for its method; the error names the key. */
MUST_CHECK bool client_auth_load(const struct config *config, struct client_auth *out,
                                 struct error *err);
void client_auth_dispose(struct client_auth *self);

/* What one request sends of it. */
struct client_proof {
    h2o_iovec_t authorization; /* {NULL, 0}: none */
    h2o_iovec_t secret;        /* what must not come back in an error's text */
};
/* For the endpoint at url: adds to the form, or sets the header. */
MUST_CHECK bool client_auth_prove(const struct client_auth *self, const char *url,
                                  struct text *form, struct client_proof *out, struct error *err);
/* How many bytes of values client_auth_prove adds to a form at most, before encoding. */
size_t client_auth_longest(const struct client_auth *self);
