/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate in front of apps: who is it, and may they? Browsers that are not signed in here are sent to the portal and come
 * back with a ticket; scripts are told. What passes is of the app's own origin wherever it could change something. */
#pragma once

#include <h2o.h>

#include "base/config.h"
#include "base/crypto.h"
#include "cache/used.h"
#include "waits.h"
#include "webhook/decide.h"

struct gate;
struct gate_parts { /* borrowed */
    const struct decider *decider;
    const struct seal_keys *seal_keys;
    struct used_attempts *used; /* tickets; should outlive a reload */
    struct waits *waits;        /* the same */
};
struct gate *gate_new(const struct gate_parts *parts);
void gate_free(struct gate *self); /* accepts NULL */

typedef void (*gate_ready)(void *ctx, const struct verdict *verdict);
/* Answers itself, or calls ready once, perhaps before it returns and perhaps never (the client left). verdict is a yes, with
 * the person and the app's session, and lives as long as the request; ctx must, too. */
void gate_serve(struct gate *self, h2o_req_t *req, const struct config_app *app, gate_ready ready,
                void *ctx);

/* What went wrong in front of an app or behind it, and what to do. Strings are for people; NULL leaves a part out. */
struct gate_trouble {
    int status;
    const char *title;                   /* a short sentence: what happened */
    const char *what;                    /* the same in whole sentences */
    const char *todo;                    /* what to do */
    const struct config_strings *groups; /* Okta groups that the text speaks of */
    const char *action;                  /* the label of the link to the app */
    bool in_new_tab;                     /* where that link opens */
    bool may_repeat; /* the link of a GET is "Try again", to the very address that was asked for */
};
/* A page for a browser that goes to one, and application/problem+json for all others; never a redirect. */
void gate_refuse(const struct gate *self, h2o_req_t *req, const struct config_app *app,
                 const struct gate_trouble *trouble);
