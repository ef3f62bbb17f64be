/* SPDX-License-Identifier: Apache-2.0
 *
 * See account.h. */
#include "account.h"

#include "base/text.h"

#define BEARER "Bearer "

static bool load(const char *file, struct secret *out, struct error *err)
{
    if (!secret_load_line(file, out, err))
        return false;
    for (size_t i = 0; i < out->len; i++) {
        if (out->bytes[i] > 0x20 && out->bytes[i] < 0x7f)
            continue;
        secret_dispose(out);
        return error_set(err, ERROR_BAD_INPUT, "%s holds no token", file);
    }
    return true;
}

void account_init(struct account *self, const char *file)
{
    *self = (struct account){.file = file};
    pthread_mutex_init(&self->mutex, NULL);
}

void account_dispose(struct account *self)
{
    secret_dispose(&self->token);
    pthread_mutex_destroy(&self->mutex);
}

bool account_load(struct account *self, struct error *err)
{
    struct secret fresh = {.bytes = NULL};
    if (!load(self->file, &fresh, err))
        return false;
    pthread_mutex_lock(&self->mutex);
    struct secret former = self->token;
    self->token = fresh;
    pthread_mutex_unlock(&self->mutex);
    secret_dispose(&former);
    return true;
}

h2o_iovec_t account_authorization(struct account *self, h2o_mem_pool_t *pool)
{
    h2o_iovec_t made = {NULL, 0};
    pthread_mutex_lock(&self->mutex);
    if (self->token.len != 0) {
        made = secret_alloc_in_pool(pool, sizeof(BEARER) - 1 + self->token.len);
        memcpy(made.base, BEARER, sizeof(BEARER) - 1);
        memcpy(made.base + sizeof(BEARER) - 1, self->token.bytes, self->token.len);
    }
    pthread_mutex_unlock(&self->mutex);
    return made;
}

bool account_check(const char *file, struct error *err)
{
    struct secret token = {.bytes = NULL};
    bool good = load(file, &token, err);
    secret_dispose(&token);
    return good;
}
