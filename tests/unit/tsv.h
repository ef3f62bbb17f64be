/* SPDX-License-Identifier: Apache-2.0
 *
 * Decision tables as data: lines of fields between tabs. '#' begins a comment line, the first other line
 * names the columns. In a field "-" means absent, "" the empty text; \n, \t, \\, \| and \xHH are escapes, and
 * \*1025*x is 1025 times "x". */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TSV_FIELDS 12
#define TSV_LINE   4096

struct tsv_row {
    unsigned line;
    char text[TSV_LINE];
    char *fields[TSV_FIELDS];
    unsigned count;
};

/* Calls each with every row behind the one that names the columns; a row of another width fails the test. */
static inline void tsv_each(const char *name, void (*each)(const struct tsv_row *row))
{
    char path[512];
    struct tsv_row *row = malloc(sizeof(*row));
    unsigned columns = 0, rows = 0;
    snprintf(path, sizeof(path), "%s/%s", TEST_DATA, name);
    FILE *file = fopen(path, "r");
    if (file == NULL || row == NULL)
        fail_msg("%s is missing", path);
    for (row->line = 1; fgets(row->text, TSV_LINE, file) != NULL; row->line++) {
        row->text[strcspn(row->text, "\n")] = '\0';
        if (row->text[0] == '#' || row->text[0] == '\0')
            continue;
        char *rest = row->text;
        for (row->count = 0; rest != NULL && row->count < TSV_FIELDS; row->count++)
            row->fields[row->count] = strsep(&rest, "\t");
        if (columns != 0 && row->count != columns)
            fail_msg("%s:%u: %u fields instead of %u", name, row->line, row->count, columns);
        if (columns != 0) {
            each(row);
            rows++;
        }
        columns = row->count;
    }
    assert_true(rows > 0);
    fclose(file);
    free(row);
}

/* The field's text into out; NULL for "-". */
static inline const char *tsv_text(const char *field, char *out, size_t size)
{
    size_t len = 0;
    unsigned value;
    if (strcmp(field, "-") == 0)
        return NULL;
    if (strcmp(field, "\"\"") == 0)
        field = "";
    while (*field != '\0') {
        size_t times = 1;
        if (field[0] == '\\' && field[1] == '*') {
            char *end;
            times = strtoul(field + 2, &end, 10);
            field = end + 1;
        }
        char byte = *field++;
        if (byte == '\\' && *field == 'x' && sscanf(field + 1, "%2x", &value) == 1) {
            byte = (char)value;
            field += 3;
        } else if (byte == '\\') {
            byte = *field == 'n' ? '\n' : *field == 't' ? '\t' : *field;
            field++;
        }
        assert_true(len + times < size);
        memset(out + len, byte, times);
        len += times;
    }
    out[len] = '\0';
    return out;
}

struct tsv_list {
    const char *entries[64];
    size_t count;
    char raw[TSV_LINE], texts[TSV_LINE * 2];
};

/* A list whose entries are parted by '|'; "-" is the empty one. */
static inline void tsv_list(const char *field, struct tsv_list *out)
{
    size_t used = 0;
    out->count = 0;
    if (strcmp(field, "-") == 0)
        return;
    snprintf(out->raw, sizeof(out->raw), "%s", field);
    for (char *begin = out->raw; begin != NULL; out->count++) {
        char *end = begin;
        while (*end != '\0' && *end != '|')
            end += *end == '\\' && end[1] != '\0' ? 2 : 1;
        char *next = *end == '\0' ? NULL : end + 1;
        *end = '\0';
        assert_true(out->count < sizeof(out->entries) / sizeof(out->entries[0]));
        out->entries[out->count] = tsv_text(begin, out->texts + used, sizeof(out->texts) - used);
        used += strlen(out->entries[out->count]) + 1;
        begin = next;
    }
}
