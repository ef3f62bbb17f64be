/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of `postern login`. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/error.h"

struct login_options {           /* borrowed from argv */
    const char *issuer;          /* https, exactly as the issuer calls itself */
    const char *client_id;       /* the cluster's audience */
    const char *ca_file;         /* PEM; at most one of these two; NULL: the system's roots */
    const char *ca_data;         /* PEM in base64, as kubeconfig has it */
    const char *cache_directory; /* NULL: the usual one */
    const char *listen; /* loopback address with a port; NULL: 127.0.0.1, else [::1], any port */
    bool device;        /* sign in with a code on another device */
    bool no_browser;    /* print the address only */
};

/* False: *code is the end (0 the usage was asked for, 2 the line is wrong), and all is said. */
MUST_CHECK bool options_read(int argc, char **argv, struct login_options *out, int *code);
/* The text of the CA that is to be trusted instead of the system's, in pool; NULL where none was given. */
MUST_CHECK bool options_ca(h2o_mem_pool_t *pool, const struct login_options *self, const char **out,
                           struct error *err);
