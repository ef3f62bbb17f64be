/* SPDX-License-Identifier: Apache-2.0
 *
 * Mapping claims. Wrong types refuse the whole answer instead of being skipped: a group list that is read
 * halfway would be a wrong fact about a person. */
#include "claims.h"

#include "base/text.h"

/* The claim beside the email counts, and only where it is JSON's true. */
static bool is_verified(const struct json *object)
{
    const struct json *verified = json_member(object, "email_verified");
    return verified != NULL && verified->type == JSON_BOOL && verified->boolean;
}

static bool map_attributes(const struct config *config, const struct json *object,
                           struct user_claims *out, struct error *err)
{
    for (int i = 0; i < USER_ATTRIBUTES; i++) {
        h2o_iovec_t value = {NULL, 0};
        if (config->oidc.claims[i] == NULL)
            continue;
        if (!json_optional_string(object, config->oidc.claims[i], &value, err))
            return false;
        out->attributes[i] = value.base;
        if (i == USER_EMAIL && value.base != NULL)
            out->email_verified = is_verified(object);
    }
    return true;
}

static bool map_group_list(h2o_mem_pool_t *pool, const struct json *list, struct user_claims *out,
                           struct error *err)
{
    const char **groups = h2o_mem_alloc_pool(pool, (list->count + 1) * sizeof(*groups));
    size_t count = 0;
    for (const struct json *entry = list->first; entry != NULL; entry = entry->next) {
        if (entry->type != JSON_STRING)
            return error_set(err, ERROR_BAD_INPUT,
                             "the groups claim holds something else than names");
        groups[count++] = entry->text.base;
    }
    out->groups = groups;
    out->group_count = count;
    return true;
}

/* An array of names; one string (a custom claim's expression may give that) is one name. */
static bool map_groups(h2o_mem_pool_t *pool, const char *name, const struct json *object,
                       struct user_claims *out, struct error *err)
{
    const struct json *claim = name != NULL ? json_member(object, name) : NULL;
    if (claim == NULL || claim->type == JSON_NULL)
        return true;
    out->groups_present = true;
    if (claim->type == JSON_ARRAY)
        return map_group_list(pool, claim, out, err);
    if (claim->type != JSON_STRING)
        return error_set(err, ERROR_BAD_INPUT, "the groups claim is no list of names");
    const char **groups = h2o_mem_alloc_pool(pool, sizeof(*groups));
    groups[0] = claim->text.base;
    out->groups = groups;
    out->group_count = 1;
    return true;
}

static bool judge_subject(const struct json *object, const char *subject, struct error *err)
{
    h2o_iovec_t sub;
    if (!json_string(object, "sub", &sub, err))
        return false;
    if (!iovec_equal(sub, subject))
        return error_set(err, ERROR_REJECTED, "sub is somebody else's");
    return true;
}

bool claims_map(h2o_mem_pool_t *pool, const struct config *config,
                const struct claims_source *source, struct user_claims *out, struct error *err)
{
    struct user_claims mapped = {.uid = text_dup(pool, source->subject)};
    if (!judge_subject(source->object, source->subject, err) ||
        !map_attributes(config, source->object, &mapped, err) ||
        !map_groups(pool, config->oidc.claim_groups, source->object, &mapped, err))
        return false;
    *out = mapped;
    return true;
}
