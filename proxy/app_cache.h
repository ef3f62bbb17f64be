/* SPDX-License-Identifier: Apache-2.0
 *
 * What a person sees of an app is no cache's to keep that others share. */
#pragma once

#include <h2o.h>

/* Rewrites Cache-Control of the answer in req->res (RFC 9111 section 5.2.2): where none stands there it becomes no-store;
 * else it becomes private, and what lets shared caches keep it goes. What is for shared caches alone goes, too. */
void app_cache_private(h2o_req_t *req);
