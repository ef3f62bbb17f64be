/* SPDX-License-Identifier: Apache-2.0
 *
 * The running server: wires every folder together, and ends it in order. */
#pragma once

#include "base/config.h"
#include "cache/sessions.h"

/* Runs until SIGTERM or SIGINT. Returns the process's exit code; a failure to start is one log line. */
int serve(const struct config *config);
/* The audit line of a session that has ended. */
void serve_audit_ended(const struct session_ended *ended);
