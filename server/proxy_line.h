/* SPDX-License-Identifier: Apache-2.0
 *
 * The line that a balancer sends ahead of a connection's own bytes: version 1 of HAProxy's PROXY protocol. */
#pragma once

#include <h2o.h>
#include <sys/socket.h>

enum proxy_line { PROXY_LINE_WHOLE, PROXY_LINE_PART, PROXY_LINE_BAD };

/* What bytes begin with. WHOLE: *len is the line's length with its CRLF, *client who connected to the balancer;
 * its family is AF_UNSPEC where the balancer says UNKNOWN. PART: so far it could become a line. A line has at
 * most 107 bytes; version 2 (binary) is BAD. */
enum proxy_line proxy_line_parse(h2o_iovec_t bytes, size_t *len, struct sockaddr_storage *client);
