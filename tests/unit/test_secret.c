/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets: their copies, and which files may hold one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "base/text.h"

static char folder[] = "/tmp/test_secret.XXXXXX";
static char path[64];

static int set_up_all(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/secret", folder);
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int remove_file(void **state)
{
    (void)state;
    if (rmdir(path) != 0)
        unlink(path);
    return 0;
}

static void put_file(const char *content, size_t len, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void assert_refused(enum error_kind kind, const char *why)
{
    struct secret out = {0};
    struct error err = {0};
    assert_false(secret_load_file(path, &out, &err));
    assert_null(out.bytes);
    assert_int_equal(err.kind, kind);
    assert_memory_equal(err.text, path, strlen(path));
    assert_string_equal(err.text + strlen(path) + 2, why);
}

/* ---- in memory ---- */

static void test_set_copies_and_replaces(void **state)
{
    (void)state;
    struct secret s = {0};
    char bytes[] = "first";
    secret_set(&s, bytes, 5);
    bytes[0] = 'X';
    assert_string_equal(s.bytes, "first");
    secret_set(&s, s.bytes + 1, 3); /* a part of itself */
    assert_string_equal(s.bytes, "irs");
    assert_int_equal(secret_iovec(&s).len, 3);
    secret_set(&s, NULL, 0);
    assert_string_equal(s.bytes, "");
    secret_dispose(&s);
    assert_null(s.bytes);
    assert_int_equal(s.len, 0);
    secret_dispose(&s);
}

static void test_copy(void **state)
{
    (void)state;
    struct secret a = {0}, b = {0};
    secret_set(&a, "a\0b", 3);
    secret_copy(&b, &a);
    secret_copy(&a, &a);
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.bytes, "a\0b", 4);
    assert_memory_equal(a.bytes, "a\0b", 4);
    secret_dispose(&a);
    secret_copy(&b, &a); /* an empty one empties */
    assert_null(b.bytes);
}

static void test_in_pool(void **state)
{
    (void)state;
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    h2o_iovec_t copy = secret_in_pool(&pool, h2o_iovec_init("token", 4));
    assert_string_equal(copy.base, "toke");
    assert_int_equal(secret_in_pool(&pool, h2o_iovec_init(NULL, 0)).len, 0);
    h2o_iovec_t room = secret_alloc_in_pool(&pool, 100);
    for (size_t i = 0; i <= 100; i++)
        assert_int_equal(room.base[i], 0);
    memset(room.base, 'x', 100);
    h2o_mem_clear_pool(&pool);
}

/* ---- files ---- */

static void test_file_is_read_whole(void **state)
{
    (void)state;
    struct secret s = {0};
    put_file("a\0b\n", 4, 0640); /* its group may read it: fsGroup of Kubernetes */
    assert_true(secret_load_file(path, &s, NULL));
    assert_int_equal(s.len, 4);
    assert_memory_equal(s.bytes, "a\0b\n", 5);
    secret_dispose(&s);
}

static void test_file_of_others_is_refused(void **state)
{
    (void)state;
    static const mode_t modes[] = {0604, 0602, 0601, 0644, 0666};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        put_file("secret", 6, modes[i]);
        assert_refused(ERROR_BAD_INPUT, "can be read by others; chmod o= it");
    }
}

static void test_sizes(void **state)
{
    (void)state;
    char *big = calloc(1, 65537);
    memset(big, 'b', 65537);
    put_file(big, 65536, 0600);
    struct secret s = {0};
    assert_true(secret_load_file(path, &s, NULL));
    assert_int_equal(s.len, 65536);
    secret_dispose(&s);
    put_file(big, 65537, 0600);
    assert_refused(ERROR_BAD_INPUT, "is larger than 64 KiB");
    put_file("", 0, 0600);
    assert_refused(ERROR_BAD_INPUT, "is empty");
    free(big);
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    unlink(path);
    assert_refused(ERROR_UPSTREAM, "No such file or directory");
    assert_int_equal(mkfifo(path, 0600), 0); /* must not be waited for */
    assert_refused(ERROR_BAD_INPUT, "is not a regular file");
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_refused(ERROR_BAD_INPUT, "is not a regular file");
}

/* Kubernetes mounts are symbolic links to what is swapped. */
static void test_link_is_followed(void **state)
{
    (void)state;
    char target[sizeof(path) + 8];
    put_file("secret", 6, 0600);
    snprintf(target, sizeof(target), "%s.data", path);
    assert_int_equal(rename(path, target), 0);
    assert_int_equal(symlink(target, path), 0);
    struct secret s = {0};
    assert_true(secret_load_file(path, &s, NULL));
    assert_string_equal(s.bytes, "secret");
    secret_dispose(&s);
    assert_int_equal(chmod(target, 0644), 0);
    assert_refused(ERROR_BAD_INPUT, "can be read by others; chmod o= it");
    unlink(target);
}

static void test_lines(void **state)
{
    (void)state;
    static const struct {
        const char *content;
        size_t len;
        const char *line; /* NULL: refused */
        const char *why;
    } cases[] = {
        {"s3cret", 6, "s3cret", NULL},
        {"s3cret\n", 7, "s3cret", NULL},
        {"s3cret\r\n", 8, "s3cret", NULL},
        {" s3 cret \n", 10, " s3 cret ", NULL},
        {"a\nb", 3, NULL, "must be one line"},
        {"a\n\n", 3, NULL, "must be one line"},
        {"a\r", 2, NULL, "must be one line"},
        {"a\r\n\r\n", 5, NULL, "must be one line"},
        {"\n", 1, NULL, "is empty"},
        {"\r\n", 2, NULL, "is empty"},
        {"", 0, NULL, "is empty"},
        {"a\0b\n", 4, NULL, "holds a NUL byte"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct secret s = {0};
        struct error err = {0};
        put_file(cases[i].content, cases[i].len, 0600);
        if (secret_load_line(path, &s, &err) != (cases[i].line != NULL))
            fail_msg("case %zu: %s", i, err.text);
        if (cases[i].line != NULL)
            assert_string_equal(s.bytes, cases[i].line);
        else
            assert_string_equal(err.text + strlen(path) + 2, cases[i].why);
        secret_dispose(&s);
    }
}

static void test_a_refused_line_leaves_the_former_secret(void **state)
{
    (void)state;
    struct secret s = {0};
    secret_set(&s, "former", 6);
    put_file("a\nb\n", 4, 0600);
    struct error err = {0};
    assert_false(secret_load_line(path, &s, &err));
    assert_string_equal(s.bytes, "former");
    put_file("new\n", 4, 0600);
    assert_true(secret_load_line(path, &s, &err));
    assert_string_equal(s.bytes, "new");
    secret_dispose(&s);
}

#define WITH_FILE(test) cmocka_unit_test_teardown(test, remove_file)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_copies_and_replaces),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_in_pool),
        WITH_FILE(test_file_is_read_whole),
        WITH_FILE(test_file_of_others_is_refused),
        WITH_FILE(test_sizes),
        WITH_FILE(test_what_is_no_file),
        WITH_FILE(test_link_is_followed),
        WITH_FILE(test_lines),
        WITH_FILE(test_a_refused_line_leaves_the_former_secret),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
