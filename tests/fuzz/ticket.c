/* SPDX-License-Identifier: Apache-2.0
 *
 * Tickets to apps. The first byte says how the rest is used: as the plain text of a ticket that was sealed with our key (a
 * former version of ours, say), as edits of a genuine ticket, or as the ticket itself. */
#include "fuzz.h"

#include "token/ticket.h"

#define PURPOSE "postern ticket to an app" /* as in ticket.c: a genuine ticket opens with it */
#define APP     "grafana"

static struct seal_keys *keys;

static h2o_iovec_t genuine(h2o_mem_pool_t *pool)
{
    const struct ticket ticket = {.login_id = "AAAAAAAAAAAAAAAAAAAAAA",
                                  .app = APP,
                                  .begin = ticket_begin(pool, iovec_of("secret")),
                                  .made_ms = FUZZ_NOW_MS - 1000};
    return ticket_seal(pool, keys, &ticket);
}

static void open_plain(h2o_mem_pool_t *pool, h2o_iovec_t plain)
{
    struct ticket found;
    h2o_iovec_t sealed = seal(pool, keys, PURPOSE, plain);
    h2o_iovec_t text = base64url_encode(pool, sealed.base, sealed.len);
    if (!ticket_open(pool, keys, text, APP, FUZZ_NOW_MS, &found))
        return;
    fuzz_check_text(iovec_of(found.login_id));
    assert(strcmp(found.app, APP) == 0);
    assert(ticket_is_begin(iovec_of(found.begin)));
    assert(found.made_ms > FUZZ_NOW_MS - TICKET_LIFETIME_MS);
    assert(found.made_ms <= FUZZ_NOW_MS + 5000);
}

static void open_edited(h2o_mem_pool_t *pool, h2o_iovec_t edits)
{
    struct ticket found;
    bool changed;
    h2o_iovec_t text = fuzz_edit(pool, genuine(pool), edits, &changed);
    bool good = ticket_open(pool, keys, text, APP, FUZZ_NOW_MS, &found);
    assert(good != changed);
}

static void check_purpose(h2o_mem_pool_t *pool)
{
    h2o_iovec_t sealed, plain;
    bool good = base64url_decode(pool, genuine(pool), &sealed) &&
                unseal(pool, keys, PURPOSE, sealed, &plain);
    assert(good);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t input = h2o_iovec_init(bytes, len);
    struct ticket found;
    h2o_mem_init_pool(&pool);
    if (keys == NULL) {
        keys = seal_keys_random();
        check_purpose(&pool);
    }
    switch (fuzz_byte(&input)) {
    case 'p':
        open_plain(&pool, input);
        break;
    case 'e':
        open_edited(&pool, input);
        break;
    default: {
        bool good = ticket_open(&pool, keys, input, APP, FUZZ_NOW_MS, &found);
        assert(!good);
    }
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
