/* SPDX-License-Identifier: Apache-2.0
 *
 * What people see in an app's place. The page is of the app's origin, so it has no script and nothing of the app's: the
 * portal's stylesheet is served beside it. Values go in through the template's escaping and nothing else. */
#include "base/log.h"
#include "base/text.h"
#include "gate_private.h"
#include "http/template.h"
#include "http/web.h"

#define POLICY                                                                                     \
    "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; "              \
    "form-action 'none'"

extern const struct embedded_file proxy_files[];

/* What was asked for is on the app's host whatever it says, for the origin stands before it. */
static void add_action(struct json *model, h2o_req_t *req, const struct config_app *app,
                       const struct gate_trouble *trouble)
{
    h2o_mem_pool_t *pool = &req->pool;
    bool repeats = trouble->may_repeat && web_method_is(req, "GET");
    if (!repeats && trouble->action == NULL)
        return;
    const char *href = repeats ? text_format(pool, "%s%.*s", gate_origin(pool, app),
                                             (int)req->input.path.len, req->input.path.base)
                               : text_format(pool, "%s/", app->url);
    struct json *action = json_add_object(pool, model, "action");
    json_add_string(pool, action, "label", repeats ? "Try again" : trouble->action);
    json_add_string(pool, action, "href", href);
    json_add_bool(pool, action, "in_new_tab", trouble->in_new_tab);
}

static struct json *model_of(const struct gate *self, h2o_req_t *req, const struct config_app *app,
                             const struct gate_trouble *trouble)
{
    h2o_mem_pool_t *pool = &req->pool;
    const struct config *config = self->parts.decider->config;
    struct json *model = json_new_object(pool);
    json_add_string(pool, model, "site", config->portal.title);
    json_add_string(pool, model, "portal", config->portal.url);
    json_add_string(pool, model, "style",
                    text_format(pool, "%s/.postern/style.css", gate_path(app)));
    json_add_string(pool, model, "title", trouble->title);
    json_add_string(pool, model, "what", trouble->what);
    json_add_string(pool, model, "todo", trouble->todo);
    unsigned count = trouble->groups != NULL ? trouble->groups->count : 0;
    json_add_bool(pool, model, "any_group", count != 0);
    struct json *groups = json_add_array(pool, model, "groups");
    for (unsigned i = 0; i < count; i++)
        json_push_string(pool, groups, trouble->groups->entries[i]);
    add_action(model, req, app, trouble);
    json_add_string(pool, model, "request_id", web_request_id(req));
    return model;
}

static void send_page(h2o_req_t *req, int status, const struct json *model)
{
    struct text html;
    struct error err = {.kind = ERROR_NONE};
    text_init(&html, &req->pool);
    if (!template_render(proxy_files, "gate.html", model, &html, &err)) {
        log_error("page not rendered", LOG_STR("reason", err.text),
                  LOG_STR("request_id", web_request_id(req)));
        web_problem(req, 500, "Internal error", "The page could not be made.");
        return;
    }
    web_add_header(req, "content-security-policy", POLICY);
    web_add_header(req, "referrer-policy", "no-referrer");
    web_add_header(req, "cross-origin-resource-policy", "same-origin");
    web_add_header(req, "x-frame-options", "DENY");
    web_send(req, status, "text/html; charset=utf-8", text_iovec(&html));
}

/* The groups' names are part of what happened, so scripts are told, too. */
static const char *detail_of(h2o_mem_pool_t *pool, const struct gate_trouble *trouble)
{
    struct text detail;
    text_init(&detail, pool);
    text_add_string(&detail, trouble->what);
    for (unsigned i = 0; trouble->groups != NULL && i < trouble->groups->count; i++)
        text_add_format(&detail, "%s %s", i != 0 ? "," : "", trouble->groups->entries[i]);
    return detail.bytes;
}

void gate_refuse(const struct gate *self, h2o_req_t *req, const struct config_app *app,
                 const struct gate_trouble *trouble)
{
    if (web_is_navigation(req))
        send_page(req, trouble->status, model_of(self, req, app, trouble));
    else
        web_problem(req, trouble->status, trouble->title, detail_of(&req->pool, trouble));
}

void gate_send_style(h2o_req_t *req)
{
    const struct embedded_file *file = embedded_find(proxy_files, "style.css");
    web_cache(req, "public, max-age=3600");
    web_send(req, 200, "text/css; charset=utf-8", h2o_iovec_init(file->bytes, file->len));
}
