/* SPDX-License-Identifier: Apache-2.0
 *
 * TokenReview as JSON (authentication.k8s.io, v1 and v1beta1), in and out. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/config.h"
#include "base/error.h"
#include "base/json.h"
#include "webhook/decide.h"

#define REVIEW_MAX_DEPTH     16
#define REVIEW_MAX_AUDIENCES 100

struct review {              /* all in the pool of the parse */
    const char *api_version; /* a constant: the answer says the same */
    h2o_iovec_t token;       /* not empty */
    h2o_iovec_t *audiences;  /* of spec.audiences; may be none */
    size_t audience_count;
};
/* BAD_INPUT, with a text that holds nothing of the body, for whatever is no TokenReview with a token. */
MUST_CHECK bool review_parse(h2o_mem_pool_t *pool, h2o_iovec_t body, struct review *out,
                             struct error *err);

/* The entries of spec.audiences that are configured too, without doubles, into common (room for
 * audience_count). Returns how many. */
size_t review_common_audiences(const struct review *review, const struct config_strings *configured,
                               h2o_iovec_t *common);

struct review_answer {
    const char *api_version; /* as asked */
    const struct verdict *verdict;
    const h2o_iovec_t *audiences; /* status.audiences of a yes; none: left out */
    size_t audience_count;
};
/* For web_send_json. Says nothing of a no but that it is one. */
struct json_writer *review_write(h2o_mem_pool_t *pool, const struct review_answer *answer);
