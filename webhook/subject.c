/* SPDX-License-Identifier: Apache-2.0
 *
 * From what Okta says of a person to what RBAC sees. The hard filters, which no config can switch off, are one
 * function, and every name that leaves this file has passed it: once as Okta's name and once behind its
 * prefix. The API server itself filters nothing: it takes an empty user name, and makes whoever comes with
 * the group system:masters an administrator. */
#include "webhook/subject.h"

#include <assert.h>
#include <regex.h>

#include "base/text.h"

#define MAX_NAME   1024  /* bytes, with its prefix */
#define MAX_GROUPS 10000 /* that RBAC sees of one person */
#define OKTA_GROUPS_LIMIT                                                                          \
    100 /* where Okta cuts the claim: exactly so many may be fewer than there are */

struct subject_rules {
    h2o_mem_pool_t pool; /* of the strings */
    enum user_attribute username_claim;
    char *username_prefix;
    char *groups_prefix;
    regex_t *include; /* none: all groups */
    size_t include_count;
};

bool subject_rules_new(const struct config *config, struct subject_rules **out, struct error *err)
{
    const struct config_strings *include = &config->users.groups_include;
    struct subject_rules *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct subject_rules){.username_claim = config->users.username_claim};
    h2o_mem_init_pool(&self->pool);
    self->username_prefix = text_dup(&self->pool, config->users.username_prefix);
    self->groups_prefix = text_dup(&self->pool, config->users.groups_prefix);
    self->include = h2o_mem_alloc_pool(&self->pool, (include->count + 1) * sizeof(regex_t));
    for (; self->include_count < include->count; self->include_count++) {
        const char *expression = include->entries[self->include_count];
        if (regcomp(&self->include[self->include_count], expression, REG_EXTENDED | REG_NOSUB) == 0)
            continue;
        error_set(err, ERROR_BAD_INPUT, "users.groups_include: \"%s\" does not compile",
                  expression);
        subject_rules_free(self);
        return false;
    }
    *out = self;
    return true;
}

void subject_rules_free(struct subject_rules *self)
{
    if (self == NULL)
        return;
    for (size_t i = 0; i < self->include_count; i++)
        regfree(&self->include[i]);
    h2o_mem_clear_pool(&self->pool);
    free(self);
}

/* ---- the hard filters ---- */

/* Unicode's Bidi_Control: they turn the order in which the rest is read, so that one name looks like another. */
static bool is_direction_mark(const unsigned char *c)
{
    if (c[0] == 0xd8)
        return c[1] == 0x9c; /* U+061C */
    if (c[0] == 0xe2 && c[1] == 0x80)
        return c[2] == 0x8e || c[2] == 0x8f                              /* U+200E, U+200F */
               || (c[2] >= 0xaa && c[2] <= 0xae);                        /* U+202A to U+202E */
    return c[0] == 0xe2 && c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9; /* U+2066 to U+2069 */
}

/* name is valid UTF-8. */
static bool has_direction_mark(const char *name)
{
    for (; *name != '\0'; name++) {
        if (is_direction_mark((const unsigned char *)name))
            return true;
    }
    return false;
}

/* Why a name may not be; NULL when it may. */
static const char *name_problem(const char *name)
{
    size_t len = strlen(name);
    if (len == 0)
        return "is empty";
    if (len > MAX_NAME)
        return "is too long";
    if (!utf8_valid(name, len))
        return "is not valid UTF-8";
    if (text_has_control(h2o_iovec_init(name, len)))
        return "has control characters";
    if (has_direction_mark(name))
        return "has characters that turn the direction of writing";
    if (strncmp(name, "system:", 7) == 0)
        return "begins with \"system:\", which belongs to Kubernetes";
    return NULL;
}

/* ---- username ---- */

/* Exactly one '@': "admin@example.com@evil.example" is nobody's address, and looks like somebody's. */
static bool is_plain_address(const char *email)
{
    const char *at = strchr(email, '@');
    return at != NULL && strchr(at + 1, '@') == NULL;
}

static void map_username(h2o_mem_pool_t *pool, const struct subject_rules *rules,
                         const struct user_claims *claims, struct identity *out)
{
    const char *raw = claims->attributes[rules->username_claim];
    const char *what = user_attribute_name(rules->username_claim);
    if (raw == NULL) {
        out->refusal = text_format(pool, "Okta sent no %s", what);
        return;
    }
    const char *name = text_format(pool, "%s%s", rules->username_prefix, raw);
    const char *problem = name_problem(raw);
    if (problem == NULL)
        problem = name_problem(name);
    if (problem == NULL && rules->username_claim == USER_EMAIL) {
        if (!claims->email_verified)
            problem = "is not verified at Okta";
        else if (!is_plain_address(raw))
            problem = "is no plain e-mail address";
    }
    if (problem == NULL)
        out->username = name;
    else
        out->refusal = text_format(pool, "the %s that Okta sent %s", what, problem);
}

/* ---- groups ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts, so that the same groups in another order are the same answer; returns how many are left. */
static size_t sort_unique(const char **names, size_t count)
{
    size_t kept = 0;
    if (count == 0)
        return 0;
    qsort(names, count, sizeof(*names), compare_names);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(names[kept], names[i]) != 0)
            names[++kept] = names[i];
    }
    return kept + 1;
}

static bool is_included(const struct subject_rules *rules, const char *okta_group)
{
    for (size_t i = 0; i < rules->include_count; i++) {
        if (regexec(&rules->include[i], okta_group, 0, NULL, 0) == 0)
            return true;
    }
    return rules->include_count == 0;
}

static void map_groups(h2o_mem_pool_t *pool, const struct subject_rules *rules,
                       const struct user_claims *claims, struct identity *out)
{
    size_t size = (claims->group_count + 1) * sizeof(char *);
    const char **all = h2o_mem_alloc_pool(pool, size);
    const char **okta = h2o_mem_alloc_pool(pool, size), **groups = h2o_mem_alloc_pool(pool, size);
    size_t okta_count = 0, count = 0;
    if (claims->group_count != 0)
        memcpy(all, claims->groups, claims->group_count * sizeof(*all));
    size_t all_count = sort_unique(all, claims->group_count);
    for (size_t i = 0; i < all_count; i++) {
        if (name_problem(all[i]) != NULL)
            continue;
        okta[okta_count++] = all[i];
        if (count == MAX_GROUPS || !is_included(rules, all[i]))
            continue;
        const char *name = text_format(pool, "%s%s", rules->groups_prefix, all[i]);
        if (name_problem(name) == NULL)
            groups[count++] = name;
    }
    out->okta_groups = okta;
    out->okta_group_count = okta_count;
    out->groups = groups;
    out->group_count = count;
    out->groups_unused = all_count - count;
    out->groups_suspicious = claims->group_count == OKTA_GROUPS_LIMIT || count == MAX_GROUPS;
}

struct identity *subject_map(const struct subject_rules *rules, const struct user_claims *claims,
                             int64_t asked_mono_ms, int64_t asked_wall_ms)
{
    h2o_mem_pool_t pool;
    struct identity draft = {.uid = claims->uid,
                             .email_verified = claims->email_verified,
                             .groups_present = claims->groups_present,
                             .learned_mono_ms = asked_mono_ms,
                             .learned_wall_ms = asked_wall_ms};
    h2o_mem_init_pool(&pool);
    memcpy(draft.attributes, claims->attributes, sizeof(draft.attributes));
    map_username(&pool, rules, claims, &draft);
    map_groups(&pool, rules, claims, &draft);
    assert((draft.username == NULL) != (draft.refusal == NULL));
    struct identity *identity = identity_new(&draft);
    h2o_mem_clear_pool(&pool);
    return identity;
}

struct identity *subject_remap(const struct subject_rules *rules, const struct identity *known)
{
    h2o_mem_pool_t pool;
    struct identity draft = *known;
    struct user_claims claims = {.email_verified = known->email_verified,
                                 .groups = known->okta_groups,
                                 .group_count = known->okta_group_count};
    /* those that may never be are not among okta_groups any more */
    size_t refused = known->groups_unused + known->group_count - known->okta_group_count;
    h2o_mem_init_pool(&pool);
    memcpy(claims.attributes, known->attributes, sizeof(claims.attributes));
    draft.username = draft.refusal = NULL;
    map_username(&pool, rules, &claims, &draft);
    map_groups(&pool, rules, &claims, &draft);
    draft.groups_unused += refused;
    draft.groups_suspicious = draft.groups_suspicious || known->groups_suspicious;
    struct identity *identity = identity_new(&draft);
    h2o_mem_clear_pool(&pool);
    return identity;
}

/* ---- who may ---- */

bool subject_in_any(const struct config_strings *groups, const struct identity *identity)
{
    for (unsigned i = 0; i < groups->count; i++) {
        if (identity_in_group(identity, groups->entries[i]))
            return true;
    }
    return groups->count == 0;
}

bool subject_may_sign_in(const struct config *config, const struct identity *identity)
{
    return identity->username != NULL && subject_in_any(&config->users.allowed_groups, identity);
}

bool subject_may_use(const struct config *config, const struct config_cluster *cluster,
                     const struct identity *identity)
{
    return subject_may_sign_in(config, identity) &&
           subject_in_any(&cluster->allowed_groups, identity);
}
