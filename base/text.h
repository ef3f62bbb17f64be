/* SPDX-License-Identifier: Apache-2.0
 *
 * A growing piece of text in a pool. bytes is always NUL-terminated once something was added; len does
 * not count that NUL. Bytes may hold NULs of their own. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

struct text {
    h2o_mem_pool_t *pool; /* where the bytes live */
    char *bytes;          /* NULL while empty */
    size_t len;           /* bytes in use */
    size_t capacity;      /* bytes allocated */
};

void text_init(struct text *self, h2o_mem_pool_t *pool);
/* Makes room for more bytes in one step; an empty text gets exactly that. */
void text_reserve(struct text *self, size_t more);
void text_add(struct text *self, const char *bytes, size_t len);
void text_add_string(struct text *self, const char *string);
void text_add_format(struct text *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
h2o_iovec_t text_iovec(const struct text *self); /* borrowed: the text's own bytes */

/* Copies into pool, NUL-terminated. */
char *text_dup(h2o_mem_pool_t *pool, const char *string);
char *text_dup_iovec(h2o_mem_pool_t *pool, h2o_iovec_t bytes);
char *text_format(h2o_mem_pool_t *pool, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

h2o_iovec_t iovec_of(const char *string); /* borrowed */
bool iovec_equal(h2o_iovec_t a, const char *string);
/* A control character: C0, DEL, or C1 as UTF-8 writes it. */
bool text_has_control(h2o_iovec_t text);
bool utf8_valid(const char *bytes, size_t len); /* RFC 3629: no overlong, no surrogates */
/* The byte that the %-escape at the start of rest stands for; -1: there is none, or a broken one. */
int percent_byte(h2o_iovec_t rest);
/* The length of the character that begins at bytes, 1 to 4; 0 where it is not valid UTF-8. */
size_t utf8_char(const char *bytes, size_t len);
/* The longest length up to len that does not end within a character. */
size_t utf8_cut(const char *bytes, size_t len);
