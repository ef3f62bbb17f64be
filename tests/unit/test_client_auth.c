/* SPDX-License-Identifier: Apache-2.0
 *
 * Who asks at /token: kubectl's two ways, and everything that must not pass for one of them. */
#include <h2o.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/text.h"
#include "client_auth.h"

#define BASIC_KUBERNETES "Basic a3ViZXJuZXRlczo=" /* kubernetes: */

struct sample {
    const char *header; /* NULL: none */
    const char *form;
    enum client_named named;
    const char *client_id;
};

static const struct sample samples[] = {
    {BASIC_KUBERNETES, "", CLIENT_NAMED, "kubernetes"},
    {"bAsIc a3ViZXJuZXRlczo=", "grant_type=refresh_token", CLIENT_NAMED, "kubernetes"},
    {"Basic Y2xpJTNBZW50Og==", "", CLIENT_NAMED, "cli:ent"}, /* cli%3Aent: */
    {"Basic YStiJTJGYzo=", "", CLIENT_NAMED, "a b/c"},       /* a+b%2Fc: */
    {"Basic w7w6", "", CLIENT_NAMED, "\xc3\xbc"},            /* ü: */
    {NULL, "client_id=kubernetes", CLIENT_NAMED, "kubernetes"},
    {NULL, "client_id=kubernetes&client_secret=", CLIENT_NAMED, "kubernetes"},
    {NULL, "", CLIENT_MISSING, NULL},
    {NULL, "client_id=", CLIENT_MISSING, NULL},
    {NULL, "client_secret=", CLIENT_MISSING, NULL},
    {"Basic Og==", "", CLIENT_MISSING, NULL}, /* : */
    {"Bearer abc", "", CLIENT_MISSING, NULL},
    {"Basic", "", CLIENT_MISSING, NULL},
    {"", "", CLIENT_MISSING, NULL},
    {"Basic a3ViZXJuZXRlczpzZWNyZXQ=", "", CLIENT_SECRET, NULL}, /* kubernetes:secret */
    {"Basic OnNlY3JldA==", "", CLIENT_SECRET, NULL},             /* :secret */
    {"Basic a3ViZXJuZXRlczo6", "", CLIENT_SECRET, NULL},         /* kubernetes:: */
    {NULL, "client_id=kubernetes&client_secret=x", CLIENT_SECRET, NULL},
    {BASIC_KUBERNETES, "client_id=kubernetes", CLIENT_TWICE, NULL},
    {BASIC_KUBERNETES, "client_id=", CLIENT_TWICE, NULL},
    {BASIC_KUBERNETES, "client_secret=", CLIENT_TWICE, NULL},
    {"Bearer abc", "client_id=kubernetes", CLIENT_TWICE, NULL},
    {"Basic ", "", CLIENT_MALFORMED, NULL},
    {"Basic a3ViZXJuZXRlczo", "", CLIENT_MALFORMED, NULL}, /* no padding */
    {"Basic a3ViZXJuZXRlczo==", "", CLIENT_MALFORMED, NULL},
    {"Basic a3ViZXJuZXRlczp=", "", CLIENT_MALFORMED, NULL}, /* bits behind the end */
    {"Basic  a3ViZXJuZXRlczo=", "", CLIENT_MALFORMED, NULL},
    {"Basic a3ViZXJuZXRlcw==", "", CLIENT_MALFORMED, NULL}, /* no colon */
    {"Basic ====", "", CLIENT_MALFORMED, NULL},
    {"Basic YT8-Og==", "", CLIENT_MALFORMED, NULL}, /* base64url's alphabet */
    {"Basic YSUwMDo=", "", CLIENT_MALFORMED, NULL}, /* a%00: */
    {"Basic YSV6ejo=", "", CLIENT_MALFORMED, NULL}, /* a%zz: */
    {"Basic /zo=", "", CLIENT_MALFORMED, NULL},     /* not UTF-8 */
};

static enum client_named ask(h2o_mem_pool_t *pool, const struct sample *sample, size_t times,
                             h2o_iovec_t *client_id)
{
    struct web_form form;
    h2o_iovec_t header = {NULL, 0};
    if (sample->header != NULL)
        header = iovec_of(sample->header);
    assert_true(web_form_parse(pool, iovec_of(sample->form), &form, NULL));
    return client_auth_read(pool, header, times, &form, client_id);
}

static void test_samples(void **state)
{
    (void)state;
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        h2o_iovec_t client_id = {NULL, 0};
        enum client_named named = ask(&pool, &samples[i], samples[i].header != NULL, &client_id);
        if (named != samples[i].named)
            fail_msg("%s and %s: %d", samples[i].header, samples[i].form, named);
        assert_true(samples[i].client_id == NULL ? client_id.base == NULL
                                                 : iovec_equal(client_id, samples[i].client_id));
    }
    h2o_mem_clear_pool(&pool);
}

static void test_two_headers(void **state)
{
    (void)state;
    h2o_mem_pool_t pool;
    h2o_iovec_t client_id = {NULL, 0};
    h2o_mem_init_pool(&pool);
    assert_int_equal(ask(&pool, &samples[0], 2, &client_id), CLIENT_TWICE);
    assert_null(client_id.base);
    h2o_mem_clear_pool(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_two_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
