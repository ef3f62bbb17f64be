/* SPDX-License-Identifier: Apache-2.0
 *
 * Growing text, copies into pools, and the one place that knows what valid UTF-8 is. */
#include "base/text.h"

#include <assert.h>
#include <stdarg.h>

void text_init(struct text *self, h2o_mem_pool_t *pool)
{
    *self = (struct text){.pool = pool};
}

/* Makes room for more bytes and a NUL. The former block stays in the pool: doubling keeps that below the
 * size of the text itself. */
static void reserve_from(struct text *self, size_t more, size_t least)
{
    assert(more < SIZE_MAX / 4 && self->len < SIZE_MAX / 4);
    size_t need = self->len + more + 1;
    if (need <= self->capacity)
        return;
    size_t capacity = self->capacity != 0 ? self->capacity * 2 : least;
    while (capacity < need)
        capacity *= 2;
    char *bytes = h2o_mem_alloc_pool(self->pool, capacity);
    if (self->len != 0)
        memcpy(bytes, self->bytes, self->len);
    self->bytes = bytes;
    self->capacity = capacity;
}

static void reserve(struct text *self, size_t more)
{
    reserve_from(self, more, 256);
}

void text_reserve(struct text *self, size_t more)
{
    reserve_from(self, more, more + 1);
}

void text_add(struct text *self, const char *bytes, size_t len)
{
    reserve(self, len);
    if (len != 0)
        memcpy(self->bytes + self->len, bytes, len);
    self->len += len;
    self->bytes[self->len] = '\0';
}

void text_add_string(struct text *self, const char *string)
{
    text_add(self, string, strlen(string));
}

__attribute__((format(printf, 2, 0))) static void add_format(struct text *self, const char *format,
                                                             va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    assert(len >= 0);
    reserve(self, (size_t)len);
    vsnprintf(self->bytes + self->len, (size_t)len + 1, format, again);
    self->len += (size_t)len;
    va_end(again);
}

void text_add_format(struct text *self, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_format(self, format, args);
    va_end(args);
}

h2o_iovec_t text_iovec(const struct text *self)
{
    return h2o_iovec_init(self->bytes, self->len);
}

char *text_dup(h2o_mem_pool_t *pool, const char *string)
{
    return text_dup_iovec(pool, iovec_of(string));
}

char *text_dup_iovec(h2o_mem_pool_t *pool, h2o_iovec_t bytes)
{
    char *copy = h2o_mem_alloc_pool(pool, bytes.len + 1);
    if (bytes.len != 0)
        memcpy(copy, bytes.base, bytes.len);
    copy[bytes.len] = '\0';
    return copy;
}

char *text_format(h2o_mem_pool_t *pool, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    assert(len >= 0);
    char *out = h2o_mem_alloc_pool(pool, (size_t)len + 1);
    vsnprintf(out, (size_t)len + 1, format, again);
    va_end(again);
    va_end(args);
    return out;
}

h2o_iovec_t iovec_of(const char *string)
{
    return h2o_iovec_init(string, strlen(string));
}

bool iovec_equal(h2o_iovec_t a, const char *string)
{
    size_t len = strlen(string);
    return a.len == len && (len == 0 || memcmp(a.base, string, len) == 0);
}

/* RFC 3629 section 4. The second byte's range depends on the first: that is what keeps overlong forms,
 * surrogates and everything beyond U+10FFFF out. */
size_t utf8_char(const char *bytes, size_t len)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (len == 0)
        return 0;
    if (b[0] < 0x80)
        return 1;
    size_t need = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : 2;
    if (b[0] < 0xc2 || b[0] > 0xf4 || len < need)
        return 0;
    unsigned char low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
    if (b[1] < low || b[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    }
    return need;
}

bool text_has_control(h2o_iovec_t text)
{
    const unsigned char *c = (const unsigned char *)text.base;
    for (size_t i = 0; i < text.len; i++) {
        bool is_c1 = i > 0 && c[i - 1] == 0xc2 && c[i] >= 0x80 && c[i] < 0xa0;
        if (c[i] < 0x20 || c[i] == 0x7f || is_c1)
            return true;
    }
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int percent_byte(h2o_iovec_t rest)
{
    if (rest.len < 3 || rest.base[0] != '%')
        return -1;
    int high = hex_digit(rest.base[1]), low = hex_digit(rest.base[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

bool utf8_valid(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint64_t eight;
        if (len - i >= sizeof(eight)) { /* most input is ASCII: eight bytes at a time */
            memcpy(&eight, bytes + i, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof(eight);
                continue;
            }
        }
        size_t step = utf8_char(bytes + i, len - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

size_t utf8_cut(const char *bytes, size_t len)
{
    size_t back = 0; /* continuation bytes at the end */
    while (back < len && back < 3 && ((unsigned char)bytes[len - 1 - back] & 0xc0) == 0x80)
        back++;
    if (back == len)
        return len;
    unsigned char lead = (unsigned char)bytes[len - 1 - back];
    size_t need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    return need > back + 1 ? len - 1 - back : len;
}
