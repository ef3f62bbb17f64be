/* SPDX-License-Identifier: Apache-2.0
 *
 * login/callback: whatever comes to the loopback port, only a request with the sign-in's state counts, and then it brings a
 * code or a reason. The first byte says whether the issuer promised its name. */
#include "fuzz.h"

#include "callback.h"
#include "http/web.h"

static const char state[] = "7zW4UO2hYQ3dEVGkf9b0mS1nXcTqRjLa6pBvIoKxYtE";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t rest = h2o_iovec_init(bytes, len), code = {NULL, 0};
    struct error err = {.kind = ERROR_NONE};
    struct callback_expected expected = {
        .state = state, .issuer = "https://i.test", .iss_needed = fuzz_byte(&rest) == '1'};
    h2o_mem_init_pool(&pool);
    enum callback_kind kind = callback_parse(&pool, rest, &expected, &code, &err);
    assert((kind == CALLBACK_REFUSED) == (err.kind == ERROR_REJECTED));
    assert((kind == CALLBACK_CODE) == (code.base != NULL));
    if (kind != CALLBACK_FOREIGN)
        assert(memcmp(rest.base, "GET /callback?", 14) == 0);
    if (kind == CALLBACK_CODE) {
        assert(code.len != 0);
        fuzz_check_text(code);
    }
    if (kind == CALLBACK_REFUSED) {
        fuzz_check_error(&err);
        for (const char *c = err.text; *c != '\0'; c++)
            assert(*c >= ' ' && *c <= '~');
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
