/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes: a table looked through from its top. Paths are those that h2o has normalized and decoded, so an
 * escaped slash separates segments too and reaches no handler as part of one. */
#include "http/web.h"

#include "base/text.h"

/* rest: what stands for the '*'. */
static bool path_matches(const char *pattern, h2o_iovec_t path, h2o_iovec_t *rest)
{
    size_t len = strlen(pattern);
    *rest = (h2o_iovec_t){NULL, 0};
    if (len == 0 || pattern[len - 1] != '*')
        return iovec_equal(path, pattern);
    len--;
    if (path.len <= len || memcmp(path.base, pattern, len) != 0)
        return false;
    *rest = h2o_iovec_init(path.base + len, path.len - len);
    return memchr(rest->base, '/', rest->len) == NULL && !text_has_control(*rest);
}

static bool method_matches(const struct web_route *route, h2o_req_t *req)
{
    return web_method_is(req, route->method) ||
           (strcmp(route->method, "GET") == 0 && web_method_is(req, "HEAD"));
}

static void add_allowed(struct text *allowed, const char *method)
{
    if (allowed->len != 0)
        text_add_string(allowed, ", ");
    text_add_string(allowed, strcmp(method, "GET") == 0 ? "GET, HEAD" : method);
}

/* Methods that none of our routes ever has are refused as such at every address. */
static bool is_served_method(h2o_req_t *req)
{
    return web_method_is(req, "GET") || web_method_is(req, "HEAD") || web_method_is(req, "POST");
}

static void refuse(h2o_req_t *req, const struct text *allowed)
{
    if (allowed->len == 0 && is_served_method(req)) {
        web_problem(req, 404, "Not found", "There is nothing at this address.");
        return;
    }
    web_add_header(req, "allow", allowed->len != 0 ? allowed->bytes : "GET, HEAD, POST");
    web_problem(req, 405, "Method not allowed", "This address does not serve that method.");
}

int web_dispatch(const struct web_route *routes, void *ctx, h2o_req_t *req)
{
    struct text allowed; /* by the routes whose path matches */
    h2o_iovec_t rest, path = web_path(req);
    text_init(&allowed, &req->pool);
    for (const struct web_route *route = routes; route->method != NULL; route++) {
        if (!path_matches(route->path, path, &rest))
            continue;
        if (method_matches(route, req))
            return route->handle(ctx, req, rest);
        add_allowed(&allowed, route->method);
    }
    refuse(req, &allowed);
    return 0;
}
