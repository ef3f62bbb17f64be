/* SPDX-License-Identifier: Apache-2.0
 *
 * portal/icons: what passes for an icon, and what is said of a file that does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "icons.h"

#define PNG "\x89PNG\r\n\x1a\n\0\0\0\rIHDR...."

static void test_forms(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum icon_form form;
    } rows[] = {
#define ROW(text, form) {text, sizeof(text) - 1, form}
        ROW("<svg/>", ICON_SVG),
        ROW("<svg xmlns='http://www.w3.org/2000/svg'></svg>", ICON_SVG),
        ROW("\xef\xbb\xbf<?xml version='1.0'?>\n<!-- by us -->\n<!DOCTYPE svg>\n<svg >", ICON_SVG),
        ROW(PNG, ICON_PNG),
        ROW("", ICON_NONE),
        ROW("<", ICON_NONE),
        ROW("<svg", ICON_NONE),
        ROW("<svgx>", ICON_NONE),
        ROW("<html><svg></svg></html>", ICON_NONE),
        ROW("<!DOCTYPE html><script>", ICON_NONE),
        ROW("<!-- <svg> ", ICON_NONE),
        ROW("<?xml <svg>", ICON_NONE),
        ROW("<svg>\0</svg>", ICON_NONE),
        ROW("<svg>\xff</svg>", ICON_NONE),
        ROW("\x89PNG\r\n\x1a\n", ICON_NONE),
        ROW("GIF89a<svg>", ICON_NONE),
        ROW("\xff\xd8\xff\xe0 JFIF", ICON_NONE),
#undef ROW
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (icon_form_of(rows[i].bytes, rows[i].len) != rows[i].form)
            fail_msg("row %zu", i);
}

/* ---- files ---- */

static char path[] = "/tmp/postern-test-icon-XXXXXX", name[] = "reports";
static struct config_app app = {.name = name, .icon_file = path};
static const struct config config = {.proxy = {.apps = &app, .app_count = 1}};

static void write_file(const char *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

static struct portal_icons *load(void)
{
    struct portal_icons *icons = NULL;
    struct error err = {.kind = ERROR_NONE};
    if (!portal_icons_load(&config, &icons, &err))
        fail_msg("%s", err.text);
    return icons;
}

static void assert_refused(const char *why)
{
    struct portal_icons *icons = NULL;
    struct error err = {.kind = ERROR_NONE};
    assert_false(portal_icons_load(&config, &icons, &err));
    assert_non_null(strstr(err.text, "proxy.apps[0].icon_file"));
    assert_non_null(strstr(err.text, why));
}

static void test_files(void **state)
{
    static char large[64 * 1024 + 1] = "<svg/>";
    (void)state;
    memset(large + 6, ' ', sizeof(large) - 6);
    close(mkstemp(path));
    assert_refused("neither SVG nor PNG");
    write_file(large, sizeof(large));
    assert_refused("more than 64 KiB");
    write_file(large, sizeof(large) - 1);
    struct portal_icons *former = load();
    write_file("<svg />", 7);
    struct portal_icons *now = load(), *same = load();
    assert_false(portal_icons_equal(former, now));
    assert_true(portal_icons_equal(now, same));
    assert_string_not_equal(icons_path(former, 0), icons_path(now, 0));
    assert_memory_equal(icons_path(now, 0), "/apps/icons/reports.", 20);
    portal_icons_free(former);
    portal_icons_free(now);
    portal_icons_free(same);
    unlink(path);
    assert_refused("can't be read");
}

static void test_ours(void **state)
{
    (void)state;
    app.icon_file = NULL;
    for (enum config_app_kind kind = APP_GENERIC; kind <= APP_KUBERNETES_DASHBOARD_2; kind++) {
        app.kind = kind;
        portal_icons_free(load());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
