/* SPDX-License-Identifier: Apache-2.0
 *
 * portal/authorize_request: what a program asks for. Whatever is answered by a redirect goes to a loopback address as
 * another reader of URLs sees it; what is good is the same when judged again in our own words, and a sign-in can
 * lead back to it. */
#include "fuzz.h"

#include "authorize_request.h"

static char audience[] = "prod";
static const struct config_cluster cluster = {.name = audience, .audience = audience};

static void check_target(const struct authorize_request *request, const char *url)
{
    h2o_url_t parsed;
    if (strcmp(request->port, "65535") == 0)
        return; /* a port that h2o's parser keeps for "none" */
    int bad = h2o_url_parse(url, SIZE_MAX, &parsed);
    assert(bad == 0 && parsed.scheme == &H2O_URL_SCHEME_HTTP);
    assert(iovec_equal(parsed.host, "127.0.0.1") || iovec_equal(parsed.host, "::1") ||
           iovec_equal(parsed.host, "localhost"));
    assert(h2o_url_get_port(&parsed) == strtol(request->port, NULL, 10));
    assert(strncmp(url, request->origin, strlen(request->origin)) == 0);
    assert(strncmp(url, request->bound.redirect_uri, strlen(request->bound.redirect_uri)) == 0);
    for (const char *c = url; *c != '\0'; c++)
        assert(*c > ' ' && *c < 0x7f && *c != '\\' && *c != '#' && *c != '"' && *c != '<');
}

static void check_again(h2o_mem_pool_t *pool, const struct authorize_request *first)
{
    struct authorize_request second;
    struct authorize_error error;
    struct web_form form;
    const char *path = authorize_path(pool, first);
    assert(web_return_to(pool, iovec_of(path)) != NULL);
    bool good = web_form_parse(pool, iovec_of(strchr(path, '?') + 1), &form, NULL) &&
                authorize_judge(pool, &form, &cluster, &second, &error) == AUTHORIZE_GOOD;
    assert(good);
    assert(memcmp(&first->bound, &second.bound, sizeof(first->bound)) == 0);
    assert((first->state.base != NULL) == (second.state.base != NULL));
    assert(fuzz_same(first->state, second.state));
    assert(strcmp(path, authorize_path(pool, &second)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct authorize_request request;
    struct authorize_error error;
    struct web_form form;
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    if (web_form_parse(&pool, h2o_iovec_init(bytes, len), &form, NULL)) {
        enum authorize_verdict verdict = authorize_judge(&pool, &form, &cluster, &request, &error);
        assert(verdict != AUTHORIZE_BAD_CLIENT);
        if (verdict == AUTHORIZE_BAD_REQUEST)
            check_target(&request, authorize_error_url(&pool, &request, "https://p", &error));
        if (verdict == AUTHORIZE_GOOD) {
            check_target(&request, authorize_code_url(&pool, &request, "https://p", "code"));
            check_again(&pool, &request);
        }
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
