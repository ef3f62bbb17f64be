/* SPDX-License-Identifier: Apache-2.0
 *
 * Times and durations in words. The server's words are the whole truth for a browser without script; the
 * script only keeps them right while the page stands open. */
#include "words.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/text.h"

static const char *span(h2o_mem_pool_t *pool, int64_t seconds)
{
    int64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
    if (minutes < 1)
        return text_format(pool, "%" PRId64 " s", seconds);
    if (hours < 1)
        return text_format(pool, "%" PRId64 " min", minutes);
    if (days >= 1)
        return words_count(pool, days, "day");
    if (minutes % 60 == 0)
        return text_format(pool, "%" PRId64 " h", hours);
    return text_format(pool, "%" PRId64 " h %" PRId64 " min", hours, minutes % 60);
}

const char *words_relative(h2o_mem_pool_t *pool, int64_t when_ms, int64_t now_ms)
{
    int64_t seconds = (when_ms - now_ms) / 1000;
    if (seconds == 0)
        return "now";
    if (seconds > 0)
        return text_format(pool, "in %s", span(pool, seconds));
    return text_format(pool, "%s ago", span(pool, -seconds));
}

const char *words_exact(h2o_mem_pool_t *pool, int64_t when_ms)
{
    char rfc3339[CLOCK_RFC3339_SIZE];
    clock_rfc3339(when_ms, rfc3339);
    return text_format(pool, "%.10s %.8s UTC", rfc3339, rfc3339 + 11);
}

const char *words_clock(h2o_mem_pool_t *pool, int64_t when_ms)
{
    char rfc3339[CLOCK_RFC3339_SIZE];
    clock_rfc3339(when_ms, rfc3339);
    return text_format(pool, "%.8s UTC", rfc3339 + 11);
}

const char *words_count(h2o_mem_pool_t *pool, int64_t count, const char *thing)
{
    return text_format(pool, "%" PRId64 " %s%s", count, thing, count == 1 ? "" : "s");
}

const char *words_duration(h2o_mem_pool_t *pool, int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{86400000, "day"}, {3600000, "hour"}, {60000, "minute"}, {1000, "second"}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (ms >= units[i].ms && ms % units[i].ms == 0)
            return words_count(pool, ms / units[i].ms, units[i].name);
    return words_count(pool, ms, "millisecond");
}

const char *words_bytes(h2o_mem_pool_t *pool, uint64_t bytes)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    unsigned unit = 0;
    if (bytes < 1000)
        return words_count(pool, (int64_t)bytes, "byte");
    for (; bytes >= 1000 * 1000; unit++)
        bytes /= 1000;
    return text_format(pool, "%llu.%llu %s", (unsigned long long)bytes / 1000,
                       (unsigned long long)bytes % 1000 / 100, units[unit]);
}
