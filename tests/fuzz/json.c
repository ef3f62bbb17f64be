/* SPDX-License-Identifier: Apache-2.0
 *
 * base/json: what is accepted is a sound tree within the limits, can be written, and reads back as the
 * same tree. */
#include "fuzz.h"

#define DEPTH 32

static void check_node(const struct json *node, size_t depth);

static void check_key(const struct json *object, const struct json *member)
{
    fuzz_check_text(member->key);
    if (object->count > 200) /* quadratic */
        return;
    assert(json_member(object, member->key.base) == member);
    for (const struct json *other = member->next; other != NULL; other = other->next)
        assert(!fuzz_same(other->key, member->key));
}

static void check_children(const struct json *node, size_t depth)
{
    size_t count = 0;
    const struct json *last = NULL;
    assert(depth <= DEPTH);
    for (const struct json *child = node->first; child != NULL; child = child->next) {
        if (node->type == JSON_OBJECT)
            check_key(node, child);
        else
            assert(child->key.base == NULL);
        check_node(child, depth + 1);
        last = child;
        count++;
    }
    assert(count == node->count && last == node->last);
}

static void check_node(const struct json *node, size_t depth)
{
    if (node->type == JSON_ARRAY || node->type == JSON_OBJECT) {
        check_children(node, depth);
        return;
    }
    assert(node->first == NULL && node->last == NULL && node->count == 0);
    if (node->type == JSON_STRING)
        fuzz_check_text(node->text);
    if (node->type == JSON_NUMBER)
        assert(node->text.len > 0 && strspn(node->text.base, "+-.0123456789eE") == node->text.len);
}

static void check_same(const struct json *a, const struct json *b)
{
    assert(a->type == b->type && a->boolean == b->boolean && a->count == b->count);
    assert(fuzz_same(a->key, b->key) && fuzz_same(a->text, b->text));
    for (a = a->first, b = b->first; a != NULL && b != NULL; a = a->next, b = b->next)
        check_same(a, b);
    assert(a == NULL && b == NULL);
}

/* A getter says yes to its own type only, and json_int is exact. */
static void check_getters(h2o_mem_pool_t *pool, const struct json *object)
{
    size_t looked_at = 0;
    for (const struct json *m = object->first; m != NULL && looked_at < 50; m = m->next) {
        h2o_iovec_t text;
        int64_t number;
        const char *key = m->key.base;
        assert(json_string(object, key, &text, NULL) == (m->type == JSON_STRING));
        if (json_int(object, key, &number, NULL)) {
            const char *written = text_format(pool, "%lld", (long long)number);
            assert(m->type == JSON_NUMBER);
            assert(iovec_equal(m->text, written) || iovec_equal(m->text, "-0"));
        }
        looked_at++;
    }
}

static void check_written(h2o_mem_pool_t *pool, const struct json *tree)
{
    const struct json_limits limits = {1 << 26, DEPTH, 65536}; /* escapes take more room */
    struct json_writer *writer = json_writer_new(pool);
    h2o_iovec_t written;
    struct json *again = NULL;
    json_put_tree(writer, tree);
    bool good =
        json_writer_end(writer, &written, NULL) && json_parse(pool, written, &limits, &again, NULL);
    assert(good);
    check_same(tree, again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    struct json *tree;
    struct error err = {0};
    h2o_mem_init_pool(&pool);
    if (json_parse(&pool, h2o_iovec_init(bytes, len), NULL, &tree, &err)) {
        check_node(tree, 1);
        if (tree->type == JSON_OBJECT)
            check_getters(&pool, tree);
        check_written(&pool, tree);
    } else {
        assert(err.kind == ERROR_BAD_INPUT);
        fuzz_check_error(&err);
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
