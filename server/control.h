/* SPDX-License-Identifier: Apache-2.0
 *
 * Break-glass: sessions listed and ended without Okta and without the portal. Plain HTTP on a Unix socket that only
 * the user whom Postern runs as (and root) can open:
 *
 *     GET    /sessions             everybody's; ?user=NAME or UID: one person's
 *     DELETE /sessions/ID          a sign-in with all below it, or one kubeconfig session
 *     DELETE /sessions?user=UID    all of a person's */
#pragma once

#include <h2o.h>
#include <stdatomic.h>

#include "base/json.h"
#include "cache/identities.h"
#include "cache/sessions.h"

#define CONTROL_LIST_MAX 10000 /* sign-ins in one answer */

struct control { /* borrowed parts; sessions and identities are there once ready is true */
    const atomic_bool *ready;
    struct sessions *sessions;
    struct identities *identities; /* NULL: no process runs, nobody's name is known */
};

/* ---- the socket ---- */
/* Listens, mode 0600. A socket that nobody listens on is replaced; anything else that is there is left alone and
 * refused. */
MUST_CHECK bool control_listen(const char *path, int *fd, struct error *err);
/* false: err says why, and where *none_runs it is that nobody listens. The caller closes. */
MUST_CHECK bool control_connect(const char *path, int *fd, bool *none_runs, struct error *err);
struct control_answer {
    int status;
    h2o_iovec_t body; /* in pool */
};
/* One request; target must be a good path with query. */
MUST_CHECK bool control_ask(h2o_mem_pool_t *pool, int fd, const char *method, const char *target,
                            struct control_answer *out, struct error *err);

/* ---- what is asked ---- */
void control_register(struct control *self, h2o_hostconf_t *host);
/* {"total","sign_ins":[…]}, last used first; user NULL: everybody's. All sign-ins of a UID are found; of a username those
 * among the last used CONTROL_LIST_MAX. */
struct json_writer *control_list(const struct control *self, h2o_mem_pool_t *pool,
                                 const char *user);
struct control_target {
    const char *id;  /* a sign-in or kubeconfig session; NULL: all of uid */
    const char *uid; /* with id: whose it is */
    bool is_grant;
};
/* Fills what is missing of the target; false: there is no such session, or the person has none. */
MUST_CHECK bool control_find(const struct control *self, struct control_target *target,
                             char uid[SESSION_UID_SIZE]);
/* Audits who asked, then ends it; unix_uid is the caller's. The callback as of cache/sessions.h. */
void control_end(const struct control *self, struct loop *loop, const struct control_target *target,
                 uid_t unix_uid, session_done_cb cb, void *ctx);
