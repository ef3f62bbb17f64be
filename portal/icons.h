/* SPDX-License-Identifier: Apache-2.0
 *
 * The apps' icons: of the config's files, or our own by kind, under paths that hold their hash. */
#pragma once

#include <h2o.h>

#include "portal/portal.h"

/* Where the icon of proxy.apps[app] is; borrowed. */
const char *icons_path(const struct portal_icons *self, unsigned app);
/* GET /apps/icons/<name>. False: there is none of that name, and nothing was answered. */
bool icons_send(const struct portal_icons *self, h2o_req_t *req, h2o_iovec_t name);

enum icon_form { ICON_NONE, ICON_SVG, ICON_PNG };
/* By what it holds: a PNG's signature, or UTF-8 whose first element is <svg>. Nothing more is promised: it is shown as an
 * image, and sandboxed where somebody opens it by itself. */
enum icon_form icon_form_of(const char *bytes, size_t len);
