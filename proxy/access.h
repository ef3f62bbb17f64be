/* SPDX-License-Identifier: Apache-2.0
 *
 * May this person be somebody else? Asked of the API server by SubjectAccessReviews, one for each name (verb
 * "impersonate"), by our service account and without cleverness of our own. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/loop.h"
#include "http/fetch.h"
#include "impersonation.h"

struct access;
struct access_options { /* borrowed */
    const char *upstream, *certificate_authority_file;
    struct account *account;
    struct fetcher *fetcher;
};
struct access *access_new(const struct access_options *options);
void access_free(struct access *self); /* accepts NULL */

enum access_answer {
    ACCESS_ALLOWED,
    ACCESS_DENIED,
    ACCESS_UNKNOWN, /* the API server could not be asked, or did not answer as it should */
};
struct access_wait;
typedef void (*access_cb)(void *ctx, enum access_answer answer);
/* All names must be allowed. What was allowed counts for 5 s. The callback runs once on loop, never before this returns,
 * and not after the cancel. The verdict (a yes) and what was asked for are borrowed until then. */
struct access_wait *access_ask(struct access *self, struct loop *loop,
                               const struct verdict *verdict, const struct impersonation *asked,
                               access_cb cb, void *ctx);
void access_cancel(struct access_wait *wait);
