/* SPDX-License-Identifier: Apache-2.0
 *
 * The home page: what this person may use, and nothing else (an app of a cluster beside it); where that is nothing, what
 * would change it. */
#include "handlers.h"

#include "apps.h"
#include "base/text.h"
#include "http/web.h"
#include "icons.h"
#include "visit.h"
#include "words.h"

#define MAX_GROUPS_NAMED 20

/* ---- nothing to use ---- */

struct named_groups { /* without duplicates */
    const char *groups[MAX_GROUPS_NAMED];
    size_t count;
};

static void name_groups(struct named_groups *self, const struct config_strings *groups)
{
    for (unsigned i = 0; i < groups->count; i++) {
        size_t at = 0;
        while (at < self->count && strcmp(self->groups[at], groups->entries[i]) != 0)
            at++;
        if (at == self->count && at < MAX_GROUPS_NAMED)
            self->groups[self->count++] = groups->entries[i];
    }
}

/* A person who may not sign in any more lacks one of users.allowed_groups; else the clusters' groups do it, or those of
 * apps without one. */
static void name_missing_groups(struct named_groups *self, const struct config *config,
                                const struct identity *identity)
{
    if (!subject_may_sign_in(config, identity)) {
        name_groups(self, &config->users.allowed_groups);
        return;
    }
    for (unsigned i = 0; i < config->cluster_count; i++)
        name_groups(self, &config->clusters[i].allowed_groups);
    for (unsigned i = 0; i < config->proxy.app_count; i++)
        if (config->proxy.apps[i].cluster == NULL)
            name_groups(self, &config->proxy.apps[i].allowed_groups);
}

static void explain_nothing(h2o_mem_pool_t *pool, struct json *model, const struct config *config,
                            const struct identity *identity)
{
    struct json *nothing = json_add_object(pool, model, "nothing");
    struct named_groups named = {.count = 0};
    bool any_app = config->proxy.app_count != 0;
    if (config->cluster_count == 0 && !any_app) {
        json_add_string(pool, nothing, "title", "No cluster yet");
        json_add_string(pool, nothing, "what", "Postern runs, but its config names no cluster.");
        json_add_string(pool, nothing, "todo",
                        "Whoever runs Postern adds them under \"clusters\" in its config.");
    } else if (identity->username == NULL) {
        json_add_string(pool, nothing, "title",
                        any_app ? "You can't use anything here" : "You can't use a cluster");
        json_add_string(
            pool, nothing, "what",
            text_format(pool, "Kubernetes can't have your username: %s.", identity->refusal));
        json_add_string(pool, nothing, "todo", "Ask your Okta administrator to change that.");
    } else {
        name_missing_groups(&named, config, identity);
        json_add_string(pool, nothing, "title",
                        any_app ? "Nothing here is open to you yet"
                                : "No cluster is open to you yet");
        json_add_string(
            pool, nothing, "what",
            any_app ? "You are signed in, but none of your Okta groups opens a cluster or an "
                      "app here. Each of these opens one or more:"
                    : "You are signed in, but none of your Okta groups opens a cluster "
                      "here. Each of these opens one or more:");
        json_add_string(pool, nothing, "todo",
                        "Ask your Okta administrator to add you to the right one, then load this "
                        "page again: it takes about a minute until the change is seen here.");
    }
    page_add_groups(pool, nothing, named.groups, named.count);
}

/* ---- something ---- */

struct shown { /* what the page is made of */
    h2o_mem_pool_t *pool;
    const struct page_frame *frame;
    const struct config *config;
    const struct identity *identity;
};

/* Those of that cluster; NULL: those that are of none. */
static bool add_apps(const struct shown *shown, struct json *out, const char *key,
                     const struct config_cluster *cluster)
{
    const struct config *config = shown->config;
    struct json *list = json_add_array(shown->pool, out, key);
    for (unsigned i = 0; i < config->proxy.app_count; i++) {
        const struct config_app *app = &config->proxy.apps[i];
        if (config_app_cluster(config, app) != cluster ||
            !apps_may_use(config, app, shown->identity))
            continue;
        struct json *entry = json_push_object(shown->pool, list);
        json_add_string(shown->pool, entry, "label", app->label);
        json_add_string(shown->pool, entry, "url", app->url);
        json_add_string(shown->pool, entry, "image", icons_path(shown->frame->icons, i));
    }
    return list->count > 0;
}

static bool add_clusters(const struct shown *shown, struct json *model)
{
    h2o_mem_pool_t *pool = shown->pool;
    const struct config *config = shown->config;
    struct json *clusters = json_add_array(pool, model, "clusters");
    for (unsigned i = 0; i < config->cluster_count; i++) {
        const struct config_cluster *cluster = &config->clusters[i];
        if (!subject_may_use(config, cluster, shown->identity))
            continue;
        struct json *entry = json_push_object(pool, clusters);
        json_add_string(pool, entry, "name", cluster->name);
        json_add_string(pool, entry, "server", config_cluster_address(cluster));
        json_add_bool(pool, entry, "any_badge", add_apps(shown, entry, "badges", cluster));
    }
    return clusters->count > 0;
}

static void add_links(h2o_mem_pool_t *pool, struct json *model, const struct config *config,
                      const struct identity *identity)
{
    struct json *links = json_add_array(pool, model, "links");
    for (unsigned i = 0; i < config->portal.link_count; i++) {
        const struct config_link *link = &config->portal.links[i];
        if (!subject_in_any(&link->groups, identity))
            continue;
        struct json *entry = json_push_object(pool, links);
        json_add_string(pool, entry, "label", link->label);
        json_add_string(pool, entry, "url", link->url);
    }
    json_add_bool(pool, model, "any_link", links->count > 0);
}

struct json *home_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                        const struct config *config, const struct identity *identity,
                        int64_t now_ms)
{
    struct json *model = page_new(pool, frame, "Home", now_ms);
    page_add_person(pool, model, identity);
    json_add_bool(pool, model, "at_home", true);
    json_add_string(pool, model, "kubeconfig_idle",
                    words_duration(pool, config->portal.session_kubeconfig_idle_ms));
    const struct shown shown = {pool, frame, config, identity};
    bool any_cluster = add_clusters(&shown, model);
    bool any_app = add_apps(&shown, model, "apps", NULL);
    json_add_bool(pool, model, "any_cluster", any_cluster);
    json_add_bool(pool, model, "any_app", any_app);
    json_add_string(pool, model, "heading", any_app && !any_cluster ? "Apps" : "Clusters");
    if (!any_cluster && !any_app)
        explain_nothing(pool, model, config, identity);
    add_links(pool, model, config, identity);
    return model;
}

static void show(struct visit *visit)
{
    const struct portal *portal = visit->portal;
    visit_send(visit, "home.html",
               home_model(&visit->req->pool, &portal->frame, portal->parts.config, visit->identity,
                          visit->now_ms));
}

int home(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)rest;
    return visit_start(ctx, req, show, NULL);
}
