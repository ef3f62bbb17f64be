/* SPDX-License-Identifier: Apache-2.0
 *
 * The subcommands but serve. Each takes what stands behind its name and returns the exit code. */
#pragma once

#include "base/config.h"

int command_check(const struct config *config);
int command_print_config(const struct config *config);
int command_version(void);
int command_keys_list(const struct config *config);
int command_keys_rotate(const struct config *config);
int command_keys_rotate_now(const struct config *config); /* for a key that leaked */
