/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages from template files that are compiled into the binary. The language is Mustache's logic-less
 * core: {{name}} (always HTML-escaped; there is no unescaped output), {{#section}} … {{/section}} for a
 * true value, an object or each entry of an array, {{^section}} for the opposite, {{.}} for a plain
 * array entry, {{> partial}}. The model is a struct json object; an absent name is empty. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

struct embedded_file { /* one row of what cmake's postern_embed makes; a NULL name ends the table */
    const char *name;  /* file name without folder: "home.html" */
    const char *bytes; /* NUL-terminated */
    size_t len;
};

const struct embedded_file *embedded_find(const struct embedded_file *files, const char *name);

/* Renders files' template "name" with model into out. Fails (INTERNAL) on an unknown template or a
 * malformed one; the text is then incomplete and must not be sent. */
MUST_CHECK bool template_render(const struct embedded_file *files, const char *name,
                                const struct json *model, struct text *out, struct error *err);
/* Escapes & < > " ' for HTML text and quoted attributes. */
void html_escape(struct text *out, h2o_iovec_t value);
