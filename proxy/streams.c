/* SPDX-License-Identifier: Apache-2.0
 *
 * See streams.h. A list belongs to its worker's thread; the lock is for those who read it from another. h2o does not
 * read a connection while a request is at work, so that a client's leaving is learned from the kernel: one poll(2)
 * over all of them. */
#include "streams.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

#define MOST_WORKERS 32
#define TICK_MS      500 /* half of the second within which what ended must be cut */
#define NEVER_MS     (UINT64_C(1) << 40)
#define SHOWN_PATH   200

struct streams {
    struct streams_hub *hub;
    struct loop *loop;
    struct loop_timer tick;
    h2o_timeout_t never;
    pthread_mutex_t lock;
    h2o_linklist_t entries; /* struct stream_entry, oldest first */
    size_t counts[STREAM_KINDS];
};

struct app_gauge { /* what one of an app's two gauges reads */
    struct app_gauge *next;
    struct streams_hub *hub;
    char *app;
    enum stream_kind kind;
};

struct streams_hub {
    stream_judge judge;
    void *ctx;
    struct app_gauge *gauges; /* made at the start and by reloads, one at a time */
    pthread_mutex_t lock;     /* of the table */
    struct streams *workers[MOST_WORKERS];
};

static struct stream_entry *entry_of(h2o_linklist_t *link)
{
    return H2O_STRUCT_FROM_MEMBER(struct stream_entry, link, link);
}

/* ---- the tick ---- */

/* Our own end of reading (when the listener drains) is no leaving. */
static bool has_left(h2o_socket_t *client)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    if (getsockopt(h2o_socket_get_fd(client), IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return true;
    return info.tcpi_state != TCP_ESTABLISHED;
}

static void judge(struct streams *self, const struct pollfd *polled)
{
    int64_t now_ms = clock_mono_ms();
    const struct streams_hub *hub = self->hub;
    h2o_linklist_t *next;
    for (h2o_linklist_t *at = self->entries.next; at != &self->entries; at = next, ++polled) {
        struct stream_entry *entry = entry_of(at);
        bool may_go_on = !entry->owned || hub->judge == NULL || hub->judge(hub->ctx, &entry->owner);
        next = at->next;
        entry->tick(entry, now_ms, may_go_on, polled->revents != 0 && has_left(entry->client));
    }
}

static void on_tick(struct loop_timer *timer)
{
    struct streams *self = H2O_STRUCT_FROM_MEMBER(struct streams, tick, timer);
    size_t count = self->counts[STREAM_REQUEST] + self->counts[STREAM_UPGRADE], at = 0;
    loop_timer_start(self->loop, timer, TICK_MS, on_tick);
    if (count == 0)
        return;
    struct pollfd *polled = h2o_mem_alloc(count * sizeof(*polled));
    for (h2o_linklist_t *link = self->entries.next; link != &self->entries; link = link->next)
        polled[at++] =
            (struct pollfd){.fd = h2o_socket_get_fd(entry_of(link)->client), .events = POLLRDHUP};
    assert(at == count);
    poll(polled, count, 0);
    judge(self, polled);
    free(polled);
}

/* ---- hub ---- */

static double read_gauge(const struct streams_hub *hub, enum stream_kind kind)
{
    struct streams_hub *self = (struct streams_hub *)(uintptr_t)hub;
    size_t count = 0;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < MOST_WORKERS && self->workers[i] != NULL; ++i) {
        pthread_mutex_lock(&self->workers[i]->lock);
        count += self->workers[i]->counts[kind];
        pthread_mutex_unlock(&self->workers[i]->lock);
    }
    pthread_mutex_unlock(&self->lock);
    return (double)count;
}

static double read_requests(void *ctx)
{
    return read_gauge(ctx, STREAM_REQUEST);
}

static double read_upgrades(void *ctx)
{
    return read_gauge(ctx, STREAM_UPGRADE);
}

struct streams_hub *streams_hub_new(stream_judge judge_entry, void *ctx, struct metrics *metrics)
{
    static const char help[] = "Requests and tunnels that are open in the proxy.";
    struct streams_hub *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct streams_hub){.judge = judge_entry, .ctx = ctx};
    pthread_mutex_init(&self->lock, NULL);
    if (metrics != NULL) {
        metrics_gauge(metrics, "postern_proxy_streams", help, "kind=\"request\"", read_requests,
                      self);
        metrics_gauge(metrics, "postern_proxy_streams", help, "kind=\"upgrade\"", read_upgrades,
                      self);
    }
    return self;
}

/* ---- an app's ---- */

static size_t count_of_app(struct streams *worker, const struct app_gauge *gauge)
{
    size_t count = 0;
    pthread_mutex_lock(&worker->lock);
    for (h2o_linklist_t *at = worker->entries.next; at != &worker->entries; at = at->next) {
        const struct stream_entry *entry = entry_of(at);
        count += entry->kind == gauge->kind && entry->owner.app != NULL &&
                 strcmp(entry->owner.app, gauge->app) == 0;
    }
    pthread_mutex_unlock(&worker->lock);
    return count;
}

static double read_app_gauge(void *ctx)
{
    const struct app_gauge *gauge = ctx;
    struct streams_hub *hub = gauge->hub;
    size_t count = 0;
    pthread_mutex_lock(&hub->lock);
    for (size_t i = 0; i < MOST_WORKERS && hub->workers[i] != NULL; ++i)
        count += count_of_app(hub->workers[i], gauge);
    pthread_mutex_unlock(&hub->lock);
    return (double)count;
}

void streams_count_app(struct streams_hub *self, const char *app, struct metrics *metrics)
{
    static const char *const kinds[STREAM_KINDS] = {"request", "upgrade"};
    h2o_mem_pool_t pool;
    for (const struct app_gauge *at = self->gauges; at != NULL; at = at->next)
        if (strcmp(at->app, app) == 0)
            return;
    h2o_mem_init_pool(&pool);
    for (enum stream_kind kind = 0; kind < STREAM_KINDS; ++kind) {
        struct app_gauge *gauge = h2o_mem_alloc(sizeof(*gauge));
        *gauge = (struct app_gauge){self->gauges, self, h2o_strdup(NULL, app, SIZE_MAX).base, kind};
        self->gauges = gauge;
        metrics_gauge(
            metrics, "postern_proxy_app_streams",
            "Requests and tunnels of an app that are open in the proxy.",
            text_format(&pool, "app=\"%s\",kind=\"%s\"", metrics_label(&pool, app), kinds[kind]),
            read_app_gauge, gauge);
    }
    h2o_mem_clear_pool(&pool);
}

static void free_gauges(struct app_gauge *gauge)
{
    while (gauge != NULL) {
        struct app_gauge *next = gauge->next;
        free(gauge->app);
        free(gauge);
        gauge = next;
    }
}

void streams_hub_free(struct streams_hub *self)
{
    if (self == NULL)
        return;
    free_gauges(self->gauges);
    for (size_t i = 0; i < MOST_WORKERS && self->workers[i] != NULL; ++i) {
        pthread_mutex_destroy(&self->workers[i]->lock);
        free(self->workers[i]);
    }
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static struct streams *new_worker(struct streams_hub *hub, struct loop *loop)
{
    struct streams *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct streams){.hub = hub, .loop = loop};
    pthread_mutex_init(&self->lock, NULL);
    h2o_linklist_init_anchor(&self->entries);
    h2o_timeout_init(loop_h2o(loop), &self->never, NEVER_MS);
    loop_timer_start(loop, &self->tick, TICK_MS, on_tick);
    return self;
}

struct streams *streams_here(struct streams_hub *self, struct loop *loop)
{
    size_t at = 0;
    pthread_mutex_lock(&self->lock);
    while (at < MOST_WORKERS && self->workers[at] != NULL && self->workers[at]->loop != loop)
        ++at;
    assert(at < MOST_WORKERS);
    if (self->workers[at] == NULL)
        self->workers[at] = new_worker(self, loop);
    struct streams *found = self->workers[at];
    pthread_mutex_unlock(&self->lock);
    return found;
}

h2o_timeout_t *streams_never(struct streams *self)
{
    return &self->never;
}

/* ---- entries ---- */

static h2o_iovec_t shown_path(h2o_iovec_t path)
{
    const char *query = memchr(path.base, '?', path.len);
    size_t len = query != NULL ? (size_t)(query - path.base) : path.len;
    return h2o_iovec_init(path.base, len < SHOWN_PATH ? len : SHOWN_PATH);
}

static bool has_watch(h2o_iovec_t path)
{
    return memmem(path.base, path.len, "watch=1", 7) != NULL ||
           memmem(path.base, path.len, "watch=true", 10) != NULL ||
           memmem(path.base, path.len, "/watch/", 7) != NULL;
}

/* A word for people: what the request asks for, whatever comes of it. */
static const char *what_it_is(const h2o_req_t *req)
{
    if (req->upgrade.base != NULL)
        return h2o_lcstris(req->upgrade.base, req->upgrade.len, H2O_STRLIT("websocket"))
                   ? "WebSocket"
                   : "tunnel";
    return has_watch(req->input.path) ? "watch" : "request";
}

/* Puts a copy at *room and moves that on. */
static char *put(char **room, h2o_iovec_t string)
{
    char *start = *room;
    memcpy(start, string.base, string.len);
    start[string.len] = '\0';
    *room += string.len + 1;
    return start;
}

static const char *put_string(char **room, const char *string)
{
    return string != NULL ? put(room, iovec_of(string)) : NULL;
}

static size_t size_of(const char *string)
{
    return string != NULL ? strlen(string) + 1 : 0;
}

/* An entry and all its strings are one piece of memory. */
struct stream_entry *streams_add(struct streams *self, h2o_req_t *req,
                                 const struct stream_owner *owner)
{
    static const struct stream_owner nobody;
    const struct stream_owner *of = owner != NULL ? owner : &nobody;
    h2o_iovec_t path = shown_path(req->input.path), method = req->input.method;
    size_t strings = size_of(of->login_id) + size_of(of->grant_id) + size_of(of->uid) +
                     size_of(of->cluster) + size_of(of->app) + method.len + path.len + 2;
    struct stream_entry *entry = h2o_mem_alloc(sizeof(*entry) + strings);
    char *room = (char *)(entry + 1);
    *entry = (struct stream_entry){.streams = self,
                                   .owned = owner != NULL,
                                   .what = what_it_is(req),
                                   .since_wall_ms = clock_wall_ms(),
                                   .client = req->conn->callbacks->get_socket(req->conn)};
    entry->method = put(&room, method);
    entry->path = put(&room, path);
    entry->owner = (struct stream_owner){
        put_string(&room, of->login_id), put_string(&room, of->grant_id),
        put_string(&room, of->uid), put_string(&room, of->cluster), put_string(&room, of->app)};
    pthread_mutex_lock(&self->lock);
    h2o_linklist_insert(&self->entries, &entry->link);
    ++self->counts[entry->kind];
    pthread_mutex_unlock(&self->lock);
    return entry;
}

void streams_become(struct stream_entry *entry, enum stream_kind kind)
{
    pthread_mutex_lock(&entry->streams->lock);
    --entry->streams->counts[entry->kind];
    entry->kind = kind;
    ++entry->streams->counts[kind];
    pthread_mutex_unlock(&entry->streams->lock);
}

void stream_entry_free(struct stream_entry *entry)
{
    if (entry == NULL)
        return;
    pthread_mutex_lock(&entry->streams->lock);
    h2o_linklist_unlink(&entry->link);
    --entry->streams->counts[entry->kind];
    pthread_mutex_unlock(&entry->streams->lock);
    free(entry);
}

/* ---- snapshots ---- */

static const char *copy(h2o_mem_pool_t *pool, const char *string)
{
    return string != NULL ? text_dup(pool, string) : NULL;
}

static struct stream_info describe(const struct stream_entry *entry, h2o_mem_pool_t *pool)
{
    const struct stream_owner *owner = &entry->owner;
    return (struct stream_info){
        .owner = {copy(pool, owner->login_id), copy(pool, owner->grant_id), copy(pool, owner->uid),
                  copy(pool, owner->cluster), copy(pool, owner->app)},
        .kind = entry->kind,
        .what = entry->what,
        .method = text_dup(pool, entry->method),
        .path = text_dup(pool, entry->path),
        .since_wall_ms = entry->since_wall_ms,
        .bytes_down = atomic_load_explicit(&entry->bytes_down, memory_order_relaxed),
        .bytes_up = atomic_load_explicit(&entry->bytes_up, memory_order_relaxed)};
}

size_t streams_snapshot(struct streams_hub *self, const struct stream_query *query,
                        h2o_mem_pool_t *pool, struct stream_info *out, size_t max)
{
    size_t count = 0;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < MOST_WORKERS && self->workers[i] != NULL; ++i) {
        struct streams *worker = self->workers[i];
        pthread_mutex_lock(&worker->lock);
        for (h2o_linklist_t *at = worker->entries.next; at != &worker->entries; at = at->next) {
            if (query != NULL && !query->wanted(query->ctx, &entry_of(at)->owner))
                continue;
            if (count < max)
                out[count] = describe(entry_of(at), pool);
            ++count;
        }
        pthread_mutex_unlock(&worker->lock);
    }
    pthread_mutex_unlock(&self->lock);
    return count;
}
