/* SPDX-License-Identifier: Apache-2.0
 *
 * The template renderer. It reads a template once from left to right and writes as it goes; a section is
 * read again for each entry of its array, and a false one is read without writing, so that a template is
 * malformed whatever the model says. A tag that opens or closes a section or names a partial, and stands
 * alone on its line, leaves no empty line behind. */
#include "http/template.h"

#include <assert.h>

#define MAX_DEPTH                                                                                  \
    16 /* sections and partials within each other; ends a partial that includes itself */

struct frame { /* where names are looked up: innermost first */
    const struct json *value;
    const struct frame *outer;
};

struct template
{ /* one template being read */
    const struct embedded_file *files;
    const char *name;  /* for messages */
    const char *start; /* its first byte */
    const char *at;    /* what is read next */
    const char *end;
    unsigned depth;
    struct text *out;
    struct error *err;
};

struct tag {
    char kind; /* '#' '^' '/' '>' '!', or '=' for a value */
    h2o_iovec_t name;
    const char *start; /* its first brace */
    const char *end;   /* behind its last brace */
};

/* How a section ends: at its closing tag. The whole template is a section without a name. */
struct section {
    h2o_iovec_t name; /* {NULL, 0}: the template itself */
    bool write;       /* false: only read */
};

const struct embedded_file *embedded_find(const struct embedded_file *files, const char *name)
{
    for (; files->name != NULL; files++)
        if (strcmp(files->name, name) == 0)
            return files;
    return NULL;
}

void html_escape(struct text *out, h2o_iovec_t value)
{
    size_t plain = 0; /* first byte that was not written yet */
    if (value.len == 0)
        return;
    for (size_t i = 0; i < value.len; i++) {
        const char *escaped;
        switch (value.base[i]) {
        case '&':
            escaped = "&amp;";
            break;
        case '<':
            escaped = "&lt;";
            break;
        case '>':
            escaped = "&gt;";
            break;
        case '"':
            escaped = "&quot;";
            break;
        case '\'':
            escaped = "&#39;";
            break;
        default:
            continue;
        }
        text_add(out, value.base + plain, i - plain);
        text_add_string(out, escaped);
        plain = i + 1;
    }
    text_add(out, value.base + plain, value.len - plain);
}

/* ---- the model ---- */

static const struct json *look_up(const struct frame *frame, h2o_iovec_t name)
{
    if (name.len == 1 && name.base[0] == '.')
        return frame->value;
    for (; frame != NULL; frame = frame->outer) {
        if (frame->value->type != JSON_OBJECT)
            continue;
        for (const struct json *member = frame->value->first; member; member = member->next)
            if (h2o_memis(member->key.base, member->key.len, name.base, name.len))
                return member;
    }
    return NULL;
}

static bool is_true(const struct json *value)
{
    if (value == NULL)
        return false;
    switch (value->type) {
    case JSON_NULL:
        return false;
    case JSON_BOOL:
        return value->boolean;
    case JSON_NUMBER:
        return !iovec_equal(value->text, "0");
    case JSON_STRING:
        return value->text.len != 0;
    case JSON_ARRAY:
        return value->first != NULL;
    case JSON_OBJECT:
        return true;
    }
    return false;
}

static void write_value(struct text *out, const struct json *value)
{
    if (value == NULL)
        return;
    if (value->type == JSON_STRING || value->type == JSON_NUMBER)
        html_escape(out, value->text);
    else if (value->type == JSON_BOOL)
        text_add_string(out, value->boolean ? "true" : "false");
}

/* ---- tags ---- */

static bool malformed(const struct template *self, const char *what, h2o_iovec_t name)
{
    return error_set(self->err, ERROR_INTERNAL, "template %s: %s \"%.*s\"", self->name, what,
                     (int)(name.len > 60 ? 60 : name.len), name.base);
}

static h2o_iovec_t trim(const char *start, const char *end)
{
    while (start < end && (*start == ' ' || *start == '\n' || *start == '\t'))
        start++;
    while (start < end && (end[-1] == ' ' || end[-1] == '\n' || end[-1] == '\t'))
        end--;
    return h2o_iovec_init(start, (size_t)(end - start));
}

static bool is_name(h2o_iovec_t name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.base[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-' || c == '.';
        if (!good)
            return false;
    }
    return name.len != 0;
}

/* A tag that is alone on its line takes the line with it. */
static void widen_to_line(const struct template *self, struct tag *tag)
{
    const char *start = tag->start, *end = tag->end;
    while (start > self->start && (start[-1] == ' ' || start[-1] == '\t'))
        start--;
    while (end < self->end && (*end == ' ' || *end == '\t'))
        end++;
    if ((start > self->start && start[-1] != '\n') || (end < self->end && *end != '\n'))
        return;
    tag->start = start;
    tag->end = end < self->end ? end + 1 : end;
}

/* Finds the next tag. At the end of the template: true, with kind 0. */
static bool next_tag(const struct template *self, struct tag *out)
{
    *out = (struct tag){.kind = 0, .start = self->end, .end = self->end};
    const char *open = memmem(self->at, (size_t)(self->end - self->at), "{{", 2);
    if (open == NULL)
        return true;
    const char *inside = open + 2;
    const char *close = memmem(inside, (size_t)(self->end - inside), "}}", 2);
    if (close == NULL)
        return malformed(self, "unclosed tag", trim(open, self->end));
    out->start = open;
    out->end = close + 2;
    out->kind = '=';
    if (inside < close && strchr("#^/>!", *inside) != NULL)
        out->kind = *inside++;
    out->name = trim(inside, close);
    if (out->kind != '!' && !is_name(out->name))
        return malformed(self, "bad tag", trim(open, out->end));
    if (out->kind != '=')
        widen_to_line(self, out);
    return true;
}

/* ---- rendering ---- */

static bool render(struct template *self, const struct frame *frame, struct section section);

static bool render_partial(struct template *self, const struct frame *frame, h2o_iovec_t name,
                           bool write)
{
    const struct embedded_file *file = self->files;
    while (file->name != NULL && !iovec_equal(name, file->name))
        file++;
    if (file->name == NULL)
        return malformed(self, "unknown partial", name);
    if (!write)
        return true; /* one that includes itself ends in a section that is false */
    struct template partial = *self;
    partial.name = file->name;
    partial.start = partial.at = file->bytes;
    partial.end = file->bytes + file->len;
    return render(&partial, frame, (struct section){.write = true});
}

/* Reads the section's body once for each entry of an array, once for another true value, and once without
 * writing for a false one. */
static bool render_section(struct template *self, const struct frame *frame, const struct tag *tag,
                           bool write)
{
    const struct json *value = look_up(frame, tag->name);
    const char *body = self->at;
    bool inverted = tag->kind == '^';
    struct section section = {tag->name, write && is_true(value) != inverted};
    if (!section.write || inverted)
        return render(self, frame, section);
    if (value->type != JSON_ARRAY)
        return render(self, &(struct frame){value, frame}, section);
    for (const struct json *entry = value->first; entry != NULL; entry = entry->next) {
        self->at = body;
        if (!render(self, &(struct frame){entry, frame}, section))
            return false;
    }
    return true;
}

static bool render_tag(struct template *self, const struct frame *frame, const struct tag *tag,
                       bool write)
{
    switch (tag->kind) {
    case '=':
        if (write)
            write_value(self->out, look_up(frame, tag->name));
        return true;
    case '>':
        return render_partial(self, frame, tag->name, write);
    case '#':
    case '^':
        return render_section(self, frame, tag, write);
    default:
        assert(tag->kind == '!');
        return true;
    }
}

static bool is_end(const struct tag *tag)
{
    return tag->kind == 0 || tag->kind == '/';
}

/* Everything up to the section's closing tag, which is read too. */
static bool render_body(struct template *self, const struct frame *frame, struct section section)
{
    struct tag tag;
    do {
        if (!next_tag(self, &tag))
            return false;
        if (section.write)
            text_add(self->out, self->at, (size_t)(tag.start - self->at));
        self->at = tag.end;
        if (!is_end(&tag) && !render_tag(self, frame, &tag, section.write))
            return false;
    } while (!is_end(&tag));
    if (tag.kind == 0 && section.name.len != 0)
        return malformed(self, "unclosed section", section.name);
    if (!h2o_memis(tag.name.base, tag.name.len, section.name.base, section.name.len))
        return malformed(self, "section closed that is not open:", tag.name);
    return true;
}

static bool render(struct template *self, const struct frame *frame, struct section section)
{
    if (self->depth >= MAX_DEPTH)
        return malformed(self, "too many sections and partials within", section.name);
    self->depth++;
    bool good = render_body(self, frame, section);
    self->depth--;
    return good;
}

bool template_render(const struct embedded_file *files, const char *name, const struct json *model,
                     struct text *out, struct error *err)
{
    const struct embedded_file *file = embedded_find(files, name);
    if (file == NULL)
        return error_set(err, ERROR_INTERNAL, "template %s: unknown", name);
    struct template self = {.files = files,
                            .name = file->name,
                            .start = file->bytes,
                            .at = file->bytes,
                            .end = file->bytes + file->len,
                            .out = out,
                            .err = err};
    return render(&self, &(struct frame){model, NULL}, (struct section){.write = true});
}
