/* SPDX-License-Identifier: Apache-2.0
 *
 * The login portal: pages, the sign-in flow, portal tokens, sign-out, /keys. HTTP/1.1 only. */
#pragma once

#include <h2o.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/metrics.h"
#include "cache/identities.h"
#include "cache/sessions.h"
#include "okta/okta.h"
#include "token/token.h"
#include "webhook/subject.h"

#define PORTAL_MAX_BODY ((size_t)64 * 1024)

/* CAs that people's tools must be told of: PEM of CERTIFICATE blocks and nothing else, NUL-terminated. NULL: the
 * certificate is one that every machine trusts. */
struct portal_authorities {
    char *portal;
    char **clusters; /* one for each cluster of the config */
    unsigned cluster_count;
};

/* The icons of proxy.apps, as read from their files. */
struct portal_icons;
/* The error begins with the key. The caller frees. */
MUST_CHECK bool portal_icons_load(const struct config *config, struct portal_icons **out,
                                  struct error *err);
void portal_icons_free(struct portal_icons *self); /* accepts NULL */
/* The same pictures; of configs with the same apps. */
bool portal_icons_equal(const struct portal_icons *a, const struct portal_icons *b);
/* The same judgement as that of loading, every complaint at its key. */
void portal_icons_check(const struct config *config, struct config_problems *problems);

struct portal_stream {         /* something that is open through the proxy */
    const char *grant_id;      /* the session that it goes by */
    const char *what;          /* "watch", "WebSocket", … */
    const char *method, *path; /* without the query */
    int64_t since_ms;          /* wall */
    uint64_t bytes;            /* of bodies, both ways */
};
/* The open ones of a sign-in: at most max into out, whose strings are in pool; returns how many there are. Any thread. */
typedef size_t (*portal_streams)(void *ctx, h2o_mem_pool_t *pool, const char *login_id,
                                 struct portal_stream *out, size_t max);

struct portal_parts { /* borrowed, shared by all threads */
    const struct config *config;
    struct okta *okta;
    struct sessions *sessions;
    struct identities *identities;
    const struct subject_rules *rules;
    const struct token_keys *keys;
    struct token_verifier *verifier;
    const struct seal_keys *seal_keys;
    struct metrics *metrics;
    const struct portal_authorities *authorities;
    const struct portal_icons *icons;
    portal_streams streams; /* NULL: there is no proxy */
    void *streams_ctx;
};

struct portal;
struct portal *portal_new(const struct portal_parts *parts);
/* The same portal with other parts, after a reload: it shares what former knows of used attempts and of devices that wait, so
 * former lives on. */
struct portal *portal_renew(const struct portal *former, const struct portal_parts *parts);
void portal_free(struct portal *self);
h2o_handler_t *portal_register(struct portal *self, h2o_hostconf_t *host);
/* From now on self answers in this context; on the context's thread. What waits ends with the one before. */
void portal_take_over(struct portal *self, h2o_handler_t *handler, h2o_context_t *ctx);
