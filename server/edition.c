/* SPDX-License-Identifier: Apache-2.0
 *
 * See edition.h. */
#include "edition.h"

#include "authorities.h"
#include "parts.h"
#include "stamps.h"

static bool load_seal_keys(const struct config *config, const struct edition *former,
                           struct seal_keys **out, struct error *err)
{
    if (former == NULL || config->store.seal_key_files.count != 0 ||
        former->config->store.seal_key_files.count != 0)
        return parts_seal_keys(config, out, err);
    *out = seal_keys_copy(former->seal_keys);
    return true;
}

bool edition_new(const struct config *config, const struct edition *former, struct edition **out,
                 struct error *err)
{
    struct edition *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct edition){.config = config, .upstream_stamps = stamps_of_upstreams(config)};
    if (!load_seal_keys(config, former, &self->seal_keys, err) ||
        !subject_rules_new(config, &self->rules, err) ||
        !authorities_load(config, &self->authorities, err) ||
        !portal_icons_load(config, &self->icons, err)) {
        edition_free(self);
        return false;
    }
    *out = self;
    return true;
}

void edition_free(struct edition *self)
{
    while (self != NULL) {
        struct edition *older = self->older;
        portal_free(self->portal);
        proxy_free(self->proxy);
        free(self->upstream_stamps);
        webhook_free(self->webhook);
        subject_rules_free(self->rules);
        authorities_free(self->authorities);
        portal_icons_free(self->icons);
        seal_keys_free(self->seal_keys);
        config_free(self->own_config);
        free(self);
        self = older;
    }
}

static bool same_config(const struct config *a, const struct config *b)
{
    h2o_mem_pool_t pool;
    struct text texts[2];
    h2o_mem_init_pool(&pool);
    text_init(&texts[0], &pool);
    text_init(&texts[1], &pool);
    config_print(a, &texts[0]);
    config_print(b, &texts[1]);
    bool same =
        texts[0].len == texts[1].len && memcmp(texts[0].bytes, texts[1].bytes, texts[0].len) == 0;
    h2o_mem_clear_pool(&pool);
    return same;
}

bool edition_equal(const struct edition *a, const struct edition *b)
{
    return seal_keys_equal(a->seal_keys, b->seal_keys) && same_config(a->config, b->config) &&
           authorities_equal(a->authorities, b->authorities) &&
           portal_icons_equal(a->icons, b->icons) &&
           strcmp(a->upstream_stamps, b->upstream_stamps) == 0;
}
