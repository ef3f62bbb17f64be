/* SPDX-License-Identifier: Apache-2.0
 *
 * portal/client_auth: the first line is the Authorization header, the rest the form. A client has one name from one
 * place and no secret, whatever was sent; what the header says is what an honest client encodes. */
#include "fuzz.h"

#include "client_auth.h"
#include "http/web.h"

#include <openssl/evp.h>

/* As kubectl writes it: encoded as a form's, with an empty secret. */
static void check_written(h2o_mem_pool_t *pool, h2o_iovec_t client_id)
{
    struct text plain, header;
    struct web_form none = {NULL, 0};
    h2o_iovec_t again;
    text_init(&plain, pool);
    web_url_encode(&plain, client_id);
    text_add_string(&plain, ":");
    char *encoded = h2o_mem_alloc_pool(pool, plain.len * 2 + 8);
    int len = EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)plain.bytes,
                              (int)plain.len);
    text_init(&header, pool);
    text_add_string(&header, "Basic ");
    text_add(&header, encoded, (size_t)len);
    if (len > 8192)
        return;
    enum client_named named = client_auth_read(pool, text_iovec(&header), 1, &none, &again);
    assert(named == CLIENT_NAMED && fuzz_same(again, client_id));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    struct web_form form;
    h2o_iovec_t rest = h2o_iovec_init(bytes, len), header = fuzz_line(&rest), client_id = {0};
    h2o_mem_init_pool(&pool);
    if (web_form_parse(&pool, rest, &form, NULL)) {
        bool in_form = web_form_value(&form, "client_id").base != NULL ||
                       web_form_value(&form, "client_secret").base != NULL;
        size_t times = header.len != 0;
        enum client_named named = client_auth_read(&pool, header, times, &form, &client_id);
        assert((client_id.base != NULL) == (named == CLIENT_NAMED));
        assert(!(times == 1 && in_form) || named == CLIENT_TWICE);
        assert(web_form_value(&form, "client_secret").len == 0 || named != CLIENT_NAMED);
        if (named == CLIENT_NAMED) {
            fuzz_check_text(client_id);
            assert(client_id.len > 0);
            check_written(&pool, client_id);
        }
        assert(client_auth_read(&pool, header, 2, &form, &client_id) == CLIENT_TWICE);
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
