/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS for the tests' servers: a certificate that signs itself, is its own CA, and is good for 127.0.0.1 alone. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static inline void certificate_extend(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_true(X509_add_ext(cert, extension, -1));
    X509_EXTENSION_free(extension);
}

static inline X509 *certificate_new(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"t", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_set_pubkey(cert, key);
    certificate_extend(cert, NID_basic_constraints, "critical,CA:TRUE");
    certificate_extend(cert, NID_subject_alt_name, "IP:127.0.0.1");
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    return cert;
}

static inline void certificate_write(const char *path, X509 *cert)
{
    FILE *file = fopen(path, "w");
    assert_true(file != NULL && PEM_write_X509(file, cert));
    fclose(file);
}

/* With a key of its own; its certificate is written to ca_path, for those who are to trust it. */
static inline SSL_CTX *tls_server_new(const char *ca_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = certificate_new(key);
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    certificate_write(ca_path, cert);
    assert_true(SSL_CTX_use_certificate(tls, cert) && SSL_CTX_use_PrivateKey(tls, key));
    X509_free(cert);
    EVP_PKEY_free(key);
    return tls;
}
