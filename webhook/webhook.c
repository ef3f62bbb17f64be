/* SPDX-License-Identifier: Apache-2.0
 *
 * The TokenReview endpoint. A request is judged in the order path, method, who asks, form, size, content; the
 * first that fails is the answer, before anything is said of the token. What passes is a review and gets 200,
 * whatever the decision. Never a Retry-After and never 429: an API server would repeat itself for 30 s.
 * A query ("?timeout=30s" stands in every question of an API server) is ignored. */
#include "webhook/webhook.h"

#include <stdatomic.h>

#include "accept.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec.h"
#include "http/web.h"
#include "tally.h"

#define PATH           "/tokenreview"
#define MAX_CLIENT_CAS 32 /* bits of web_peer's ca_mask */

#define MAX_WAITING 4096 /* each holds its request: some 10 KiB, at most 256 KiB more */

struct cluster {
    const struct config_cluster *config;
    unsigned ca_mask; /* its CA's bit in web_peer's ca_mask; 0: nobody may ask */
    struct tally_cluster tally;
};

struct webhook {
    struct decider decider;
    struct cluster *clusters; /* as in the config */
    struct tally_refusals refusals;
    unsigned max_waiting;
    atomic_uint waiting; /* answers that wait for Okta, over all connections */
};

/* Each context has a webhook of its own choice, so that a reload changes it together with all else that belongs
 * to the context's thread: the bits of a peer's ca_mask mean what this thread's TLS context says. */
struct handler {
    h2o_handler_t super;
    struct webhook *webhook; /* of new contexts */
};

/* One review, as long as its request. */
struct exchange {
    struct webhook *webhook;
    struct cluster *cluster;
    h2o_req_t *req;
    struct review review;
    h2o_iovec_t *audiences; /* of the answer */
    size_t audience_count;
    int64_t began_us;
    struct decide_wait *wait; /* NULL: answered, or about to be */
};

/* ---- refusals ---- */

static const char *peer_name(h2o_req_t *req)
{
    const struct web_peer *peer = web_peer(req);
    return peer != NULL && peer->name_count != 0 ? peer->names[0] : NULL;
}

struct refusal {
    int status;
    const char *title;
    const char *why;
};

static int refuse(struct webhook *self, h2o_req_t *req, const struct cluster *cluster,
                  const struct refusal *refusal)
{
    const struct tally_refusal told = {.status = refusal->status,
                                       .why = refusal->why,
                                       .cluster = cluster != NULL ? cluster->config->name : NULL,
                                       .peer = peer_name(req),
                                       .request_id = web_request_id(req),
                                       .now_mono_us = clock_mono_us()};
    tally_refused(&self->refusals, &told);
    web_problem(req, refusal->status, refusal->title, refusal->why);
    return 0;
}

/* ---- which cluster, and who asks ---- */

static struct cluster *find_cluster(struct webhook *self, h2o_iovec_t path)
{
    const struct config *config = self->decider.config;
    size_t prefix_len = sizeof(PATH) - 1;
    if (iovec_equal(path, PATH))
        return config->cluster_count == 1 ? &self->clusters[0] : NULL;
    if (path.len <= prefix_len + 1 || memcmp(path.base, PATH "/", prefix_len + 1) != 0)
        return NULL;
    h2o_iovec_t name = h2o_iovec_init(path.base + prefix_len + 1, path.len - prefix_len - 1);
    for (unsigned i = 0; i < config->cluster_count; i++) {
        if (iovec_equal(name, config->clusters[i].name))
            return &self->clusters[i];
    }
    return NULL;
}

/* One of the cluster's names, in a certificate of the cluster's CA. */
static bool may_ask(const struct cluster *cluster, const struct web_peer *peer)
{
    const struct config_strings *wanted = &cluster->config->client_names;
    if (peer == NULL || (peer->ca_mask & cluster->ca_mask) == 0)
        return false;
    for (size_t i = 0; i < peer->name_count; i++) {
        for (unsigned j = 0; j < wanted->count; j++) {
            if (strcmp(peer->names[i], wanted->entries[j]) == 0)
                return true;
        }
    }
    return false;
}

/* ---- the answer ---- */

static void answer(struct exchange *self, struct verdict *verdict)
{
    int64_t now_us = clock_mono_us();
    const struct tally_review told = {verdict, web_request_id(self->req), now_us,
                                      now_us - self->began_us};
    const struct review_answer reply = {self->review.api_version, verdict, self->audiences,
                                        self->audience_count};
    tally_decision(&self->cluster->tally, &told);
    web_send_json(self->req, 200, review_write(&self->req->pool, &reply));
    verdict_dispose(verdict);
}

static void end_wait(struct exchange *self)
{
    self->wait = NULL;
    atomic_fetch_sub(&self->webhook->waiting, 1);
}

static void on_verdict(void *ctx, struct verdict *verdict)
{
    struct exchange *self = ctx;
    end_wait(self);
    answer(self, verdict);
}

/* The client left, or the answer is out. */
static void on_dispose(void *ctx)
{
    struct exchange *self = ctx;
    if (self->wait == NULL)
        return;
    decide_cancel(self->wait);
    end_wait(self);
}

static int answer_no_common_audience(struct exchange *self)
{
    struct verdict verdict = {.reason = REASON_NO_COMMON_AUDIENCE,
                              .decision = reason_decision(REASON_NO_COMMON_AUDIENCE)};
    answer(self, &verdict);
    return 0;
}

/* With api_audiences the answer names the common ones, and without one it is no; else it leaves them out,
 * which an API server takes for its own audience only. */
static int judge(struct exchange *self)
{
    const struct config_strings *configured = &self->cluster->config->api_audiences;
    struct webhook *webhook = self->webhook;
    h2o_req_t *req = self->req;
    if (configured->count != 0) {
        self->audiences = h2o_mem_alloc_pool(&req->pool, (self->review.audience_count + 1) *
                                                             sizeof(*self->audiences));
        self->audience_count = review_common_audiences(&self->review, configured, self->audiences);
        if (self->audience_count == 0)
            return answer_no_common_audience(self);
    }
    struct verdict verdict;
    self->wait = decide(&webhook->decider, web_loop(req), self->cluster->config, self->review.token,
                        &verdict, on_verdict, self);
    if (self->wait == NULL) {
        answer(self, &verdict);
        return 0;
    }
    if (atomic_fetch_add(&webhook->waiting, 1) < webhook->max_waiting)
        return 0;
    decide_cancel(self->wait);
    end_wait(self);
    return refuse(webhook, req, self->cluster,
                  &(struct refusal){503, "Overloaded", "Too many reviews wait for Okta."});
}

/* ---- the request ---- */

static const struct refusal *form_problem(h2o_req_t *req)
{
    static const struct refusal no_json = {415, "Unsupported media type",
                                           "A TokenReview is sent as application/json."};
    static const struct refusal no_accept = {406, "Not acceptable",
                                             "The answer is application/json."};
    static const struct refusal too_large = {413, "Too large",
                                             "A TokenReview has at most 256 KiB here."};
    if (!web_content_type_is(req, "application/json"))
        return &no_json;
    if (!accept_admits_json(&req->headers))
        return &no_accept;
    return req->entity.len > WEBHOOK_MAX_BODY ? &too_large : NULL;
}

static int review(struct webhook *self, h2o_req_t *req, struct cluster *cluster)
{
    struct error err = {.kind = ERROR_NONE};
    struct exchange *exchange = h2o_mem_alloc_shared(&req->pool, sizeof(*exchange), on_dispose);
    *exchange = (struct exchange){
        .webhook = self, .cluster = cluster, .req = req, .began_us = clock_mono_us()};
    if (!review_parse(&req->pool, req->entity, &exchange->review, &err))
        return refuse(self, req, cluster, &(struct refusal){400, "Not a TokenReview", err.text});
    return judge(exchange);
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    struct webhook *self = h2o_context_get_handler_context(req->conn->ctx, handler);
    struct cluster *cluster = find_cluster(self, web_path(req));
    if (cluster == NULL)
        return refuse(
            self, req, NULL,
            &(struct refusal){404, "Not found", "No cluster of that name is reviewed here."});
    if (!web_method_is(req, "POST")) {
        web_add_header(req, "allow", "POST");
        return refuse(self, req, cluster,
                      &(struct refusal){405, "Method not allowed", "A TokenReview is a POST."});
    }
    if (!may_ask(cluster, web_peer(req)))
        return refuse(
            self, req, cluster,
            &(struct refusal){403, "Forbidden", "This client certificate is not of that cluster."});
    const struct refusal *problem = form_problem(req);
    return problem != NULL ? refuse(self, req, cluster, problem) : review(self, req, cluster);
}

/* ---- making it ---- */

static size_t find_file(const char *const *files, size_t count, const char *file)
{
    size_t i = 0;
    while (i < count && strcmp(files[i], file) != 0)
        i++;
    return i;
}

size_t webhook_ca_files(const struct config *config, const char **files, size_t max)
{
    size_t count = 0;
    for (unsigned i = 0; i < config->cluster_count; i++) {
        const char *file = config->clusters[i].client_ca_file;
        if (file != NULL && count < max && find_file(files, count, file) == count)
            files[count++] = file;
    }
    return count;
}

/* A cluster whose CA has no bit answers nobody. */
static unsigned ca_mask_of(const struct config *config, const struct config_cluster *cluster)
{
    const char *files[MAX_CLIENT_CAS];
    size_t count = webhook_ca_files(config, files, MAX_CLIENT_CAS);
    size_t index =
        cluster->client_ca_file == NULL ? count : find_file(files, count, cluster->client_ca_file);
    return index == count ? 0 : 1u << index;
}

void webhook_check_config(const struct config *config, struct config_problems *problems)
{
    for (unsigned i = 0; i < config->cluster_count; i++) {
        char key[64];
        snprintf(key, sizeof(key), "clusters[%u].client_ca_file", i);
        if (ca_mask_of(config, &config->clusters[i]) == 0)
            config_complain(problems, config, key,
                            "is one of more than %d different ones, or missing", MAX_CLIENT_CAS);
    }
}

struct webhook *webhook_new(const struct decider *decider, struct metrics *metrics)
{
    const struct config *config = decider->config;
    struct webhook *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct webhook){.decider = *decider, .max_waiting = MAX_WAITING};
    self->clusters = h2o_mem_alloc((config->cluster_count + 1) * sizeof(*self->clusters));
    for (unsigned i = 0; i < config->cluster_count; i++) {
        struct cluster *cluster = &self->clusters[i];
        cluster->config = &config->clusters[i];
        cluster->ca_mask = ca_mask_of(config, cluster->config);
        tally_cluster_init(&cluster->tally, cluster->config->name, metrics);
        if (cluster->ca_mask == 0)
            log_error("this cluster can't be reviewed: too many different client_ca_files",
                      LOG_STR("cluster", cluster->config->name));
    }
    tally_refusals_init(&self->refusals, metrics);
    return self;
}

void webhook_limit_waiting(struct webhook *self, unsigned max)
{
    self->max_waiting = max;
}

void webhook_free(struct webhook *self)
{
    if (self == NULL)
        return;
    free(self->clusters);
    free(self);
}

static void on_context(h2o_handler_t *handler, h2o_context_t *ctx)
{
    h2o_context_set_handler_context(ctx, handler, ((struct handler *)handler)->webhook);
}

void webhook_take_over(struct webhook *self, h2o_handler_t *handler, h2o_context_t *ctx)
{
    h2o_context_set_handler_context(ctx, handler, self);
}

h2o_handler_t *webhook_register(struct webhook *self, h2o_hostconf_t *host)
{
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    struct handler *handler = (struct handler *)h2o_create_handler(path, sizeof(*handler));
    handler->super.on_context_init = on_context;
    handler->super.on_req = on_request;
    handler->webhook = self;
    return &handler->super;
}
