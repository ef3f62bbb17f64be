/* SPDX-License-Identifier: Apache-2.0
 *
 * See tokens.h. The id_token's signature is not verified: it came from the token endpoint over TLS that proved the
 * issuer, which OpenID Connect Core 3.1.3.7 (6) accepts instead, and who believes it is the API server, which does verify. */
#include "tokens.h"

#include "base/json.h"
#include "base/text.h"
#include "token/jwt.h"

#define TOKEN_MAX_BYTES 65536
#define CLOCK_SKEW_S    300
#define LIFETIME_MAX_S  (366 * 86400L)

void login_tokens_dispose(struct login_tokens *self)
{
    secret_dispose(&self->id_token);
    secret_dispose(&self->refresh_token);
}

bool login_tokens_good(const struct login_tokens *self, int64_t now_s)
{
    return self->id_token.len != 0 && self->expires_s - now_s > TOKEN_MARGIN_S &&
           self->received_s <= now_s + TOKEN_MARGIN_S;
}

static bool read_claims(h2o_mem_pool_t *pool, h2o_iovec_t token, struct json **out,
                        struct error *err)
{
    struct jwt_parts parts;
    return jwt_split(pool, token, TOKEN_MAX_BYTES, &parts, err) &&
           json_parse(pool, parts.payload, NULL, out, err);
}

static bool is_for(const struct json *claims, const char *client_id)
{
    const struct json *aud = json_member(claims, "aud");
    if (aud == NULL)
        return false;
    if (aud->type == JSON_STRING)
        return iovec_equal(aud->text, client_id);
    return aud->type == JSON_ARRAY && aud->count == 1 && aud->first->type == JSON_STRING &&
           iovec_equal(aud->first->text, client_id);
}

static bool judge_words(const struct json *claims, const struct id_token_expected *expected,
                        struct error *err)
{
    h2o_iovec_t issuer, subject, nonce = {NULL, 0};
    if (!json_string(claims, "iss", &issuer, err) || !json_string(claims, "sub", &subject, err) ||
        !json_optional_string(claims, "nonce", &nonce, err))
        return false;
    if (!iovec_equal(issuer, expected->issuer))
        return error_set(err, ERROR_UPSTREAM, "it is from another issuer");
    if (!is_for(claims, expected->client_id))
        return error_set(err, ERROR_UPSTREAM, "it is for another client");
    if (expected->nonce != NULL && !iovec_equal(nonce, expected->nonce))
        return error_set(err, ERROR_UPSTREAM, "it is from another sign-in");
    if (subject.len == 0 || (expected->subject != NULL && !iovec_equal(subject, expected->subject)))
        return error_set(err, ERROR_UPSTREAM, "it is for another person");
    return true;
}

/* By its length of life rather than by its end, so that a clock that is wrong by less than CLOCK_SKEW_S does not
 * matter: the issuer's clock decides, and the token was made just now. */
static bool judge_times(const struct json *claims, int64_t now_s, int64_t *expires_s,
                        struct error *err)
{
    int64_t iat, exp;
    if (!json_int(claims, "iat", &iat, err) || !json_int(claims, "exp", &exp, err))
        return false;
    if (iat < 0 || exp <= iat || exp - iat > LIFETIME_MAX_S)
        return error_set(err, ERROR_UPSTREAM, "its times make no sense");
    if (exp < now_s - CLOCK_SKEW_S || iat > now_s + CLOCK_SKEW_S)
        return error_set(err, ERROR_UPSTREAM,
                         "by this computer's clock it is not valid now; is the clock right?");
    *expires_s = now_s + (exp - iat);
    return true;
}

bool login_token_judge(h2o_iovec_t token, const struct id_token_expected *expected,
                       int64_t *expires_s, struct error *err)
{
    h2o_mem_pool_t pool;
    struct json *claims;
    h2o_mem_init_pool(&pool);
    bool good = read_claims(&pool, token, &claims, err) && judge_words(claims, expected, err) &&
                judge_times(claims, expected->now_s, expires_s, err);
    h2o_mem_clear_pool(&pool);
    return good || error_prefix(err, "the issuer's id_token");
}

const char *login_token_subject(h2o_mem_pool_t *pool, h2o_iovec_t token)
{
    struct json *claims;
    h2o_iovec_t subject;
    if (!read_claims(pool, token, &claims, NULL) || !json_string(claims, "sub", &subject, NULL))
        return NULL;
    return subject.base;
}
