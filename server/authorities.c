/* SPDX-License-Identifier: Apache-2.0
 *
 * See authorities.h. What was read is written anew from the parsed certificates, so nothing but certificates
 * gets into a command that people paste: no comment, no private key, no odd line. */
#include "authorities.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define MAX_PEM 16384 /* of all certificates of a file: they stand in commands and on a page */

static bool parse_block(const char *name, const unsigned char *der, long len, BIO *out,
                        struct error *err)
{
    if (strcmp(name, PEM_STRING_X509) != 0)
        return error_set(err, ERROR_BAD_INPUT,
                         "holds a block \"%s\": only CERTIFICATE belongs there", name);
    X509 *certificate = d2i_X509(NULL, &der, len);
    bool written = certificate != NULL && PEM_write_bio_X509(out, certificate) == 1;
    X509_free(certificate);
    return written || error_set(err, ERROR_BAD_INPUT, "holds a malformed certificate");
}

/* From one block to the next; what stands between them is passed over. */
static bool parse_blocks(BIO *in, BIO *out, struct error *err)
{
    char *name, *header;
    unsigned char *der;
    long len;
    size_t count = 0;
    bool fine = true;
    for (; fine && PEM_read_bio(in, &name, &header, &der, &len) == 1; count++) {
        fine = parse_block(name, der, len, out, err);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)len);
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (fine && (!at_end || count == 0))
        return error_set(err, ERROR_BAD_INPUT,
                         at_end ? "holds no certificate in PEM" : "holds a malformed PEM block");
    return fine;
}

static bool take_text(BIO *from, char **out, struct error *err)
{
    char *bytes;
    long len = BIO_get_mem_data(from, &bytes);
    if (len > MAX_PEM)
        return error_set(err, ERROR_BAD_INPUT,
                         "holds more than %d bytes of certificates: only the CA that signed the "
                         "server's belongs there",
                         MAX_PEM);
    *out = h2o_strdup(NULL, bytes, (size_t)len).base;
    return true;
}

bool authorities_read(const char *file, char **out, struct error *err)
{
    *out = NULL;
    if (file == NULL)
        return true;
    BIO *in = BIO_new_file(file, "rb"), *made = BIO_new(BIO_s_mem());
    bool fine = in != NULL && made != NULL;
    if (!fine)
        error_set(err, ERROR_BAD_INPUT, "can't be read");
    fine = fine && parse_blocks(in, made, err) && take_text(made, out, err);
    BIO_free(in);
    BIO_free(made);
    ERR_clear_error();
    return fine || error_prefix(err, file);
}

/* ---- all of a config ---- */

static const char *key_of(unsigned cluster, char out[64])
{
    snprintf(out, 64, "clusters[%u].certificate_authority_file", cluster);
    return out;
}

#define PORTAL_KEY "portal.certificate_authority_file"

static struct portal_authorities *authorities_new(unsigned count)
{
    struct portal_authorities *self = h2o_mem_alloc(sizeof(*self));
    char **clusters = h2o_mem_alloc((count + 1) * sizeof(*clusters));
    memset(clusters, 0, (count + 1) * sizeof(*clusters)); /* NULL ends what is to be freed */
    *self = (struct portal_authorities){NULL, clusters, count};
    return self;
}

bool authorities_load(const struct config *config, struct portal_authorities **out,
                      struct error *err)
{
    char key[64];
    struct portal_authorities *self = authorities_new(config->cluster_count);
    bool fine = authorities_read(config->portal.certificate_authority_file, &self->portal, err) ||
                error_prefix(err, PORTAL_KEY);
    for (unsigned i = 0; fine && i < config->cluster_count; i++)
        fine = authorities_read(config->clusters[i].certificate_authority_file, &self->clusters[i],
                                err) ||
               error_prefix(err, key_of(i, key));
    if (fine)
        *out = self;
    else
        authorities_free(self);
    return fine;
}

void authorities_free(struct portal_authorities *self)
{
    if (self == NULL)
        return;
    for (unsigned i = 0; i < self->cluster_count; i++)
        free(self->clusters[i]);
    free(self->clusters);
    free(self->portal);
    free(self);
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool authorities_equal(const struct portal_authorities *a, const struct portal_authorities *b)
{
    if (!same(a->portal, b->portal) || a->cluster_count != b->cluster_count)
        return false;
    for (unsigned i = 0; i < a->cluster_count; i++)
        if (!same(a->clusters[i], b->clusters[i]))
            return false;
    return true;
}

static void check_file(const struct config *config, const char *key, const char *file,
                       struct config_problems *problems)
{
    char *text;
    struct error err;
    if (!authorities_read(file, &text, &err))
        config_complain(problems, config, key, "%s", err.text);
    else
        free(text);
}

void authorities_check(const struct config *config, struct config_problems *problems)
{
    char key[64];
    check_file(config, PORTAL_KEY, config->portal.certificate_authority_file, problems);
    for (unsigned i = 0; i < config->cluster_count; i++)
        check_file(config, key_of(i, key), config->clusters[i].certificate_authority_file,
                   problems);
}
