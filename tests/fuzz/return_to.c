/* SPDX-License-Identifier: Apache-2.0
 *
 * http/web_return_to: what is accepted stays on our host however it is read: as it is, resolved as a URL,
 * normalized, and decoded twice. (peers 43) */
#include "fuzz.h"

#include "http/web.h"
#include "web_private.h"

#define ORIGIN "https://login.example.test"

static void check_bytes(const char *path)
{
    assert(path[0] == '/' && path[1] != '/' && path[1] != '\\');
    for (const char *c = path; *c != '\0'; c++)
        assert(*c > ' ' && *c < 0x7f && *c != '\\' && *c != '#' && *c != '"' && *c != '<');
}

static void check_resolved(h2o_mem_pool_t *pool, const char *path)
{
    h2o_url_t base, relative, resolved;
    int bad_base = h2o_url_parse(ORIGIN "/login?x=1", SIZE_MAX, &base);
    int bad = h2o_url_parse_relative(path, strlen(path), &relative);
    assert(bad_base == 0 && bad == 0 && relative.scheme == NULL && relative.authority.base == NULL);
    h2o_url_resolve(pool, &base, &relative, &resolved);
    assert(fuzz_same(resolved.authority, base.authority) && resolved.scheme == base.scheme);
    assert(resolved.path.len > 0 && resolved.path.base[0] == '/');
}

/* Segments that a reader might resolve, or take for the begin of an authority. */
static void check_segments(h2o_iovec_t path)
{
    for (size_t i = 0; i < path.len; i++) {
        assert((unsigned char)path.base[i] >= ' ' && path.base[i] != '\\');
        if (i + 1 < path.len && path.base[i] == '/')
            assert(path.base[i + 1] != '/' && path.base[i + 1] != '.');
    }
}

static h2o_iovec_t decoded(h2o_mem_pool_t *pool, h2o_iovec_t from)
{
    char *out = h2o_mem_alloc_pool(pool, from.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < from.len; i++) {
        int byte = percent_byte(h2o_iovec_init(from.base + i, from.len - i));
        out[len++] = byte >= 0 ? (char)byte : from.base[i];
        i += byte >= 0 ? 2 : 0;
    }
    return h2o_iovec_init(out, len);
}

static void check_normalized(h2o_mem_pool_t *pool, const char *path)
{
    size_t query_at, *indexes;
    h2o_iovec_t normal = h2o_url_normalize_path(pool, path, strlen(path), &query_at, &indexes);
    size_t raw_len = strcspn(path, "?");
    /* there was nothing to resolve: only escapes are gone */
    assert(fuzz_same(normal, decoded(pool, h2o_iovec_init(path, raw_len))));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    h2o_iovec_t candidate = h2o_iovec_init(bytes, len);
    const char *path = web_return_to(&pool, candidate);
    if (path != NULL) {
        h2o_iovec_t once = h2o_iovec_init(path, strcspn(path, "?"));
        assert(iovec_equal(candidate, path) && len <= 1024);
        check_bytes(path);
        check_resolved(&pool, path);
        check_normalized(&pool, path);
        check_segments(once);
        once = decoded(&pool, once);
        check_segments(once);
        check_segments(decoded(&pool, once));
    }
    h2o_mem_clear_pool(&pool);
    return 0;
}
