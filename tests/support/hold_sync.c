/* Preloaded into postern: fdatasync and fsync wait for as long as the file named by HOLD_SYNC exists.
 * While one waits, the file HOLD_SYNC.waiting says so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void hold(void)
{
    const char *file = getenv("HOLD_SYNC");
    char waiting[4096];

    if (file == NULL || access(file, F_OK) != 0)
        return;
    snprintf(waiting, sizeof(waiting), "%s.waiting", file);
    close(open(waiting, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    while (access(file, F_OK) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    unlink(waiting);
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");

    hold();
    return real(fd);
}

int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");

    hold();
    return real(fd);
}
