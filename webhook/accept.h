/* SPDX-License-Identifier: Apache-2.0
 *
 * Content negotiation, as much of it as the webhook has. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

/* True where the Accept headers, or their absence, allow an application/json answer. */
bool accept_admits_json(const h2o_headers_t *headers);
