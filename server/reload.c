/* SPDX-License-Identifier: Apache-2.0
 *
 * How a renewal takes effect. Each worker takes its TLS contexts, webhook and portal over in one step on its own
 * thread, so that what belongs together changes together. What requests hold on to stays (edition.h). */
#include "reload.h"

#include "base/log.h"
#include "renewal.h"
#include "stamps.h"

/* A sign-in that was under way maps its person by the rules that it began with, for this many watches at most. */
#define REMAP_WATCHES 4

struct reload {
    struct server *server;
    struct counter *done, *refused;
    struct config *refused_config; /* whose files are watched; NULL: those of the edition */
    char *stamps;                  /* as of the last reload */
    char *changing;                /* other ones, seen once */
    int remap_in;                  /* watches; 0: it is done */
};

static struct counter *make_counter(struct metrics *metrics, const char *labels)
{
    return metrics_counter(metrics, "postern_reloads_total",
                           "Reloads of the config and its files, by what came of them.", labels);
}

struct reload *reload_new(struct server *server)
{
    const struct config *config = server->edition->config;
    struct reload *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct reload){.server = server,
                            .done = make_counter(server->metrics, "result=\"done\""),
                            .refused = make_counter(server->metrics, "result=\"refused\"")};
    char *stamp = stamp_of_file(config->path);
    self->stamps = stamps_of(config, stamp);
    free(stamp);
    return self;
}

void reload_free(struct reload *self)
{
    config_free(self->refused_config);
    free(self->stamps);
    free(self->changing);
    free(self);
}

/* ---- taking effect ---- */

struct change {
    struct server *server;
    const struct edition *next; /* of from now on; perhaps the one of now */
    struct okta_settings *okta;
    bool provider; /* the issuer, or our client there */
    bool claims;   /* which claims are read */
};

/* No token of the old provider may be used any more, nor reach the new one. */
static void close_provider(void *ctx, struct worker *background)
{
    struct change *change = ctx;
    sessions_close(change->server->sessions, background->loop, SESSION_PROVIDER_CHANGED);
    okta_close(change->server->okta);
}

static void take_over(void *ctx, struct worker *worker)
{
    const struct change *change = ctx;
    const struct server *server = change->server;
    for (size_t i = 0; i < worker->kind_count; ++i) {
        struct listener *listener = &worker->listeners[i];
        listener_renew_tls(listener);
        if (strcmp(listener->kind->name, "webhook") == 0)
            webhook_take_over(change->next->webhook, server->webhook_handler, &listener->ctx);
        else if (strcmp(listener->kind->name, "portal") == 0) {
            listener_trust(listener, &change->next->config->portal.trusted_networks);
            portal_take_over(change->next->portal, server->portal_handler, &listener->ctx);
        } else if (strcmp(listener->kind->name, "proxy") == 0)
            proxy_take_over(change->next->proxy, server->proxy_handler, &listener->ctx);
    }
}

static void renew_background(void *ctx, struct worker *background)
{
    struct change *change = ctx;
    (void)background;
    okta_renew(change->server->okta, change->okta);
    change->server->resolver.rules = change->next->rules;
}

static void set_tls(struct server *server, const char *kind, SSL_CTX **tls)
{
    if (*tls != NULL)
        listener_kind_set_tls(server_kind(server, kind), *tls);
    *tls = NULL;
}

static void set_limits(struct server *server, const struct edition *next)
{
    const struct config *config = next->config;
    struct session_limits limits = server_session_limits(config);
    struct identity_rules rules = server_identity_rules(server, config);
    enum log_level level;
    sessions_set_limits(server->sessions, &limits);
    identities_set_ages(server->identities, &rules);
    key_upkeep_configure(&server->key_upkeep, config);
    if (!seal_keys_equal(next->seal_keys, server->edition->seal_keys))
        sessions_set_seal_keys(server->sessions, next->seal_keys);
    if (log_level_parse(config->log.level, &level))
        log_set_level(level);
}

static struct identity *remap(void *ctx, const struct identity *known)
{
    return subject_remap(ctx, known);
}

static void renew_identities(const struct change *change)
{
    struct identities *identities = change->server->identities;
    if (change->provider)
        identities_forget_all(identities);
    identities_remap(identities, remap, change->next->rules);
    if (change->claims)
        identities_mark_all_due(identities);
}

/* The rounds stand in this order so that, when sessions open again, every answer of the old provider has been
 * heard and nothing of it was let in. */
static void carry_out(struct change *change)
{
    struct server *server = change->server;
    if (change->provider)
        workers_run(&server->background, 1, close_provider, change);
    set_limits(server, change->next);
    workers_run(server->workers, server->worker_count, take_over, change);
    workers_run(&server->background, 1, renew_background, change);
    renew_identities(change);
    if (change->provider)
        sessions_open(server->sessions);
}

static bool same_strings(const struct config_strings *a, const struct config_strings *b)
{
    bool same = a->count == b->count;
    for (unsigned i = 0; same && i < a->count; ++i)
        same = strcmp(a->entries[i], b->entries[i]) == 0;
    return same;
}

static bool same_claims(const struct config *a, const struct config *b)
{
    bool same = strcmp(a->oidc.claim_groups, b->oidc.claim_groups) == 0 &&
                a->oidc.user_in_idtoken == b->oidc.user_in_idtoken &&
                same_strings(&a->oidc.scopes, &b->oidc.scopes);
    for (unsigned i = 0; same && i < USER_ATTRIBUTES; ++i)
        same = strcmp(a->oidc.claims[i], b->oidc.claims[i]) == 0;
    return same;
}

static void apply(struct reload *self, struct renewal *renewal)
{
    struct server *server = self->server;
    struct edition *former = server->edition;
    struct edition *next = renewal->edition != NULL ? renewal->edition : former;
    const struct config *old = former->config, *new = next->config;
    struct change change = {.server = server,
                            .next = next,
                            .okta = renewal->okta,
                            .provider = strcmp(old->oidc.issuer, new->oidc.issuer) != 0 ||
                                        strcmp(old->oidc.client_id, new->oidc.client_id) != 0,
                            .claims = !same_claims(old, new)};
    if (next != former)
        server_furnish(server, next, former);
    set_tls(server, "webhook", &renewal->webhook_tls);
    set_tls(server, "portal", &renewal->portal_tls);
    set_tls(server, "proxy", &renewal->proxy_tls);
    if (next->proxy != NULL)
        proxy_reload_files(next->proxy);
    carry_out(&change);
    renewal->okta = NULL;
    renewal->edition = NULL;
    if (next != former) {
        next->older = former;
        server->edition = next;
        self->remap_in = REMAP_WATCHES;
    }
    counter_add(self->done, 1);
    log_info("reloaded", LOG_BOOL("config_changed", next != former),
             LOG_BOOL("provider_changed", change.provider));
}

/* ---- reloading ---- */

static void refuse(struct reload *self, struct renewal *renewal, struct config_problems *problems)
{
    while (problems->text.len > 0 && problems->text.bytes[problems->text.len - 1] == '\n')
        problems->text.bytes[--problems->text.len] = '\0';
    log_error("reload refused: the old config goes on", LOG_STR("reason", problems->text.bytes),
              LOG_INT("problems", problems->count));
    counter_add(self->refused, 1);
    self->refused_config = renewal->config;
    renewal->config = NULL;
}

void reload_now(struct reload *self)
{
    h2o_mem_pool_t pool;
    struct config_problems problems = {.count = 0};
    struct renewal renewal;
    h2o_mem_init_pool(&pool);
    text_init(&problems.text, &pool);
    bool good = renewal_load(self->server->edition, &renewal, &problems);
    config_free(self->refused_config);
    free(self->stamps);
    free(self->changing);
    self->refused_config = NULL;
    self->changing = NULL;
    self->stamps = renewal.stamps;
    renewal.stamps = NULL;
    if (good)
        apply(self, &renewal);
    else
        refuse(self, &renewal, &problems);
    renewal_dispose(&renewal);
    h2o_mem_clear_pool(&pool);
}

/* ---- watching ---- */

static void remap_late(struct reload *self)
{
    if (self->remap_in > 0 && --self->remap_in == 0)
        identities_remap(self->server->identities, remap, self->server->edition->rules);
}

void reload_if_changed(struct reload *self)
{
    const struct config *config =
        self->refused_config != NULL ? self->refused_config : self->server->edition->config;
    char *stamp = stamp_of_file(config->path);
    char *now = stamps_of(config, stamp);
    free(stamp);
    remap_late(self);
    bool changed = strcmp(now, self->stamps) != 0;
    bool still = self->changing != NULL && strcmp(now, self->changing) == 0;
    free(self->changing);
    self->changing = now;
    if (changed && still) {
        log_info("files have changed");
        reload_now(self);
    }
}
