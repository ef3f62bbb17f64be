/* SPDX-License-Identifier: Apache-2.0
 *
 * IP addresses and networks. Addresses are kept in one form, IPv4 as IPv6 maps it (::ffff:a.b.c.d, RFC 4291
 * section 2.5.5.2), so a client of a dual-stack listener is the IPv4 address that it is. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct ip_address {
    uint8_t bytes[16]; /* network order; all zero (the unspecified address): unknown */
};

struct ip_network {
    struct ip_address first; /* no bit is set behind the prefix */
    unsigned bits;           /* of the prefix; an IPv4 network's are counted from 96 on */
};

struct ip_networks {
    struct ip_network *entries;
    unsigned count;
};

#define IP_TEXT_SIZE INET6_ADDRSTRLEN

/* Strict: dotted decimal, or IPv6 without brackets and zone. */
bool ip_parse(const char *text, struct ip_address *out);
/* Unknown where the family is neither IPv4 nor IPv6. */
struct ip_address ip_of_sockaddr(const struct sockaddr *address);
/* "" for the unknown one. */
void ip_write(const struct ip_address *self, char out[IP_TEXT_SIZE]);

/* "10.0.0.0/8" "2001:db8::/32", or an address for it alone. NULL when it is one, else what is wrong, as the end
 * of "must …": bits behind the prefix, IPv4 in IPv6 notation, and a prefix of 0 bits (everybody) are. */
const char *ip_network_parse(const char *text, struct ip_network *out);
/* An IPv6 network never has an IPv4 address in it. */
bool ip_networks_have(const struct ip_networks *self, const struct ip_address *address);
