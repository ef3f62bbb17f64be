/* SPDX-License-Identifier: Apache-2.0
 *
 * Which changes of files are seen. */
#include "stamps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/postern-stamps-XXXXXX";

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) == NULL || chdir(directory) != 0;
}

static int remove_directory(void **state)
{
    static const char *const names[] = {"a", "b", "next", "link", "data/x", "other/x"};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(names[i]);
    unlink("data");
    rmdir("first");
    rmdir("other");
    return chdir("/") != 0 || rmdir(directory) != 0;
}

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* What changed since the last look at that file? */
static bool changed(const char *path, char **last)
{
    char *now = stamp_of_file(path);
    bool differs = *last == NULL || strcmp(now, *last) != 0;
    free(*last);
    *last = now;
    return differs;
}

static void test_one_file(void **state)
{
    char *last = NULL;
    (void)state;
    changed("a", &last);
    assert_false(changed("a", &last)); /* still not there */
    put("a", "one");
    assert_true(changed("a", &last));
    assert_false(changed("a", &last));
    put("a", "four");
    assert_true(changed("a", &last));
    put("next", "four");
    assert_int_equal(rename("next", "a"), 0); /* the same size, another file */
    assert_true(changed("a", &last));
    const struct timespec times[2] = {{.tv_sec = 1, .tv_nsec = 2}, {.tv_sec = 1, .tv_nsec = 2}};
    assert_int_equal(utimensat(AT_FDCWD, "a", times, 0), 0);
    assert_true(changed("a", &last));
    assert_int_equal(unlink("a"), 0);
    assert_true(changed("a", &last));
    free(last);
}

/* As Kubernetes does it: data -> first becomes data -> other. */
static void test_links_are_followed(void **state)
{
    char *last = NULL;
    (void)state;
    assert_int_equal(mkdir("first", 0700), 0);
    assert_int_equal(mkdir("other", 0700), 0);
    assert_int_equal(symlink("first", "data"), 0);
    put("data/x", "same");
    put("other/x", "same");
    changed("data/x", &last);
    assert_int_equal(symlink("other", "link"), 0);
    assert_int_equal(rename("link", "data"), 0);
    assert_true(changed("data/x", &last));
    assert_int_equal(unlink("first/x"), 0);
    assert_false(changed("data/x", &last));
    free(last);
}

/* Every file that a reload reads. */
static void test_files_of_a_config(void **state)
{
    static char a[] = "a", b[] = "b";
    static char *keys[] = {b};
    struct config config = {.path = a};
    struct config_cluster cluster = {.client_ca_file = NULL};
    char **places[] = {
        &config.portal.tls.certificate_file,       &config.portal.tls.key_file,
        &config.webhook.tls.certificate_file,      &config.webhook.tls.key_file,
        &config.webhook.tls.client_ca_file,        &config.oidc.client_secret_file,
        &config.oidc.certificate_authority_file,   &config.outgoing.certificate_authority_file,
        &config.portal.certificate_authority_file, &cluster.client_ca_file,
        &cluster.certificate_authority_file};
    (void)state;
    config.clusters = &cluster;
    config.cluster_count = 1;
    put("b", "x");
    for (size_t i = 0; i <= sizeof(places) / sizeof(places[0]); i++) {
        bool is_seal_key = i == sizeof(places) / sizeof(places[0]);
        if (is_seal_key)
            config.store.seal_key_files = (struct config_strings){keys, 1};
        else
            *places[i] = b;
        char *before = stamps_of(&config, "config\n");
        put("next", "y");
        assert_int_equal(rename("next", "b"), 0);
        char *now = stamps_of(&config, "config\n");
        assert_string_not_equal(before, now);
        assert_int_equal(strncmp(now, "config\n", 7), 0);
        free(before);
        free(now);
        if (!is_seal_key)
            *places[i] = NULL;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_file),
        cmocka_unit_test(test_links_are_followed),
        cmocka_unit_test(test_files_of_a_config),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
