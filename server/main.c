/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line. Exit codes: 0 fine, 1 the config or the start failed, 2 the command line is wrong. */
#include <getopt.h>

#include "commands.h"
#include "login/login.h"
#include "serve.h"

static const char USAGE[] =
    "postern: Okta sign-in for Kubernetes\n"
    "\n"
    "  postern serve -c FILE         run the portal and the webhook that FILE configures\n"
    "  postern check -c FILE         judge FILE and the files that it names, without the network\n"
    "  postern print config -c FILE  the effective values, defaults included, secrets never\n"
    "  postern print webhook-kubeconfig -c FILE     what an API server needs to ask the webhook,\n"
    "  postern print apiserver-flags -c FILE        its flags,\n"
    "  postern print authentication-config -c FILE  and its file of issuers, in OIDC mode;\n"
    "                                docs/clusters.md says where they go\n"
    "  postern sessions list -c FILE [--user NAME|UID] [--json]\n"
    "                                who is signed in, and their kubeconfig sessions\n"
    "  postern sessions end -c FILE ID | --user UID | --all\n"
    "                                ends them, also while Okta is down\n"
    "  postern keys list -c FILE     the signing keys and what each does now\n"
    "  postern keys rotate -c FILE   add a signing key that takes over in ten minutes; nobody is "
    "signed out\n"
    "  postern login --issuer URL --client-id ID  on laptops: a credential plugin for kubectl;\n"
    "                                `postern login --help` has its options\n"
    "  postern version\n"
    "\n"
    "  -c, --config FILE   the configuration (YAML); docs/configuration.md lists the keys\n"
    "      --cluster NAME  print: of this cluster; needed where the configuration has several\n"
    "      --user, --all   sessions: one person's, everybody's\n"
    "      --json          sessions list: as JSON\n"
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

static int run_serve(const struct config *config, const struct command_input *input)
{
    (void)input;
    return serve(config);
}

struct command {
    const char *words[2];
    const char *options; /* the letters of those that it knows beside -c and -h */
    const char *operand; /* what one more word is; NULL: it takes none */
    int (*run)(const struct config *config, const struct command_input *input);
};

static const struct command COMMANDS[] = {
    {{"serve", NULL}, "", NULL, run_serve},
    {{"check", NULL}, "", NULL, command_check},
    {{"print", "config"}, "", NULL, command_print_config},
    {{"print", "webhook-kubeconfig"}, "k", NULL, command_print_webhook},
    {{"print", "apiserver-flags"}, "k", NULL, command_print_flags},
    {{"print", "authentication-config"}, "k", NULL, command_print_authentication},
    {{"sessions", "list"}, "uj", NULL, command_sessions_list},
    {{"sessions", "end"}, "ua", "ID", command_sessions_end},
    {{"keys", "list"}, "", NULL, command_keys_list},
    {{"keys", "rotate"}, "n", NULL, command_keys_rotate},
};

static const struct command *find_command(char **words, int count, const char **operand)
{
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); ++i) {
        const struct command *c = &COMMANDS[i];
        int wanted = c->words[1] != NULL ? 2 : 1;
        int most = wanted + (c->operand != NULL);
        if (count < wanted || count > most || strcmp(words[0], c->words[0]) != 0 ||
            (wanted == 2 && strcmp(words[1], c->words[1]) != 0))
            continue;
        *operand = count > wanted ? words[wanted] : NULL;
        return c;
    }
    return NULL;
}

static int run(const struct command *command, const char *path, const struct command_input *input)
{
    struct config *config = load(path);
    if (config == NULL)
        return 1;
    int code = command->run(config, input);
    config_free(config);
    return code;
}

struct line { /* the command line, read */
    const char *path;
    char given[8]; /* the letters of the options but -c and -h */
    struct command_input input;
};

static void take_option(struct line *self, int option)
{
    size_t count = strlen(self->given);
    if (option == 'k')
        self->input.cluster = optarg;
    else if (option == 'u')
        self->input.user = optarg;
    self->input.all |= option == 'a';
    self->input.json |= option == 'j';
    self->input.now |= option == 'n';
    if (strchr(self->given, option) == NULL)
        self->given[count] = (char)option;
}

static const struct option OPTIONS[] = {
    {"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'},
    {"all", no_argument, NULL, 'a'},          {"cluster", required_argument, NULL, 'k'},
    {"json", no_argument, NULL, 'j'},         {"now", no_argument, NULL, 'n'},
    {"user", required_argument, NULL, 'u'},   {NULL, 0, NULL, 0}};

/* false: the usage was asked for, or is needed, and *code is the end. */
static bool read_options(int argc, char **argv, struct line *out, int *code)
{
    int option;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    while ((option = getopt_long(argc, argv, "c:h", OPTIONS, NULL)) != -1) {
        if (option == 'h' || option == '?') {
            *code = option == 'h' ? usage(stdout, NULL) : usage(stderr, "see the usage");
            return false;
        }
        if (option == 'c')
            out->path = optarg;
        else
            take_option(out, option);
    }
    return true;
}

static int complain_of_option(const struct command *command, const struct line *line)
{
    char unknown = line->given[strspn(line->given, command->options)], complaint[64];
    const struct option *option = OPTIONS;
    while (option->val != unknown)
        ++option;
    snprintf(complaint, sizeof(complaint), "this command does not know --%s", option->name);
    return usage(stderr, complaint);
}

/* The ID of `sessions end` may begin with '-', as options do; so it is known by its form, and taken out before they are
 * read. NULL: none is of that form. */
static const char *take_dashed_id(int *argc, char **argv)
{
    bool is_end = false;
    for (int i = 2; i < *argc && strcmp(argv[i], "--") != 0; ++i) {
        bool is_value = strcmp(argv[i - 1], "--user") == 0 || strcmp(argv[i - 1], "-c") == 0 ||
                        strcmp(argv[i - 1], "--config") == 0;
        if (is_end && !is_value && argv[i][0] == '-' && command_is_session_id(argv[i])) {
            const char *id = argv[i];
            memmove(argv + i, argv + i + 1, (size_t)(*argc - i) * sizeof(argv[0])); /* and NULL */
            --*argc;
            return id;
        }
        is_end |= strcmp(argv[i - 1], "sessions") == 0 && strcmp(argv[i], "end") == 0;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct line line = {.path = NULL};
    int code;
    if (argc > 1 &&
        strcmp(argv[1], "login") == 0) /* it has a command line of its own, and no config */
        return login_run(argc - 1, argv + 1);
    const char *dashed_id = take_dashed_id(&argc, argv);
    if (!read_options(argc, argv, &line, &code))
        return code;
    if (optind == argc)
        return usage(stderr, "a command is missing");
    if (argc - optind == 1 && strcmp(argv[optind], "version") == 0)
        return command_version();
    const struct command *command = find_command(argv + optind, argc - optind, &line.input.operand);
    if (command == NULL)
        return usage(stderr, "there is no such command");
    if (line.given[strspn(line.given, command->options)] != '\0')
        return complain_of_option(command, &line);
    if (line.path == NULL)
        return usage(stderr, "-c FILE is missing");
    if (dashed_id != NULL && line.input.operand != NULL)
        return usage(stderr, "there are two IDs");
    if (dashed_id != NULL)
        line.input.operand = dashed_id;
    return run(command, line.path, &line.input);
}
