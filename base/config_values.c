/* SPDX-License-Identifier: Apache-2.0
 *
 * The single values of a config: durations, counts, listen addresses and URLs. Strict, because what is
 * misread here is misread for the whole life of the process. */
#include "config_parts.h"

#include <arpa/inet.h>
#include <ctype.h>

#define MAX_DURATION_MS (INT64_C(36500) * 24 * 60 * 60 * 1000)

/* Decimal digits only, at least one, none but the first may be the leading zero of a longer number. */
static bool take_number(const char **text, int64_t max, int64_t *out)
{
    const char *digit = *text;
    int64_t value = 0;
    if (*digit == '0' && isdigit((unsigned char)digit[1]))
        return false;
    for (; isdigit((unsigned char)*digit); digit++) {
        value = value * 10 + (*digit - '0');
        if (value > max)
            return false;
    }
    if (digit == *text)
        return false;
    *text = digit;
    *out = value;
    return true;
}

bool config_parse_duration(const char *text, int64_t *out_ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    int64_t number;
    if (!take_number(&text, MAX_DURATION_MS, &number))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(text, units[i].name) != 0)
            continue;
        if (number > MAX_DURATION_MS / units[i].ms)
            return false;
        *out_ms = number * units[i].ms;
        return true;
    }
    return false;
}

bool config_parse_count(const char *text, int max, int *out)
{
    int64_t number;
    if (!take_number(&text, max, &number) || *text != '\0')
        return false;
    *out = (int)number;
    return true;
}

static bool take_port(const char *text, uint16_t *out)
{
    int port;
    if (!config_parse_count(text, 65535, &port) || port == 0)
        return false;
    *out = (uint16_t)port;
    return true;
}

bool config_parse_address(const char *text, struct config_address *out)
{
    char host[INET6_ADDRSTRLEN];
    unsigned char numeric[sizeof(struct in6_addr)];
    bool is_ipv6 = *text == '[';
    const char *begin = text + is_ipv6;
    size_t len = strcspn(begin, is_ipv6 ? "]" : ":");
    const char *behind = begin + len;
    if (is_ipv6 && *behind++ != ']')
        return false;
    uint16_t port;
    if (len >= sizeof(host) || *behind != ':' || !take_port(behind + 1, &port))
        return false;
    memcpy(host, begin, len);
    host[len] = '\0';
    if (inet_pton(is_ipv6 ? AF_INET6 : AF_INET, host, numeric) != 1)
        return false;
    out->text = h2o_strdup(NULL, text, SIZE_MAX).base;
    out->host = h2o_strdup(NULL, host, SIZE_MAX).base;
    out->port = port;
    return true;
}

static const char *host_problem(const char *host, size_t len)
{
    char numeric[INET6_ADDRSTRLEN];
    struct in6_addr unused;
    if (len == 0 || len > 253)
        return "name a host";
    if (*host == '[') {
        if (host[len - 1] != ']' || len - 2 >= sizeof(numeric))
            return "have an IPv6 address in the brackets";
        memcpy(numeric, host + 1, len - 2);
        numeric[len - 2] = '\0';
        return inet_pton(AF_INET6, numeric, &unused) == 1 ? NULL
                                                          : "have an IPv6 address in the brackets";
    }
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)host[i]) && host[i] != '-' && host[i] != '.' && host[i] != '_')
            return "have a host of letters, digits, '-' and '.'";
    }
    return NULL;
}

static const char *authority_problem(const char *authority, size_t len)
{
    if (memchr(authority, '@', len) != NULL)
        return "have no user name or password";
    size_t host_len = 0;
    while (host_len < len && (authority[host_len] != ':' || *authority == '[')) {
        if (authority[host_len++] == ']')
            break;
    }
    const char *problem = host_problem(authority, host_len);
    if (problem != NULL || host_len == len)
        return problem;
    char port[8];
    uint16_t unused;
    size_t port_len = len - host_len - 1;
    if (authority[host_len] != ':' || port_len >= sizeof(port))
        return "have a port from 1 to 65535";
    memcpy(port, authority + host_len + 1, port_len);
    port[port_len] = '\0';
    return take_port(port, &unused) ? NULL : "have a port from 1 to 65535";
}

#define MAX_PATH 128

/* A path that no client and no proxy writes in another way: unreserved characters (RFC 3986) only. */
const char *config_path_problem(const char *path)
{
    if (*path == '\0')
        return NULL;
    if (strlen(path) > MAX_PATH)
        return "be at most 128 characters long";
    for (const char *segment = path; *segment != '\0'; segment += strcspn(segment + 1, "/") + 1) {
        if (*segment != '/')
            return "begin with '/'";
        if (segment[1] == '\0')
            return "not end in '/'";
        if (segment[1] == '/' || segment[1] == '.')
            return "have no empty part and none that begins with '.'";
    }
    for (const char *c = path; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr("/-._~", *c) == NULL)
            return "have nothing but letters, digits, '-', '.', '_', '~' and '/'";
    return NULL;
}

#define NOTHING_BEHIND "have nothing behind host and port, no path and no '/'"

/* Web browsers send Origin in lower case and without the default port, and it is compared with this URL. */
static const char *browser_problem(const char *authority, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (isupper((unsigned char)authority[i]))
            return "be in lower case, as browsers send it";
    }
    if (len > 4 && strncmp(authority + len - 4, ":443", 4) == 0)
        return "leave the default port 443 out, as browsers do";
    return NULL;
}

/* curl's own default port for proxies is one that nobody expects, so it has to be named. */
static const char *port_problem(const char *authority, size_t len)
{
    size_t host_len = *authority == '[' ? strcspn(authority, "]") : 0;
    return memchr(authority + host_len, ':', len - host_len) == NULL ? "name a port" : NULL;
}

static const char *base_problem(const char *behind)
{
    if (strpbrk(behind, "?#") != NULL)
        return "have no query and no fragment";
    return *behind != '\0' && behind[strlen(behind) - 1] == '/' ? "not end in '/'" : NULL;
}

/* What the rule asks of a URL whose authority has the right form; behind it stands the rest. */
static const char *rule_problem(enum config_url_rule rule, const char *authority, size_t len)
{
    const char *behind = authority + len;
    const char *problem = NULL;
    switch (rule) {
    case CONFIG_URL_LINK:
        return NULL;
    case CONFIG_URL_BASE:
        return base_problem(behind);
    case CONFIG_URL_APP:
        problem = browser_problem(authority, len);
        return problem != NULL ? problem : config_path_problem(behind);
    case CONFIG_URL_ORIGIN:
        problem = browser_problem(authority, len);
        break;
    case CONFIG_URL_PROXY:
        problem = port_problem(authority, len);
        break;
    case CONFIG_URL_UPSTREAM:
        break;
    }
    return problem == NULL && *behind != '\0' ? NOTHING_BEHIND : problem;
}

const char *config_url_problem(const char *url, enum config_url_rule rule)
{
    bool takes_http =
        rule == CONFIG_URL_LINK || rule == CONFIG_URL_PROXY || rule == CONFIG_URL_UPSTREAM;
    bool takes_https = rule != CONFIG_URL_PROXY;
    const char *authority = NULL;
    for (const char *c = url; *c != '\0'; c++) {
        if (!isgraph((unsigned char)*c) || strchr("\"<>\\^`{|}", *c) != NULL)
            return "be a URL: other characters have to be percent-encoded";
    }
    if (takes_https && strncmp(url, "https://", 8) == 0)
        authority = url + 8;
    else if (takes_http && strncmp(url, "http://", 7) == 0)
        authority = url + 7;
    if (authority == NULL)
        return !takes_http    ? "begin with https://"
               : !takes_https ? "begin with http://"
                              : "begin with https:// or http://";
    size_t len = strcspn(authority, "/?#");
    const char *problem = authority_problem(authority, len);
    return problem != NULL ? problem : rule_problem(rule, authority, len);
}

const char *config_name_problem(const char *name)
{
    static const char rule[] = "small letters, digits, '-' and '.', beginning and ending with a "
                               "letter or digit, at most 63 characters";
    size_t len = strlen(name);
    if (len == 0 || len > 63)
        return rule;
    for (size_t i = 0; i < len; i++) {
        bool is_edge = i == 0 || i == len - 1;
        bool is_word = (name[i] >= 'a' && name[i] <= 'z') || isdigit((unsigned char)name[i]);
        if (!is_word && (is_edge || (name[i] != '-' && name[i] != '.')))
            return rule;
    }
    return NULL;
}

char *config_url_host(h2o_mem_pool_t *pool, const char *url)
{
    const char *host = strstr(url, "://") + 3;
    size_t len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");
    return text_dup_iovec(pool, h2o_iovec_init(host, len));
}
