/* SPDX-License-Identifier: Apache-2.0
 *
 * Okta's no, in words that a person can act on. */
#pragma once

#include "okta/okta.h"
#include "pages.h"
#include "state.h"

/* What an error code of Okta means: from its redirect (RFC 6749 4.1.2.1, OIDC Core 3.1.2.6) or from its
 * token endpoint. Any code has an answer. */
void refusal_of_code(const char *code, struct trouble *out, enum sign_in_result *result);
/* The same for what okta_sign_in brought back (not OKTA_OK). */
void refusal_of_result(const struct okta_result *result, struct trouble *out,
                       enum sign_in_result *counted);
/* Okta did not answer; for the way there and the way back. */
void refusal_okta_down(struct trouble *out);
