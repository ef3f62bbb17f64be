/* SPDX-License-Identifier: Apache-2.0
 *
 * Okta's HTTP answers. The input is "ENDPOINT STATUS TYPE" on the first line (t: token, u: userinfo, r:
 * revocation, d: a document), WWW-Authenticate on the second, and the body. A definite no comes from two
 * statuses of one endpoint only, and what we sent never returns in what is logged. */
#include "fuzz.h"

#include <ctype.h>

#include "answers.h"

static char secret[] = "sEcReT-that-we-sent";
static const struct sent sent = {.secrets = {{secret, sizeof(secret) - 1}}};

struct question {
    char endpoint;
    struct fetch_result result;
};

static struct question read_question(h2o_mem_pool_t *pool, h2o_iovec_t input)
{
    struct question out = {.endpoint = 't'};
    char *line = text_dup_iovec(pool, fuzz_line(&input));
    char *at = line;
    if (*at != '\0')
        out.endpoint = *at++;
    out.result.status = (int)(strtoul(at, &at, 10) % 1000); /* curl knows no longer ones */
    while (*at == ' ')
        at++;
    if (*at != '\0')
        out.result.content_type = iovec_of(at);
    h2o_iovec_t challenge = fuzz_line(&input);
    if (challenge.len != 0)
        out.result.www_authenticate = iovec_of(text_dup_iovec(pool, challenge));
    out.result.body = h2o_iovec_init(text_dup_iovec(pool, input), input.len);
    return out;
}

static void check_tokens(const struct provider_tokens *tokens)
{
    const struct secret *all[] = {&tokens->access_token, &tokens->refresh_token, &tokens->id_token};
    assert(tokens->access_token.len > 0);
    assert(tokens->access_expires_wall_ms > FUZZ_NOW_MS);
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < all[i]->len; j++)
            assert(isgraph((unsigned char)all[i]->bytes[j]));
    }
}

static bool ask_token(const struct question *question, struct answer *out)
{
    struct provider_tokens tokens = {0};
    bool good = answer_token(&question->result, &sent, FUZZ_NOW_MS, &tokens, out);
    if (good)
        check_tokens(&tokens);
    else
        assert(tokens.access_token.bytes == NULL && tokens.refresh_token.bytes == NULL);
    provider_tokens_dispose(&tokens);
    return good;
}

static bool ask(h2o_mem_pool_t *pool, const struct question *question, struct answer *out)
{
    struct json *object = NULL;
    bool good;
    switch (question->endpoint) {
    case 'u':
        good = answer_userinfo(pool, &question->result, &sent, &object, out);
        assert(!good || object->type == JSON_OBJECT);
        return good;
    case 'r':
        return answer_revoke(&question->result, &sent, out);
    case 'd':
        return answer_document(&question->result, out);
    default:
        return ask_token(question, out);
    }
}

static void check_failure(const struct question *question, const struct answer *answer)
{
    int status = question->result.status;
    bool is_token = strchr("urd", question->endpoint) == NULL;
    fuzz_check_error(&answer->error);
    assert(answer->answer != OKTA_OK && answer->outcome != OUTCOME_OK);
    assert(answer->code[0] != '\0' && strnlen(answer->code, ANSWER_CODE_SIZE) < ANSWER_CODE_SIZE);
    for (const char *c = answer->code; *c != '\0'; c++)
        assert(isalnum((unsigned char)*c) || strchr("_-.", *c) != NULL);
    assert(answer->answer != OKTA_NO || (is_token && (status == 400 || status == 401)));
    assert(answer->answer != OKTA_TOKEN_OLD || (question->endpoint == 'u' && status == 401));
    assert((answer->answer == OKTA_NO) == (answer->outcome == OUTCOME_NO));
    assert((status == 429) == (answer->outcome == OUTCOME_RATE_LIMITED));
    if (question->endpoint != 'd') {
        assert(strstr(answer->error.text, secret) == NULL);
        assert(strstr(answer->code, secret) == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    struct answer answer = {.answer = OKTA_UNKNOWN};
    h2o_mem_init_pool(&pool);
    struct question question = read_question(&pool, h2o_iovec_init(bytes, len));
    if (ask(&pool, &question, &answer))
        assert(question.result.status == 200 && answer.answer == OKTA_OK);
    else
        check_failure(&question, &answer);
    assert(okta_outcome_name(answer.outcome) != NULL);
    h2o_mem_clear_pool(&pool);
    return 0;
}
