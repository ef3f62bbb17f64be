/* SPDX-License-Identifier: Apache-2.0
 *
 * One at a time: flock, which the kernel lets go of when its holder dies in whatever way. The locked file's content is
 * why its last holder failed, for those who waited for it: twenty kubectls would else open twenty browser tabs, one after
 * the other, for somebody who does not want to sign in. */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "terminal.h"

#define LOOK_EVERY_MS 50
#define SAY_AFTER_MS  1500

static int64_t wall_ns(struct timespec t)
{
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static bool wait_for(struct cache *self, int fd, int64_t wait_ms, struct error *err)
{
    int64_t began_ms = clock_mono_ms();
    bool said = false;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int64_t waited_ms = clock_mono_ms() - began_ms;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set(err, ERROR_UPSTREAM, "%s/%s: %s", self->path, self->lock_name,
                             strerrordesc_np(errno));
        if (waited_ms > wait_ms)
            return error_set(err, ERROR_REJECTED,
                             "another `postern login` did not finish its sign-in; it still holds "
                             "%s/%s",
                             self->path, self->lock_name);
        if (waited_ms > SAY_AFTER_MS && !said)
            terminal_say("waiting for another `postern login` for the same cluster, which is "
                         "asking the portal or waiting for you to sign in");
        said = waited_ms > SAY_AFTER_MS;
        self->waited = true;
        pause_ms(LOOK_EVERY_MS);
    }
    return true;
}

bool cache_lock(struct cache *self, int64_t wait_ms, struct error *err)
{
    struct timespec now;
    if (self->directory == -1)
        return true;
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now); /* the clock of a file's times */
    self->asked_ns = wall_ns(now);
    int fd = openat(self->directory, self->lock_name,
                    O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd == -1)
        return error_set(err, ERROR_UPSTREAM, "%s/%s: %s", self->path, self->lock_name,
                         strerrordesc_np(errno));
    if (!wait_for(self, fd, wait_ms, err)) {
        close(fd);
        return false;
    }
    self->lock = fd;
    return true;
}

bool cache_failed_meanwhile(const struct cache *self, struct error *err)
{
    char text[sizeof(err->text)];
    struct stat status;
    if (!self->waited || self->lock == -1 || fstat(self->lock, &status) != 0 ||
        wall_ns(status.st_mtim) < self->asked_ns)
        return false;
    ssize_t len = pread(self->lock, text, sizeof(text) - 1, 0);
    if (len <= 0)
        return false;
    text[len] = '\0';
    error_set(err, ERROR_UPSTREAM, "%s", terminal_clean(text));
    return true;
}

void cache_note_failure(const struct cache *self, const struct error *err)
{
    if (self->lock == -1 || ftruncate(self->lock, 0) != 0 || err == NULL)
        return;
    /* Where it can't be written, those who wait try for themselves. */
    ssize_t put = pwrite(self->lock, err->text, strlen(err->text), 0);
    (void)put;
}
