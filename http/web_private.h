/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parsers of this folder share. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/ip.h"

h2o_iovec_t web_trim(h2o_iovec_t bytes); /* without spaces and tabs at both ends */
/* Takes the part up to separator (which goes too), or all, off the front of *rest, which must not be empty. */
h2o_iovec_t web_take(h2o_iovec_t *rest, char separator);

/* The client that X-Forwarded-For names to a trusted proxy's reader (web_remote_address); false: none, or the
 * list is malformed. */
bool web_forwarded_for(const h2o_headers_t *headers, const struct ip_networks *trusted,
                       struct ip_address *out);
