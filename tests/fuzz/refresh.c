/* SPDX-License-Identifier: Apache-2.0
 *
 * Refresh tokens and codes. The input as it is, its bytes as a token's, and edits of a genuine one: only what we made
 * is read, only as the kind that it was made for, and what is read is written as the same text. */
#include "fuzz.h"

#include "token/refresh.h"

static struct seal_keys *keys;

static bool is_read(enum refresh_kind kind, h2o_iovec_t text)
{
    struct refresh_token token;
    char again[REFRESH_TOKEN_LEN + 1];
    if (!refresh_token_read(keys, kind, text, &token))
        return false;
    refresh_token_write(keys, kind, &token, again);
    assert(fuzz_same(iovec_of(again), text));
    return true;
}

static void edit(h2o_mem_pool_t *pool, enum refresh_kind kind, h2o_iovec_t edits)
{
    static const uint8_t session[REFRESH_SESSION_BYTES] = {1, 2, 3};
    struct refresh_token first;
    char text[REFRESH_TOKEN_LEN + 1];
    bool changed;
    refresh_token_first(session, &first);
    refresh_token_write(keys, kind, &first, text);
    h2o_iovec_t edited = fuzz_edit(pool, iovec_of(text), edits, &changed);
    bool good = is_read(kind, edited);
    assert(good != changed);
    good = is_read(kind == REFRESH_TOKEN ? AUTHORIZATION_CODE : REFRESH_TOKEN, edited);
    assert(!good);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t input = h2o_iovec_init(bytes, len);
    if (keys == NULL)
        keys = seal_keys_random();
    h2o_mem_init_pool(&pool);
    bool good = is_read(REFRESH_TOKEN, input) || is_read(AUTHORIZATION_CODE, input) ||
                is_read(REFRESH_TOKEN, base64url_encode(&pool, bytes, len));
    assert(!good);
    edit(&pool, fuzz_byte(&input) == 'c' ? AUTHORIZATION_CODE : REFRESH_TOKEN, input);
    h2o_mem_clear_pool(&pool);
    return 0;
}
