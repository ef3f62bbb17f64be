/* SPDX-License-Identifier: Apache-2.0
 *
 * A sign-in with a person: in the browser of this computer, or with a code on another device. Both end with tokens, an error,
 * or after some minutes. */
#pragma once

#include "issuer.h"
#include "options.h"

/* The longest that either takes. */
#define SIGN_IN_MAX_MS (10 * 60 * INT64_C(1000))

struct sign_in { /* borrowed */
    h2o_mem_pool_t *pool;
    const struct login_options *options;
    struct issuer *issuer;
};
MUST_CHECK bool login_sign_in(const struct sign_in *self, struct login_tokens *out,
                              struct error *err);
/* The second way alone (RFC 8628). */
MUST_CHECK bool login_device(const struct sign_in *self, struct login_tokens *out,
                             struct error *err);
