/* SPDX-License-Identifier: Apache-2.0
 *
 * What a person pastes into a terminal, or saves, so that kubectl works: pure functions from facts to text. */
#pragma once

#include "base/config.h"
#include "base/error.h"
#include "base/text.h"

struct command_facts { /* borrowed */
    const struct config_cluster
        *cluster;          /* name, an address (never NULL), additional_servers, audience */
    const char *api_ca;    /* PEM; NULL: the machine trusts the API server anyway */
    const char *portal_ca; /* PEM of our own CA; NULL as above */
    const char *issuer;
    const char *username; /* as RBAC sees it */
    const char *id_token; /* these two are NULL where nothing of them is wanted */
    const char *refresh_token;
};

enum command_kind {
    COMMAND_BASH,       /* for bash, zsh and dash: kubectl refreshes by itself */
    COMMAND_POWERSHELL, /* the same for PowerShell */
    COMMAND_EXEC,       /* for bash, zsh and dash: kubectl asks `postern login`; holds no secret */
};

/* One line, which begins with a space to stay out of histories that honour that: gives kubectl a cluster and a context
 * for each address, the user "<username>@<cluster>", and makes it the current context. A temporary file with
 * the API server's CA is removed whatever happens. Tokens go into kubectl's arguments and into no variable.
 * False: something in the facts can't be quoted safely; err says what, without repeating it. */
MUST_CHECK bool command_make(h2o_mem_pool_t *pool, const struct command_facts *facts,
                             enum command_kind kind, const char **out, struct error *err);

/* The same as a kubeconfig file. COMMAND_EXEC: as that command would leave it, without a secret. */
const char *kubeconfig_make(h2o_mem_pool_t *pool, const struct command_facts *facts,
                            enum command_kind kind);

/* Standard base64 of a PEM text, as kubeconfig wants it; NULL stays NULL. In pool. */
const char *command_base64(h2o_mem_pool_t *pool, const char *pem);
/* The line that tries a token without kubectl; NULL where the address can't be quoted. */
const char *command_curl(h2o_mem_pool_t *pool, const struct command_facts *facts);
