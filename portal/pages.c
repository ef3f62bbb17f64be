/* SPDX-License-Identifier: Apache-2.0
 *
 * Layout, headers and error pages. Values go into pages through the template's escaping and nothing else.
 * The policies follow protocols.md D26 and D27: no script or style that is not a file of ours, nothing from
 * anywhere else, no frames, and forms that post to us alone (browsers apply form-action to redirects after a
 * post too, which is why signing in begins with a link). */
#include "pages.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "files.h"
#include "http/web.h"
#include "words.h"

#define POLICY                                                                                     \
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "                    \
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
#define MANY_GROUPS 12  /* from here on they stand in columns */
#define QUOTE_MAX   300 /* bytes of somebody else's words */

/* ---- models ---- */

struct json *page_new(h2o_mem_pool_t *pool, const struct page_frame *frame, const char *title,
                      int64_t now_ms)
{
    char now[CLOCK_RFC3339_SIZE];
    struct json *model = json_new_object(pool);
    json_add_string(pool, model, "site", frame->site);
    json_add_string(pool, model, "page", title);
    json_add_string(pool, model, "now", clock_rfc3339(now_ms, now));
    json_add_string(pool, model, "style", frame->assets.style.path);
    json_add_string(pool, model, "script", frame->assets.script.path);
    json_add_string(pool, model, "icon", frame->assets.icon.path);
    return model;
}

const char *page_person_name(const struct identity *identity)
{
    const char *names[] = {identity->attributes[USER_EMAIL],
                           identity->attributes[USER_DISPLAY_NAME], identity->username,
                           identity->uid};
    size_t i = 0;
    while (names[i] == NULL || names[i][0] == '\0')
        i++; /* the uid is never empty */
    return names[i];
}

void page_add_person(h2o_mem_pool_t *pool, struct json *model, const struct identity *identity)
{
    json_add_string(pool, json_add_object(pool, model, "person"), "name",
                    page_person_name(identity));
}

void page_add_time(h2o_mem_pool_t *pool, struct json *model, const char *key, int64_t when_ms,
                   int64_t now_ms)
{
    char iso[CLOCK_RFC3339_SIZE];
    struct json *object = json_add_object(pool, model, key);
    json_add_string(pool, object, "iso", clock_rfc3339(when_ms, iso));
    json_add_string(pool, object, "exact", words_exact(pool, when_ms));
    json_add_string(pool, object, "text", words_relative(pool, when_ms, now_ms));
}

void page_add_groups(h2o_mem_pool_t *pool, struct json *model, const char *const *groups,
                     size_t count)
{
    struct json *array = json_add_array(pool, model, "groups");
    for (size_t i = 0; i < count; i++)
        json_push_string(pool, array, groups[i]);
    json_add_bool(pool, model, "any_group", count > 0);
    json_add_bool(pool, model, "many", count > MANY_GROUPS);
}

bool page_render(const char *template_name, const struct json *model, struct text *out,
                 struct error *err)
{
    return template_render(portal_files, template_name, model, out, err);
}

/* ---- answers ---- */

void page_add_headers(h2o_req_t *req)
{
    web_add_header(req, "strict-transport-security", "max-age=31536000");
    web_add_header(req, "referrer-policy", "same-origin");
    web_add_header(req, "cross-origin-opener-policy", "same-origin");
    web_add_header(req, "cross-origin-resource-policy", "same-origin");
    web_add_header(req, "permissions-policy",
                   "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
    web_add_header(req, "x-frame-options", "DENY");
}

static void send_page(h2o_req_t *req, int status, const char *template_name,
                      const struct json *model, const char *policy)
{
    struct text html;
    struct error err = {.kind = ERROR_NONE};
    text_init(&html, &req->pool);
    if (!page_render(template_name, model, &html, &err)) {
        log_error("page not rendered", LOG_STR("reason", err.text),
                  LOG_STR("request_id", web_request_id(req)));
        web_problem(req, 500, "Internal error", "The page could not be made.");
        return;
    }
    web_add_header(req, "content-security-policy", policy);
    web_send(req, status, "text/html; charset=utf-8", text_iovec(&html));
}

void page_send(h2o_req_t *req, int status, const char *template_name, const struct json *model)
{
    send_page(req, status, template_name, model, POLICY);
}

void page_send_with_form_to(h2o_req_t *req, const char *template_name, const struct json *model,
                            const char *origin)
{
    send_page(req, 200, template_name, model, text_format(&req->pool, POLICY " %s", origin));
}

/* ---- troubles ---- */

static const char *cut(h2o_mem_pool_t *pool, const char *quote)
{
    size_t len = strlen(quote);
    if (len <= QUOTE_MAX)
        return quote;
    return text_format(pool, "%.*s…", (int)utf8_cut(quote, QUOTE_MAX), quote);
}

struct json *page_trouble_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                                const struct trouble *trouble, const char *request_id)
{
    struct json *model = page_new(pool, frame, trouble->title, clock_wall_ms());
    json_add_string(pool, model, "what", trouble->what);
    json_add_string(pool, model, "todo", trouble->todo);
    if (trouble->quote != NULL)
        json_add_string(pool, model, "quote", cut(pool, trouble->quote));
    page_add_groups(pool, model, trouble->groups, trouble->group_count);
    if (trouble->action != NULL) {
        assert(trouble->href != NULL);
        struct json *action = json_add_object(pool, model, "action");
        json_add_string(pool, action, "label", trouble->action);
        json_add_string(pool, action, "href", trouble->href);
    }
    json_add_string(pool, model, "request_id", request_id);
    return model;
}

void page_trouble(const struct page_frame *frame, h2o_req_t *req, const struct trouble *trouble)
{
    if (web_wants_json(req)) {
        web_problem(req, trouble->status, trouble->title, trouble->what);
        return;
    }
    page_send(req, trouble->status, "error.html",
              page_trouble_model(&req->pool, frame, trouble, web_request_id(req)));
}
