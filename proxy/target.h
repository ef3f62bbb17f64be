/* SPDX-License-Identifier: Apache-2.0
 *
 * The target of a request (RFC 9112 section 3.2.1), before it goes on. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/error.h"

/* Whether a request's target (raw, with its query) may go on: it begins with one '/', is of visible ASCII without
 * '#', and its path has no '\', no segment "." or ".." (also encoded, its '/' too, also with ";…" behind), no %00 and no broken
 * escape (peers 35, 36). */
MUST_CHECK bool target_check(h2o_iovec_t target, struct error *err);
