/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program asks for at /authorize (RFC 6749 section 4.1.1, RFC 7636, RFC 8252), judged. Pure functions: the same
 * judgement meets the address that the program opened, and the form that comes back from our page. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/config.h"
#include "cache/sessions.h"
#include "http/web.h"

#define AUTHORIZE_STATE_MAX 512
#define AUTHORIZE_PATH_MAX  1024 /* of authorize_path: a sign-in leads back to no longer one */

struct authorize_request {
    const struct config_cluster *client;
    struct session_code bound; /* to what the code will be bound; zeroed beyond the texts */
    const char *origin;        /* of redirect_uri */
    const char *port;
    h2o_iovec_t state; /* base NULL: none */
};

enum authorize_verdict {
    AUTHORIZE_GOOD,
    AUTHORIZE_BAD_CLIENT,   /* told here and never by a redirect, as the next */
    AUTHORIZE_BAD_REDIRECT, /* no address of a program on this computer */
    AUTHORIZE_BAD_REQUEST,  /* told to the program */
};
struct authorize_error {
    const char *error, *description; /* RFC 6749 section 4.1.2.1 */
};
/* client: of the form's client_id; NULL: there is none. out: whole for GOOD; for BAD_REQUEST as much as
 * authorize_error_url needs, and *error is set. Texts live in pool. */
enum authorize_verdict authorize_judge(h2o_mem_pool_t *pool, const struct web_form *form,
                                       const struct config_cluster *client,
                                       struct authorize_request *out,
                                       struct authorize_error *error);
/* Whether a list of words with spaces between them, such as a scope (RFC 6749 section 3.3), has that word. */
bool authorize_has_word(h2o_iovec_t list, const char *word);
/* Whether it is http on a loopback host as we know them by heart, with a port, and with a path that all readers take for
 * the same; nothing before or behind that could lead elsewhere (RFC 8252 section 7.3, peers 43). */
bool authorize_is_loopback(h2o_mem_pool_t *pool, h2o_iovec_t uri, const char **origin,
                           const char **port);

#define AUTHORIZE_FIELDS 8
struct authorize_field {
    const char *name;
    h2o_iovec_t value;
};
/* The request in our own words, for a form; judged again, it is the same. Borrows. Returns how many there are. */
size_t authorize_fields(const struct authorize_request *self,
                        struct authorize_field out[AUTHORIZE_FIELDS]);
/* The same as a path of ours. */
const char *authorize_path(h2o_mem_pool_t *pool, const struct authorize_request *self);

/* The answers to the program: redirect_uri with code or error, with state, and with iss (RFC 9207). */
const char *authorize_code_url(h2o_mem_pool_t *pool, const struct authorize_request *self,
                               const char *issuer, const char *code);
const char *authorize_error_url(h2o_mem_pool_t *pool, const struct authorize_request *self,
                                const char *issuer, const struct authorize_error *error);
