/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line. Exit codes: 0 fine, 1 the config or the start failed, 2 the command line is wrong. */
#include <getopt.h>

#include "commands.h"
#include "serve.h"

static const char USAGE[] =
    "postern: Okta sign-in for Kubernetes\n"
    "\n"
    "  postern serve -c FILE         run the portal and the webhook that FILE configures\n"
    "  postern check -c FILE         judge FILE and the files that it names, without the network\n"
    "  postern print config -c FILE  the effective values, defaults included, secrets never\n"
    "  postern keys list -c FILE     the signing keys and what each does now\n"
    "  postern keys rotate -c FILE   add a signing key that takes over in ten minutes; nobody is "
    "signed out\n"
    "  postern version\n"
    "\n"
    "  -c, --config FILE   the configuration (YAML); docs/configuration.md lists the keys\n"
    "      --now           keys rotate, for a key that leaked: the new key signs at once, all "
    "others are\n"
    "                      deleted, and the tokens that they signed are refused\n"
    "  -h, --help          this text\n"
    "\n"
    "serve logs one JSON object a line on stderr, reloads on SIGHUP and when a file of the\n"
    "configuration changes, and stops on SIGTERM or SIGINT after finishing what is in flight.\n";

static int usage(FILE *out, const char *complaint)
{
    if (complaint != NULL)
        fprintf(out, "postern: %s\n\n", complaint);
    fputs(USAGE, out);
    return complaint != NULL ? 2 : 0;
}

static struct config *load(const char *path)
{
    h2o_mem_pool_t pool;
    struct config_problems problems = {.count = 0};
    h2o_mem_init_pool(&pool);
    text_init(&problems.text, &pool);
    struct config *config = config_load(path, &problems);
    if (config == NULL)
        fwrite(problems.text.bytes, 1, problems.text.len, stderr);
    h2o_mem_clear_pool(&pool);
    return config;
}

struct command {
    const char *words[2];
    int (*run)(const struct config *config);
    int (*run_now)(const struct config *config); /* with --now; NULL: it knows no --now */
};

static const struct command COMMANDS[] = {
    {{"serve", NULL}, serve, NULL},
    {{"check", NULL}, command_check, NULL},
    {{"print", "config"}, command_print_config, NULL},
    {{"keys", "list"}, command_keys_list, NULL},
    {{"keys", "rotate"}, command_keys_rotate, command_keys_rotate_now},
};

static const struct command *find_command(char **words, int count)
{
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); ++i) {
        const struct command *c = &COMMANDS[i];
        int wanted = c->words[1] != NULL ? 2 : 1;
        if (count == wanted && strcmp(words[0], c->words[0]) == 0 &&
            (wanted == 1 || strcmp(words[1], c->words[1]) == 0))
            return c;
    }
    return NULL;
}

static int run(int (*command)(const struct config *config), const char *path)
{
    struct config *config = load(path);
    if (config == NULL)
        return 1;
    int code = command(config);
    config_free(config);
    return code;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"now", no_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    const char *path = NULL;
    bool now = false;
    int option;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (option == 'h')
            return usage(stdout, NULL);
        if (option == 'n')
            now = true;
        else if (option == 'c')
            path = optarg;
        else
            return usage(stderr, "see the usage");
    }
    if (optind == argc)
        return usage(stderr, "a command is missing");
    if (argc - optind == 1 && strcmp(argv[optind], "version") == 0)
        return command_version();
    const struct command *command = find_command(argv + optind, argc - optind);
    if (command == NULL)
        return usage(stderr, "there is no such command");
    if (path == NULL)
        return usage(stderr, "-c FILE is missing");
    if (now && command->run_now == NULL)
        return usage(stderr, "--now is for keys rotate");
    return run(now ? command->run_now : command->run, path);
}
