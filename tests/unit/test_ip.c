/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses and networks as a config may have them, and who is in which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <string.h>

#include "base/ip.h"

static void test_good(void **state)
{
    static const struct {
        const char *text, *first;
        unsigned bits;
    } table[] = {
        {"10.1.2.3", "10.1.2.3", 128},
        {"10.0.0.0/8", "10.0.0.0", 104},
        {"10.1.2.3/32", "10.1.2.3", 128},
        {"128.0.0.0/1", "128.0.0.0", 97},
        {"0.0.0.0/1", "0.0.0.0", 97},
        {"192.0.2.4/30", "192.0.2.4", 126},
        {"::1", "::1", 128},
        {"2001:db8::/32", "2001:db8::", 32},
        {"2001:DB8::/32", "2001:db8::", 32},
        {"fe80::/10", "fe80::", 10},
        {"2001:db8::1/128", "2001:db8::1", 128},
        {"8000::/1", "8000::", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct ip_network network;
        char text[IP_TEXT_SIZE];
        if (ip_network_parse(table[i].text, &network) != NULL)
            fail_msg("%s was refused", table[i].text);
        ip_write(&network.first, text);
        assert_string_equal(text, table[i].first);
        assert_int_equal(network.bits, table[i].bits);
    }
}

static void test_bad(void **state)
{
    static const char *const table[] = {
        "",
        "/",
        "/8",
        "x",
        "localhost",
        "10",
        "10.0.0",
        "10.0.0.0.0",
        "010.0.0.0",
        "10.0.0.256",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/08",
        "10.0.0.0/+8",
        "10.0.0.0/ 8",
        "10.0.0.0/8 ",
        " 10.0.0.0/8",
        "10.0.0.0/-1",
        "10.0.0.0/8/8",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/4294967304",
        "10.0.0.0-10.0.0.9",
        "10.0.0.1:80",
        "*",
        "10.0.0.1/8",
        "10.1.0.0/15",
        "192.0.2.5/30",
        "2001:db8::1/32",
        "fec0::/9", /* bits behind the prefix */
        "0.0.0.0/0",
        "::/0", /* everybody */
        "::ffff:10.0.0.1",
        "::ffff:a00:0/104",
        "::ffff:0:0/96", /* IPv4 in disguise */
        "[::1]",
        "[::1]/128",
        "fe80::1%eth0",
        "::1/129",
        "::1/",
        ":::",
        "1::2::3",
        "g::",
        "2001:0db8:0000:0000:0000:0000:0000:0001:0000",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa/1",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct ip_network network;
        if (ip_network_parse(table[i], &network) == NULL)
            fail_msg("\"%s\" was taken", table[i]);
    }
}

static void test_who_is_in(void **state)
{
    static const struct {
        const char *network, *address;
        bool in;
    } table[] = {
        {"10.0.0.0/8", "10.0.0.0", true},
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "9.255.255.255", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true}, /* as a dual-stack listener sees it */
        {"10.0.0.0/8", "::10.1.2.3", false},
        {"10.0.0.0/8", "a00::", false},
        {"192.0.2.4/30", "192.0.2.7", true},
        {"192.0.2.4/30", "192.0.2.8", false},
        {"192.0.2.4/30", "192.0.2.3", false},
        {"192.0.2.4", "192.0.2.4", true},
        {"192.0.2.4", "192.0.2.5", false},
        {"0.0.0.0/1", "127.0.0.1", true},
        {"0.0.0.0/1", "128.0.0.1", false},
        {"0.0.0.0/1", "::1", false},
        {"::/1", "::1", true},
        {"::/1", "10.1.2.3", false}, /* IPv4 is in no IPv6 network */
        {"::/80", "10.1.2.3", false},
        {"fe80::/10", "febf::1", true},
        {"fe80::/10", "fec0::1", false},
        {"2001:db8::/32", "2001:db8:ffff::", true},
        {"2001:db8::/32", "2001:db9::", false},
        {"::1", "::1", true},
        {"::1", "127.0.0.1", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct ip_network network;
        struct ip_address address;
        assert_null(ip_network_parse(table[i].network, &network));
        assert_true(ip_parse(table[i].address, &address));
        if (ip_networks_have(&(struct ip_networks){&network, 1}, &address) != table[i].in)
            fail_msg("%s and %s", table[i].network, table[i].address);
        assert_false(ip_networks_have(&(struct ip_networks){NULL, 0}, &address));
    }
}

static void test_sockaddr(void **state)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr other = {.sa_family = AF_UNIX};
    char text[IP_TEXT_SIZE];
    (void)state;
    inet_pton(AF_INET, "192.0.2.7", &v4.sin_addr);
    struct ip_address address = ip_of_sockaddr((struct sockaddr *)&v4);
    ip_write(&address, text);
    assert_string_equal(text, "192.0.2.7");
    inet_pton(AF_INET6, "::ffff:192.0.2.7", &v6.sin6_addr);
    address = ip_of_sockaddr((struct sockaddr *)&v6);
    ip_write(&address, text);
    assert_string_equal(text, "192.0.2.7");
    inet_pton(AF_INET6, "2001:db8::7", &v6.sin6_addr);
    address = ip_of_sockaddr((struct sockaddr *)&v6);
    ip_write(&address, text);
    assert_string_equal(text, "2001:db8::7");
    address = ip_of_sockaddr(&other);
    ip_write(&address, text);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_who_is_in),
        cmocka_unit_test(test_sockaddr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
