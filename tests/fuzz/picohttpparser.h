/* SPDX-License-Identifier: Apache-2.0
 *
 * h2o's parser of heads, which is in its library; its header is not installed. */
#pragma once

#include <stddef.h>

struct phr_header {
    const char *name; /* NULL: another line of the header before */
    size_t name_len;
    const char *value;
    size_t value_len;
};

/* Bytes of the head; -1: malformed, -2: not whole. */
int phr_parse_request(const char *buf, size_t len, const char **method, size_t *method_len,
                      const char **path, size_t *path_len, int *minor_version,
                      struct phr_header *headers, size_t *num_headers, size_t last_len);
int phr_parse_response(const char *buf, size_t len, int *minor_version, int *status,
                       const char **msg, size_t *msg_len, struct phr_header *headers,
                       size_t *num_headers, size_t last_len);
