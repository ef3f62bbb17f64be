/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of portal/pages, as cmake compiled them in. */
#pragma once

#include "http/template.h"

extern const struct embedded_file portal_files[];
