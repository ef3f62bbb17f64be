/* SPDX-License-Identifier: Apache-2.0
 *
 * The portal's pages as pure functions: facts in, HTML out. What each must say, what none may hold (peers
 * 53), and how heavy it may be. Each page is also written to <build>/preview, to be looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "authorize_request.h"
#include "base/clock.h"
#include "handlers.h"
#include "refusal.h"
#include "visit.h"

#define NOW       clock_wall_ms()
#define MINUTE    60000
#define MAX_BYTES (50 * 1024)
#define HOSTILE                                                                                    \
    "</pre><script>alert(1)</script> \"quoted' %n %s \xe2\x80\xaegpj.exe\xe2\x80\x8f\r\nX: evil"

static h2o_mem_pool_t pool;
static struct page_frame frame;
static size_t assets_size;

/* ---- people and config ---- */

static const char *const ada_groups[] = {"k8s team, EU", "k8s-admins", "k8s-viewers"};
static const struct identity ada = {
    .uid = "00u1abcd2EFGH3ijk4l5",
    .username = "ada@example.test",
    .attributes = {"00u1abcd2EFGH3ijk4l5", "ada@example.test", "Ada", "Example", "Ada Example"},
    .groups_present = true,
    .okta_groups = ada_groups,
    .okta_group_count = 3,
    .groups = ada_groups,
    .group_count = 3,
    .groups_unused = 3,
};
static const struct identity mallory = {
    .uid = "00u3mall4ORYX5yyy6n7",
    .username = "mallory@example.test",
    .attributes = {NULL, "mallory@example.test", NULL, NULL, NULL},
    .groups_present = true,
    .groups_unused = 1,
};
static const char *const eve_groups[] = {"k8s-<b>", "k8s-\xe2\x80\xaegpj.exe", HOSTILE};
static const struct identity eve = {
    .uid = "00u4evex5HOST6ile7o8",
    .refusal = "the sub that Okta sent begins with \"system:\", which belongs to Kubernetes",
    .attributes = {HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE},
    .groups_present = true,
    .okta_groups = eve_groups,
    .okta_group_count = 3,
    .groups = eve_groups,
    .group_count = 3,
};

static const char *names[300];

static struct identity crowd(void)
{
    struct identity self = ada;
    for (size_t i = 0; i < 300; i++) {
        char name[32];
        snprintf(name, sizeof(name), "k8s-team-%03zu", i + 1);
        names[i] = text_dup(&pool, name);
    }
    self.attributes[USER_EMAIL] = "linus.with.a.long.name.indeed@subsidiary.of.a.company.example";
    self.groups = self.okta_groups = names;
    self.group_count = self.okta_group_count = 300;
    self.groups_suspicious = true;
    self.groups_unused = 0;
    return self;
}

static char admins[] = "k8s-admins", viewers[] = "k8s-viewers";
static char *both[] = {admins, viewers}, *one[] = {admins};
static char prod[] = "prod-eu", staging[] = "staging",
            server[] = "https://api.prod-eu.example:6443";
static char portal_url[] = "https://login.example.com";
static char grafana[] = "Grafana", argo[] = "Argo CD", url[] = "https://grafana.example.com/?a=1&b";
static struct config_cluster clusters[] = {
    {.name = prod, .server = server, .audience = prod, .allowed_groups = {one, 1}},
    {.name = staging, .audience = staging, .allowed_groups = {both, 2}},
};
static struct config_link links[] = {{grafana, url, {NULL, 0}}, {argo, url, {one, 1}}};
static const struct config config = {
    .portal = {.issuer = portal_url,
               .session_idle_ms = 15 * MINUTE,
               .session_kubeconfig_idle_ms = 60 * MINUTE,
               .session_lifetime_ms = 12 * 60 * MINUTE,
               .links = links,
               .link_count = 2},
    .tokens = {.lifetime_ms = MINUTE},
    .clusters = clusters,
    .cluster_count = 2,
};

static struct session_login login_of(void)
{
    return (struct session_login){.id = "x",
                                  .created_ms = NOW - 5 * MINUTE,
                                  .idle_ends_ms = NOW + 15 * MINUTE,
                                  .ends_ms = NOW + 715 * MINUTE,
                                  .address = "2001:db8:85a3::8a2e:370:7334"};
}

/* ---- looking ---- */

static void write_preview(const char *name, h2o_iovec_t bytes)
{
    char path[1024];
    snprintf(path, sizeof(path), PREVIEW "/%s", name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.base, 1, bytes.len, file), bytes.len);
    fclose(file);
}

static size_t count(const char *html, const char *what)
{
    size_t n = 0;
    for (const char *at = html; (at = strstr(at, what)) != NULL; at += strlen(what))
        n++;
    return n;
}

static bool has(const char *html, const char *what)
{
    return strstr(html, what) != NULL;
}

static const char *look(const char *name, const char *template_name, const struct json *model)
{
    struct text html;
    struct error err = {.kind = ERROR_NONE};
    char file[64];
    text_init(&html, &pool);
    if (!page_render(template_name, model, &html, &err))
        fail_msg("%s: %s", name, err.text);
    snprintf(file, sizeof(file), "%s.html", name);
    write_preview(file, text_iovec(&html));
    assert_true(html.len + assets_size < MAX_BYTES);
    assert_int_equal(count(html.bytes, "<script"), 1);
    assert_int_equal(count(html.bytes, " style="), 0);
    assert_int_equal(count(html.bytes, " onclick"), 0);
    assert_int_equal(count(html.bytes, "<h1"), 1);
    assert_int_equal(count(html.bytes, "<main"), count(html.bytes, "</main>"));
    assert_false(has(html.bytes, "{{"));
    return html.bytes;
}

static int set_up(void **state)
{
    const struct asset *assets[] = {&frame.assets.style, &frame.assets.script, &frame.assets.icon};
    (void)state;
    h2o_mem_init_pool(&pool);
    frame.site = "Kubernetes at example.com";
    assets_init(&frame.assets);
    mkdir(PREVIEW, 0755);
    mkdir(PREVIEW "/assets", 0755);
    for (size_t i = 0; i < 3; i++) {
        write_preview(assets[i]->path,
                      h2o_iovec_init(assets[i]->file->bytes, assets[i]->file->len));
        assets_size += assets[i]->file->len;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    h2o_mem_clear_pool(&pool);
    return 0;
}

/* ---- the pages ---- */

static void test_sign_in(void **state)
{
    struct okta_status okta = {.discovered = true, .host = "acme.okta.com"};
    (void)state;
    const char *html = look("sign_in", "sign_in.html",
                            visit_sign_in_model(&pool, &frame, &okta, NULL, "/profile?a=b&c"));
    assert_true(
        has(html, "href=\"/login?return_to=%2Fprofile%3Fa%3Db%26c\">Sign in with Okta</a>"));
    assert_true(has(html, "acme.okta.com"));
    assert_true(has(html, "Kubernetes at example.com"));
    assert_false(has(html, "out of reach"));
    assert_false(has(html, "/logout"));
    okta.discovered = false; /* and no try has failed yet */
    html = look("sign_in", "sign_in.html", visit_sign_in_model(&pool, &frame, &okta, NULL, NULL));
    assert_false(has(html, "out of reach"));
    snprintf(okta.error, sizeof(okta.error), "connection refused");
    html = look("sign_in_trouble", "sign_in.html",
                visit_sign_in_model(&pool, &frame, &okta,
                                    "You were signed out after 15 minutes without use.", NULL));
    assert_true(has(html, "href=\"/login\">Sign in with Okta</a>"));
    assert_true(has(html, "out of reach"));
    assert_true(has(html, "after 15 minutes without use"));
    assert_false(has(html, "connection refused"));
}

static void test_signed_out(void **state)
{
    struct okta_sign_out okta = {.action = "https://acme.okta.com/oauth2/v1/logout",
                                 .hint = "ey.x.y",
                                 .back = "https://k8s.example.com/",
                                 .host = "acme.okta.com"};
    (void)state;
    const char *html =
        look("signed_out", "signed_out.html", sign_out_model(&pool, &frame, true, &okta));
    assert_true(has(html, "Tokens from this sign-in are refused from now on"));
    assert_true(has(html, "action=\"https://acme.okta.com/oauth2/v1/logout\""));
    assert_true(has(html, "name=\"id_token_hint\" value=\"ey.x.y\""));
    assert_true(has(html, "name=\"post_logout_redirect_uri\" value=\"https://k8s.example.com/\""));
    assert_true(has(html, ">Sign in with Okta</a>"));
    okta.action = NULL;
    html = look("signed_out_unwritten", "signed_out.html",
                sign_out_model(&pool, &frame, false, &okta));
    assert_true(has(html, "Not saved yet"));
    assert_false(has(html, "<form"));
}

static void test_origin(void **state)
{
    static const struct {
        const char *url, *origin;
    } rows[] = {
        {"https://acme.okta.com/oauth2/v1/logout", "https://acme.okta.com"},
        {"https://127.0.0.1:8444/x?y", "https://127.0.0.1:8444"},
        {"https://[::1]:8444", "https://[::1]:8444"},
        {"http://acme.okta.com/", NULL},
        {"https:///x", NULL},
        {"https://user@acme.okta.com/", NULL},
        {"https://acme.okta.com;script-src *", NULL},
        {"https://acme.okta.com 'unsafe-inline'/", NULL},
        {"https://*/", NULL},
        {"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *origin = sign_out_origin(&pool, rows[i].url);
        if (rows[i].origin == NULL)
            assert_null(origin);
        else
            assert_string_equal(origin, rows[i].origin);
    }
}

static void test_home(void **state)
{
    struct config none = config;
    (void)state;
    const char *html = look("home", "home.html", home_model(&pool, &frame, &config, &ada, NOW));
    assert_true(has(html, "Kubernetes tokens"));
    assert_true(has(html, "action=\"/tokens/prod-eu\""));
    assert_true(has(html, "action=\"/tokens/staging\""));
    assert_true(has(html, "https://grafana.example.com/?a=1&amp;b"));
    assert_true(has(html, "Argo CD"));
    assert_true(has(html, "ada@example.test"));
    html = look("home_nothing", "home.html", home_model(&pool, &frame, &config, &mallory, NOW));
    assert_false(has(html, "prod-eu"));
    assert_false(has(html, "Argo CD"));
    assert_true(has(html, "Grafana"));
    assert_true(has(html, "Ask your Okta administrator"));
    assert_int_equal(count(html, "k8s-admins"), 1);
    assert_int_equal(count(html, "k8s-viewers"), 1);
    html = look("home_refused", "home.html", home_model(&pool, &frame, &config, &eve, NOW));
    assert_false(has(html, "/tokens/"));
    assert_true(has(html, "belongs to Kubernetes"));
    none.cluster_count = 0;
    html = look("home_no_cluster", "home.html", home_model(&pool, &frame, &none, &ada, NOW));
    assert_true(has(html, "No cluster yet"));
}

/* peers 53: what an operator writes is text, too. */
static void test_home_with_apps(void **state)
{
    static char headlamp[] = "headlamp", label[] = HOSTILE, open_label[] = "Wiki", wiki[] = "wiki",
                everyone[] = "Everyone";
    static char *anybody[] = {everyone};
    struct config_app apps[] = {
        {.name = headlamp, .label = label, .url = url, .cluster = prod, .kind = APP_HEADLAMP},
        {.name = wiki, .label = open_label, .url = url, .allowed_groups = {one, 1}},
    };
    struct config with = config;
    struct page_frame own = frame;
    struct portal_icons *icons;
    (void)state;
    with.proxy.apps = apps;
    with.proxy.app_count = 2;
    assert_true(portal_icons_load(&with, &icons, NULL));
    own.icons = icons;
    const char *html = look("home_apps", "home.html", home_model(&pool, &own, &with, &ada, NOW));
    const char *badge = strstr(html, "/apps/icons/headlamp.");
    assert_non_null(badge); /* in its cluster's card, before the next one's */
    assert_true(badge < strstr(html, "<bdi>staging</bdi>"));
    assert_int_equal(count(html, "/apps/icons/headlamp."), 1);
    assert_true(strstr(html, "<h2>Apps</h2>") < strstr(html, "<bdi>Wiki</bdi>"));
    html = look("home_apps_nothing", "home.html", home_model(&pool, &own, &with, &mallory, NOW));
    assert_false(has(html, "/apps/icons/"));
    assert_true(has(html, "Nothing here is open to you yet"));
    apps[1].allowed_groups = (struct config_strings){anybody, 1};
    html =
        look("home_apps_nothing_named", "home.html", home_model(&pool, &own, &with, &mallory, NOW));
    assert_true(has(html, "<bdi>Everyone</bdi>"));
    apps[1].allowed_groups.count = 0;
    html = look("home_apps_only", "home.html", home_model(&pool, &own, &with, &mallory, NOW));
    assert_true(has(html, "<h1>Apps</h1>"));
    assert_true(has(html, "/apps/icons/wiki."));
    assert_false(has(html, "/apps/icons/headlamp."));
    assert_false(has(html, "open to you yet"));
    portal_icons_free(icons);
}

static const char *look_profile_by(const struct config *by, const char *name,
                                   const struct identity *from)
{
    struct session_login login = login_of();
    struct identity identity = *from;
    identity.learned_wall_ms = NOW - 12500;
    return look(name, "profile.html", profile_model(&pool, &frame, by, &identity, &login, NOW));
}

static const char *look_profile(const char *name, const struct identity *from)
{
    return look_profile_by(&config, name, from);
}

static void test_profile(void **state)
{
    (void)state;
    const char *html = look_profile("profile", &ada);
    assert_true(has(html, "00u1abcd2EFGH3ijk4l5"));
    assert_true(has(html, "<bdi>k8s-admins</bdi>"));
    assert_true(has(html, "<bdi>k8s team, EU</bdi>"));
    assert_true(has(html, ">12 s ago</time>"));
    assert_true(has(html, "3 more Okta groups are not used here."));
    assert_false(has(html, "exactly 100"));
    html = look_profile("profile_no_groups", &mallory);
    assert_true(has(html, "1 Okta group is not used here."));
    assert_true(has(html, "None. Clusters see you"));
    struct identity identity = mallory;
    identity.groups_present = false;
    identity.groups_unused = 0;
    html = look_profile("profile_no_claim", &identity);
    assert_true(has(html, "Okta sent no groups claim, so"));
    struct config by_id_token = config;
    by_id_token.oidc.user_in_idtoken = true;
    html = look_profile_by(&by_id_token, "profile_thin_id_token", &identity);
    assert_true(has(html, "Okta sent no groups claim in the id_token"));
    identity = crowd();
    html = look_profile("profile_many", &identity);
    assert_int_equal(count(html, "<bdi>k8s-team-"), 300);
    assert_true(has(html, "exactly 100"));
}

/* peers 53 */
static void test_hostile(void **state)
{
    (void)state;
    const char *html = look_profile("profile_hostile", &eve);
    assert_false(has(html, "<script>"));
    assert_false(has(html, "<b>"));
    assert_true(
        has(html, "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt; &quot;quoted&#39; %n %s"));
    assert_true(has(html, "k8s-&lt;b&gt;"));
    struct trouble trouble;
    enum sign_in_result result;
    refusal_of_code("access_denied", &trouble, &result);
    char quote[1000];
    memset(quote, 'x', sizeof(quote));
    memcpy(quote, HOSTILE, strlen(HOSTILE));
    quote[sizeof(quote) - 1] = '\0';
    trouble.quote = quote;
    html = look("error_quote", "error.html",
                page_trouble_model(&pool, &frame, &trouble, "7f3a9c2d11e04b58"));
    assert_false(has(html, "<script>"));
    assert_true(has(html, "&lt;script&gt;alert(1)"));
    assert_true(count(html, "xxxxxxxxxx") < 30);
}

/* As long as that of an API server with an RSA key. */
#define LINE "MIICyDCCAbCgAwIBAgIBADANBgkqhkiG9w0BAQsFADAVMRMwEQYDVQQDEwprdWJl\n"
#define CA                                                                                         \
    "-----BEGIN CERTIFICATE-----\n" LINE LINE LINE LINE LINE LINE LINE LINE LINE LINE LINE LINE    \
        LINE LINE LINE LINE "-----END CERTIFICATE-----\n"

static void test_token(void **state)
{
    const char *token = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjNmMWEyYjRjIn0."
                        "eyJpc3MiOiJodHRwczovL2xvZ2luLms4cy5leGFtcGxlLmNvbSIsInN1YiI6IjAwdTFhYmNkMk"
                        "VGR0gzaWprNGw1IiwiYXVkIjoicHJvZC1ldSIsImV4cCI6MTc5MDAwMDA2MCwiaWF0IjoxNzkw"
                        "MDAwMDAwLCJuYmYiOjE3ODk5OTk5OTAsImp0aSI6IlhYeHh4eHh4eHh4eHh4eHh4eHgifQ."
                        "MEUCIQDZ8yQxkqz1o2r3s4t5u6v7w8x9y0zAABBCCDDEEFFGGHHIIJJKKLLMMNNOOPPQQRRSS";
    struct session_grant grant = {.name = "kubectl on prod-eu", .ends_ms = NOW + 715 * MINUTE};
    struct token_made made = {.cluster = &clusters[0],
                              .api_ca = CA,
                              .portal_ca = CA,
                              .grant = &grant,
                              .id_token = iovec_of(token),
                              .refresh_token = "cmVmcmVzaC10b2tlbg",
                              .made_ms = NOW,
                              .expires_ms = NOW + MINUTE};
    (void)state;
    const char *html =
        look("token", "token.html", token_model(&pool, &frame, &config, &ada, &made, false));
    assert_int_equal(count(html, token), 3); /* bash, PowerShell, by itself */
    assert_true(strstr(html, "id=\"bash-actions\"") < strstr(html, "id=\"powershell-actions\""));
    assert_true(has(html, "<bdi>k8s-admins</bdi>"));
    assert_true(has(html, "ada@example.test"));
    assert_true(has(html, "1 hour without use"));
    assert_true(has(html, "&#39;--server=https://api.prod-eu.example:6443&#39;"));
    assert_true(has(html, "action=\"/kubeconfig/prod-eu\""));
    html =
        look("token_windows", "token.html", token_model(&pool, &frame, &config, &ada, &made, true));
    assert_true(strstr(html, "id=\"bash-actions\"") > strstr(html, "id=\"powershell-actions\""));
    struct identity identity = crowd();
    look("token_many", "token.html", token_model(&pool, &frame, &config, &identity, &made, false));
    identity = mallory;
    identity.username = "mal\"lory";
    html = look("token_odd", "token.html",
                token_model(&pool, &frame, &config, &identity, &made, false));
    assert_true(has(html, "No command: a name or address has a double quote"));
    assert_true(has(html, "None that RBAC sees"));
    made.cluster = &clusters[1]; /* without an address */
    html = look("token_alone", "token.html",
                token_model(&pool, &frame, &config, &mallory, &made, false));
    assert_int_equal(count(html, token), 1);
    assert_false(has(html, "/kubeconfig/"));
}

/* A program's own words are in the form's fields only, as text. (peers 45) */
static void test_authorize(void **state)
{
    struct authorize_request request = {.client = &clusters[0],
                                        .bound = {.challenge = "c",
                                                  .redirect_uri = "http://127.0.0.1:8000/cb",
                                                  .nonce = "\"><script>"},
                                        .port = "8000",
                                        .state = iovec_of("'\"><img>")};
    const struct authorize_asked asked = {.request = &request,
                                          .session_name = "prod-eu login from 192.0.2.1",
                                          .ends_ms = NOW + 715 * MINUTE,
                                          .now_ms = NOW};
    (void)state;
    const char *html =
        look("authorize", "authorize.html", authorize_model(&pool, &frame, &config, &ada, &asked));
    assert_false(has(html, "<script>"));
    assert_false(has(html, "<img>"));
    assert_int_equal(count(html, "type=\"hidden\""), AUTHORIZE_FIELDS);
    assert_true(has(html, "value=\"http://127.0.0.1:8000/cb\""));
    assert_true(has(html, "value=\"prod-eu login from 192.0.2.1\""));
}

static void test_device(void **state)
{
    struct device_request request = {.cluster = "prod-eu", .address = "203.0.113.9"};
    struct device_view view = {.request = &request,
                               .user_code = "WDJB-MJHT",
                               .here = "198.51.100.4",
                               .began_ms = NOW - 20000,
                               .now_ms = NOW};
    (void)state;
    const char *html = look("device", "device.html", device_ask_model(&pool, &frame, &ada, NULL));
    assert_true(has(html, "name=\"user_code\" value=\"\""));
    html = look("device_hostile", "device.html", device_ask_model(&pool, &frame, &eve, HOSTILE));
    assert_false(has(html, "<script>"));
    html = look("device_show", "device_show.html", device_show_model(&pool, &frame, &ada, &view));
    assert_true(has(html, "name=\"user_code\" value=\"WDJB-MJHT\""));
    assert_true(has(html, "203.0.113.9"));
    assert_true(has(html, "this browser is at"));
    assert_true(has(html, "Only go on if you began this yourself just now"));
    assert_true(has(html, ">20 s ago</time>"));
    view.here = request.address;
    html = look("device_near", "device_show.html", device_show_model(&pool, &frame, &ada, &view));
    assert_true(has(html, ", as this browser"));
    html = look("device_approved", "device_done.html",
                device_done_model(&pool, &frame, &ada, &request, true));
    assert_true(has(html, "<h1>Approved</h1>"));
    html = look("device_denied", "device_done.html",
                device_done_model(&pool, &frame, &ada, &request, false));
    assert_true(has(html, "got nothing"));
    assert_false(has(html, "<h1>Approved</h1>"));
}

/* peers 53 */
static void test_sessions(void **state)
{
    struct session_grant grants[] = {
        {.id = "g1",
         .name = "laptop",
         .cluster = "prod-eu",
         .created_ms = NOW,
         .last_used_ms = NOW},
        {.id = "g2", .name = HOSTILE, .cluster = "staging", .app = "headlamp", .created_ms = NOW},
        {.id = "g3", .name = "Grafana", .app = "grafana", .created_ms = NOW},
    };
    const struct session_entry entry = {.login = login_of(), .grants = grants, .grant_count = 3};
    const struct portal_stream all[] = {
        {"g2", "WebSocket", "GET", "/" HOSTILE, NOW - MINUTE, 3450000},
        {"gone", "watch", "GET", "/api/v1/pods", NOW, 12},
    };
    const struct sessions_streams streams = {all, 2, 7};
    struct sessions_seen seen = {&entry, 1, &streams, "x", false, NOW};
    (void)state;
    const char *html =
        look("sessions", "sessions.html", sessions_model(&pool, &frame, &config, &ada, &seen));
    assert_int_equal(count(html, "<script>"), 0);
    assert_int_equal(count(html, "<summary>Rename"), 1); /* an app's is called as the app */
    assert_true(has(html, "<strong><bdi>Grafana</bdi></strong>"));
    assert_true(has(html, " on staging</bdi></strong>"));
    assert_true(has(html, "<summary>7 open requests</summary>"));
    assert_true(has(html, "GET /api/v1/pods</bdi>"));
    assert_true(has(html, "3.4 MB"));
    assert_true(has(html, "5 more are not shown."));
    seen.streams = NULL;
    html = look("sessions_no_proxy", "sessions.html",
                sessions_model(&pool, &frame, &config, &ada, &seen));
    assert_false(has(html, "open request"));
}

/* Every code has words of its own, and a next step; an unknown one too. */
static void test_refusals(void **state)
{
    static const struct {
        const char *code;
        int status;
        enum sign_in_result result;
    } rows[] = {
        {"access_denied", 403, SIGN_IN_REFUSED},
        {"login_required", 403, SIGN_IN_REFUSED},
        {"temporarily_unavailable", 503, SIGN_IN_OKTA_FAILED},
        {"server_error", 502, SIGN_IN_OKTA_FAILED},
        {"user_not_assigned", 403, SIGN_IN_REFUSED},
        {"invalid_client", 502, SIGN_IN_OKTA_FAILED},
        {"", 400, SIGN_IN_REFUSED},
        {"<script>", 400, SIGN_IN_REFUSED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct trouble trouble;
        enum sign_in_result result;
        refusal_of_code(rows[i].code, &trouble, &result);
        assert_int_equal(trouble.status, rows[i].status);
        assert_int_equal(result, rows[i].result);
        assert_non_null(trouble.todo);
        assert_string_equal(trouble.href, "/login");
    }
}

/* An answer is judged by what it means, not by the code that it carries: a 429 with "invalid_grant" is no no. */
static void test_results(void **state)
{
    static const struct {
        enum okta_answer answer;
        const char *code;
        int status;
        enum sign_in_result result;
    } rows[] = {
        {OKTA_UNKNOWN, "invalid_grant", 502, SIGN_IN_OKTA_FAILED},
        {OKTA_UNKNOWN, "timeout", 502, SIGN_IN_OKTA_FAILED},
        {OKTA_UNKNOWN, "invalid_client", 502, SIGN_IN_OKTA_FAILED},
        {OKTA_TOKEN_OLD, "invalid_token", 502, SIGN_IN_OKTA_FAILED},
        {OKTA_NO, "invalid_grant", 400, SIGN_IN_BAD_ANSWER},
        {OKTA_NO, "user_not_assigned", 403, SIGN_IN_REFUSED},
        {OKTA_NO, "bad_id_token", 403, SIGN_IN_BAD_ANSWER},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct okta_result okta = {.answer = rows[i].answer, .code = rows[i].code};
        struct trouble trouble;
        enum sign_in_result result;
        refusal_of_result(&okta, &trouble, &result);
        assert_int_equal(trouble.status, rows[i].status);
        assert_int_equal(result, rows[i].result);
    }
}

static void test_errors(void **state)
{
    struct trouble trouble;
    (void)state;
    refusal_okta_down(&trouble);
    const char *html = look("error_okta", "error.html",
                            page_trouble_model(&pool, &frame, &trouble, "7f3a9c2d11e04b58"));
    assert_true(has(html, "Okta did not answer"));
    assert_true(has(html, "7f3a9c2d11e04b58"));
    assert_true(has(html, ">Try again</a>"));
    assert_true(has(html, "class=\"button secondary\" href=\"/\">Home</a>"));
    trouble =
        (struct trouble){.status = 403,
                         .title = "This portal is not open to you",
                         .what = "Okta knows you as mallory@example.test, but only members of "
                                 "these Okta groups may sign in here:",
                         .groups = ada_groups,
                         .group_count = 3,
                         .todo = "Ask your Okta administrator to add you to one of them."};
    html = look("error_groups", "error.html",
                page_trouble_model(&pool, &frame, &trouble, "7f3a9c2d11e04b58"));
    assert_true(has(html, "<bdi>k8s-viewers</bdi>"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sign_in),        cmocka_unit_test(test_signed_out),
        cmocka_unit_test(test_home_with_apps), cmocka_unit_test(test_origin),
        cmocka_unit_test(test_home),           cmocka_unit_test(test_profile),
        cmocka_unit_test(test_hostile),        cmocka_unit_test(test_token),
        cmocka_unit_test(test_refusals),       cmocka_unit_test(test_authorize),
        cmocka_unit_test(test_results),        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_device),         cmocka_unit_test(test_sessions),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
