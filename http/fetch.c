/* SPDX-License-Identifier: Apache-2.0
 *
 * The fetch thread. A struct fetch belongs to one thread at a time: the asking loop makes it and puts it into
 * the inbox; the fetch thread moves it through its lane's queue into curl's hands and posts it home; the
 * loop calls back and frees it. Shared are only the inbox, under the lock, and the cancelled flag. Of the multi
 * handle other threads use curl_multi_wakeup and nothing else.
 *
 * curl sends new requests over an HTTP/2 connection on which the former ones time out, for as long as one of
 * them is left. So a time-out without any answer makes the connections of that moment distrusted: for a
 * while each request gets a connection of its own, until nothing holds the old ones, and then they are too old
 * to be used again. */
#include "fetch_private.h"

#include <assert.h>
#include <pthread.h>

#include "base/clock.h"

#define URL_MAX_BYTES     8192
#define BODY_DEFAULT_MAX  ((size_t)1024 * 1024)
#define TIMEOUT_MS        10000
#define IDLE_WAIT_MS      1000 /* the thread's, when nobody waits for a turn */
#define SWEEP_MS          50   /* how late a waiting request may learn that its time is over */
#define CONNECTION_LIFE_S 300
#define FRESH_FOR_MS      15000 /* longer than a request usually stays on a connection */

static const struct {
    long in_flight;
    unsigned waiting;
} caps[FETCH_LANES] = {
    [FETCH_INTERACTIVE] = {64, 4096},
    [FETCH_IDENTITY] = {20, 4096},
};
#define MAX_CONNECTIONS 84L /* of all lanes: over HTTP/1.1 none may take another's place */

struct lane {
    h2o_linklist_t waiting; /* struct fetch, first come first served */
    long in_flight;
};

struct fetcher {
    char *ca_file; /* NULL: the system's roots */
    char *ca_pem;  /* the same as text, which then counts alone; NULL: none */
    char *proxy;   /* "": none; NULL: as the environment says */
    CURLM *multi;
    pthread_t thread;
    bool ended; /* the thread was joined */

    pthread_mutex_t lock;          /* of the next three */
    h2o_linklist_t inbox;          /* struct fetch, as they came */
    unsigned waiting[FETCH_LANES]; /* handed over and not begun yet */
    bool stopping;

    struct lane lanes[FETCH_LANES]; /* the fetch thread's own, as all below */
    h2o_linklist_t transfers;       /* struct fetch that curl works on */
    int64_t swept_ms;               /* when the queues were last looked through */
    int64_t distrusted_ms; /* connections made before this are not used again; 0: all may be */
};

static struct fetch *fetch_of(h2o_linklist_t *link)
{
    return H2O_STRUCT_FROM_MEMBER(struct fetch, link, link);
}

/* ---- home again: on the asking loop ---- */

static void free_fetch(struct fetch *self)
{
    assert(self->easy == NULL && !h2o_linklist_is_linked(&self->link));
    if (self->answer != NULL)
        explicit_bzero(self->answer, self->answer_len);
    free(self->answer);
    for (size_t i = 0; i < FETCH_HEADERS; i++)
        free(self->headers[i]);
    secret_dispose(&self->authorization);
    secret_dispose(&self->body);
    if (self->url != NULL)
        explicit_bzero(self->url, strlen(self->url)); /* its query may hold a token */
    free(self->url);
    free(self->host);
    free(self->content_type);
    free(self->ca_file);
    free(self);
}

static h2o_iovec_t header_value(const struct fetch *self, enum fetch_header header)
{
    char *value = self->headers[header];
    return h2o_iovec_init(value, value != NULL ? strlen(value) : 0);
}

static void call_back(struct fetch *self)
{
    char empty[1] = "";
    struct fetch_result result = {
        .status = self->status,
        .body = {self->answer != NULL ? self->answer : empty, self->answer_len},
        .content_type = header_value(self, FETCH_CONTENT_TYPE),
        .date = header_value(self, FETCH_DATE),
        .www_authenticate = header_value(self, FETCH_WWW_AUTHENTICATE),
        .cache_control = header_value(self, FETCH_CACHE_CONTROL),
        .rate_limit = header_value(self, FETCH_RATE_LIMIT),
        .rate_remaining = header_value(self, FETCH_RATE_REMAINING),
        .rate_reset = header_value(self, FETCH_RATE_RESET),
    };
    self->cb(self->ctx, self->err.kind == ERROR_NONE ? &result : NULL, &self->err);
}

static void on_home(struct loop_call *call)
{
    struct fetch *self = H2O_STRUCT_FROM_MEMBER(struct fetch, call, call);
    if (self->cb != NULL)
        call_back(self);
    free_fetch(self);
}

static void send_home(struct fetch *self)
{
    loop_post(self->loop, &self->call);
}

/* ---- the fetch thread ---- */

static void end_transfer(struct fetch *self)
{
    struct fetcher *fetcher = self->fetcher;
    CURLMcode removed = curl_multi_remove_handle(fetcher->multi, self->easy);
    assert(removed == CURLM_OK);
    transfer_end(self);
    fetcher->lanes[self->lane].in_flight--;
    h2o_linklist_unlink(&self->link);
    send_home(self);
}

static void add_transfer(struct fetcher *self, struct fetch *fetch, int64_t now_ms)
{
    int64_t since_ms = now_ms - self->distrusted_ms;
    struct transfer_rules rules = {.ca_pem = self->ca_pem,
                                   .proxy = fetch->direct ? "" : self->proxy,
                                   .life_s = CONNECTION_LIFE_S};
    if (self->distrusted_ms != 0 && since_ms < CONNECTION_LIFE_S * 1000L) {
        rules.fresh = since_ms < FRESH_FOR_MS;
        rules.life_s = since_ms >= 2000 ? (long)(since_ms / 1000) - 1 : 1; /* curl rounds down */
    }
    if (transfer_begin(fetch, &rules, now_ms) &&
        curl_multi_add_handle(self->multi, fetch->easy) == CURLM_OK) {
        self->lanes[fetch->lane].in_flight++;
        h2o_linklist_insert(&self->transfers, &fetch->link);
        return;
    }
    error_set(&fetch->err, ERROR_INTERNAL, "%s: curl can't be set up", fetch->host);
    transfer_end(fetch);
    send_home(fetch);
}

/* Takes the fetch out of its lane's queue. */
static void leave_queue(struct fetcher *self, struct fetch *fetch)
{
    h2o_linklist_unlink(&fetch->link);
    pthread_mutex_lock(&self->lock);
    self->waiting[fetch->lane]--;
    pthread_mutex_unlock(&self->lock);
}

static void refuse_waiting(struct fetch *fetch, const char *why)
{
    error_set(&fetch->err, ERROR_UPSTREAM, "%s %s: %s", fetch->post ? "POST" : "GET", fetch->host,
              why);
    leave_queue(fetch->fetcher, fetch);
    send_home(fetch);
}

/* Who was cancelled or has no time left does not wait for a turn. */
static void sweep(struct fetcher *self, int64_t now_ms)
{
    if (now_ms - self->swept_ms < SWEEP_MS)
        return;
    self->swept_ms = now_ms;
    for (size_t i = 0; i < FETCH_LANES; i++) {
        h2o_linklist_t *anchor = &self->lanes[i].waiting, *next;
        for (h2o_linklist_t *node = anchor->next; node != anchor; node = next) {
            struct fetch *fetch = fetch_of(node);
            next = node->next;
            if (atomic_load(&fetch->cancelled))
                refuse_waiting(fetch, "cancelled");
            else if (fetch->deadline_ms <= now_ms)
                refuse_waiting(fetch, "no turn in time: too many requests are in flight");
        }
    }
}

/* True while somebody is left to wait. */
static bool begin_waiting(struct fetcher *self, int64_t now_ms)
{
    bool left = false;
    for (size_t i = 0; i < FETCH_LANES; i++) {
        struct lane *lane = &self->lanes[i];
        while (lane->in_flight < caps[i].in_flight && !h2o_linklist_is_empty(&lane->waiting)) {
            struct fetch *fetch = fetch_of(lane->waiting.next);
            leave_queue(self, fetch);
            if (atomic_load(&fetch->cancelled))
                send_home(fetch);
            else
                add_transfer(self, fetch, now_ms);
        }
        left = left || !h2o_linklist_is_empty(&lane->waiting);
    }
    return left;
}

static void end_cancelled(struct fetcher *self)
{
    h2o_linklist_t *next;
    for (h2o_linklist_t *node = self->transfers.next; node != &self->transfers; node = next) {
        next = node->next;
        if (atomic_load(&fetch_of(node)->cancelled))
            end_transfer(fetch_of(node));
    }
}

static void end_finished(struct fetcher *self)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(self->multi, &left)) != NULL) {
        struct fetch *fetch = NULL;
        CURLcode outcome = message->data.result; /* the message dies with its handle */
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &fetch);
        assert(fetch != NULL && message->msg == CURLMSG_DONE);
        if (transfer_judge(fetch, outcome))
            self->distrusted_ms = clock_mono_ms();
        end_transfer(fetch);
    }
}

/* False once the thread is to end. */
static bool take_inbox(struct fetcher *self)
{
    pthread_mutex_lock(&self->lock);
    while (!h2o_linklist_is_empty(&self->inbox)) {
        struct fetch *fetch = fetch_of(self->inbox.next);
        h2o_linklist_unlink(&fetch->link);
        h2o_linklist_insert(&self->lanes[fetch->lane].waiting, &fetch->link);
    }
    bool go_on = !self->stopping;
    pthread_mutex_unlock(&self->lock);
    return go_on;
}

static void end_all(struct fetcher *self)
{
    while (!h2o_linklist_is_empty(&self->transfers)) {
        struct fetch *fetch = fetch_of(self->transfers.next);
        error_set(&fetch->err, ERROR_UPSTREAM, "%s: stopped before the answer", fetch->host);
        end_transfer(fetch);
    }
    for (size_t i = 0; i < FETCH_LANES; i++)
        while (!h2o_linklist_is_empty(&self->lanes[i].waiting))
            refuse_waiting(fetch_of(self->lanes[i].waiting.next), "stopped before the request");
}

static void *run(void *arg)
{
    struct fetcher *self = arg;
    while (take_inbox(self)) {
        int running;
        end_cancelled(self);
        CURLMcode performed = curl_multi_perform(self->multi, &running);
        assert(performed == CURLM_OK);
        end_finished(self);
        sweep(self, clock_mono_ms());
        bool somebody_waits = begin_waiting(self, clock_mono_ms());
        CURLMcode polled =
            curl_multi_poll(self->multi, NULL, 0, somebody_waits ? SWEEP_MS : IDLE_WAIT_MS, NULL);
        assert(polled == CURLM_OK);
    }
    end_all(self);
    return NULL;
}

/* ---- start and stop ---- */

static void init_curl(void)
{
    CURLcode done = curl_global_init(CURL_GLOBAL_DEFAULT);
    assert(done == CURLE_OK);
}

static char *copy_string(const char *string)
{
    return string != NULL ? h2o_strdup(NULL, string, SIZE_MAX).base : NULL;
}

static struct fetcher *make_fetcher(const struct fetch_options *options)
{
    struct fetcher *self = h2o_mem_alloc(sizeof(*self));
    *self =
        (struct fetcher){.ca_file = copy_string(options->ca_file),
                         .ca_pem = copy_string(options->ca_pem),
                         .proxy = options->environment_proxy
                                      ? NULL
                                      : copy_string(options->proxy != NULL ? options->proxy : ""),
                         .multi = curl_multi_init(),
                         .ended = true};
    pthread_mutex_init(&self->lock, NULL);
    h2o_linklist_init_anchor(&self->inbox);
    h2o_linklist_init_anchor(&self->transfers);
    for (size_t i = 0; i < FETCH_LANES; i++)
        h2o_linklist_init_anchor(&self->lanes[i].waiting);
    return self;
}

bool fetcher_start(const struct fetch_options *options, struct fetcher **out, struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    struct fetcher *self = make_fetcher(options);
    if (self->multi == NULL ||
        curl_multi_setopt(self->multi, CURLMOPT_MAX_HOST_CONNECTIONS, MAX_CONNECTIONS) !=
            CURLM_OK ||
        curl_multi_setopt(self->multi, CURLMOPT_MAXCONNECTS, MAX_CONNECTIONS) != CURLM_OK ||
        pthread_create(&self->thread, NULL, run, self) != 0) {
        fetcher_free(self);
        return error_set(err, ERROR_INTERNAL, "the fetch thread can't be started");
    }
    self->ended = false;
    *out = self;
    return true;
}

void fetcher_stop(struct fetcher *self)
{
    if (self->ended)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_mutex_unlock(&self->lock);
    curl_multi_wakeup(self->multi);
    pthread_join(self->thread, NULL);
    self->ended = true;
}

void fetcher_free(struct fetcher *self)
{
    if (self == NULL)
        return;
    fetcher_stop(self);
    assert(h2o_linklist_is_empty(&self->inbox) && h2o_linklist_is_empty(&self->transfers));
    curl_multi_cleanup(self->multi);
    pthread_mutex_destroy(&self->lock);
    free(self->ca_file);
    free(self->ca_pem);
    free(self->proxy);
    free(self);
}

/* ---- asking: on the loops ---- */

static char *url_part(CURLU *url, CURLUPart part)
{
    char *text = NULL, *copy = NULL;
    if (curl_url_get(url, part, &text, 0) == CURLUE_OK)
        copy = copy_string(text);
    curl_free(text);
    return copy;
}

/* The host, with the port where the URL has one; NULL when it is no https URL with a host. */
static char *host_of(const char *text)
{
    CURLU *url = curl_url();
    char *host = NULL;
    if (url != NULL && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
        strncasecmp(text, "https://", 8) == 0)
        host = url_part(url, CURLUPART_HOST);
    char *port = host != NULL ? url_part(url, CURLUPART_PORT) : NULL;
    if (port != NULL) {
        h2o_iovec_t whole = h2o_concat(NULL, h2o_iovec_init(host, strlen(host)),
                                       h2o_iovec_init(":", 1), h2o_iovec_init(port, strlen(port)));
        free(host);
        host = whole.base;
    }
    free(port);
    curl_url_cleanup(url);
    return host;
}

static bool has_line_break(h2o_iovec_t value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.base[i] == '\r' || value.base[i] == '\n' || value.base[i] == '\0')
            return true;
    return false;
}

static bool judge_request(struct fetch *self, const struct fetch_request *request)
{
    size_t len = strlen(request->url);
    if (len > URL_MAX_BYTES)
        return error_set(&self->err, ERROR_INTERNAL, "fetch: the URL is too long");
    self->host = host_of(request->url);
    if (self->host == NULL)
        return error_set(&self->err, ERROR_INTERNAL, "fetch: not an https URL with a host");
    if (has_line_break(request->authorization) || has_line_break(request->content_type))
        return error_set(&self->err, ERROR_INTERNAL, "%s: a header to send has a line break",
                         self->host);
    return true;
}

static struct fetch *make_fetch(struct fetcher *fetcher, const struct fetch_request *request)
{
    struct fetch *self = h2o_mem_alloc(sizeof(*self));
    const char *ca_file = request->ca_file != NULL ? request->ca_file : fetcher->ca_file;
    assert(request->lane < FETCH_LANES && request->timeout_ms >= 0);
    *self = (struct fetch){
        .call = {.run = on_home},
        .fetcher = fetcher,
        .lane = request->lane,
        .post = strcmp(request->method, "POST") == 0,
        .direct = request->direct,
        .url = copy_string(request->url),
        .ca_file = copy_string(ca_file),
        .max_body = request->max_body != 0 ? request->max_body : BODY_DEFAULT_MAX,
        .deadline_ms =
            clock_mono_ms() + (request->timeout_ms != 0 ? request->timeout_ms : TIMEOUT_MS)};
    assert(self->post || strcmp(request->method, "GET") == 0);
    atomic_init(&self->cancelled, false);
    if (request->authorization.base != NULL)
        secret_set(&self->authorization, request->authorization.base, request->authorization.len);
    if (request->body.len != 0)
        secret_set(&self->body, request->body.base, request->body.len);
    if (request->content_type.base != NULL)
        self->content_type =
            h2o_strdup(NULL, request->content_type.base, request->content_type.len).base;
    return self;
}

static bool hand_over(struct fetcher *self, struct fetch *fetch)
{
    bool taken = false;
    pthread_mutex_lock(&self->lock);
    if (self->stopping) {
        error_set(&fetch->err, ERROR_INTERNAL, "%s: fetching has stopped", fetch->host);
    } else if (self->waiting[fetch->lane] >= caps[fetch->lane].waiting) {
        error_set(&fetch->err, ERROR_INTERNAL, "%s: too many requests wait", fetch->host);
    } else {
        self->waiting[fetch->lane]++;
        h2o_linklist_insert(&self->inbox, &fetch->link);
        taken = true;
    }
    pthread_mutex_unlock(&self->lock);
    if (taken)
        curl_multi_wakeup(self->multi);
    return taken;
}

struct fetch *fetch_start(struct fetcher *self, struct loop *loop,
                          const struct fetch_request *request, fetch_cb cb, void *ctx)
{
    struct fetch *fetch = make_fetch(self, request);
    fetch->loop = loop;
    fetch->cb = cb;
    fetch->ctx = ctx;
    if (!judge_request(fetch, request) || !hand_over(self, fetch))
        send_home(fetch);
    return fetch;
}

void fetch_cancel(struct fetch *fetch)
{
    fetch->cb = NULL;
    atomic_store(&fetch->cancelled, true);
    curl_multi_wakeup(fetch->fetcher->multi);
}
