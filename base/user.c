/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of the user attributes, and the provider's tokens' life. */
#include "base/user.h"

#include <assert.h>

const char *user_attribute_name(enum user_attribute attribute)
{
    static const char *const names[USER_ATTRIBUTES] = {
        [USER_SUB] = "sub",
        [USER_EMAIL] = "email",
        [USER_GIVEN_NAME] = "given_name",
        [USER_FAMILY_NAME] = "family_name",
        [USER_DISPLAY_NAME] = "display_name",
    };
    assert(attribute < USER_ATTRIBUTES);
    return names[attribute];
}

void provider_tokens_dispose(struct provider_tokens *self)
{
    secret_dispose(&self->access_token);
    secret_dispose(&self->refresh_token);
    secret_dispose(&self->id_token);
    self->access_expires_wall_ms = 0;
}

void provider_tokens_copy(struct provider_tokens *self, const struct provider_tokens *from)
{
    secret_copy(&self->access_token, &from->access_token);
    secret_copy(&self->refresh_token, &from->refresh_token);
    secret_copy(&self->id_token, &from->id_token);
    self->access_expires_wall_ms = from->access_expires_wall_ms;
}
