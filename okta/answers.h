/* SPDX-License-Identifier: Apache-2.0
 *
 * What one HTTP answer of Okta's means, private to okta/. Pure functions: no state, no network. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"
#include "base/user.h"
#include "http/fetch.h"
#include "okta/okta.h"

/* For the metric postern_okta_requests_total{result}. */
enum okta_outcome {
    OUTCOME_OK,
    OUTCOME_NO,           /* a definite no */
    OUTCOME_TOKEN_OLD,    /* userinfo 401 */
    OUTCOME_RATE_LIMITED, /* 429 */
    OUTCOME_REFUSED,      /* any other 3xx or 4xx: our request, our client, Okta's set-up */
    OUTCOME_SERVER_ERROR, /* 5xx */
    OUTCOME_MALFORMED,    /* not what the endpoint answers, or it does not verify */
    OUTCOME_TIMEOUT,
    OUTCOME_UNREACHABLE, /* no whole answer */
    OUTCOMES,
};
const char *okta_outcome_name(enum okta_outcome outcome);

#define ANSWER_CODE_SIZE 64

struct answer {
    enum okta_answer answer;
    enum okta_outcome outcome;
    char code[ANSWER_CODE_SIZE]; /* Okta's or ours; "" on OK */
    struct error error;
};

/* Sets a failure of ours; returns false always. */
bool answer_set(struct answer *out, enum okta_answer answer, enum okta_outcome outcome,
                const char *code, const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same from an error that says why an answer is malformed: UNKNOWN, "malformed". */
bool answer_malformed(struct answer *out, const struct error *err);
/* No whole HTTP answer, after a request that had timeout_ms. */
bool answer_unreachable(struct answer *out, const struct error *err, int64_t took_ms,
                        int64_t timeout_ms);

/* What was sent and must not come back in an error's text. */
struct sent {
    h2o_iovec_t secrets[4]; /* {NULL, 0}: none */
};

/* The token endpoint's (a code or a refresh token was sent). On true, tokens holds what it gave, each
 * checked for its form only; expires_in becomes an absolute time. The caller disposes of tokens. */
MUST_CHECK bool answer_token(const struct fetch_result *result, const struct sent *sent,
                             int64_t asked_wall_ms, struct provider_tokens *tokens,
                             struct answer *out);
/* Userinfo's; the object lives in pool. */
MUST_CHECK bool answer_userinfo(h2o_mem_pool_t *pool, const struct fetch_result *result,
                                const struct sent *sent, struct json **object, struct answer *out);
/* The revocation endpoint's. */
MUST_CHECK bool answer_revoke(const struct fetch_result *result, const struct sent *sent,
                              struct answer *out);
/* A document that anybody may read (discovery, keys): 200 with a JSON type. */
MUST_CHECK bool answer_document(const struct fetch_result *result, struct answer *out);
