/* SPDX-License-Identifier: Apache-2.0
 *
 * Builds the SSL_CTX of each listener and reads client certificates. A mutual-TLS context keeps one
 * X509_STORE per client CA file beside OpenSSL's own union of them: the handshake asks "does any CA of
 * ours vouch for this peer?", and the webhook later asks "does this cluster's CA?". */
#include "tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>

#include "base/secret.h"

struct client_cas { /* hangs on the SSL_CTX */
    X509_STORE *stores[TLS_MAX_CLIENT_CAS];
    size_t count;
};

static int client_cas_index = -1;
static pthread_once_t client_cas_once = PTHREAD_ONCE_INIT;

static void on_context_free(void *parent, void *data, CRYPTO_EX_DATA *ad, int index, long argl,
                            void *argp)
{
    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    struct client_cas *cas = data;
    if (cas == NULL)
        return;
    for (size_t i = 0; i < cas->count; ++i)
        X509_STORE_free(cas->stores[i]);
    free(cas);
}

static void make_index(void)
{
    client_cas_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_context_free);
}

static bool fail(struct error *err, const char *file, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return error_set(err, ERROR_BAD_INPUT, "%s: %s%s%s", file, what, reason != NULL ? ": " : "",
                     reason != NULL ? reason : "");
}

static bool load_certificate(SSL_CTX *ctx, const char *file, struct error *err)
{
    if (SSL_CTX_use_certificate_chain_file(ctx, file) != 1)
        return fail(err, file, "can't be used as certificate chain");
    const X509 *certificate = SSL_CTX_get0_certificate(ctx);
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0)
        return error_set(err, ERROR_BAD_INPUT, "%s: the certificate is expired", file);
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        return error_set(err, ERROR_BAD_INPUT, "%s: the certificate is not valid yet", file);
    return true;
}

static bool use_key(SSL_CTX *ctx, const char *file, h2o_iovec_t pem, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(pem.base, (int)pem.len);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (key == NULL)
        return fail(err, file, "holds no private key in PEM without a pass phrase");
    int used = SSL_CTX_use_PrivateKey(ctx, key);
    EVP_PKEY_free(key);
    if (used != 1 || SSL_CTX_check_private_key(ctx) != 1)
        return fail(err, file, "the key does not belong to the certificate");
    return true;
}

static bool load_key(SSL_CTX *ctx, const char *file, struct error *err)
{
    struct secret pem = {NULL, 0};
    if (!secret_load_file(file, &pem, err))
        return false;
    bool ok = use_key(ctx, file, secret_iovec(&pem), err);
    secret_dispose(&pem);
    return ok;
}

/* OpenSSL reads a certificate's extensions when they are first needed, under a lock of its own. Here it is one
 * thread that does it, before all of them verify with it. */
static void read_extensions(X509_STORE *store)
{
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
    for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
        X509 *certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
        if (certificate != NULL)
            X509_check_purpose(certificate, -1, 0);
    }
}

static bool load_client_cas(SSL_CTX *ctx, const struct tls_options *options, struct error *err)
{
    struct client_cas *cas = h2o_mem_alloc(sizeof(*cas));
    *cas = (struct client_cas){.count = 0};
    if (SSL_CTX_set_ex_data(ctx, client_cas_index, cas) != 1) {
        free(cas);
        return error_set(err, ERROR_INTERNAL, "OpenSSL: no room for the client CAs");
    }
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    SSL_CTX_set_client_CA_list(ctx, names); /* owns it; which CAs a client should choose by */
    for (size_t i = 0; i < options->client_ca_count; ++i) {
        const char *file = options->client_cas[i];
        if (names == NULL || (cas->stores[i] = X509_STORE_new()) == NULL)
            return error_set(err, ERROR_INTERNAL, "OpenSSL: no memory");
        cas->count = i + 1;
        if (X509_STORE_load_file(cas->stores[i], file) != 1 ||
            SSL_CTX_load_verify_file(ctx, file) != 1)
            return fail(err, file, "can't be used as client CA");
        read_extensions(cas->stores[i]);
        SSL_add_file_cert_subjects_to_stack(names, file);
    }
    read_extensions(SSL_CTX_get_cert_store(ctx));
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    /* A resumed session would bring no certificate and would not be checked for expiry again. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return true;
}

bool tls_context_new(const struct tls_options *options, SSL_CTX **out, struct error *err)
{
    pthread_once(&client_cas_once, make_index);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL)
        return error_set(err, ERROR_INTERNAL, "OpenSSL: no TLS context");
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)options->session_context,
                                   (unsigned)strlen(options->session_context));
    h2o_ssl_register_alpn_protocols(ctx,
                                    options->http2 ? h2o_alpn_protocols : h2o_alpn_protocols + 3);
    if (!load_certificate(ctx, options->files->certificate_file, err) ||
        !load_key(ctx, options->files->key_file, err) ||
        (options->client_ca_count != 0 && !load_client_cas(ctx, options, err))) {
        SSL_CTX_free(ctx);
        return false;
    }
    *out = ctx;
    return true;
}

/* ---- the peer ---- */

static void add_name(struct web_peer *peer, const ASN1_STRING *text)
{
    const char *bytes = (const char *)ASN1_STRING_get0_data(text);
    size_t len = (size_t)ASN1_STRING_length(text);
    /* A NUL inside would let "kube-apiserver\0.evil" look like another name. */
    if (len == 0 || len > 255 || memchr(bytes, '\0', len) != NULL)
        return;
    peer->names = h2o_mem_realloc(peer->names, (peer->name_count + 1) * sizeof(*peer->names));
    peer->names[peer->name_count++] = h2o_strdup(NULL, bytes, len).base;
}

static void add_sans(struct web_peer *peer, const X509 *certificate)
{
    GENERAL_NAMES *sans = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(sans) && peer->name_count < 64; ++i) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(sans, i);
        if (name->type == GEN_DNS)
            add_name(peer, name->d.dNSName);
        else if (name->type == GEN_URI)
            add_name(peer, name->d.uniformResourceIdentifier);
    }
    GENERAL_NAMES_free(sans);
}

static void add_common_name(struct web_peer *peer, const X509 *certificate)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
        return; /* none, or several: which one would count? */
    add_name(peer, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

static bool verified_by(X509_STORE *store, X509 *certificate, STACK_OF(X509) * chain)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok = ctx != NULL && X509_STORE_CTX_init(ctx, store, certificate, chain) == 1 &&
              X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) == 1 &&
              X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

struct tls_peer *tls_peer_new(const SSL *ssl, SSL_CTX *judge)
{
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    if (certificate == NULL || SSL_get_verify_result(ssl) != X509_V_OK) {
        X509_free(certificate);
        return NULL;
    }
    struct tls_peer *self = h2o_mem_alloc(sizeof(*self));
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
    *self = (struct tls_peer){.certificate = certificate};
    self->chain = chain != NULL ? X509_chain_up_ref(chain) : NULL;
    uint32_t usage = X509_get_extended_key_usage(certificate); /* all ones when there is no EKU */
    if (usage != UINT32_MAX && (usage & XKU_SSL_CLIENT) != 0)
        add_sans(&self->web, certificate);
    if (usage != UINT32_MAX && (usage & XKU_SSL_CLIENT) != 0 && self->web.name_count == 0)
        add_common_name(&self->web, certificate);
    tls_peer_judge(self, judge);
    return self;
}

void tls_peer_judge(struct tls_peer *self, SSL_CTX *judge)
{
    const struct client_cas *cas = SSL_CTX_get_ex_data(judge, client_cas_index);
    self->web.ca_mask = 0;
    for (size_t i = 0; cas != NULL && i < cas->count; ++i)
        if (verified_by(cas->stores[i], self->certificate, self->chain))
            self->web.ca_mask |= 1u << i;
}

void tls_peer_free(struct tls_peer *self)
{
    if (self == NULL)
        return;
    for (size_t i = 0; i < self->web.name_count; ++i)
        free(self->web.names[i]);
    free(self->web.names);
    X509_free(self->certificate);
    sk_X509_pop_free(self->chain, X509_free);
    free(self);
}
