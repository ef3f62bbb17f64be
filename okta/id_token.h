/* SPDX-License-Identifier: Apache-2.0
 *
 * What an id_token's claims must say once its signature is good (OIDC Core 3.1.3.7), private to okta/. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "base/json.h"

#define ID_TOKEN_SKEW_S 120 /* as Okta's own SDKs allow */

struct id_token_rules {
    const char *issuer;
    const char *client_id;
    const char *nonce;        /* NULL: not judged (a refreshed token has none) */
    const char *subject;      /* NULL: any; else sub must be this one */
    h2o_iovec_t access_token; /* that came with it, for at_hash; {NULL, 0}: none */
    int64_t now_s;
};
/* On true, *subject_out is the sub, in the tree. REJECTED otherwise. */
MUST_CHECK bool id_token_judge(const struct json *claims, const struct id_token_rules *rules,
                               const char **subject_out, struct error *err);
/* What the config demands of a sign-in beyond that (OIDC Core 3.1.2.1: max_age, acr_values). */
struct id_token_demands {
    bool fresh;      /* auth_time must be there, and no earlier than begun_s */
    int64_t begun_s; /* when the sign-in began */
    const struct config_strings *acr_values; /* acr must be one of them; empty: any */
};
/* REJECTED otherwise, with a code for page and log. */
MUST_CHECK bool id_token_meets(const struct json *claims, const struct id_token_demands *demands,
                               const char **code, struct error *err);
/* OIDC Core 12.2: the id_token of a refresh is issued for it. One that was issued before asked_s says what was true
 * before. REJECTED otherwise. */
MUST_CHECK bool id_token_is_new(const struct json *claims, int64_t asked_s, struct error *err);
/* 1 to 255 printable ASCII characters without spaces. */
bool subject_acceptable(h2o_iovec_t subject);
