/* SPDX-License-Identifier: Apache-2.0
 *
 * Included before every file of ours (cmake/postern.cmake): functions that have no bound, or that are
 * not safe with threads, do not compile. The headers that declare them come first. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok atoi atol gmtime localtime
