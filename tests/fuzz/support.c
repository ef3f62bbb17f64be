/* SPDX-License-Identifier: Apache-2.0
 *
 * The small helpers of the fuzz targets. */
#include "fuzz.h"

h2o_iovec_t fuzz_line(h2o_iovec_t *rest)
{
    const char *end = rest->len == 0 ? NULL : memchr(rest->base, '\n', rest->len);
    size_t len = end != NULL ? (size_t)(end - rest->base) : rest->len;
    size_t taken = end != NULL ? len + 1 : len;
    h2o_iovec_t line = {rest->base, len};
    *rest = h2o_iovec_init(rest->base + taken, rest->len - taken);
    return line;
}

char fuzz_byte(h2o_iovec_t *rest)
{
    if (rest->len == 0)
        return 0;
    char byte = rest->base[0];
    *rest = h2o_iovec_init(rest->base + 1, rest->len - 1);
    return byte;
}

void fuzz_check_error(const struct error *err)
{
    assert(err->kind != ERROR_NONE && err->text[0] != '\0');
    assert(memchr(err->text, '\0', sizeof(err->text)) != NULL);
    for (const char *c = err->text; *c != '\0'; c++)
        assert((unsigned char)*c >= 0x20 && *c != 0x7f);
}

void fuzz_check_text(h2o_iovec_t text)
{
    assert(text.base != NULL && strlen(text.base) == text.len);
    assert(utf8_valid(text.base, text.len));
}

h2o_iovec_t fuzz_edit(h2o_mem_pool_t *pool, h2o_iovec_t genuine, h2o_iovec_t edits, bool *changed)
{
    struct text copy;
    text_init(&copy, pool);
    text_add(&copy, genuine.base, genuine.len);
    while (edits.len >= 3) {
        size_t at = (size_t)(uint8_t)fuzz_byte(&edits) << 8;
        at |= (uint8_t)fuzz_byte(&edits);
        char byte = fuzz_byte(&edits);
        if (at == 0xffff)
            text_add(&copy, &byte, 1);
        else
            copy.bytes[at % copy.len] = (char)(copy.bytes[at % copy.len] ^ byte);
    }
    *changed = !fuzz_same(text_iovec(&copy), genuine);
    return text_iovec(&copy);
}

bool fuzz_same(h2o_iovec_t a, h2o_iovec_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.base, b.base, a.len) == 0);
}
