/* SPDX-License-Identifier: Apache-2.0
 *
 * TokenReview in and out. base/json refuses what JSON parsers disagree about; this file refuses keys that
 * differ in case only as well, because a reader that ignores case would see another token than we do
 * (peers 4). The answer is built from the verdict alone: nothing of the question returns but its apiVersion. */
#include "codec.h"

#include <assert.h>
#include <strings.h>

#include "base/text.h"
#include "webhook/webhook.h"

static const struct json_limits limits = {
    .max_bytes = WEBHOOK_MAX_BODY, .max_depth = REVIEW_MAX_DEPTH, .max_nodes = 4096};

/* ---- in ---- */

static bool bad(struct error *err, const char *what)
{
    return error_set(err, ERROR_BAD_INPUT, "%s", what);
}

/* Of the keys that we read, no other spelling may stand beside or instead. */
static bool check_spelling(const struct json *object, const char *const *keys, struct error *err)
{
    for (const struct json *member = object->first; member != NULL; member = member->next) {
        for (size_t i = 0; keys[i] != NULL; i++) {
            if (strcasecmp(member->key.base, keys[i]) == 0 &&
                strcmp(member->key.base, keys[i]) != 0)
                return error_set(err, ERROR_BAD_INPUT, "a key differs from \"%s\" in case only",
                                 keys[i]);
        }
    }
    return true;
}

static bool read_version(const struct json *root, const char **out, struct error *err)
{
    static const char *const versions[] = {"authentication.k8s.io/v1",
                                           "authentication.k8s.io/v1beta1"};
    h2o_iovec_t version, kind;
    if (!json_string(root, "apiVersion", &version, err) || !json_string(root, "kind", &kind, err))
        return false;
    if (!iovec_equal(kind, "TokenReview"))
        return bad(err, "kind is not TokenReview");
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        if (iovec_equal(version, versions[i])) {
            *out = versions[i];
            return true;
        }
    }
    return bad(err, "apiVersion is neither authentication.k8s.io/v1 nor .../v1beta1");
}

static bool read_audiences(h2o_mem_pool_t *pool, const struct json *spec, struct review *out,
                           struct error *err)
{
    const struct json *list = json_member(spec, "audiences");
    out->audiences = NULL;
    out->audience_count = 0;
    if (list == NULL || list->type == JSON_NULL)
        return true;
    if (list->type != JSON_ARRAY || list->count > REVIEW_MAX_AUDIENCES)
        return bad(err, "spec.audiences is no array of at most 100 strings");
    out->audiences = h2o_mem_alloc_pool(pool, (list->count + 1) * sizeof(*out->audiences));
    for (const struct json *entry = list->first; entry != NULL; entry = entry->next) {
        if (entry->type != JSON_STRING)
            return bad(err, "spec.audiences is no array of at most 100 strings");
        out->audiences[out->audience_count++] = entry->text;
    }
    return true;
}

bool review_parse(h2o_mem_pool_t *pool, h2o_iovec_t body, struct review *out, struct error *err)
{
    static const char *const root_keys[] = {"apiVersion", "kind", "spec", NULL};
    static const char *const spec_keys[] = {"token", "audiences", NULL};
    struct json *root;
    struct review review;
    if (!json_parse(pool, body, &limits, &root, err))
        return false;
    if (root->type != JSON_OBJECT)
        return bad(err, "not a JSON object");
    if (!check_spelling(root, root_keys, err) || !read_version(root, &review.api_version, err))
        return false;
    const struct json *spec = json_member(root, "spec");
    if (spec == NULL || spec->type != JSON_OBJECT)
        return bad(err, "spec is no object");
    if (!check_spelling(spec, spec_keys, err) || !json_string(spec, "token", &review.token, err) ||
        !read_audiences(pool, spec, &review, err))
        return false;
    if (review.token.len == 0)
        return bad(err, "spec.token is empty");
    *out = review;
    return true;
}

/* ---- audiences ---- */

static bool is_configured(const struct config_strings *configured, h2o_iovec_t audience)
{
    for (unsigned i = 0; i < configured->count; i++) {
        if (iovec_equal(audience, configured->entries[i]))
            return true;
    }
    return false;
}

size_t review_common_audiences(const struct review *review, const struct config_strings *configured,
                               h2o_iovec_t *common)
{
    size_t count = 0;
    for (size_t i = 0; i < review->audience_count; i++) {
        h2o_iovec_t audience = review->audiences[i];
        size_t seen = 0;
        while (seen < count && !iovec_equal(audience, common[seen].base))
            seen++;
        if (seen == count && is_configured(configured, audience))
            common[count++] = audience;
    }
    return count;
}

/* ---- out ---- */

static void put_field(struct json_writer *out, const char *key, const char *value)
{
    json_key(out, key);
    json_put_string(out, value);
}

static void put_extra(struct json_writer *out, const char *key, const char *value)
{
    json_key(out, key);
    json_begin_array(out);
    json_put_string(out, value);
    json_end_array(out);
}

static void put_user(struct json_writer *out, h2o_mem_pool_t *pool, const struct verdict *verdict)
{
    const struct identity *identity = verdict->identity;
    json_key(out, "user");
    json_begin_object(out);
    put_field(out, "username", identity->username);
    put_field(out, "uid", identity->uid);
    json_key(out, "groups");
    json_put_strings(out, identity->groups, identity->group_count);
    json_key(out, "extra");
    json_begin_object(out);
    put_extra(out, "authentication.kubernetes.io/credential-id",
              text_format(pool, "JTI=%s", verdict->jti));
    put_extra(out, "postern.dev/session-id", verdict->session.id);
    json_end_object(out);
    json_end_object(out);
}

static void put_yes(struct json_writer *out, h2o_mem_pool_t *pool,
                    const struct review_answer *answer)
{
    put_user(out, pool, answer->verdict);
    if (answer->audience_count == 0)
        return;
    json_key(out, "audiences");
    json_begin_array(out);
    for (size_t i = 0; i < answer->audience_count; i++)
        json_put_iovec(out, answer->audiences[i]);
    json_end_array(out);
}

struct json_writer *review_write(h2o_mem_pool_t *pool, const struct review_answer *answer)
{
    const struct verdict *verdict = answer->verdict;
    struct json_writer *out = json_writer_new(pool);
    bool is_yes = verdict->decision == DECISION_YES;
    /* An API server takes a yes without a name for a user without a name. */
    assert(!is_yes || (verdict->identity != NULL && verdict->identity->username != NULL));
    json_begin_object(out);
    put_field(out, "apiVersion", answer->api_version);
    put_field(out, "kind", "TokenReview");
    json_key(out, "status");
    json_begin_object(out);
    json_key(out, "authenticated");
    json_put_bool(out, is_yes);
    if (is_yes)
        put_yes(out, pool, answer);
    else if (verdict->decision == DECISION_UNSURE)
        put_field(out, "error", reason_public_text(verdict->reason));
    json_end_object(out);
    json_end_object(out);
    return out;
}
