/* SPDX-License-Identifier: Apache-2.0
 *
 * See anchor.h. Go takes any certificate among its roots for an anchor, also an intermediate CA or a server's own;
 * the checks here do the same. */
#include "anchor.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "authorities.h"

static STACK_OF(X509) * read_chain(const char *file)
{
    BIO *in = BIO_new_file(file, "rb");
    STACK_OF(X509) *chain = sk_X509_new_null();
    X509 *certificate;
    while (in != NULL && chain != NULL &&
           (certificate = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL)
        if (sk_X509_push(chain, certificate) == 0)
            X509_free(certificate);
    BIO_free(in);
    ERR_clear_error();
    return chain;
}

static void free_chain(STACK_OF(X509) * chain)
{
    sk_X509_pop_free(chain, X509_free);
}

static bool is_vouched_for(STACK_OF(X509) * chain, const char *ca_file)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool good = store != NULL && ctx != NULL && X509_STORE_load_file(store, ca_file) == 1 &&
                X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
                X509_STORE_CTX_init(ctx, store, sk_X509_value(chain, 0), chain) == 1 &&
                X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER) == 1 &&
                X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return good;
}

static char *write_pem(h2o_mem_pool_t *pool, X509 *certificate)
{
    char *bytes = NULL;
    BIO *out = BIO_new(BIO_s_mem());
    bool good = out != NULL && PEM_write_bio_X509(out, certificate) == 1;
    long len = good ? BIO_get_mem_data(out, &bytes) : 0;
    char *pem = good ? text_dup_iovec(pool, h2o_iovec_init(bytes, (size_t)len)) : NULL;
    BIO_free(out);
    return pem;
}

static char *end_of_chain(h2o_mem_pool_t *pool, const STACK_OF(X509) * chain)
{
    X509 *last = sk_X509_value(chain, sk_X509_num(chain) - 1);
    bool is_anchor = X509_check_ca(last) > 0 || X509_check_issued(last, last) == X509_V_OK;
    return is_anchor ? write_pem(pool, last) : NULL;
}

static bool named_authority(h2o_mem_pool_t *pool, const struct config *config,
                            STACK_OF(X509) * chain, char **out, struct error *err)
{
    const char *file = config->webhook.certificate_authority_file;
    char *pem;
    if (!authorities_read(file, &pem, err))
        return false;
    *out = text_dup(pool, pem);
    free(pem);
    return is_vouched_for(chain, file) ||
           error_set(err, ERROR_BAD_INPUT, "%s does not vouch for %s", file,
                     config->webhook.tls.certificate_file);
}

bool anchor_load(h2o_mem_pool_t *pool, const struct config *config, char **out, struct error *err)
{
    STACK_OF(X509) *chain = read_chain(config->webhook.tls.certificate_file);
    bool good = sk_X509_num(chain) > 0;
    if (!good)
        error_set(err, ERROR_BAD_INPUT, "%s holds no certificate that can be read",
                  config->webhook.tls.certificate_file);
    else if (config->webhook.certificate_authority_file != NULL)
        good = named_authority(pool, config, chain, out, err);
    else
        *out = end_of_chain(pool, chain);
    free_chain(chain);
    return good;
}

bool anchor_certificate_is_for(const char *certificate_file, const char *host)
{
    STACK_OF(X509) *chain = read_chain(certificate_file);
    X509 *first = sk_X509_value(chain, 0);
    bool good = first != NULL && (X509_check_ip_asc(first, host, 0) == 1 ||
                                  X509_check_host(first, host, 0, 0, NULL) == 1);
    free_chain(chain);
    return good;
}
