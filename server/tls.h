/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS of our own listeners: contexts from PEM files, and what a verified client certificate says. */
#pragma once

#include <h2o.h>
#include <openssl/x509.h>
#include <stdbool.h>

#include "base/config.h"
#include "base/error.h"
#include "http/web.h"

#define TLS_MAX_CLIENT_CAS 32

struct tls_options {
    const struct config_tls *files;
    const char *session_context;                /* differs per listener: no session crosses over */
    bool http2;                                 /* offer h2 before http/1.1 */
    const char *client_cas[TLS_MAX_CLIENT_CAS]; /* files; any present: mutual TLS */
    size_t client_ca_count;
};

/* TLS 1.2 and up. Refused: a certificate that is expired or not yet valid, a key that does not belong to
 * it or that others can read; the error names the file. The caller frees with SSL_CTX_free; everything
 * hangs on the context, so a connection that holds a reference needs nothing else. */
MUST_CHECK bool tls_context_new(const struct tls_options *options, SSL_CTX **out,
                                struct error *err);

struct tls_peer {
    struct web_peer web;
    X509 *certificate;
    STACK_OF(X509) * chain; /* what came with it */
};

/* What the verified certificate of ssl says: its DNS and URI SANs (else its CN) and which client CA files
 * of judge verify it; no name when it is not meant for client authentication (EKU). NULL when there is no
 * certificate. judge is the listener's context of now: after a reload it is not the one that ssl began with. */
struct tls_peer *tls_peer_new(const SSL *ssl, SSL_CTX *judge);
/* Asks again which client CA files verify it: after a reload the bits mean other files. */
void tls_peer_judge(struct tls_peer *self, SSL_CTX *judge);
void tls_peer_free(struct tls_peer *self); /* accepts NULL */
