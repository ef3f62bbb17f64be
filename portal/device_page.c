/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /device, POST /device, POST /device/approve: somebody who is signed in types a machine's code, looks at where it
 * came from, and approves or denies. Who lures people here with a code of their own gets a session of theirs (RFC 8628
 * section 5.4), so a link that carries the code fills in the form and no more, and the page says what to compare. */
#include "handlers.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/web.h"
#include "visit.h"
#include "words.h"

#define DEVICE_PATH "/device"

/* ---- what the pages show ---- */

struct json *device_ask_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                              const struct identity *identity, const char *user_code)
{
    struct json *model = page_new(pool, frame, "Approve a machine", clock_wall_ms());
    page_add_person(pool, model, identity);
    json_add_string(pool, model, "user_code", user_code);
    return model;
}

struct json *device_show_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                               const struct identity *identity, const struct device_view *view)
{
    struct json *model = page_new(pool, frame, "Is this you?", view->now_ms);
    page_add_person(pool, model, identity);
    json_add_string(pool, model, "user_code", view->user_code);
    json_add_string(pool, model, "cluster", view->request->cluster);
    json_add_string(pool, model, "address", view->request->address);
    json_add_string(pool, model, "here", view->here);
    json_add_bool(pool, model, "same_address", strcmp(view->request->address, view->here) == 0);
    json_add_string(pool, model, "username", identity->username);
    page_add_time(pool, model, "began", view->began_ms, view->now_ms);
    return model;
}

struct json *device_done_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                               const struct identity *identity,
                               const struct device_request *request, bool approved)
{
    struct json *model = page_new(pool, frame, approved ? "Approved" : "Denied", clock_wall_ms());
    page_add_person(pool, model, identity);
    json_add_bool(pool, model, "approved", approved);
    json_add_string(pool, model, "cluster", request->cluster);
    json_add_string(pool, model, "address", request->address);
    return model;
}

/* ---- codes that lead nowhere ---- */

static void refuse_code(struct visit *visit, enum device_found found)
{
    struct trouble trouble = {.status = 404,
                              .title = "No machine waits with this code",
                              .what = "It may be mistyped, or older than ten minutes.",
                              .todo = "Look at the machine again. If its code is the one that you "
                                      "typed, begin anew there.",
                              .action = "Enter a code",
                              .href = DEVICE_PATH};
    if (found == DEVICE_NO_SUCH) {
        counter_add(visit->portal->device_events[DEVICE_WRONG_CODE], 1);
    } else if (found == DEVICE_LOCKED) {
        counter_add(visit->portal->device_events[DEVICE_LOCKED_OUT], 1);
        trouble.status = 429;
        trouble.title = "Too many wrong codes";
        trouble.what =
            text_format(&visit->req->pool, "You have entered %d codes with which no machine waits.",
                        DEVICE_WRONG_MAX);
        trouble.todo = "Wait ten minutes, then enter the code that the machine shows by then.";
        trouble.action = NULL;
    } else if (found == DEVICE_DECIDED) {
        trouble.status = 409;
        trouble.title = "This code was used already";
        trouble.what = "Somebody has approved or denied it. Each code works once.";
        trouble.todo = "If the machine still asks, begin anew there.";
    }
    page_trouble(&visit->portal->frame, visit->req, &trouble);
}

struct asked { /* a form of ours, once it was found good */
    struct web_form form;
    char user_code[DEVICE_USER_SIZE];
    struct device_request request;
    const struct config_cluster *cluster;
};

/* False: it was answered. A request of a cluster that a reload has taken away is as good as gone. */
static bool find(struct visit *visit, struct asked *out)
{
    enum device_found found = DEVICE_NO_SUCH;
    if (!visit_form(visit, &out->form))
        return false;
    if (device_user_code_read(web_form_value(&out->form, "user_code"), out->user_code))
        found = device_requests_find(visit->portal->devices, visit->login.uid, out->user_code,
                                     clock_mono_ms(), &out->request);
    if (found == DEVICE_FOUND) {
        out->cluster = portal_cluster(visit->portal, iovec_of(out->request.cluster));
        found = out->cluster != NULL ? DEVICE_FOUND : DEVICE_NO_SUCH;
    }
    if (found != DEVICE_FOUND) {
        refuse_code(visit, found);
    } else if (!subject_may_use(visit->portal->parts.config, out->cluster, visit->identity)) {
        token_refuse_cluster(visit, out->cluster);
        found = DEVICE_NO_SUCH;
    }
    return found == DEVICE_FOUND;
}

/* ---- the form ---- */

static void ask(struct visit *visit)
{
    visit_send(
        visit, "device.html",
        device_ask_model(&visit->req->pool, &visit->portal->frame, visit->identity, visit->detail));
}

int device_ask(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct web_form query;
    char *user_code = h2o_mem_alloc_pool(&req->pool, DEVICE_USER_SIZE);
    const char *here = DEVICE_PATH;
    (void)rest;
    if (web_form_parse(&req->pool, web_query(req), &query, NULL) &&
        device_user_code_read(web_form_value(&query, "user_code"), user_code))
        here = text_format(&req->pool, DEVICE_PATH "?user_code=%s", user_code);
    else
        user_code = NULL;
    return visit_start_at(ctx, req, here, ask, user_code);
}

/* ---- the question ---- */

static void show(struct visit *visit)
{
    struct asked asked;
    char here[WEB_ADDRESS_SIZE];
    if (!find(visit, &asked))
        return;
    web_remote_address(visit->req, here);
    const struct device_view view = {.request = &asked.request,
                                     .user_code = asked.user_code,
                                     .here = here,
                                     .began_ms =
                                         visit->now_ms - (clock_mono_ms() - asked.request.began_ms),
                                     .now_ms = visit->now_ms};
    visit_send(visit, "device_show.html",
               device_show_model(&visit->req->pool, &visit->portal->frame, visit->identity, &view));
}

int device_show(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)rest;
    return visit_from_us(ctx, req) ? visit_start_at(ctx, req, DEVICE_PATH, show, NULL) : 0;
}

/* ---- the answer ---- */

static void tell(const struct visit *visit, const struct device_request *request, bool approved)
{
    char address[WEB_ADDRESS_SIZE];
    web_remote_address(visit->req, address);
    counter_add(visit->portal->device_events[approved ? DEVICE_WAS_APPROVED : DEVICE_WAS_DENIED],
                1);
    if (approved)
        log_audit("device_approved", LOG_STR("user", visit->identity->username),
                  LOG_STR("uid", visit->login.uid), LOG_STR("login", visit->login.id),
                  LOG_STR("cluster", request->cluster), LOG_STR("address", address),
                  LOG_STR("device_address", request->address),
                  LOG_STR("request_id", web_request_id(visit->req)));
    else
        log_audit("device_denied", LOG_STR("user", visit->identity->username),
                  LOG_STR("uid", visit->login.uid), LOG_STR("login", visit->login.id),
                  LOG_STR("cluster", request->cluster), LOG_STR("address", address),
                  LOG_STR("device_address", request->address),
                  LOG_STR("request_id", web_request_id(visit->req)));
}

static void decide(struct visit *visit)
{
    struct asked asked;
    if (!find(visit, &asked))
        return;
    h2o_iovec_t answer = web_form_value(&asked.form, "answer");
    bool approved = iovec_equal(answer, "approve");
    if (!approved && !iovec_equal(answer, "deny")) {
        page_trouble(&visit->portal->frame, visit->req,
                     &(struct trouble){.status = 400,
                                       .title = "This can't be a form of ours",
                                       .what = "It says neither yes nor no.",
                                       .todo = "Enter the code again.",
                                       .action = "Enter a code",
                                       .href = DEVICE_PATH});
        return;
    }
    enum device_found found =
        device_requests_decide(visit->portal->devices, visit->login.uid, asked.user_code,
                               approved ? visit->login.id : NULL, clock_mono_ms(), &asked.request);
    if (found != DEVICE_FOUND) {
        refuse_code(visit, found);
        return;
    }
    tell(visit, &asked.request, approved);
    visit_send(visit, "device_done.html",
               device_done_model(&visit->req->pool, &visit->portal->frame, visit->identity,
                                 &asked.request, approved));
}

int device_decide(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)rest;
    return visit_from_us(ctx, req) ? visit_start_at(ctx, req, DEVICE_PATH, decide, NULL) : 0;
}
