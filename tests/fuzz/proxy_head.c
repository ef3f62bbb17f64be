/* SPDX-License-Identifier: Apache-2.0
 *
 * Heads at the proxy, read once more by a second reader, h2o's own picohttpparser. The first byte says whose: a
 * client's ('q') whose framing has passed is one request for it, too, with one Host and at most one length; an
 * upstream's that has passed never brings h2o's client to a length that it aborts at. */
#include "fuzz.h"

#include "headers.h"
#include "picohttpparser.h"
#include "target.h"

#define MOST 100

static bool is_named(const struct phr_header *header, const char *name)
{
    return header->name_len == strlen(name) &&
           strncasecmp(header->name, name, header->name_len) == 0;
}

static void check_request(h2o_iovec_t raw)
{
    struct phr_header headers[MOST];
    size_t count = MOST, method_len, path_len, lengths = 0, hosts = 0;
    const char *method, *path;
    int minor;
    struct error err = {.kind = ERROR_NONE};
    int len = phr_parse_request(raw.base, raw.len, &method, &method_len, &path, &path_len, &minor,
                                headers, &count, 0);
    if (!headers_check_bytes(raw, &err)) {
        fuzz_check_error(&err);
        return;
    }
    if (len <= 0) /* h2o refuses it */
        return;
    assert(len >= 4 && memcmp(raw.base + len - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < count; ++i) {
        assert(headers[i].name_len != 0);
        lengths += is_named(&headers[i], "content-length");
        lengths += is_named(&headers[i], "transfer-encoding");
        hosts += is_named(&headers[i], "host");
    }
    assert(lengths <= 1 && hosts == 1);
}

/* What h2o's client does with each head, up to the final one. */
static void check_answer(h2o_iovec_t raw)
{
    struct error err = {.kind = ERROR_NONE};
    if (!headers_check_answer(raw, &err)) {
        fuzz_check_error(&err);
        return;
    }
    for (int status = 100; raw.len != 0 && status / 100 == 1 && status != 101;) {
        struct phr_header headers[MOST];
        size_t count = MOST, msg_len;
        const char *msg;
        int minor, len = phr_parse_response(raw.base, raw.len, &minor, &status, &msg, &msg_len,
                                            headers, &count, 0);
        if (len <= 0)
            return;
        for (size_t i = 0; i < count; ++i) {
            h2o_iovec_t value = h2o_iovec_init(headers[i].value, headers[i].value_len);
            assert(!is_named(&headers[i], "content-length") ||
                   h2o_strtosize(value.base, value.len) != SIZE_MAX);
            assert(!is_named(&headers[i], "transfer-encoding") || iovec_equal(value, "chunked") ||
                   iovec_equal(value, "identity"));
        }
        raw = h2o_iovec_init(raw.base + len, raw.len - (size_t)len);
    }
}

static void check_target(h2o_iovec_t target)
{
    if (!target_check(target, NULL))
        return;
    assert(target.base[0] == '/' && (target.len == 1 || target.base[1] != '/'));
    for (size_t i = 0; i < target.len; ++i)
        assert(target.base[i] > ' ' && target.base[i] < 0x7f && target.base[i] != '#');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_iovec_t rest = h2o_iovec_init(bytes, len);
    switch (fuzz_byte(&rest)) {
    case 'q':
        check_request(rest);
        break;
    case 't':
        check_target(rest);
        break;
    default:
        check_answer(rest);
    }
    return 0;
}
