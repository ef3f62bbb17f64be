/* SPDX-License-Identifier: Apache-2.0
 *
 * What the config_fill*.c files share: from one key's text to its value. Each value_… function complains of a value
 * that can't be, under the prefix and key, and yields something all the same, so that all complaints come at once.
 * raw is the text in the file, NULL where the key is absent. */
#pragma once

#include "config_parts.h"

struct fill {
    struct config *config;
    h2o_mem_pool_t *pool; /* of the values */
    struct config_problems *problems;
    char prefix[96]; /* of the keys: "portal.", "clusters[3]." */
};

#define COMPLAIN(self, key, ...)                                                                   \
    config_complain((self)->problems, (self)->config,                                              \
                    text_format((self)->pool, "%s%s", (self)->prefix, (key)), __VA_ARGS__)

/* The prefix from now on. */
void value_enter(struct fill *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A text that may be empty; NULL where neither the file nor the default has one. */
char *value_any_text(struct fill *self, const char *key, const char *raw, const char *fallback);
char *value_text(struct fill *self, const char *key, const char *raw, const char *fallback);
char *value_required(struct fill *self, const char *key, const char *raw);
/* Of usernames and groups; absent: "". */
char *value_prefix_text(struct fill *self, const char *key, const char *raw);
char *value_url(struct fill *self, const char *key, const char *raw, enum config_url_rule rule);
char *value_required_url(struct fill *self, const char *key, const char *raw,
                         enum config_url_rule rule);
/* An empty list and an absent one look the same in the raw config. */
bool value_is_given(struct fill *self, const char *key);
void value_texts(struct fill *self, const char *key, const struct config_strings *raw,
                 struct config_strings *out);
struct span { /* of durations, as one writes them */
    const char *fallback, *least, *most;
};
int64_t value_duration(struct fill *self, const char *key, const char *raw,
                       const struct span *span); /* milliseconds */
struct range {
    int fallback, least, most;
};
int value_count(struct fill *self, const char *key, const char *raw, const struct range *range);
/* Of the key "listen". */
void value_address(struct fill *self, const char *raw, const char *fallback,
                   struct config_address *out);
/* One of the words; the first is the default. Returns its index. */
size_t value_word(struct fill *self, const char *key, const char *raw, const char *const *words);

void fill_tls(struct fill *self, const struct raw_tls *raw, struct config_tls *out);
/* ---- config_fill_clusters.c ---- */
void fill_proxy(struct fill *self, const struct raw_proxy *raw);
void fill_clusters(struct fill *self, const struct raw_config *raw);
