/* SPDX-License-Identifier: Apache-2.0
 *
 * The bearer token of a request to an API server: from Authorization (RFC 6750 2.1), or, as browsers can set no
 * header on a WebSocket, from a subprotocol "base64url.bearer.authorization.k8s.io.<base64url of the token>"
 * (Kubernetes; peers 39). */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "headers.h"

enum bearer { BEARER_FOUND, BEARER_NONE, BEARER_MALFORMED /* or in two places */ };

/* out lives in the request's pool. */
enum bearer bearer_of(h2o_req_t *req, h2o_iovec_t *out);
/* Takes such tokens out of the Sec-WebSocket-Protocol headers that go on, which go where nothing else stood there. */
void bearer_drop(struct header_list *list);
