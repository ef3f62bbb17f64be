/* SPDX-License-Identifier: Apache-2.0
 *
 * Signing in with a code on another device (RFC 8628), for computers without a browser. */
#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"
#include "http/web.h"
#include "sign_in.h"
#include "terminal.h"

#define INTERVAL_DEFAULT_S 5 /* RFC 8628 section 3.2 */
#define INTERVAL_MAX_S     60

struct device {
    const struct sign_in *sign_in;
    h2o_iovec_t code;
    int64_t interval_s;
    int64_t until_ms; /* monotonic */
};

/* What the person types and opens: nothing that a terminal would take for a command. */
static bool read_line(h2o_mem_pool_t *pool, const struct json *body, const char *key,
                      const char **out, struct error *err)
{
    h2o_iovec_t value = {NULL, 0};
    if (!json_optional_string(body, key, &value, err))
        return false;
    *out = value.len != 0 ? terminal_clean(text_dup(pool, value.base)) : NULL;
    return true;
}

static bool tell_person(const struct device *self, const struct json *body, struct error *err)
{
    h2o_mem_pool_t *pool = self->sign_in->pool;
    const char *code, *at, *whole;
    if (!read_line(pool, body, "user_code", &code, err) ||
        !read_line(pool, body, "verification_uri", &at, err) ||
        !read_line(pool, body, "verification_uri_complete", &whole, err))
        return false;
    if (code == NULL || at == NULL)
        return error_set(err, ERROR_UPSTREAM, "the issuer's device code makes no sense");
    terminal_say("on any device, open %s and enter the code %s", at, code);
    if (whole != NULL)
        terminal_say("or open %s", whole);
    return true;
}

static bool begin(struct device *self, struct error *err)
{
    const struct issuer_places *places;
    struct issuer_answer answer = {.status = 0};
    struct text form;
    int64_t expires_s = 0;
    text_init(&form, self->sign_in->pool);
    web_form_add(&form, "scope", iovec_of(LOGIN_SCOPE));
    if (!login_issuer_discover(self->sign_in->issuer, &places, err))
        return false;
    if (places->device == NULL)
        return error_set(err, ERROR_UPSTREAM, "the issuer offers no sign-in on another device");
    if (!login_issuer_post(self->sign_in->issuer, places->device, &form, &answer, err))
        return false;
    if (answer.status != 200 || answer.body == NULL) {
        login_issuer_complain(&answer, err);
        return false;
    }
    if (!json_string(answer.body, "device_code", &self->code, err) ||
        !json_int(answer.body, "expires_in", &expires_s, err) ||
        !json_optional_int(answer.body, "interval", &self->interval_s, err))
        return error_prefix(err, "the issuer's device code");
    if (self->interval_s < 1 || self->interval_s > INTERVAL_MAX_S)
        self->interval_s = INTERVAL_DEFAULT_S;
    if (expires_s > SIGN_IN_MAX_MS / 1000)
        expires_s = SIGN_IN_MAX_MS / 1000;
    self->until_ms = clock_mono_ms() + expires_s * 1000;
    return tell_person(self, answer.body, err);
}

/* True: it is decided, and *good says how. Section 3.5: no answer means to ask less often. */
static bool poll_once(struct device *self, struct login_tokens *out, bool *good, struct error *err)
{
    struct grant grant = {.nonce = NULL};
    struct text form;
    text_init(&form, self->sign_in->pool);
    web_form_add(&form, "grant_type", iovec_of("urn:ietf:params:oauth:grant-type:device_code"));
    web_form_add(&form, "device_code", self->code);
    enum grant_outcome outcome = login_issuer_grant(self->sign_in->issuer, &form, &grant, err);
    *good = outcome == GRANT_OK;
    if (outcome == GRANT_OK)
        *out = grant.tokens;
    else
        login_tokens_dispose(&grant.tokens);
    if (outcome == GRANT_FAILED || strcmp(grant.error, "slow_down") == 0) {
        self->interval_s += outcome == GRANT_FAILED ? self->interval_s : 5;
        return false;
    }
    return strcmp(grant.error, "authorization_pending") != 0;
}

bool login_device(const struct sign_in *sign_in, struct login_tokens *out, struct error *err)
{
    struct device self = {.sign_in = sign_in, .interval_s = INTERVAL_DEFAULT_S};
    bool good = false;
    if (!begin(&self, err))
        return false;
    while (clock_mono_ms() < self.until_ms) {
        pause_ms(self.interval_s * 1000);
        if (poll_once(&self, out, &good, err))
            return good || error_prefix(err, "the sign-in was refused");
    }
    return error_set(err, ERROR_REJECTED,
                     "nobody entered the code in time; run it again for a new one");
}
