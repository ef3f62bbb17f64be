/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/app_tokens: one token for each session, made anew ahead of its end and when what it tells has changed, however
 * many sessions there are. */
#include "app_tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/text.h"

struct bench {
    h2o_mem_pool_t pool;
    struct app_tokens *tokens;
    int64_t now_ms, lifetime_ms;
    unsigned made;
    bool broken;
};

static void open_bench(struct bench *self, int64_t lifetime_ms)
{
    *self = (struct bench){.now_ms = INT64_C(1000000000), .lifetime_ms = lifetime_ms};
    h2o_mem_init_pool(&self->pool);
    self->tokens = app_tokens_new();
}

static void close_bench(struct bench *self)
{
    app_tokens_free(self->tokens);
    h2o_mem_clear_pool(&self->pool);
}

static bool make(void *ctx, struct issued_token *out, struct error *err)
{
    struct bench *self = ctx;
    if (self->broken)
        return error_set(err, ERROR_INTERNAL, "no key");
    out->token = iovec_of(text_format(&self->pool, "token %u", ++self->made));
    out->made_ms = self->now_ms;
    out->expires_ms = self->now_ms + self->lifetime_ms;
    return true;
}

/* The token, NULL: none was to be had. */
static const char *get(struct bench *self, const char *grant_id, int64_t facts_ms)
{
    struct error err;
    h2o_iovec_t token;
    const struct app_token_ask ask = {grant_id, facts_ms, self->now_ms, make, self};
    if (!app_tokens_get(self->tokens, &self->pool, &ask, &token, &err))
        return NULL;
    return text_dup_iovec(&self->pool, token);
}

static void test_made_30_s_ahead_of_its_end(void **state)
{
    struct bench bench;
    (void)state;
    open_bench(&bench, 300000);
    assert_string_equal(get(&bench, "a", 0), "token 1");
    bench.now_ms += 269999;
    assert_string_equal(get(&bench, "a", 0), "token 1");
    bench.now_ms += 1;
    assert_string_equal(get(&bench, "a", 0), "token 2");
    assert_string_equal(get(&bench, "a", 0), "token 2");
    close_bench(&bench);
}

static void test_half_of_a_short_life(void **state)
{
    struct bench bench;
    (void)state;
    open_bench(&bench, 10000);
    assert_string_equal(get(&bench, "a", 0), "token 1");
    bench.now_ms += 4999;
    assert_string_equal(get(&bench, "a", 0), "token 1");
    bench.now_ms += 1;
    assert_string_equal(get(&bench, "a", 0), "token 2");
    close_bench(&bench);
}

static void test_each_session_has_its_own(void **state)
{
    struct bench bench;
    (void)state;
    open_bench(&bench, 300000);
    assert_string_equal(get(&bench, "a", 0), "token 1");
    assert_string_equal(get(&bench, "b", 0), "token 2");
    assert_string_equal(get(&bench, "a", 0), "token 1");
    close_bench(&bench);
}

static void test_a_refused_one_is_made_anew_but_not_all_the_time(void **state)
{
    struct bench bench;
    (void)state;
    open_bench(&bench, 300000);
    assert_string_equal(get(&bench, "a", 0), "token 1");
    assert_string_equal(get(&bench, "b", 0), "token 2");
    app_tokens_forget(bench.tokens, "a", bench.now_ms + 4999);
    assert_string_equal(get(&bench, "a", 0), "token 1");
    app_tokens_forget(bench.tokens, "a", bench.now_ms + 5000);
    app_tokens_forget(bench.tokens, "unknown", bench.now_ms + 5000);
    assert_string_equal(get(&bench, "b", 0), "token 2");
    assert_string_equal(get(&bench, "a", 0), "token 3");
    close_bench(&bench);
}

static void test_other_facts_are_told_at_once(void **state)
{
    struct bench bench;
    (void)state;
    open_bench(&bench, 300000);
    assert_string_equal(get(&bench, "a", 5), "token 1");
    assert_string_equal(get(&bench, "a", 5), "token 1");
    assert_string_equal(get(&bench, "a", 6), "token 2");
    close_bench(&bench);
}

static void test_none_beyond_its_time(void **state)
{
    struct bench bench;
    (void)state;
    open_bench(&bench, 300000);
    assert_string_equal(get(&bench, "a", 0), "token 1");
    bench.broken = true;
    assert_string_equal(get(&bench, "a", 0), "token 1");
    bench.now_ms += 300000;
    assert_null(get(&bench, "a", 0));
    bench.broken = false;
    assert_string_equal(get(&bench, "a", 0), "token 2");
    close_bench(&bench);
}

/* More sessions than there is room: each gets a token of its own all the same. */
static void test_bounded(void **state)
{
    enum { MANY = 20000 };
    struct bench bench;
    (void)state;
    open_bench(&bench, 300000);
    for (unsigned i = 0; i < MANY; i++) {
        char id[16];
        snprintf(id, sizeof(id), "grant%u", i);
        bench.now_ms++;
        assert_string_equal(get(&bench, id, 0), text_format(&bench.pool, "token %u", i + 1));
        assert_string_equal(get(&bench, id, 0), text_format(&bench.pool, "token %u", i + 1));
    }
    assert_string_not_equal(get(&bench, "grant0", 0), "token 1");
    close_bench(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_30_s_ahead_of_its_end),
        cmocka_unit_test(test_half_of_a_short_life),
        cmocka_unit_test(test_each_session_has_its_own),
        cmocka_unit_test(test_a_refused_one_is_made_anew_but_not_all_the_time),
        cmocka_unit_test(test_other_facts_are_told_at_once),
        cmocka_unit_test(test_none_beyond_its_time),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
