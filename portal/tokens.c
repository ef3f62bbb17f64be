/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes a kubeconfig session below this sign-in with its first token, for the page (token_page.c) and for the file
 * (kubeconfig_file.c). The tokens go into the answer's body and nowhere else: no URL, no log. */
#include "handlers.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "http/web.h"
#include "later.h"
#include "visit.h"

struct token_request { /* in the request's pool */
    h2o_iovec_t cluster_name;
    const char *session_name; /* NULL: the default */
    const struct config_cluster *cluster;
    bool is_file; /* else a page */
    bool plugin;  /* a file that holds nothing secret: no session is made for it */
    token_answer answer;
};

/* ---- what is asked for ---- */

bool token_name_fits(h2o_iovec_t name)
{
    return name.len < SESSION_NAME_SIZE && !text_has_control(name);
}

static bool read_form(h2o_req_t *req, struct token_request *out, struct error *err)
{
    struct web_form form;
    if (req->entity.len == 0)
        return true;
    if (!web_content_type_is(req, "application/x-www-form-urlencoded"))
        return error_set(err, ERROR_BAD_INPUT, "The body must be a form.");
    if (!web_form_parse(&req->pool, req->entity, &form, err))
        return error_set(err, ERROR_BAD_INPUT, "The form is malformed.");
    h2o_iovec_t name = web_form_value(&form, "name");
    if (!token_name_fits(name))
        return error_set(err, ERROR_BAD_INPUT,
                         "The name must be at most %d bytes long, without control characters.",
                         SESSION_NAME_SIZE - 1);
    if (name.len != 0)
        out->session_name = name.base;
    out->plugin = out->is_file && iovec_equal(web_form_value(&form, "style"), "exec");
    return true;
}

static void trouble(struct visit *visit, int status, const char *title, const char *what)
{
    page_trouble(&visit->portal->frame, visit->req,
                 &(struct trouble){.status = status,
                                   .title = title,
                                   .what = what,
                                   .todo = "The home page shows what you can use."});
}

void token_refuse_cluster(struct visit *visit, const struct config_cluster *cluster)
{
    const struct identity *identity = visit->identity;
    if (identity->username == NULL) {
        trouble(visit, 403, "You can't use a cluster",
                text_format(&visit->req->pool, "Kubernetes can't have your username: %s.",
                            identity->refusal));
        return;
    }
    const struct config *config = visit->portal->parts.config;
    const struct config_strings *groups = subject_may_sign_in(config, identity)
                                              ? &cluster->allowed_groups
                                              : &config->users.allowed_groups;
    page_trouble(&visit->portal->frame, visit->req,
                 &(struct trouble){
                     .status = 403,
                     .title = "This cluster is not open to you",
                     .what = "It is open to members of these Okta groups, and you are in none:",
                     .groups = (const char *const *)groups->entries,
                     .group_count = groups->count,
                     .todo =
                         "Ask your Okta administrator to add you to one of them. It takes about "
                         "a minute until the change is seen here.",
                 });
}

/* ---- making it ---- */

static void failed(struct visit *visit, const struct error *err)
{
    log_error("no token", LOG_STR("reason", err->text),
              LOG_STR("request_id", web_request_id(visit->req)));
    page_trouble(&visit->portal->frame, visit->req,
                 &(struct trouble){
                     .status = 503,
                     .title = "The token could not be made",
                     .what = "Postern could not save the session that would stand behind it.",
                     .todo =
                         "Try again in a moment. If it stays like this, give whoever runs Postern "
                         "the request number below.",
                 });
}

/* A session without a token is of no use to anybody. */
static void refuse_token(struct visit *visit, const struct session_grant *grant,
                         const struct error *err)
{
    sessions_end_grant(visit->portal->parts.sessions, web_loop(visit->req), grant->id,
                       SESSION_SIGNED_OUT, NULL, NULL);
    if (err->kind != ERROR_REJECTED) {
        failed(visit, err);
        return;
    }
    page_trouble(&visit->portal->frame, visit->req,
                 &(struct trouble){
                     .status = 403,
                     .title = "You are in too many groups for this cluster",
                     .what = text_format(&visit->req->pool,
                                         "This cluster reads your groups from the token, and your "
                                         "%zu groups do not fit into one.",
                                         visit->identity->group_count),
                     .todo = "Whoever runs Postern can mend that: users.groups_include takes fewer "
                             "groups over, and with authentication: webhook the cluster needs none "
                             "in the token.",
                 });
}

/* The proxy's certificate is of the CA that the portal's is. */
static const char *api_authority(const struct portal_parts *parts,
                                 const struct config_cluster *cluster)
{
    return cluster->api.url != NULL
               ? parts->authorities->portal
               : parts->authorities->clusters[cluster - parts->config->clusters];
}

static struct token_made begin(const struct visit *visit)
{
    const struct token_request *request = visit->detail;
    const struct portal_parts *parts = &visit->portal->parts;
    return (struct token_made){.cluster = request->cluster,
                               .api_ca = api_authority(parts, request->cluster),
                               .portal_ca = parts->authorities->portal,
                               .made_ms = clock_wall_ms()};
}

static void issue(struct visit *visit, const struct session_grant *grant, const char *refresh_token)
{
    const struct token_request *request = visit->detail;
    struct error err = {.kind = ERROR_NONE};
    struct issued_token issued;
    struct token_made made = begin(visit);
    const struct issue_order order = {request->cluster, grant, visit->identity, NULL};
    if (!issue_token(&visit->portal->issue, visit->req, &order, &issued, &err)) {
        refuse_token(visit, grant, &err);
        return;
    }
    made.grant = grant;
    made.refresh_token = refresh_token;
    made.id_token = issued.token;
    made.made_ms = issued.made_ms;
    made.expires_ms = issued.expires_ms;
    request->answer(visit, &made);
}

static void on_grant(void *ctx, const struct session_grant *grant, const char *refresh_token,
                     const struct error *err)
{
    struct portal *portal;
    struct visit *visit = later_end(ctx, &portal);
    if (visit == NULL)
        return; /* nobody has its token: the grant dies of its idle limit */
    if (grant != NULL)
        issue(visit, grant, refresh_token);
    else if (err->kind == ERROR_REJECTED)
        visit_offer_sign_in(visit->portal, visit->req, 401, "You are not signed in any more.",
                            NULL);
    else
        failed(visit, err);
}

static void add_session(struct visit *visit, const struct config_cluster *cluster)
{
    const struct token_request *request = visit->detail;
    const struct portal_parts *parts = &visit->portal->parts;
    const char *name = request->session_name;
    char address[WEB_ADDRESS_SIZE];
    if (name == NULL)
        name = text_format(&visit->req->pool, "kubectl on %s", cluster->name);
    web_remote_address(visit->req, address);
    struct session_grant_input input = {
        .login_id = visit->login.id, .cluster = cluster->name, .name = name, .address = address};
    sessions_add_grant(parts->sessions, web_loop(visit->req), &input, visit->now_ms, on_grant,
                       later_new(visit->portal, visit->req, visit));
}

static void on_ready(struct visit *visit)
{
    struct token_request *request = visit->detail;
    const struct portal_parts *parts = &visit->portal->parts;
    struct error err = {.kind = ERROR_NONE};
    const struct config_cluster *cluster = portal_cluster(visit->portal, request->cluster_name);
    request->cluster = cluster;
    if (cluster == NULL) {
        trouble(visit, 404, "There is no such cluster", "Postern's config names none like that.");
        return;
    }
    if (!subject_may_use(parts->config, cluster, visit->identity)) {
        token_refuse_cluster(visit, cluster);
        return;
    }
    if (!read_form(visit->req, request, &err)) {
        trouble(visit, 400, "This can't be a form of ours", err.text);
        return;
    }
    if (request->is_file && config_cluster_address(cluster) == NULL) {
        trouble(visit, 404, "There is no file for this cluster",
                "Postern's config does not say where its API server is: clusters[].server.");
        return;
    }
    if (request->plugin) {
        struct token_made made = begin(visit);
        request->answer(visit, &made);
        return;
    }
    add_session(visit, cluster);
}

int token_start(struct portal *portal, h2o_req_t *req, h2o_iovec_t cluster, bool is_file,
                token_answer answer)
{
    if (!visit_from_us(portal, req))
        return 0;
    struct token_request *request = h2o_mem_alloc_pool(&req->pool, sizeof(*request));
    *request =
        (struct token_request){.cluster_name = cluster, .is_file = is_file, .answer = answer};
    return visit_start(portal, req, on_ready, request);
}
