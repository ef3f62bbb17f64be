/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes both ways between two connections, after a 101 (WebSocket, SPDY/3.1, anything). A side is not read while what it
 * sent waits for the other. The end of one side closes both, once what is on its way has been written. */
#pragma once

#include <h2o.h>
#include <stdint.h>

#include "streams.h"

/* Takes both connections over; what is in their input goes on first. entry is taken over, too: malloc'ed, listed,
 * freed with the tunnel. idle_ms: 0: none. */
void tunnel_start(h2o_socket_t *client, h2o_socket_t *upstream, struct stream_entry *entry,
                  int64_t idle_ms);
