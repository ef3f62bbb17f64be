/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate's parts among themselves. */
#pragma once

#include "gate.h"

struct gate {
    struct gate_parts parts;
};

/* ---- gate.c ---- */
/* An app's url is https://host[:port][/path]. */
const char *gate_path(const struct config_app *app); /* "" or "/path" */
const char *gate_origin(h2o_mem_pool_t *pool, const struct config_app *app);

/* ---- gate_path.c ---- */
/* Whether any server behind us could read the target's path (its query is ignored) as one with a segment ".postern":
 * encoded once or more often, in any case, with parameters, behind empty segments or backslashes. */
bool gate_path_is_ours(h2o_mem_pool_t *pool, h2o_iovec_t target);

/* ---- gate_enter.c ---- */
/* Not signed in here: away to the portal where the browser would come back, else 401. */
void gate_begin(struct gate *self, h2o_req_t *req, const struct config_app *app);
/* A request below /.postern/. */
void gate_own(struct gate *self, h2o_req_t *req, const struct config_app *app);

/* ---- gate_pages.c ---- */
void gate_send_style(h2o_req_t *req);
