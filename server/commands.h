/* SPDX-License-Identifier: Apache-2.0
 *
 * The subcommands but serve. Each takes what stands behind its name and returns the exit code. */
#pragma once

#include "base/config.h"

struct command_input {   /* what stands on the command line beside the command and -c FILE */
    const char *operand; /* NULL: none; so the next two */
    const char *cluster, *user;
    bool now, json, all;
};

int command_version(void);
int command_check(const struct config *config, const struct command_input *input);
int command_print_config(const struct config *config, const struct command_input *input);
int command_print_webhook(const struct config *config, const struct command_input *input);
int command_print_flags(const struct config *config, const struct command_input *input);
int command_print_authentication(const struct config *config, const struct command_input *input);
int command_sessions_list(const struct config *config, const struct command_input *input);
/* Whether the word has the form of a session's id. */
bool command_is_session_id(const char *word);
int command_sessions_end(const struct config *config, const struct command_input *input);
int command_keys_list(const struct config *config, const struct command_input *input);
int command_keys_rotate(const struct config *config, const struct command_input *input);
