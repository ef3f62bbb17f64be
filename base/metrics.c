/* SPDX-License-Identifier: Apache-2.0
 *
 * The registry and its text. Making a series takes a lock and is for the start; counting is one relaxed
 * atomic addition in a cache line of its own, since all workers count the same few things. */
#include "base/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define CACHE_LINE 64

/* Upper bounds of the buckets in microseconds: a warm review takes some 50, a question to Okta seconds. */
static const int64_t bounds_us[] = {100,     250,     500,     1000,    2500,   5000,
                                    10000,   25000,   50000,   100000,  250000, 500000,
                                    1000000, 2500000, 5000000, 10000000};
#define BOUNDS (sizeof(bounds_us) / sizeof(bounds_us[0]))

struct counter {
    _Alignas(CACHE_LINE) atomic_uint_fast64_t value;
};

struct histogram {
    _Alignas(CACHE_LINE) atomic_uint_fast64_t sum_us;
    atomic_uint_fast64_t buckets[BOUNDS + 1]; /* not cumulative; the last one is for all beyond */
};

enum family_type { COUNTER, HISTOGRAM, GAUGE };

struct series {
    struct series *next;         /* in the order of making */
    char *labels;                /* "" or without braces */
    struct counter *counter;     /* one of these, as the family's type says */
    struct histogram *histogram; /* … */
    double (*read)(void *ctx);   /* … */
    void *ctx;                   /* read's */
};

struct family {
    struct family *next;   /* in the order of making */
    enum family_type type; /* of all its series */
    char *name, *help;     /* help is escaped when written */
    struct series *series; /* the first one */
};

struct metrics {
    pthread_mutex_t lock;    /* families and their series; not their values */
    struct family *families; /* the first one */
};

/* ---- making ---- */

static char *copy(const char *string)
{
    char *made = strdup(string);
    assert(made != NULL);
    return made;
}

static void *alloc_aligned(size_t size)
{
    void *memory = aligned_alloc(CACHE_LINE, size);
    assert(memory != NULL);
    memset(memory, 0, size);
    return memory;
}

struct metrics *metrics_new(void)
{
    struct metrics *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct metrics){.lock = PTHREAD_MUTEX_INITIALIZER};
    return self;
}

static void free_series(struct series *series)
{
    while (series != NULL) {
        struct series *next = series->next;
        free(series->counter);
        free(series->histogram);
        free(series->labels);
        free(series);
        series = next;
    }
}

void metrics_free(struct metrics *self)
{
    if (self == NULL)
        return;
    while (self->families != NULL) {
        struct family *family = self->families;
        self->families = family->next;
        free_series(family->series);
        free(family->name);
        free(family->help);
        free(family);
    }
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static struct family *find_family(struct metrics *self, const char *name, const char *help,
                                  enum family_type type)
{
    struct family **end = &self->families;
    for (; *end != NULL; end = &(*end)->next) {
        if (strcmp((*end)->name, name) == 0) {
            assert((*end)->type == type && strcmp((*end)->help, help) == 0);
            return *end;
        }
    }
    *end = h2o_mem_alloc(sizeof(**end));
    **end = (struct family){.type = type, .name = copy(name), .help = copy(help)};
    return *end;
}

/* The series with these labels, made where it is new. */
static struct series *find_series(struct family *family, const char *labels, bool *made)
{
    struct series **end = &family->series;
    for (; *end != NULL; end = &(*end)->next) {
        if (strcmp((*end)->labels, labels) == 0) {
            *made = false;
            return *end;
        }
    }
    *end = h2o_mem_alloc(sizeof(**end));
    **end = (struct series){.labels = copy(labels)};
    *made = true;
    return *end;
}

struct counter *metrics_counter(struct metrics *self, const char *family, const char *help,
                                const char *labels)
{
    bool made;
    pthread_mutex_lock(&self->lock);
    struct series *series = find_series(find_family(self, family, help, COUNTER), labels, &made);
    if (made)
        series->counter = alloc_aligned(sizeof(*series->counter));
    pthread_mutex_unlock(&self->lock);
    return series->counter;
}

struct histogram *metrics_histogram(struct metrics *self, const char *family, const char *help,
                                    const char *labels)
{
    bool made;
    pthread_mutex_lock(&self->lock);
    struct series *series = find_series(find_family(self, family, help, HISTOGRAM), labels, &made);
    if (made)
        series->histogram = alloc_aligned(sizeof(*series->histogram));
    pthread_mutex_unlock(&self->lock);
    return series->histogram;
}

void metrics_gauge(struct metrics *self, const char *family, const char *help, const char *labels,
                   double (*read)(void *ctx), void *ctx)
{
    bool made;
    pthread_mutex_lock(&self->lock);
    struct series *series = find_series(find_family(self, family, help, GAUGE), labels, &made);
    assert(made); /* two readers of one series */
    series->read = read;
    series->ctx = ctx;
    pthread_mutex_unlock(&self->lock);
}

/* ---- counting ---- */

void counter_add(struct counter *self, uint64_t n)
{
    if (self != NULL)
        atomic_fetch_add_explicit(&self->value, n, memory_order_relaxed);
}

uint64_t counter_value(const struct counter *self)
{
    return atomic_load_explicit(&self->value, memory_order_relaxed);
}

void histogram_observe_us(struct histogram *self, int64_t us)
{
    if (self == NULL)
        return;
    if (us < 0)
        us = 0;
    size_t i = 0;
    while (i < BOUNDS && us > bounds_us[i])
        i++;
    atomic_fetch_add_explicit(&self->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&self->sum_us, (uint64_t)us, memory_order_relaxed);
}

/* ---- the text ---- */

/* Backslash and newline, and the quote within a label. */
static void add_escaped(struct text *out, const char *value, bool quotes)
{
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '\n')
            text_add_string(out, "\\n");
        else if (*c == '\\' || (quotes && *c == '"'))
            text_add_format(out, "\\%c", *c);
        else
            text_add(out, c, 1);
    }
}

char *metrics_label(h2o_mem_pool_t *pool, const char *value)
{
    struct text out;
    text_init(&out, pool);
    text_add_string(&out, "");
    add_escaped(&out, value, true);
    return out.bytes;
}

static void write_labels(struct text *out, const char *labels)
{
    if (*labels != '\0')
        text_add_format(out, "{%s}", labels);
    text_add_string(out, " ");
}

static void write_bucket(struct text *out, const char *name, const char *labels, const char *bound,
                         uint64_t value)
{
    text_add_format(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", name, labels,
                    *labels != '\0' ? "," : "", bound, value);
}

/* The count is the last bucket's, so that both agree while others count on. */
static void write_histogram(struct text *out, const char *name, const struct series *series)
{
    uint64_t count = 0;
    for (size_t i = 0; i < BOUNDS; i++) {
        char bound[32];
        snprintf(bound, sizeof(bound), "%g", (double)bounds_us[i] / 1e6);
        count += atomic_load_explicit(&series->histogram->buckets[i], memory_order_relaxed);
        write_bucket(out, name, series->labels, bound, count);
    }
    count += atomic_load_explicit(&series->histogram->buckets[BOUNDS], memory_order_relaxed);
    write_bucket(out, name, series->labels, "+Inf", count);
    uint64_t sum_us = atomic_load_explicit(&series->histogram->sum_us, memory_order_relaxed);
    text_add_format(out, "%s_sum", name);
    write_labels(out, series->labels);
    text_add_format(out, "%" PRIu64 ".%06u\n", sum_us / 1000000, (unsigned)(sum_us % 1000000));
    text_add_format(out, "%s_count", name);
    write_labels(out, series->labels);
    text_add_format(out, "%" PRIu64 "\n", count);
}

static void write_series(struct text *out, const struct family *family, const struct series *series)
{
    if (family->type == HISTOGRAM) {
        write_histogram(out, family->name, series);
        return;
    }
    text_add_string(out, family->name);
    write_labels(out, series->labels);
    if (family->type == COUNTER)
        text_add_format(out, "%" PRIu64 "\n", counter_value(series->counter));
    else
        text_add_format(out, "%.15g\n", series->read(series->ctx));
}

void metrics_write(struct metrics *self, struct text *out)
{
    static const char *const types[] = {"counter", "histogram", "gauge"};
    pthread_mutex_lock(&self->lock);
    for (const struct family *family = self->families; family != NULL; family = family->next) {
        text_add_format(out, "# HELP %s ", family->name);
        add_escaped(out, family->help, false);
        text_add_format(out, "\n# TYPE %s %s\n", family->name, types[family->type]);
        for (const struct series *series = family->series; series != NULL; series = series->next)
            write_series(out, family, series);
    }
    pthread_mutex_unlock(&self->lock);
}
