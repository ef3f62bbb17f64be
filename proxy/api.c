/* SPDX-License-Identifier: Apache-2.0
 *
 * See api.h. Order: the request's form, the bearer, the decision, the right to be somebody else, the head that goes on.
 * Nothing that a client sent says who somebody is: Authorization and Impersonate-* never go on as they came; they are
 * read, judged and written anew. If no identity can be written, nothing is sent. */
#include "api.h"

#include "access.h"
#include "account.h"
#include "answers.h"
#include "api_tally.h"
#include "base/clock.h"
#include "base/log.h"
#include "bearer.h"
#include "http/web.h"
#include "stream.h"
#include "target.h"

#define HEAD_MS INT64_C(75000) /* an API server's own limit for a request is 60 s */
#define IDLE_MS INT64_C(90000) /* between two pieces of an answer that is no watch */

struct api {
    struct api_parts parts;
    struct upstream *upstream; /* NULL: its files could not be read */
    struct account account;
    struct access *access; /* of impersonate */
    struct api_tally tally;
};

struct exchange { /* in the request's pool */
    struct api *api;
    h2o_req_t *req;
    struct header_list headers;
    h2o_iovec_t token;
    struct impersonation asked;
    struct verdict verdict;
    int64_t began_us;
    struct decide_wait *decide_wait; /* at most one of these two is not NULL */
    struct access_wait *access_wait;
};

static const struct config_api *config_of(const struct api *self)
{
    return &self->parts.cluster->api;
}

/* ---- making it ---- */

struct api *api_new(const struct api_parts *parts)
{
    struct error err;
    struct api *self = h2o_mem_alloc(sizeof(*self));
    const struct config_api *config = &parts->cluster->api;
    const struct upstream_options options = {.name = parts->cluster->name,
                                             .url = config->upstream,
                                             .certificate_authority_file =
                                                 config->certificate_authority_file,
                                             .metrics = parts->metrics};
    *self = (struct api){.parts = *parts};
    if (!upstream_new(&options, &self->upstream, &err)) {
        log_error("this API server can't be reached through the proxy",
                  LOG_STR("cluster", parts->cluster->name), LOG_STR("reason", err.text));
        self->upstream = NULL;
    }
    account_init(&self->account, config->service_account_token_file);
    api_reload_files(self);
    self->access = access_new(
        &(struct access_options){.upstream = config->upstream,
                                 .certificate_authority_file = config->certificate_authority_file,
                                 .account = &self->account,
                                 .fetcher = parts->fetcher});
    api_tally_init(&self->tally, parts->cluster->name, parts->metrics);
    return self;
}

void api_free(struct api *self)
{
    if (self == NULL)
        return;
    upstream_free(self->upstream);
    account_dispose(&self->account);
    access_free(self->access);
    free(self);
}

void api_reload_files(struct api *self)
{
    struct error err;
    if (config_of(self)->mode == API_IMPERSONATE && !account_load(&self->account, &err))
        log_error("a service account's token can't be read: the former one goes on",
                  LOG_STR("cluster", self->parts.cluster->name), LOG_STR("reason", err.text));
}

void api_check_config(const struct config *config, unsigned cluster,
                      struct config_problems *problems)
{
    char key[64];
    struct error err;
    struct upstream *upstream = NULL;
    const struct config_api *api = &config->clusters[cluster].api;
    struct metrics *metrics = metrics_new();
    const struct upstream_options options = {.name = config->clusters[cluster].name,
                                             .url = api->upstream,
                                             .certificate_authority_file =
                                                 api->certificate_authority_file,
                                             .metrics = metrics};
    snprintf(key, sizeof(key), "clusters[%u].api.certificate_authority_file", cluster);
    if (!upstream_new(&options, &upstream, &err))
        config_complain(problems, config, key, "%s", err.text);
    else
        upstream_free(upstream);
    metrics_free(metrics);
    snprintf(key, sizeof(key), "clusters[%u].api.service_account_token_file", cluster);
    if (api->mode == API_IMPERSONATE && !account_check(api->service_account_token_file, &err))
        config_complain(problems, config, key, "%s", err.text);
}

/* ---- refusals ---- */

static void tell(struct exchange *self, enum api_result result)
{
    const struct api_told told = {.req = self->req,
                                  .verdict = &self->verdict,
                                  .asked_user = self->asked.user,
                                  .result = result,
                                  .duration_us = clock_mono_us() - self->began_us,
                                  .impersonates = config_of(self->api)->mode == API_IMPERSONATE};
    api_tally_count(&self->api->tally, &told);
}

static void refuse(struct exchange *self, enum api_result result, int status, const char *message)
{
    tell(self, result);
    answer_status(self->req, status, message);
}

/* Two readers could see two requests in it: what comes behind on this connection can't be trusted. */
static void refuse_form(struct exchange *self, const struct error *err)
{
    self->req->http1_is_persistent = 0;
    refuse(self, API_MALFORMED, 400, err->text);
}

/* ---- going on ---- */

static void on_failure(void *ctx, h2o_req_t *req, enum proxy_failure failure)
{
    struct exchange *self = ctx;
    if (failure == PROXY_CUT && atomic_load(self->api->parts.stopping)) {
        answer_status(req, 503, "the proxy is stopping");
        return;
    }
    int status = proxy_failure_status(failure);
    answer_status(req, status, status == 401 ? NULL : proxy_failure_text(failure));
}

static bool is_set(const struct web_form *form, const char *name)
{
    h2o_iovec_t value = web_form_value(form, name);
    return value.base != NULL && !iovec_equal(value, "false") && !iovec_equal(value, "0");
}

static bool query_asks_to_wait(h2o_req_t *req)
{
    struct web_form form;
    struct error err;
    h2o_iovec_t query = web_query(req);
    return query.base != NULL && web_form_parse(&req->pool, query, &form, &err) &&
           (is_set(&form, "watch") || is_set(&form, "follow"));
}

/* Watches and followed logs may be silent for hours; so may what stands behind an API server's own proxy. */
static bool may_be_silent(h2o_req_t *req)
{
    h2o_iovec_t path = req->input.path;
    return req->upgrade.base != NULL || query_asks_to_wait(req) ||
           memmem(path.base, path.len, "/proxy/", 7) != NULL ||
           memmem(path.base, path.len, "/watch/", 7) != NULL;
}

static h2o_iovec_t bearer_line(h2o_mem_pool_t *pool, h2o_iovec_t token)
{
    struct text line;
    text_init(&line, pool);
    text_add_string(&line, "Bearer ");
    text_add(&line, token.base, token.len);
    return text_iovec(&line);
}

/* Authorization, and who it is. False: nothing may be sent. */
static bool add_identity(struct exchange *self)
{
    h2o_mem_pool_t *pool = &self->req->pool;
    h2o_iovec_t authorization;
    if (config_of(self->api)->mode == API_PASS) {
        authorization = bearer_line(pool, self->token);
        impersonation_add(&self->asked, &self->headers); /* the API server judges it by the token */
    } else {
        authorization = account_authorization(&self->api->account, pool);
        if (authorization.len == 0)
            return false;
        if (self->asked.user.base == NULL) {
            if (!impersonation_add_person(&self->verdict, &self->headers))
                return false;
        } else {
            impersonation_add(&self->asked, &self->headers);
            impersonation_add_original(&self->verdict, &self->headers);
        }
    }
    header_list_add(&self->headers, "Authorization", authorization);
    return true;
}

static void forward(struct exchange *self)
{
    struct api *api = self->api;
    h2o_req_t *req = self->req;
    const struct session_grant *session = &self->verdict.session;
    const struct stream_owner owner = {.login_id = session->login_id,
                                       .grant_id = session->id,
                                       .uid = session->uid,
                                       .cluster = api->parts.cluster->name};
    bearer_drop(&self->headers);
    headers_add_forwarded(req, &self->headers);
    if (api->upstream == NULL || !add_identity(self)) {
        refuse(self, API_UNSURE, 503,
               "this cluster's API server can't be asked through the proxy now");
        return;
    }
    tell(self, API_PASSED);
    proxy_forward(
        req, &(struct proxy_request){.upstream = api->upstream,
                                     .streams = streams_here(api->parts.streams, web_loop(req)),
                                     .owner = &owner,
                                     .method = req->input.method,
                                     .path = req->input.path,
                                     .host = iovec_of(upstream_authority(api->upstream)),
                                     .headers = self->headers.entries,
                                     .header_count = self->headers.count,
                                     .upgrade = req->upgrade.base != NULL,
                                     .head_ms = HEAD_MS,
                                     .idle_ms = may_be_silent(req) ? 0 : IDLE_MS,
                                     .on_failure = on_failure,
                                     .ctx = self});
}

/* ---- being somebody else ---- */

static void on_access(void *ctx, enum access_answer answer)
{
    struct exchange *self = ctx;
    self->access_wait = NULL;
    if (answer == ACCESS_ALLOWED)
        forward(self);
    else if (answer == ACCESS_DENIED)
        refuse(self, API_FORBIDDEN, 403, "you may not impersonate whom you asked to impersonate");
    else
        refuse(self, API_UNSURE, 503,
               "the API server could not be asked whether you may impersonate");
}

static void judge_impersonation(struct exchange *self)
{
    struct error err;
    if (self->asked.user.base == NULL || config_of(self->api)->mode == API_PASS)
        forward(self);
    else if (!impersonation_check(&self->asked, &err))
        refuse(self, API_FORBIDDEN, 403, err.text);
    else
        self->access_wait = access_ask(self->api->access, web_loop(self->req), &self->verdict,
                                       &self->asked, on_access, self);
}

/* ---- who asks ---- */

static void end_wait(struct exchange *self)
{
    if (self->decide_wait != NULL)
        waits_leave(self->api->parts.waits);
    self->decide_wait = NULL;
}

static void on_verdict(void *ctx, struct verdict *verdict)
{
    struct exchange *self = ctx;
    end_wait(self);
    if (verdict != &self->verdict)
        self->verdict = *verdict;
    switch (self->verdict.decision) {
    case DECISION_YES:
        judge_impersonation(self);
        return;
    case DECISION_UNSURE:
        refuse(self, API_UNSURE, 503, reason_public_text(self->verdict.reason));
        return;
    default:
        refuse(self, API_UNAUTHORIZED, 401, NULL);
    }
}

static void on_dispose(void *ctx)
{
    struct exchange *self = ctx;
    if (self->decide_wait != NULL)
        decide_cancel(self->decide_wait);
    end_wait(self);
    if (self->access_wait != NULL)
        access_cancel(self->access_wait);
    verdict_dispose(&self->verdict);
}

static void judge_person(struct exchange *self)
{
    struct api *api = self->api;
    if (bearer_of(self->req, &self->token) != BEARER_FOUND) {
        self->verdict = (struct verdict){.decision = DECISION_NO, .reason = REASON_FOREIGN_TOKEN};
        refuse(self, API_UNAUTHORIZED, 401, NULL);
        return;
    }
    self->decide_wait = decide(api->parts.decider, web_loop(self->req), api->parts.cluster,
                               self->token, &self->verdict, on_verdict, self);
    if (self->decide_wait == NULL) {
        on_verdict(self, &self->verdict);
    } else if (!waits_enter(api->parts.waits)) {
        decide_cancel(self->decide_wait);
        self->decide_wait = NULL;
        refuse(self, API_UNSURE, 503,
               "too many requests wait for Okta here: try again in a moment");
    }
}

void api_serve(struct api *self, h2o_req_t *req)
{
    struct error err;
    struct exchange *exchange = h2o_mem_alloc_shared(&req->pool, sizeof(*exchange), on_dispose);
    *exchange = (struct exchange){.api = self, .req = req, .began_us = clock_mono_us()};
    exchange->verdict.reason = REASON_FOREIGN_TOKEN;
    exchange->verdict.decision = DECISION_NO;
    header_list_init(&exchange->headers, &req->pool);
    if (!target_check(req->input.path, &err) ||
        !headers_forward(req, NULL, &exchange->headers, &err) ||
        !impersonation_read(req, &exchange->asked, &err))
        refuse_form(exchange, &err);
    else
        judge_person(exchange);
}
