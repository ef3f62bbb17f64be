/* SPDX-License-Identifier: Apache-2.0
 *
 * Header names in their plain spelling (headers.h), and the small parts of values. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

/* plain is in its plain spelling; a last '*' stands for any rest. */
bool plain_is(h2o_iovec_t name, const char *plain);
bool plain_is_of(h2o_iovec_t name, const char *const *list); /* ends with NULL */
bool plain_same(h2o_iovec_t a, h2o_iovec_t b);
/* But for case. */
bool plain_is_exactly(h2o_iovec_t name, const char *lower_case);
bool plain_is_token(h2o_iovec_t name);  /* RFC 9110 section 5.6.2 */
bool plain_is_value(h2o_iovec_t value); /* no control character but HT */
h2o_iovec_t plain_trim(h2o_iovec_t bytes);
/* Takes the part up to separator (which goes too), or all, off the front of *rest. */
h2o_iovec_t plain_take(h2o_iovec_t *rest, char separator);
