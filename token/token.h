/* SPDX-License-Identifier: Apache-2.0
 *
 * Our signing keys and the portal tokens that they sign: short-lived JWTs (RFC 7519), bound to a
 * kubeconfig session (sid) and a cluster (aud). This folder also verifies the rare JWTs of others
 * (token/jwt.h). */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"

#define TOKEN_MAX_BYTES 8192 /* a longer bearer is not ours */

/* ---- key ring (design section 5): roles follow from the clock alone ---- */
struct token_keys; /* shared by all threads; whoever reads never waits for a rotation */

enum token_algorithm { TOKEN_ES256, TOKEN_RS256 };                /* the RSA keys have 2048 bits */
const char *token_algorithm_name(enum token_algorithm algorithm); /* as in a JWT's alg */
MUST_CHECK bool token_algorithm_parse(const char *name, enum token_algorithm *out);

/* Loads every key file of the directory (made with mode 0700 if missing); makes the first key where there
 * is none. Where the key that signs is of another algorithm, adds one of this that signs at once; the others verify
 * on, and one that waits to sign goes. Refused when the directory or a key file can be read or written by others, or is malformed; the error
 * names the file. */
MUST_CHECK bool token_keys_open(const char *directory, enum token_algorithm algorithm,
                                int64_t now_ms, struct token_keys **out, struct error *err);
/* The same without making anything, for `check`; an absent or empty directory is fine. */
MUST_CHECK bool token_keys_check(const char *directory, struct error *err);
/* The same, to look at: it may hold no key, and its directory may be missing. */
MUST_CHECK bool token_keys_load(const char *directory, struct token_keys **out, struct error *err);
void token_keys_free(struct token_keys *self);
/* The JWKS (RFC 7517) with every key that may verify now or will sign soon. */
void token_keys_write_jwks(const struct token_keys *self, int64_t now_ms, struct json_writer *out);

struct token_key_rules {
    enum token_algorithm algorithm; /* of the next key */
    int64_t rotate_every_ms;        /* a key that has signed so long gets a successor; 0: never */
};
/* To be called every second or so, by one thread at a time: takes up what has changed in the directory,
 * adds the next key when it is time, and deletes keys that verify nothing any more. Several processes may share a
 * directory: one of them does it, all see it. After a failure the ring is the last one that was good, and
 * another call tries again. *changed: the ring has other keys than before; also set on failure. */
MUST_CHECK bool token_keys_tend(struct token_keys *self, const struct token_key_rules *rules,
                                int64_t now_ms, bool *changed, struct error *err);
/* Adds a key that signs in ten minutes, when everybody who verifies has seen it; REJECTED where one waits
 * already. at_once, for a key that leaked: it signs now, and all others are deleted. */
MUST_CHECK bool token_keys_rotate(struct token_keys *self, enum token_algorithm algorithm,
                                  int64_t now_ms, bool at_once, struct error *err);

#define TOKEN_KEYS_MOST 64
#define TOKEN_KID_SIZE  24 /* with its NUL */

struct token_key_info {
    char kid[TOKEN_KID_SIZE];
    enum token_algorithm algorithm;
    int64_t created_at_ms, sign_from_ms;
    int64_t verify_until_ms; /* INT64_MAX while there is no later key */
    const char *role;        /* "next" "signs" "verifies" "over" */
};
/* In the order in which they sign; at most TOKEN_KEYS_MOST. */
size_t token_keys_list(const struct token_keys *self, int64_t now_ms, struct token_key_info *out);

/* ---- issue ---- */
struct token_profile { /* what an API server that asks nobody must find in the token itself */
    const char *name, *preferred_username, *email; /* NULL: left out */
    bool email_verified;                           /* goes with email */
    const char *const *groups;
    size_t group_count;
};
struct token_claims {
    const char *issuer;   /* iss: portal.url with issuer_path */
    const char *subject;  /* sub: Okta's verified sub */
    const char *audience; /* aud */
    const char *session;  /* sid: the kubeconfig session's public id */
    int64_t now_ms;       /* picks the key that signs; iat is its second, nbf a little before */
    int64_t lifetime_s;   /* exp = iat + lifetime_s */
    const char *nonce;    /* as the client gave it (OIDC Core 3.1.2.1); NULL or "": none */
    const struct token_profile *profile; /* NULL: none */
};
/* The signed token in pool; *jti_out (may be NULL) gets the jti, in pool. REJECTED: with these claims it would be
 * longer than TOKEN_MAX_BYTES; nothing is ever left out of it. */
MUST_CHECK bool token_issue(h2o_mem_pool_t *pool, const struct token_keys *keys,
                            const struct token_claims *claims, h2o_iovec_t *out,
                            const char **jti_out, struct error *err);

/* ---- verify ---- */
enum token_verdict {
    TOKEN_GOOD,
    TOKEN_FOREIGN,     /* not of our form: refused by comparing bytes */
    TOKEN_UNKNOWN_KEY, /* of our form with a kid of ours that is not in the ring (yet) */
    TOKEN_BAD,         /* malformed or wrongly signed, or claims missing or of a wrong type */
    TOKEN_WRONG_ISSUER,
    TOKEN_WRONG_AUDIENCE,
    TOKEN_EXPIRED,
    TOKEN_NOT_YET, /* nbf in the future beyond the leeway */
};
const char *token_verdict_name(enum token_verdict verdict); /* snake_case, for logs and metrics */

#define TOKEN_ID_SIZE 40 /* a sid or jti with its NUL */

struct
    token_info { /* of a good token, and of an expired or foreign-audience one as far as it is known */
    char session[TOKEN_ID_SIZE]; /* sid */
    char jti[TOKEN_ID_SIZE];
    int64_t expires_at_s;
};

struct
    token_verifier; /* keys, issuer, leeway, and the bounded table of verified tokens; shared by all threads */
struct token_verifier *token_verifier_new(const struct token_keys *keys, const char *issuer,
                                          int64_t leeway_s, size_t remember);
void token_verifier_free(struct token_verifier *self);
/* Constant memory, no allocation that outlives it but the remembered token. audience is compared exactly
 * with a string aud, or must be one entry of an array. */
enum token_verdict token_verify(struct token_verifier *self, h2o_iovec_t token,
                                const char *audience, int64_t now_s, struct token_info *out);
