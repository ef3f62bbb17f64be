/* SPDX-License-Identifier: Apache-2.0
 *
 * See options.h. Nothing here is a secret: a command line is everybody's to read. */
#include "options.h"

#include <errno.h>
#include <getopt.h>

#include "base/crypto.h"
#include "base/text.h"

#define CA_MAX_BYTES 65536

static const char USAGE[] =
    "usage: postern login --issuer URL --client-id ID [option...]\n"
    "\n"
    "A credential plugin for kubeconfig (docs/login.md). Prints an ExecCredential with a token for "
    "the\n"
    "cluster; signs in when there is none.\n"
    "\n"
    "  --issuer URL                 the portal's issuer, exactly\n"
    "  --client-id ID               the cluster's audience\n"
    "  --certificate-authority FILE       trust this CA (PEM), and not the system's\n"
    "  --certificate-authority-data BASE64  the same, as kubeconfig has it\n"
    "  --device                     sign in with a code on another device\n"
    "  --no-browser                 print the address to sign in at, and open nothing\n"
    "  --listen 127.0.0.1:PORT      where the browser comes back to; without it a free port\n"
    "  --cache-directory DIR        instead of $XDG_CACHE_HOME/postern or ~/.cache/postern\n"
    "\n"
    "HTTPS_PROXY and NO_PROXY count, as they do for kubectl.\n";

enum { ISSUER = 1, CLIENT_ID, CA_FILE, CA_DATA, CACHE, LISTEN, DEVICE, NO_BROWSER };

static const struct option OPTIONS[] = {
    {"issuer", required_argument, NULL, ISSUER},
    {"client-id", required_argument, NULL, CLIENT_ID},
    {"certificate-authority", required_argument, NULL, CA_FILE},
    {"certificate-authority-data", required_argument, NULL, CA_DATA},
    {"cache-directory", required_argument, NULL, CACHE},
    {"listen", required_argument, NULL, LISTEN},
    {"device", no_argument, NULL, DEVICE},
    {"no-browser", no_argument, NULL, NO_BROWSER},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0}};

static void take(struct login_options *self, int option)
{
    const char **texts[] = {
        [ISSUER] = &self->issuer,   [CLIENT_ID] = &self->client_id,   [CA_FILE] = &self->ca_file,
        [CA_DATA] = &self->ca_data, [CACHE] = &self->cache_directory, [LISTEN] = &self->listen};
    if (option <= LISTEN)
        *texts[option] = optarg;
    self->device |= option == DEVICE;
    self->no_browser |= option == NO_BROWSER;
}

static const char *complaint_of(const struct login_options *self, bool operands)
{
    if (operands)
        return "it takes options only";
    if (self->issuer == NULL || self->client_id == NULL || self->client_id[0] == '\0')
        return "--issuer and --client-id are needed";
    if (strncmp(self->issuer, "https://", 8) != 0 || strlen(self->issuer) > 1024 ||
        strpbrk(self->issuer, "?# \t\r\n") != NULL)
        return "--issuer must be an https URL without a query";
    if (self->ca_file != NULL && self->ca_data != NULL)
        return "--certificate-authority and --certificate-authority-data: only one can count";
    if (self->device && (self->listen != NULL || self->no_browser))
        return "--device needs no browser and listens nowhere";
    return NULL;
}

bool options_read(int argc, char **argv, struct login_options *out, int *code)
{
    struct login_options self = {.issuer = NULL};
    int option;
    optind = 1;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    while ((option = getopt_long(argc, argv, "h", OPTIONS, NULL)) != -1) {
        if (option == 'h' || option == '?') {
            fputs(USAGE, option == 'h' ? stdout : stderr);
            *code = option == 'h' ? 0 : 2;
            return false;
        }
        take(&self, option);
    }
    const char *complaint = complaint_of(&self, optind != argc);
    if (complaint != NULL) {
        fprintf(stderr, "postern login: %s\n\n%s", complaint, USAGE);
        *code = 2;
        return false;
    }
    *out = self;
    return true;
}

/* ---- the CA ---- */

static bool read_file(h2o_mem_pool_t *pool, const char *path, h2o_iovec_t *out, struct error *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return error_set(err, ERROR_BAD_INPUT, "%s: %s", path, strerrordesc_np(errno));
    char *bytes = h2o_mem_alloc_pool(pool, CA_MAX_BYTES + 1);
    size_t len = fread(bytes, 1, CA_MAX_BYTES + 1, file);
    bool good = ferror(file) == 0;
    fclose(file);
    if (!good || len > CA_MAX_BYTES)
        return error_set(err, ERROR_BAD_INPUT, "%s: %s", path,
                         good ? "too large for a CA" : "it can't be read");
    bytes[len] = '\0';
    *out = h2o_iovec_init(bytes, len);
    return true;
}

/* Standard base64, by way of the other alphabet. */
static bool read_base64(h2o_mem_pool_t *pool, const char *text, h2o_iovec_t *out, struct error *err)
{
    char *copy = text_dup(pool, text);
    size_t len = strlen(copy);
    for (int i = 0; i < 2 && len > 0 && copy[len - 1] == '='; i++)
        len--;
    for (size_t i = 0; i < len; i++) {
        if (copy[i] == '+')
            copy[i] = '-';
        else if (copy[i] == '/')
            copy[i] = '_';
    }
    return (len <= (size_t)CA_MAX_BYTES * 2 &&
            base64url_decode(pool, h2o_iovec_init(copy, len), out)) ||
           error_set(err, ERROR_BAD_INPUT, "--certificate-authority-data: it is no base64");
}

bool options_ca(h2o_mem_pool_t *pool, const struct login_options *self, const char **out,
                struct error *err)
{
    h2o_iovec_t pem = {NULL, 0};
    if (self->ca_file != NULL && !read_file(pool, self->ca_file, &pem, err))
        return false;
    if (self->ca_data != NULL && !read_base64(pool, self->ca_data, &pem, err))
        return false;
    if (pem.base != NULL &&
        (strlen(pem.base) != pem.len || strstr(pem.base, "-----BEGIN CERTIFICATE-----") == NULL))
        return error_set(err, ERROR_BAD_INPUT, "the CA that was given has no PEM certificate");
    *out = pem.base;
    return true;
}
