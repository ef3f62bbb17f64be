/* SPDX-License-Identifier: Apache-2.0
 *
 * PROXY lines, good and garbled, whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/ip.h"
#include "proxy_line.h"

static enum proxy_line parse(const char *bytes, size_t len, size_t *line_len,
                             char client[IP_TEXT_SIZE])
{
    struct sockaddr_storage found = {.ss_family = AF_UNSPEC};
    char *copy = malloc(len + 1); /* so that the sanitizer sees a look too far */
    memcpy(copy, bytes, len);
    char *exact = realloc(copy, len != 0 ? len : 1);
    enum proxy_line line = proxy_line_parse(h2o_iovec_init(exact, len), line_len, &found);
    struct ip_address address = ip_of_sockaddr((struct sockaddr *)&found);
    ip_write(&address, client);
    free(exact);
    return line;
}

#define FULL6 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

static void test_good(void **state)
{
    static const struct {
        const char *line, *client;
    } table[] = {
        {"PROXY TCP4 192.0.2.7 10.0.0.1 4711 8443\r\n", "192.0.2.7"},
        {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"},
        {"PROXY TCP4 192.0.2.7 10.0.0.1 0 0\r\n", "192.0.2.7"},
        {"PROXY TCP6 2001:db8::7 ::1 4711 8443\r\n", "2001:db8::7"},
        {"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 8443\r\n", "192.0.2.7"},
        {"PROXY TCP6 " FULL6 " " FULL6 " 65535 65535\r\n", FULL6},
        {"PROXY UNKNOWN\r\n", ""},
        {"PROXY UNKNOWN " FULL6 " " FULL6 " 65535 65535\r\n", ""}, /* 107 bytes: the longest */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char bytes[256], client[IP_TEXT_SIZE];
        size_t whole = strlen(table[i].line), len = 0;
        int all = snprintf(bytes, sizeof(bytes), "%sGET / HTTP/1.1\r\n", table[i].line);
        for (size_t n = 0; n < whole; n++)
            if (parse(bytes, n, &len, client) != PROXY_LINE_PART)
                fail_msg("%zu bytes of %s", n, table[i].line);
        for (size_t n = whole; n <= (size_t)all; n++) {
            if (parse(bytes, n, &len, client) != PROXY_LINE_WHOLE)
                fail_msg("refused: %s", table[i].line);
            assert_int_equal(len, whole);
            assert_string_equal(client, table[i].client);
        }
    }
}

static void test_bad(void **state)
{
    static const char *const table[] = {
        "GET / HTTP/1.1\r\n",
        "\r\n",
        "P\r\n",
        "proxy TCP4 192.0.2.7 10.0.0.1 4711 8443\r\n",
        " PROXY TCP4 192.0.2.7 10.0.0.1 4711 8443\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.7 10.0.0.1 4711 8443\r\n",
        "PROXY UDP4 192.0.2.7 10.0.0.1 4711 8443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 8443 1\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 8443 \r\n",
        "PROXY TCP4  192.0.2.7 10.0.0.1 4711 8443\r\n",
        "PROXY TCP4\t192.0.2.7 10.0.0.1 4711 8443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 8443\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 8443\r \r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 65536\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 99999 8443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 04711 8443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 -1 8443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4711 \r\n",
        "PROXY TCP4 192.0.2.256 10.0.0.1 4711 8443\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0 4711 8443\r\n",
        "PROXY TCP4 2001:db8::7 ::1 4711 8443\r\n",
        "PROXY TCP6 192.0.2.7 10.0.0.1 4711 8443\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 4711 8443\r\n",
        "\r\n\r\n", /* version 2 begins so */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char client[IP_TEXT_SIZE];
        size_t len = 0;
        if (parse(table[i], strlen(table[i]), &len, client) != PROXY_LINE_BAD)
            fail_msg("taken: %s", table[i]);
    }
}

static void test_length_and_nul(void **state)
{
    static const char nul[] = "PROXY UNKNOWN \0\r\n";
    char bytes[300] = "PROXY UNKNOWN ", client[IP_TEXT_SIZE];
    size_t len = 0;
    (void)state;
    assert_int_equal(parse(nul, sizeof(nul) - 1, &len, client), PROXY_LINE_BAD);
    memset(bytes + 14, 'x', sizeof(bytes) - 14);
    assert_int_equal(parse(bytes, 106, &len, client), PROXY_LINE_PART);
    assert_int_equal(parse(bytes, 107, &len, client), PROXY_LINE_BAD); /* can't end in time */
    memcpy(bytes + 106, "\r\n", 2);
    assert_int_equal(parse(bytes, 108, &len, client), PROXY_LINE_BAD);
    memcpy(bytes + 105, "\r\n", 2);
    assert_int_equal(parse(bytes, 108, &len, client), PROXY_LINE_WHOLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_length_and_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
