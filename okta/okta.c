/* SPDX-License-Identifier: Apache-2.0
 *
 * The client: made from the config, its numbers, and what it says of itself. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "okta_private.h"

#define CA_FILE_MAX INT64_C(1048576)

/* ---- check ---- */

static bool holds_certificate(int fd, const char *path, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return error_set(err, ERROR_UPSTREAM, "%s: %m", path);
    if (!S_ISREG(st.st_mode) || st.st_size > CA_FILE_MAX)
        return error_set(err, ERROR_BAD_INPUT, "%s: is no file of at most 1 MiB", path);
    char *bytes = h2o_mem_alloc((size_t)st.st_size + 1);
    ssize_t len = pread(fd, bytes, (size_t)st.st_size, 0);
    static const char mark[] = "-----BEGIN CERTIFICATE-----";
    bool found = len > 0 && memmem(bytes, (size_t)len, mark, sizeof(mark) - 1) != NULL;
    free(bytes);
    return found || error_set(err, ERROR_BAD_INPUT, "%s: holds no PEM certificate", path);
}

static bool check_ca_file(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        error_set(err, ERROR_UPSTREAM, "%s: %m", path);
        return error_prefix(err, "oidc.certificate_authority_file");
    }
    bool good = holds_certificate(fd, path, err);
    close(fd);
    return good || error_prefix(err, "oidc.certificate_authority_file");
}

bool okta_check(const struct config *config, struct error *err)
{
    struct client_auth auth;
    if (!client_auth_load(config, &auth, err))
        return false;
    client_auth_dispose(&auth);
    const char *ca_file = config->oidc.certificate_authority_file;
    if (ca_file != NULL && !check_ca_file(ca_file, err))
        return false;
    if (provider_authority(config->oidc.issuer).base == NULL)
        return error_set(err, ERROR_BAD_INPUT, "oidc.issuer: is no https URL");
    return true;
}

/* ---- numbers ---- */

static double read_remaining(void *ctx)
{
    struct okta_rate *rate = ctx;
    int64_t value = atomic_load_explicit(&rate->remaining, memory_order_relaxed);
    return value >= 0 ? (double)value : (double)NAN;
}

static void make_metrics(struct okta *self, struct metrics *metrics)
{
    static const char *const endpoints[ENDPOINTS] = {"discovery", "keys",     "exchange",
                                                     "refresh",   "userinfo", "revoke"};
    static const char *const buckets[BUCKETS] = {"token", "userinfo"};
    char labels[128];
    for (size_t e = 0; e < ENDPOINTS; e++) {
        for (size_t o = 0; o < OUTCOMES; o++) {
            snprintf(labels, sizeof(labels), "endpoint=\"%s\",result=\"%s\"", endpoints[e],
                     okta_outcome_name((enum okta_outcome)o));
            self->requests[e][o] =
                metrics_counter(metrics, "postern_okta_requests_total",
                                "Requests to Okta by what came of them.", labels);
        }
    }
    for (size_t b = 0; b < BUCKETS; b++) {
        atomic_init(&self->rates[b].remaining, -1);
        budget_init(&self->rates[b].budget);
        snprintf(labels, sizeof(labels), "bucket=\"%s\"", buckets[b]);
        metrics_gauge(metrics, "postern_okta_rate_remaining",
                      "Requests that Okta's rate limit still allows, as its last answer said.",
                      labels, read_remaining, &self->rates[b]);
    }
}

void okta_count(struct okta *self, enum okta_endpoint endpoint, enum okta_outcome outcome)
{
    counter_add(self->requests[endpoint][outcome], 1);
}

static int64_t number_of(h2o_iovec_t text)
{
    size_t value = text.len > 0 && text.len < 11 ? h2o_strtosize(text.base, text.len) : SIZE_MAX;
    return value == SIZE_MAX ? -1 : (int64_t)value;
}

/* By Okta's own clock, as ours may be wrong. */
static int64_t window_left_s(const struct fetch_result *result)
{
    struct tm date;
    int64_t reset_s = number_of(result->rate_reset);
    if (reset_s < 0 || result->date.len == 0 ||
        h2o_time_parse_rfc1123(result->date.base, result->date.len, &date) != 0)
        return -1;
    int64_t left_s = reset_s - (int64_t)timegm(&date);
    return left_s < 0 ? 0 : left_s;
}

void okta_note_rate(struct okta *self, enum okta_endpoint endpoint,
                    const struct fetch_result *result)
{
    bool token = endpoint == ENDPOINT_EXCHANGE || endpoint == ENDPOINT_REFRESH;
    if (!token && endpoint != ENDPOINT_USERINFO)
        return;
    struct okta_rate *rate = &self->rates[token ? BUCKET_TOKEN : BUCKET_USERINFO];
    const struct budget_note note = {.status = result->status,
                                     .limit = number_of(result->rate_limit),
                                     .remaining = number_of(result->rate_remaining),
                                     .window_left_s = window_left_s(result)};
    budget_learn(&rate->budget, &note, clock_mono_ms());
    if (note.remaining >= 0)
        atomic_store_explicit(&rate->remaining, note.remaining, memory_order_relaxed);
}

bool okta_user_in_idtoken(const struct okta *self)
{
    return atomic_load_explicit(&self->user_in_idtoken, memory_order_relaxed);
}

bool okta_may_ask(struct okta *self, bool urgent)
{
    enum okta_bucket bucket = okta_user_in_idtoken(self) ? BUCKET_TOKEN : BUCKET_USERINFO;
    return budget_take(&self->rates[bucket].budget, urgent, clock_mono_ms());
}

/* ---- status ---- */

void okta_status(struct okta *self, struct okta_status *out)
{
    pthread_mutex_lock(&self->status_lock);
    *out = self->status;
    pthread_mutex_unlock(&self->status_lock);
}

void okta_set_trouble(struct okta *self, const char *text)
{
    pthread_mutex_lock(&self->status_lock);
    snprintf(self->status.error, sizeof(self->status.error), "%s", text);
    pthread_mutex_unlock(&self->status_lock);
}

void okta_set_discovered(struct okta *self)
{
    const char *end_session = self->provider->end_session_endpoint;
    pthread_mutex_lock(&self->status_lock);
    self->status.discovered = true;
    self->status.error[0] = '\0';
    snprintf(self->status.end_session_endpoint, sizeof(self->status.end_session_endpoint), "%s",
             end_session != NULL ? end_session : "");
    pthread_mutex_unlock(&self->status_lock);
}

/* ---- reload ---- */

struct okta_settings {
    struct client_auth auth; /* which knows the config */
};

bool okta_settings_load(const struct config *config, struct okta_settings **out, struct error *err)
{
    struct client_auth auth;
    if (!okta_check(config, err) || !client_auth_load(config, &auth, err))
        return false;
    struct okta_settings *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct okta_settings){auth};
    *out = self;
    return true;
}

void okta_settings_use(struct okta_settings *self, const struct config *config)
{
    self->auth.config = config;
}

void okta_settings_free(struct okta_settings *self)
{
    if (self == NULL)
        return;
    client_auth_dispose(&self->auth);
    free(self);
}

static void set_host(struct okta *self)
{
    h2o_iovec_t host = provider_authority(self->config->oidc.issuer);
    pthread_mutex_lock(&self->status_lock);
    snprintf(self->status.host, sizeof(self->status.host), "%.*s", (int)host.len, host.base);
    pthread_mutex_unlock(&self->status_lock);
}

void okta_close(struct okta *self)
{
    self->closed = true;
    atomic_fetch_add(&self->epoch, 1);
    loading_close(self);
    pthread_mutex_lock(&self->status_lock);
    self->status = (struct okta_status){.discovered = false};
    pthread_mutex_unlock(&self->status_lock);
}

void okta_renew(struct okta *self, struct okta_settings *settings)
{
    if (self->closed)
        atomic_fetch_add(&self->epoch, 1); /* what was asked in between knows the old provider */
    self->closed = false;
    self->config = settings->auth.config;
    atomic_store(&self->user_in_idtoken, self->config->oidc.user_in_idtoken);
    client_auth_dispose(&self->auth);
    self->auth = settings->auth;
    settings->auth = (struct client_auth){0}; /* taken over */
    okta_settings_free(settings);
    set_host(self);
    if (self->provider == NULL)
        loading_boot(self); /* its failure may be what was mended */
}

/* ---- life ---- */

static void on_boot(struct loop_call *call)
{
    loading_boot(H2O_STRUCT_FROM_MEMBER(struct okta, boot, call));
}

/* NOLINTNEXTLINE(readability-function-size): each parameter is a part of it, named once in server/ */
bool okta_new(const struct config *config, const char *redirect_uri, struct fetcher *fetcher,
              struct loop *home, struct metrics *metrics, struct okta **out, struct error *err)
{
    struct client_auth auth;
    if (!client_auth_load(config, &auth, err))
        return false;
    struct okta *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct okta){.config = config,
                          .redirect_uri = h2o_strdup(NULL, redirect_uri, SIZE_MAX).base,
                          .fetcher = fetcher,
                          .home = home,
                          .auth = auth,
                          .boot.run = on_boot};
    atomic_init(&self->user_in_idtoken, config->oidc.user_in_idtoken);
    pthread_mutex_init(&self->status_lock, NULL);
    h2o_linklist_init_anchor(&self->calls);
    h2o_linklist_init_anchor(&self->revocations);
    h2o_linklist_init_anchor(&self->loading.waiting);
    h2o_linklist_init_anchor(&self->rekeying.waiting);
    make_metrics(self, metrics);
    set_host(self);
    loop_post(home, &self->boot);
    *out = self;
    return true;
}

void okta_free(struct okta *self)
{
    if (self == NULL)
        return;
    calls_drop(self);
    revocations_drop(self);
    provider_free(self->loading.provider);
    provider_free(self->provider);
    jwks_free(self->keys);
    client_auth_dispose(&self->auth);
    for (size_t b = 0; b < BUCKETS; b++)
        budget_dispose(&self->rates[b].budget);
    pthread_mutex_destroy(&self->status_lock);
    free(self->redirect_uri);
    free(self);
}
