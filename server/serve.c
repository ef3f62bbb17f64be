/* SPDX-License-Identifier: Apache-2.0
 *
 * Start: everything that can fail without a thread fails before the first thread runs (files, keys, store,
 * ports), then the fetch thread, the background loop, the sessions, the workers. Stop: the same backwards.
 * The one struct server is static, so what still runs at exit is never freed under it. */
#include "serve.h"

#include <assert.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "open_streams.h"
#include "reload.h"
#include "server.h"

#define DRAIN_MS            10000
#define CONTROL_DRAIN_MS    1000
#define SWEEP_MS            60000
#define TICK_MS             1000
#define REMEMBER_TOKENS     8192
#define CONTROL_CONNECTIONS 16

/* ---- files, keys, ports: no thread yet ---- */

static unsigned count_workers(const struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned wanted = config->workers != 0 ? config->workers : (unsigned)(cores > 4 ? 4 : cores);
    return wanted == 0 ? 1 : wanted > LISTENER_MAX_WORKERS ? LISTENER_MAX_WORKERS : wanted;
}

static bool open_parts(struct server *self, struct error *err)
{
    const struct config *config = self->edition->config;
    if (!token_keys_open(config->tokens.keys_directory, parts_token_algorithm(config),
                         clock_wall_ms(), &self->keys, err))
        return false;
    self->verifier = token_verifier_new(self->keys, config->portal.issuer,
                                        config->tokens.leeway_ms / 1000, REMEMBER_TOKENS);
    return true;
}

static struct listener_kind *add_kind(struct server *self, const char *name, size_t max_body)
{
    struct listener_kind *kind = &self->kinds[self->kind_count];
    listener_kind_init(kind, name, max_body);
    self->kind_list[self->kind_count++] = kind;
    return kind;
}

static bool open_webhook(struct server *self, struct error *err)
{
    SSL_CTX *tls;
    if (!parts_webhook_tls(self->edition->config, &tls, err))
        return error_prefix(err, "webhook.tls");
    struct listener_kind *kind = add_kind(self, "webhook", WEBHOOK_MAX_BODY_LIBRARY);
    listener_kind_set_tls(kind, tls);
    /* Longer than the 90 s that an API server keeps an idle connection: who closes first may cut a
     * question in flight, which the API server then answers with 401. */
    kind->conf.http1.req_timeout = 120000;
    kind->conf.http2.idle_timeout = 120000;
    return listener_kind_bind(kind, &self->edition->config->webhook.listen, self->worker_count,
                              err);
}

static bool open_portal(struct server *self, struct error *err)
{
    const struct config *config = self->edition->config;
    SSL_CTX *tls = NULL;
    if (!config->portal.plain && !parts_portal_tls(config, &tls, err))
        return error_prefix(err, "portal.tls");
    struct listener_kind *kind = add_kind(self, "portal", PORTAL_MAX_BODY);
    if (tls != NULL)
        listener_kind_set_tls(kind, tls);
    kind->proxies = &config->portal.trusted_networks;
    kind->proxy_protocol = config->portal.proxy_protocol;
    if (kind->proxies->count != 0) /* longer than proxies keep idle connections: as the webhook's */
        kind->conf.http1.req_timeout = 120000;
    return listener_kind_bind(kind, &config->portal.listen, self->worker_count, err);
}

static bool open_proxy(struct server *self, struct error *err)
{
    SSL_CTX *tls;
    if (!parts_proxy_tls(self->edition->config, &tls, err))
        return error_prefix(err, "proxy.tls");
    struct listener_kind *kind = add_kind(self, "proxy", PROXY_MAX_BODY);
    listener_kind_set_tls(kind, tls);
    kind->limits = &GUARD_PROXY_LIMITS;
    kind->conf.http1.req_timeout = 120000; /* kubectl and browsers keep idle connections for 90 s */
    return listener_kind_bind(kind, &self->edition->config->proxy.listen, self->worker_count, err);
}

static bool open_listeners(struct server *self, struct error *err)
{
    self->worker_count = count_workers(self->edition->config);
    if (self->edition->config->has_webhook && !open_webhook(self, err))
        return false;
    if (self->edition->config->has_portal && !open_portal(self, err))
        return false;
    if (self->edition->config->has_proxy && !open_proxy(self, err))
        return false;
    struct listener_kind *kind = add_kind(self, "operations", 4096);
    return listener_kind_bind(kind, &self->edition->config->operations.listen, self->worker_count,
                              err);
}

/* After the store, whose lock keeps a second process from taking the socket away. */
static bool open_control(struct server *self, struct error *err)
{
    struct listener_kind *kind = &self->control_kind;
    const char *path = self->edition->config->operations.control_socket;
    if (path == NULL || *path == '\0')
        return true;
    listener_kind_init(kind, "control", 4096);
    kind->connection_cap = CONTROL_CONNECTIONS;
    if (!control_listen(path, &kind->fds[0], err))
        return error_prefix(err, "operations.control_socket");
    self->control.ready = &self->operations.ready;
    control_register(&self->control, kind->host);
    web_access_log(kind->host, kind->name, false);
    listener_kind_guard(kind, self->metrics);
    self->control_kinds[0] = kind;
    self->background.kinds = self->control_kinds;
    self->background.kind_count = 1;
    return true;
}

static size_t descriptors(void)
{
    struct rlimit limit = {1024, 1024};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max > 65536 ? 65536 : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > 256 ? limit.rlim_cur - 128 : limit.rlim_cur / 2;
}

/* Each listener gets a share, but the proxy three quarters of all: what stays open goes through it, and takes a
 * descriptor on each side. */
static void share_descriptors(struct server *self)
{
    const struct listener_kind *proxy = server_kind(self, "proxy");
    size_t each = descriptors() / self->worker_count, others = self->kind_count;
    if (proxy != NULL)
        --others;
    assert(others > 0); /* the webhook's, always */
    for (size_t i = 0; i < self->kind_count; ++i) {
        struct listener_kind *kind = &self->kinds[i];
        size_t share = proxy != NULL ? each / 4 / others : each / others;
        kind->connection_cap = kind == proxy ? each / 4 * 3 / 2 : share;
    }
}

/* ---- what ends, and upkeep, on the background loop ---- */

void serve_audit_ended(const struct session_ended *ended)
{
    const char *kind = ended->app != NULL ? "app" : ended->is_grant ? "grant" : "login";
    log_audit("session_ended", LOG_STR("kind", kind), LOG_STR("session", ended->id),
              LOG_STR("uid", ended->uid), LOG_STR("cluster", ended->cluster),
              LOG_STR("app", ended->app), LOG_STR("reason", session_end_name(ended->reason)));
}

static void on_session_ended(void *ctx, const struct session_ended *ended)
{
    struct server *self = ctx;
    serve_audit_ended(ended);
    if (ended->tokens != NULL && ended->tokens->refresh_token.len != 0 &&
        ended->reason != SESSION_REFUSED_BY_OKTA && ended->reason != SESSION_PROVIDER_CHANGED)
        okta_revoke(self->okta, self->background.loop, secret_iovec(&ended->tokens->refresh_token),
                    NULL, NULL);
}

static void on_sweep(struct loop_timer *timer)
{
    struct server *self = H2O_STRUCT_FROM_MEMBER(struct server, sweep, timer);
    sessions_sweep(self->sessions, self->background.loop, clock_wall_ms());
    loop_timer_start(self->background.loop, timer, SWEEP_MS, on_sweep);
}

static void on_tick(struct loop_timer *timer)
{
    struct server *self = H2O_STRUCT_FROM_MEMBER(struct server, tick, timer);
    identities_tick(self->identities, clock_mono_ms());
    loop_timer_start(self->background.loop, timer, TICK_MS, on_tick);
}

static void on_upkeep(struct loop_call *call)
{
    struct server *self = H2O_STRUCT_FROM_MEMBER(struct server, upkeep, call);
    loop_timer_start(self->background.loop, &self->sweep, SWEEP_MS, on_sweep);
    loop_timer_start(self->background.loop, &self->tick, TICK_MS, on_tick);
    key_upkeep_start(&self->key_upkeep, self->background.loop, self->keys, self->edition->config);
}

/* ---- threads ---- */

static void start_background(struct server *self)
{
    sem_init(&self->ready, 0, 0);
    self->background.ready = &self->ready;
    worker_start(&self->background);
    sem_wait(&self->ready);
}

static bool start_okta(struct server *self, struct error *err)
{
    const struct config *config = self->edition->config;
    /* Each request names its own CA, so that a reload can change it. */
    const struct fetch_options options = {.proxy = config->outgoing.proxy};
    char redirect_uri[1024];
    snprintf(redirect_uri, sizeof(redirect_uri), "%s/auth/oidc", config->portal.url);
    if (!fetcher_start(&options, &self->fetcher, err))
        return false;
    return okta_new(config, redirect_uri, self->fetcher, self->background.loop, self->metrics,
                    &self->okta, err);
}

struct session_limits server_session_limits(const struct config *config)
{
    return (struct session_limits){
        config->portal.session_idle_ms, config->portal.session_kubeconfig_idle_ms,
        config->portal.session_lifetime_ms, config->portal.session_per_user};
}

struct identity_rules server_identity_rules(struct server *self, const struct config *config)
{
    return (struct identity_rules){.fresh_ms = config->identity.fresh_ms,
                                   .max_age_ms = config->identity.max_age_ms,
                                   .stale_if_error_ms = config->identity.stale_if_error_ms,
                                   .ask_deadline_ms = 3000,
                                   .retry_min_ms = 5000,
                                   .retry_max_ms = 60000,
                                   .max_in_flight = 20,
                                   .may_ask = resolve_may_ask,
                                   .may_ask_ctx = &self->resolver};
}

static bool start_cache(struct server *self, struct error *err)
{
    const struct config *config = self->edition->config;
    struct session_limits limits = server_session_limits(config);
    struct identity_rules rules = server_identity_rules(self, config);
    if (!sessions_new(&limits, self->store, self->edition->seal_keys, clock_wall_ms(),
                      on_session_ended, self, &self->sessions, err))
        return false;
    self->resolver =
        (struct resolver){self->background.loop, self->okta, self->sessions, self->edition->rules};
    self->identities = identities_new(&rules, resolve_identity, &self->resolver);
    self->upkeep.run = on_upkeep;
    loop_post(self->background.loop, &self->upkeep);
    return true;
}

struct listener_kind *server_kind(struct server *self, const char *name)
{
    for (size_t i = 0; i < self->kind_count; ++i)
        if (strcmp(self->kinds[i].name, name) == 0)
            return &self->kinds[i];
    return NULL;
}

void server_furnish(struct server *self, struct edition *edition, const struct edition *former)
{
    struct decider decider = {edition->config, self->verifier, self->sessions, self->identities};
    struct portal_parts parts = {.config = edition->config,
                                 .okta = self->okta,
                                 .sessions = self->sessions,
                                 .identities = self->identities,
                                 .rules = edition->rules,
                                 .keys = self->keys,
                                 .verifier = self->verifier,
                                 .seal_keys = edition->seal_keys,
                                 .metrics = self->metrics,
                                 .authorities = edition->authorities,
                                 .icons = edition->icons};
    if (edition->config->has_webhook)
        edition->webhook = webhook_new(&decider, self->metrics);
    const struct proxy_parts proxy = {decider, self->fetcher, self->metrics, self->keys,
                                      edition->seal_keys};
    if (edition->config->has_proxy) {
        edition->proxy = former != NULL ? proxy_renew(former->proxy, &proxy) : proxy_new(&proxy);
        parts.streams = open_streams_list;
        parts.streams_ctx = proxy_streams(edition->proxy);
    }
    if (edition->config->has_portal)
        edition->portal =
            former != NULL ? portal_renew(former->portal, &parts) : portal_new(&parts);
}

static void register_handlers(struct server *self)
{
    struct listener_kind *webhook = server_kind(self, "webhook"),
                         *portal = server_kind(self, "portal");
    self->operations.metrics = self->metrics;
    self->operations.okta = self->okta;
    self->operations.store = self->store->ops->name;
    operations_register(&self->operations, server_kind(self, "operations")->host, true);
    if (webhook != NULL)
        self->webhook_handler = webhook_register(self->edition->webhook, webhook->host);
    if (portal != NULL) {
        operations_register(&self->operations, portal->host, false);
        self->portal_handler = portal_register(self->edition->portal, portal->host);
    }
    if (self->edition->proxy != NULL)
        self->proxy_handler =
            proxy_register(self->edition->proxy, server_kind(self, "proxy")->host);
    for (size_t i = 0; i < self->kind_count; ++i) { /* both reach the paths that are there now */
        web_access_log(self->kinds[i].host, self->kinds[i].name, false);
        listener_kind_guard(&self->kinds[i], self->metrics);
    }
}

static void start_workers(struct server *self)
{
    share_descriptors(self);
    for (unsigned i = 0; i < self->worker_count; ++i) {
        self->workers[i] = (struct worker){.index = i,
                                           .kinds = self->kind_list,
                                           .kind_count = self->kind_count,
                                           .ready = &self->ready};
        worker_start(&self->workers[i]);
    }
    for (unsigned i = 0; i < self->worker_count; ++i)
        sem_wait(&self->ready);
}

static bool start(struct server *self, const struct config *config, struct error *err)
{
    self->metrics = metrics_new();
    if (!edition_new(config, NULL, &self->edition, err) || !open_parts(self, err) ||
        !open_listeners(self, err) || !parts_store(self->edition->config, &self->store, err) ||
        !open_control(self, err))
        return false;
    start_background(self);
    if (!start_okta(self, err) || !start_cache(self, err))
        return false;
    self->control.sessions = self->sessions;
    self->control.identities = self->identities;
    server_add_gauges(self);
    server_furnish(self, self->edition, NULL);
    register_handlers(self);
    start_workers(self);
    atomic_store(&self->operations.ready, true);
    return true;
}

/* ---- the end ---- */

static void stop(struct server *self)
{
    atomic_store(&self->operations.ready, false);
    if (self->edition->proxy != NULL)
        proxy_stop(self->edition->proxy);
    for (unsigned i = 0; i < self->worker_count; ++i)
        worker_drain(&self->workers[i], DRAIN_MS);
    for (unsigned i = 0; i < self->worker_count; ++i)
        worker_join(&self->workers[i]);
    fetcher_stop(self->fetcher); /* its last callbacks run on the background loop */
    worker_drain(&self->background, CONTROL_DRAIN_MS);
    worker_join(&self->background);
    if (self->control_kind.name != NULL) /* while the store is ours, so is the socket */
        unlink(self->edition->config->operations.control_socket);
    store_free(self->store); /* finishes every write that was queued */
}

static void free_parts(struct server *self)
{
    identities_free(self->identities);
    sessions_free(self->sessions);
    okta_free(self->okta);
    fetcher_free(self->fetcher);
    token_verifier_free(self->verifier);
    token_keys_free(self->keys);
    edition_free(self->edition);
    metrics_free(self->metrics);
    for (size_t i = 0; i < self->kind_count; ++i)
        listener_kind_dispose(&self->kinds[i]);
    listener_kind_dispose(&self->control_kind);
}

static void prepare_process(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, signals,
                    NULL); /* inherited by every thread: only sigwait gets them */
    signal(SIGPIPE, SIG_IGN);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    unsetenv("SSLKEYLOGFILE"); /* libcurl would write the keys of every connection to Okta there */
    h2o_socket_buffer_mmap_settings.threshold = SIZE_MAX; /* never spill bodies into /tmp */
}

/* SIGHUP reloads, and so does a file that changed; SIGTERM and SIGINT are the end. */
static void wait_for_end(struct server *server, const sigset_t *signals)
{
    const struct timespec pause = {.tv_sec = RELOAD_WATCH_S};
    struct reload *reload = reload_new(server);
    int signal_number;
    while ((signal_number = sigtimedwait(signals, NULL, &pause)) == SIGHUP || signal_number == -1) {
        if (signal_number == SIGHUP)
            reload_now(reload);
        else
            reload_if_changed(reload);
    }
    reload_free(reload);
    log_info("stopping", LOG_INT("signal", signal_number));
}

int serve(const struct config *config)
{
    static struct server server;
    struct error err = {.kind = ERROR_NONE};
    enum log_level level = LOG_INFO;
    sigset_t signals;
    if (!log_level_parse(config->log.level, &level))
        level = LOG_INFO;
    prepare_process(&signals);
    log_start(STDERR_FILENO, level);
    if (!start(&server, config, &err)) {
        log_error("can't start", LOG_STR("reason", err.text));
        log_stop();
        fflush(NULL);
        _exit(1); /* threads may run: nothing is freed under them */
    }
    log_info("ready", LOG_STR("portal", config->has_portal ? config->portal.listen.text : NULL),
             LOG_STR("webhook", config->has_webhook ? config->webhook.listen.text : NULL),
             LOG_STR("proxy", config->has_proxy ? config->proxy.listen.text : NULL),
             LOG_STR("operations", config->operations.listen.text),
             LOG_INT("workers", server.worker_count));
    wait_for_end(&server, &signals);
    stop(&server);
    free_parts(&server);
    log_info("stopped");
    log_stop();
    return 0;
}
