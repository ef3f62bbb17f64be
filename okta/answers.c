/* SPDX-License-Identifier: Apache-2.0
 *
 * The meaning of every status and error body of Okta's (facts/protocols.md A2-A4), in one place. The HTTP
 * status is judged first: a 429 may carry invalid_grant, and must end no session. Only three answers, all of
 * the token endpoint, are a definite no:
 *
 *     400 invalid_grant                                     the code, or the session, is dead
 *     400 access_denied, "User is not assigned to …"        user_not_assigned
 *     401 access_denied, "Policy evaluation failed …"       no_matching_policy
 *
 * Okta's catalogue knows the last two by names that are not on the wire, so their descriptions are looked at; should
 * Okta reword them, they become "don't know", which is refused later by the age of the facts. */
#include "answers.h"

#include <assert.h>
#include <stdarg.h>

#include "base/text.h"

#define DESCRIPTION_MAX    120
#define TOKEN_FIELD_MAX    16384
#define ID_TOKEN_MAX       65536 /* as token/jwt.c takes it: thousands of groups */
#define LONGEST_LIFETIME_S (10 * INT64_C(365) * 86400)

const char *okta_outcome_name(enum okta_outcome outcome)
{
    static const char *const names[OUTCOMES] = {
        [OUTCOME_OK] = "ok",
        [OUTCOME_NO] = "no",
        [OUTCOME_TOKEN_OLD] = "token_old",
        [OUTCOME_RATE_LIMITED] = "rate_limited",
        [OUTCOME_REFUSED] = "refused",
        [OUTCOME_SERVER_ERROR] = "server_error",
        [OUTCOME_MALFORMED] = "malformed",
        [OUTCOME_TIMEOUT] = "timeout",
        [OUTCOME_UNREACHABLE] = "unreachable",
    };
    assert(outcome < OUTCOMES);
    return names[outcome];
}

bool answer_set(struct answer *out, enum okta_answer answer, enum okta_outcome outcome,
                const char *code, const char *format, ...)
{
    char text[sizeof(out->error.text)];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    out->answer = answer;
    out->outcome = outcome;
    snprintf(out->code, sizeof(out->code), "%s", code);
    return error_set(&out->error, answer == OKTA_UNKNOWN ? ERROR_UPSTREAM : ERROR_REJECTED, "%s",
                     text);
}

bool answer_malformed(struct answer *out, const struct error *err)
{
    return answer_set(out, OKTA_UNKNOWN, OUTCOME_MALFORMED, "malformed", "%s", err->text);
}

/* The fetch thread's clock may be a little ahead of ours. */
bool answer_unreachable(struct answer *out, const struct error *err, int64_t took_ms,
                        int64_t timeout_ms)
{
    if (took_ms >= timeout_ms - timeout_ms / 50)
        return answer_set(out, OKTA_UNKNOWN, OUTCOME_TIMEOUT, "timeout", "%s", err->text);
    return answer_set(out, OKTA_UNKNOWN, OUTCOME_UNREACHABLE, "unreachable", "%s", err->text);
}

static bool set_ok(struct answer *out)
{
    *out = (struct answer){.answer = OKTA_OK, .outcome = OUTCOME_OK};
    return true;
}

/* ---- what an error body says ---- */

struct complaint {
    char code[ANSWER_CODE_SIZE];           /* Okta's word, else "http_<status>" */
    char description[DESCRIPTION_MAX + 1]; /* fit for a log; "" when there is none */
};

/* Short and of harmless characters, else it is not repeated. */
static bool is_code(h2o_iovec_t word)
{
    if (word.len == 0 || word.len >= ANSWER_CODE_SIZE)
        return false;
    for (size_t i = 0; i < word.len; i++) {
        unsigned char c = (unsigned char)word.base[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '_' && c != '-' && c != '.')
            return false;
    }
    return true;
}

static bool holds_secret(h2o_iovec_t words, const struct sent *sent)
{
    for (size_t i = 0; i < sizeof(sent->secrets) / sizeof(sent->secrets[0]); i++) {
        h2o_iovec_t secret = sent->secrets[i];
        if (secret.len != 0 && memmem(words.base, words.len, secret.base, secret.len) != NULL)
            return true;
    }
    return false;
}

static void set_description(struct complaint *out, h2o_iovec_t words, const struct sent *sent)
{
    if (holds_secret(words, sent))
        return;
    size_t len = words.len < DESCRIPTION_MAX ? words.len : DESCRIPTION_MAX;
    for (size_t i = 0; i < len; i++)
        out->description[i] = words.base[i];
    out->description[len] = '\0';
    for (char *c = out->description; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~')
            *c = '?';
    }
}

/* OAuth's {"error","error_description"} and Okta's own {"errorCode","errorSummary"}. */
static void read_error_body(h2o_mem_pool_t *pool, h2o_iovec_t body, const struct sent *sent,
                            struct complaint *out)
{
    static const char *const members[][2] = {{"error", "error_description"},
                                             {"errorCode", "errorSummary"}};
    static const struct json_limits limits = {
        .max_bytes = 65536, .max_depth = 8, .max_nodes = 1024};
    struct json *object;
    h2o_iovec_t code, words = {NULL, 0};
    if (!json_parse(pool, body, &limits, &object, NULL))
        return;
    for (size_t i = 0; i < 2; i++) {
        if (!json_string(object, members[i][0], &code, NULL) || !is_code(code) ||
            holds_secret(code, sent))
            continue;
        memcpy(out->code, code.base, code.len + 1);
        if (json_optional_string(object, members[i][1], &words, NULL) && words.base != NULL)
            set_description(out, words, sent);
        return;
    }
}

/* WWW-Authenticate: Bearer error="invalid_token", … (RFC 6750 section 3) */
static void read_challenge(h2o_iovec_t challenge, const struct sent *sent, struct complaint *out)
{
    static const char mark[] = "error=\"";
    const char *at =
        challenge.len == 0 ? NULL : memmem(challenge.base, challenge.len, mark, sizeof(mark) - 1);
    if (at == NULL)
        return;
    at += sizeof(mark) - 1;
    size_t left = (size_t)(challenge.base + challenge.len - at);
    const char *end = memchr(at, '"', left);
    h2o_iovec_t code = h2o_iovec_init(at, end != NULL ? (size_t)(end - at) : 0);
    if (is_code(code) && !holds_secret(code, sent))
        snprintf(out->code, sizeof(out->code), "%.*s", (int)code.len, code.base);
}

static void read_complaint(const struct fetch_result *result, const struct sent *sent,
                           struct complaint *out)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    *out = (struct complaint){0};
    snprintf(out->code, sizeof(out->code), "http_%d", result->status);
    read_challenge(result->www_authenticate, sent, out);
    read_error_body(&pool, result->body, sent, out);
    h2o_mem_clear_pool(&pool);
}

static bool says(const struct complaint *complaint, const char *code)
{
    return strcmp(complaint->code, code) == 0;
}

static bool describes(const struct complaint *complaint, const char *words)
{
    return strstr(complaint->description, words) != NULL;
}

/* ---- failures ---- */

static bool fail(struct answer *out, enum okta_answer answer, enum okta_outcome outcome,
                 const struct fetch_result *result, const struct complaint *complaint)
{
    return answer_set(out, answer, outcome, complaint->code, "HTTP %d %s%s%s", result->status,
                      complaint->code, complaint->description[0] != '\0' ? ": " : "",
                      complaint->description);
}

/* What every endpoint's failure means unless it has a rule of its own. */
static bool fail_by_status(struct answer *out, const struct fetch_result *result,
                           struct complaint *complaint)
{
    if (result->status == 429) {
        memcpy(complaint->code, "rate_limited", sizeof("rate_limited"));
        return fail(out, OKTA_UNKNOWN, OUTCOME_RATE_LIMITED, result, complaint);
    }
    if (result->status >= 500)
        return fail(out, OKTA_UNKNOWN, OUTCOME_SERVER_ERROR, result, complaint);
    if (result->status >= 300) {
        if (describes(complaint, "too many groups") || describes(complaint, "too_many_groups") ||
            says(complaint, "too_many_groups_in_groups_claim"))
            memcpy(complaint->code, "too_many_groups", sizeof("too_many_groups"));
        return fail(out, OKTA_UNKNOWN, OUTCOME_REFUSED, result, complaint);
    }
    return fail(out, OKTA_UNKNOWN, OUTCOME_MALFORMED, result, complaint);
}

static bool is_not_assigned(int status, const struct complaint *complaint)
{
    return status == 400 && (says(complaint, "user_not_assigned") ||
                             (says(complaint, "access_denied") &&
                              describes(complaint, "not assigned to the client")));
}

static bool is_no_policy(int status, const struct complaint *complaint)
{
    return status == 401 &&
           (says(complaint, "no_matching_policy") ||
            (says(complaint, "access_denied") && describes(complaint, "olicy evaluation failed")));
}

static bool fail_at_token(struct answer *out, const struct fetch_result *result,
                          const struct sent *sent)
{
    struct complaint complaint;
    read_complaint(result, sent, &complaint);
    bool no = result->status == 400 && says(&complaint, "invalid_grant");
    if (is_not_assigned(result->status, &complaint)) {
        memcpy(complaint.code, "user_not_assigned", sizeof("user_not_assigned"));
        no = true;
    } else if (is_no_policy(result->status, &complaint)) {
        memcpy(complaint.code, "no_matching_policy", sizeof("no_matching_policy"));
        no = true;
    }
    if (no)
        return fail(out, OKTA_NO, OUTCOME_NO, result, &complaint);
    return fail_by_status(out, result, &complaint);
}

/* ---- successes ---- */

static bool has_type(const struct fetch_result *result, const char *type)
{
    h2o_iovec_t have = result->content_type;
    const char *end = have.len != 0 ? memchr(have.base, ';', have.len) : NULL;
    size_t len = end != NULL ? (size_t)(end - have.base) : have.len;
    while (len > 0 && (have.base[len - 1] == ' ' || have.base[len - 1] == '\t'))
        len--;
    return len == strlen(type) && strncasecmp(have.base, type, len) == 0;
}

static bool read_object(h2o_mem_pool_t *pool, const struct fetch_result *result, struct json **out,
                        struct answer *answer)
{
    struct error err;
    if (!has_type(result, "application/json"))
        return answer_set(answer, OKTA_UNKNOWN, OUTCOME_MALFORMED, "malformed",
                          "the answer is not application/json");
    if (!json_parse(pool, result->body, NULL, out, &err))
        return answer_malformed(answer, &err);
    if ((*out)->type != JSON_OBJECT)
        return answer_set(answer, OKTA_UNKNOWN, OUTCOME_MALFORMED, "malformed",
                          "the answer is not a JSON object");
    return true;
}

/* Printable ASCII without spaces: what can stand in a header and a form (RFC 6749 appendix A). */
static bool is_token_text(h2o_iovec_t value, size_t max)
{
    if (value.len == 0 || value.len > max)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (value.base[i] <= ' ' || value.base[i] > '~')
            return false;
    }
    return true;
}

struct token_field {
    const char *key;
    bool required;
    size_t max;
};

/* Moves the string out of the tree: what stays there is wiped. */
static bool take_secret(const struct json *object, const struct token_field *field,
                        struct secret *out, struct error *err)
{
    h2o_iovec_t value = {NULL, 0};
    if (!(field->required ? json_string(object, field->key, &value, err)
                          : json_optional_string(object, field->key, &value, err)))
        return false;
    if (value.base == NULL)
        return true;
    if (!is_token_text(value, field->max))
        return error_set(err, ERROR_BAD_INPUT, "%s is not a token, or too long", field->key);
    secret_set(out, value.base, value.len);
    explicit_bzero(value.base, value.len);
    return true;
}

static bool read_tokens(const struct json *object, int64_t asked_wall_ms,
                        struct provider_tokens *out, struct error *err)
{
    static const struct token_field access = {"access_token", true, TOKEN_FIELD_MAX};
    static const struct token_field refresh = {"refresh_token", false, TOKEN_FIELD_MAX};
    static const struct token_field id = {"id_token", false, ID_TOKEN_MAX};
    h2o_iovec_t type;
    int64_t expires_in_s = 300; /* RFC 6749 leaves it open; Okta always says it */
    if (!json_string(object, "token_type", &type, err) ||
        !json_optional_int(object, "expires_in", &expires_in_s, err) ||
        !take_secret(object, &access, &out->access_token, err) ||
        !take_secret(object, &refresh, &out->refresh_token, err) ||
        !take_secret(object, &id, &out->id_token, err))
        return false;
    if (strcasecmp(type.base, "Bearer") != 0)
        return error_set(err, ERROR_BAD_INPUT, "token_type is not Bearer");
    if (expires_in_s <= 0 || expires_in_s > LONGEST_LIFETIME_S)
        return error_set(err, ERROR_BAD_INPUT, "expires_in is out of range");
    out->access_expires_wall_ms = asked_wall_ms + expires_in_s * 1000;
    return true;
}

bool answer_token(const struct fetch_result *result, const struct sent *sent, int64_t asked_wall_ms,
                  struct provider_tokens *tokens, struct answer *out)
{
    if (result->status != 200)
        return fail_at_token(out, result, sent);
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct provider_tokens read = {0};
    struct json *object = NULL;
    struct error err;
    bool good = read_object(&pool, result, &object, out);
    if (good && !read_tokens(object, asked_wall_ms, &read, &err))
        good = answer_malformed(out, &err);
    h2o_mem_clear_pool(&pool);
    if (!good) {
        provider_tokens_dispose(&read);
        return false;
    }
    *tokens = read;
    return set_ok(out);
}

bool answer_userinfo(h2o_mem_pool_t *pool, const struct fetch_result *result,
                     const struct sent *sent, struct json **object, struct answer *out)
{
    struct complaint complaint;
    if (result->status == 200)
        return read_object(pool, result, object, out) && set_ok(out);
    read_complaint(result, sent, &complaint);
    if (result->status == 401)
        return fail(out, OKTA_TOKEN_OLD, OUTCOME_TOKEN_OLD, result, &complaint);
    return fail_by_status(out, result, &complaint);
}

bool answer_revoke(const struct fetch_result *result, const struct sent *sent, struct answer *out)
{
    struct complaint complaint;
    if (result->status == 200)
        return set_ok(out);
    read_complaint(result, sent, &complaint);
    return fail_by_status(out, result, &complaint);
}

bool answer_document(const struct fetch_result *result, struct answer *out)
{
    struct complaint complaint;
    const struct sent nothing = {0};
    if (result->status != 200) {
        read_complaint(result, &nothing, &complaint);
        return fail_by_status(out, result, &complaint);
    }
    if (!has_type(result, "application/json") && !has_type(result, "application/jwk-set+json"))
        return answer_set(out, OKTA_UNKNOWN, OUTCOME_MALFORMED, "malformed",
                          "the answer is not JSON by its type");
    return set_ok(out);
}
