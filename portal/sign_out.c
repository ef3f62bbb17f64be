/* SPDX-License-Identifier: Apache-2.0
 *
 * Signing out: this browser's sign-in and its kubeconfig sessions leave memory before anything else happens,
 * so the webhook refuses their tokens from then on, then that is written down, then the page is sent. The
 * Okta tokens are revoked by whoever listens for ended sessions (server/). Okta's own session in this browser
 * is another thing: the page offers to end it with a form, since the hint (an id_token) must be in no URL.
 *
 * No Clear-Site-Data: we keep nothing in the browser but cookies, which are deleted by name, and "cookies"
 * would take those of every sibling host along. */
#include "handlers.h"

#include <ctype.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "http/web.h"
#include "later.h"
#include "visit.h"

struct sign_out { /* in the request's pool */
    struct portal *portal;
    h2o_req_t *req;
    struct okta_sign_out okta;
};

/* ---- the page ---- */

const char *sign_out_origin(h2o_mem_pool_t *pool, const char *url)
{
    static const char scheme[] = "https://";
    size_t len = sizeof(scheme) - 1;
    if (strncmp(url, scheme, len) != 0)
        return NULL;
    size_t start = len;
    while (url[len] != '\0' && (isalnum((unsigned char)url[len]) || strchr("-.:[]", url[len])))
        len++;
    if (len == start || strchr("/?#", url[len]) == NULL)
        return NULL; /* strchr finds the NUL, too: an URL may end there */
    return text_format(pool, "%.*s", (int)len, url);
}

struct json *sign_out_model(h2o_mem_pool_t *pool, const struct page_frame *frame, bool written,
                            const struct okta_sign_out *okta)
{
    struct json *model = page_new(pool, frame, "Signed out", clock_wall_ms());
    json_add_bool(pool, model, "gate", true);
    json_add_bool(pool, model, "written", written);
    if (okta->action == NULL)
        return model;
    struct json *form = json_add_object(pool, model, "okta");
    json_add_string(pool, form, "action", okta->action);
    json_add_string(pool, form, "hint", okta->hint);
    json_add_string(pool, form, "back", okta->back);
    json_add_string(pool, form, "host", okta->host);
    return model;
}

static void answer_json(h2o_req_t *req, bool written)
{
    struct json_writer *writer = json_writer_new(&req->pool);
    json_begin_object(writer);
    json_key(writer, "signed_out");
    json_put_bool(writer, true);
    json_key(writer, "written");
    json_put_bool(writer, written);
    json_end_object(writer);
    web_send_json(req, 200, writer);
}

static void answer(struct sign_out *self, bool written)
{
    web_set_cookie(self->req, SESSION_COOKIE, h2o_iovec_init("", 0), 0);
    if (web_wants_json(self->req)) {
        answer_json(self->req, written);
        return;
    }
    struct json *model =
        sign_out_model(&self->req->pool, &self->portal->frame, written, &self->okta);
    if (self->okta.action != NULL)
        page_send_with_form_to(self->req, "signed_out.html", model, self->okta.origin);
    else
        page_send(self->req, 200, "signed_out.html", model);
}

/* ---- ending ---- */

/* Looked up before the session ends, as its tokens go with it. */
static void prepare_okta(struct sign_out *self, const char *login_id)
{
    h2o_mem_pool_t *pool = &self->req->pool;
    const struct portal_parts *parts = &self->portal->parts;
    struct provider_tokens tokens;
    struct okta_status status;
    okta_status(parts->okta, &status);
    const char *origin = sign_out_origin(pool, status.end_session_endpoint);
    if (origin == NULL || !sessions_login_tokens(parts->sessions, login_id, &tokens))
        return;
    if (tokens.id_token.len != 0)
        self->okta = (struct okta_sign_out){
            .action = text_dup(pool, status.end_session_endpoint),
            .origin = origin,
            .hint = secret_in_pool(pool, secret_iovec(&tokens.id_token)).base,
            .back = text_format(pool, "%s/", parts->config->portal.url),
            .host = text_dup(pool, status.host),
        };
    provider_tokens_dispose(&tokens);
}

static void on_ended(void *ctx, bool written)
{
    struct portal *portal;
    struct sign_out *self = later_end(ctx, &portal);
    if (self != NULL)
        answer(self, written);
}

/* The sessions page has a button for all of a person's sign-ins; whatever else the body holds, this one ends. */
static bool asks_everywhere(h2o_req_t *req)
{
    struct web_form form;
    return web_content_type_is(req, "application/x-www-form-urlencoded") &&
           web_form_parse(&req->pool, req->entity, &form, NULL) &&
           iovec_equal(web_form_value(&form, "everywhere"), "yes");
}

static void audit(struct sign_out *self, const struct session_login *login, bool everywhere)
{
    char address[WEB_ADDRESS_SIZE];
    web_remote_address(self->req, address);
    log_audit("sign_out", LOG_STR("uid", login->uid), LOG_STR("session", login->id),
              LOG_BOOL("everywhere", everywhere), LOG_STR("address", address),
              LOG_STR("request_id", web_request_id(self->req)));
}

int sign_out(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct portal *portal = ctx;
    struct session_login login;
    (void)rest;
    if (!visit_from_us(portal, req))
        return 0;
    struct sign_out *self = h2o_mem_alloc_pool(&req->pool, sizeof(*self));
    *self = (struct sign_out){.portal = portal, .req = req};
    h2o_iovec_t cookie = web_cookie(req, SESSION_COOKIE);
    /* A browser that was idle for too long may still have kubectls below it: they end, too. */
    if (cookie.base == NULL || sessions_find_login(portal->parts.sessions, cookie, clock_wall_ms(),
                                                   &login) == SESSION_UNKNOWN) {
        answer(self, true);
        return 0;
    }
    prepare_okta(self, login.id);
    bool everywhere = asks_everywhere(req);
    audit(self, &login, everywhere);
    if (everywhere)
        sessions_end_user(portal->parts.sessions, web_loop(req), login.uid, SESSION_SIGNED_OUT,
                          on_ended, later_new(portal, req, self));
    else
        sessions_end_login(portal->parts.sessions, web_loop(req), login.id, SESSION_SIGNED_OUT,
                           on_ended, later_new(portal, req, self));
    return 0;
}
