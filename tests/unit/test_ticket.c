/* SPDX-License-Identifier: Apache-2.0
 *
 * Tickets to apps: what is sealed opens, for a minute, at that app, and nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/text.h"
#include "token/ticket.h"

#define NOW INT64_C(1790000000000)

struct world {
    h2o_mem_pool_t pool;
    struct seal_keys *keys;
    struct ticket ticket, opened;
    h2o_iovec_t text;
};

static void world_open(struct world *self)
{
    *self = (struct world){.keys = seal_keys_random()};
    h2o_mem_init_pool(&self->pool);
    self->ticket = (struct ticket){.login_id = "AAAAAAAAAAAAAAAAAAAAAA",
                                   .app = "grafana",
                                   .begin = ticket_begin(&self->pool, iovec_of("secret")),
                                   .made_ms = NOW};
    self->text = ticket_seal(&self->pool, self->keys, &self->ticket);
}

static void world_close(struct world *self)
{
    seal_keys_free(self->keys);
    h2o_mem_clear_pool(&self->pool);
}

static bool opens(struct world *self, h2o_iovec_t text, const char *app, int64_t now_ms)
{
    return ticket_open(&self->pool, self->keys, text, app, now_ms, &self->opened);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    assert_true(opens(&world, world.text, "grafana", NOW));
    assert_string_equal(world.opened.login_id, world.ticket.login_id);
    assert_string_equal(world.opened.app, "grafana");
    assert_string_equal(world.opened.begin, world.ticket.begin);
    assert_int_equal(world.opened.made_ms, NOW);
    h2o_iovec_t again = ticket_seal(&world.pool, world.keys, &world.ticket);
    assert_false(h2o_memis(again.base, again.len, world.text.base, world.text.len));
    world_close(&world);
}

static void test_time(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    assert_true(opens(&world, world.text, "grafana", NOW + TICKET_LIFETIME_MS - 1));
    assert_false(opens(&world, world.text, "grafana", NOW + TICKET_LIFETIME_MS));
    assert_true(opens(&world, world.text, "grafana", NOW - 5000));
    assert_false(opens(&world, world.text, "grafana", NOW - 5001));
    world_close(&world);
}

static void test_another_app(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    assert_false(opens(&world, world.text, "grafan", NOW));
    assert_false(opens(&world, world.text, "grafana2", NOW));
    assert_false(opens(&world, world.text, "", NOW));
    world_close(&world);
}

static void test_tampered(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    for (size_t i = 0; i < world.text.len; i++) {
        h2o_iovec_t changed = h2o_strdup(&world.pool, world.text.base, world.text.len);
        changed.base[i] = changed.base[i] == 'A' ? 'B' : 'A';
        assert_false(opens(&world, changed, "grafana", NOW));
        assert_false(opens(&world, h2o_iovec_init(world.text.base, i), "grafana", NOW));
    }
    h2o_iovec_t longer = iovec_of(text_format(&world.pool, "%s=", world.text.base));
    assert_false(opens(&world, longer, "grafana", NOW));
    char flood[4096];
    memset(flood, 'A', sizeof(flood));
    assert_false(opens(&world, h2o_iovec_init(flood, sizeof(flood)), "grafana", NOW));
    world_close(&world);
}

/* What we sealed for something else, however alike, and what another installation sealed. */
static void test_not_a_ticket(void **state)
{
    (void)state;
    struct world world;
    struct seal_keys *others = seal_keys_random();
    world_open(&world);
    h2o_iovec_t sealed, plain, foreign = ticket_seal(&world.pool, others, &world.ticket);
    assert_false(opens(&world, foreign, "grafana", NOW));
    assert_true(base64url_decode(&world.pool, world.text, &sealed));
    assert_true(unseal(&world.pool, world.keys, "postern ticket to an app", sealed, &plain));
    h2o_iovec_t other = seal(&world.pool, world.keys, "postern session at an app", plain);
    assert_false(
        opens(&world, base64url_encode(&world.pool, other.base, other.len), "grafana", NOW));
    seal_keys_free(others);
    world_close(&world);
}

static void test_begin(void **state)
{
    (void)state;
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    const char *begin = ticket_begin(&pool, iovec_of("secret"));
    assert_true(ticket_is_begin(iovec_of(begin)));
    assert_string_not_equal(begin, ticket_begin(&pool, iovec_of("secres")));
    assert_false(ticket_is_begin(iovec_of(begin + 1)));
    assert_false(ticket_is_begin(iovec_of(text_format(&pool, "%sA", begin))));
    assert_false(ticket_is_begin(iovec_of(text_format(&pool, "%.42s&", begin))));
    assert_false(ticket_is_begin((h2o_iovec_t){NULL, 0}));
    h2o_mem_clear_pool(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_time),
        cmocka_unit_test(test_another_app),  cmocka_unit_test(test_tampered),
        cmocka_unit_test(test_not_a_ticket), cmocka_unit_test(test_begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
