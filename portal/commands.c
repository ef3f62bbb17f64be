/* SPDX-License-Identifier: Apache-2.0
 *
 * See commands.h. The steps are lists of words, the same for all shells; how words are quoted, how steps are joined,
 * and how the temporary file goes is the shell's. A step that fails ends the rest. */
#include "commands.h"

#include <assert.h>

#include "quote.h"

#define EXEC_VERSION "client.authentication.k8s.io/v1"

struct script {
    struct text text;
    const struct command_facts *facts;
    bool powershell;
    bool begun;       /* a step stands there */
    const char *user; /* its name in kubeconfig */
    bool failed;      /* err says why; the first failure counts */
    struct error *err;
};

/* ---- words and steps ---- */

/* Refers to the shell's variable, so it stands in double quotes: the same in all shells. */
static const char ca_flag[] = "--certificate-authority=$ca";

static void add_word(struct script *self, const char *word)
{
    struct error err = {.kind = ERROR_NONE};
    bool fine = self->powershell ? quote_powershell(&self->text, word, &err)
                                 : quote_sh(&self->text, word, &err);
    if (!fine && !self->failed) {
        self->failed = true;
        error_set(self->err, err.kind, "a name or address %s", err.text);
    }
}

static void add_words(struct script *self, const char *const *words)
{
    text_add_string(&self->text, "kubectl config");
    for (; *words != NULL; words++) {
        text_add_string(&self->text, " ");
        if (*words == ca_flag)
            text_add_format(&self->text, "\"%s\"", ca_flag);
        else
            add_word(self, *words);
    }
}

static void join(struct script *self)
{
    if (self->begun && !self->powershell)
        text_add_string(&self->text, " && ");
    self->begun = true;
}

/* words end with NULL. */
static void add_step(struct script *self, const char *const *words)
{
    join(self);
    add_words(self, words);
    if (self->powershell)
        text_add_string(&self->text, "; if ($LASTEXITCODE) { throw 'kubectl failed' }; ");
}

static const char *flag(struct script *self, const char *name, const char *value)
{
    return text_format(self->text.pool, "--%s=%s", name, value);
}

/* kubectl reads these as a line of CSV. */
static const char *list_flag(struct script *self, const char *name, const char *key,
                             const char *value)
{
    if (strpbrk(value, ",\"") != NULL && !self->failed) {
        self->failed = true;
        error_set(self->err, ERROR_BAD_INPUT,
                  "the %s has a comma or a double quote, which kubectl takes apart", key);
    }
    return text_format(self->text.pool, "--%s=%s=%s", name, key, value);
}

/* ---- the steps ---- */

static void add_place(struct script *self, const char *name, const char *server)
{
    const char *ca = self->facts->api_ca != NULL ? ca_flag : NULL;
    add_step(self, (const char *const[]){"set-cluster", name, flag(self, "server", server), ca,
                                         ca != NULL ? "--embed-certs=true" : NULL, NULL});
    add_step(self, (const char *const[]){"set-context", name, flag(self, "cluster", name),
                                         flag(self, "user", self->user), NULL});
}

/* kubectl keeps what a user of that name had before, and an exec plugin beside an auth provider is an error. The
 * name may look like a flag: thus the "--". */
static void forget_user(struct script *self)
{
    const char *const words[] = {"delete-user", "--", self->user, NULL};
    join(self);
    text_add_string(&self->text, self->powershell ? "try { " : "{ ");
    add_words(self, words);
    text_add_string(&self->text, self->powershell ? " 2>&1 | Out-Null } catch { }; "
                                                  : " >/dev/null 2>&1 || :; }");
}

static void add_auth_provider(struct script *self)
{
    const struct command_facts *facts = self->facts;
    const char *arg = "auth-provider-arg";
    const char *words[12] = {"set-credentials", "--auth-provider=oidc",
                             list_flag(self, arg, "idp-issuer-url", facts->issuer),
                             list_flag(self, arg, "client-id", facts->cluster->audience)};
    size_t count = 4;
    words[count++] = list_flag(self, arg, "refresh-token", facts->refresh_token);
    words[count++] = list_flag(self, arg, "id-token", facts->id_token);
    if (facts->portal_ca != NULL)
        words[count++] = list_flag(self, arg, "idp-certificate-authority-data",
                                   command_base64(self->text.pool, facts->portal_ca));
    words[count++] = "--";
    words[count] = self->user;
    add_step(self, words);
}

static void add_plugin(struct script *self)
{
    const struct command_facts *facts = self->facts;
    static const char version[] = "--exec-api-version=" EXEC_VERSION;
    const char *words[12] = {"set-credentials",
                             version,
                             "--exec-interactive-mode=IfAvailable",
                             "--exec-command=postern",
                             "--exec-arg=login",
                             list_flag(self, "exec-arg", "--issuer", facts->issuer),
                             list_flag(self, "exec-arg", "--client-id", facts->cluster->audience)};
    size_t count = 7;
    if (facts->portal_ca != NULL)
        words[count++] = list_flag(self, "exec-arg", "--certificate-authority-data",
                                   command_base64(self->text.pool, facts->portal_ca));
    words[count++] = "--";
    words[count] = self->user;
    add_step(self, words);
}

static void add_steps(struct script *self, enum command_kind kind)
{
    const struct config_cluster *cluster = self->facts->cluster;
    add_place(self, cluster->name, config_cluster_address(cluster));
    forget_user(self);
    if (kind == COMMAND_EXEC)
        add_plugin(self);
    else
        add_auth_provider(self);
    add_step(self, (const char *const[]){"use-context", cluster->name, NULL});
    for (unsigned i = 0; i < cluster->additional_server_count; i++)
        add_place(self, cluster->additional_servers[i].name, cluster->additional_servers[i].server);
}

/* ---- the temporary file ---- */

/* One word for each line: no shell's echo or escapes are needed, and the command stays one line. */
static void add_pem_lines(struct script *self, const char *pem, const char *separator)
{
    for (size_t len; *pem != '\0'; pem += len + (pem[len] == '\n')) {
        len = strcspn(pem, "\n");
        add_word(self, text_format(self->text.pool, "%.*s", (int)len, pem));
        if (pem[len] == '\n' && pem[len + 1] != '\0')
            text_add_string(&self->text, separator);
    }
}

/* A subshell: its variable and its traps end with it. >| writes where noclobber is set, too. */
static void write_sh(struct script *self, enum command_kind kind)
{
    struct text *text = &self->text;
    text_add_string(text, " (");
    if (self->facts->api_ca != NULL) {
        text_add_string(text, "ca=$(mktemp) && trap 'rm -f \"$ca\"' EXIT && "
                              "trap 'exit 1' HUP INT TERM && printf '%s\\n' ");
        add_pem_lines(self, self->facts->api_ca, " ");
        text_add_string(text, " >|\"$ca\"");
        self->begun = true;
    }
    add_steps(self, kind);
    text_add_string(text, ")");
}

static void write_powershell(struct script *self, enum command_kind kind)
{
    struct text *text = &self->text;
    text_add_string(text, " & { $ErrorActionPreference = 'Stop'; ");
    if (self->facts->api_ca != NULL) {
        text_add_string(text, "$ca = (New-TemporaryFile).FullName; try { "
                              "Set-Content -LiteralPath $ca -Encoding ascii -Value ");
        add_pem_lines(self, self->facts->api_ca, ", ");
        text_add_string(text, "; ");
    }
    add_steps(self, kind);
    if (self->facts->api_ca != NULL)
        text_add_string(text, "} finally { Remove-Item -Force -LiteralPath $ca } ");
    text_add_string(text, "}");
}

bool command_make(h2o_mem_pool_t *pool, const struct command_facts *facts, enum command_kind kind,
                  const char **out, struct error *err)
{
    struct script self = {.facts = facts, .powershell = kind == COMMAND_POWERSHELL, .err = err};
    assert(config_cluster_address(facts->cluster) != NULL);
    assert(kind == COMMAND_EXEC || (facts->id_token != NULL && facts->refresh_token != NULL));
    text_init(&self.text, pool);
    self.user = text_format(pool, "%s@%s", facts->username, facts->cluster->name);
    if (self.powershell)
        write_powershell(&self, kind);
    else
        write_sh(&self, kind);
    if (self.failed)
        return false;
    *out = self.text.bytes;
    return true;
}

/* ---- single pieces ---- */

const char *command_base64(h2o_mem_pool_t *pool, const char *pem)
{
    if (pem == NULL)
        return NULL;
    size_t len = strlen(pem);
    char *out = h2o_mem_alloc_pool(pool, (len + 2) / 3 * 4 + 1);
    h2o_base64_encode(out, pem, len, 0);
    return out;
}

const char *command_curl(h2o_mem_pool_t *pool, const struct command_facts *facts)
{
    struct text text;
    text_init(&text, pool);
    text_add_format(&text, "curl %s--header \"Authorization: Bearer $TOKEN\" ",
                    facts->api_ca != NULL ? "--cacert ca.crt " : "");
    if (!quote_sh(&text, text_format(pool, "%s/version", config_cluster_address(facts->cluster)),
                  NULL))
        return NULL;
    return text.bytes;
}
