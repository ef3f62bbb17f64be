/* SPDX-License-Identifier: Apache-2.0
 *
 * Session records out of a store. The first line is kind and id ("login ID", without ID a sound one); the rest
 * is the record, in which "@TOKENS@" becomes a genuine sealed blob for the sound id. With "sealed" as kind the
 * rest is what is in such a blob. What decodes encodes again to the same session. */
#include "fuzz.h"

#include "session_codec.h"

#define UID "00u1abcd2EFGH3ijk4l5"

static struct seal_keys *keys;
static char sound_id[SESSION_ID_SIZE];

static void prepare(void)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    keys = seal_keys_random();
    snprintf(sound_id, sizeof(sound_id), "%cAAAAAAAAAAAAAAAAAAAAA",
             alphabet[session_shard_of_uid(UID)]);
    assert(session_shard_of_id(sound_id) == (int)session_shard_of_uid(UID));
}

static void check_string(const char *text, size_t size)
{
    assert(strnlen(text, size) < size);
    fuzz_check_text(iovec_of(text));
}

static void check_record(const struct session_record *record)
{
    check_string(record->uid, sizeof(record->uid));
    check_string(record->address, sizeof(record->address));
    assert(record->uid[0] != '\0' && strlen(record->id) == SESSION_ID_SIZE - 2);
    assert(session_shard_of_id(record->id) == (int)session_shard_of_uid(record->uid));
    assert(record->created_ms >= 0 && record->created_ms <= INT64_C(1) << 53);
    assert(record->last_used_ms >= 0 && record->last_used_ms <= INT64_C(1) << 53);
    if (record->kind == STORE_LOGIN)
        return;
    check_string(record->cluster, sizeof(record->cluster));
    check_string(record->name, sizeof(record->name));
    assert(strlen(record->login_id) == SESSION_ID_SIZE - 2);
    assert(record->tokens.access_token.len == 0);
}

static bool same_secret(const struct secret *a, const struct secret *b)
{
    return fuzz_same(secret_iovec(a), secret_iovec(b));
}

static void check_again(const struct session_record *a, const struct session_record *b)
{
    const struct provider_tokens *x = &a->tokens, *y = &b->tokens;
    assert(a->kind == b->kind && strcmp(a->id, b->id) == 0 && strcmp(a->uid, b->uid) == 0);
    assert(strcmp(a->address, b->address) == 0 && strcmp(a->login_id, b->login_id) == 0);
    assert(strcmp(a->cluster, b->cluster) == 0 && strcmp(a->name, b->name) == 0);
    assert(a->created_ms == b->created_ms && a->last_used_ms == b->last_used_ms);
    assert(memcmp(a->secret_hash, b->secret_hash, sizeof(a->secret_hash)) == 0);
    assert(x->access_expires_wall_ms == y->access_expires_wall_ms);
    assert(memcmp(&a->chain, &b->chain, sizeof(a->chain)) == 0 || !a->chain.begun);
    assert(a->chain.begun == b->chain.begun && a->code.expires_ms == b->code.expires_ms);
    assert(memcmp(a->code.secret_hash, b->code.secret_hash, SHA256_SIZE) == 0);
    assert(strcmp(a->code.bound.challenge, b->code.bound.challenge) == 0);
    assert(strcmp(a->code.bound.redirect_uri, b->code.bound.redirect_uri) == 0);
    assert(strcmp(a->code.bound.nonce, b->code.bound.nonce) == 0);
    assert(same_secret(&x->access_token, &y->access_token));
    assert(same_secret(&x->refresh_token, &y->refresh_token));
    assert(same_secret(&x->id_token, &y->id_token));
}

static void decode(h2o_mem_pool_t *pool, const struct store_record *stored)
{
    struct session_record record = {0}, again = {0};
    struct error err = {0};
    if (!session_decode(keys, stored, &record, &err)) {
        fuzz_check_error(&err);
        assert(record.tokens.access_token.bytes == NULL && record.id[0] == '\0');
        return;
    }
    struct store_record written = {.kind = stored->kind, .id = record.id};
    check_record(&record);
    bool good = session_encode(pool, keys, &record, &written.data, &err) &&
                session_decode(keys, &written, &again, &err);
    assert(good);
    check_again(&record, &again);
    session_record_dispose(&record);
    session_record_dispose(&again);
}

static const char *sealed(h2o_mem_pool_t *pool, h2o_iovec_t plain)
{
    const char *purpose = text_format(pool, "postern login tokens %s", sound_id);
    h2o_iovec_t blob = seal(pool, keys, purpose, plain);
    return base64url_encode(pool, blob.base, blob.len).base;
}

static void decode_sealed(h2o_mem_pool_t *pool, h2o_iovec_t plain)
{
    const char *record = text_format(
        pool,
        "{\"format\":1,\"uid\":\"" UID "\",\"address\":\"192.0.2.1\",\"created_ms\":1,"
        "\"last_used_ms\":2,\"secret_sha256\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
        "\"tokens\":\"%s\"}",
        sealed(pool, plain));
    decode(pool, &(struct store_record){STORE_LOGIN, sound_id, 1, iovec_of(record)});
}

static h2o_iovec_t with_tokens(h2o_mem_pool_t *pool, h2o_iovec_t data)
{
    static const char mark[] = "@TOKENS@";
    static const char plain[] = "\0\0\1\2\3\4\5\6\0\0\0\2at\0\0\0\2rt\0\0\0\2it";
    const char *at = data.len == 0 ? NULL : memmem(data.base, data.len, mark, sizeof(mark) - 1);
    struct text out;
    if (at == NULL)
        return data;
    const char *rest = at + sizeof(mark) - 1;
    text_init(&out, pool);
    text_add(&out, data.base, (size_t)(at - data.base));
    text_add_string(&out, sealed(pool, h2o_iovec_init(plain, sizeof(plain) - 1)));
    text_add(&out, rest, (size_t)(data.base + data.len - rest));
    return text_iovec(&out);
}

/* As store.h has it for an id. */
static bool is_store_id(const char *id)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return id[0] != '\0' && strlen(id) < 64 && strspn(id, allowed) == strlen(id);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    h2o_iovec_t rest = h2o_iovec_init(bytes, len);
    if (keys == NULL)
        prepare();
    h2o_mem_init_pool(&pool);
    const char *head = text_dup_iovec(&pool, fuzz_line(&rest));
    const char *id = strchr(head, ' ') != NULL ? strchr(head, ' ') + 1 : sound_id;
    if (strncmp(head, "sealed", 6) == 0) {
        decode_sealed(&pool, rest);
    } else if (is_store_id(id)) {
        enum store_kind kind = head[0] == 'g' ? STORE_GRANT : STORE_LOGIN;
        decode(&pool, &(struct store_record){kind, id, 1, with_tokens(&pool, rest)});
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
