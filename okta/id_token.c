/* SPDX-License-Identifier: Apache-2.0
 *
 * OIDC Core 3.1.3.7 and facts/protocols.md D15, D17: every claim that binds the token to this issuer, this
 * client, this attempt and this access token. */
#include "id_token.h"

#include "base/crypto.h"
#include "base/text.h"

#define LATEST_TIME_S INT64_C(253402300799) /* the end of the year 9999: sums can't overflow */

bool subject_acceptable(h2o_iovec_t subject)
{
    if (subject.len == 0 || subject.len > 255)
        return false;
    for (size_t i = 0; i < subject.len; i++) {
        if (subject.base[i] <= ' ' || subject.base[i] > '~')
            return false;
    }
    return true;
}

/* A string that is us, or an array in which every entry is us: an audience beside us would be one that we
 * have no reason to trust. */
static bool audience_is(const struct json *claims, const char *client_id)
{
    const struct json *aud = json_member(claims, "aud");
    if (aud == NULL)
        return false;
    if (aud->type == JSON_STRING)
        return iovec_equal(aud->text, client_id);
    if (aud->type != JSON_ARRAY || aud->count == 0)
        return false;
    for (const struct json *entry = aud->first; entry != NULL; entry = entry->next) {
        if (entry->type != JSON_STRING || !iovec_equal(entry->text, client_id))
            return false;
    }
    return true;
}

static bool judge_parties(const struct json *claims, const struct id_token_rules *rules,
                          struct error *err)
{
    h2o_iovec_t issuer, azp = iovec_of(rules->client_id);
    if (!json_string(claims, "iss", &issuer, err) ||
        !json_optional_string(claims, "azp", &azp, err))
        return false;
    if (!iovec_equal(issuer, rules->issuer))
        return error_set(err, ERROR_REJECTED, "iss is not the configured issuer");
    if (!audience_is(claims, rules->client_id))
        return error_set(err, ERROR_REJECTED, "aud is not this client alone");
    if (!iovec_equal(azp, rules->client_id))
        return error_set(err, ERROR_REJECTED, "azp is not this client");
    return true;
}

static bool judge_times(const struct json *claims, const struct id_token_rules *rules,
                        struct error *err)
{
    int64_t expires_s, issued_s, not_before_s = 0;
    if (!json_int(claims, "exp", &expires_s, err) || !json_int(claims, "iat", &issued_s, err) ||
        !json_optional_int(claims, "nbf", &not_before_s, err))
        return false;
    if (expires_s < 0 || expires_s > LATEST_TIME_S || issued_s < 0 || issued_s > LATEST_TIME_S ||
        not_before_s < 0 || not_before_s > LATEST_TIME_S)
        return error_set(err, ERROR_REJECTED, "exp, iat or nbf is out of range");
    if (rules->now_s >= expires_s + ID_TOKEN_SKEW_S)
        return error_set(err, ERROR_REJECTED,
                         "it expired %lld s ago (is this machine's clock right?)",
                         (long long)(rules->now_s - expires_s));
    if (issued_s > rules->now_s + ID_TOKEN_SKEW_S || not_before_s > rules->now_s + ID_TOKEN_SKEW_S)
        return error_set(err, ERROR_REJECTED,
                         "it was issued in the future (is this machine's clock right?)");
    return true;
}

static bool judge_nonce(const struct json *claims, const char *nonce, struct error *err)
{
    h2o_iovec_t value;
    if (nonce == NULL)
        return true;
    if (!json_string(claims, "nonce", &value, err))
        return false;
    if (nonce[0] == '\0' || !crypto_equal_iovec(value, iovec_of(nonce)))
        return error_set(err, ERROR_REJECTED, "nonce is not that of this attempt");
    return true;
}

/* OIDC Core 3.1.3.6: the left half of the access token's SHA-256, in base64url. */
static bool judge_at_hash(const struct json *claims, h2o_iovec_t access_token, struct error *err)
{
    h2o_iovec_t value = {NULL, 0};
    if (!json_optional_string(claims, "at_hash", &value, err))
        return false;
    if (value.base == NULL || access_token.base == NULL)
        return true;
    uint8_t digest[SHA256_SIZE];
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    crypto_sha256(access_token.base, access_token.len, digest);
    bool equal = crypto_equal_iovec(value, base64url_encode(&pool, digest, SHA256_SIZE / 2));
    h2o_mem_clear_pool(&pool);
    return equal || error_set(err, ERROR_REJECTED, "at_hash is not the access token's");
}

static bool judge(const struct json *claims, const struct id_token_rules *rules,
                  h2o_iovec_t *subject, struct error *err)
{
    if (!judge_parties(claims, rules, err) || !judge_times(claims, rules, err) ||
        !judge_nonce(claims, rules->nonce, err) ||
        !judge_at_hash(claims, rules->access_token, err) ||
        !json_string(claims, "sub", subject, err))
        return false;
    if (!subject_acceptable(*subject))
        return error_set(err, ERROR_REJECTED, "sub is not 1 to 255 printable characters");
    if (rules->subject != NULL && !iovec_equal(*subject, rules->subject))
        return error_set(err, ERROR_REJECTED, "sub is somebody else's");
    return true;
}

bool id_token_judge(const struct json *claims, const struct id_token_rules *rules,
                    const char **subject_out, struct error *err)
{
    h2o_iovec_t subject;
    if (!judge(claims, rules, &subject, err)) {
        if (err != NULL)
            err->kind = ERROR_REJECTED; /* a claim of a wrong type too */
        return error_prefix(err, "id_token");
    }
    *subject_out = subject.base;
    return true;
}

bool id_token_is_new(const struct json *claims, int64_t asked_s, struct error *err)
{
    int64_t issued_s;
    bool good = json_int(claims, "iat", &issued_s, err);
    if (good && issued_s < asked_s - ID_TOKEN_SKEW_S)
        good = error_set(err, ERROR_REJECTED,
                         "it was issued %lld s before it was asked for (is this machine's clock "
                         "right?)",
                         (long long)(asked_s - issued_s));
    if (!good && err != NULL)
        err->kind = ERROR_REJECTED;
    return good || error_prefix(err, "id_token");
}

/* ---- demands of the config ---- */

static bool is_fresh(const struct json *claims, int64_t begun_s, struct error *err)
{
    int64_t auth_time_s;
    if (!json_int(claims, "auth_time", &auth_time_s, err))
        return false;
    if (auth_time_s < begun_s - ID_TOKEN_SKEW_S)
        return error_set(err, ERROR_REJECTED,
                         "auth_time is before this sign-in: Okta did not ask the person anew");
    return true;
}

static bool has_acr(const struct json *claims, const struct config_strings *wanted,
                    struct error *err)
{
    h2o_iovec_t acr;
    if (!json_string(claims, "acr", &acr, err))
        return false;
    for (unsigned i = 0; i < wanted->count; i++) {
        if (iovec_equal(acr, wanted->entries[i]))
            return true;
    }
    return error_set(err, ERROR_REJECTED, "acr is none of oidc.acr_values");
}

bool id_token_meets(const struct json *claims, const struct id_token_demands *demands,
                    const char **code, struct error *err)
{
    const char *unmet = NULL;
    if (demands->fresh && !is_fresh(claims, demands->begun_s, err))
        unmet = "not_authenticated_anew";
    else if (demands->acr_values->count != 0 && !has_acr(claims, demands->acr_values, err))
        unmet = "acr_not_met";
    if (unmet == NULL)
        return true;
    *code = unmet;
    if (err != NULL)
        err->kind = ERROR_REJECTED; /* a claim that is missing, too */
    return error_prefix(err, "id_token");
}
