/* SPDX-License-Identifier: Apache-2.0
 *
 * The head of a request as it is sent to an upstream. */
#pragma once

#include "stream.h"

/* Request line, Host, the request's headers, and of our own Connection and Upgrade for an upgrade and the length of
 * req->entity (RFC 9112 sections 3, 6.3; RFC 9110 section 7.8). In req's pool. Asserts that all of it is well formed. */
h2o_iovec_t stream_head(h2o_req_t *req, const struct proxy_request *request);
