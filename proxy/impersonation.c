/* SPDX-License-Identifier: Apache-2.0
 *
 * See impersonation.h. The API server reads Impersonate-Extra-<key> with the key in lower case and %-decoded; client-go
 * escapes in it whatever no header's name may have, and '%' (transport/round_trippers.go). */
#include "impersonation.h"

#include <ctype.h>

#include "base/text.h"
#include "plain.h"

#define MAX_VALUE  1024
#define MAX_GROUPS 64
#define MAX_EXTRAS 32

#define EXTRA_PREFIX "impersonate-extra-"
#define SYSTEM       "system:"
#define ORIGINAL     "originaluser.postern.dev/"
#define OURS         "postern.dev/"
#define SESSION_ID   "postern.dev/session-id"
#define CREDENTIAL   "authentication.kubernetes.io/credential-id"

/* ---- reading ---- */

static bool begins_with(h2o_iovec_t text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.base, prefix, len) == 0;
}

static bool check_value(h2o_iovec_t value, struct error *err)
{
    bool fine = value.len > 0 && value.len <= MAX_VALUE && utf8_valid(value.base, value.len);
    for (size_t i = 0; fine && i < value.len; i++)
        fine = (unsigned char)value.base[i] >= 0x20 && value.base[i] != 0x7f;
    return fine || error_set(err, ERROR_BAD_INPUT,
                             "an Impersonate header is empty, too long, or no plain text");
}

static bool read_key(h2o_mem_pool_t *pool, h2o_iovec_t name, h2o_iovec_t *out, struct error *err)
{
    struct text key;
    text_init(&key, pool);
    for (size_t i = sizeof(EXTRA_PREFIX) - 1; i < name.len; i++) {
        int c = (unsigned char)name.base[i]; /* in lower case: h2o's */
        if (c == '%') {
            c = percent_byte(h2o_iovec_init(name.base + i, name.len - i));
            if (c < 0)
                return error_set(err, ERROR_BAD_INPUT,
                                 "an Impersonate-Extra key has a broken escape");
            i += 2;
        }
        char byte = (char)c;
        text_add(&key, &byte, 1);
    }
    *out = text_iovec(&key);
    return check_value(*out, err);
}

static bool take_single(h2o_iovec_t *out, h2o_iovec_t value, const char *name, struct error *err)
{
    if (out->base != NULL)
        return error_set(err, ERROR_BAD_INPUT, "%s stands there twice", name);
    *out = value;
    return true;
}

static bool take(h2o_req_t *req, const h2o_header_t *header, struct impersonation *out,
                 struct error *err)
{
    h2o_iovec_t name = *header->name;
    if (!check_value(header->value, err))
        return false;
    if (iovec_equal(name, "impersonate-user"))
        return take_single(&out->user, header->value, "Impersonate-User", err);
    if (iovec_equal(name, "impersonate-uid"))
        return take_single(&out->uid, header->value, "Impersonate-Uid", err);
    if (iovec_equal(name, "impersonate-group") && out->group_count < MAX_GROUPS) {
        out->groups[out->group_count++] = header->value;
        return true;
    }
    if (begins_with(name, EXTRA_PREFIX) && out->extra_count < MAX_EXTRAS) {
        struct impersonation_extra *extra = &out->extras[out->extra_count++];
        extra->value = header->value;
        return read_key(&req->pool, name, &extra->key, err);
    }
    return error_set(err, ERROR_BAD_INPUT,
                     "there is an Impersonate header of an unknown name, or too many of them");
}

static void make_room(h2o_mem_pool_t *pool, struct impersonation *out)
{
    out->groups = h2o_mem_alloc_pool(pool, MAX_GROUPS * sizeof(*out->groups));
    out->extras = h2o_mem_alloc_pool(pool, MAX_EXTRAS * sizeof(*out->extras));
}

bool impersonation_read(h2o_req_t *req, struct impersonation *out, struct error *err)
{
    *out = (struct impersonation){.groups = NULL};
    for (size_t i = 0; i < req->headers.size; i++) {
        const h2o_header_t *header = &req->headers.entries[i];
        if (!plain_is(*header->name, "impersonate-*"))
            continue;
        if (out->groups == NULL)
            make_room(&req->pool, out);
        if (!take(req, header, out, err))
            return false;
    }
    if (out->user.base == NULL &&
        (out->uid.base != NULL || out->group_count + out->extra_count != 0))
        return error_set(err, ERROR_BAD_INPUT, "there are Impersonate headers without a user");
    return true;
}

/* ---- what nobody may be ---- */

bool impersonation_service_account(h2o_iovec_t user, h2o_iovec_t *service_namespace,
                                   h2o_iovec_t *name)
{
    static const char prefix[] = "system:serviceaccount:";
    if (!begins_with(user, prefix))
        return false;
    h2o_iovec_t rest =
        h2o_iovec_init(user.base + sizeof(prefix) - 1, user.len - (sizeof(prefix) - 1));
    const char *colon = memchr(rest.base, ':', rest.len);
    if (colon == NULL)
        return false;
    size_t len = (size_t)(colon - rest.base);
    *service_namespace = h2o_iovec_init(rest.base, len);
    *name = h2o_iovec_init(rest.base + len + 1, rest.len - len - 1);
    return len > 0 && name->len > 0 && memchr(name->base, ':', name->len) == NULL;
}

bool impersonation_check(const struct impersonation *asked, struct error *err)
{
    h2o_iovec_t unused[2];
    if (begins_with(asked->user, SYSTEM) &&
        !impersonation_service_account(asked->user, &unused[0], &unused[1]))
        return error_set(err, ERROR_REJECTED,
                         "users that begin with system: can't be impersonated here");
    for (size_t i = 0; i < asked->group_count; i++)
        if (begins_with(asked->groups[i], SYSTEM))
            return error_set(err, ERROR_REJECTED,
                             "groups that begin with system: can't be impersonated here");
    for (size_t i = 0; i < asked->extra_count; i++)
        if (begins_with(asked->extras[i].key, ORIGINAL) ||
            begins_with(asked->extras[i].key, OURS) ||
            iovec_equal(asked->extras[i].key, CREDENTIAL))
            return error_set(err, ERROR_REJECTED, "that extra is written by the proxy alone");
    return true;
}

/* ---- writing ---- */

static void add(struct header_list *list, const char *name, const char *value)
{
    header_list_add(list, name, iovec_of(value));
}

static char *put_escaped(char *out, char c)
{
    static const char digits[] = "0123456789ABCDEF";
    *out++ = '%';
    *out++ = digits[(unsigned char)c >> 4];
    *out++ = digits[(unsigned char)c & 15];
    return out;
}

static void add_extra(struct header_list *list, h2o_iovec_t key, h2o_iovec_t value)
{
    static const char prefix[] = "Impersonate-Extra-";
    char *name = h2o_mem_alloc_pool(list->pool, sizeof(prefix) + 3 * key.len);
    char *at = name + sizeof(prefix) - 1;
    memcpy(name, prefix, sizeof(prefix));
    for (size_t i = 0; i < key.len; i++) {
        if (key.base[i] != '%' && plain_is_token(h2o_iovec_init(&key.base[i], 1)))
            *at++ = key.base[i];
        else
            at = put_escaped(at, key.base[i]);
    }
    *at = '\0';
    header_list_add(list, name, value);
}

void impersonation_add(const struct impersonation *asked, struct header_list *list)
{
    if (asked->user.base == NULL)
        return;
    header_list_add(list, "Impersonate-User", asked->user);
    for (size_t i = 0; i < asked->group_count; i++)
        header_list_add(list, "Impersonate-Group", asked->groups[i]);
    if (asked->uid.base != NULL)
        header_list_add(list, "Impersonate-Uid", asked->uid);
    for (size_t i = 0; i < asked->extra_count; i++)
        add_extra(list, asked->extras[i].key, asked->extras[i].value);
}

/* The filters of names (webhook/subject) let none of these through; this is the last look before they count. */
static bool may_be_sent(const struct identity *identity)
{
    if (identity == NULL || identity->username == NULL || *identity->username == '\0' ||
        strncmp(identity->username, SYSTEM, strlen(SYSTEM)) == 0)
        return false;
    for (size_t i = 0; i < identity->group_count; i++)
        if (*identity->groups[i] == '\0' ||
            strncmp(identity->groups[i], SYSTEM, strlen(SYSTEM)) == 0)
            return false;
    return true;
}

bool impersonation_add_person(const struct verdict *verdict, struct header_list *list)
{
    const struct identity *identity = verdict->identity;
    if (verdict->decision != DECISION_YES || !may_be_sent(identity))
        return false;
    add(list, "Impersonate-User", identity->username);
    for (size_t i = 0; i < identity->group_count; i++)
        add(list, "Impersonate-Group", identity->groups[i]);
    add(list, "Impersonate-Group", "system:authenticated");
    add(list, "Impersonate-Uid", identity->uid);
    add_extra(list, iovec_of(CREDENTIAL),
              iovec_of(text_format(list->pool, "JTI=%s", verdict->jti)));
    add_extra(list, iovec_of(SESSION_ID), iovec_of(verdict->session.id));
    return true;
}

void impersonation_add_original(const struct verdict *verdict, struct header_list *list)
{
    const struct identity *identity = verdict->identity;
    add_extra(list, iovec_of(ORIGINAL "user"), iovec_of(identity->username));
    add_extra(list, iovec_of(ORIGINAL "uid"), iovec_of(identity->uid));
    for (size_t i = 0; i < identity->group_count; i++)
        add_extra(list, iovec_of(ORIGINAL "group"), iovec_of(identity->groups[i]));
    add_extra(list, iovec_of(SESSION_ID), iovec_of(verdict->session.id));
}
