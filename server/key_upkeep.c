/* SPDX-License-Identifier: Apache-2.0
 *
 * See key_upkeep.h. A look at the directory costs some microseconds, so once a second is cheap, and a key that
 * leaked is out of use a second after `postern keys rotate --now`. */
#include "key_upkeep.h"

#include "base/clock.h"
#include "base/log.h"
#include "parts.h"

#define LOOK_MS       1000
#define AFTER_FAIL_MS 10000
#define TELL_AGAIN_MS (3600 * INT64_C(1000))

struct key_list {
    struct token_key_info keys[TOKEN_KEYS_MOST];
    size_t count;
};

static bool is_listed(const struct key_list *list, const char *kid)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->keys[i].kid, kid) == 0)
            return true;
    }
    return false;
}

static void tell_changes(const struct key_list *before, const struct key_list *after)
{
    char sign_from[CLOCK_RFC3339_SIZE];
    for (size_t i = 0; i < after->count; i++) {
        const struct token_key_info *key = &after->keys[i];
        if (!is_listed(before, key->kid))
            log_audit("signing_key_added", LOG_STR("kid", key->kid),
                      LOG_STR("algorithm", token_algorithm_name(key->algorithm)),
                      LOG_STR("sign_from", clock_rfc3339(key->sign_from_ms, sign_from)));
    }
    for (size_t i = 0; i < before->count; i++) {
        if (!is_listed(after, before->keys[i].kid))
            log_audit("signing_key_removed", LOG_STR("kid", before->keys[i].kid),
                      LOG_STR("role", before->keys[i].role));
    }
}

/* Once for each complaint, and once an hour while it lasts. */
static void tell_failure(struct key_upkeep *self, const struct error *err)
{
    int64_t now = clock_mono_ms();
    if (strcmp(self->told.text, err->text) == 0 && now - self->told_mono_ms < TELL_AGAIN_MS)
        return;
    log_warn("signing keys: the last good ones go on", LOG_STR("reason", err->text));
    self->told = *err;
    self->told_mono_ms = now;
}

static void on_look(struct loop_timer *timer)
{
    struct key_upkeep *self = H2O_STRUCT_FROM_MEMBER(struct key_upkeep, timer, timer);
    struct token_key_rules rules = {.algorithm = self->algorithm,
                                    .rotate_every_ms = atomic_load(&self->rotate_every_ms)};
    struct key_list before, after;
    struct error err = {.kind = ERROR_NONE};
    bool changed;
    int64_t now_ms = clock_wall_ms();
    before.count = token_keys_list(self->keys, now_ms, before.keys);
    bool good = token_keys_tend(self->keys, &rules, now_ms, &changed, &err);
    if (changed) {
        after.count = token_keys_list(self->keys, now_ms, after.keys);
        tell_changes(&before, &after);
    }
    if (good)
        self->told = (struct error){.kind = ERROR_NONE};
    else
        tell_failure(self, &err);
    loop_timer_start(self->loop, timer, good ? LOOK_MS : AFTER_FAIL_MS, on_look);
}

void key_upkeep_configure(struct key_upkeep *self, const struct config *config)
{
    atomic_store(&self->rotate_every_ms, config->tokens.rotate_every_ms);
}

void key_upkeep_start(struct key_upkeep *self, struct loop *loop, struct token_keys *keys,
                      const struct config *config)
{
    self->loop = loop;
    self->keys = keys;
    self->algorithm = parts_token_algorithm(config);
    key_upkeep_configure(self, config);
    loop_timer_start(loop, &self->timer, 0, on_look);
}
