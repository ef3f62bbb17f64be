/* SPDX-License-Identifier: Apache-2.0
 *
 * The TokenReview endpoint on its mutual-TLS listener: POST /tokenreview/<cluster>, or /tokenreview where one
 * cluster is configured. */
#pragma once

#include <h2o.h>

#include "base/metrics.h"
#include "webhook/decide.h"

#define WEBHOOK_MAX_BODY ((size_t)256 * 1024) /* beyond: our own 413 */
#define WEBHOOK_MAX_BODY_LIBRARY                                                                   \
    ((size_t)1024 * 1024) /* h2o's cap: it answers REFUSED_STREAM, which clients retry */

struct webhook;
/* decider is copied, what it points to borrowed. */
struct webhook *webhook_new(const struct decider *decider, struct metrics *metrics);
void webhook_free(struct webhook *self);
/* How many answers may wait for Okta at once (default 4096); beyond, an API server gets 503 at once. Before the
 * listener opens. */
void webhook_limit_waiting(struct webhook *self, unsigned max);
/* Adds the handler to the listener's host; self answers in every context that is made of it. */
h2o_handler_t *webhook_register(struct webhook *self, h2o_hostconf_t *host);
/* From now on self answers in this context; on the context's thread. What waits ends with the one before, which
 * therefore lives on. */
void webhook_take_over(struct webhook *self, h2o_handler_t *handler, h2o_context_t *ctx);
/* The CA files of all clusters in a fixed order without duplicates; bit i of web_peer's ca_mask stands for
 * files[i]. Returns the count, at most max. */
size_t webhook_ca_files(const struct config *config, const char **files, size_t max);
/* What the config says that only this folder can judge: more different CA files than ca_mask has bits. (A
 * client name that stands in two clusters is refused by config_load.) */
void webhook_check_config(const struct config *config, struct config_problems *problems);
