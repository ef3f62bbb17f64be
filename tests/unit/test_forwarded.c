/* SPDX-License-Identifier: Apache-2.0
 *
 * X-Forwarded-For as a trusted proxy hands it on, with whatever its client had put there (peers 37). The trusted
 * ones are 10.0.0.0/8 and fd00::/8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "http/web.h"
#include "web_private.h"

static struct ip_networks trusted;

static bool ask(const h2o_headers_t *headers, char out[IP_TEXT_SIZE])
{
    struct ip_address address;
    if (!web_forwarded_for(headers, &trusted, &address))
        return false;
    ip_write(&address, out);
    return true;
}

static void add(h2o_mem_pool_t *pool, h2o_headers_t *headers, const char *value, size_t len)
{
    if (value != NULL)
        h2o_add_header_by_str(pool, headers, H2O_STRLIT("x-forwarded-for"), 0, NULL, value, len);
}

static const struct {
    const char *first, *second; /* headers; NULL: none */
    const char *client;         /* NULL: what they say is of no use */
} table[] = {
    {NULL, NULL, NULL},
    {"192.0.2.7", NULL, "192.0.2.7"},
    {"2001:db8::7", NULL, "2001:db8::7"},
    {" \t192.0.2.7\t ", NULL, "192.0.2.7"},
    /* what the client wrote stands on the left, and is not looked at */
    {"198.51.100.1, 192.0.2.7", NULL, "192.0.2.7"},
    {"10.0.0.1, 192.0.2.7", NULL, "192.0.2.7"},
    {"127.0.0.1,192.0.2.7", NULL, "192.0.2.7"},
    {"junk, 192.0.2.7", NULL, "192.0.2.7"},
    {", 192.0.2.7", NULL, "192.0.2.7"},
    {"198.51.100.1", "192.0.2.7", "192.0.2.7"},
    {"junk", "192.0.2.7", "192.0.2.7"},
    {"", "192.0.2.7", "192.0.2.7"},
    /* proxies behind proxies */
    {"198.51.100.1, 192.0.2.7, 10.0.0.2, 10.0.0.1", NULL, "192.0.2.7"},
    {"198.51.100.1, 192.0.2.7, 10.0.0.2", "fd00::1,10.0.0.1", "192.0.2.7"},
    {"192.0.2.7, ::ffff:10.0.0.1", NULL, "192.0.2.7"},
    {"::ffff:192.0.2.7", NULL, "192.0.2.7"},
    /* people on the proxies' own network */
    {"10.9.9.9", NULL, "10.9.9.9"},
    {"10.9.9.9, 10.0.0.1", NULL, "10.9.9.9"},
    /* with ports */
    {"192.0.2.7:4711", NULL, "192.0.2.7"},
    {"[2001:db8::7]:4711", NULL, "2001:db8::7"},
    {"[2001:db8::7]", NULL, "2001:db8::7"},
    {"192.0.2.7, 10.0.0.1:80", NULL, "192.0.2.7"},
    /* a malformed entry ends the walk */
    {"", NULL, NULL},
    {",", NULL, NULL},
    {"192.0.2.7,", NULL, NULL},
    {"192.0.2.7, ", NULL, NULL},
    {"192.0.2.7", "", NULL},
    {",10.0.0.1", NULL, NULL},
    {"192.0.2.7, , 10.0.0.1", NULL, NULL},
    {"192.0.2.7, unknown, 10.0.0.1", NULL, NULL},
    {"192.0.2.7; 10.0.0.1", NULL, NULL},
    {"192.0.2.7 10.0.0.1", NULL, NULL},
    {"unknown", NULL, NULL},
    {"localhost", NULL, NULL},
    {"192.0.2", NULL, NULL},
    {"192.0.2.256", NULL, NULL},
    {"192.0.2.07", NULL, NULL},
    {"0x7f.0.0.1", NULL, NULL},
    {"3221225991", NULL, NULL},
    {"192.0.2.7/32", NULL, NULL},
    {"\"192.0.2.7\"", NULL, NULL},
    {"for=192.0.2.7", NULL, NULL},
    {"192.0.2.7:", NULL, NULL},
    {"192.0.2.7:x", NULL, NULL},
    {"192.0.2.7:80:80", NULL, NULL},
    {"192.0.2.7:123456", NULL, NULL},
    {"[192.0.2.7", NULL, NULL},
    {"[2001:db8::7", NULL, NULL},
    {"[2001:db8::7]x", NULL, NULL},
    {"[2001:db8::7]:", NULL, NULL},
    {"[[2001:db8::7]]", NULL, NULL},
    {"2001:db8::7]", NULL, NULL},
    {"fe80::1%eth0", NULL, NULL},
    {"192.0.2.7<script>", NULL, NULL},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        h2o_mem_pool_t pool;
        h2o_headers_t headers = {NULL, 0, 0};
        char client[IP_TEXT_SIZE] = "";
        const char *first = table[i].first, *second = table[i].second;
        h2o_mem_init_pool(&pool);
        add(&pool, &headers, first, first != NULL ? strlen(first) : 0);
        h2o_add_header_by_str(&pool, &headers, H2O_STRLIT("x-real-ip"), 0, NULL,
                              H2O_STRLIT("203.0.113.1"));
        add(&pool, &headers, second, second != NULL ? strlen(second) : 0);
        bool found = ask(&headers, client);
        if (found != (table[i].client != NULL) || (found && strcmp(client, table[i].client) != 0))
            fail_msg("\"%s\" and \"%s\": %s", first, second, found ? client : "nothing");
        h2o_mem_clear_pool(&pool);
    }
}

static void test_nul_and_length(void **state)
{
    static const char nul[] = "192.0.2.7\0, 10.0.0.1";
    char zeros[70];
    h2o_mem_pool_t pool;
    char client[IP_TEXT_SIZE];
    (void)state;
    h2o_mem_init_pool(&pool);
    h2o_headers_t headers = {NULL, 0, 0}, others = {NULL, 0, 0};
    add(&pool, &headers, nul, sizeof(nul) - 1);
    assert_false(ask(&headers, client));
    memset(zeros, '0', sizeof(zeros));
    add(&pool, &others, zeros, sizeof(zeros));
    assert_false(ask(&others, client));
    h2o_mem_clear_pool(&pool);
}

/* However many hops a list has, and however they are spread over headers, only sixteen are looked at. */
static void test_hops(void **state)
{
    (void)state;
    for (unsigned per_line = 1; per_line <= 17; per_line++) {
        for (unsigned proxies = 0; proxies < 40; proxies++) {
            h2o_mem_pool_t pool;
            h2o_headers_t headers = {NULL, 0, 0};
            struct text line;
            char client[IP_TEXT_SIZE];
            h2o_mem_init_pool(&pool);
            text_init(&line, &pool);
            text_add_string(&line, "192.0.2.7");
            for (unsigned i = 0; i < proxies; i++) {
                if (i % per_line == 0) {
                    add(&pool, &headers, line.bytes, line.len);
                    text_init(&line, &pool);
                }
                text_add_format(&line, "%s10.0.0.%u", line.len == 0 ? "" : ", ", i);
            }
            add(&pool, &headers, line.bytes, line.len);
            bool found = ask(&headers, client);
            assert_int_equal(found, proxies < 16);
            if (found)
                assert_string_equal(client, "192.0.2.7");
            h2o_mem_clear_pool(&pool);
        }
    }
}

static int make_trusted(void **state)
{
    static struct ip_network networks[2];
    (void)state;
    trusted = (struct ip_networks){networks, 2};
    return ip_network_parse("10.0.0.0/8", &networks[0]) != NULL ||
           ip_network_parse("fd00::/8", &networks[1]) != NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_nul_and_length),
        cmocka_unit_test(test_hops),
    };
    return cmocka_run_group_tests(tests, make_trusted, NULL);
}
