/* SPDX-License-Identifier: Apache-2.0
 *
 * What the proxy's keys need of each other: each address leads to one thing, and none is the portal's own. */
#include "config_parts.h"

struct check {
    const struct config *config;
    struct config_problems *problems;
    unsigned cluster; /* the one that is looked at */
};

#define COMPLAIN(self, key, ...)                                                                   \
    do {                                                                                           \
        char key_path[64];                                                                         \
        snprintf(key_path, sizeof(key_path), "clusters[%u].api.%s", (self)->cluster, (key));       \
        config_complain((self)->problems, (self)->config, key_path, __VA_ARGS__);                  \
    } while (0)

/* The proxy finds by Host; browsers send the portal's cookie to every port of its host, and an app's or an API
 * server's answer at that host would be of the portal's site. So the host without its port is what counts. */
static bool same_host(const struct config *config, const char *a, const char *b)
{
    h2o_mem_pool_t *pool = &config->memory->pool;
    return strcmp(config_url_host(pool, a), config_url_host(pool, b)) == 0;
}

static bool is_origin(const char *url)
{
    return url != NULL && config_url_problem(url, CONFIG_URL_ORIGIN) == NULL;
}

static void check_url(struct check *self, const char *url)
{
    const struct config *config = self->config;
    if (!is_origin(url))
        return; /* said already */
    if (is_origin(config->portal.url) && same_host(config, url, config->portal.url))
        COMPLAIN(self, "url", "has portal.url's host: it needs one of its own");
    for (unsigned i = 0; i < self->cluster; i++) {
        const char *other = config->clusters[i].api.url;
        if (other != NULL && strcmp(other, url) == 0)
            COMPLAIN(self, "url", "%s is also clusters[%u]'s: the proxy finds a cluster by it", url,
                     i);
    }
}

static void check_account(struct check *self, const struct config_api *api)
{
    if (api->mode == API_IMPERSONATE && api->service_account_token_file == NULL)
        COMPLAIN(self, "service_account_token_file",
                 "is missing: with mode impersonate we are that service account to the API server");
    if (api->mode == API_PASS && api->service_account_token_file != NULL)
        COMPLAIN(self, "service_account_token_file",
                 "has no use with mode pass: the person's own token goes to the API server");
}

void config_check_proxy(const struct config *config, struct config_problems *problems)
{
    struct check self = {.config = config, .problems = problems};
    unsigned count = 0;
    for (; self.cluster < config->cluster_count; self.cluster++) {
        const struct config_api *api = &config->clusters[self.cluster].api;
        if (api->url == NULL)
            continue;
        count++;
        check_url(&self, api->url);
        check_account(&self, api);
        if (config->clusters[self.cluster].additional_server_count != 0)
            COMPLAIN(&self, "url",
                     "leaves no use for additional_servers: kubectl is given this URL");
        if (!config->has_proxy)
            COMPLAIN(&self, "url", "needs the proxy block: where is it to be served?");
    }
    if (config->has_proxy && !config->has_portal)
        config_complain(problems, config, "proxy",
                        "needs the portal block: sessions and tokens are made there");
    if (config->has_proxy && count == 0)
        config_complain(problems, config, "proxy",
                        "has nothing behind it: no cluster has an api block");
}
