/* Preloaded into postern: fdatasync and fsync wait for as long as the file named by HOLD_SYNC exists.
 * While one waits, the file HOLD_SYNC.waiting says so. While the file HOLD_SYNC.fail exists they fail.
 * While HOLD_SYNC.later exists the wall clock is a minute ahead. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
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

static int synced(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *file = getenv("HOLD_SYNC");
    char fail[4096];

    hold();
    if (file != NULL && snprintf(fail, sizeof(fail), "%s.fail", file) > 0 &&
        access(fail, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

int fdatasync(int fd)
{
    return synced("fdatasync", fd);
}

int fsync(int fd)
{
    return synced("fsync", fd);
}

/* A minute later than it is, while HOLD_SYNC.later is there. */
int clock_gettime(clockid_t id, struct timespec *now)
{
    const char *file = getenv("HOLD_SYNC");
    char later[4096];
    int failed = (int)syscall(SYS_clock_gettime, id, now); /* dlsym may ask for the time itself */

    if (failed == 0 && id == CLOCK_REALTIME && file != NULL &&
        snprintf(later, sizeof(later), "%s.later", file) > 0 && access(later, F_OK) == 0)
        now->tv_sec += 60;
    return failed;
}
