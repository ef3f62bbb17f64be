/* SPDX-License-Identifier: Apache-2.0
 *
 * Refreshing as kubectl does it (facts/protocols.md B1): fan-out, lost answers, tools with copies of their own, a
 * kubeconfig that can't be written; reuse, limits, and a store that fails or is slow. */
#include "support_sessions.h"

/* A kubeconfig session of alice; its first refresh token. */
static const char *begin(struct sessions_fixture *self)
{
    struct session_login login = add_login(self, "alice", T0);
    add_grant(self, login.id, T0);
    return self->credential;
}

static void a_token_is_not_rotated_at_once(void **state)
{
    struct sessions_fixture *self = *state;
    const char *first = begin(self);
    unsigned puts = self->store->puts;
    assert_string_equal(refresh(self, first, T0 + 5 * MINUTE - 1), first);
    assert_string_equal(self->grant.cluster, "prod");
    assert_int_equal(self->store->puts, puts);
    const char *next = refresh(self, first, T0 + 5 * MINUTE);
    assert_string_not_equal(next, first);
    assert_int_equal(self->store->puts, puts + 1);
    assert_int_equal(use(self, self->grant.id, T0 + HOUR + 4 * MINUTE),
                     SESSION_LIVE); /* it counts as use */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, sessions_setup, sessions_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_token_is_not_rotated_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
