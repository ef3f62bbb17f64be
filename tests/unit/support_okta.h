/* SPDX-License-Identifier: Apache-2.0
 *
 * A scripted Okta for the tests of okta/: a TLS server on loopback whose answer to each path is set by the
 * test, and which remembers what was asked. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "base/crypto.h"
#include "base/text.h"
#include "support_tls.h"
#include "test_server.h"

#define PLANS 8
#define HELD  8

struct plan { /* for one path; under okta_lock */
    const char *path;
    int status;
    const char *type;
    char *body;     /* malloc'ed */
    bool hold;      /* answers wait for scripted_release */
    bool exhausted; /* answers say that the rate limit is used up for a minute */
    unsigned asked; /* so far */
    char form[8192], authorization[8192];
};

static struct test_server scripted;
static pthread_mutex_t scripted_lock = PTHREAD_MUTEX_INITIALIZER;
static struct plan plans[PLANS];
/* Asked first for each request; true: it has answered, or will. NULL: there is none. On the server's thread. */
static bool (*scripted_hook)(h2o_req_t *req, h2o_iovec_t authorization);
static struct {
    h2o_req_t *req;
    struct plan *plan;
} held[HELD];
static unsigned held_count; /* the server's thread only */
static EVP_PKEY *scripted_rsa[2];
static char scripted_ca[] = "/tmp/postern-okta-ca-XXXXXX";

static inline struct plan *plan_of(const char *path)
{
    for (size_t i = 0; i < PLANS; i++) {
        if (plans[i].path == NULL)
            plans[i] = (struct plan){.path = path, .status = 404};
        if (strcmp(plans[i].path, path) == 0)
            return &plans[i];
    }
    fail_msg("too many paths");
    return NULL;
}

/* From now on path is answered so. body is copied. */
static inline void plan_answer(const char *path, int status, const char *body)
{
    pthread_mutex_lock(&scripted_lock);
    struct plan *plan = plan_of(path);
    free(plan->body);
    plan->status = status;
    plan->type = "application/json";
    plan->body = strdup(body);
    pthread_mutex_unlock(&scripted_lock);
}

static inline void plan_hold(const char *path, bool hold)
{
    pthread_mutex_lock(&scripted_lock);
    plan_of(path)->hold = hold;
    pthread_mutex_unlock(&scripted_lock);
}

static inline void plan_exhaust(const char *path)
{
    pthread_mutex_lock(&scripted_lock);
    plan_of(path)->exhausted = true;
    pthread_mutex_unlock(&scripted_lock);
}

static inline unsigned plan_asked(const char *path)
{
    pthread_mutex_lock(&scripted_lock);
    unsigned asked = plan_of(path)->asked;
    pthread_mutex_unlock(&scripted_lock);
    return asked;
}

/* The last request's body, or Authorization, in pool. */
static inline char *plan_form(h2o_mem_pool_t *pool, const char *path)
{
    pthread_mutex_lock(&scripted_lock);
    char *copy = text_dup(pool, plan_of(path)->form);
    pthread_mutex_unlock(&scripted_lock);
    return copy;
}

static inline char *plan_authorization(h2o_mem_pool_t *pool, const char *path)
{
    pthread_mutex_lock(&scripted_lock);
    char *copy = text_dup(pool, plan_of(path)->authorization);
    pthread_mutex_unlock(&scripted_lock);
    return copy;
}

static inline void plans_reset(void)
{
    pthread_mutex_lock(&scripted_lock);
    for (size_t i = 0; i < PLANS; i++) {
        free(plans[i].body);
        plans[i] = (struct plan){0};
    }
    pthread_mutex_unlock(&scripted_lock);
}

/* ---- the server ---- */

static inline void scripted_header(h2o_req_t *req, const char *name, const char *value)
{
    h2o_add_header_by_str(&req->pool, &req->res.headers, name, strlen(name), 0, name,
                          text_dup(&req->pool, value), strlen(value));
}

static inline void scripted_send(h2o_req_t *req, const struct plan *plan)
{
    scripted_header(req, "x-rate-limit-remaining", plan->exhausted ? "0" : "41");
    if (plan->exhausted) {
        scripted_header(req, "x-rate-limit-limit", "600");
        scripted_header(req, "x-rate-limit-reset",
                        text_format(&req->pool, "%lld", (long long)time(NULL) + 60));
    }
    web_send(req, plan->status, plan->type, iovec_of(plan->body != NULL ? plan->body : ""));
}

static inline int on_scripted(h2o_handler_t *handler, h2o_req_t *req)
{
    (void)handler;
    h2o_iovec_t authorization = web_header(req, "authorization");
    const char *path = text_dup_iovec(&req->pool, web_path(req));
    if (scripted_hook != NULL && scripted_hook(req, authorization))
        return 0;
    pthread_mutex_lock(&scripted_lock);
    struct plan *plan = NULL;
    for (size_t i = 0; i < PLANS && plan == NULL; i++) {
        if (plans[i].path != NULL && strcmp(plans[i].path, path) == 0)
            plan = &plans[i];
    }
    if (plan == NULL) {
        web_send(req, 404, "text/plain", iovec_of("no plan"));
    } else {
        plan->asked++;
        snprintf(plan->form, sizeof(plan->form), "%.*s", (int)req->entity.len, req->entity.base);
        snprintf(plan->authorization, sizeof(plan->authorization), "%.*s", (int)authorization.len,
                 authorization.base);
        if (plan->hold && held_count < HELD) {
            held[held_count].req = req;
            held[held_count++].plan = plan;
        } else {
            scripted_send(req, plan);
        }
    }
    pthread_mutex_unlock(&scripted_lock);
    return 0;
}

static inline void on_release(struct loop_call *call)
{
    pthread_mutex_lock(&scripted_lock);
    for (unsigned i = 0; i < held_count; i++)
        scripted_send(held[i].req, held[i].plan);
    held_count = 0;
    pthread_mutex_unlock(&scripted_lock);
    free(call);
}

static inline void scripted_release(void)
{
    struct loop_call *call = h2o_mem_alloc(sizeof(*call));
    *call = (struct loop_call){.run = on_release};
    loop_post(scripted.loop, call);
}

static inline int scripted_start(void **state)
{
    (void)state;
    scripted.on_req = on_scripted;
    close(mkstemp(scripted_ca));
    scripted.tls = tls_server_new(scripted_ca);
    for (size_t i = 0; i < 2; i++)
        scripted_rsa[i] = EVP_RSA_gen(2048);
    test_server_start(&scripted);
    return 0;
}

static inline int scripted_stop(void **state)
{
    (void)state;
    test_server_stop(&scripted);
    unlink(scripted_ca);
    for (size_t i = 0; i < 2; i++)
        EVP_PKEY_free(scripted_rsa[i]);
    plans_reset();
    return 0;
}

/* ---- what it says ---- */

static inline const char *scripted_url(h2o_mem_pool_t *pool, const char *path)
{
    return text_format(pool, "https://127.0.0.1:%u%s", scripted.port, path);
}

static inline const char *scripted_number(h2o_mem_pool_t *pool, EVP_PKEY *pkey, const char *name)
{
    BIGNUM *number = NULL;
    uint8_t bytes[512];
    assert_int_equal(EVP_PKEY_get_bn_param(pkey, name, &number), 1);
    int len = BN_bn2bin(number, bytes);
    BN_free(number);
    return base64url_encode(pool, bytes, (size_t)len).base;
}

/* A key set with key number which under the name kid. */
static inline const char *scripted_keys(h2o_mem_pool_t *pool, int which, const char *kid)
{
    return text_format(
        pool,
        "{\"keys\":[{\"kty\":\"RSA\",\"alg\":\"RS256\",\"use\":\"sig\",\"kid\":\"%s\",\"n\":\"%s\","
        "\"e\":\"%s\"}]}",
        kid, scripted_number(pool, scripted_rsa[which], OSSL_PKEY_PARAM_RSA_N),
        scripted_number(pool, scripted_rsa[which], OSSL_PKEY_PARAM_RSA_E));
}

static inline const char *scripted_jwt(h2o_mem_pool_t *pool, int which, const char *kid,
                                       const char *payload)
{
    const char *header = text_format(pool, "{\"kid\":\"%s\",\"alg\":\"RS256\"}", kid);
    char *input = text_format(pool, "%s.%s", base64url_encode(pool, header, strlen(header)).base,
                              base64url_encode(pool, payload, strlen(payload)).base);
    uint8_t signature[512];
    size_t len = sizeof(signature);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, scripted_rsa[which]), 1);
    assert_int_equal(EVP_DigestSign(ctx, signature, &len, (const uint8_t *)input, strlen(input)),
                     1);
    EVP_MD_CTX_free(ctx);
    return text_format(pool, "%s.%s", input, base64url_encode(pool, signature, len).base);
}
