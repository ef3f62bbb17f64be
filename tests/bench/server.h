/* SPDX-License-Identifier: Apache-2.0
 *
 * What the bench's own servers share: one listener of ours (server/listener.h) on one worker, until SIGTERM. */
#pragma once

#include "server/tls.h"
#include "server/worker.h"

struct bench_server {
    struct config_address address;
    struct config_tls files;
    struct listener_kind kind;
    h2o_pathconf_t *root; /* hang the handler there */
};

/* Prints what is wrong and ends the process with it. options->files is set here. */
void bench_open(struct bench_server *self, char **arguments, struct tls_options *options);
void bench_handle(struct bench_server *self, int (*on_request)(h2o_handler_t *, h2o_req_t *));
/* Prints "ready", serves until SIGTERM; the process's exit code. */
int bench_serve(struct bench_server *self);
/* With a message on stderr. */
_Noreturn void bench_fail(const char *message);
