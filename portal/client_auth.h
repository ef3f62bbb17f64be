/* SPDX-License-Identifier: Apache-2.0
 *
 * Which client asks (RFC 6749 section 2.3.1). All our clients are public: they have a name, the cluster's audience,
 * and no secret. Pure functions of what the request holds. */
#pragma once

#include <h2o.h>

#include "http/web.h"

enum client_named {
    CLIENT_NAMED,
    CLIENT_MISSING,   /* no name, or none of an authentication that we have */
    CLIENT_TWICE,     /* in the header and in the form, or several headers */
    CLIENT_MALFORMED, /* the header can't be read */
    CLIENT_SECRET,    /* a secret, and nobody has one */
};

/* authorization: the header's value, and how often it is there. *client_id: decoded, in pool or the form's; set for CLIENT_NAMED
 * only. */
enum client_named client_auth_read(h2o_mem_pool_t *pool, h2o_iovec_t authorization, size_t times,
                                   const struct web_form *form, h2o_iovec_t *client_id);
