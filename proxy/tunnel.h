/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes both ways between two connections, after a 101 (WebSocket, SPDY/3.1, anything). A side is not read while
 * what it sent waits for the other. The end of one side closes both, once what was on its way has been written. */
#pragma once

#include <h2o.h>
#include <stdint.h>

#include "streams.h"

/* Answers req with the 101 whose headers are in req->res, then takes its connection over (web_take_over). upstream
 * and entry are the tunnel's from now on; what is in upstream's input goes on first. idle_ms: 0: none. */
void tunnel_start(h2o_req_t *req, h2o_socket_t *upstream, struct stream_entry *entry,
                  int64_t idle_ms);
