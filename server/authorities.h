/* SPDX-License-Identifier: Apache-2.0
 *
 * The CAs that people's kubectl is told of: ours and the API servers', from the files of the config. */
#pragma once

#include "base/config.h"
#include "portal/portal.h"

/* Reads them all; the error begins with the key. The caller frees. */
MUST_CHECK bool authorities_load(const struct config *config, struct portal_authorities **out,
                                 struct error *err);
void authorities_free(struct portal_authorities *self); /* accepts NULL */
/* Whether both hold the same text; of configs with the same clusters. */
bool authorities_equal(const struct portal_authorities *a, const struct portal_authorities *b);
/* One file's certificates as text, and nothing else that it holds; the caller frees. NULL stays NULL. The error
 * begins with the file. */
MUST_CHECK bool authorities_read(const char *file, char **out, struct error *err);
/* The same judgement, every complaint at its key. */
void authorities_check(const struct config *config, struct config_problems *problems);
