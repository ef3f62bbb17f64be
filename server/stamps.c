/* SPDX-License-Identifier: Apache-2.0
 *
 * See stamps.h. */
#include "stamps.h"

#include <assert.h>
#include <inttypes.h>
#include <sys/stat.h>

static void add_file(struct text *out, const char *path)
{
    struct stat st;
    if (path == NULL)
        return;
    if (stat(path, &st) != 0)
        text_add_format(out, "%s -\n", path);
    else
        text_add_format(out, "%s %ju %ju %jd %jd.%09ld\n", path, (uintmax_t)st.st_dev,
                        (uintmax_t)st.st_ino, (intmax_t)st.st_size, (intmax_t)st.st_mtim.tv_sec,
                        st.st_mtim.tv_nsec);
}

static char *finish(const struct text *text, h2o_mem_pool_t *pool)
{
    char *made = h2o_strdup(NULL, text->bytes != NULL ? text->bytes : "", text->len).base;
    h2o_mem_clear_pool(pool);
    return made;
}

char *stamp_of_file(const char *path)
{
    h2o_mem_pool_t pool;
    struct text out;
    h2o_mem_init_pool(&pool);
    text_init(&out, &pool);
    add_file(&out, path);
    return finish(&out, &pool);
}

static void add_upstreams(struct text *out, const struct config *config)
{
    for (unsigned i = 0; i < config->cluster_count; ++i)
        add_file(out, config->clusters[i].api.certificate_authority_file);
    for (unsigned i = 0; i < config->proxy.app_count; ++i)
        add_file(out, config->proxy.apps[i].certificate_authority_file);
}

char *stamps_of_upstreams(const struct config *config)
{
    h2o_mem_pool_t pool;
    struct text out;
    h2o_mem_init_pool(&pool);
    text_init(&out, &pool);
    for (unsigned i = 0; i < config->proxy.app_count; ++i)
        add_file(&out, config->proxy.apps[i].icon_file);
    add_upstreams(&out, config);
    return finish(&out, &pool);
}

char *stamps_of(const struct config *config, const char *config_stamp)
{
    h2o_mem_pool_t pool;
    struct text out;
    h2o_mem_init_pool(&pool);
    text_init(&out, &pool);
    text_add_string(&out, config_stamp);
    const struct config_tls *tls[] = {&config->portal.tls, &config->webhook.tls,
                                      &config->proxy.tls};
    for (size_t i = 0; i < sizeof(tls) / sizeof(tls[0]); ++i) {
        add_file(&out, tls[i]->certificate_file);
        add_file(&out, tls[i]->key_file);
        add_file(&out, tls[i]->client_ca_file);
    }
    for (unsigned i = 0; i < config->cluster_count; ++i) {
        add_file(&out, config->clusters[i].client_ca_file);
        add_file(&out, config->clusters[i].certificate_authority_file);
        add_file(&out, config->clusters[i].api.service_account_token_file);
    }
    add_upstreams(&out, config);
    add_file(&out, config->portal.certificate_authority_file);
    add_file(&out, config->oidc.client_secret_file);
    add_file(&out, config->oidc.private_key_file);
    add_file(&out, config->oidc.certificate_authority_file);
    add_file(&out, config->outgoing.certificate_authority_file);
    for (unsigned i = 0; i < config->store.seal_key_files.count; ++i)
        add_file(&out, config->store.seal_key_files.entries[i]);
    return finish(&out, &pool);
}
