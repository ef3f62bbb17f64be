/* SPDX-License-Identifier: Apache-2.0
 *
 * The refresh grant over real TLS, and oidc.user_in_idtoken, where a refresh says who a person is now. */
#include "support_okta_client.h"

/* ---- a refresh for new tokens ---- */

static void test_refresh(void **state)
{
    struct world *self = *state;
    plan_answer(TOKEN, 200,
                "{\"token_type\":\"Bearer\",\"expires_in\":3600,\"access_token\":\"aT.2\"}");
    start(self);
    refresh(self);
    expect(self, OKTA_OK, NULL);
    assert_string_equal(self->tokens.access_token.bytes, "aT.2");
    assert_string_equal(self->tokens.refresh_token.bytes, "rT-1"); /* the old one goes on */
    assert_int_equal(self->tokens.id_token.len, 0);
    assert_string_equal(plan_form(&self->pool, TOKEN),
                        "grant_type=refresh_token&refresh_token=rT-1");

    plan_answer(TOKEN, 200,
                "{\"token_type\":\"Bearer\",\"access_token\":\"aT.3\",\"refresh_token\":\"rT-2\"}");
    refresh(self);
    expect(self, OKTA_OK, NULL);
    assert_string_equal(self->tokens.refresh_token.bytes, "rT-2");
    expect_metric(self, COUNT("refresh", "ok") "2");
}

/* design section 6: what counts as a no */
static void test_refresh_refused(void **state)
{
    struct world *self = *state;
    start(self);
    plan_answer(TOKEN, 400, "{\"error\":\"invalid_grant\"}");
    refresh(self);
    expect(self, OKTA_NO, "invalid_grant");
    plan_answer(TOKEN, 401, "{\"errorCode\":\"invalid_client\"}");
    refresh(self);
    expect(self, OKTA_UNKNOWN, "invalid_client");
    plan_answer(TOKEN, 429, "{\"error\":\"invalid_grant\"}");
    refresh(self);
    expect(self, OKTA_UNKNOWN, "rate_limited");
}

static void test_refreshed_id_token(void **state)
{
    struct world *self = *state;
    start(self);
    plan_tokens(self, id_token(self, 0, "k1", NONCE));
    refresh(self);
    expect(self, OKTA_OK, NULL);
    assert_true(self->tokens.id_token.len > 0);

    okta_refresh(self->okta, self->asker, iovec_of("rT-1"), "00u9other", on_result, self);
    await(self);
    expect(self, OKTA_UNKNOWN, "id_token_refused");

    /* its key can't be had: the tokens are worth more than the hint */
    plan_tokens(self, id_token(self, 1, "k2", NONCE));
    refresh(self);
    expect(self, OKTA_OK, NULL);
    assert_int_equal(self->tokens.id_token.len, 0);
    assert_string_equal(self->tokens.refresh_token.bytes, "rT-1");
    assert_int_equal(plan_asked(REVOKE), 0); /* a refresh gives nothing back */
}

/* ---- oidc.user_in_idtoken ---- */

/* An id_token without a nonce; more: members, each with a comma before it. */
static const char *fat_token(struct world *self, const char *kid, int64_t issued_s,
                             const char *more)
{
    return scripted_jwt(&self->pool, kid[1] - '1', kid,
                        text_format(&self->pool, "{\"iat\":%lld,\"exp\":%lld%s}",
                                    (long long)issued_s, (long long)issued_s + 3600, more));
}

/* The members of a good one, but for the times. */
static const char *members(struct world *self, const char *issuer, const char *client,
                           const char *subject, const char *more)
{
    return text_format(&self->pool,
                       ",\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"%s\",\"name\":\"Fat\"%s", issuer,
                       client, subject, more);
}

static const char *good_members(struct world *self, const char *more)
{
    return members(self, self->config.oidc.issuer, CLIENT, SUBJECT, more);
}

static void start_in_idtoken(struct world *self)
{
    self->config.oidc.user_in_idtoken = true;
    start(self);
    ask_url(self); /* discovery is over */
}

static int64_t now_s(void)
{
    return clock_wall_ms() / 1000;
}

static void test_sign_in_by_id_token(void **state)
{
    struct world *self = *state;
    start_in_idtoken(self);
    plan_tokens(self, fat_token(self, "k1", now_s(),
                                good_members(self, ",\"nonce\":\"" NONCE
                                                   "\",\"groups\":[\"a\",\"b\",\"c\"]")));
    sign_in(self);
    expect(self, OKTA_OK, NULL);
    assert_string_equal(self->name, "Fat");
    assert_int_equal(self->group_count, 3);
    assert_int_equal(plan_asked(USERINFO), 0);
    assert_true(self->result.asked_mono_ms > 0 && self->result.asked_wall_ms > 0);
    expect_metric(self, COUNT("exchange", "ok") "1");
}

/* Nothing could ever be learned anew; what came is given back as far as that goes. */
static void test_sign_in_needs_a_refresh_token(void **state)
{
    struct world *self = *state;
    start_in_idtoken(self);
    plan_answer(
        TOKEN, 200,
        text_format(&self->pool,
                    "{\"token_type\":\"Bearer\",\"access_token\":\"aT.1\",\"id_token\":\"%s\"}",
                    id_token(self, 0, "k1", NONCE)));
    sign_in(self);
    expect(self, OKTA_UNKNOWN, "no_refresh_token");
    assert_null(self->result.tokens);
    expect_metric(self, COUNT("exchange", "refused") "1");
}

static void test_refresh_learns(void **state)
{
    struct world *self = *state;
    start_in_idtoken(self);
    int64_t before_ms = clock_mono_ms();
    plan_tokens(self, fat_token(self, "k1", now_s(), good_members(self, ",\"groups\":[\"a\"]")));
    refresh(self);
    expect(self, OKTA_OK, NULL);
    assert_non_null(self->result.claims);
    assert_string_equal(self->name, "Fat");
    assert_int_equal(self->group_count, 1);
    assert_true(self->result.asked_mono_ms >= before_ms &&
                self->result.asked_mono_ms <= clock_mono_ms());
    assert_true(self->result.asked_wall_ms / 1000 - now_s() < 60);
    assert_string_equal(self->tokens.refresh_token.bytes, "rT-1");
    assert_true(self->tokens.id_token.len > 0);

    plan_tokens(self, fat_token(self, "k1", now_s() - 100, good_members(self, "")));
    refresh(self); /* clocks differ; and no groups claim is no groups */
    expect(self, OKTA_OK, NULL);
    assert_int_equal(self->group_count, 0);
    assert_int_equal(plan_asked(USERINFO), 0);
    expect_metric(self, COUNT("refresh", "ok") "2");
}

/* The tokens are good, so they are brought; of the person nothing is known. */
static void test_refresh_that_says_nothing(void **state)
{
    struct world *self = *state;
    start_in_idtoken(self);
    const struct {
        const char *id_token, *code, *words;
    } cases[] = {
        {NULL, "no_id_token", "no id_token"},
        {fat_token(self, "k2", now_s(), good_members(self, "")), "unknown_key", "key"},
        {fat_token(self, "k1", now_s() - 200, good_members(self, ",\"groups\":[\"old\"]")),
         "malformed", "before it was asked for"},
        {fat_token(self, "k1", now_s(), good_members(self, ",\"groups\":{\"a\":1}")), "malformed",
         "groups"},
        {fat_token(self, "k1", now_s(), good_members(self, ",\"groups\":[\"a\",7]")), "malformed",
         "groups"},
    };
    size_t count = sizeof(cases) / sizeof(cases[0]);
    for (size_t i = 0; i < count; i++) {
        plan_tokens(self, cases[i].id_token);
        provider_tokens_dispose(&self->tokens);
        refresh(self);
        expect(self, OKTA_UNKNOWN, cases[i].code);
        if (strstr(self->result.error.text, cases[i].words) == NULL)
            fail_msg("%zu: %s", i, self->result.error.text);
        assert_null(self->result.claims);
        assert_non_null(self->result.tokens);
        assert_string_equal(self->tokens.refresh_token.bytes, "rT-1");
    }
    expect_metric(self, text_format(&self->pool, COUNT("refresh", "malformed") "%zu", count));
    assert_int_equal(plan_asked(REVOKE), 0);
}

/* D17: the tokens that come with such an id_token are not to be mixed into the session. */
static void test_refresh_by_somebody_else(void **state)
{
    struct world *self = *state;
    const char *issuer = self->config.oidc.issuer, *groups = ",\"groups\":[\"evil\"]";
    start_in_idtoken(self);
    const char *const payloads[] = {
        members(self, issuer, CLIENT, "00u9evil", groups),
        members(self, issuer, "0oa9evil", SUBJECT, groups),
        members(self, "https://evil.test", CLIENT, SUBJECT, groups),
        text_format(&self->pool, "%s,\"at_hash\":\"AAAAAAAAAAAAAAAAAAAAAA\"",
                    good_members(self, groups)),
    };
    for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
        plan_tokens(self, fat_token(self, "k1", now_s(), payloads[i]));
        refresh(self);
        expect(self, OKTA_UNKNOWN, "id_token_refused");
        assert_null(self->result.claims);
        assert_null(self->result.tokens);
    }
    plan_tokens(self, scripted_jwt(&self->pool, 1, "k1", "{}")); /* with another key */
    refresh(self);
    expect(self, OKTA_UNKNOWN, "id_token_refused");
}

/* Questions are requests to the token endpoint, so they follow what it bears. */
static void test_budget_of_questions(void **state)
{
    struct world *self = *state;
    start_in_idtoken(self);
    assert_true(okta_may_ask(self->okta, true));
    plan_answer(TOKEN, 429, "{\"errorCode\":\"E0000047\"}");
    plan_exhaust(TOKEN);
    refresh(self);
    expect(self, OKTA_UNKNOWN, "rate_limited");
    assert_false(okta_may_ask(self->okta, true));
    assert_false(okta_may_ask(self->okta, false));
}

static void test_budget_of_userinfo(void **state)
{
    struct world *self = *state;
    start(self);
    plan_answer(TOKEN, 429, "{\"errorCode\":\"E0000047\"}");
    plan_exhaust(TOKEN);
    refresh(self);
    expect(self, OKTA_UNKNOWN, "rate_limited");
    assert_true(okta_may_ask(self->okta, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(test_refresh),
        TEST(test_refresh_refused),
        TEST(test_refreshed_id_token),
        TEST(test_sign_in_by_id_token),
        TEST(test_sign_in_needs_a_refresh_token),
        TEST(test_refresh_learns),
        TEST(test_refresh_that_says_nothing),
        TEST(test_refresh_by_somebody_else),
        TEST(test_budget_of_questions),
        TEST(test_budget_of_userinfo),
    };
    return cmocka_run_group_tests(tests, scripted_start, scripted_stop);
}
