/* SPDX-License-Identifier: Apache-2.0
 *
 * Reload: the config and its files are read and judged anew (renewal.h), and then take effect at once, or are
 * refused whole while the old go on. No request and no session is lost, but where the identity provider or our
 * client there changes: that ends all sessions. For the main thread. */
#pragma once

#include "server.h"

#define RELOAD_WATCH_S                                                                             \
    5 /* how often files are looked at; one that changed must stay the same once */

struct reload;

struct reload *reload_new(struct server *server);
void reload_free(struct reload *self);
void reload_now(struct reload *self);
/* To be called every RELOAD_WATCH_S: reloads when a file has changed and lies still. */
void reload_if_changed(struct reload *self);
