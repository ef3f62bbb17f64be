/* SPDX-License-Identifier: Apache-2.0
 *
 * See access.h. One review after the other: most who ask ask for one name. */
#include "access.h"

#include "account.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/text.h"

#define PATH        "/apis/authorization.k8s.io/v1/subjectaccessreviews"
#define REMEMBER_MS 5000
#define REMEMBERED  256
#define ASK_MS      5000
#define MAX_ANSWER  ((size_t)256 * 1024)

struct remembered {
    uint8_t question[SHA256_SIZE]; /* of the whole body: who, what, which name */
    int64_t until_mono_ms;
};

struct access {
    struct access_options options;
    char *url;
    pthread_mutex_t mutex; /* covers the following */
    struct remembered allowed[REMEMBERED];
    size_t next;
};

struct access_wait {
    struct access *access;
    struct loop *loop;
    const struct verdict *verdict;
    const struct impersonation *asked;
    h2o_mem_pool_t pool;
    size_t step; /* which name is asked about */
    uint8_t question[SHA256_SIZE];
    struct fetch *fetch;
    struct loop_timer timer; /* an answer without a question is given later, too */
    enum access_answer answer;
    access_cb cb;
    void *ctx;
};

struct access *access_new(const struct access_options *options)
{
    struct access *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct access){.options = *options};
    size_t size = strlen(options->upstream) + sizeof(PATH);
    self->url = h2o_mem_alloc(size);
    snprintf(self->url, size, "%s%s", options->upstream, PATH);
    pthread_mutex_init(&self->mutex, NULL);
    return self;
}

void access_free(struct access *self)
{
    if (self == NULL)
        return;
    pthread_mutex_destroy(&self->mutex);
    free(self->url);
    free(self);
}

/* ---- what was allowed a moment ago ---- */

static bool is_remembered(struct access *self, const uint8_t question[SHA256_SIZE])
{
    bool found = false;
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&self->mutex);
    for (size_t i = 0; i < REMEMBERED && !found; i++)
        found = self->allowed[i].until_mono_ms > now_ms &&
                memcmp(self->allowed[i].question, question, SHA256_SIZE) == 0;
    pthread_mutex_unlock(&self->mutex);
    return found;
}

static void remember(struct access *self, const uint8_t question[SHA256_SIZE])
{
    pthread_mutex_lock(&self->mutex);
    struct remembered *entry = &self->allowed[self->next++ % REMEMBERED];
    memcpy(entry->question, question, SHA256_SIZE);
    entry->until_mono_ms = clock_mono_ms() + REMEMBER_MS;
    pthread_mutex_unlock(&self->mutex);
}

/* ---- the question ---- */

struct attributes {
    const char *group, *resource;
    h2o_iovec_t subresource, service_namespace, name;
};

static struct attributes of_user(const struct impersonation *asked)
{
    struct attributes made = {.group = "", .resource = "users", .name = asked->user};
    h2o_iovec_t service_namespace, name;
    if (impersonation_service_account(asked->user, &service_namespace, &name)) {
        made.resource = "serviceaccounts";
        made.service_namespace = service_namespace;
        made.name = name;
    }
    return made;
}

/* The names in a fixed order: user, groups, extras, uid. False: there are no more. */
static bool attributes_at(const struct impersonation *asked, size_t step, struct attributes *out)
{
    if (step == 0) {
        *out = of_user(asked);
        return true;
    }
    step--;
    if (step < asked->group_count) {
        *out = (struct attributes){.group = "", .resource = "groups", .name = asked->groups[step]};
        return true;
    }
    step -= asked->group_count;
    if (step < asked->extra_count) {
        *out = (struct attributes){.group = "authentication.k8s.io",
                                   .resource = "userextras",
                                   .subresource = asked->extras[step].key,
                                   .name = asked->extras[step].value};
        return true;
    }
    *out = (struct attributes){
        .group = "authentication.k8s.io", .resource = "uids", .name = asked->uid};
    return step == asked->extra_count && asked->uid.base != NULL;
}

static void put_text(struct json_writer *out, const char *key, h2o_iovec_t value)
{
    if (value.base == NULL)
        return;
    json_key(out, key);
    json_put_iovec(out, value);
}

static void put_attributes(struct json_writer *out, const struct attributes *attributes)
{
    json_key(out, "resourceAttributes");
    json_begin_object(out);
    put_text(out, "verb", iovec_of("impersonate"));
    put_text(out, "group", iovec_of(attributes->group));
    put_text(out, "resource", iovec_of(attributes->resource));
    put_text(out, "subresource", attributes->subresource);
    put_text(out, "namespace", attributes->service_namespace);
    put_text(out, "name", attributes->name);
    json_end_object(out);
}

static void put_person(struct json_writer *out, const struct identity *identity)
{
    put_text(out, "user", iovec_of(identity->username));
    put_text(out, "uid", iovec_of(identity->uid));
    json_key(out, "groups");
    json_begin_array(out);
    for (size_t i = 0; i < identity->group_count; i++)
        json_put_string(out, identity->groups[i]);
    json_put_string(out, "system:authenticated");
    json_end_array(out);
}

static bool write_review(h2o_mem_pool_t *pool, const struct identity *identity,
                         const struct attributes *attributes, h2o_iovec_t *out)
{
    struct error err;
    struct json_writer *writer = json_writer_new(pool);
    json_begin_object(writer);
    put_text(writer, "kind", iovec_of("SubjectAccessReview"));
    put_text(writer, "apiVersion", iovec_of("authorization.k8s.io/v1"));
    json_key(writer, "spec");
    json_begin_object(writer);
    put_attributes(writer, attributes);
    put_person(writer, identity);
    json_end_object(writer);
    json_end_object(writer);
    return json_writer_end(writer, out, &err);
}

/* ---- the answer ---- */

static enum access_answer read_answer(h2o_mem_pool_t *pool, const struct fetch_result *result)
{
    struct error err;
    struct json *review;
    bool allowed = false, denied = false;
    if (result->status != 200 && result->status != 201)
        return ACCESS_UNKNOWN;
    if (!json_parse(pool, result->body, NULL, &review, &err))
        return ACCESS_UNKNOWN;
    const struct json *status = json_member(review, "status");
    if (status == NULL || !json_optional_bool(status, "allowed", &allowed, &err) ||
        !json_optional_bool(status, "denied", &denied, &err))
        return ACCESS_UNKNOWN;
    return allowed && !denied ? ACCESS_ALLOWED : ACCESS_DENIED;
}

static void next(struct access_wait *self);

static void on_later(struct loop_timer *timer)
{
    struct access_wait *self = H2O_STRUCT_FROM_MEMBER(struct access_wait, timer, timer);
    access_cb cb = self->cb;
    void *ctx = self->ctx;
    enum access_answer answer = self->answer;
    h2o_mem_clear_pool(&self->pool);
    free(self);
    cb(ctx, answer);
}

static void settle(struct access_wait *self, enum access_answer answer)
{
    self->answer = answer;
    loop_timer_start(self->loop, &self->timer, 0, on_later);
}

static void on_answer(void *ctx, const struct fetch_result *result, const struct error *err)
{
    struct access_wait *self = ctx;
    self->fetch = NULL;
    enum access_answer answer = result == NULL ? ACCESS_UNKNOWN : read_answer(&self->pool, result);
    if (answer == ACCESS_UNKNOWN)
        log_warn("an API server could not be asked who may impersonate",
                 LOG_STR("reason", result == NULL ? err->text : NULL),
                 LOG_INT("status", result == NULL ? 0 : result->status));
    if (answer != ACCESS_ALLOWED) {
        settle(self, answer);
        return;
    }
    remember(self->access, self->question);
    next(self);
}

static void ask(struct access_wait *self, h2o_iovec_t body)
{
    const struct access_options *options = &self->access->options;
    const struct fetch_request request = {
        .lane = FETCH_INTERACTIVE,
        .method = "POST",
        .url = self->access->url,
        .content_type = iovec_of("application/json"),
        .body = body,
        .authorization = account_authorization(options->account, &self->pool),
        .ca_file = options->certificate_authority_file,
        .direct = true,
        .max_body = MAX_ANSWER,
        .timeout_ms = ASK_MS,
    };
    self->fetch = fetch_start(options->fetcher, self->loop, &request, on_answer, self);
}

static void next(struct access_wait *self)
{
    struct attributes attributes;
    h2o_iovec_t body;
    while (attributes_at(self->asked, self->step, &attributes)) {
        self->step++;
        if (!write_review(&self->pool, self->verdict->identity, &attributes, &body)) {
            settle(self, ACCESS_UNKNOWN);
            return;
        }
        crypto_sha256(body.base, body.len, self->question);
        if (is_remembered(self->access, self->question))
            continue;
        ask(self, body);
        return;
    }
    settle(self, ACCESS_ALLOWED);
}

/* NOLINTNEXTLINE(readability-function-size): who asks about whom, and where the answer goes */
struct access_wait *access_ask(struct access *self, struct loop *loop,
                               const struct verdict *verdict, const struct impersonation *asked,
                               access_cb cb, void *ctx)
{
    struct access_wait *wait = h2o_mem_alloc(sizeof(*wait));
    *wait = (struct access_wait){
        .access = self, .loop = loop, .verdict = verdict, .asked = asked, .cb = cb, .ctx = ctx};
    h2o_mem_init_pool(&wait->pool);
    next(wait);
    return wait;
}

void access_cancel(struct access_wait *wait)
{
    if (wait->fetch != NULL)
        fetch_cancel(wait->fetch);
    loop_timer_stop(&wait->timer);
    h2o_mem_clear_pool(&wait->pool);
    free(wait);
}
