/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading a config: the steps in their order (config_parts.h), and the one form of a complaint. */
#include "config_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

#define MAX_FILE ((size_t)1024 * 1024)

/* Whatever a file holds: a complaint stays one line, and a terminal gets no control characters. */
static void add_printable(struct text *out, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool is_control = (unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7f;
        text_add(out, is_control ? "?" : &bytes[i], 1);
    }
}

__attribute__((format(printf, 3, 0))) static void vcomplain(struct config_problems *problems,
                                                            const struct config_complaint *where,
                                                            const char *format, va_list args)
{
    char what[1024];
    struct text line;
    text_init(&line, problems->text.pool);
    text_add_string(&line, where->file);
    struct config_place place = {NULL, where->line, where->column};
    char *path = text_dup(line.pool, where->key_path);
    for (size_t len = strlen(path); where->places != NULL && len > 0; path[len] = '\0') {
        const struct config_place *found = config_place_of(where->places, path);
        if (found != NULL) {
            place = *found;
            break;
        }
        while (len > 0 && path[--len] != '.' && path[len] != '[')
            ;
    }
    if (place.line != 0)
        text_add_format(&line, ":%zu:%zu", place.line, place.column);
    text_add_format(&line, "%s%s: ", *where->key_path == '\0' ? "" : ": ", where->key_path);
    vsnprintf(what, sizeof(what), format, args);
    text_add_string(&line, what);
    add_printable(&problems->text, line.bytes, line.len);
    text_add_string(&problems->text, "\n");
    problems->count++;
}

void config_complain_at(struct config_problems *problems, const struct config_complaint *where,
                        const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vcomplain(problems, where, format, args);
    va_end(args);
}

void config_complain(struct config_problems *problems, const struct config *config,
                     const char *key_path, const char *format, ...)
{
    va_list args;
    const struct config_places *places = config->memory != NULL ? &config->memory->places : NULL;
    struct config_complaint where = {config->path, places, key_path, 0, 0};
    va_start(args, format);
    vcomplain(problems, &where, format, args);
    va_end(args);
}

static struct config *config_new(const char *path)
{
    struct config *self = h2o_mem_alloc(sizeof(*self));
    struct config_memory *memory = h2o_mem_alloc(sizeof(*memory));
    *self = (struct config){.memory = memory};
    *memory = (struct config_memory){.places = {.pool = &memory->pool}};
    h2o_mem_init_pool(&memory->pool);
    self->path = text_dup(&memory->pool, path);
    return self;
}

void config_free(struct config *self)
{
    if (self == NULL)
        return;
    h2o_mem_clear_pool(&self->memory->pool);
    free(self->memory);
    free(self);
}

/* True when the config is as good as its problems say. */
static bool load(struct config *self, h2o_iovec_t text, struct config_problems *problems)
{
    struct config_places *places = &self->memory->places;
    unsigned before = problems->count;
    if (!config_places_read(self->path, text, places, problems))
        return false;
    struct raw_config *raw = config_raw_load(self->path, text, places, problems);
    if (raw == NULL)
        return false;
    config_fill(self, raw, problems);
    config_raw_free(raw);
    config_check(self, problems);
    return problems->count == before;
}

struct config *config_load_bytes(const char *path, const char *bytes, size_t len,
                                 struct config_problems *problems)
{
    struct config *self = config_new(path);
    struct config_complaint where = {.file = path, .key_path = ""};
    bool fine = len <= MAX_FILE;
    if (!fine)
        config_complain_at(problems, &where, "is larger than %zu bytes", MAX_FILE);
    if (fine && load(self, h2o_iovec_init(bytes, len), problems))
        return self;
    config_free(self);
    return NULL;
}

/* Reads at most max bytes into buffer; -1: errno says why. */
static ssize_t read_file(const char *path, char *buffer, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
    size_t len = 0;
    ssize_t got = -1;
    if (fd == -1)
        return -1;
    while (len < max && (got = read(fd, buffer + len, max - len)) > 0)
        len += (size_t)got;
    int saved = errno;
    close(fd);
    errno = saved;
    return got == -1 ? -1 : (ssize_t)len;
}

struct config *config_load(const char *path, struct config_problems *problems)
{
    char *buffer = h2o_mem_alloc(MAX_FILE + 1);
    struct config_complaint where = {.file = path, .key_path = ""};
    struct config *self = NULL;
    ssize_t len = read_file(path, buffer, MAX_FILE + 1);
    if (len == -1)
        config_complain_at(problems, &where, "can't be read: %s", strerrordesc_np(errno));
    else
        self = config_load_bytes(path, buffer, (size_t)len, problems);
    free(buffer);
    return self;
}

const char *config_cluster_address(const struct config_cluster *cluster)
{
    return cluster->api.url != NULL ? cluster->api.url : cluster->server;
}

const struct config_cluster *config_app_cluster(const struct config *self,
                                                const struct config_app *app)
{
    for (unsigned i = 0; app->cluster != NULL && i < self->cluster_count; i++)
        if (self->clusters[i].name != NULL && strcmp(self->clusters[i].name, app->cluster) == 0)
            return &self->clusters[i];
    return NULL;
}
