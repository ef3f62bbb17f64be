/* SPDX-License-Identifier: Apache-2.0
 *
 * See api_tally.h. All of it may run on every thread at once. */
#include "api_tally.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/web.h"

#define LOG_EVERY_MS 1000

static const char *const RESULT_NAMES[API_RESULTS] = {"passed", "unauthorized", "unsure",
                                                      "forbidden", "malformed"};

void api_tally_init(struct api_tally *self, const char *cluster, struct metrics *metrics)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    *self = (struct api_tally){.cluster = cluster, .foreign_logged_ms = -LOG_EVERY_MS};
    for (unsigned i = 0; i < API_RESULTS; i++)
        self->requests[i] =
            metrics_counter(metrics, "postern_proxy_requests_total",
                            "Requests to what stands behind the proxy, by what became of them.",
                            text_format(&pool, "target=\"%s\",result=\"%s\"",
                                        metrics_label(&pool, cluster), RESULT_NAMES[i]));
    h2o_mem_clear_pool(&pool);
}

static bool is_write(h2o_req_t *req)
{
    return !web_method_is(req, "GET") && !web_method_is(req, "HEAD") &&
           !web_method_is(req, "OPTIONS");
}

static const char *kind_of(const struct api_told *told)
{
    return told->req->upgrade.base != NULL ? "upgrade" : is_write(told->req) ? "write" : "read";
}

static bool is_told(const struct api_told *told)
{
    return told->result != API_PASSED || told->req->upgrade.base != NULL ||
           (told->impersonates && is_write(told->req)) || told->asked_user.base != NULL;
}

static bool is_foreign(const struct api_told *told)
{
    return told->result == API_MALFORMED ||
           (told->result == API_UNAUTHORIZED && told->verdict->reason == REASON_FOREIGN_TOKEN);
}

static char *copy(h2o_req_t *req, h2o_iovec_t text)
{
    return text.base == NULL ? NULL : text_dup_iovec(&req->pool, text);
}

/* suppressed: how many of strangers there were since the last line of one. */
static void audit(const struct api_tally *self, const struct api_told *told, uint64_t suppressed)
{
    h2o_req_t *req = told->req;
    const struct verdict *verdict = told->verdict;
    const char *session = verdict->session.id[0] != '\0' ? verdict->session.id : NULL;
    log_audit("api_request", LOG_STR("cluster", self->cluster),
              LOG_STR("result", RESULT_NAMES[told->result]),
              LOG_STR("decision", decision_name(verdict->decision)),
              LOG_STR("reason", reason_name(verdict->reason)), LOG_STR("session", session),
              LOG_STR("uid", session != NULL ? verdict->session.uid : NULL),
              LOG_STR("user", verdict->identity != NULL ? verdict->identity->username : NULL),
              LOG_STR("impersonates", copy(req, told->asked_user)), LOG_STR("kind", kind_of(told)),
              LOG_STR("method", copy(req, req->input.method)),
              LOG_STR("path", copy(req, web_path(req))), LOG_STR("request_id", web_request_id(req)),
              LOG_INT("duration_us", told->duration_us),
              LOG_INT("suppressed", (int64_t)suppressed));
}

void api_tally_count(struct api_tally *self, const struct api_told *told)
{
    int64_t now_ms = clock_mono_ms();
    long long last = atomic_load(&self->foreign_logged_ms);
    counter_add(self->requests[told->result], 1);
    if (!is_told(told))
        return;
    if (!is_foreign(told))
        audit(self, told, 0);
    else if (now_ms - last >= LOG_EVERY_MS &&
             atomic_compare_exchange_strong(&self->foreign_logged_ms, &last, now_ms))
        audit(self, told, atomic_exchange(&self->foreign_unlogged, 0));
    else
        atomic_fetch_add(&self->foreign_unlogged, 1);
}
