/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /tokens/<cluster>: the commands that set kubectl up, the file, and the single pieces; or the same as JSON. */
#include "base/clock.h"
#include "handlers.h"
#include "http/web.h"
#include "visit.h"
#include "words.h"

struct command_facts token_facts(const struct config *config, const struct identity *identity,
                                 const struct token_made *made)
{
    return (struct command_facts){.cluster = made->cluster,
                                  .api_ca = made->api_ca,
                                  .portal_ca = made->portal_ca,
                                  .issuer = config->portal.issuer,
                                  .username = identity->username,
                                  .id_token = made->id_token.base,
                                  .refresh_token = made->refresh_token};
}

/* ---- the page ---- */

struct offer { /* one command on the page */
    enum command_kind kind;
    const char *id, *label;
};
static const struct offer bash = {COMMAND_BASH, "bash", "bash or zsh"};
static const struct offer powershell = {COMMAND_POWERSHELL, "powershell", "PowerShell"};

static void offer_command(h2o_mem_pool_t *pool, struct json *commands,
                          const struct command_facts *facts, const struct offer *offer)
{
    struct error err = {.kind = ERROR_NONE};
    const char *command;
    struct json *entry = json_push_object(pool, commands);
    json_add_string(pool, entry, "id", offer->id);
    json_add_string(pool, entry, "label", offer->label);
    if (command_make(pool, facts, offer->kind, &command, &err))
        json_add_string(pool, entry, "command", command);
    else
        json_add_string(pool, entry, "refusal", err.text);
}

/* Where kubectl can be told how to reach the cluster. */
static void add_commands(h2o_mem_pool_t *pool, struct json *model,
                         const struct command_facts *facts, bool windows)
{
    struct error err;
    const char *plugin;
    if (config_cluster_address(facts->cluster) == NULL)
        return;
    struct json *setup = json_add_object(pool, model, "setup");
    struct json *commands = json_add_array(pool, setup, "commands");
    offer_command(pool, commands, facts, windows ? &powershell : &bash);
    offer_command(pool, commands, facts, windows ? &bash : &powershell);
    if (command_make(pool, facts, COMMAND_EXEC, &plugin, &err))
        json_add_string(pool, setup, "plugin", plugin);
    json_add_string(pool, setup, "curl", command_curl(pool, facts));
}

static void add_pieces(h2o_mem_pool_t *pool, struct json *model, const struct command_facts *facts)
{
    json_add_string(pool, model, "id_token", facts->id_token);
    json_add_string(pool, model, "refresh_token", facts->refresh_token);
    json_add_string(pool, model, "issuer", facts->issuer);
    json_add_string(pool, model, "client_id", facts->cluster->audience);
    json_add_string(pool, model, "api_ca", facts->api_ca);
    json_add_string(pool, model, "portal_ca", facts->portal_ca);
}

struct json *token_model(h2o_mem_pool_t *pool, const struct page_frame *frame,
                         const struct config *config, const struct identity *identity,
                         const struct token_made *made, bool windows)
{
    const char *title = text_format(pool, "kubectl on %s", made->cluster->name);
    struct command_facts facts = token_facts(config, identity, made);
    struct json *model = page_new(pool, frame, title, made->made_ms);
    page_add_person(pool, model, identity);
    json_add_string(pool, model, "cluster", made->cluster->name);
    json_add_string(pool, model, "session", made->grant->name);
    json_add_string(pool, model, "username", identity->username);
    page_add_groups(pool, model, identity->groups, identity->group_count);
    json_add_bool(pool, model, "asked_anew",
                  made->cluster->authentication == AUTHENTICATION_WEBHOOK);
    page_add_time(pool, model, "expires", made->expires_ms, made->made_ms);
    page_add_time(pool, model, "ends", made->grant->ends_ms, made->made_ms);
    json_add_string(pool, model, "kubeconfig_idle",
                    words_duration(pool, config->portal.session_kubeconfig_idle_ms));
    add_commands(pool, model, &facts, windows);
    add_pieces(pool, model, &facts);
    return model;
}

/* ---- JSON ---- */

static void put_command(struct json_writer *writer, h2o_mem_pool_t *pool,
                        const struct command_facts *facts, enum command_kind kind)
{
    struct error err;
    const char *command;
    if (command_make(pool, facts, kind, &command, &err))
        json_put_string(writer, command);
    else
        json_put_null(writer);
}

static void put_commands(struct json_writer *writer, h2o_mem_pool_t *pool,
                         const struct command_facts *facts)
{
    json_key(writer, "commands");
    if (config_cluster_address(facts->cluster) == NULL) {
        json_put_null(writer);
        return;
    }
    json_begin_object(writer);
    json_key(writer, "bash");
    put_command(writer, pool, facts, COMMAND_BASH);
    json_key(writer, "powershell");
    put_command(writer, pool, facts, COMMAND_POWERSHELL);
    json_key(writer, "exec");
    put_command(writer, pool, facts, COMMAND_EXEC);
    json_end_object(writer);
}

static void put_identity(struct json_writer *writer, const struct identity *identity)
{
    json_key(writer, "username");
    json_put_string(writer, identity->username);
    json_key(writer, "groups");
    json_put_strings(writer, identity->groups, identity->group_count);
}

static void answer_json(const struct visit *visit, const struct token_made *made)
{
    char expires[CLOCK_RFC3339_SIZE];
    h2o_mem_pool_t *pool = &visit->req->pool;
    const struct command_facts facts =
        token_facts(visit->portal->parts.config, visit->identity, made);
    struct json_writer *writer = json_writer_new(pool);
    json_begin_object(writer);
    json_key(writer, "cluster");
    json_put_string(writer, made->cluster->name);
    put_identity(writer, visit->identity);
    json_key(writer, "id_token");
    json_put_iovec(writer, made->id_token);
    json_key(writer, "refresh_token");
    json_put_string(writer, made->refresh_token);
    json_key(writer, "expires_at");
    json_put_string(writer, clock_rfc3339(made->expires_ms, expires));
    put_commands(writer, pool, &facts);
    json_end_object(writer);
    web_send_json(visit->req, 200, writer);
}

/* ---- the address ---- */

static bool is_windows(h2o_req_t *req)
{
    h2o_iovec_t agent = web_header(req, "user-agent");
    return agent.base != NULL && memmem(agent.base, agent.len, "Windows", 7) != NULL;
}

static void answer(const struct visit *visit, const struct token_made *made)
{
    const struct portal *portal = visit->portal;
    if (web_wants_json(visit->req))
        answer_json(visit, made);
    else
        visit_send(visit, "token.html",
                   token_model(&visit->req->pool, &portal->frame, portal->parts.config,
                               visit->identity, made, is_windows(visit->req)));
}

int token_make(void *ctx, h2o_req_t *req, h2o_iovec_t cluster)
{
    return token_start(ctx, req, cluster, false, answer);
}
