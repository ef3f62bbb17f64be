/* SPDX-License-Identifier: Apache-2.0
 *
 * Stylesheet, script and icon, under paths that hold their hash: cached for ever, and new with each build. */
#pragma once

#include <h2o.h>

#include "http/template.h"

#define ASSET_PATH_SIZE 64

struct asset {
    const struct embedded_file *file;
    const char *content_type;
    char path[ASSET_PATH_SIZE]; /* "/assets/style.0123456789abcdef.css" */
};
struct assets {
    struct asset style, script, icon;
};

void assets_init(struct assets *self);
/* GET /assets/<name>. False: there is none of that name, and nothing was answered. */
bool assets_send(const struct assets *self, h2o_req_t *req, h2o_iovec_t name);
