/* SPDX-License-Identifier: Apache-2.0
 *
 * Formatting of a log line, on the thread that logs. Not with the JSON writer: a log line must come out
 * whatever bytes it is given, so bad UTF-8 becomes U+FFFD here, where an answer would be refused. */
#include "log_line.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/text.h"

#define VALUE_MAX     512 /* bytes of a string, before escaping */
#define FIRST_SIZE    480
#define UTF8_BAD      "\xef\xbf\xbd"
#define UTF8_ELLIPSIS "\xe2\x80\xa6"

/* Room for more bytes; the line may move. */
static void reserve(struct log_line **line, size_t more)
{
    struct log_line *self = *line;
    if (self->capacity - self->len >= more)
        return;
    while (self->capacity - self->len < more)
        self->capacity *= 2;
    *line = h2o_mem_realloc(self, sizeof(*self) + self->capacity);
}

static void add(struct log_line **line, const char *bytes, size_t len)
{
    reserve(line, len);
    memcpy((*line)->bytes + (*line)->len, bytes, len);
    (*line)->len += len;
}

static void add_string(struct log_line **line, const char *string)
{
    add(line, string, strlen(string));
}

static void add_escape(struct log_line **line, unsigned code)
{
    char escape[8];
    int len = snprintf(escape, sizeof(escape), "\\u%04x", code);
    add(line, escape, (size_t)len);
}

/* One character of step bytes; step 0 is a byte that is no character. Control characters, those behind
 * U+0080 too, would reach a terminal that shows the log. */
static void add_char(struct log_line **line, const char *at, size_t step)
{
    unsigned char c = (unsigned char)*at;
    if (step == 0)
        add_string(line, UTF8_BAD);
    else if (c == '"' || c == '\\')
        add(line, c == '"' ? "\\\"" : "\\\\", 2);
    else if (c == '\n')
        add(line, "\\n", 2);
    else if (c < 0x20 || c == 0x7f)
        add_escape(line, c);
    else if (c == 0xc2 && (unsigned char)at[1] < 0xa0)
        add_escape(line, (unsigned char)at[1]);
    else
        add(line, at, step);
}

/* How many characters from here on stand for themselves: most values are nothing else. */
static size_t plain_run(const char *value, size_t len)
{
    size_t run = 0;
    while (run < len && value[run] >= 0x20 && value[run] < 0x7f && value[run] != '"' &&
           value[run] != '\\')
        run++;
    return run;
}

static void add_value(struct log_line **line, const char *value)
{
    size_t whole = strnlen(value, VALUE_MAX + 1);
    size_t len = whole > VALUE_MAX ? utf8_cut(value, VALUE_MAX) : whole;
    add(line, "\"", 1);
    for (size_t i = 0; i < len;) {
        size_t run = plain_run(value + i, len - i);
        add(line, value + i, run);
        i += run;
        if (i == len)
            break;
        size_t step = utf8_char(value + i, len - i);
        add_char(line, value + i, step);
        i += step != 0 ? step : 1;
    }
    if (whole > VALUE_MAX)
        add_string(line, UTF8_ELLIPSIS);
    add(line, "\"", 1);
}

static void add_key(struct log_line **line, const char *key)
{
    add(line, ",", 1);
    add_value(line, key);
    add(line, ":", 1);
}

static void add_field(struct log_line **line, const struct log_field *field)
{
    if (field->kind == LOG_FIELD_STRING && field->string == NULL)
        return;
    add_key(line, field->key);
    if (field->kind == LOG_FIELD_STRING) {
        add_value(line, field->string);
    } else if (field->kind == LOG_FIELD_BOOL) {
        add_string(line, field->number != 0 ? "true" : "false");
    } else {
        char number[24];
        snprintf(number, sizeof(number), "%" PRId64, field->number);
        add_string(line, number);
    }
}

/* RFC 3339 in UTC, with the milliseconds that clock_rfc3339 leaves out. */
static void add_time(struct log_line **line)
{
    int64_t now_ms = clock_wall_ms();
    char seconds[CLOCK_RFC3339_SIZE], time_text[CLOCK_RFC3339_SIZE + 16];
    clock_rfc3339(now_ms, seconds);
    int len = snprintf(time_text, sizeof(time_text), "{\"time\":\"%.19s.%03dZ\"", seconds,
                       (int)(now_ms % 1000));
    add(line, time_text, (size_t)len);
}

struct log_line *log_line_new(enum log_level level, const char *message, const char *event,
                              const struct log_field *fields)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    struct log_line *line = h2o_mem_alloc(sizeof(*line) + FIRST_SIZE);
    *line = (struct log_line){.capacity = FIRST_SIZE};
    add_time(&line);
    add_key(&line, "level");
    add_value(&line, names[level]);
    add_key(&line, "message");
    add_value(&line, message);
    if (event != NULL) {
        add_key(&line, "event");
        add_value(&line, event);
    }
    for (const struct log_field *field = fields; field != NULL && field->key != NULL; field++)
        add_field(&line, field);
    add(&line, "}\n", 2);
    return line;
}
