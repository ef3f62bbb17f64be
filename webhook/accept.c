/* SPDX-License-Identifier: Apache-2.0
 *
 * The Accept header (RFC 9110 section 12.5.1), as far as one question goes: may the answer be JSON? Which range
 * is the most specific one does not matter where only one type is on offer. */
#include "accept.h"

static h2o_iovec_t take_until(h2o_iovec_t *rest, char separator)
{
    const char *end = memchr(rest->base, separator, rest->len);
    size_t len = end == NULL ? rest->len : (size_t)(end - rest->base);
    h2o_iovec_t part = {rest->base, len};
    size_t step = end == NULL ? len : len + 1;
    *rest = h2o_iovec_init(rest->base + step, rest->len - step);
    while (part.len > 0 && (part.base[0] == ' ' || part.base[0] == '\t')) {
        part.base++;
        part.len--;
    }
    while (part.len > 0 && (part.base[part.len - 1] == ' ' || part.base[part.len - 1] == '\t'))
        part.len--;
    return part;
}

/* RFC 9110 section 12.4.2: "0", "0.", "0.0", "0.00", "0.000" mean "not acceptable". */
static bool is_zero_weight(h2o_iovec_t parameter)
{
    if (parameter.len < 3 || (parameter.base[0] | 0x20) != 'q' || parameter.base[1] != '=' ||
        parameter.base[2] != '0')
        return false;
    for (size_t i = 3; i < parameter.len; i++) {
        if (parameter.base[i] != '.' && parameter.base[i] != '0')
            return false;
    }
    return true;
}

static bool range_admits_json(h2o_iovec_t range)
{
    static const char *const admitting[] = {"application/json", "application/*", "*/*"};
    h2o_iovec_t type = take_until(&range, ';');
    bool admits = false;
    for (size_t i = 0; i < sizeof(admitting) / sizeof(admitting[0]); i++)
        admits = admits || h2o_lcstris(type.base, type.len, admitting[i], strlen(admitting[i]));
    while (range.len != 0)
        admits = admits && !is_zero_weight(take_until(&range, ';'));
    return admits;
}

bool accept_admits_json(const h2o_headers_t *headers)
{
    ssize_t at = -1;
    bool is_present = false;
    while ((at = h2o_find_header(headers, H2O_TOKEN_ACCEPT, at)) != -1) {
        h2o_iovec_t rest = headers->entries[at].value;
        is_present = true;
        while (rest.len != 0) {
            if (range_admits_json(take_until(&rest, ',')))
                return true;
        }
    }
    return !is_present;
}
