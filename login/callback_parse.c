/* SPDX-License-Identifier: Apache-2.0
 *
 * See callback.h. What a stranger may send is judged here alone. */
#include "callback.h"

#include "base/crypto.h"
#include "base/text.h"
#include "http/web.h"
#include "terminal.h"

/* "GET /callback?QUERY HTTP/1.x": the query. */
static bool take_query(h2o_iovec_t head, h2o_iovec_t *query)
{
    static const char begin[] = "GET /callback?", end[] = " HTTP/1.";
    const size_t begin_len = sizeof(begin) - 1, end_len = sizeof(end); /* with a digit */
    const char *stop = head.len != 0 ? memchr(head.base, '\r', head.len) : NULL;
    size_t len = stop != NULL ? (size_t)(stop - head.base) : 0;
    if (len < begin_len + end_len || memcmp(head.base, begin, begin_len) != 0 ||
        memcmp(head.base + len - end_len, end, end_len - 1) != 0)
        return false;
    *query = h2o_iovec_init(head.base + begin_len, len - begin_len - end_len);
    return memchr(query->base, ' ', query->len) == NULL;
}

/* RFC 9207 section 2.4: an answer of somebody else's may not be believed, state or not. */
static bool is_from(const struct web_form *form, const struct callback_expected *expected)
{
    h2o_iovec_t iss = web_form_value(form, "iss");
    return iss.base != NULL ? iovec_equal(iss, expected->issuer) : !expected->iss_needed;
}

static void complain(const struct web_form *form, struct error *err)
{
    char code[40], words[200];
    snprintf(code, sizeof(code), "%s", web_form_value(form, "error").base);
    h2o_iovec_t description = web_form_value(form, "error_description");
    snprintf(words, sizeof(words), "%s", description.base != NULL ? description.base : "");
    error_set(err, ERROR_REJECTED, "the sign-in was refused: %s",
              terminal_clean(words[0] != '\0' ? words : code));
}

enum callback_kind callback_parse(h2o_mem_pool_t *pool, h2o_iovec_t head,
                                  const struct callback_expected *expected, h2o_iovec_t *code,
                                  struct error *err)
{
    h2o_iovec_t query, found;
    struct web_form form;
    if (!take_query(head, &query) || !web_form_parse(pool, query, &form, NULL))
        return CALLBACK_FOREIGN;
    h2o_iovec_t state = web_form_value(&form, "state");
    if (state.base == NULL || !crypto_equal_iovec(state, iovec_of(expected->state)))
        return CALLBACK_FOREIGN;
    if (!is_from(&form, expected)) {
        error_set(err, ERROR_REJECTED, "the browser came back from another issuer");
        return CALLBACK_REFUSED;
    }
    if (web_form_value(&form, "error").base != NULL) {
        complain(&form, err);
        return CALLBACK_REFUSED;
    }
    found = web_form_value(&form, "code");
    if (found.len == 0) {
        error_set(err, ERROR_REJECTED, "the browser came back without a code");
        return CALLBACK_REFUSED;
    }
    *code = found;
    return CALLBACK_CODE;
}
