/* SPDX-License-Identifier: Apache-2.0
 *
 * Judging the discovery document (OIDC Discovery 4.3, RFC 8414 section 3.3). Its URLs are asked by us with
 * secrets in hand, so they must be https and on the issuer's own host, as Okta's are (peers 58): a forged or
 * mistaken document can't send us anywhere else. */
#include "provider.h"

#include "base/json.h"
#include "base/text.h"

#define SHOWN_MAX 100 /* of a foreign value in an error */

static const struct json_limits document_limits = {
    .max_bytes = 65536, .max_depth = 8, .max_nodes = 4096};

void provider_free(struct provider *self)
{
    if (self == NULL)
        return;
    free(self->authorization_endpoint);
    free(self->token_endpoint);
    free(self->userinfo_endpoint);
    free(self->jwks_uri);
    free(self->revocation_endpoint);
    free(self->end_session_endpoint);
    free(self);
}

/* For an error: cut, and only what can be printed. */
static const char *shown(h2o_iovec_t value, char out[SHOWN_MAX + 4])
{
    size_t len = value.len < SHOWN_MAX ? value.len : SHOWN_MAX;
    memcpy(out, value.base, len);
    for (size_t i = 0; i < len; i++) {
        if (out[i] < ' ' || out[i] > '~')
            out[i] = '?';
    }
    memcpy(out + len, value.len > len ? "..." : "", value.len > len ? 4 : 1);
    return out;
}

/* Characters that no URL of an endpoint needs, and that parsers of URLs disagree on. */
static bool is_plain(const char *url)
{
    for (const char *c = url; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~' || strchr("\"<>\\^`{|}#", *c) != NULL)
            return false;
    }
    return true;
}

h2o_iovec_t provider_authority(const char *url)
{
    static const char scheme[] = "https://";
    h2o_iovec_t none = {NULL, 0};
    if (strncasecmp(url, scheme, sizeof(scheme) - 1) != 0 || !is_plain(url))
        return none;
    const char *host = url + sizeof(scheme) - 1;
    size_t len = strcspn(host, "/?");
    if (len == 0 || memchr(host, '@', len) != NULL)
        return none;
    return h2o_iovec_init(host, len);
}

static h2o_iovec_t without_default_port(h2o_iovec_t authority)
{
    static const char port[] = ":443";
    size_t len = sizeof(port) - 1;
    if (authority.len > len && memcmp(authority.base + authority.len - len, port, len) == 0)
        authority.len -= len;
    return authority;
}

static bool same_host(const char *url, const char *issuer)
{
    h2o_iovec_t a = without_default_port(provider_authority(url));
    h2o_iovec_t b = without_default_port(provider_authority(issuer));
    return a.base != NULL && b.base != NULL && a.len == b.len &&
           strncasecmp(a.base, b.base, a.len) == 0;
}

static bool judge_issuer(const struct json *document, const char *issuer, struct error *err)
{
    h2o_iovec_t seen;
    char text[SHOWN_MAX + 4];
    if (!json_string(document, "issuer", &seen, err))
        return false;
    if (!iovec_equal(seen, issuer))
        return error_set(err, ERROR_BAD_INPUT, "its issuer is \"%s\", configured is \"%s\"",
                         shown(seen, text), issuer);
    return true;
}

struct endpoint {
    const char *name;
    bool required;
    char **out;
};

static bool read_endpoint(const struct json *document, const char *issuer,
                          const struct endpoint *endpoint, struct error *err)
{
    h2o_iovec_t url = {NULL, 0};
    char text[SHOWN_MAX + 4];
    if (!(endpoint->required ? json_string(document, endpoint->name, &url, err)
                             : json_optional_string(document, endpoint->name, &url, err)))
        return false;
    if (url.base == NULL)
        return true;
    if (url.len > PROVIDER_URL_MAX || provider_authority(url.base).base == NULL)
        return error_set(err, ERROR_BAD_INPUT, "%s \"%s\" is no https URL", endpoint->name,
                         shown(url, text));
    if (!same_host(url.base, issuer))
        return error_set(err, ERROR_BAD_INPUT, "%s \"%s\" is not on the issuer's host",
                         endpoint->name, shown(url, text));
    *endpoint->out = h2o_strdup(NULL, url.base, url.len).base;
    return true;
}

/* Absent is fine; present it must offer what we insist on. */
static bool offers(const struct json *document, const char *name, const char *value,
                   struct error *err)
{
    const struct json *list = json_member(document, name);
    if (list == NULL)
        return true;
    for (const struct json *entry = list->first; entry != NULL; entry = entry->next) {
        if (entry->type == JSON_STRING && iovec_equal(entry->text, value))
            return true;
    }
    return error_set(err, ERROR_BAD_INPUT, "%s does not have %s", name, value);
}

static bool read_document(const struct json *document, const char *issuer, struct provider *out,
                          struct error *err)
{
    const struct endpoint endpoints[] = {
        {"authorization_endpoint", true, &out->authorization_endpoint},
        {"token_endpoint", true, &out->token_endpoint},
        {"jwks_uri", true, &out->jwks_uri},
        {"userinfo_endpoint", false, &out->userinfo_endpoint},
        {"revocation_endpoint", false, &out->revocation_endpoint},
        {"end_session_endpoint", false, &out->end_session_endpoint},
    };
    if (!judge_issuer(document, issuer, err) ||
        !offers(document, "id_token_signing_alg_values_supported", "RS256", err) ||
        !offers(document, "code_challenge_methods_supported", "S256", err))
        return false;
    for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
        if (!read_endpoint(document, issuer, &endpoints[i], err))
            return false;
    }
    return true;
}

bool provider_parse(h2o_iovec_t body, const char *issuer, struct provider **out, struct error *err)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct provider *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct provider){0};
    struct json *document;
    bool good = json_parse(&pool, body, &document_limits, &document, err) &&
                read_document(document, issuer, self, err);
    h2o_mem_clear_pool(&pool);
    if (!good) {
        provider_free(self);
        if (err != NULL)
            err->kind = ERROR_BAD_INPUT;
        return error_prefix(err, "discovery");
    }
    *out = self;
    return true;
}
