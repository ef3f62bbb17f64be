/* SPDX-License-Identifier: Apache-2.0
 *
 * What a store keeps of a session, and how it is written there. */
#pragma once

#include "base/crypto.h"
#include "base/user.h"
#include "cache/sessions.h"
#include "session_chain.h"

struct session_record {
    enum store_kind kind;
    char id[SESSION_ID_SIZE];
    char uid[SESSION_UID_SIZE];
    char address[64];
    int64_t created_ms;
    int64_t last_used_ms;
    /* of a login */
    uint8_t secret_hash[SHA256_SIZE]; /* of the cookie's secret half */
    struct provider_tokens tokens;    /* owned */
    /* of a grant */
    char login_id[SESSION_ID_SIZE];
    char cluster[64];
    char app[64]; /* "": a kubeconfig session */
    char name[SESSION_NAME_SIZE];
    struct session_chain
        chain; /* its refresh tokens; none while it is pending, nor of an app, nor of an older Postern */
    struct session_code_record {
        int64_t expires_ms;               /* 0: not pending */
        uint8_t secret_hash[SHA256_SIZE]; /* zeroed: it was not made for a code */
        struct session_code bound;        /* while pending */
    } code;
};
void session_record_copy(struct session_record *self, const struct session_record *from);
void session_record_dispose(struct session_record *self); /* wipes the tokens */

/* One JSON object in pool, the tokens in it sealed. Fails when a string is not UTF-8. */
MUST_CHECK bool session_encode(h2o_mem_pool_t *pool, const struct seal_keys *keys,
                               const struct session_record *record, h2o_iovec_t *out,
                               struct error *err);
/* The whole record or nothing: a newer format, a malformed one, and tokens that the keys don't open are
 * errors that name the session. out must be zeroed; the caller disposes. */
MUST_CHECK bool session_decode(const struct seal_keys *keys, const struct store_record *stored,
                               struct session_record *out, struct error *err);

/* False, and out as it was, when the text does not fit. */
MUST_CHECK bool session_text(char *out, size_t size, const char *text);

/* ---- ids: base64url of 16 bytes, random but for the first six bits, which name the shard ---- */
#define SESSION_SHARDS   64
#define SESSION_ID_BYTES 16
unsigned session_shard_of_uid(const char *uid);
int session_shard_of_id(const char *id); /* -1: not an id of ours */
/* Of an id that is one: its bytes; and back, from any bytes. */
void session_id_bytes(const char *id, uint8_t out[SESSION_ID_BYTES]);
void session_id_text(const uint8_t bytes[SESSION_ID_BYTES], char out[SESSION_ID_SIZE]);
void session_make_id(const char *uid, char out[SESSION_ID_SIZE]);
