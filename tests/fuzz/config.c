/* SPDX-License-Identifier: Apache-2.0
 *
 * Config files: what loads prints, and what was printed loads as the same; what does not load is complained
 * of, one printable line each. */
#include "base/config.h"

#include "fuzz.h"

static struct config *load(h2o_mem_pool_t *pool, h2o_iovec_t file, struct config_problems *problems)
{
    *problems = (struct config_problems){.count = 0};
    text_init(&problems->text, pool);
    return config_load_bytes("fuzz.yaml", file.base, file.len, problems);
}

static void check_problems(const struct config_problems *problems)
{
    static const char begin[] = "fuzz.yaml";
    h2o_iovec_t rest = text_iovec(&problems->text);
    unsigned lines = 0;
    assert(problems->count > 0 && rest.len > 0 && rest.base[rest.len - 1] == '\n');
    while (rest.len != 0) {
        h2o_iovec_t line = fuzz_line(&rest);
        assert(line.len > sizeof(begin) && memcmp(line.base, begin, sizeof(begin) - 1) == 0);
        for (size_t i = 0; i < line.len; i++)
            assert((unsigned char)line.base[i] >= ' ' && line.base[i] != 0x7f);
        lines++;
    }
    assert(lines == problems->count);
}

static void check_printed(h2o_mem_pool_t *pool, const struct config *config)
{
    struct text first, second;
    struct config_problems problems;
    text_init(&first, pool);
    text_init(&second, pool);
    config_print(config, &first);
    struct config *again = load(pool, text_iovec(&first), &problems);
    if (again == NULL)
        fputs(problems.text.bytes, stderr);
    assert(again != NULL);
    config_print(again, &second);
    assert(fuzz_same(text_iovec(&first), text_iovec(&second)));
    config_free(again);
}

static void check_config(const struct config *config)
{
    assert(config->has_portal && config->portal.url != NULL && config->oidc.issuer != NULL);
    assert(strncmp(config->portal.url, "https://", 8) == 0);
    assert(config->identity.fresh_ms <= config->identity.max_age_ms);
    assert(config->identity.max_age_ms <= config->identity.stale_if_error_ms);
    assert(config->tokens.lifetime_ms > 0 && config->portal.session_per_user > 0);
    for (unsigned i = 0; i < config->cluster_count; i++) {
        const struct config_cluster *cluster = &config->clusters[i];
        assert(cluster->name != NULL && cluster->audience != NULL);
        assert(strspn(cluster->name, "abcdefghijklmnopqrstuvwxyz0123456789-.") ==
               strlen(cluster->name));
        for (unsigned j = 0; j < i; j++)
            assert(strcmp(cluster->audience, config->clusters[j].audience) != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    struct config_problems problems;
    h2o_mem_init_pool(&pool);
    struct config *config = load(&pool, h2o_iovec_init(bytes, len), &problems);
    if (config != NULL) {
        assert(problems.count == 0);
        check_config(config);
        check_printed(&pool, config);
        config_free(config);
    } else {
        check_problems(&problems);
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
