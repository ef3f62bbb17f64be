/* SPDX-License-Identifier: Apache-2.0
 *
 * What Okta's answers mean, row by row in tests/data/okta/answers.tsv, and the tokens that are taken out
 * of a good one. */
#include "tsv.h"

#include "answers.h"
#include "base/text.h"

#define NOW_MS INT64_C(1790000000000)

static const char *const answer_names[] = {"ok", "no", "token_old", "unknown"};
static const struct sent sent = {.secrets = {{(char *)(uintptr_t) "sEcReTcOdE", 10},
                                             {NULL, 0},
                                             {(char *)(uintptr_t) "vErIfIeR", 8}}};

static h2o_iovec_t field(const char *text, char *out, size_t size)
{
    const char *value = tsv_text(text, out, size);
    return value != NULL ? iovec_of(value) : h2o_iovec_init(NULL, 0);
}

static bool judge(const char *endpoint, const struct fetch_result *result, struct answer *answer)
{
    struct provider_tokens tokens = {0};
    h2o_mem_pool_t pool;
    struct json *object;
    bool good;
    h2o_mem_init_pool(&pool);
    if (strcmp(endpoint, "token") == 0)
        good = answer_token(result, &sent, NOW_MS, &tokens, answer);
    else if (strcmp(endpoint, "userinfo") == 0)
        good = answer_userinfo(&pool, result, &sent, &object, answer);
    else if (strcmp(endpoint, "revoke") == 0)
        good = answer_revoke(result, &sent, answer);
    else
        good = answer_document(result, answer);
    if (!good)
        assert_int_equal(tokens.access_token.len, 0);
    provider_tokens_dispose(&tokens);
    h2o_mem_clear_pool(&pool);
    return good;
}

static void judge_row(const struct tsv_row *row)
{
    enum { ENDPOINT, STATUS, TYPE, CHALLENGE, BODY, ANSWER, OUTCOME, CODE, TEXT };
    char type[256], challenge[256], body[2048], code[64], words[256];
    struct fetch_result result = {.status = (int)strtol(row->fields[STATUS], NULL, 10),
                                  .content_type = field(row->fields[TYPE], type, sizeof(type)),
                                  .www_authenticate =
                                      field(row->fields[CHALLENGE], challenge, sizeof(challenge)),
                                  .body = field(row->fields[BODY], body, sizeof(body))};
    struct answer answer;
    bool good = judge(row->fields[ENDPOINT], &result, &answer);
    const char *expected = tsv_text(row->fields[TEXT], words, sizeof(words));
    if (strcmp(answer_names[answer.answer], row->fields[ANSWER]) != 0 ||
        strcmp(okta_outcome_name(answer.outcome), row->fields[OUTCOME]) != 0 ||
        strcmp(answer.code, tsv_text(row->fields[CODE], code, sizeof(code))) != 0)
        fail_msg("line %u: %s %s %s: %s", row->line, answer_names[answer.answer],
                 okta_outcome_name(answer.outcome), answer.code, answer.error.text);
    assert_int_equal(good, answer.answer == OKTA_OK);
    assert_int_equal(good, answer.error.kind == ERROR_NONE);
    if (expected != NULL && expected[0] == '!')
        assert_null(strstr(answer.error.text, expected + 1));
    else if (expected != NULL && strstr(answer.error.text, expected) == NULL)
        fail_msg("line %u: \"%s\" does not say \"%s\"", row->line, answer.error.text, expected);
    for (const char *c = answer.error.text; *c != '\0'; c++)
        assert_true(*c >= ' ' && *c <= '~');
}

static void test_table(void **state)
{
    (void)state;
    tsv_each("okta/answers.tsv", judge_row);
}

static void test_tokens(void **state)
{
    (void)state;
    char body[] = "{\"token_type\":\"Bearer\",\"expires_in\":3600,\"access_token\":\"aT.1\","
                  "\"scope\":\"openid\",\"refresh_token\":\"rT-2\",\"id_token\":\"a.b.c\"}";
    struct fetch_result result = {
        .status = 200, .body = iovec_of(body), .content_type = iovec_of("application/json")};
    struct provider_tokens tokens = {0};
    struct answer answer;
    assert_true(answer_token(&result, &sent, NOW_MS, &tokens, &answer));
    assert_string_equal(tokens.access_token.bytes, "aT.1");
    assert_string_equal(tokens.refresh_token.bytes, "rT-2");
    assert_string_equal(tokens.id_token.bytes, "a.b.c");
    assert_int_equal(tokens.access_expires_wall_ms, NOW_MS + 3600000);
    provider_tokens_dispose(&tokens);
}

/* Access and refresh tokens go into headers and forms; an id_token may hold thousands of groups. */
static void test_long_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int len;
        bool good;
    } cases[] = {{"refresh_token", 16384, true},
                 {"refresh_token", 16385, false},
                 {"access_token", 16385, false},
                 {"id_token", 65536, true},
                 {"id_token", 65537, false}};
    char *body = malloc(70000);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool access = strcmp(cases[i].key, "access_token") == 0;
        snprintf(body, 70000, "{\"token_type\":\"Bearer\"%s,\"%s\":\"%0*d\"}",
                 access ? "" : ",\"access_token\":\"a\"", cases[i].key, cases[i].len, 0);
        struct fetch_result result = {
            .status = 200, .body = iovec_of(body), .content_type = iovec_of("application/json")};
        struct provider_tokens tokens = {0};
        struct answer answer;
        if (answer_token(&result, &sent, NOW_MS, &tokens, &answer) != cases[i].good)
            fail_msg("%s of %d", cases[i].key, cases[i].len);
        provider_tokens_dispose(&tokens);
    }
    free(body);
}

static void test_no_answer(void **state)
{
    (void)state;
    struct error err = {ERROR_UPSTREAM, "acme.okta.test: connection refused"};
    struct answer answer;
    assert_false(answer_unreachable(&answer, &err, 9799, 10000));
    assert_int_equal(answer.answer, OKTA_UNKNOWN);
    assert_string_equal(answer.code, "unreachable");
    assert_string_equal(answer.error.text, err.text);
    assert_false(answer_unreachable(&answer, &err, 9999, 10000));
    assert_string_equal(answer.code, "timeout");
    assert_int_equal(answer.outcome, OUTCOME_TIMEOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_long_tokens),
        cmocka_unit_test(test_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
