/* SPDX-License-Identifier: Apache-2.0
 *
 * Prometheus metrics. Every series is made at start, from the config and from enums, so no request can
 * add one. Counting is one atomic addition. */
#pragma once

#include <stdint.h>

#include "base/text.h"

struct metrics;   /* the registry */
struct counter;   /* counts up */
struct histogram; /* of durations; seconds in the output */

struct metrics *metrics_new(void);
void metrics_free(struct metrics *self);

/* labels: "" or as they stand in the output, without braces: cluster="prod",decision="yes". All series of
 * one family are made with the same help. What is returned lives as long as the registry. */
struct counter *metrics_counter(struct metrics *self, const char *family, const char *help,
                                const char *labels);
struct histogram *metrics_histogram(struct metrics *self, const char *family, const char *help,
                                    const char *labels);
/* read is called at each scrape, on the thread that scrapes. */
void metrics_gauge(struct metrics *self, const char *family, const char *help, const char *labels,
                   double (*read)(void *ctx), void *ctx);

void counter_add(struct counter *self, uint64_t n); /* self may be NULL */
uint64_t counter_value(const struct counter *self);
void histogram_observe_us(struct histogram *self, int64_t us); /* self may be NULL */

/* The text format 0.0.4, families in the order of their making. */
void metrics_write(struct metrics *self, struct text *out);
/* Escapes a label's value (backslash, quote, newline) into pool. */
char *metrics_label(h2o_mem_pool_t *pool, const char *value);
