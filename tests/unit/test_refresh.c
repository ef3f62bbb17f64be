/* SPDX-License-Identifier: Apache-2.0
 *
 * Refresh tokens and codes: their form, that only ours are read, and that each has one successor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "token/refresh.h"

#define KEY_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" /* bytes 0 … 31 */
#define KEY_B "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA="

static const uint8_t session[REFRESH_SESSION_BYTES] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                       8, 9, 10, 11, 12, 13, 14, 15};

/* Seal keys from files with these lines; the second may be NULL. */
static struct seal_keys *keys_of(const char *first, const char *second)
{
    char paths[2][32] = {"/tmp/test_refresh.XXXXXX", "/tmp/test_refresh.XXXXXX"};
    const char *lines[] = {first, second}, *files[] = {paths[0], paths[1]};
    size_t count = second == NULL ? 1 : 2;
    struct seal_keys *keys;
    for (size_t i = 0; i < count; i++) {
        int fd = mkstemp(paths[i]);
        assert_int_equal(write(fd, lines[i], strlen(lines[i])), strlen(lines[i]));
        close(fd);
    }
    assert_true(seal_keys_load(files, count, &keys, NULL));
    for (size_t i = 0; i < count; i++)
        unlink(paths[i]);
    return keys;
}

static struct refresh_token token_of(uint32_t generation)
{
    struct refresh_token token = {.generation = generation};
    memcpy(token.session, session, sizeof(session));
    memset(token.secret, 7, sizeof(token.secret));
    return token;
}

static void assert_same(const struct refresh_token *a, const struct refresh_token *b)
{
    assert_memory_equal(a->session, b->session, sizeof(a->session));
    assert_int_equal(a->generation, b->generation);
    assert_memory_equal(a->secret, b->secret, sizeof(a->secret));
}

static bool reads(const struct seal_keys *keys, enum refresh_kind kind, const char *text,
                  struct refresh_token *out)
{
    return refresh_token_read(keys, kind, iovec_of(text), out);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct seal_keys *keys = seal_keys_random();
    struct refresh_token first, second, token = {0};
    char text[REFRESH_TOKEN_LEN + 1];
    refresh_token_first(session, &first);
    refresh_token_first(session, &second);
    assert_memory_not_equal(first.secret, second.secret, sizeof(first.secret));
    for (unsigned kind = REFRESH_TOKEN; kind <= AUTHORIZATION_CODE; kind++) {
        refresh_token_write(keys, kind, &first, text);
        assert_int_equal(strlen(text), REFRESH_TOKEN_LEN);
        assert_true(reads(keys, kind, text, &token));
        assert_same(&token, &first);
    }
    seal_keys_free(keys);
}

/* They lie in people's kubeconfigs while a new Postern starts. The values were made by node's crypto (hkdfSync,
 * createHmac) from what refresh.h says. */
static void the_form_is_pinned(void **state)
{
    (void)state;
    struct seal_keys *keys = keys_of(KEY_A, NULL);
    struct refresh_token token = token_of(0x01020304), next;
    char text[REFRESH_TOKEN_LEN + 1];
    uint8_t hash[SHA256_SIZE];
    refresh_token_write(keys, REFRESH_TOKEN, &token, text);
    assert_string_equal(text, "AAECAwQFBgcICQoLDA0ODwECAwQHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"
                              "B0EiAUIhIwGU9AsXp-o93so");
    refresh_token_hash(&token, hash);
    assert_memory_equal(hash, "\x4b\xb0\x6f\x8e\x4e\x3a\x77\x15", 8);
    refresh_token_next(keys, &token, &next);
    refresh_token_write(keys, REFRESH_TOKEN, &next, text);
    assert_string_equal(text, "AAECAwQFBgcICQoLDA0ODwECAwUMflNnTahm5JQ0Ctg2HTRcypVyyKbzqhfUEEC1gAEy"
                              "oLhLyWfqqJHYWa8dG7qAtUs");
    token = token_of(0);
    refresh_token_write(keys, AUTHORIZATION_CODE, &token, text);
    assert_string_equal(text, "AAECAwQFBgcICQoLDA0ODwAAAAAHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"
                              "B6-7YAZ4vnIQ7S5IQQy3jVA");
    seal_keys_free(keys);
}

/* peers 47: a code is no refresh token, nor the other way round. */
static void kinds_are_not_interchangeable(void **state)
{
    (void)state;
    struct seal_keys *keys = seal_keys_random();
    struct refresh_token first, out;
    char text[REFRESH_TOKEN_LEN + 1];
    refresh_token_first(session, &first);
    refresh_token_write(keys, REFRESH_TOKEN, &first, text);
    assert_false(reads(keys, AUTHORIZATION_CODE, text, &out));
    refresh_token_write(keys, AUTHORIZATION_CODE, &first, text);
    assert_false(reads(keys, REFRESH_TOKEN, text, &out));
    seal_keys_free(keys);
}

static void nothing_else_is_read(void **state)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (void)state;
    struct seal_keys *keys = seal_keys_random(), *others = seal_keys_random();
    struct refresh_token first, out = {.generation = 77};
    char text[REFRESH_TOKEN_LEN + 1], bad[REFRESH_TOKEN_LEN + 2];
    refresh_token_first(session, &first);
    refresh_token_write(keys, REFRESH_TOKEN, &first, text);
    assert_false(reads(others, REFRESH_TOKEN, text, &out));
    for (size_t i = 0; i < REFRESH_TOKEN_LEN; i++) { /* each bit of each character */
        size_t value = (size_t)(strchr(alphabet, text[i]) - alphabet);
        for (size_t bit = 1; bit < 64; bit *= 2) {
            memcpy(bad, text, sizeof(text));
            bad[i] = alphabet[value ^ bit];
            assert_false(reads(keys, REFRESH_TOKEN, bad, &out));
        }
        memcpy(bad, text, sizeof(text));
        bad[i] = '=';
        assert_false(reads(keys, REFRESH_TOKEN, bad, &out));
        bad[i] = '\0';
        assert_false(refresh_token_read(keys, REFRESH_TOKEN, iovec_of(bad), &out)); /* truncated */
        assert_false(
            refresh_token_read(keys, REFRESH_TOKEN, h2o_iovec_init(bad, REFRESH_TOKEN_LEN), &out));
    }
    memcpy(bad, text, REFRESH_TOKEN_LEN);
    memcpy(bad + REFRESH_TOKEN_LEN, "A", 2);
    assert_false(reads(keys, REFRESH_TOKEN, bad, &out));
    assert_false(refresh_token_read(keys, REFRESH_TOKEN, h2o_iovec_init(NULL, 0), &out));
    assert_int_equal(out.generation, 77); /* written only on success */
    seal_keys_free(keys);
    seal_keys_free(others);
}

static void each_has_one_successor(void **state)
{
    (void)state;
    struct seal_keys *keys = seal_keys_random(), *others = seal_keys_random();
    struct refresh_token first, a, b, other;
    refresh_token_first(session, &first);
    refresh_token_next(keys, &first, &a);
    refresh_token_next(keys, &first, &b);
    assert_same(&a, &b);
    assert_int_equal(a.generation, 1);
    refresh_token_next(keys, &a, &a); /* in place */
    refresh_token_next(keys, &b, &other);
    assert_same(&a, &other);
    refresh_token_next(others, &first, &other);
    assert_memory_not_equal(other.secret, b.secret, sizeof(b.secret));
    struct refresh_token elsewhere = first;
    elsewhere.session[0] ^= 1;
    refresh_token_next(keys, &elsewhere, &other);
    assert_memory_not_equal(other.secret, b.secret, sizeof(b.secret));
    seal_keys_free(keys);
    seal_keys_free(others);
}

static void a_chain_outlives_the_rotation_of_seal_keys(void **state)
{
    (void)state;
    struct seal_keys *old = keys_of(KEY_A, NULL), *both = keys_of(KEY_B, KEY_A),
                     *new = keys_of(KEY_B, NULL);
    struct refresh_token first, before, after, token;
    char text[REFRESH_TOKEN_LEN + 1], next[REFRESH_TOKEN_LEN + 1];
    refresh_token_first(session, &first);
    refresh_token_write(old, REFRESH_TOKEN, &first, text);
    refresh_token_next(old, &first, &before);
    assert_true(reads(both, REFRESH_TOKEN, text, &token));
    assert_int_equal(token.key, 1);
    refresh_token_next(both, &token, &after);
    assert_same(&after, &before);
    refresh_token_write(both, REFRESH_TOKEN, &after, next);
    assert_true(reads(old, REFRESH_TOKEN, next, &token)); /* a replica that has the old one only */
    assert_false(reads(new, REFRESH_TOKEN, next, &token));
    refresh_token_first(session, &first); /* a new chain is made with the new one */
    refresh_token_write(both, REFRESH_TOKEN, &first, text);
    assert_true(reads(new, REFRESH_TOKEN, text, &token));
    seal_keys_free(old);
    seal_keys_free(both);
    seal_keys_free(new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(the_form_is_pinned),
        cmocka_unit_test(kinds_are_not_interchangeable),
        cmocka_unit_test(nothing_else_is_read),
        cmocka_unit_test(each_has_one_successor),
        cmocka_unit_test(a_chain_outlives_the_rotation_of_seal_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
