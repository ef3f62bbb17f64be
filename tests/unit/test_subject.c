/* SPDX-License-Identifier: Apache-2.0
 *
 * Which names RBAC gets to see: the tables in tests/data/subject, and what does not fit into a table. */
#include "tsv.h"

#include "base/text.h"
#include "webhook/subject.h"

static struct subject_rules *rules_of(struct config *config)
{
    struct subject_rules *rules = NULL;
    struct error err = {.kind = ERROR_NONE};
    static char nothing[] = "";
    if (config->users.username_prefix == NULL)
        config->users.username_prefix = nothing;
    if (config->users.groups_prefix == NULL)
        config->users.groups_prefix = nothing;
    if (!subject_rules_new(config, &rules, &err))
        fail_msg("%s", err.text);
    return rules;
}

static void same_or_null(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        assert_true(a == b);
    else
        assert_string_equal(a, b);
}

/* A reload: facts that were mapped by other rules become what these rules would have made of them. */
static void check_remap(const struct subject_rules *rules, const struct user_claims *claims,
                        const struct identity *wanted)
{
    static char prefix[] = "other:", expression[] = "^[a-m]", *expressions[] = {expression};
    struct config config = {.users = {.username_claim = USER_DISPLAY_NAME,
                                      .username_prefix = prefix,
                                      .groups_include = {expressions, 1},
                                      .groups_prefix = prefix}};
    struct subject_rules *others = rules_of(&config);
    struct identity *before = subject_map(others, claims, 1000, 2000);
    struct identity *after = subject_remap(rules, before);
    same_or_null(after->username, wanted->username);
    same_or_null(after->refusal, wanted->refusal);
    same_or_null(after->uid, wanted->uid);
    assert_int_equal(after->group_count, wanted->group_count);
    for (size_t i = 0; i < wanted->group_count; i++)
        assert_string_equal(after->groups[i], wanted->groups[i]);
    assert_int_equal(after->okta_group_count, wanted->okta_group_count);
    assert_int_equal(after->groups_unused, wanted->groups_unused);
    assert_int_equal(after->groups_present, wanted->groups_present);
    assert_int_equal(after->groups_suspicious, wanted->groups_suspicious);
    assert_int_equal(after->learned_mono_ms, 1000);
    assert_int_equal(after->learned_wall_ms, 2000);
    identity_unref(before);
    identity_unref(after);
    subject_rules_free(others);
}

static struct identity *map(struct config *config, const struct user_claims *claims)
{
    struct subject_rules *rules = rules_of(config);
    struct identity *identity = subject_map(rules, claims, 1000, 2000);
    check_remap(rules, claims, identity);
    subject_rules_free(rules);
    return identity;
}

static enum user_attribute attribute_of(const char *name)
{
    for (unsigned i = 0; i < USER_ATTRIBUTES; i++) {
        if (strcmp(user_attribute_name(i), name) == 0)
            return i;
    }
    fail_msg("no attribute %s", name);
    return USER_ATTRIBUTES;
}

static void same_text(const struct tsv_row *row, const char *is, const char *wanted)
{
    if ((is == NULL) != (wanted == NULL) || (is != NULL && strcmp(is, wanted) != 0))
        fail_msg("line %u, %s: \"%s\" instead of \"%s\"", row->line, row->fields[0],
                 is == NULL ? "nothing" : is, wanted == NULL ? "nothing" : wanted);
}

/* ---- usernames ---- */

enum { USER_WHAT, USER_CLAIM, USER_PREFIX, USER_SENT, USER_VERIFIED, USER_NAME, USER_REFUSAL };

static void username_row(const struct tsv_row *row)
{
    char prefix[64], sent[2048], name[2048];
    struct config config = {.path = NULL};
    struct user_claims claims = {.uid = "00u1", .groups_present = true};
    enum user_attribute claim = attribute_of(row->fields[USER_CLAIM]);
    assert_non_null(tsv_text(row->fields[USER_PREFIX], prefix, sizeof(prefix)));
    config.users.username_claim = claim;
    config.users.username_prefix = prefix;
    claims.attributes[claim] = tsv_text(row->fields[USER_SENT], sent, sizeof(sent));
    claims.email_verified = strcmp(row->fields[USER_VERIFIED], "yes") == 0;
    struct identity *identity = map(&config, &claims);
    same_text(row, identity->username, tsv_text(row->fields[USER_NAME], name, sizeof(name)));
    same_text(row, identity->refusal, tsv_text(row->fields[USER_REFUSAL], name, sizeof(name)));
    same_text(row, identity->uid, "00u1");
    identity_unref(identity);
}

static void test_usernames(void **state)
{
    (void)state;
    tsv_each("subject/usernames.tsv", username_row);
}

/* ---- groups ---- */

enum { GROUP_WHAT, GROUP_PREFIX, GROUP_INCLUDE, GROUP_SENT, GROUP_OKTA, GROUP_NAMES, GROUP_UNUSED };

static void same_names(const struct tsv_row *row, const char *const *is, size_t count,
                       const char *wanted)
{
    struct tsv_list list;
    tsv_list(wanted, &list);
    for (size_t i = 0; i < count && i < list.count; i++)
        same_text(row, is[i], list.entries[i]);
    if (count != list.count)
        fail_msg("line %u, %s: %zu names instead of %zu", row->line, row->fields[0], count,
                 list.count);
}

static void group_row(const struct tsv_row *row)
{
    char prefix[64];
    struct tsv_list include, sent;
    struct config config = {.path = NULL};
    tsv_list(row->fields[GROUP_INCLUDE], &include);
    tsv_list(row->fields[GROUP_SENT], &sent);
    char *expressions[64];
    for (size_t i = 0; i < include.count; i++)
        expressions[i] = strdup(include.entries[i]);
    assert_non_null(tsv_text(row->fields[GROUP_PREFIX], prefix, sizeof(prefix)));
    config.users.groups_prefix = prefix;
    config.users.groups_include = (struct config_strings){expressions, (unsigned)include.count};
    struct user_claims claims = {.uid = "00u1",
                                 .attributes = {"00u1"},
                                 .groups_present = true,
                                 .groups = sent.entries,
                                 .group_count = sent.count};
    struct identity *identity = map(&config, &claims);
    same_names(row, identity->okta_groups, identity->okta_group_count, row->fields[GROUP_OKTA]);
    same_names(row, identity->groups, identity->group_count, row->fields[GROUP_NAMES]);
    assert_int_equal(identity->groups_unused, atoll(row->fields[GROUP_UNUSED]));
    assert_false(identity->groups_suspicious);
    identity_unref(identity);
    for (size_t i = 0; i < include.count; i++)
        free(expressions[i]);
}

static void test_groups(void **state)
{
    (void)state;
    tsv_each("subject/groups.tsv", group_row);
}

/* n groups, named so that their order by name is their order. */
static struct identity *with_groups(size_t count)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    const char **names = h2o_mem_alloc_pool(&pool, (count + 1) * sizeof(*names));
    for (size_t i = 0; i < count; i++)
        names[i] = text_format(&pool, "g%06zu", i);
    struct config config = {.path = NULL};
    struct user_claims claims = {.uid = "00u1",
                                 .attributes = {"00u1"},
                                 .groups_present = true,
                                 .groups = names,
                                 .group_count = count};
    struct identity *identity = map(&config, &claims);
    h2o_mem_clear_pool(&pool);
    return identity;
}

/* Exactly 100 are used, and flagged: Okta may have cut them. None are lost up to the bound, and beyond it
 * the loss is flagged and counted (peers 17). */
static void test_many_groups(void **state)
{
    (void)state;
    static const struct {
        size_t sent, used;
        bool suspicious;
    } table[] = {{0, 0, false},       {1, 1, false},        {99, 99, false},
                 {100, 100, true},    {101, 101, false},    {300, 300, false},
                 {9999, 9999, false}, {10000, 10000, true}, {10001, 10000, true}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct identity *identity = with_groups(table[i].sent);
        assert_int_equal(identity->group_count, table[i].used);
        assert_int_equal(identity->okta_group_count, table[i].sent);
        assert_int_equal(identity->groups_unused, table[i].sent - table[i].used);
        assert_int_equal(identity->groups_suspicious, table[i].suspicious);
        identity_unref(identity);
    }
}

static void test_the_rest_is_kept(void **state)
{
    (void)state;
    struct config config = {.path = NULL};
    struct user_claims claims = {.uid = "00u1", .groups_present = false};
    claims.attributes[USER_SUB] = "ada";
    claims.attributes[USER_EMAIL] = "ada@example.test";
    claims.attributes[USER_DISPLAY_NAME] = "Ada \n Lovelace";
    struct identity *identity = map(&config, &claims);
    assert_string_equal(identity->username, "ada");
    assert_string_equal(identity->uid, "00u1");
    assert_string_equal(identity->attributes[USER_EMAIL], "ada@example.test");
    assert_string_equal(identity->attributes[USER_DISPLAY_NAME], "Ada \n Lovelace");
    assert_null(identity->attributes[USER_GIVEN_NAME]);
    assert_false(identity->groups_present);
    assert_int_equal(identity->group_count, 0);
    assert_int_equal(identity->learned_mono_ms, 1000);
    assert_int_equal(identity->learned_wall_ms, 2000);
    identity_unref(identity);
}

static void test_bad_expression(void **state)
{
    (void)state;
    char good[] = "^k8s-", bad[] = "(", nothing[] = "";
    char *expressions[] = {good, bad};
    struct config config = {.path = NULL};
    struct subject_rules *rules = NULL;
    struct error err = {.kind = ERROR_NONE};
    config.users.username_prefix = config.users.groups_prefix = nothing;
    config.users.groups_include = (struct config_strings){expressions, 2};
    assert_false(subject_rules_new(&config, &rules, &err));
    assert_null(rules);
    assert_string_equal(err.text, "users.groups_include: \"(\" does not compile");
    subject_rules_free(NULL);
}

/* ---- who may ---- */

static void test_who_may(void **state)
{
    (void)state;
    char admins[] = "k8s-admins", devs[] = "k8s-devs", hidden[] = "staff";
    char *one[] = {admins}, *two[] = {devs, admins}, *outside[] = {hidden};
    const struct config_strings all = {NULL, 0}, only_admins = {one, 1}, either = {two, 2},
                                staff = {outside, 1};
    static const char *const mine[] = {"k8s-devs", "staff"};
    struct user_claims claims = {.uid = "00u1",
                                 .attributes = {"00u1"},
                                 .groups_present = true,
                                 .groups = mine,
                                 .group_count = 2};
    char expression[] = "^k8s-", prefix[] = "okta:";
    char *include[] = {expression};
    struct config config = {.path = NULL};
    struct config_cluster cluster = {.name = NULL};
    config.users.groups_include = (struct config_strings){include, 1};
    config.users.groups_prefix = prefix;
    struct identity *identity = map(&config, &claims);
    struct {
        struct config_strings users, cluster;
        bool sign_in, use;
    } table[] = {{all, all, true, true},           {all, only_admins, true, false},
                 {all, either, true, true},        {only_admins, all, false, false},
                 {either, either, true, true},     {only_admins, either, false, false},
                 {staff, staff, true, true}, /* Okta's names, whatever RBAC sees of them */
                 {staff, only_admins, true, false}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        config.users.allowed_groups = table[i].users;
        cluster.allowed_groups = table[i].cluster;
        assert_int_equal(subject_may_sign_in(&config, identity), table[i].sign_in);
        assert_int_equal(subject_may_use(&config, &cluster, identity), table[i].use);
    }
    identity_unref(identity);

    claims.attributes[USER_SUB] = "system:admin"; /* a refused username may use nothing */
    config.users.allowed_groups = cluster.allowed_groups = all;
    identity = map(&config, &claims);
    assert_false(subject_may_sign_in(&config, identity));
    assert_false(subject_may_use(&config, &cluster, identity));
    identity_unref(identity);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usernames),      cmocka_unit_test(test_groups),
        cmocka_unit_test(test_many_groups),    cmocka_unit_test(test_the_rest_is_kept),
        cmocka_unit_test(test_bad_expression), cmocka_unit_test(test_who_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
