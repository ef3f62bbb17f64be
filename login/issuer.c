/* SPDX-License-Identifier: Apache-2.0
 *
 * See issuer.h. */
#include "issuer.h"

#include "base/clock.h"
#include "base/text.h"
#include "http/fetch.h"
#include "http/web.h"
#include "terminal.h"

#define ANSWER_MAX_BYTES 262144

struct issuer {
    h2o_mem_pool_t *pool;
    struct issuer_setup setup;
    struct loop *loop;
    struct fetcher *fetcher;
    struct issuer_places places; /* token is NULL until discovery */
};

bool login_issuer_new(h2o_mem_pool_t *pool, const struct issuer_setup *setup, struct issuer **out,
                      struct error *err)
{
    struct issuer *self = h2o_mem_alloc_pool(pool, sizeof(*self));
    /* Like kubectl, which people set up with HTTPS_PROXY where there is one: the same way leads to both. */
    struct fetch_options options = {.ca_pem = setup->ca_pem, .environment_proxy = true};
    *self = (struct issuer){.pool = pool, .setup = *setup};
    if (!fetcher_start(&options, &self->fetcher, err))
        return false;
    self->loop = loop_new();
    *out = self;
    return true;
}

void login_issuer_free(struct issuer *self)
{
    if (self == NULL)
        return;
    fetcher_free(self->fetcher);
    loop_free(self->loop);
}

/* ---- one question, one answer ---- */

struct question {
    struct issuer *issuer;
    struct issuer_answer answer;
    bool answered;
    struct error err;
};

static void on_answer(void *ctx, const struct fetch_result *result, const struct error *err)
{
    struct question *self = ctx;
    struct json *body;
    if (result != NULL) {
        self->answered = true;
        self->answer.status = result->status;
        if (json_parse(self->issuer->pool, result->body, NULL, &body, NULL) &&
            body->type == JSON_OBJECT)
            self->answer.body = body;
    } else {
        self->err = *err;
    }
    loop_stop(self->issuer->loop);
}

static bool ask(struct issuer *self, const char *method, const char *url, h2o_iovec_t form,
                struct issuer_answer *out, struct error *err)
{
    static const char type[] = "application/x-www-form-urlencoded";
    struct question question = {.issuer = self};
    struct fetch_request request = {.lane = FETCH_INTERACTIVE,
                                    .method = method,
                                    .url = url,
                                    .body = form,
                                    .max_body = ANSWER_MAX_BYTES};
    if (form.base != NULL)
        request.content_type = iovec_of(type);
    fetch_start(self->fetcher, self->loop, &request, on_answer, &question);
    loop_run(self->loop);
    if (!question.answered)
        return error_set(err, question.err.kind, "%s", question.err.text);
    *out = question.answer;
    return true;
}

bool login_issuer_post(struct issuer *self, const char *url, struct text *form,
                       struct issuer_answer *out, struct error *err)
{
    web_form_add(form, "client_id", iovec_of(self->setup.client_id));
    bool good = ask(self, "POST", url, text_iovec(form), out, err);
    explicit_bzero(form->bytes, form->len);
    return good;
}

/* ---- discovery ---- */

/* It may be given to a browser and to curl, so it has to look like one address. */
static bool read_place(h2o_mem_pool_t *pool, const struct json *document, const char *key,
                       const char **out, struct error *err)
{
    h2o_iovec_t value = {NULL, 0};
    if (!json_optional_string(document, key, &value, err))
        return false;
    if (value.base == NULL)
        return true;
    bool good = value.len <= 1024 && strncmp(value.base, "https://", 8) == 0;
    for (size_t i = 0; i < value.len; i++)
        good = good && value.base[i] > ' ' && value.base[i] <= '~' && value.base[i] != '#';
    *out = value.base != NULL ? text_dup(pool, value.base) : NULL;
    return good || error_set(err, ERROR_UPSTREAM, "its %s is no https URL", key);
}

bool login_issuer_places_read(h2o_mem_pool_t *pool, const char *url, const struct json *document,
                              struct issuer_places *out, struct error *err)
{
    struct issuer_places self = {.token = NULL};
    h2o_iovec_t issuer;
    if (!json_string(document, "issuer", &issuer, err) ||
        !read_place(pool, document, "authorization_endpoint", &self.authorization, err) ||
        !read_place(pool, document, "token_endpoint", &self.token, err) ||
        !read_place(pool, document, "device_authorization_endpoint", &self.device, err) ||
        !json_optional_bool(document, "authorization_response_iss_parameter_supported",
                            &self.names_itself, err))
        return false;
    if (!iovec_equal(issuer, url)) {
        char called[128];
        snprintf(called, sizeof(called), "%s", issuer.base);
        return error_set(err, ERROR_UPSTREAM, "it calls itself %s, which is not --issuer",
                         terminal_clean(called));
    }
    if (self.token == NULL)
        return error_set(err, ERROR_UPSTREAM, "it has no token_endpoint");
    *out = self;
    return true;
}

bool login_issuer_discover(struct issuer *self, const struct issuer_places **out, struct error *err)
{
    const char *url = self->setup.url;
    int len = (int)strlen(url) - (url[strlen(url) - 1] == '/');
    struct issuer_answer answer = {.status = 0};
    *out = &self->places;
    if (self->places.token != NULL)
        return true;
    if (!ask(self, "GET",
             text_format(self->pool, "%.*s/.well-known/openid-configuration", len, url),
             h2o_iovec_init(NULL, 0), &answer, err))
        return false;
    if (answer.status != 200 || answer.body == NULL)
        return error_set(err, ERROR_UPSTREAM, "%s: its discovery document can't be had (HTTP %d)",
                         url, answer.status);
    return login_issuer_places_read(self->pool, url, answer.body, &self->places, err) ||
           error_prefix(err, url);
}

/* ---- grants ---- */

static void read_text(const struct json *body, const char *key, char *out, size_t size)
{
    h2o_iovec_t value = {NULL, 0};
    if (body == NULL || !json_optional_string(body, key, &value, NULL) || value.base == NULL)
        value = iovec_of("");
    snprintf(out, size, "%s", value.base);
    terminal_clean(out);
}

bool login_issuer_complain(const struct issuer_answer *answer, struct error *err)
{
    char code[40], words[200];
    read_text(answer->body, "error", code, sizeof(code));
    read_text(answer->body, "error_description", words, sizeof(words));
    if (words[0] != '\0')
        return error_set(err, ERROR_REJECTED, "%s", words);
    if (code[0] != '\0')
        return error_set(err, ERROR_REJECTED, "the issuer says: %s", code);
    return error_set(err, ERROR_UPSTREAM, "the issuer answers with HTTP %d", answer->status);
}

static bool take_tokens(const struct issuer *self, const struct json *body, int64_t now_s,
                        struct grant *grant, struct error *err)
{
    struct id_token_expected expected = {.issuer = self->setup.url,
                                         .client_id = self->setup.client_id,
                                         .nonce = grant->nonce,
                                         .subject = grant->subject,
                                         .now_s = now_s};
    struct login_tokens *tokens = &grant->tokens;
    h2o_iovec_t id_token, refresh_token = {NULL, 0};
    *tokens = (struct login_tokens){.received_s = now_s};
    if (!json_string(body, "id_token", &id_token, err) ||
        !json_optional_string(body, "refresh_token", &refresh_token, err) ||
        !login_token_judge(id_token, &expected, &tokens->expires_s, err))
        return false;
    secret_set(&tokens->id_token, id_token.base, id_token.len);
    if (refresh_token.len != 0)
        secret_set(&tokens->refresh_token, refresh_token.base, refresh_token.len);
    return true;
}

/* Okta and others answer a 429 with the body of an invalid_grant: the status is judged first. */
static bool is_refusal(const struct issuer_answer *answer)
{
    return (answer->status == 400 || answer->status == 401) && answer->body != NULL;
}

enum grant_outcome login_issuer_grant(struct issuer *self, struct text *form, struct grant *grant,
                                      struct error *err)
{
    const struct issuer_places *places;
    struct issuer_answer answer = {.status = 0};
    grant->error[0] = '\0';
    if (!login_issuer_discover(self, &places, err))
        return GRANT_FAILED;
    int64_t now_s = clock_wall_ms() / 1000; /* before: the way there and back counts as life */
    if (!login_issuer_post(self, places->token, form, &answer, err))
        return GRANT_FAILED;
    if (answer.status == 200 && answer.body != NULL)
        return take_tokens(self, answer.body, now_s, grant, err) ? GRANT_OK : GRANT_FAILED;
    login_issuer_complain(&answer, err);
    if (!is_refusal(&answer))
        return GRANT_FAILED;
    read_text(answer.body, "error", grant->error, sizeof(grant->error));
    return grant->error[0] != '\0' ? GRANT_REFUSED : GRANT_FAILED;
}
