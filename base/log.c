/* SPDX-License-Identifier: Apache-2.0
 *
 * The log's queue and its writer thread. Whoever logs never waits for the reader of the log: a line that
 * finds the queue full is lost, counted, and told by a line of its own as soon as there is room. */
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/uio.h>
#include <unistd.h>

#include "log_line.h"

#define QUEUE_MAX_LINES 8192
#define QUEUE_MAX_BYTES (4UL * 1024 * 1024)
#define BATCH           64
#define GATHER_NS                                                                                  \
    2000000 /* between two batches: a wake-up and a write for each line cost more than the line */

static atomic_int least_level = LOG_INFO;
static atomic_uint_fast64_t lost_lines;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;    /* there is a line, or stopping */
    struct log_line *first; /* the queue, oldest first */
    struct log_line *last;  /* its end; meaningless while first is NULL */
    size_t lines, bytes;    /* in the queue */
    uint64_t lost_told;     /* how many lost lines have been told; the writer's own */
    bool running, stopping; /* the writer thread */
    pthread_t thread;
    int fd; /* where it writes */
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

/* ---- writing ---- */

/* A pipe may be non-blocking, since whoever shares it with us can set that. */
static bool wait_writable(int fd)
{
    if (errno == EINTR)
        return true;
    if (errno != EAGAIN)
        return false;
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    return poll(&poll_fd, 1, -1) >= 0 || errno == EINTR;
}

/* Drops what was written from the front; returns how many pieces that finished. */
static size_t consume(struct iovec *pieces, size_t count, size_t written)
{
    size_t done = 0;
    while (done < count && written >= pieces[done].iov_len)
        written -= pieces[done++].iov_len;
    if (done < count) {
        pieces[done].iov_base = (char *)pieces[done].iov_base + written;
        pieces[done].iov_len -= written;
    }
    return done;
}

/* What can't be written is lost: there is nowhere to tell it. */
static void write_pieces(int fd, struct iovec *pieces, size_t count)
{
    size_t done = 0;
    while (done < count) {
        ssize_t written = writev(fd, pieces + done, (int)(count - done));
        if (written >= 0) {
            done += consume(pieces + done, count - done, (size_t)written);
        } else if (!wait_writable(fd)) {
            atomic_fetch_add(&lost_lines, count - done);
            return;
        }
    }
}

static void write_and_free(int fd, struct log_line *line)
{
    while (line != NULL) {
        struct log_line *batch[BATCH];
        struct iovec pieces[BATCH];
        size_t count = 0;
        for (; line != NULL && count < BATCH; line = line->next, count++) {
            batch[count] = line;
            pieces[count] = (struct iovec){.iov_base = line->bytes, .iov_len = line->len};
        }
        write_pieces(fd, pieces, count);
        for (size_t i = 0; i < count; i++)
            free(batch[i]);
    }
}

/* ---- the queue ---- */

static bool queue_add(struct log_line *line)
{
    if (queue.lines == QUEUE_MAX_LINES || queue.bytes + line->len > QUEUE_MAX_BYTES)
        return false;
    if (queue.first == NULL)
        queue.first = line;
    else
        queue.last->next = line;
    queue.last = line;
    queue.lines++;
    queue.bytes += line->len;
    return true;
}

/* Waits for lines and takes them all; NULL once stopped and empty. */
static struct log_line *queue_take(void)
{
    pthread_mutex_lock(&queue.lock);
    while (queue.first == NULL && !queue.stopping)
        pthread_cond_wait(&queue.wake, &queue.lock);
    struct log_line *lines = queue.first;
    queue.first = NULL;
    queue.lines = 0;
    queue.bytes = 0;
    pthread_mutex_unlock(&queue.lock);
    return lines;
}

static void tell_lost(void)
{
    uint64_t lost = log_lost();
    if (lost == queue.lost_told)
        return;
    const struct log_field fields[] = {LOG_INT("count", (int64_t)(lost - queue.lost_told)), {0}};
    queue.lost_told = lost;
    write_and_free(queue.fd, log_line_new(LOG_WARN, "log lines lost", NULL, fields));
}

static void *write_lines(void *unused)
{
    const struct timespec gather = {.tv_nsec = GATHER_NS};
    struct log_line *lines;
    while ((lines = queue_take()) != NULL) {
        write_and_free(queue.fd, lines);
        tell_lost();
        nanosleep(&gather, NULL);
    }
    tell_lost();
    return unused;
}

/* ---- the public functions ---- */

void log_start(int fd, enum log_level least)
{
    assert(!queue.running);
    atomic_store(&least_level, (int)least);
    queue.fd = fd;
    queue.stopping = false;
    sigset_t all, before; /* signals are for the main thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&queue.thread, NULL, write_lines, NULL);
    assert(failed == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_mutex_lock(&queue.lock);
    queue.running = true;
    pthread_mutex_unlock(&queue.lock);
}

void log_stop(void)
{
    pthread_mutex_lock(&queue.lock);
    bool running = queue.running;
    queue.running = false;
    queue.stopping = true;
    pthread_cond_signal(&queue.wake);
    pthread_mutex_unlock(&queue.lock);
    if (running)
        pthread_join(queue.thread, NULL);
}

void log_set_level(enum log_level least)
{
    atomic_store(&least_level, (int)least);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&least_level, memory_order_relaxed);
}

bool log_level_parse(const char *name, enum log_level *out)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

uint64_t log_lost(void)
{
    return atomic_load(&lost_lines);
}

static void hand_over(struct log_line *line)
{
    pthread_mutex_lock(&queue.lock);
    bool running = queue.running;
    bool taken = running && queue_add(line);
    if (taken)
        pthread_cond_signal(&queue.wake);
    pthread_mutex_unlock(&queue.lock);
    if (!running) {
        write_and_free(STDERR_FILENO, line);
    } else if (!taken) {
        atomic_fetch_add(&lost_lines, 1);
        free(line);
    }
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    if (log_enabled(level))
        hand_over(log_line_new(level, message, NULL, fields));
}

void log_audit_write(const char *event, const struct log_field *fields)
{
    hand_over(log_line_new(LOG_INFO, "audit", event, fields));
}
