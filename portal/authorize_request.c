/* SPDX-License-Identifier: Apache-2.0
 *
 * See authorize_request.h. An address that is no loopback one, or a client that is none of ours, is never answered by
 * a redirect; so nobody can make us send a browser, or a code, anywhere but to a program on its own computer. */
#include "authorize_request.h"

#include "base/text.h"

#define PORT_MAX 65535

/* ---- redirect_uri ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alphanumeric(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* What RFC 3986 lets stand in a path or a query: no '#', no backslash, no space, nothing beyond ASCII. */
static bool is_path_and_query(h2o_iovec_t text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.base[i];
        bool escape =
            c == '%' && text.len - i > 2 && is_hex(text.base[i + 1]) && is_hex(text.base[i + 2]);
        if (!escape && !is_alphanumeric(c) &&
            (c == '\0' || strchr("-._~!$&'()*+,;=:@/?", c) == NULL))
            return false;
    }
    return text.len == 0 || text.base[0] == '/';
}

/* Decimal, without a zero before it; 0: none. */
static size_t port_length(h2o_iovec_t text)
{
    size_t len = 0;
    unsigned long port = 0;
    while (len < text.len && len < 6 && is_digit(text.base[len]))
        port = port * 10 + (unsigned long)(text.base[len++] - '0');
    return len > 0 && text.base[0] != '0' && port <= PORT_MAX ? len : 0;
}

bool authorize_is_loopback(h2o_mem_pool_t *pool, h2o_iovec_t uri, const char **origin,
                           const char **port)
{
    static const char *const hosts[] = {"http://127.0.0.1:", "http://[::1]:", "http://localhost:"};
    if (uri.len >= sizeof(((struct session_code *)NULL)->redirect_uri))
        return false;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        size_t begin = strlen(hosts[i]);
        if (uri.len <= begin || memcmp(uri.base, hosts[i], begin) != 0)
            continue;
        h2o_iovec_t rest = h2o_iovec_init(uri.base + begin, uri.len - begin);
        size_t len = port_length(rest);
        if (len == 0 || !is_path_and_query(h2o_iovec_init(rest.base + len, rest.len - len)))
            return false;
        *origin = text_dup_iovec(pool, h2o_iovec_init(uri.base, begin + len));
        *port = text_dup_iovec(pool, h2o_iovec_init(rest.base, len));
        return true;
    }
    return false;
}

/* ---- the other parameters ---- */

/* RFC 6749 appendix A.5: VSCHAR. */
static bool is_visible(h2o_iovec_t text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.base[i] < 0x20 || text.base[i] > 0x7e)
            return false;
    return true;
}

bool authorize_has_word(h2o_iovec_t list, const char *word)
{
    size_t begin = 0;
    if (list.base == NULL) /* absent */
        return false;
    for (size_t i = 0; i <= list.len; i++) {
        if (i < list.len && list.base[i] != ' ')
            continue;
        if (iovec_equal(h2o_iovec_init(list.base + begin, i - begin), word))
            return true;
        begin = i + 1;
    }
    return false;
}

/* base64url of 32 bytes. */
static bool is_challenge(h2o_iovec_t text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_alphanumeric(text.base[i]) && text.base[i] != '-' && text.base[i] != '_')
            return false;
    return text.len == SESSION_CHALLENGE_LEN;
}

static struct authorize_error judge_kind(const struct web_form *form)
{
    h2o_iovec_t type = web_form_value(form, "response_type");
    h2o_iovec_t mode = web_form_value(form, "response_mode");
    if (type.len == 0)
        return (struct authorize_error){"invalid_request", "response_type is missing"};
    if (!iovec_equal(type, "code"))
        return (struct authorize_error){"unsupported_response_type",
                                        "the only response_type is code"};
    if (mode.base != NULL && !iovec_equal(mode, "query"))
        return (struct authorize_error){"invalid_request", "the only response_mode is query"};
    if (web_form_value(form, "request").base != NULL) /* OIDC Core section 6 */
        return (struct authorize_error){"request_not_supported",
                                        "send the parameters one by one, without request"};
    if (web_form_value(form, "request_uri").base != NULL)
        return (struct authorize_error){"request_uri_not_supported",
                                        "send the parameters one by one, without request_uri"};
    if (!authorize_has_word(web_form_value(form, "scope"), "openid"))
        return (struct authorize_error){"invalid_scope", "scope must name openid"};
    if (authorize_has_word(web_form_value(form, "prompt"), "none"))
        return (struct authorize_error){"interaction_required",
                                        "a person has to allow it, so prompt can not be none"};
    return (struct authorize_error){NULL, NULL};
}

static struct authorize_error judge_binding(const struct web_form *form,
                                            struct authorize_request *out)
{
    h2o_iovec_t nonce = web_form_value(form, "nonce");
    h2o_iovec_t challenge = web_form_value(form, "code_challenge");
    /* Without a method it would be plain (RFC 7636 section 4.3). */
    if (!iovec_equal(web_form_value(form, "code_challenge_method"), "S256"))
        return (struct authorize_error){"invalid_request", "code_challenge_method must be S256"};
    if (!is_challenge(challenge))
        return (struct authorize_error){"invalid_request",
                                        "code_challenge must be the base64url of a SHA-256"};
    if (nonce.len >= sizeof(out->bound.nonce) || !is_visible(nonce))
        return (struct authorize_error){"invalid_request",
                                        "nonce must be at most 255 visible ASCII characters"};
    memcpy(out->bound.challenge, challenge.base, challenge.len);
    if (nonce.len != 0)
        memcpy(out->bound.nonce, nonce.base, nonce.len);
    return (struct authorize_error){NULL, NULL};
}

/* A state that can't be given back is not. */
static struct authorize_error judge_state(const struct web_form *form,
                                          struct authorize_request *out)
{
    h2o_iovec_t state = web_form_value(form, "state");
    if (state.len > AUTHORIZE_STATE_MAX || !is_visible(state))
        return (struct authorize_error){"invalid_request",
                                        "state must be at most 512 visible ASCII characters"};
    out->state = state;
    return (struct authorize_error){NULL, NULL};
}

static struct authorize_error judge_rest(h2o_mem_pool_t *pool, const struct web_form *form,
                                         struct authorize_request *out)
{
    struct authorize_error error = judge_state(form, out);
    if (error.error == NULL)
        error = judge_kind(form);
    if (error.error == NULL)
        error = judge_binding(form, out);
    if (error.error == NULL && strlen(authorize_path(pool, out)) > AUTHORIZE_PATH_MAX)
        error = (struct authorize_error){"invalid_request",
                                         "redirect_uri, state and nonce are too long together"};
    return error;
}

enum authorize_verdict authorize_judge(h2o_mem_pool_t *pool, const struct web_form *form,
                                       const struct config_cluster *client,
                                       struct authorize_request *out, struct authorize_error *error)
{
    h2o_iovec_t uri = web_form_value(form, "redirect_uri");
    memset(out, 0, sizeof(*out));
    out->client = client;
    if (client == NULL)
        return AUTHORIZE_BAD_CLIENT;
    if (!authorize_is_loopback(pool, uri, &out->origin, &out->port))
        return AUTHORIZE_BAD_REDIRECT;
    memcpy(out->bound.redirect_uri, uri.base, uri.len);
    struct authorize_error found = judge_rest(pool, form, out);
    if (found.error == NULL)
        return AUTHORIZE_GOOD;
    *error = found;
    return AUTHORIZE_BAD_REQUEST;
}

/* ---- in our own words ---- */

size_t authorize_fields(const struct authorize_request *self,
                        struct authorize_field out[AUTHORIZE_FIELDS])
{
    size_t count = 0;
    out[count++] = (struct authorize_field){"response_type", iovec_of("code")};
    out[count++] = (struct authorize_field){"client_id", iovec_of(self->client->audience)};
    out[count++] = (struct authorize_field){"redirect_uri", iovec_of(self->bound.redirect_uri)};
    out[count++] = (struct authorize_field){"scope", iovec_of("openid")};
    out[count++] = (struct authorize_field){"code_challenge", iovec_of(self->bound.challenge)};
    out[count++] = (struct authorize_field){"code_challenge_method", iovec_of("S256")};
    if (self->bound.nonce[0] != '\0')
        out[count++] = (struct authorize_field){"nonce", iovec_of(self->bound.nonce)};
    if (self->state.base != NULL)
        out[count++] = (struct authorize_field){"state", self->state};
    return count;
}

const char *authorize_path(h2o_mem_pool_t *pool, const struct authorize_request *self)
{
    struct authorize_field fields[AUTHORIZE_FIELDS];
    size_t count = authorize_fields(self, fields);
    struct text query;
    text_init(&query, pool);
    for (size_t i = 0; i < count; i++)
        web_form_add(&query, fields[i].name, fields[i].value);
    return text_format(pool, "/authorize?%s", query.bytes);
}

/* ---- answers ---- */

static const char *answer(h2o_mem_pool_t *pool, const struct authorize_request *self,
                          const char *issuer, struct text *params)
{
    const char *uri = self->bound.redirect_uri;
    if (self->state.base != NULL)
        web_form_add(params, "state", self->state);
    web_form_add(params, "iss", iovec_of(issuer));
    const char *path = strcmp(uri, self->origin) == 0 ? "/" : ""; /* RFC 3986 section 6.2.3 */
    char separator = strchr(uri, '?') != NULL ? '&' : '?';
    return text_format(pool, "%s%s%c%s", uri, path, separator, params->bytes);
}

const char *authorize_code_url(h2o_mem_pool_t *pool, const struct authorize_request *self,
                               const char *issuer, const char *code)
{
    struct text params;
    text_init(&params, pool);
    web_form_add(&params, "code", iovec_of(code));
    return answer(pool, self, issuer, &params);
}

const char *authorize_error_url(h2o_mem_pool_t *pool, const struct authorize_request *self,
                                const char *issuer, const struct authorize_error *error)
{
    struct text params;
    text_init(&params, pool);
    web_form_add(&params, "error", iovec_of(error->error));
    web_form_add(&params, "error_description", iovec_of(error->description));
    return answer(pool, self, issuer, &params);
}
