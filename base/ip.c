/* SPDX-License-Identifier: Apache-2.0
 *
 * See ip.h. */
#include "ip.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const uint8_t MAPPED[12] = {[10] = 0xff, [11] = 0xff};

static bool is_ipv4(const struct ip_address *self)
{
    return memcmp(self->bytes, MAPPED, sizeof(MAPPED)) == 0;
}

static struct ip_address map_ipv4(const struct in_addr *ipv4)
{
    struct ip_address mapped;
    memcpy(mapped.bytes, MAPPED, sizeof(MAPPED));
    memcpy(mapped.bytes + sizeof(MAPPED), ipv4, sizeof(*ipv4));
    return mapped;
}

bool ip_parse(const char *text, struct ip_address *out)
{
    struct in_addr ipv4;
    if (inet_pton(AF_INET, text, &ipv4) == 1) {
        *out = map_ipv4(&ipv4);
        return true;
    }
    struct in6_addr ipv6;
    if (inet_pton(AF_INET6, text, &ipv6) != 1)
        return false;
    memcpy(out->bytes, &ipv6, sizeof(out->bytes));
    return true;
}

struct ip_address ip_of_sockaddr(const struct sockaddr *address)
{
    struct ip_address ip = {{0}};
    if (address->sa_family == AF_INET)
        return map_ipv4(&((const struct sockaddr_in *)(const void *)address)->sin_addr);
    if (address->sa_family == AF_INET6)
        memcpy(ip.bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
               sizeof(ip.bytes));
    return ip;
}

void ip_write(const struct ip_address *self, char out[IP_TEXT_SIZE])
{
    static const struct ip_address unknown;
    bool ipv4 = is_ipv4(self);
    out[0] = '\0';
    if (memcmp(self, &unknown, sizeof(unknown)) != 0)
        inet_ntop(ipv4 ? AF_INET : AF_INET6, self->bytes + (ipv4 ? sizeof(MAPPED) : 0), out,
                  IP_TEXT_SIZE);
}

/* ---- networks ---- */

static bool same_prefix(const struct ip_address *a, const struct ip_address *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a->bytes, b->bytes, whole) != 0)
        return false;
    return rest == 0 || ((a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest)) == 0;
}

static bool ends_with_prefix(const struct ip_network *self)
{
    for (unsigned bit = self->bits; bit < 128; bit++)
        if ((self->first.bytes[bit / 8] & (0x80 >> bit % 8)) != 0)
            return false;
    return true;
}

/* One to three digits without a leading zero, at most max. */
static bool parse_bits(const char *text, unsigned max, unsigned *out)
{
    unsigned value = 0;
    size_t len = strspn(text, "0123456789");
    if (len == 0 || len > 3 || text[len] != '\0' || (*text == '0' && len > 1))
        return false;
    for (; *text != '\0'; text++)
        value = value * 10 + (unsigned)(*text - '0');
    *out = value;
    return value <= max;
}

const char *ip_network_parse(const char *text, struct ip_network *out)
{
    static const char form[] = "be an address or a network, as 10.1.2.3, 10.0.0.0/8 or "
                               "2001:db8::/32";
    char address[IP_TEXT_SIZE];
    struct ip_network network;
    size_t len = strcspn(text, "/");
    if (len >= sizeof(address))
        return form;
    memcpy(address, text, len);
    address[len] = '\0';
    if (!ip_parse(address, &network.first))
        return form;
    bool ipv4 = is_ipv4(&network.first);
    if (ipv4 && strchr(address, ':') != NULL)
        return "be IPv4 in its own notation, as 10.0.0.0/8";
    unsigned most = ipv4 ? 32 : 128, bits = most;
    if (text[len] == '/' && !parse_bits(text + len + 1, most, &bits))
        return form;
    network.bits = bits + (128 - most);
    if (bits == 0)
        return "be narrower: that is everybody";
    if (!ends_with_prefix(&network))
        return "have no bit set behind its prefix";
    *out = network;
    return NULL;
}

bool ip_networks_have(const struct ip_networks *self, const struct ip_address *address)
{
    for (unsigned i = 0; i < self->count; i++) {
        const struct ip_network *network = &self->entries[i];
        if (is_ipv4(&network->first) == is_ipv4(address) &&
            same_prefix(&network->first, address, network->bits))
            return true;
    }
    return false;
}
