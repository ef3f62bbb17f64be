/* SPDX-License-Identifier: Apache-2.0
 *
 * The cookie of a pending sign-in. The first byte says how the rest is used: as the plain text of a cookie
 * that was sealed with our key (a former version of ours, say), as edits of a genuine cookie, or as the
 * cookie itself. */
#include "fuzz.h"

#include "attempt.h"

#define PURPOSE "postern sign-in attempt" /* as in attempt.c: a genuine cookie opens with it */

static struct seal_keys *keys;

static void check_secret(const char secret[ATTEMPT_SECRET_SIZE])
{
    assert(strnlen(secret, ATTEMPT_SECRET_SIZE) == ATTEMPT_SECRET_SIZE - 1);
}

/* Whatever opens can be used, and sealed again. */
static void check_found(h2o_mem_pool_t *pool, const struct attempt *found)
{
    struct attempt again;
    check_secret(found->state);
    check_secret(found->nonce);
    check_secret(found->verifier);
    fuzz_check_text(iovec_of(found->return_to));
    assert(found->created_ms <= FUZZ_NOW_MS + 60000);
    assert(found->created_ms >= FUZZ_NOW_MS - ATTEMPT_LIFETIME_MS);
    assert(strlen(attempt_challenge(pool, found)) == ATTEMPT_SECRET_SIZE - 1);
    h2o_iovec_t cookie = attempt_seal(pool, keys, found);
    if (cookie.len > 4096)
        return;
    bool good = attempt_open(pool, keys, cookie, FUZZ_NOW_MS, &again);
    assert(good && strcmp(again.state, found->state) == 0);
    assert(strcmp(again.return_to, found->return_to) == 0);
    assert(again.created_ms == found->created_ms);
}

static void open_plain(h2o_mem_pool_t *pool, h2o_iovec_t plain)
{
    struct attempt found;
    h2o_iovec_t sealed = seal(pool, keys, PURPOSE, plain);
    h2o_iovec_t cookie = base64url_encode(pool, sealed.base, sealed.len);
    if (attempt_open(pool, keys, cookie, FUZZ_NOW_MS, &found))
        check_found(pool, &found);
}

static void open_edited(h2o_mem_pool_t *pool, h2o_iovec_t edits)
{
    struct attempt attempt, found;
    bool changed;
    attempt_new("/profile", FUZZ_NOW_MS - 1000, &attempt);
    h2o_iovec_t cookie = fuzz_edit(pool, attempt_seal(pool, keys, &attempt), edits, &changed);
    bool good = attempt_open(pool, keys, cookie, FUZZ_NOW_MS, &found);
    assert(good != changed);
}

static void check_purpose(h2o_mem_pool_t *pool)
{
    struct attempt attempt;
    h2o_iovec_t sealed, plain;
    attempt_new("/", FUZZ_NOW_MS, &attempt);
    bool good = base64url_decode(pool, attempt_seal(pool, keys, &attempt), &sealed) &&
                unseal(pool, keys, PURPOSE, sealed, &plain);
    assert(good);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t input = h2o_iovec_init(bytes, len);
    struct attempt found;
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
        bool good = attempt_open(&pool, keys, input, FUZZ_NOW_MS, &found);
        assert(!good);
    }
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
