/* SPDX-License-Identifier: Apache-2.0
 *
 * The log: every line is one JSON object whatever it is given, levels, the writer thread with a reader that
 * stalls, and lines that are lost and told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"

struct fixture {
    h2o_mem_pool_t pool;
    int pipe[2];
};

static int set_up(void **state)
{
    struct fixture *f = h2o_mem_alloc(sizeof(*f));
    h2o_mem_init_pool(&f->pool);
    assert_int_equal(pipe(f->pipe), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    close(f->pipe[0]);
    h2o_mem_clear_pool(&f->pool);
    free(f);
    return 0;
}

/* Everything that is written until the other end closes. */
static void read_all(int fd, struct text *out)
{
    char buffer[4096];
    ssize_t n;
    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        text_add(out, buffer, (size_t)n);
    assert_int_equal(n, 0);
}

/* Stops the log, closes the pipe, and takes what was written apart into an array of lines' objects. */
static struct json **stop_and_read(struct fixture *f, size_t *count)
{
    log_stop();
    close(f->pipe[1]);
    struct text text;
    text_init(&text, &f->pool);
    read_all(f->pipe[0], &text);
    struct json **lines = h2o_mem_alloc_pool(&f->pool, (text.len / 16 + 1) * sizeof(*lines));
    *count = 0;
    for (char *at = text.bytes, *end; at != NULL && *at != '\0'; at = end + 1) {
        end = strchr(at, '\n');
        assert_non_null(end);
        struct error err = {0};
        if (!json_parse(&f->pool, h2o_iovec_init(at, end - at), NULL, &lines[(*count)++], &err))
            fail_msg("%s: %.*s", err.text, (int)(end - at), at);
    }
    return lines;
}

static void assert_member(const struct json *line, const char *key, const char *value)
{
    const struct json *member = json_member(line, key);
    if (member == NULL)
        fail_msg("no %s", key);
    assert_string_equal(member->text.base, value);
}

static void test_one_line(void **state)
{
    struct fixture *f = *state;
    size_t count;
    log_start(f->pipe[1], LOG_INFO);
    log_warn("jwks fetch failed", LOG_STR("kid", "k1"), LOG_INT("status", 503),
             LOG_STR("none", NULL), LOG_BOOL("again", true), LOG_INT("least", INT64_MIN));
    struct json **lines = stop_and_read(f, &count);
    assert_int_equal(count, 1);
    static const char *const keys[] = {"time",   "level", "message", "kid",
                                       "status", "again", "least"};
    const struct json *member = lines[0]->first;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++, member = member->next)
        assert_string_equal(member->key.base, keys[i]);
    assert_null(member);
    assert_member(lines[0], "level", "warn");
    assert_member(lines[0], "message", "jwks fetch failed");
    assert_member(lines[0], "kid", "k1");
    assert_member(lines[0], "status", "503");
    assert_member(lines[0], "least", "-9223372036854775808");
    assert_true(json_member(lines[0], "again")->boolean);
    int y, mo, d, h, mi, s, ms, len = 0;
    sscanf(json_member(lines[0], "time")->text.base, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &y, &mo, &d,
           &h, &mi, &s, &ms, &len);
    assert_int_equal(len, 24);
}

static void test_a_message_alone(void **state)
{
    struct fixture *f = *state;
    size_t count;
    log_start(f->pipe[1], LOG_INFO);
    log_error("bare");
    struct json **lines = stop_and_read(f, &count);
    assert_int_equal(count, 1);
    assert_int_equal(lines[0]->count, 3);
    assert_member(lines[0], "level", "error");
}

static void test_levels(void **state)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    struct fixture *f = *state;
    enum log_level level;
    for (int i = 0; i < 4; i++) {
        assert_true(log_level_parse(names[i], &level));
        assert_int_equal(level, i);
    }
    assert_false(log_level_parse("warning", &level));
    assert_false(log_level_parse("", &level));

    size_t count;
    log_start(f->pipe[1], LOG_WARN);
    assert_false(log_enabled(LOG_INFO));
    log_debug("no");
    log_info("no");
    log_write(LOG_INFO, "no", NULL);
    log_warn("yes");
    log_error("yes");
    struct json **lines = stop_and_read(f, &count);
    assert_int_equal(count, 2);
    assert_member(lines[0], "level", "warn");
    assert_member(lines[1], "level", "error");
}

static void test_audit_is_written_at_every_level(void **state)
{
    struct fixture *f = *state;
    size_t count;
    log_start(f->pipe[1], LOG_ERROR);
    log_audit("sign_in", LOG_STR("user", "ada"));
    log_audit("sign_out");
    struct json **lines = stop_and_read(f, &count);
    assert_int_equal(count, 2);
    assert_member(lines[0], "level", "info");
    assert_member(lines[0], "message", "audit");
    assert_string_equal(lines[0]->first->next->next->next->key.base, "event");
    assert_member(lines[0], "event", "sign_in");
    assert_member(lines[0], "user", "ada");
    assert_member(lines[1], "event", "sign_out");
}

/* peers 54: nothing in a value begins a new line, ends the object, or reaches a terminal as a command. */
static void test_hostile_values(void **state)
{
    static const struct {
        const char *value;
        const char *decoded; /* NULL: as it is */
        const char *raw;     /* what stands in the line; NULL: the value */
    } cases[] = {
        {"\",\"level\":\"error", NULL, "\\\",\\\"level\\\":\\\"error"},
        {"a\r\nb\rc\x1b[31m\x7f\t", NULL, "a\\u000d\\nb\\u000dc\\u001b[31m\\u007f\\u0009"},
        {"back\\slash", NULL, "back\\\\slash"},
        {"\xc2\x9b"
         "31m\xc2\xa0",
         NULL, "\\u009b31m\xc2\xa0"}, /* CSI as one character */
        {"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", NULL, NULL},
        {"\xff\xc0\xaf|\xed\xa0\x80|\xe2\x82",
         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|"
         "\xef\xbf\xbd\xef\xbf\xbd",
         "\xef\xbf\xbd"},
        {"%s%n</pre><script>", NULL, NULL},
        {"", NULL, NULL},
    };
    struct fixture *f = *state;
    enum { CASES = sizeof(cases) / sizeof(cases[0]) };
    log_start(f->pipe[1], LOG_INFO);
    for (size_t i = 0; i < CASES; i++)
        log_info(cases[i].value, LOG_STR("value", cases[i].value));
    log_stop();
    close(f->pipe[1]);
    struct text text;
    text_init(&text, &f->pool);
    read_all(f->pipe[0], &text);
    char *at = text.bytes;
    for (size_t i = 0; i < CASES; i++) {
        char *end = strchr(at, '\n');
        struct json *line;
        assert_true(json_parse(&f->pool, h2o_iovec_init(at, end - at), NULL, &line, NULL));
        const char *expected = cases[i].decoded != NULL ? cases[i].decoded : cases[i].value;
        assert_member(line, "message", expected);
        assert_member(line, "value", expected);
        *end = '\0';
        assert_non_null(strstr(at, cases[i].raw != NULL ? cases[i].raw : cases[i].value));
        at = end + 1;
    }
    assert_string_equal(at, "");
}

static void test_long_values_are_cut_between_characters(void **state)
{
    struct fixture *f = *state;
    char value[2000];
    size_t count;
    memset(value, 'v', sizeof(value));
    value[511] = '\xc3'; /* a character that lies across the limit of 512 */
    value[512] = '\xa4';
    value[sizeof(value) - 1] = '\0';
    log_start(f->pipe[1], LOG_INFO);
    log_info("long", LOG_STR("value", value));
    value[512] = '\0';
    value[511] = 'v';
    log_info("just", LOG_STR("value", value));
    struct json **lines = stop_and_read(f, &count);
    assert_int_equal(count, 2);
    const struct json *cut = json_member(lines[0], "value");
    assert_int_equal(cut->text.len, 511 + 3);
    assert_string_equal(cut->text.base + 510, "v\xe2\x80\xa6");
    assert_member(lines[1], "value", value);
}

static void test_long_lines_grow(void **state)
{
    struct fixture *f = *state;
    char value[513];
    size_t count;
    memset(value, '\x01', 512); /* six bytes each once escaped */
    value[512] = '\0';
    log_start(f->pipe[1], LOG_INFO);
    log_info("big", LOG_STR("a", value), LOG_STR("b", value), LOG_STR("c", value),
             LOG_STR("d", value));
    struct json **lines = stop_and_read(f, &count);
    assert_int_equal(count, 1);
    assert_member(lines[0], "d", value);
}

/* ---- threads ---- */

#define WRITERS 4
#define LINES   500

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++)
        log_info("line", LOG_INT("writer", (intptr_t)arg), LOG_INT("number", i));
    return NULL;
}

struct reading {
    int fd;
    struct text text;
};

static void *read_in_thread(void *arg)
{
    struct reading *reading = arg;
    read_all(reading->fd, &reading->text);
    return NULL;
}

static void start_reading(struct fixture *f, struct reading *reading, pthread_t *thread)
{
    reading->fd = f->pipe[0];
    text_init(&reading->text, &f->pool);
    assert_int_equal(pthread_create(thread, NULL, read_in_thread, reading), 0);
}

/* All lines come, whole, and those of one writer in its order. */
static void test_many_writers(void **state)
{
    struct fixture *f = *state;
    pthread_t writers[WRITERS], reader;
    struct reading reading;
    start_reading(f, &reading, &reader);
    log_start(f->pipe[1], LOG_INFO);
    for (intptr_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, write_lines, (void *)i), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    log_stop();
    close(f->pipe[1]);
    pthread_join(reader, NULL);
    int next[WRITERS] = {0}, total = 0;
    for (char *at = reading.text.bytes, *end; *at != '\0'; at = end + 1, total++) {
        end = strchr(at, '\n');
        struct json *line;
        int64_t writer, number;
        assert_true(json_parse(&f->pool, h2o_iovec_init(at, end - at), NULL, &line, NULL));
        assert_true(json_int(line, "writer", &writer, NULL));
        assert_true(json_int(line, "number", &number, NULL));
        assert_int_equal(number, next[writer]++);
    }
    assert_int_equal(total, WRITERS * LINES);
}

/* A reader that stalls: nobody waits, what does not fit is lost and told, and what was queued still comes.
 * Once with a pipe that somebody made non-blocking. */
static void stall(struct fixture *f)
{
    enum { SENT = 20000 };
    uint64_t lost_before = log_lost();
    log_start(f->pipe[1], LOG_INFO);
    for (int i = 0; i < SENT; i++)
        log_info("line", LOG_INT("number", i));
    assert_true(log_lost() > lost_before);
    pthread_t reader;
    struct reading reading;
    start_reading(f, &reading, &reader);
    log_stop();
    close(f->pipe[1]);
    pthread_join(reader, NULL);
    int64_t lines = 0, told = 0, before = -1;
    for (char *at = reading.text.bytes, *end; *at != '\0'; at = end + 1) {
        end = strchr(at, '\n');
        struct json *line;
        int64_t number;
        assert_true(json_parse(&f->pool, h2o_iovec_init(at, end - at), NULL, &line, NULL));
        if (json_int(line, "number", &number, NULL)) {
            assert_true(number > before);
            before = number;
            lines++;
        } else {
            assert_member(line, "message", "log lines lost");
            assert_member(line, "level", "warn");
            assert_true(json_int(line, "count", &number, NULL));
            told += number;
        }
    }
    assert_int_equal(told, log_lost() - lost_before);
    assert_int_equal(lines + told, SENT);
}

static void test_stalled_reader(void **state)
{
    stall(*state);
}

static void test_stalled_reader_of_a_non_blocking_pipe(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fcntl(f->pipe[1], F_SETFL, O_NONBLOCK), 0);
    stall(f);
}

/* The reader is gone: the lines are lost, the process is not (SIGPIPE), and stopping does not hang. */
static void test_reader_that_went_away(void **state)
{
    struct fixture *f = *state;
    int other[2];
    assert_int_equal(pipe(other), 0);
    close(other[0]);
    uint64_t lost_before = log_lost();
    log_start(other[1], LOG_INFO);
    log_info("to nobody");
    log_stop();
    close(other[1]);
    assert_true(log_lost() > lost_before);
    close(f->pipe[1]);
}

/* Before log_start and after log_stop lines go to stderr at once, by the caller. */
static void test_without_a_writer(void **state)
{
    struct fixture *f = *state;
    size_t count;
    int saved = dup(STDERR_FILENO);
    assert_int_equal(dup2(f->pipe[1], STDERR_FILENO), STDERR_FILENO);
    log_error("at once", LOG_STR("a", "b"));
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    close(saved);
    struct json **lines = stop_and_read(f, &count); /* a log that does not run can be stopped */
    assert_int_equal(count, 1);
    assert_member(lines[0], "message", "at once");
    assert_member(lines[0], "a", "b");
}

#define WITH_PIPE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PIPE(test_without_a_writer),
        WITH_PIPE(test_one_line),
        WITH_PIPE(test_a_message_alone),
        WITH_PIPE(test_levels),
        WITH_PIPE(test_audit_is_written_at_every_level),
        WITH_PIPE(test_hostile_values),
        WITH_PIPE(test_long_values_are_cut_between_characters),
        WITH_PIPE(test_long_lines_grow),
        WITH_PIPE(test_many_writers),
        WITH_PIPE(test_stalled_reader),
        WITH_PIPE(test_stalled_reader_of_a_non_blocking_pipe),
        WITH_PIPE(test_reader_that_went_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
