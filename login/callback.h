/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the browser comes back to: a listener on a loopback address for one sign-in (RFC 8252 section 7.3). Anybody on the
 * machine and any web page can send requests to it; only the one with the sign-in's state counts. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum callback_kind {
    CALLBACK_FOREIGN, /* not for this sign-in */
    CALLBACK_CODE,
    CALLBACK_REFUSED, /* for this sign-in, and it is over: err says why */
};
struct callback_expected { /* borrowed */
    const char *state;
    const char *issuer;
    bool iss_needed; /* RFC 9207 section 2.4: the issuer promised it */
};
/* Judges a request's head, from its first byte to the empty line. The code is in pool. */
enum callback_kind callback_parse(h2o_mem_pool_t *pool, h2o_iovec_t head,
                                  const struct callback_expected *expected, h2o_iovec_t *code,
                                  struct error *err);

struct callback;
/* listen: "127.0.0.1:PORT" or "[::1]:PORT"; NULL: a free port of 127.0.0.1, else of [::1]. */
MUST_CHECK bool callback_listen(h2o_mem_pool_t *pool, const char *listen, struct callback **out,
                                struct error *err);
const char *callback_redirect_uri(const struct callback *self);
/* Waits at most wait_ms. False: nothing that counts came yet. */
MUST_CHECK bool callback_wait(struct callback *self, const struct callback_expected *expected,
                              int64_t wait_ms);
/* After callback_wait: what came; *code is in the pool. */
MUST_CHECK bool callback_code(const struct callback *self, h2o_iovec_t *code, struct error *err);
/* Tells the browser how it went, and stops listening. Accepts NULL. */
void callback_end(struct callback *self, bool signed_in);
