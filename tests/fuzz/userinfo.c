/* SPDX-License-Identifier: Apache-2.0
 *
 * Userinfo, from its JSON to what RBAC would see. Nobody becomes somebody else, gets a name or a group of
 * Kubernetes' own, or one with control characters. */
#include "fuzz.h"

#include "base/config.h"
#include "claims.h"
#include "webhook/subject.h"

#define SUBJECT "00u1abcd2EFGH3ijk4l5"

static const char *const configs[] = {
    /* the mail address names the user */
    "portal:\n  url: https://login.example.test\n  listen: 127.0.0.1:1\n"
    "  tls: {certificate_file: a, key_file: b}\n"
    "oidc: {issuer: 'https://acme.okta.test', client_id: x, client_secret_file: y}\n"
    "users: {username_claim: email, username_prefix: 'okta:', groups_prefix: 'okta:',"
    " groups_include: ['^k8s', 'admins$']}\n"
    "tokens: {keys_directory: k}\nstore: {kind: memory}\n",
    /* no prefixes, and all groups */
    "portal:\n  url: https://login.example.test\n  listen: 127.0.0.1:1\n"
    "  tls: {certificate_file: a, key_file: b}\n"
    "oidc: {issuer: 'https://acme.okta.test', client_id: x, client_secret_file: y}\n"
    "users: {username_claim: sub, username_prefix: '', groups_prefix: ''}\n"
    "tokens: {keys_directory: k}\nstore: {kind: memory}\n",
};
#define CONFIGS (sizeof(configs) / sizeof(configs[0]))

static struct world {
    struct config *config;
    struct subject_rules *rules;
} worlds[CONFIGS];

static void prepare(void)
{
    for (size_t i = 0; i < CONFIGS; i++) {
        h2o_mem_pool_t pool;
        struct config_problems problems = {.count = 0};
        h2o_mem_init_pool(&pool);
        text_init(&problems.text, &pool);
        worlds[i].config =
            config_load_bytes("fuzz.yaml", configs[i], strlen(configs[i]), &problems);
        if (worlds[i].config == NULL)
            fputs(problems.text.bytes, stderr);
        assert(worlds[i].config != NULL);
        h2o_mem_clear_pool(&pool);
        bool good = subject_rules_new(worlds[i].config, &worlds[i].rules, NULL);
        assert(good);
    }
}

static void check_name(const char *name)
{
    size_t len = strlen(name);
    assert(len > 0 && len <= 1024 && utf8_valid(name, len) && strncmp(name, "system:", 7) != 0);
    for (size_t i = 0; i < len; i++) {
        assert((unsigned char)name[i] >= ' ' && name[i] != 0x7f);
        assert((unsigned char)name[i] != 0xc2 || (unsigned char)name[i + 1] >= 0xa0);
    }
}

static bool stands_in(const struct json *userinfo, const char *okta_group)
{
    const struct json *claim = json_member(userinfo, "groups");
    if (claim->type == JSON_STRING)
        return iovec_equal(claim->text, okta_group);
    for (const struct json *entry = claim->first; entry != NULL; entry = entry->next) {
        if (iovec_equal(entry->text, okta_group))
            return true;
    }
    return false;
}

static void check_identity(const struct world *world, const struct json *userinfo,
                           const struct identity *identity)
{
    const char *prefix = world->config->users.groups_prefix;
    assert(strcmp(identity->uid, SUBJECT) == 0);
    assert((identity->username == NULL) != (identity->refusal == NULL));
    if (identity->username != NULL)
        check_name(identity->username);
    assert(identity->group_count <= identity->okta_group_count);
    for (size_t i = 0; i < identity->okta_group_count; i++) {
        check_name(identity->okta_groups[i]);
        assert(stands_in(userinfo, identity->okta_groups[i]));
        assert(i == 0 || strcmp(identity->okta_groups[i - 1], identity->okta_groups[i]) < 0);
    }
    for (size_t i = 0; i < identity->group_count; i++) {
        const char *group = identity->groups[i];
        check_name(group);
        assert(strncmp(group, prefix, strlen(prefix)) == 0);
        assert(identity_in_group(identity, group + strlen(prefix)));
        assert(i == 0 || strcmp(identity->groups[i - 1], group) < 0);
    }
}

static void judge(h2o_mem_pool_t *pool, const struct world *world, const struct json *userinfo)
{
    const struct claims_source source = {SUBJECT, userinfo};
    struct user_claims claims;
    struct error err = {0};
    h2o_iovec_t sub = {NULL, 0};
    if (!claims_map(pool, world->config, &source, &claims, &err)) {
        assert(err.kind == ERROR_BAD_INPUT || err.kind == ERROR_REJECTED);
        fuzz_check_error(&err);
        return;
    }
    bool same = json_string(userinfo, "sub", &sub, NULL) && iovec_equal(sub, SUBJECT);
    assert(same);
    struct identity *identity = subject_map(world->rules, &claims, 1, FUZZ_NOW_MS);
    check_identity(world, userinfo, identity);
    const struct json *verified = json_member(userinfo, "email_verified");
    if (world->config->users.username_claim == USER_EMAIL && identity->username != NULL)
        assert(verified != NULL && verified->type == JSON_BOOL && verified->boolean);
    identity_unref(identity);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    struct json *userinfo;
    if (worlds[0].config == NULL)
        prepare();
    h2o_mem_init_pool(&pool);
    if (json_parse(&pool, h2o_iovec_init(bytes, len), NULL, &userinfo, NULL)) {
        for (size_t i = 0; i < CONFIGS; i++)
            judge(&pool, &worlds[i], userinfo);
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
