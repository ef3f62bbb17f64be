/* SPDX-License-Identifier: Apache-2.0
 *
 * See gate.h. Order: our own corner of the app's host, where the request comes from, whose cookie it is, and what is known
 * of them now. Nothing is remembered of a yes: a session that is over is a no to the next request. */
#include "gate.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "gate_cookie.h"
#include "gate_private.h"
#include "http/web.h"

struct visit { /* as long as its request */
    struct gate *gate;
    h2o_req_t *req;
    const struct config_app *app;
    struct verdict verdict;
    struct decide_wait *wait;
    gate_ready ready;
    void *ctx;
};

struct gate *gate_new(const struct gate_parts *parts)
{
    struct gate *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct gate){*parts};
    return self;
}

void gate_free(struct gate *self)
{
    free(self);
}

/* ---- an app's url ---- */

const char *gate_path(const struct config_app *app)
{
    const char *path = strchr(app->url + strlen("https://"), '/');
    return path != NULL ? path : "";
}

const char *gate_origin(h2o_mem_pool_t *pool, const struct config_app *app)
{
    return text_format(pool, "%.*s", (int)(strlen(app->url) - strlen(gate_path(app))), app->url);
}

/* ---- cross-site requests ---- */

static bool changes_something(h2o_req_t *req)
{
    return req->upgrade.base != NULL ||
           (!web_method_is(req, "GET") && !web_method_is(req, "HEAD") &&
            !web_method_is(req, "OPTIONS"));
}

static void refuse_foreign(struct gate *self, h2o_req_t *req, const struct config_app *app)
{
    gate_refuse(self, req, app,
                &(struct gate_trouble){
                    .status = 403,
                    .title = "This request came from another site",
                    .what = "Only pages of the app itself may change something in it, so nothing "
                            "was passed on.",
                    .todo = "Open the app, and do there what you wanted to do.",
                    .action = "Open the app",
                });
}

/* A service worker of the app's would see where the browser goes, so also our way in with its ticket, before we do; it
 * could pass it on for a begin that somebody else made. Browsers say which script is to be one. */
static void refuse_worker(struct gate *self, h2o_req_t *req, const struct config_app *app)
{
    gate_refuse(self, req, app,
                &(struct gate_trouble){
                    .status = 403,
                    .title = "Apps have no service workers here",
                    .what = "A service worker could read how people are signed in to the app.",
                    .todo = "The app works as it does in a browser that has none.",
                });
}

/* ---- the answer to a decision ---- */

static void refuse_person(struct visit *self)
{
    const struct config *config = self->gate->parts.decider->config;
    const struct decide_gate gate = decide_gate_of(config, self->app);
    const struct identity *identity = self->verdict.identity;
    h2o_mem_pool_t *pool = &self->req->pool;
    struct gate_trouble trouble = {.status = 403,
                                   .title =
                                       text_format(pool, "%s is not open to you", self->app->label),
                                   .may_repeat = true};
    if (self->verdict.reason == REASON_NOT_ALLOWED) {
        trouble.what = "It is open to members of these Okta groups, and you are in none:";
        trouble.todo = "Ask your Okta administrator to add you to one of them. It takes about a "
                       "minute until the change is seen here.";
        trouble.groups = decide_missing_groups(config, &gate, identity);
    } else {
        trouble.what = text_format(pool, "Your username is refused: %s.", identity->refusal);
        trouble.todo = "Ask your Okta administrator to change that.";
    }
    gate_refuse(self->gate, self->req, self->app, &trouble);
}

static void refuse_unsure(struct visit *self)
{
    gate_refuse(self->gate, self->req, self->app,
                &(struct gate_trouble){
                    .status = 503,
                    .title = "Okta did not answer",
                    .what = "You are signed in, but Postern does not know your groups any more and "
                            "could not ask Okta for them.",
                    .todo =
                        "Try again in a moment. If it stays like this, give whoever runs Postern "
                        "the request number below.",
                    .may_repeat = true,
                });
}

static void refuse_crowd(struct visit *self)
{
    gate_refuse(self->gate, self->req, self->app,
                &(struct gate_trouble){.status = 503,
                                       .title = "Too many wait for Okta",
                                       .what = "You are signed in, but Postern has to ask Okta for "
                                               "your groups, and too many requests wait for that.",
                                       .todo = "Try again in a moment.",
                                       .may_repeat = true});
}

static void end_wait(struct visit *self)
{
    if (self->wait != NULL)
        waits_leave(self->gate->parts.waits);
    self->wait = NULL;
}

static void on_verdict(void *ctx, struct verdict *verdict)
{
    struct visit *self = ctx;
    end_wait(self);
    if (verdict != &self->verdict)
        self->verdict = *verdict;
    if (self->verdict.decision == DECISION_YES)
        self->ready(self->ctx, &self->verdict);
    else if (self->verdict.decision == DECISION_UNSURE)
        refuse_unsure(self);
    else if (self->verdict.reason == REASON_NOT_ALLOWED ||
             self->verdict.reason == REASON_USERNAME_REFUSED)
        refuse_person(self);
    else /* of the session, even where it ended while Okta was asked of the person */
        gate_begin(self->gate, self->req, self->app);
}

static void on_dispose(void *ctx)
{
    struct visit *self = ctx;
    if (self->wait != NULL)
        decide_cancel(self->wait);
    end_wait(self);
    verdict_dispose(&self->verdict);
}

static void judge(const struct visit *asked, const char *grant_id)
{
    const struct decider *decider = asked->gate->parts.decider;
    const struct decide_gate gate = decide_gate_of(decider->config, asked->app);
    struct visit *self = h2o_mem_alloc_shared(&asked->req->pool, sizeof(*self), on_dispose);
    *self = *asked;
    self->wait = decide_session(decider, web_loop(self->req), &gate, grant_id, &self->verdict,
                                on_verdict, self);
    if (self->wait == NULL) {
        on_verdict(self, &self->verdict);
    } else if (!waits_enter(self->gate->parts.waits)) {
        decide_cancel(self->wait);
        self->wait = NULL;
        refuse_crowd(self);
    }
}

void gate_serve(struct gate *self, h2o_req_t *req, const struct config_app *app, gate_ready ready,
                void *ctx)
{
    const struct gate_cookies cookies = {req, self->parts.seal_keys, app};
    char grant_id[SESSION_ID_SIZE];
    if (gate_path_is_ours(&req->pool, req->input.path))
        gate_own(self, req, app);
    else if (changes_something(req) && !web_same_origin(req, gate_origin(&req->pool, app)))
        refuse_foreign(self, req, app);
    else if (web_header(req, "service-worker").base != NULL)
        refuse_worker(self, req, app);
    else if (!gate_session_find(&cookies, grant_id))
        gate_begin(self, req, app);
    else
        judge(&(struct visit){.gate = self, .req = req, .app = app, .ready = ready, .ctx = ctx},
              grant_id);
}
