/* SPDX-License-Identifier: Apache-2.0
 *
 * The running server's parts, for serve.c (start and end), gauges.c and reload.c. */
#pragma once

#include <semaphore.h>

#include "cache/sessions.h"
#include "control.h"
#include "edition.h"
#include "key_upkeep.h"
#include "operations.h"
#include "parts.h"
#include "resolve.h"
#include "worker.h"

struct server {
    struct edition *edition; /* of now; changed by the main thread only */
    struct metrics *metrics;
    struct store *store;
    struct token_keys *keys;
    struct token_verifier *verifier;
    struct fetcher *fetcher;
    struct okta *okta;
    struct sessions *sessions;
    struct identities *identities;
    struct resolver resolver;
    struct operations operations;
    struct control control;
    struct listener_kind control_kind, *control_kinds[1]; /* without a name: there is no socket */
    struct listener_kind kinds[WORKER_MAX_KINDS];
    struct listener_kind *kind_list[WORKER_MAX_KINDS];
    size_t kind_count;
    h2o_handler_t *webhook_handler, *portal_handler, *proxy_handler;
    struct worker background, workers[LISTENER_MAX_WORKERS];
    unsigned worker_count;
    sem_t ready; /* a party that is up posts it */
    struct loop_timer sweep, tick;
    struct loop_call upkeep;
    struct key_upkeep key_upkeep;
    _Atomic size_t identities_in_flight;
    _Atomic int64_t oldest_fact_ms;
};

/* ---- serve.c ---- */
struct listener_kind *server_kind(struct server *self, const char *name); /* NULL: there is none */
/* Makes the edition's webhook and portal; former (may be NULL) hands its memory of used attempts over. */
void server_furnish(struct server *self, struct edition *edition, const struct edition *former);
struct session_limits server_session_limits(const struct config *config);
struct identity_rules server_identity_rules(struct server *self, const struct config *config);

/* ---- gauges.c ---- */
void server_add_gauges(struct server *self);
