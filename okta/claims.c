/* SPDX-License-Identifier: Apache-2.0
 *
 * Mapping claims. Wrong types refuse the whole answer instead of being skipped: a group list that is read
 * halfway would be a wrong fact about a person. */
#include "claims.h"

#include "base/text.h"

/* {NULL, 0}: nowhere. *from is the object that had it. */
static bool find_string(const struct claims_sources *sources, const char *name, h2o_iovec_t *out,
                        const struct json **from, struct error *err)
{
    const struct json *const objects[] = {sources->userinfo, sources->id_token};
    *out = h2o_iovec_init(NULL, 0);
    for (size_t i = 0; i < 2 && out->base == NULL; i++) {
        if (objects[i] == NULL)
            continue;
        if (!json_optional_string(objects[i], name, out, err))
            return false;
        *from = objects[i];
    }
    return true;
}

/* The claim beside the email counts, and only where it is JSON's true. */
static bool is_verified(const struct json *object)
{
    const struct json *verified = json_member(object, "email_verified");
    return verified != NULL && verified->type == JSON_BOOL && verified->boolean;
}

static bool map_attributes(const struct config *config, const struct claims_sources *sources,
                           struct user_claims *out, struct error *err)
{
    for (int i = 0; i < USER_ATTRIBUTES; i++) {
        h2o_iovec_t value;
        const struct json *from = NULL;
        if (config->oidc.claims[i] == NULL)
            continue;
        if (!find_string(sources, config->oidc.claims[i], &value, &from, err))
            return false;
        out->attributes[i] = value.base;
        if (i == USER_EMAIL && value.base != NULL)
            out->email_verified = is_verified(from);
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

static bool judge_subject(const struct json *userinfo, const char *subject, struct error *err)
{
    h2o_iovec_t sub;
    if (!json_string(userinfo, "sub", &sub, err))
        return false;
    if (!iovec_equal(sub, subject))
        return error_set(err, ERROR_REJECTED, "userinfo is somebody else's");
    return true;
}

bool claims_map(h2o_mem_pool_t *pool, const struct config *config,
                const struct claims_sources *sources, struct user_claims *out, struct error *err)
{
    const struct json *userinfo = sources->userinfo;
    struct user_claims mapped = {.uid = text_dup(pool, sources->subject)};
    if ((userinfo != NULL && !judge_subject(userinfo, sources->subject, err)) ||
        !map_attributes(config, sources, &mapped, err) ||
        !map_groups(pool, config->oidc.claim_groups,
                    userinfo != NULL ? userinfo : sources->id_token, &mapped, err))
        return false;
    *out = mapped;
    return true;
}
