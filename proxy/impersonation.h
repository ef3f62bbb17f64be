/* SPDX-License-Identifier: Apache-2.0
 *
 * Kubernetes' impersonation headers: what a client asks for with them (kubectl --as), and those that we write for a
 * person whom we have judged. Pure functions; the rights are somebody else's matter. */
#pragma once

#include <h2o.h>
#include <stdbool.h>

#include "base/error.h"
#include "headers.h"
#include "webhook/decide.h"

struct impersonation_extra {
    h2o_iovec_t key; /* as Kubernetes reads it: lower case, unescaped */
    h2o_iovec_t value;
};

struct impersonation { /* what was asked for; borrowed from the request and its pool */
    h2o_iovec_t user;  /* base NULL: nothing */
    h2o_iovec_t uid;   /* base NULL: none */
    h2o_iovec_t *groups;
    size_t group_count;
    struct impersonation_extra *extras;
    size_t extra_count;
};

/* Reads every Impersonate-* header, in whatever spelling a server behind us could read it. BAD_INPUT for what is not as
 * client-go writes it: unknown names, '_' for '-', a user or uid twice, groups without a user, a value that is empty,
 * too long, or no plain text (peers 29, 30, 32). */
MUST_CHECK bool impersonation_read(h2o_req_t *req, struct impersonation *out, struct error *err);
/* What nobody may be through us, whatever RBAC says: REJECTED for names that begin with "system:", but for service
 * accounts as users, and for extras that only we write. */
MUST_CHECK bool impersonation_check(const struct impersonation *asked, struct error *err);
/* "system:serviceaccount:NAMESPACE:NAME" in its parts; false: it is none. */
bool impersonation_service_account(h2o_iovec_t user, h2o_iovec_t *service_namespace,
                                   h2o_iovec_t *name);

/* Adds what was asked for, as it was asked. */
void impersonation_add(const struct impersonation *asked, struct header_list *list);
/* Adds the person of a yes: user, groups with system:authenticated, uid and the extras of a TokenReview. False, with
 * nothing added, where there is no username or one that may not be: then nothing may be sent. */
MUST_CHECK bool impersonation_add_person(const struct verdict *verdict, struct header_list *list);
/* Adds who really asks, as extras of whom they impersonate: originaluser.postern.dev/user, /uid, /group (one each),
 * and our session's id. */
void impersonation_add_original(const struct verdict *verdict, struct header_list *list);
