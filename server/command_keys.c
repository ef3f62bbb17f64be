/* SPDX-License-Identifier: Apache-2.0
 *
 * `keys list` and `keys rotate`: the signing keys on the command line. They work on the directory; a running
 * server sees within a second or two what was done there. */
#include "base/clock.h"
#include "commands.h"
#include "parts.h"
#include "token/token.h"

static int complain(const struct error *err)
{
    fprintf(stderr, "postern: tokens.keys_directory: %s\n", err->text);
    return 1;
}

static void print_keys(const struct token_keys *keys, int64_t now_ms)
{
    struct token_key_info list[TOKEN_KEYS_MOST];
    char created[CLOCK_RFC3339_SIZE], from[CLOCK_RFC3339_SIZE], until[CLOCK_RFC3339_SIZE];
    const char *const row = "%-20s  %-9s  %-20s  %-20s  %-20s  %s\n";
    size_t count = token_keys_list(keys, now_ms, list);
    printf(row, "KID", "ALGORITHM", "CREATED", "SIGNS FROM", "VERIFIES UNTIL", "ROLE");
    for (size_t i = 0; i < count; i++) {
        bool ends = list[i].verify_until_ms != INT64_MAX;
        printf(row, list[i].kid, token_algorithm_name(list[i].algorithm),
               clock_rfc3339(list[i].created_at_ms, created),
               clock_rfc3339(list[i].sign_from_ms, from),
               ends ? clock_rfc3339(list[i].verify_until_ms, until) : "-", list[i].role);
    }
}

int command_keys_list(const struct config *config, const struct command_input *input)
{
    (void)input;
    struct token_keys *keys;
    struct error err;
    if (!token_keys_load(config->tokens.keys_directory, &keys, &err))
        return complain(&err);
    print_keys(keys, clock_wall_ms());
    token_keys_free(keys);
    return 0;
}

static int rotate(const struct config *config, bool at_once)
{
    struct token_keys *keys;
    struct error err;
    int64_t now_ms = clock_wall_ms();
    if (!token_keys_load(config->tokens.keys_directory, &keys, &err))
        return complain(&err);
    bool good = token_keys_rotate(keys, parts_token_algorithm(config), now_ms, at_once, &err);
    if (good)
        print_keys(keys, now_ms);
    token_keys_free(keys);
    return good ? 0 : complain(&err);
}

int command_keys_rotate(const struct config *config, const struct command_input *input)
{
    int code = rotate(config, input->now);
    if (code == 0 && input->now)
        fputs("\nThe new key signs NOW, and all others are DELETED: every token that they signed "
              "is refused\n"
              "as soon as each Postern has looked at the directory (a second or two), and people "
              "make new\n"
              "tokens. Sessions go on. API servers that verify tokens by /keys instead of the "
              "webhook trust\n"
              "a deleted key until they fetch /keys again: restart them.\n",
              stderr);
    return code;
}
