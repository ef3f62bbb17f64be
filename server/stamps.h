/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of a config look like from outside (device, inode, size, time of change), to see that one was
 * replaced. Links are followed: Kubernetes changes a mounted secret by swapping one. */
#pragma once

#include "base/config.h"

/* One line; the caller frees. A file that is not there has a line too. */
char *stamp_of_file(const char *path);
/* Of the CA files that upstreams are made with; the caller frees. */
char *stamps_of_upstreams(const struct config *config);
/* config_stamp, and a line for every file that a reload reads; the caller frees. */
char *stamps_of(const struct config *config, const char *config_stamp);
