/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealed blobs and base64url. The first byte says how the rest is used. Only what we sealed opens, only for
 * its purpose, and only unchanged. */
#include "fuzz.h"

#include "base/crypto.h"

#define PURPOSE "fuzz"
#define HEAD    5 /* version and key id: what is no secret of a blob */

static struct seal_keys *keys;

static bool opens(h2o_mem_pool_t *pool, const char *purpose, h2o_iovec_t sealed, h2o_iovec_t *plain)
{
    h2o_iovec_t untouched = {(char *)pool, 77};
    *plain = untouched;
    bool good = unseal(pool, keys, purpose, sealed, plain);
    assert(good || (plain->base == untouched.base && plain->len == 77));
    return good;
}

/* Forged from a real head and the input. With keys of its own: libFuzzer sees what memcmp compares, so a
 * blob that was ever compared is known to it. */
static void forge(h2o_mem_pool_t *pool, h2o_iovec_t input)
{
    static struct seal_keys *own;
    struct text blob;
    h2o_iovec_t plain;
    if (own == NULL)
        own = seal_keys_random();
    text_init(&blob, pool);
    text_add(&blob, seal(pool, own, PURPOSE, iovec_of("")).base, HEAD);
    text_add(&blob, input.base, input.len);
    bool good = unseal(pool, own, PURPOSE, text_iovec(&blob), &plain) ||
                unseal(pool, own, PURPOSE, input, &plain);
    assert(!good);
}

/* Plain text, then edits of its blob. */
static void edit(h2o_mem_pool_t *pool, h2o_iovec_t input)
{
    size_t len = (uint8_t)fuzz_byte(&input);
    len = len < input.len ? len : input.len;
    h2o_iovec_t plain = h2o_iovec_init(input.base, len), opened;
    h2o_iovec_t edits = h2o_iovec_init(input.base + len, input.len - len);
    h2o_iovec_t sealed = seal(pool, keys, PURPOSE, plain);
    bool changed;
    h2o_iovec_t blob = fuzz_edit(pool, sealed, edits, &changed);
    bool good = opens(pool, PURPOSE, blob, &opened);
    assert(good != changed);
    assert(!good || (fuzz_same(opened, plain) && opened.base[opened.len] == '\0'));
    for (size_t cut = 1; cut <= sealed.len && cut < 40; cut++) {
        good = opens(pool, PURPOSE, h2o_iovec_init(sealed.base, sealed.len - cut), &opened);
        assert(!good);
    }
}

static void purposes(h2o_mem_pool_t *pool, h2o_iovec_t input)
{
    const char *a = text_dup_iovec(pool, fuzz_line(&input));
    const char *b = text_dup_iovec(pool, fuzz_line(&input));
    h2o_iovec_t opened;
    bool good = opens(pool, b, seal(pool, keys, a, input), &opened);
    assert(good == (strcmp(a, b) == 0));
    assert(!good || fuzz_same(opened, input));
}

static void base64url(h2o_mem_pool_t *pool, h2o_iovec_t input)
{
    h2o_iovec_t decoded, again;
    if (base64url_decode(pool, input, &decoded)) {
        assert(decoded.base[decoded.len] == '\0');
        assert(fuzz_same(base64url_encode(pool, decoded.base, decoded.len), input));
    }
    h2o_iovec_t encoded = base64url_encode(pool, input.base, input.len);
    bool good = base64url_decode(pool, encoded, &again);
    assert(good && fuzz_same(again, input));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t input = h2o_iovec_init(bytes, len);
    if (keys == NULL)
        keys = seal_keys_random();
    h2o_mem_init_pool(&pool);
    switch (fuzz_byte(&input)) {
    case 'e':
        edit(&pool, input);
        break;
    case 'p':
        purposes(&pool, input);
        break;
    case 'b':
        base64url(&pool, input);
        break;
    default:
        forge(&pool, input);
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
