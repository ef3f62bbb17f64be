/* SPDX-License-Identifier: Apache-2.0
 *
 * What API servers need to believe the webhook's certificate. */
#pragma once

#include "base/config.h"

/* The CA of webhook.tls.certificate_file, in PEM, in pool: webhook.certificate_authority_file, which must vouch for
 * it, else the last certificate of the chain, where that is a CA's or signed by itself. NULL: neither. */
MUST_CHECK bool anchor_load(h2o_mem_pool_t *pool, const struct config *config, char **out,
                            struct error *err);
/* Whether the first certificate of the file is for that host, a DNS name or a numeric address. */
bool anchor_certificate_is_for(const char *certificate_file, const char *host);
