/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kinds of apps need: which headers and cookies they would believe and must not get, what they are told of the
 * person, what of them is closed, and which of their parts answers. Pure functions. (peers 29-32, 37, 38) */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/config.h"
#include "cache/identities.h"
#include "headers.h"

/* The path below which it lives: "", or "/path"; borrowed from its url. */
h2o_iovec_t app_base(const struct config_app *app);
/* Whether a request's target is at or below that path, as it is written: another spelling of it is another path. */
bool app_is_below(const struct config_app *app, h2o_iovec_t target);

/* What must not reach it, besides what never goes on. */
const struct header_rules *app_rules(const struct config_app *app);
/* Whether the target, in any spelling that a server could read as such, is one with which a browser would set the token
 * that the app uses, or begin a sign-in of the app's own. */
bool app_is_closed(h2o_mem_pool_t *pool, const struct config_app *app, h2o_iovec_t target);

enum app_part { APP_WEB, APP_API, APP_AUTH, APP_PARTS };
/* Of an app in one part: APP_WEB. */
enum app_part app_part_of(const struct config_app *app, h2o_iovec_t target);
/* Its origin; NULL: the app has no such part. */
const char *app_upstream(const struct config_app *app, enum app_part part);

/* Whether it is told a portal token of its cluster. */
bool app_wants_token(const struct config_app *app);
struct app_person {
    const struct identity *identity; /* with a username */
    h2o_iovec_t token;               /* where the app wants one */
};
/* Adds what the app is told of the person. Groups with a comma are left out of lists, an unverified email everywhere.
 * False, with nothing added, where the username can't stand in a header or the token is missing: then nothing may be sent. */
MUST_CHECK bool app_add_person(const struct config_app *app, const struct app_person *person,
                               struct header_list *list);
