/* SPDX-License-Identifier: Apache-2.0
 *
 * The authorization code flow with PKCE of an app without a secret (RFC 8252, RFC 7636), and when the device flow takes
 * its place. The browser is told "signed in" only after the code was exchanged. */
#include "sign_in.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/text.h"
#include "browser.h"
#include "callback.h"
#include "http/web.h"
#include "terminal.h"

#define BROWSER_MAX_MS (5 * 60 * INT64_C(1000))
#define LOOK_EVERY_MS  200 /* at the browser's process, while it runs */

struct attempt {
    const struct sign_in *sign_in;
    const struct issuer_places *places;
    h2o_iovec_t verifier, state, nonce;
    struct callback *callback;
    const char *url;
};

/* 256 bits; 43 characters, which PKCE allows for a verifier. */
static h2o_iovec_t random_word(h2o_mem_pool_t *pool)
{
    uint8_t bytes[32];
    crypto_random(bytes, sizeof(bytes));
    h2o_iovec_t word = base64url_encode(pool, bytes, sizeof(bytes));
    explicit_bzero(bytes, sizeof(bytes));
    return word;
}

static const char *make_url(const struct attempt *self)
{
    const struct sign_in *sign_in = self->sign_in;
    const char *at = self->places->authorization;
    uint8_t hash[SHA256_SIZE];
    struct text query;
    text_init(&query, sign_in->pool);
    crypto_sha256(self->verifier.base, self->verifier.len, hash);
    web_form_add(&query, "response_type", iovec_of("code"));
    web_form_add(&query, "client_id", iovec_of(sign_in->options->client_id));
    web_form_add(&query, "redirect_uri", iovec_of(callback_redirect_uri(self->callback)));
    web_form_add(&query, "scope", iovec_of(LOGIN_SCOPE));
    web_form_add(&query, "state", self->state);
    web_form_add(&query, "nonce", self->nonce);
    web_form_add(&query, "code_challenge", base64url_encode(sign_in->pool, hash, sizeof(hash)));
    web_form_add(&query, "code_challenge_method", iovec_of("S256"));
    return text_format(sign_in->pool, "%s%c%s", at, strchr(at, '?') != NULL ? '&' : '?',
                       query.bytes);
}

/* True: the browser came back. False with err.kind ERROR_NONE: none can be opened, and another device may do. */
static bool await_browser(const struct attempt *self, struct error *err)
{
    const struct callback_expected expected = {.state = self->state.base,
                                               .issuer = self->sign_in->options->issuer,
                                               .iss_needed = self->places->names_itself};
    bool wanted = !self->sign_in->options->no_browser;
    int64_t until_ms = clock_mono_ms() + BROWSER_MAX_MS;
    pid_t browser = wanted ? browser_open(self->url) : -1;
    bool failed = wanted && browser == -1;
    while (!failed || self->places->device == NULL) {
        int64_t left_ms = until_ms - clock_mono_ms();
        if (left_ms <= 0)
            return error_set(err, ERROR_REJECTED, "nobody signed in within five minutes");
        if (failed)
            terminal_say("no browser can be opened: open that address yourself");
        if (callback_wait(self->callback, &expected,
                          browser != -1 && left_ms > LOOK_EVERY_MS ? LOOK_EVERY_MS : left_ms))
            return true;
        failed = browser_failed(&browser);
    }
    return false;
}

static bool exchange(const struct attempt *self, h2o_iovec_t code, struct login_tokens *out,
                     struct error *err)
{
    struct grant grant = {.nonce = self->nonce.base};
    struct text form;
    text_init(&form, self->sign_in->pool);
    web_form_add(&form, "grant_type", iovec_of("authorization_code"));
    web_form_add(&form, "code", code);
    web_form_add(&form, "redirect_uri", iovec_of(callback_redirect_uri(self->callback)));
    web_form_add(&form, "code_verifier", self->verifier);
    if (login_issuer_grant(self->sign_in->issuer, &form, &grant, err) != GRANT_OK) {
        login_tokens_dispose(&grant.tokens);
        return false;
    }
    *out = grant.tokens;
    return true;
}

/* False with err.kind ERROR_NONE: as above. */
static bool sign_in_here(struct attempt *self, struct login_tokens *out, struct error *err)
{
    h2o_mem_pool_t *pool = self->sign_in->pool;
    h2o_iovec_t code = {NULL, 0};
    self->verifier = random_word(pool);
    self->state = random_word(pool);
    self->nonce = random_word(pool);
    if (!callback_listen(pool, self->sign_in->options->listen, &self->callback, err))
        return false;
    self->url = make_url(self);
    terminal_say("sign in at %s", self->url);
    bool good = await_browser(self, err) && callback_code(self->callback, &code, err) &&
                exchange(self, code, out, err);
    callback_end(self->callback, good);
    explicit_bzero(self->verifier.base, self->verifier.len);
    return good;
}

bool login_sign_in(const struct sign_in *self, struct login_tokens *out, struct error *err)
{
    struct attempt attempt = {.sign_in = self};
    struct error why = {.kind = ERROR_NONE};
    if (!login_issuer_discover(self->issuer, &attempt.places, err))
        return false;
    if (self->options->device || attempt.places->authorization == NULL)
        return login_device(self, out, err);
    if (sign_in_here(&attempt, out, &why))
        return true;
    if (why.kind != ERROR_NONE)
        return error_set(err, why.kind, "%s", why.text);
    terminal_say("no browser can be opened here; another device will do");
    return login_device(self, out, err);
}
