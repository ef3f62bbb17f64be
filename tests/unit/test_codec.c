/* SPDX-License-Identifier: Apache-2.0
 *
 * TokenReviews in and out, against golden files (tests/data/tokenreview). */
#include "support_pool.h"
#include "tsv.h"

#include "base/text.h"
#include "codec.h"

#define SPEC "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\",\"spec\":"

static h2o_iovec_t golden(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/tokenreview/%s", TEST_DATA, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s is missing", path);
    char *bytes = h2o_mem_alloc_pool(&test_pool, 16384);
    size_t len = fread(bytes, 1, 16383, file);
    bytes[len] = '\0';
    fclose(file);
    return h2o_iovec_init(bytes, len);
}

/* ---- in ---- */

static void test_real_requests(void **state)
{
    (void)state;
    static const struct {
        const char *file, *version;
    } table[] = {{"request-1.36.json", "authentication.k8s.io/v1"},
                 {"request-1.21-v1beta1.json", "authentication.k8s.io/v1beta1"}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct review review;
        assert_true(review_parse(&test_pool, golden(table[i].file), &review, NULL));
        assert_string_equal(review.api_version, table[i].version);
        assert_true(iovec_equal(review.token, "ok.1"));
        assert_int_equal(review.audience_count, 1);
        assert_true(iovec_equal(review.audiences[0], "https://kubernetes.default.svc"));
    }
}

static void request_row(const struct tsv_row *row)
{
    char body[TSV_LINE], problem[256];
    struct review review;
    struct error err = {.kind = ERROR_NONE};
    const char *wanted = tsv_text(row->fields[2], problem, sizeof(problem));
    assert_non_null(tsv_text(row->fields[1], body, sizeof(body)));
    bool fine = review_parse(&test_pool, iovec_of(body), &review, &err);
    if (fine != (wanted == NULL))
        fail_msg("line %u, %s: %s", row->line, row->fields[0], fine ? "accepted" : err.text);
    if (fine)
        return;
    assert_int_equal(err.kind, ERROR_BAD_INPUT);
    if (strcmp(wanted, "*") != 0 && strcmp(wanted, err.text) != 0)
        fail_msg("line %u, %s: told \"%s\"", row->line, row->fields[0], err.text);
}

static void test_requests(void **state)
{
    (void)state;
    tsv_each("tokenreview/requests.tsv", request_row);
}

static bool parse_token_of(size_t len, struct review *review, struct error *err)
{
    struct text body;
    text_init(&body, &test_pool);
    text_add_string(&body, SPEC "{\"token\":\"");
    for (size_t i = 0; i < len; i++)
        text_add_string(&body, "x");
    text_add_string(&body, "\"}}");
    return review_parse(&test_pool, text_iovec(&body), review, err);
}

/* peers 12, 21 */
static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        bool fine;
    } table[] = {
        {1, true}, {8192, true}, {200 * 1024, true}, {256 * 1024 - 100, true}, {256 * 1024, false}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct review review;
        struct error err = {.kind = ERROR_NONE};
        assert_int_equal(parse_token_of(table[i].len, &review, &err), table[i].fine);
        if (table[i].fine)
            assert_int_equal(review.token.len, table[i].len);
        else
            assert_int_equal(err.kind, ERROR_BAD_INPUT);
    }
}

static bool parse_audiences(unsigned count, struct review *review)
{
    struct text body;
    text_init(&body, &test_pool);
    text_add_string(&body, SPEC "{\"token\":\"t\",\"audiences\":[");
    for (unsigned i = 0; i < count; i++)
        text_add_format(&body, "%s\"a%u\"", i == 0 ? "" : ",", i);
    text_add_string(&body, "]}}");
    return review_parse(&test_pool, text_iovec(&body), review, NULL);
}

static void test_audience_count(void **state)
{
    (void)state;
    struct review review;
    assert_true(parse_audiences(REVIEW_MAX_AUDIENCES, &review));
    assert_int_equal(review.audience_count, REVIEW_MAX_AUDIENCES);
    assert_true(iovec_equal(review.audiences[99], "a99"));
    assert_false(parse_audiences(REVIEW_MAX_AUDIENCES + 1, &review));
}

/* No complaint repeats what was sent (peers 20). */
static void test_complaints_hold_no_token(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"spec\":{\"token\":\"planted-secret\"",
        "planted-secret",
        "{\"planted-secret\":1,\"planted-secret\":2}",
        "{\"apiVersion\":\"planted-secret\",\"kind\":\"TokenReview\"}",
        "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"planted-secret\"}",
        SPEC "{\"token\":\"planted-secret\",\"TOKEN\":\"planted-secret\"}}",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct review review;
        struct error err = {.kind = ERROR_NONE};
        assert_false(review_parse(&test_pool, iovec_of(bodies[i]), &review, &err));
        assert_true(err.text[0] != '\0');
        assert_null(strstr(err.text, "planted"));
    }
}

/* ---- audiences ---- */

/* peers 19 */
static void test_common_audiences(void **state)
{
    (void)state;
    static const struct {
        const char *asked, *configured, *common;
    } table[] = {
        {"a", "a", "a"}, {"a|b|c", "c|a", "a|c"}, {"x", "a", "-"},
        {"-", "a", "-"}, {"a", "-", "-"},         {"a|a|b|a", "a|b", "a|b"},
        {"A", "a", "-"}, {"a|aa", "aa", "aa"},    {"\"\"", "a", "-"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct tsv_list asked, configured, wanted;
        h2o_iovec_t audiences[8], common[8];
        char *names[8];
        tsv_list(table[i].asked, &asked);
        tsv_list(table[i].configured, &configured);
        tsv_list(table[i].common, &wanted);
        for (size_t j = 0; j < asked.count; j++)
            audiences[j] = iovec_of(asked.entries[j]);
        for (size_t j = 0; j < configured.count; j++)
            names[j] = text_dup(&test_pool, configured.entries[j]);
        struct review review = {.audiences = audiences, .audience_count = asked.count};
        struct config_strings list = {names, (unsigned)configured.count};
        assert_int_equal(review_common_audiences(&review, &list, common), wanted.count);
        for (size_t j = 0; j < wanted.count; j++)
            assert_true(iovec_equal(common[j], wanted.entries[j]));
    }
}

/* ---- out ---- */

static void answers(const struct review_answer *answer, const char *file)
{
    h2o_iovec_t bytes;
    assert_true(json_writer_end(review_write(&test_pool, answer), &bytes, NULL));
    assert_string_equal(bytes.base, golden(file).base);
}

static struct verdict verdict_of(enum reason reason)
{
    return (struct verdict){.reason = reason, .decision = reason_decision(reason)};
}

static void test_yes(void **state)
{
    (void)state;
    static const char *const groups[] = {"okta:k8s-\"x\",y", "okta:k8s-ünï"};
    struct identity identity = {.uid = "00u1abcd2EFGH3ijk4l5",
                                .username = "okta:ada@example.test",
                                .groups = groups,
                                .group_count = 2};
    struct verdict verdict = verdict_of(REASON_OK);
    verdict.identity = &identity;
    snprintf(verdict.jti, sizeof(verdict.jti), "jti-1");
    snprintf(verdict.session.id, sizeof(verdict.session.id), "sess-1");
    answers(&(struct review_answer){"authentication.k8s.io/v1", &verdict, NULL, 0},
            "answer-yes.json");
    const h2o_iovec_t audiences[] = {iovec_of("https://kubernetes.default.svc"), iovec_of("vault")};
    identity.username = "ada";
    identity.group_count = 0;
    answers(&(struct review_answer){"authentication.k8s.io/v1beta1", &verdict, audiences, 2},
            "answer-yes-v1beta1-audiences.json");
}

/* Every definite no is the same answer, whatever was known (peers 23). */
static void test_no(void **state)
{
    (void)state;
    struct identity identity = {.uid = "00u1", .username = "ada"};
    const h2o_iovec_t audiences[] = {iovec_of("vault")};
    for (unsigned reason = 0; reason < REASONS; reason++) {
        if (reason_decision(reason) != DECISION_NO)
            continue;
        struct verdict verdict = verdict_of(reason);
        verdict.identity = &identity;
        snprintf(verdict.jti, sizeof(verdict.jti), "jti-1");
        answers(&(struct review_answer){"authentication.k8s.io/v1", &verdict, audiences, 1},
                "answer-no.json");
        answers(&(struct review_answer){"authentication.k8s.io/v1beta1", &verdict, NULL, 0},
                "answer-no-v1beta1.json");
    }
}

static void test_unsure(void **state)
{
    (void)state;
    struct verdict verdict = verdict_of(REASON_GROUPS_UNKNOWN);
    answers(&(struct review_answer){"authentication.k8s.io/v1", &verdict, NULL, 0},
            "answer-unsure.json");
}

/* A writer that fails says so, and no half answer is sent. */
static void test_bad_name_is_no_answer(void **state)
{
    (void)state;
    struct identity identity = {.uid = "00u1", .username = "ada\xff"};
    struct verdict verdict = verdict_of(REASON_OK);
    h2o_iovec_t bytes;
    verdict.identity = &identity;
    struct review_answer answer = {"authentication.k8s.io/v1", &verdict, NULL, 0};
    assert_false(json_writer_end(review_write(&test_pool, &answer), &bytes, NULL));
}

static void test_reasons(void **state)
{
    (void)state;
    unsigned counts[DECISIONS] = {0};
    for (unsigned reason = 0; reason < REASONS; reason++) {
        assert_non_null(reason_name(reason));
        assert_non_null(reason_public_text(reason));
        for (unsigned other = 0; other < reason; other++)
            assert_string_not_equal(reason_name(reason), reason_name(other));
        counts[reason_decision(reason)]++;
    }
    assert_int_equal(counts[DECISION_YES], 1);
    assert_int_equal(counts[DECISION_UNSURE], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_requests),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_audience_count),
        cmocka_unit_test(test_complaints_hold_no_token),
        cmocka_unit_test(test_common_audiences),
        cmocka_unit_test(test_yes),
        cmocka_unit_test(test_no),
        cmocka_unit_test(test_unsure),
        cmocka_unit_test(test_bad_name_is_no_answer),
        cmocka_unit_test(test_reasons),
    };
    return cmocka_run_group_tests(tests, pool_set_up, pool_tear_down);
}
