/* SPDX-License-Identifier: Apache-2.0
 *
 * The issuer, as a client without a secret sees it: discovery, and grants at its token endpoint. One question at a time,
 * each waits for its answer. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "tokens.h"

#define LOGIN_SCOPE "openid offline_access"

struct issuer;

struct issuer_setup { /* borrowed, as long as the issuer lives */
    const char *url;
    const char *client_id;
    const char *ca_pem; /* NULL: the system's */
};

/* Where it is, as its discovery document says: https, in pool; NULL: it has none. */
struct issuer_places {
    const char *authorization;
    const char *token; /* never NULL */
    const char *device;
    bool names_itself; /* every answer of the authorization endpoint has iss (RFC 9207) */
};

MUST_CHECK bool login_issuer_new(h2o_mem_pool_t *pool, const struct issuer_setup *setup,
                                 struct issuer **out, struct error *err);
void login_issuer_free(struct issuer *self); /* accepts NULL */
/* Asked at the first call, remembered then. */
MUST_CHECK bool login_issuer_discover(struct issuer *self, const struct issuer_places **out,
                                      struct error *err);
/* Judges the document of an issuer (OpenID Connect Discovery 1.0 section 4.3). */
MUST_CHECK bool login_issuer_places_read(h2o_mem_pool_t *pool, const char *url,
                                         const struct json *document, struct issuer_places *out,
                                         struct error *err);

struct issuer_answer {
    int status;
    const struct json *body; /* an object in pool; NULL: the answer was no JSON object */
};
/* form without client_id, which is added; it may hold secrets and is wiped. */
MUST_CHECK bool login_issuer_post(struct issuer *self, const char *url, struct text *form,
                                  struct issuer_answer *out, struct error *err);

enum grant_outcome {
    GRANT_OK,
    GRANT_REFUSED, /* the issuer said no; grant.error has its code */
    GRANT_FAILED,  /* no answer, or none to judge by: the refresh token may be as good as before */
};
struct grant {
    const char *nonce;          /* that the id_token must have; NULL: any */
    const char *subject;        /* that it must be for; NULL: anybody */
    char error[40];             /* out: RFC 6749 section 5.2, cleaned; "": none */
    struct login_tokens tokens; /* out, on GRANT_OK */
};
/* err's text is a sentence for the person, with the issuer's error_description where it gave one. */
enum grant_outcome login_issuer_grant(struct issuer *self, struct text *form, struct grant *grant,
                                      struct error *err);
/* What the issuer says in an error of its own, as a sentence. */
bool login_issuer_complain(const struct issuer_answer *answer, struct error *err);
