/* SPDX-License-Identifier: Apache-2.0
 *
 * See proxy_line.h. h2o 2.2.5 can read such lines itself (expect_proxy_line), but takes a connection without one
 * for a good one, and collects an unfinished line without a bound; so we read it before h2o sees the connection.
 */
#include "proxy_line.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

#define MAX_LINE 107 /* with CRLF: the specification's own bound */
#define FIELDS   6   /* PROXY TCP4 <client> <server> <client port> <server port> */

static bool parse_port(const char *text, in_port_t *out)
{
    size_t digits = strspn(text, "0123456789");
    unsigned value = 0;
    if (digits == 0 || digits > 5 || text[digits] != '\0' || (*text == '0' && digits > 1))
        return false;
    for (; *text != '\0'; text++)
        value = value * 10 + (unsigned)(*text - '0');
    *out = htons((uint16_t)value);
    return value <= 65535;
}

/* Splits at single spaces, in place; false where there are more or fewer fields. */
static bool split(char *line, char *fields[FIELDS])
{
    for (size_t i = 0; i < FIELDS; i++) {
        fields[i] = line;
        line = strchr(line, ' ');
        if ((line == NULL) != (i == FIELDS - 1))
            return false;
        if (line != NULL)
            *line++ = '\0';
    }
    return true;
}

static bool parse_client(char *fields[FIELDS], struct sockaddr_storage *client)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)client;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)client;
    struct in6_addr server;
    in_port_t server_port;
    bool is_v4 = strcmp(fields[1], "TCP4") == 0;
    if (!is_v4 && strcmp(fields[1], "TCP6") != 0)
        return false;
    client->ss_family = is_v4 ? AF_INET : AF_INET6;
    void *address = is_v4 ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr;
    return inet_pton(client->ss_family, fields[2], address) == 1 &&
           inet_pton(client->ss_family, fields[3], &server) == 1 &&
           parse_port(fields[4], is_v4 ? &v4->sin_port : &v6->sin6_port) &&
           parse_port(fields[5], &server_port);
}

static bool parse_line(char *line, struct sockaddr_storage *client)
{
    static const char unknown[] = "PROXY UNKNOWN";
    char *fields[FIELDS];
    size_t len = sizeof(unknown) - 1;
    *client = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    if (strncmp(line, unknown, len) == 0 && (line[len] == '\0' || line[len] == ' '))
        return true; /* what follows means nothing */
    return split(line, fields) && parse_client(fields, client);
}

enum proxy_line proxy_line_parse(h2o_iovec_t bytes, size_t *len, struct sockaddr_storage *client)
{
    static const char begin[] = "PROXY ";
    char line[MAX_LINE + 1];
    struct sockaddr_storage found;
    size_t most = bytes.len < MAX_LINE ? bytes.len : MAX_LINE, head = sizeof(begin) - 1;
    if (memcmp(bytes.base, begin, most < head ? most : head) != 0)
        return PROXY_LINE_BAD;
    const char *newline = memchr(bytes.base, '\n', most);
    if (newline == NULL)
        return bytes.len < MAX_LINE ? PROXY_LINE_PART : PROXY_LINE_BAD;
    size_t whole = (size_t)(newline - bytes.base) + 1;
    if (whole < 2 || newline[-1] != '\r' || memchr(bytes.base, 0, whole) != NULL)
        return PROXY_LINE_BAD;
    memcpy(line, bytes.base, whole - 2);
    line[whole - 2] = '\0';
    if (!parse_line(line, &found))
        return PROXY_LINE_BAD;
    *len = whole;
    *client = found;
    return PROXY_LINE_WHOLE;
}
