/* SPDX-License-Identifier: Apache-2.0
 *
 * The profile: who Okta says that this is, which groups RBAC sees and since when that is known, and how long
 * the sign-in lasts. The page to look at when kubectl says "forbidden". */
#include "handlers.h"

#include "base/text.h"
#include "visit.h"
#include "words.h"

struct attribute {
    const char *label, *value; /* a value NULL or "" is left out */
    bool code;                 /* something to compare and copy */
};

static void add_attribute(h2o_mem_pool_t *pool, struct json *list,
                          const struct attribute *attribute)
{
    if (attribute->value == NULL || attribute->value[0] == '\0')
        return;
    struct json *entry = json_push_object(pool, list);
    json_add_string(pool, entry, "label", attribute->label);
    json_add_string(pool, entry, "value", attribute->value);
    json_add_bool(pool, entry, "code", attribute->code);
}

/* What the config maps as "sub" is shown only where it is another one than the user id. */
static void add_attributes(h2o_mem_pool_t *pool, struct json *model,
                           const struct identity *identity)
{
    const char *const *values = identity->attributes;
    const char *sub = values[USER_SUB];
    const struct attribute attributes[] = {
        {"Name", values[USER_DISPLAY_NAME], false},
        {"Given name", values[USER_GIVEN_NAME], false},
        {"Family name", values[USER_FAMILY_NAME], false},
        {"Email", values[USER_EMAIL], false},
        {"Subject", sub != NULL && strcmp(sub, identity->uid) != 0 ? sub : NULL, true},
        {"Okta user id", identity->uid, true},
        {"Username in clusters", identity->username, true},
    };
    struct json *list = json_add_array(pool, model, "attributes");
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
        add_attribute(pool, list, &attributes[i]);
    json_add_string(pool, model, "refusal", identity->refusal);
}

static void explain_groups(h2o_mem_pool_t *pool, struct json *model, const struct config *config,
                           const struct identity *identity)
{
    int64_t unused = (int64_t)identity->groups_unused;
    json_add_bool(pool, model, "suspicious", identity->groups_suspicious);
    if (!identity->groups_present)
        json_add_string(
            pool, model, "none",
            text_format(pool,
                        "Okta sent no groups claim%s, so clusters see you without any group. If "
                        "you do have groups in Okta, whoever runs Postern should look at the "
                        "groups claim of its app there.",
                        config->oidc.user_in_idtoken ? " in the id_token, which is where this "
                                                       "portal reads groups from"
                                                     : ""));
    else if (identity->group_count == 0)
        json_add_string(pool, model, "none", "None. Clusters see you, but without any Okta group.");
    if (unused > 0)
        json_add_string(
            pool, model, "unused",
            text_format(pool, "%s %s not used here.",
                        words_count(pool, unused,
                                    identity->group_count > 0 ? "more Okta group" : "Okta group"),
                        unused == 1 ? "is" : "are"));
}

struct json *profile_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                           const struct config *config, const struct identity *identity,
                           const struct session_login *login, int64_t now_ms)
{
    struct json *model = page_new(pool, frame, "Profile", now_ms);
    const char *name = identity->attributes[USER_DISPLAY_NAME];
    page_add_person(pool, model, identity);
    json_add_bool(pool, model, "at_profile", true);
    json_add_string(pool, model, "title", name != NULL && name[0] != '\0' ? name : "Your profile");
    add_attributes(pool, model, identity);
    page_add_groups(pool, model, identity->groups, identity->group_count);
    page_add_time(pool, model, "learned", identity->learned_wall_ms, now_ms);
    explain_groups(pool, model, config, identity);
    page_add_time(pool, model, "created", login->created_ms, now_ms);
    page_add_time(pool, model, "idle_ends", login->idle_ends_ms, now_ms);
    page_add_time(pool, model, "ends", login->ends_ms, now_ms);
    json_add_string(pool, model, "address", login->address);
    json_add_string(pool, model, "kubeconfig_idle",
                    words_duration(pool, config->portal.session_kubeconfig_idle_ms));
    return model;
}

static void show(struct visit *visit)
{
    const struct portal *portal = visit->portal;
    visit_send(visit, "profile.html",
               profile_model(&visit->req->pool, &portal->frame, portal->parts.config,
                             visit->identity, &visit->login, visit->now_ms));
}

int profile(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)rest;
    return visit_start(ctx, req, show, NULL);
}
