/* SPDX-License-Identifier: Apache-2.0
 *
 * What client-go says to a credential plugin and wants to hear from it (client.authentication.k8s.io/v1, v1beta1). */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct exec_info {
    const char *api_version; /* static; the answer has the same */
    bool interactive;        /* client-go says that somebody sits there */
};

/* text: $KUBERNETES_EXEC_INFO; NULL: run by hand, which is answered as v1. */
MUST_CHECK bool exec_info_read(h2o_mem_pool_t *pool, const char *text, struct exec_info *out,
                               struct error *err);
/* One line of JSON, in pool, which wipes it. */
MUST_CHECK bool exec_credential_make(h2o_mem_pool_t *pool, const struct exec_info *info,
                                     h2o_iovec_t token, int64_t expires_s, h2o_iovec_t *out,
                                     struct error *err);
