/* SPDX-License-Identifier: Apache-2.0
 *
 * See login.h. Cheapest first: a token from the cache, without a lock; then, one process at a time, a refresh; then a
 * sign-in, when somebody sits there. What is new is on the disk before it is used. */
#include "login.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "cache.h"
#include "exec_credential.h"
#include "http/web.h"
#include "issuer.h"
#include "options.h"
#include "sign_in.h"
#include "terminal.h"

#define LOCK_WAIT_MS (SIGN_IN_MAX_MS + 60 * 1000) /* a refresh that fails goes before a sign-in */

struct login {
    h2o_mem_pool_t pool;
    struct login_options options;
    struct exec_info info;
    bool somebody; /* sits there and may sign in */
    const char *ca_pem;
    struct cache cache;
    struct issuer *issuer; /* NULL until it is needed */
    struct login_tokens tokens;
    struct error
        unreadable; /* why the cache's file says nothing; ERROR_NONE: it does, or there is none */
};

static int64_t now_s(void)
{
    return clock_wall_ms() / 1000;
}

/* ---- the cache: without it all goes on, but for others' eyes ---- */

static bool open_cache(struct login *self, struct error *err)
{
    const struct cache_key key = {self->options.issuer, self->options.client_id, self->ca_pem};
    const char *directory = self->options.cache_directory;
    if (directory == NULL)
        directory = cache_usual_directory(&self->pool);
    if (cache_open(&self->pool, directory, &key, &self->cache, err))
        return true;
    if (err->kind == ERROR_REJECTED)
        return false;
    terminal_say("going on without a cache: %s", err->text);
    return true;
}

static bool read_cache(struct login *self, struct error *err)
{
    login_tokens_dispose(&self->tokens);
    self->tokens = (struct login_tokens){.received_s = 0};
    self->unreadable.kind = ERROR_NONE;
    if (cache_read(&self->cache, &self->tokens, &self->unreadable))
        return true;
    return self->unreadable.kind != ERROR_REJECTED ||
           error_set(err, ERROR_REJECTED, "%s", self->unreadable.text);
}

static bool lock_cache(struct login *self, struct error *err)
{
    if (cache_lock(&self->cache, LOCK_WAIT_MS, err))
        return true;
    if (err->kind == ERROR_REJECTED)
        return false;
    terminal_say("going on without a lock: %s", err->text);
    return true;
}

static void keep(struct login *self, const struct login_tokens *tokens)
{
    struct error err = {.kind = ERROR_NONE};
    login_tokens_dispose(&self->tokens);
    self->tokens = *tokens;
    if (!cache_write(&self->cache, &self->tokens, &err))
        terminal_say("the token could not be kept for the next time: %s", err.text);
}

/* ---- new tokens ---- */

static enum grant_outcome refresh(struct login *self, struct error *err)
{
    h2o_iovec_t id_token = secret_iovec(&self->tokens.id_token);
    struct grant grant = {.subject = id_token.len != 0 ? login_token_subject(&self->pool, id_token)
                                                       : NULL};
    struct text form;
    text_init(&form, &self->pool);
    web_form_add(&form, "grant_type", iovec_of("refresh_token"));
    web_form_add(&form, "refresh_token", secret_iovec(&self->tokens.refresh_token));
    enum grant_outcome outcome = login_issuer_grant(self->issuer, &form, &grant, err);
    if (outcome != GRANT_OK) {
        login_tokens_dispose(&grant.tokens);
        return outcome;
    }
    if (grant.tokens.refresh_token.len == 0) /* RFC 6749 section 6: it stays as it was */
        secret_copy(&grant.tokens.refresh_token, &self->tokens.refresh_token);
    keep(self, &grant.tokens);
    return GRANT_OK;
}

static bool start_sign_in(struct login *self, struct error *err)
{
    const struct sign_in request = {&self->pool, &self->options, self->issuer};
    struct login_tokens tokens = {.received_s = 0};
    if (!login_sign_in(&request, &tokens, err)) {
        cache_note_failure(&self->cache, err);
        return false;
    }
    keep(self, &tokens);
    return true;
}

static bool ask_issuer(struct login *self, struct error *err)
{
    const struct issuer_setup setup = {self->options.issuer, self->options.client_id, self->ca_pem};
    cache_note_failure(&self->cache, NULL);
    if (!login_issuer_new(&self->pool, &setup, &self->issuer, err))
        return false;
    if (self->tokens.refresh_token.len != 0) {
        enum grant_outcome outcome = refresh(self, err);
        if (outcome == GRANT_OK)
            return true;
        if (outcome == GRANT_FAILED) {
            cache_note_failure(&self->cache, err);
            return false;
        }
        if (!self->somebody)
            return false; /* in the server's words, which say where to sign in */
        terminal_say("signing in anew: %s", err->text);
    } else if (!self->somebody) {
        return error_set(err, ERROR_REJECTED,
                         "nobody is signed in at %s, and this is no terminal: run kubectl once in "
                         "a terminal to sign in",
                         self->options.issuer);
    }
    return start_sign_in(self, err);
}

/* Who waited takes what came of it, good or bad. */
static bool get_tokens(struct login *self, struct error *err)
{
    if (!read_cache(self, err))
        return false;
    if (login_tokens_good(&self->tokens, now_s()))
        return true;
    if (!lock_cache(self, err) || !read_cache(self, err))
        return false;
    if (login_tokens_good(&self->tokens, now_s()))
        return true;
    if (cache_failed_meanwhile(&self->cache, err))
        return false;
    if (self->unreadable.kind != ERROR_NONE)
        terminal_say("what was kept is of no use: %s", self->unreadable.text);
    return ask_issuer(self, err);
}

/* ---- the whole ---- */

static bool print_credential(struct login *self, struct error *err)
{
    h2o_iovec_t line;
    /* client-go uses a token up to the last moment, and does not repeat a request that came too late with it. */
    int64_t expires_s = self->tokens.expires_s - TOKEN_MARGIN_S;
    if (!exec_credential_make(&self->pool, &self->info, secret_iovec(&self->tokens.id_token),
                              expires_s, &line, err))
        return false;
    while (line.len != 0) {
        ssize_t put = write(STDOUT_FILENO, line.base, line.len);
        if (put < 0 && errno != EINTR)
            return error_set(err, ERROR_UPSTREAM, "stdout: %s", strerrordesc_np(errno));
        line.base += put > 0 ? put : 0;
        line.len -= put > 0 ? (size_t)put : 0;
    }
    return true;
}

static bool run(struct login *self, struct error *err)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    const char *asked = getenv("KUBERNETES_EXEC_INFO");
    if (!exec_info_read(&self->pool, asked, &self->info, err) ||
        !options_ca(&self->pool, &self->options, &self->ca_pem, err) || !open_cache(self, err))
        return false;
    self->somebody = self->info.interactive || isatty(STDIN_FILENO) || isatty(STDERR_FILENO);
    return get_tokens(self, err) && print_credential(self, err);
}

int login_run(int argc, char **argv)
{
    struct login self = {.cache = {.directory = -1, .lock = -1}};
    struct error err = {.kind = ERROR_NONE};
    int code;
    if (!options_read(argc, argv, &self.options, &code))
        return code;
    h2o_mem_init_pool(&self.pool);
    bool good = run(&self, &err);
    if (!good)
        terminal_say("%s", err.text);
    cache_close(&self.cache);
    login_issuer_free(self.issuer);
    login_tokens_dispose(&self.tokens);
    h2o_mem_clear_pool(&self.pool);
    return good ? 0 : 1;
}
