/* SPDX-License-Identifier: Apache-2.0
 *
 * Our own answers in an API server's place: Kubernetes' Status objects, which kubectl shows as it does the API
 * server's own. Never a Retry-After, which makes client-go repeat itself. */
#pragma once

#include <h2o.h>

/* message NULL: the reason's own words. Known codes: 400 401 403 502 503 504. */
void answer_status(h2o_req_t *req, int code, const char *message);
