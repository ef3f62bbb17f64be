/* SPDX-License-Identifier: Apache-2.0
 *
 * The identity object: one block of memory with its arrays and strings inside, immutable once made, shared
 * by counted references. */
#include <assert.h>
#include <h2o.h>
#include <stdatomic.h>

#include "cache/identities.h"

struct holder {
    atomic_uint references;
    struct identity identity;
    /* then the arrays of names, then the strings */
};

/* Lays one object out twice: first with bytes NULL, to measure, then for good. */
struct layout {
    char *bytes;
    size_t used;
};

static void *place(struct layout *self, const void *from, size_t len)
{
    char *at = self->bytes == NULL ? NULL : self->bytes + self->used;
    if (at != NULL && len != 0)
        memcpy(at, from, len);
    self->used += len;
    return at;
}

static const char *place_string(struct layout *self, const char *string)
{
    return string == NULL ? NULL : place(self, string, strlen(string) + 1);
}

static const char **place_array(struct layout *self, const char *const *strings, size_t count)
{
    return place(self, strings, count * sizeof(*strings));
}

/* array is where the pointers go; NULL while measuring. */
static void place_names(struct layout *self, const char **array, const char *const *strings,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *copy = place_string(self, strings[i]);
        if (array != NULL)
            array[i] = copy;
    }
}

/* Arrays first: they need their alignment. */
static void lay_out(struct layout *layout, const struct identity *from, struct identity *out)
{
    const char **okta_groups = place_array(layout, from->okta_groups, from->okta_group_count);
    const char **groups = place_array(layout, from->groups, from->group_count);
    place_names(layout, okta_groups, from->okta_groups, from->okta_group_count);
    place_names(layout, groups, from->groups, from->group_count);
    out->okta_groups = okta_groups;
    out->groups = groups;
    out->uid = place_string(layout, from->uid);
    out->username = place_string(layout, from->username);
    out->refusal = place_string(layout, from->refusal);
    for (unsigned i = 0; i < USER_ATTRIBUTES; i++)
        out->attributes[i] = place_string(layout, from->attributes[i]);
}

static struct holder *holder_of(const struct identity *self)
{
    return (struct holder *)((uintptr_t)self - offsetof(struct holder, identity));
}

struct identity *identity_new(const struct identity *from)
{
    struct identity measured = *from;
    struct layout layout = {NULL, 0};
    lay_out(&layout, from, &measured);
    struct holder *holder = h2o_mem_alloc(sizeof(*holder) + layout.used);
    atomic_init(&holder->references, 1);
    holder->identity = *from;
    layout = (struct layout){.bytes = (char *)(holder + 1)};
    lay_out(&layout, from, &holder->identity);
    return &holder->identity;
}

const struct identity *identity_ref(const struct identity *self)
{
    atomic_fetch_add_explicit(&holder_of(self)->references, 1, memory_order_relaxed);
    return self;
}

void identity_unref(const struct identity *self)
{
    if (self == NULL)
        return;
    unsigned before =
        atomic_fetch_sub_explicit(&holder_of(self)->references, 1, memory_order_acq_rel);
    assert(before != 0);
    if (before == 1)
        free(holder_of(self));
}

bool identity_in_group(const struct identity *self, const char *okta_group)
{
    for (size_t i = 0; i < self->okta_group_count; i++)
        if (strcmp(self->okta_groups[i], okta_group) == 0)
            return true;
    return false;
}
