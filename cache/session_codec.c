/* SPDX-License-Identifier: Apache-2.0
 *
 * Session records: a JSON object per session, so that an operator can read a store, with the provider's
 * tokens as one sealed blob that is bound to the session's id. "format" is raised whenever an older Postern
 * would misread a record; what is newer is refused, never guessed at. Nothing that follows from the config
 * (when a session ends) is stored, so a changed limit holds for the sessions that are there. */
#include "session_codec.h"

#include <assert.h>

#include "base/json.h"
#include "base/text.h"

#define FORMAT        2 /* since then grants have refresh tokens and codes */
#define FORMAT_OLDEST 1

void session_record_copy(struct session_record *self, const struct session_record *from)
{
    *self = *from;
    self->tokens = (struct provider_tokens){0};
    provider_tokens_copy(&self->tokens, &from->tokens);
}

void session_record_dispose(struct session_record *self)
{
    provider_tokens_dispose(&self->tokens);
}

bool session_text(char *out, size_t size, const char *text)
{
    size_t len = strlen(text);
    if (len >= size)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

/* ---- ids ---- */

/* Not keyed by the seal keys: they are rotated, and every replica must name the same shard. */
unsigned session_shard_of_uid(const char *uid)
{
    uint8_t mac[SHA256_SIZE];
    crypto_hmac_sha256(iovec_of("postern session shard"), iovec_of(uid), mac);
    return mac[0] % SESSION_SHARDS;
}

int session_shard_of_id(const char *id)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *at = id[0] == '\0' ? NULL : strchr(alphabet, id[0]);
    return at == NULL ? -1 : (int)(at - alphabet);
}

void session_id_bytes(const char *id, uint8_t out[SESSION_ID_BYTES])
{
    h2o_mem_pool_t pool;
    h2o_iovec_t bytes;
    h2o_mem_init_pool(&pool);
    bool good = base64url_decode(&pool, iovec_of(id), &bytes);
    assert(good && bytes.len == SESSION_ID_BYTES);
    memcpy(out, bytes.base, bytes.len);
    h2o_mem_clear_pool(&pool);
}

void session_id_text(const uint8_t bytes[SESSION_ID_BYTES], char out[SESSION_ID_SIZE])
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    bool fits =
        session_text(out, SESSION_ID_SIZE, base64url_encode(&pool, bytes, SESSION_ID_BYTES).base);
    assert(fits);
    h2o_mem_clear_pool(&pool);
}

void session_make_id(const char *uid, char out[SESSION_ID_SIZE])
{
    uint8_t bytes[SESSION_ID_BYTES];
    crypto_random(bytes, sizeof(bytes));
    bytes[0] = (uint8_t)(session_shard_of_uid(uid) << 2 | (bytes[0] & 3));
    session_id_text(bytes, out);
}

static bool id_is_good(h2o_mem_pool_t *pool, const char *id)
{
    h2o_iovec_t bytes;
    return base64url_decode(pool, iovec_of(id), &bytes) && bytes.len == SESSION_ID_BYTES;
}

/* ---- the sealed part: expiry, then each token with its length before it, all big-endian. Not JSON,
 * because a JSON tree would leave copies that nobody wipes ---- */

#define TOKENS 3

static const struct secret *token_at(const struct provider_tokens *tokens, unsigned i)
{
    const struct secret *all[TOKENS] = {&tokens->access_token, &tokens->refresh_token,
                                        &tokens->id_token};
    return all[i];
}

static char *put_number(char *at, uint64_t number, unsigned bytes)
{
    while (bytes-- > 0)
        *at++ = (char)(number >> (8 * bytes));
    return at;
}

static h2o_iovec_t pack_tokens(h2o_mem_pool_t *pool, const struct provider_tokens *tokens)
{
    size_t len = 8;
    for (unsigned i = 0; i < TOKENS; i++)
        len += 4 + token_at(tokens, i)->len;
    h2o_iovec_t out = secret_alloc_in_pool(pool, len);
    char *at = put_number(out.base, (uint64_t)tokens->access_expires_wall_ms, 8);
    for (unsigned i = 0; i < TOKENS; i++) {
        const struct secret *token = token_at(tokens, i);
        at = put_number(at, token->len, 4);
        if (token->len != 0)
            memcpy(at, token->bytes, token->len);
        at += token->len;
    }
    return out;
}

static bool take_number(h2o_iovec_t *input, unsigned bytes, uint64_t *out)
{
    if (input->len < bytes)
        return false;
    *out = 0;
    for (unsigned i = 0; i < bytes; i++)
        *out = *out << 8 | (uint8_t)input->base[i];
    *input = h2o_iovec_init(input->base + bytes, input->len - bytes);
    return true;
}

static bool take_token(h2o_iovec_t *input, struct secret *out)
{
    uint64_t len;
    if (!take_number(input, 4, &len) || input->len < len)
        return false;
    if (len != 0)
        secret_set(out, input->base, len);
    *input = h2o_iovec_init(input->base + len, input->len - len);
    return true;
}

static bool unpack_tokens(h2o_iovec_t input, struct provider_tokens *out)
{
    uint64_t expires;
    if (!take_number(&input, 8, &expires) || !take_token(&input, &out->access_token) ||
        !take_token(&input, &out->refresh_token) || !take_token(&input, &out->id_token))
        return false;
    out->access_expires_wall_ms = (int64_t)expires;
    return input.len == 0;
}

/* A blob that is moved to another record does not open there. */
static const char *seal_purpose(h2o_mem_pool_t *pool, const char *id)
{
    return text_format(pool, "postern login tokens %s", id);
}

/* ---- writing ---- */

static void put_text(struct json_writer *out, const char *key, const char *value)
{
    json_key(out, key);
    json_put_string(out, value);
}

static void put_int(struct json_writer *out, const char *key, int64_t value)
{
    json_key(out, key);
    json_put_int(out, value);
}

static void put_hash(h2o_mem_pool_t *pool, struct json_writer *out, const char *key,
                     const uint8_t hash[SHA256_SIZE])
{
    json_key(out, key);
    json_put_iovec(out, base64url_encode(pool, hash, SHA256_SIZE));
}

static void put_login(h2o_mem_pool_t *pool, const struct seal_keys *keys,
                      const struct session_record *record, struct json_writer *out)
{
    h2o_iovec_t tokens = pack_tokens(pool, &record->tokens);
    put_hash(pool, out, "secret_sha256", record->secret_hash);
    h2o_iovec_t sealed = seal(pool, keys, seal_purpose(pool, record->id), tokens);
    json_key(out, "tokens");
    json_put_iovec(out, base64url_encode(pool, sealed.base, sealed.len));
}

static void put_chain(h2o_mem_pool_t *pool, const struct session_chain *chain,
                      struct json_writer *out)
{
    json_key(out, "refresh");
    json_begin_object(out);
    put_int(out, "generation", chain->generation);
    put_hash(pool, out, "secret_sha256", chain->secret_hash);
    put_int(out, "made_ms", chain->made_ms);
    json_key(out, "first_used_ms");
    json_begin_array(out);
    for (size_t i = 0; i < CHAIN_REMEMBERED && i <= chain->generation; i++)
        json_put_int(out, chain->first_used_ms[i]);
    json_end_array(out);
    json_end_object(out);
}

static void put_code(h2o_mem_pool_t *pool, const struct session_code_record *code,
                     struct json_writer *out)
{
    json_key(out, "code");
    json_begin_object(out);
    put_hash(pool, out, "secret_sha256", code->secret_hash);
    if (code->expires_ms != 0) {
        put_int(out, "expires_ms", code->expires_ms);
        put_text(out, "challenge", code->bound.challenge);
        put_text(out, "redirect_uri", code->bound.redirect_uri);
        put_text(out, "nonce", code->bound.nonce);
    }
    json_end_object(out);
}

static void put_grant(h2o_mem_pool_t *pool, const struct session_record *record,
                      struct json_writer *out)
{
    static const uint8_t none[SHA256_SIZE];
    put_text(out, "login", record->login_id);
    put_text(out, "cluster", record->cluster);
    if (record->app[0] !=
        '\0') /* an older Postern takes it for a kubeconfig session that nobody refreshes */
        put_text(out, "app", record->app);
    put_text(out, "name", record->name);
    if (record->chain.begun)
        put_chain(pool, &record->chain, out);
    if (record->code.expires_ms != 0 || memcmp(record->code.secret_hash, none, sizeof(none)) != 0)
        put_code(pool, &record->code, out);
}

bool session_encode(h2o_mem_pool_t *pool, const struct seal_keys *keys,
                    const struct session_record *record, h2o_iovec_t *out, struct error *err)
{
    struct json_writer *writer = json_writer_new(pool);
    json_begin_object(writer);
    put_int(writer, "format", FORMAT);
    put_text(writer, "uid", record->uid);
    put_text(writer, "address", record->address);
    put_int(writer, "created_ms", record->created_ms);
    put_int(writer, "last_used_ms", record->last_used_ms);
    if (record->kind == STORE_LOGIN) {
        put_login(pool, keys, record, writer);
    } else {
        put_grant(pool, record, writer);
    }
    json_end_object(writer);
    return json_writer_end(writer, out, err);
}

/* ---- reading ---- */

static bool read_text(const struct json *object, const char *key, char *out, size_t size,
                      struct error *err)
{
    h2o_iovec_t value;
    if (!json_string(object, key, &value, err))
        return false;
    if (!session_text(out, size, value.base))
        return error_set(err, ERROR_BAD_INPUT, "%s is too long", key);
    return true;
}

static bool read_base64(h2o_mem_pool_t *pool, const struct json *object, const char *key,
                        h2o_iovec_t *out, struct error *err)
{
    h2o_iovec_t value;
    if (!json_string(object, key, &value, err))
        return false;
    if (!base64url_decode(pool, value, out))
        return error_set(err, ERROR_BAD_INPUT, "%s is not base64url", key);
    return true;
}

/* Far enough for every clock, and sums of two stay numbers. */
static bool time_of(const struct json *value, int64_t *out)
{
    int64_t time_ms;
    if (!json_as_int(value, &time_ms) || time_ms < 0 || time_ms > (int64_t)1 << 53)
        return false;
    *out = time_ms;
    return true;
}

static bool read_time(const struct json *object, const char *key, int64_t *out, struct error *err)
{
    int64_t value;
    if (!json_int(object, key, &value, err)) /* says what is wrong when it is no number */
        return false;
    if (!time_of(json_member(object, key), out))
        return error_set(err, ERROR_BAD_INPUT, "%s is no time", key);
    return true;
}

static bool read_hash(h2o_mem_pool_t *pool, const struct json *object, uint8_t out[SHA256_SIZE],
                      struct error *err)
{
    h2o_iovec_t hash;
    if (!read_base64(pool, object, "secret_sha256", &hash, err))
        return false;
    if (hash.len != SHA256_SIZE)
        return error_set(err, ERROR_BAD_INPUT, "secret_sha256 has a wrong length");
    memcpy(out, hash.base, hash.len);
    return true;
}

static bool read_login(h2o_mem_pool_t *pool, const struct seal_keys *keys,
                       const struct json *object, struct session_record *out, struct error *err)
{
    h2o_iovec_t sealed, tokens;
    if (!read_hash(pool, object, out->secret_hash, err) ||
        !read_base64(pool, object, "tokens", &sealed, err))
        return false;
    if (!unseal(pool, keys, seal_purpose(pool, out->id), sealed, &tokens))
        return error_set(err, ERROR_BAD_INPUT,
                         "its tokens can't be opened: none of the keys in store.seal_key_files is "
                         "the one that sealed them, or the record was changed");
    if (!unpack_tokens(tokens, &out->tokens))
        return error_set(err, ERROR_BAD_INPUT, "its tokens are malformed");
    return true;
}

static bool read_first_uses(const struct json *object, struct session_chain *out, struct error *err)
{
    const struct json *array = json_member(object, "first_used_ms");
    size_t count = 0;
    if (array == NULL || array->type != JSON_ARRAY || array->count > CHAIN_REMEMBERED ||
        array->count > (size_t)out->generation + 1)
        return error_set(err, ERROR_BAD_INPUT, "first_used_ms is no list of at most %d times",
                         CHAIN_REMEMBERED);
    for (const struct json *item = array->first; item != NULL; item = item->next)
        if (!time_of(item, &out->first_used_ms[count++]))
            return error_set(err, ERROR_BAD_INPUT, "first_used_ms has what is no time");
    return true;
}

static bool read_chain(h2o_mem_pool_t *pool, const struct json *object, struct session_chain *out,
                       struct error *err)
{
    int64_t generation;
    if (!json_int(object, "generation", &generation, err))
        return false;
    if (generation < 0 || generation > UINT32_MAX)
        return error_set(err, ERROR_BAD_INPUT, "generation is out of range");
    out->begun = true;
    out->generation = (uint32_t)generation;
    return read_hash(pool, object, out->secret_hash, err) &&
           read_time(object, "made_ms", &out->made_ms, err) && read_first_uses(object, out, err);
}

/* Of a code that was redeemed nothing but the hash is left. */
static bool read_code(h2o_mem_pool_t *pool, const struct json *object,
                      struct session_code_record *out, struct error *err)
{
    struct session_code *bound = &out->bound;
    if (!read_hash(pool, object, out->secret_hash, err))
        return false;
    if (json_member(object, "expires_ms") == NULL)
        return true;
    if (!read_time(object, "expires_ms", &out->expires_ms, err))
        return false;
    if (out->expires_ms == 0)
        return error_set(err, ERROR_BAD_INPUT, "expires_ms is no time");
    return read_text(object, "challenge", bound->challenge, sizeof(bound->challenge), err) &&
           read_text(object, "redirect_uri", bound->redirect_uri, sizeof(bound->redirect_uri),
                     err) &&
           read_text(object, "nonce", bound->nonce, sizeof(bound->nonce), err);
}

static bool read_grant(h2o_mem_pool_t *pool, const struct json *object, struct session_record *out,
                       struct error *err)
{
    if (!read_text(object, "login", out->login_id, sizeof(out->login_id), err) ||
        !read_text(object, "cluster", out->cluster, sizeof(out->cluster), err) ||
        !read_text(object, "name", out->name, sizeof(out->name), err))
        return false;
    if (json_member(object, "app") != NULL &&
        !read_text(object, "app", out->app, sizeof(out->app), err))
        return false;
    if (out->app[0] == '\0' && out->cluster[0] == '\0')
        return error_set(err, ERROR_BAD_INPUT, "it is neither of a cluster nor of an app");
    if (!id_is_good(pool, out->login_id))
        return error_set(err, ERROR_BAD_INPUT, "login is not a session id");
    const struct json *refresh = json_member(object, "refresh");
    const struct json *code = json_member(object, "code");
    if (refresh != NULL && !read_chain(pool, refresh, &out->chain, err))
        return error_prefix(err, "refresh");
    if (code != NULL && !read_code(pool, code, &out->code, err))
        return error_prefix(err, "code");
    return true;
}

static bool check_format(const struct json *object, struct error *err)
{
    int64_t format;
    if (!json_int(object, "format", &format, err))
        return false;
    if (format > FORMAT)
        return error_set(err, ERROR_BAD_INPUT,
                         "it was written by a newer Postern (format %lld, this one knows %d)",
                         (long long)format, FORMAT);
    if (format < FORMAT_OLDEST)
        return error_set(err, ERROR_BAD_INPUT, "format %lld is unknown", (long long)format);
    return true;
}

/* Every session of a user is in the user's shard, or a sign-out would miss some. */
static bool check_id(h2o_mem_pool_t *pool, const struct session_record *record, struct error *err)
{
    if (!id_is_good(pool, record->id))
        return error_set(err, ERROR_BAD_INPUT, "the id is malformed");
    if (record->uid[0] == '\0')
        return error_set(err, ERROR_BAD_INPUT, "uid is empty");
    if (session_shard_of_id(record->id) != (int)session_shard_of_uid(record->uid))
        return error_set(err, ERROR_BAD_INPUT, "the id is not one of that user's");
    return true;
}

static bool read_record(h2o_mem_pool_t *pool, const struct seal_keys *keys,
                        const struct store_record *stored, struct session_record *out,
                        struct error *err)
{
    struct json *object;
    if (!session_text(out->id, sizeof(out->id), stored->id))
        return error_set(err, ERROR_BAD_INPUT, "the id is malformed");
    out->kind = stored->kind;
    if (!json_parse(pool, stored->data, NULL, &object, err) || !check_format(object, err) ||
        !read_text(object, "uid", out->uid, sizeof(out->uid), err) ||
        !read_text(object, "address", out->address, sizeof(out->address), err) ||
        !read_time(object, "created_ms", &out->created_ms, err) ||
        !read_time(object, "last_used_ms", &out->last_used_ms, err) || !check_id(pool, out, err))
        return false;
    return out->kind == STORE_LOGIN ? read_login(pool, keys, object, out, err)
                                    : read_grant(pool, object, out, err);
}

bool session_decode(const struct seal_keys *keys, const struct store_record *stored,
                    struct session_record *out, struct error *err)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct session_record record = {0};
    bool good = read_record(&pool, keys, stored, &record, err);
    h2o_mem_clear_pool(&pool);
    if (good) {
        *out = record;
        return true;
    }
    session_record_dispose(&record);
    char prefix[96];
    snprintf(prefix, sizeof(prefix), "stored %s %s", store_kind_name(stored->kind), stored->id);
    return error_prefix(err, prefix);
}
