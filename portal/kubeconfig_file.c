/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /kubeconfig/<cluster>: what the command does, as a file, with a session of its own, so that what was pasted and
 * what was saved can be ended apart. With style=exec it holds nothing secret, and no session is made. */
#include "handlers.h"
#include "http/web.h"
#include "visit.h"

static void answer(const struct visit *visit, const struct token_made *made)
{
    h2o_req_t *req = visit->req;
    struct command_facts facts = token_facts(visit->portal->parts.config, visit->identity, made);
    const char *file =
        kubeconfig_make(&req->pool, &facts, made->grant == NULL ? COMMAND_EXEC : COMMAND_BASH);
    web_add_header(
        req, "content-disposition",
        text_format(&req->pool, "attachment; filename=\"%s.kubeconfig\"", made->cluster->name));
    web_send(req, 200, "application/yaml", iovec_of(file));
}

int kubeconfig_send(void *ctx, h2o_req_t *req, h2o_iovec_t cluster)
{
    return token_start(ctx, req, cluster, true, answer);
}
