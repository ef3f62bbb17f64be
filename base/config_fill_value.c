/* SPDX-License-Identifier: Apache-2.0
 *
 * See config_fill.h: single values, each with one complaint when it can't be what it is meant to be. */
#include "config_fill.h"

#define MAX_TEXT   4096
#define MAX_PREFIX 256

void value_enter(struct fill *self, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(self->prefix, sizeof(self->prefix), format, args);
    va_end(args);
}

char *value_any_text(struct fill *self, const char *key, const char *raw, const char *fallback)
{
    if (raw == NULL)
        return fallback == NULL ? NULL : text_dup(self->pool, fallback);
    if (strlen(raw) > MAX_TEXT)
        COMPLAIN(self, key, "is longer than %d bytes", MAX_TEXT);
    else if (text_has_control(iovec_of(raw)))
        COMPLAIN(self, key, "has a control character");
    return text_dup(self->pool, raw);
}

char *value_text(struct fill *self, const char *key, const char *raw, const char *fallback)
{
    if (raw != NULL && *raw == '\0')
        COMPLAIN(self, key, "is empty; leave the key out, or give it a value");
    return value_any_text(self, key, raw, fallback);
}

char *value_required(struct fill *self, const char *key, const char *raw)
{
    if (raw == NULL)
        COMPLAIN(self, key, "is missing");
    return value_text(self, key, raw, NULL);
}

char *value_prefix_text(struct fill *self, const char *key, const char *raw)
{
    if (raw != NULL && strncmp(raw, "system:", 7) == 0)
        COMPLAIN(self, key, "must not begin with \"system:\": such names belong to Kubernetes");
    if (raw != NULL && strlen(raw) > MAX_PREFIX)
        COMPLAIN(self, key, "is longer than %d bytes", MAX_PREFIX);
    return value_any_text(self, key, raw, "");
}

char *value_url(struct fill *self, const char *key, const char *raw, enum config_url_rule rule)
{
    const char *problem = raw == NULL || *raw == '\0' ? NULL : config_url_problem(raw, rule);
    if (problem != NULL)
        COMPLAIN(self, key, "must %s", problem);
    return value_text(self, key, raw, NULL);
}

char *value_required_url(struct fill *self, const char *key, const char *raw,
                         enum config_url_rule rule)
{
    if (raw == NULL)
        COMPLAIN(self, key, "is missing");
    return value_url(self, key, raw, rule);
}

bool value_is_given(struct fill *self, const char *key)
{
    const char *path = text_format(self->pool, "%s%s", self->prefix, key);
    return config_place_of(&self->config->memory->places, path) != NULL;
}

void value_texts(struct fill *self, const char *key, const struct config_strings *raw,
                 struct config_strings *out)
{
    out->count = raw->count;
    out->entries = h2o_mem_alloc_pool(self->pool, (raw->count + 1) * sizeof(*out->entries));
    for (unsigned i = 0; i < raw->count; i++) {
        char *entry_key = text_format(self->pool, "%s[%u]", key, i);
        out->entries[i] = value_text(self, entry_key, raw->entries[i], NULL);
    }
}

int64_t value_duration(struct fill *self, const char *key, const char *raw, const struct span *span)
{
    int64_t value = 0, least, most;
    if (!config_parse_duration(span->least, &least) || !config_parse_duration(span->most, &most) ||
        !config_parse_duration(span->fallback, &value))
        h2o_fatal("a default duration is malformed");
    if (raw != NULL && !config_parse_duration(raw, &value))
        COMPLAIN(self, key,
                 "\"%s\" is no duration: write a number with one unit, as 250ms, 30s, "
                 "15m, 12h or 30d",
                 raw);
    else if (value < least || value > most)
        COMPLAIN(self, key, "%s is out of range: from %s to %s", raw, span->least, span->most);
    return value;
}

int value_count(struct fill *self, const char *key, const char *raw, const struct range *range)
{
    int value = range->fallback;
    if (raw != NULL && (!config_parse_count(raw, range->most, &value) || value < range->least))
        COMPLAIN(self, key, "must be a whole number from %d to %d", range->least, range->most);
    return value;
}

void value_address(struct fill *self, const char *raw, const char *fallback,
                   struct config_address *out)
{
    const char *written = raw != NULL ? raw : fallback;
    struct config_address parsed;
    *out = (struct config_address){0};
    if (written == NULL) {
        COMPLAIN(self, "listen", "is missing");
    } else if (!config_parse_address(written, &parsed)) {
        COMPLAIN(self, "listen",
                 "\"%s\" is no address to listen on: write a numeric address and a "
                 "port, as 0.0.0.0:8443 or [::1]:8443",
                 written);
    } else {
        out->text = text_dup(self->pool, parsed.text);
        out->host = text_dup(self->pool, parsed.host);
        out->port = parsed.port;
        free(parsed.text);
        free(parsed.host);
    }
}

size_t value_word(struct fill *self, const char *key, const char *raw, const char *const *words)
{
    struct text known;
    text_init(&known, self->pool);
    for (size_t i = 0; words[i] != NULL; i++) {
        if (raw == NULL || strcmp(raw, words[i]) == 0)
            return i;
        text_add_format(&known, "%s%s", i == 0 ? "" : ", ", words[i]);
    }
    COMPLAIN(self, key, "\"%s\" is not one of: %s", raw, known.bytes);
    return 0;
}
