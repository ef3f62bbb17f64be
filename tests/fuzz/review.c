/* SPDX-License-Identifier: Apache-2.0
 *
 * TokenReview bodies. A review has one token, whatever reader looks at it (peers 4), and nothing of the body
 * returns in an answer but audiences of our own. */
#include "fuzz.h"

#include <strings.h>

#include "webhook/webhook.h"

#include "codec.h"

static char *our_audiences[2];
static const struct config_strings configured = {our_audiences, 2};

/* A reader that ignores case, or takes the last of several, would see the same. */
static void check_one(const struct json *object, const char *key)
{
    size_t count = 0;
    for (const struct json *member = object->first; member != NULL; member = member->next)
        count += strcasecmp(member->key.base, key) == 0;
    assert(count == 1);
}

static void check_body(h2o_mem_pool_t *pool, h2o_iovec_t body, const struct review *review)
{
    struct json *root = NULL;
    h2o_iovec_t token;
    bool good = json_parse(pool, body, NULL, &root, NULL);
    const struct json *spec = good ? json_member(root, "spec") : NULL;
    assert(spec != NULL);
    check_one(root, "spec");
    check_one(spec, "token");
    good = json_string(spec, "token", &token, NULL);
    assert(good && fuzz_same(token, review->token));
}

static void check_review(const struct review *review)
{
    fuzz_check_text(review->token);
    assert(review->token.len > 0 && review->audience_count <= REVIEW_MAX_AUDIENCES);
    for (size_t i = 0; i < review->audience_count; i++)
        fuzz_check_text(review->audiences[i]);
    assert(strncmp(review->api_version, "authentication.k8s.io/v1", 24) == 0);
}

static h2o_iovec_t write_answer(h2o_mem_pool_t *pool, const struct review_answer *answer)
{
    h2o_iovec_t text;
    struct json *tree;
    bool good = json_writer_end(review_write(pool, answer), &text, NULL) &&
                json_parse(pool, text, NULL, &tree, NULL);
    assert(good);
    return text;
}

static bool holds(h2o_iovec_t text, h2o_iovec_t part)
{
    return memmem(text.base, text.len, part.base, part.len) != NULL;
}

static void check_answers(h2o_mem_pool_t *pool, const struct review *review)
{
    h2o_iovec_t common[REVIEW_MAX_AUDIENCES];
    h2o_iovec_t all[] = {iovec_of(our_audiences[0]), iovec_of(our_audiences[1])};
    const char *groups[] = {"k8s-admins"};
    const struct identity ada = {.uid = "00u1",
                                 .username = "ada@example.test",
                                 .groups_present = true,
                                 .groups = groups,
                                 .group_count = 1};
    size_t count = review_common_audiences(review, &configured, common);
    assert(count <= configured.count);
    for (int reason = 0; reason < REASONS; reason++) {
        enum decision decision = reason_decision((enum reason)reason);
        struct verdict verdict = {decision, (enum reason)reason, .identity = &ada};
        struct review_answer answer = {review->api_version, &verdict, common, count};
        struct review_answer most = {review->api_version, &verdict, all, 2};
        h2o_iovec_t text = write_answer(pool, &answer);
        /* a "token" out of our own words may stand there */
        assert(!holds(text, review->token) || holds(write_answer(pool, &most), review->token));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t body = h2o_iovec_init(bytes, len);
    struct review review;
    struct error err = {0};
    h2o_mem_init_pool(&pool);
    our_audiences[0] = text_dup(&pool, "kubernetes");
    our_audiences[1] = text_dup(&pool, "https://kubernetes.default.svc");
    if (review_parse(&pool, body, &review, &err)) {
        assert(len <= WEBHOOK_MAX_BODY);
        check_review(&review);
        check_body(&pool, body, &review);
        check_answers(&pool, &review);
    } else {
        assert(err.kind == ERROR_BAD_INPUT);
        fuzz_check_error(&err);
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
