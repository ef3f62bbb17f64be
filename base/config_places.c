/* SPDX-License-Identifier: Apache-2.0
 *
 * The first walk over a config file, with libyaml's events: is it valid YAML of the plain kind, and where
 * does each key stand? libcyaml says neither where a syntax error is nor where an unknown key stands, takes
 * the word "null" for text, cuts strings at an escaped NUL and ignores second documents; so all of that is
 * settled here, before it sees the file. */
#include "config_parts.h"

#include <yaml.h>

#define MAX_DEPTH  8     /* the schema needs 5 */
#define MAX_PLACES 20000 /* values in all: bounds the work of any file that fits the size limit */
#define MAX_KEYS   100   /* of one mapping */
#define MAX_PATH   512

struct level {
    bool is_mapping;
    bool key_is_next; /* of a mapping */
    unsigned index;   /* how many entries are behind us */
    size_t path_len;  /* of the path of this mapping or sequence itself */
    size_t first;     /* index of the first place inside it */
};

struct walk {
    yaml_parser_t parser;
    const char *file;
    h2o_iovec_t text;
    struct config_places *places;
    struct config_problems *problems;
    struct level levels[MAX_DEPTH];
    unsigned depth;
    unsigned documents;
    char path[MAX_PATH]; /* of the key or entry at hand */
};

static const struct config_place *find_from(const struct config_places *self, size_t first,
                                            const char *key_path)
{
    for (size_t i = first; i < self->count; i++) {
        if (strcmp(self->entries[i].path, key_path) == 0)
            return &self->entries[i];
    }
    return NULL;
}

const struct config_place *config_place_of(const struct config_places *self, const char *key_path)
{
    return find_from(self, 0, key_path);
}

static void add_place(struct config_places *self, const char *path, const yaml_mark_t *mark)
{
    if (self->count == self->capacity) {
        size_t capacity = self->capacity == 0 ? 64 : self->capacity * 2;
        struct config_place *grown = h2o_mem_alloc_pool(self->pool, capacity * sizeof(*grown));
        if (self->count != 0)
            memcpy(grown, self->entries, self->count * sizeof(*grown));
        self->entries = grown;
        self->capacity = capacity;
    }
    self->entries[self->count++] =
        (struct config_place){text_dup(self->pool, path), mark->line + 1, mark->column + 1};
}

static bool complain(struct walk *self, const yaml_mark_t *mark, const char *what)
{
    struct config_complaint where = {self->file, NULL, self->path, mark->line + 1,
                                     mark->column + 1};
    config_complain_at(self->problems, &where, "%s", what);
    return false;
}

/* A reader error (bytes that are no text) has an offset but no mark. */
static yaml_mark_t mark_of_offset(h2o_iovec_t text, size_t offset)
{
    yaml_mark_t mark = {.index = offset};
    for (size_t i = 0; i < offset && i < text.len; i++) {
        mark.column = text.base[i] == '\n' ? 0 : mark.column + 1;
        mark.line += text.base[i] == '\n';
    }
    return mark;
}

static bool complain_syntax(struct walk *self)
{
    const yaml_parser_t *parser = &self->parser;
    const char *problem = parser->problem != NULL ? parser->problem : "out of memory";
    yaml_mark_t mark = parser->problem_mark;
    if (parser->error == YAML_READER_ERROR)
        mark = mark_of_offset(self->text, parser->problem_offset);
    struct config_complaint where = {self->file, NULL, "", mark.line + 1, mark.column + 1};
    if (mark.index < self->text.len && self->text.base[mark.index] == '\t')
        config_complain_at(self->problems, &where,
                           "not valid YAML: a tab; YAML is indented with spaces");
    else if (parser->context != NULL && parser->context_mark.line != mark.line)
        config_complain_at(self->problems, &where, "not valid YAML: %s (%s that began on line %zu)",
                           problem, parser->context, parser->context_mark.line + 1);
    else
        config_complain_at(self->problems, &where, "not valid YAML: %s", problem);
    return false;
}

static bool take_key(struct walk *self, struct level *level, const yaml_event_t *event)
{
    const char *key = (const char *)event->data.scalar.value;
    if (strlen(key) != event->data.scalar.length || *key == '\0' || strlen(key) > 64)
        return complain(self, &event->start_mark, "a key must be a word of 1 to 64 characters");
    size_t len = level->path_len;
    snprintf(self->path + len, MAX_PATH - len, "%s%s", len == 0 ? "" : ".", key);
    if (level->index == MAX_KEYS)
        return complain(self, &event->start_mark, "one key too many in this mapping");
    const struct config_place *first = find_from(self->places, level->first, self->path);
    if (first != NULL) {
        struct config_complaint where = {self->file, NULL, self->path, event->start_mark.line + 1,
                                         event->start_mark.column + 1};
        config_complain_at(self->problems, &where, "stands here twice, first on line %zu",
                           first->line);
        return false;
    }
    add_place(self->places, self->path, &event->start_mark);
    level->key_is_next = false;
    return true;
}

/* A scalar, mapping or sequence begins where a value is due: names it. */
static void begin_value(struct walk *self, const yaml_event_t *event)
{
    const struct level *level = self->depth == 0 ? NULL : &self->levels[self->depth - 1];
    if (level == NULL || level->is_mapping)
        return;
    snprintf(self->path + level->path_len, MAX_PATH - level->path_len, "[%u]", level->index);
    add_place(self->places, self->path, &event->start_mark);
}

static void end_value(struct walk *self)
{
    if (self->depth == 0)
        return;
    struct level *level = &self->levels[self->depth - 1];
    level->key_is_next = level->is_mapping;
    level->index++;
    self->path[level->path_len] = '\0';
}

static bool is_null(const yaml_event_t *event)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp((const char *)event->data.scalar.value, words[i]) == 0)
            return true;
    }
    return false;
}

static bool on_scalar(struct walk *self, const yaml_event_t *event)
{
    struct level *level = self->depth == 0 ? NULL : &self->levels[self->depth - 1];
    if (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL)
        return complain(self, &event->start_mark, "YAML anchors and tags are not supported");
    if (level != NULL && level->key_is_next)
        return take_key(self, level, event);
    begin_value(self, event);
    if (level == NULL)
        return complain(self, &event->start_mark,
                        is_null(event) ? "the file is empty"
                                       : "must be a mapping (\"key: value\")");
    if (is_null(event))
        return complain(self, &event->start_mark,
                        "has no value; leave the key out, or write \"\" for an empty text");
    if (strlen((const char *)event->data.scalar.value) != event->data.scalar.length)
        return complain(self, &event->start_mark, "has a NUL character");
    end_value(self);
    return true;
}

static bool on_start(struct walk *self, const yaml_event_t *event, bool is_mapping)
{
    const struct level *level = self->depth == 0 ? NULL : &self->levels[self->depth - 1];
    bool decorated =
        is_mapping
            ? event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL
            : event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL;
    if (decorated)
        return complain(self, &event->start_mark, "YAML anchors and tags are not supported");
    if (level != NULL && level->key_is_next)
        return complain(self, &event->start_mark, "a key must be a word");
    if (level == NULL && !is_mapping)
        return complain(self, &event->start_mark, "must be a mapping (\"key: value\")");
    if (self->depth == MAX_DEPTH)
        return complain(self, &event->start_mark, "is nested too deep");
    begin_value(self, event);
    self->levels[self->depth++] =
        (struct level){is_mapping, is_mapping, 0, strlen(self->path), self->places->count};
    return true;
}

static bool on_event(struct walk *self, const yaml_event_t *event)
{
    if (self->places->count == MAX_PLACES)
        return complain(self, &event->start_mark, "too many values in this file");
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return ++self->documents == 1 ||
               complain(self, &event->start_mark, "a second YAML document; only one is allowed");
    case YAML_ALIAS_EVENT:
        return complain(self, &event->start_mark, "YAML aliases are not supported");
    case YAML_SCALAR_EVENT:
        return on_scalar(self, event);
    case YAML_MAPPING_START_EVENT:
        return on_start(self, event, true);
    case YAML_SEQUENCE_START_EVENT:
        return on_start(self, event, false);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        self->depth--;
        end_value(self);
        return true;
    default:
        return true;
    }
}

static bool walk(struct walk *self)
{
    for (bool done = false; !done;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&self->parser, &event))
            return complain_syntax(self);
        done = event.type == YAML_STREAM_END_EVENT;
        bool fine = on_event(self, &event);
        yaml_event_delete(&event);
        if (!fine)
            return false;
    }
    yaml_mark_t start = {0};
    return self->documents == 1 || complain(self, &start, "the file is empty");
}

bool config_places_read(const char *file, h2o_iovec_t text, struct config_places *out,
                        struct config_problems *problems)
{
    struct walk self = {.file = file, .text = text, .places = out, .problems = problems};
    if (!yaml_parser_initialize(&self.parser))
        h2o_fatal("yaml_parser_initialize: out of memory");
    /* Said here, libyaml does not guess UTF-16 from the first bytes. */
    yaml_parser_set_encoding(&self.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&self.parser, (const unsigned char *)text.base, text.len);
    bool fine = walk(&self);
    yaml_parser_delete(&self.parser);
    return fine;
}
