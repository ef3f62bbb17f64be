/* SPDX-License-Identifier: Apache-2.0
 *
 * The person's own browser. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Starts $BROWSER, xdg-open or open with the address, without a shell; -1: there is none, or no screen. The program
 * has nothing of ours but the environment: no descriptor, so that it holds neither the lock nor client-go's pipe. */
pid_t browser_open(const char *url);
/* Whether it ended and says that it could not. */
bool browser_failed(pid_t *browser);
