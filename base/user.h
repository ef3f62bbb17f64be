/* SPDX-License-Identifier: Apache-2.0
 *
 * What an identity provider says of a person, in our words: made by okta/, judged by webhook/subject.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/secret.h"

/* The attributes that the config maps claims to (oidc.claims). */
enum user_attribute {
    USER_SUB, /* what the claim that is mapped as "sub" says; the verified sub is kept apart */
    USER_EMAIL,
    USER_GIVEN_NAME,
    USER_FAMILY_NAME,
    USER_DISPLAY_NAME,
    USER_ATTRIBUTES, /* how many there are */
};
const char *
user_attribute_name(enum user_attribute attribute); /* as in the config: "sub", "email", … */

struct user_claims {
    const char *uid;                         /* Okta's verified sub */
    const char *attributes[USER_ATTRIBUTES]; /* NULL where the provider gave none */
    bool email_verified;                     /* the claim was there and true */
    bool groups_present;                     /* a groups claim was there, be it empty */
    const char *const *groups;               /* as the provider names them; may have duplicates */
    size_t group_count;
};

/* What the provider handed out at a sign-in; secrets, kept with the sign-in and sealed in a store. */
struct provider_tokens {
    struct secret access_token;
    int64_t access_expires_wall_ms;
    struct secret refresh_token; /* empty where the provider gave none (no offline_access) */
    struct secret id_token;      /* the last one, for the hint at sign-out */
};
void provider_tokens_dispose(struct provider_tokens *self); /* wipes; accepts a zeroed one */
void provider_tokens_copy(struct provider_tokens *self, const struct provider_tokens *from);
