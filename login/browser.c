/* SPDX-License-Identifier: Apache-2.0
 *
 * See browser.h. */
#include "browser.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* NULL: not set, or empty. */
static const char *setting(const char *name)
{
    const char *value = getenv(name); /* NOLINT(concurrency-mt-unsafe): nobody sets it */
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool set_up(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes)
{
    bool good = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID) == 0;
    for (int fd = 0; fd <= 2; fd++)
        good = good && posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0) == 0;
    return good && posix_spawn_file_actions_addclosefrom_np(actions, 3) == 0;
}

static pid_t start(const char *program, const char *url)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char *name = strdup(program), *address = strdup(url);
    char *argv[] = {name, address, NULL};
    pid_t child = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    if (name == NULL || address == NULL || !set_up(&actions, &attributes) ||
        posix_spawnp(&child, program, &actions, &attributes, argv, environ) != 0)
        child = -1;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(name);
    free(address);
    return child;
}

pid_t browser_open(const char *url)
{
    pid_t child = -1;
    const char *chosen = setting("BROWSER");
    if (chosen != NULL)
        child = start(chosen, url);
    /* Without a screen xdg-open looks for browsers in text, which need the terminal that they don't get. */
    bool screen = setting("DISPLAY") != NULL || setting("WAYLAND_DISPLAY") != NULL;
    if (child == -1 && screen)
        child = start("xdg-open", url);
    if (child == -1 && screen)
        child = start("open", url);
    return child;
}

bool browser_failed(pid_t *browser)
{
    int status = 0;
    if (*browser == -1 || waitpid(*browser, &status, WNOHANG) != *browser)
        return false;
    *browser = -1;
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}
