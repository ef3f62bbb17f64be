/* SPDX-License-Identifier: Apache-2.0
 *
 * Discovery documents: where we would send secrets is https on the issuer's host, as curl reads URLs
 * too. (peers 58) */
#include "fuzz.h"

#include <curl/curl.h>
#include <strings.h>

#include "provider.h"

#define ISSUER "https://acme.okta.test"

static bool part_is(CURLU *url, CURLUPart part, const char *value)
{
    char *text = NULL;
    CURLUcode code = curl_url_get(url, part, &text, CURLU_DEFAULT_PORT);
    bool same =
        value == NULL ? code != CURLUE_OK : code == CURLUE_OK && strcasecmp(text, value) == 0;
    curl_free(text);
    return same;
}

static void check_url(const char *text, bool required)
{
    assert(text != NULL || !required);
    if (text == NULL)
        return;
    size_t len = strlen(text);
    assert(len <= PROVIDER_URL_MAX);
    for (size_t i = 0; i < len; i++)
        assert(text[i] > ' ' && text[i] < 0x7f && text[i] != '\\' && text[i] != '#');
    CURLU *url = curl_url();
    CURLUcode code = curl_url_set(url, CURLUPART_URL, text, 0);
    assert(code == CURLUE_OK && part_is(url, CURLUPART_SCHEME, "https"));
    assert(part_is(url, CURLUPART_HOST, "acme.okta.test") && part_is(url, CURLUPART_PORT, "443"));
    assert(part_is(url, CURLUPART_USER, NULL) && part_is(url, CURLUPART_PASSWORD, NULL));
    curl_url_cleanup(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct provider *provider = NULL;
    struct error err = {0};
    if (provider_parse(h2o_iovec_init(bytes, len), ISSUER, &provider, &err)) {
        check_url(provider->authorization_endpoint, true);
        check_url(provider->token_endpoint, true);
        check_url(provider->jwks_uri, true);
        check_url(provider->userinfo_endpoint, false);
        check_url(provider->revocation_endpoint, false);
        check_url(provider->end_session_endpoint, false);
        provider_free(provider);
    } else {
        assert(err.kind == ERROR_BAD_INPUT && provider == NULL);
        fuzz_check_error(&err);
    }
    return 0;
}
