/* SPDX-License-Identifier: Apache-2.0
 *
 * See app_kinds.h. Facts of Headlamp 0.45 and of Kubernetes Dashboard 7 and 2.7. What all apps alike must not be told by a
 * browser is in headers.c. */
#include "app_kinds.h"

#include <ctype.h>
#include <string.h>

#include "base/text.h"
#include "plain.h"

#define HTTPS "https://"

/* ---- paths ---- */

h2o_iovec_t app_base(const struct config_app *app)
{
    const char *host = app->url + sizeof(HTTPS) - 1;
    return iovec_of(host + strcspn(host, "/"));
}

static bool is_below(h2o_iovec_t target, h2o_iovec_t base)
{
    if (target.len < base.len || memcmp(target.base, base.base, base.len) != 0)
        return false;
    return target.len == base.len || target.base[base.len] == '/' || target.base[base.len] == '?';
}

bool app_is_below(const struct config_app *app, h2o_iovec_t target)
{
    return is_below(target, app_base(app));
}

/* Without the query and what the app lives below. */
static h2o_iovec_t path_within(const struct config_app *app, h2o_iovec_t target)
{
    size_t skip = app_base(app).len;
    h2o_iovec_t rest = h2o_iovec_init(target.base + skip, target.len - skip);
    return plain_take(&rest, '?');
}

/* ---- what must not reach it ---- */

static const struct header_rules *const RULES[] = {
    [APP_GENERIC] = &(const struct header_rules){.drop = NULL},
    /* Its cookies would come before the token that we set; each header is an order to its back end. */
    [APP_HEADLAMP] = &(
        const struct header_rules){.drop = (const char *const[]){"x-headlamp-*", "kubeconfig",
                                                                 "forward-to", "proxy-to", NULL},
                                   .drop_cookies = (const char *const[]){"headlamp-auth-*", NULL}},
    [APP_KUBERNETES_DASHBOARD_7] =
        &(const struct header_rules){.drop = (const char *const[]){"cluster-context", NULL},
                                     .drop_cookies = (const char *const[]){"token", NULL}},
    [APP_KUBERNETES_DASHBOARD_2] =
        &(const struct header_rules){.drop =
                                         (const char *const[]){"cluster-context", "jwetoken", NULL},
                                     .drop_cookies = (const char *const[]){"jweToken", NULL}},
};

const struct header_rules *app_rules(const struct config_app *app)
{
    return RULES[app->kind];
}

/* ---- what is closed ---- */

/* The first character of rest, an escape decoded (and of how many bytes it was), in lower case. */
static char first_of(h2o_iovec_t rest, char slash, size_t *len)
{
    int byte = percent_byte(rest);
    *len = byte >= 0 ? 3 : 1;
    if (byte == '/' || byte == '\\')
        return slash;
    return (char)tolower(byte >= 0 ? byte : (unsigned char)rest.base[0]);
}

/* An escaped '/' becomes slash. */
static h2o_iovec_t decode(h2o_mem_pool_t *pool, h2o_iovec_t path, char slash)
{
    char *out = h2o_mem_alloc_pool(pool, path.len + 1);
    size_t count = 0, len;
    for (; path.len != 0; path = h2o_iovec_init(path.base + len, path.len - len))
        out[count++] = first_of(path, slash, &len);
    return h2o_iovec_init(out, count);
}

struct route { /* the segments that count; empty ones and parameters (";…") do not */
    h2o_iovec_t first, last;
    size_t count;
};

static struct route route_of(h2o_iovec_t path)
{
    struct route route = {.count = 0};
    while (path.len != 0) {
        h2o_iovec_t segment = plain_take(&path, '/');
        segment = plain_trim(plain_take(&segment, ';'));
        if (segment.len == 0)
            continue;
        if (route.count++ == 0)
            route.first = segment;
        route.last = segment;
    }
    return route;
}

static bool sets_token(const struct route *route)
{
    if (route->count == 0)
        return false;
    if (iovec_equal(route->first, "oidc") || iovec_equal(route->first, "oidc-callback"))
        return true;
    return iovec_equal(route->last, "set-token") &&
           ((iovec_equal(route->first, "auth") && route->count == 2) ||
            (iovec_equal(route->first, "clusters") && route->count == 3));
}

bool app_is_closed(h2o_mem_pool_t *pool, const struct config_app *app, h2o_iovec_t target)
{
    static const char slashes[] = {'/', '\1'}; /* an escaped '/' may part segments, or not */
    if (app->kind != APP_HEADLAMP)
        return false;
    for (size_t i = 0; i < sizeof(slashes); i++) {
        h2o_iovec_t path = path_within(app, target);
        for (unsigned round = 0; round < 3; round++) { /* not decoded, once, twice */
            const struct route route = route_of(path);
            if (sets_token(&route))
                return true;
            path = decode(pool, path, slashes[i]);
        }
        const struct route route = route_of(path);
        if (sets_token(&route))
            return true;
    }
    return false;
}

/* ---- parts ---- */

enum app_part app_part_of(const struct config_app *app, h2o_iovec_t target)
{
    static const char *const auth[] = {"/api/v1/login", "/api/v1/csrftoken/login", "/api/v1/me"};
    h2o_iovec_t path = path_within(app, target);
    if (app->kind != APP_KUBERNETES_DASHBOARD_7)
        return APP_WEB;
    for (size_t i = 0; i < sizeof(auth) / sizeof(auth[0]); i++)
        if (is_below(path, iovec_of(auth[i])))
            return APP_AUTH;
    bool is_api = is_below(path, iovec_of("/api")) || is_below(path, iovec_of("/metrics"));
    return is_api ? APP_API : APP_WEB;
}

const char *app_upstream(const struct config_app *app, enum app_part part)
{
    if (app->kind != APP_KUBERNETES_DASHBOARD_7)
        return part == APP_WEB ? app->upstream : NULL;
    return part == APP_WEB   ? app->upstreams.web
           : part == APP_API ? app->upstreams.api
                             : app->upstreams.auth;
}

/* ---- what it is told ---- */

bool app_wants_token(const struct config_app *app)
{
    return app->inject == INJECT_TOKEN ||
           (app->inject == INJECT_PROXY_AUTH && app->kind == APP_HEADLAMP);
}

/* Nothing that a reader would trim or see as more than one line. */
static bool may_stand(const char *text)
{
    h2o_iovec_t value = iovec_of(text != NULL ? text : "");
    return value.len != 0 && plain_is_value(value) && plain_trim(value).len == value.len;
}

static h2o_iovec_t join_groups(h2o_mem_pool_t *pool, const struct identity *identity)
{
    struct text out;
    text_init(&out, pool);
    for (size_t i = 0; i < identity->group_count; i++) {
        const char *group = identity->groups[i];
        if (strchr(group, ',') == NULL && may_stand(group))
            text_add_format(&out, "%s%s", out.len != 0 ? "," : "", group);
    }
    return text_iovec(&out);
}

static void add_names(const struct config_app *app, const struct identity *identity,
                      struct header_list *list)
{
    bool is_headlamp = app->kind == APP_HEADLAMP;
    const char *email = identity->attributes[USER_EMAIL];
    h2o_iovec_t groups = join_groups(list->pool, identity);
    header_list_add(list, "X-Forwarded-User", iovec_of(identity->username));
    if (!is_headlamp)
        header_list_add(list, "X-Forwarded-Preferred-Username", iovec_of(identity->username));
    if (identity->email_verified && may_stand(email))
        header_list_add(list, "X-Forwarded-Email", iovec_of(email));
    if (groups.len != 0)
        header_list_add(list, is_headlamp ? "X-Forwarded-Group" : "X-Forwarded-Groups", groups);
}

bool app_add_person(const struct config_app *app, const struct app_person *person,
                    struct header_list *list)
{
    if (app->inject == INJECT_PROXY_AUTH && !may_stand(person->identity->username))
        return false;
    if (app_wants_token(app) && (person->token.len == 0 || !plain_is_value(person->token)))
        return false;
    if (app->inject == INJECT_TOKEN)
        header_list_add(list, "Authorization",
                        iovec_of(text_format(list->pool, "Bearer %.*s", (int)person->token.len,
                                             person->token.base)));
    else if (app_wants_token(app))
        header_list_add(list, "X-Forwarded-Id-Token", person->token);
    if (app->inject == INJECT_PROXY_AUTH)
        add_names(app, person->identity, list);
    return true;
}
