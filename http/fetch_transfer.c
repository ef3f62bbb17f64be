/* SPDX-License-Identifier: Apache-2.0
 *
 * What is asked of curl for one fetch, and what is taken from it afterwards. All of it runs on the fetch
 * thread. */
#include "fetch_private.h"

#define HEAD_MAX_BYTES 65536
#define CONNECT_MAX_MS 5000
#define CA_CACHE_S     60 /* how long a changed CA file may go unseen */

/* ---- what curl calls while a transfer runs ---- */

/* Grows by copying, so that no former block is left behind unwiped. */
static void make_room(struct fetch *self, size_t len)
{
    size_t capacity = self->answer_capacity != 0 ? self->answer_capacity : 4096;
    while (capacity < len)
        capacity *= 2;
    if (capacity == self->answer_capacity)
        return;
    char *bytes = h2o_mem_alloc(capacity + 1);
    if (self->answer != NULL) {
        memcpy(bytes, self->answer, self->answer_len);
        explicit_bzero(self->answer, self->answer_len);
        free(self->answer);
    }
    self->answer = bytes;
    self->answer_capacity = capacity;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct fetch *self = arg;
    size_t len = size * count;
    if (len > self->max_body - self->answer_len) {
        self->limit = "the answer is larger than allowed";
        return CURL_WRITEFUNC_ERROR;
    }
    make_room(self, self->answer_len + len);
    memcpy(self->answer + self->answer_len, bytes, len);
    self->answer_len += len;
    self->answer[self->answer_len] = '\0';
    return len;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): curl's signature */
static size_t on_head(char *line, size_t size, size_t count, void *arg)
{
    struct fetch *self = arg;
    (void)line;
    self->head_bytes += size * count;
    if (self->head_bytes > HEAD_MAX_BYTES) {
        self->limit = "the answer's head is larger than allowed";
        return 0;
    }
    return size * count;
}

/* ---- options: each says whether curl took all of them, so that no guard is missing silently ---- */

static bool set_guards(CURL *easy)
{
    return curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_USERAGENT, "postern") == CURLE_OK;
}

/* Debian's curl also trusts the folder /etc/ssl/certs unless told not to: with a CA of its own a request
 * trusts that one only. */
static bool set_trust(CURL *easy, const char *ca_file, const char *ca_pem)
{
    bool set = curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, (long)CA_CACHE_S) == CURLE_OK;
    if (set && ca_pem != NULL) {
        struct curl_blob blob = {.len = strlen(ca_pem), .flags = CURL_BLOB_COPY};
        blob.data = h2o_strdup(NULL, ca_pem, SIZE_MAX).base; /* curl wants it writable */
        set = curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob) == CURLE_OK;
        free(blob.data);
    } else if (set && ca_file != NULL) {
        set = curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file) == CURLE_OK;
    }
    return set;
}

/* QUICK_EXIT: else a transfer that ends while a name is being looked up waits for the resolver's thread,
 * and everybody else with it. */
static bool set_times(CURL *easy, int64_t left_ms)
{
    long whole_ms = left_ms > 0 ? (long)left_ms : 1; /* 0 would be: for ever */
    long connect_ms = whole_ms < CONNECT_MAX_MS ? whole_ms : CONNECT_MAX_MS;
    return curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, whole_ms) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK;
}

/* An empty proxy keeps curl from asking the environment. */
static bool set_proxy(CURL *easy, const char *proxy)
{
    return proxy == NULL || (curl_easy_setopt(easy, CURLOPT_PROXY, proxy) == CURLE_OK &&
                             curl_easy_setopt(easy, CURLOPT_NOPROXY, "") == CURLE_OK);
}

static bool set_connection(CURL *easy, const struct transfer_rules *rules)
{
    return set_proxy(easy, rules->proxy) &&
           curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, rules->life_s) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)rules->fresh) == CURLE_OK;
}

static bool set_answer(struct fetch *self)
{
    CURL *easy = self->easy;
    return curl_easy_setopt(easy, CURLOPT_PRIVATE, self) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, self->curl_text) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, self) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, self) == CURLE_OK;
}

static void add_line(struct fetch *self, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 1;
    char *line = h2o_mem_alloc(size);
    snprintf(line, size, "%s%s", name, value);
    struct curl_slist *grown = curl_slist_append(self->head, line);
    explicit_bzero(line, size);
    free(line);
    if (grown == NULL)
        h2o_fatal("no memory"); /* as h2o_mem_alloc does */
    self->head = grown;
}

static void add_lines(struct fetch *self)
{
    add_line(self, "accept: application/json, */*;q=0.5", "");
    if (self->authorization.bytes != NULL)
        add_line(self, "authorization: ", self->authorization.bytes);
    if (!self->post)
        return;
    add_line(self, "expect:", ""); /* not sent: it costs a round trip */
    if (self->content_type != NULL)
        add_line(self, "content-type: ", self->content_type);
    else
        add_line(self, "content-type:", ""); /* not curl's own idea of it */
}

static bool set_request(struct fetch *self)
{
    CURL *easy = self->easy;
    add_lines(self);
    if (curl_easy_setopt(easy, CURLOPT_URL, self->url) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, self->head) != CURLE_OK)
        return false;
    if (!self->post)
        return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    curl_off_t len = (curl_off_t)self->body.len;
    const char *bytes = self->body.bytes != NULL ? self->body.bytes : "";
    return curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, len) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDS, bytes) == CURLE_OK;
}

bool transfer_begin(struct fetch *self, const struct transfer_rules *rules, int64_t now_ms)
{
    self->easy = curl_easy_init();
    return self->easy != NULL && set_guards(self->easy) &&
           set_trust(self->easy, self->ca_file, rules->ca_pem) &&
           set_times(self->easy, self->deadline_ms - now_ms) && set_connection(self->easy, rules) &&
           set_answer(self) && set_request(self);
}

/* ---- afterwards ---- */

static void take_headers(struct fetch *self)
{
    static const char *const names[FETCH_HEADERS] = {
        [FETCH_CONTENT_TYPE] = "content-type",
        [FETCH_DATE] = "date",
        [FETCH_WWW_AUTHENTICATE] = "www-authenticate",
        [FETCH_CACHE_CONTROL] = "cache-control",
        [FETCH_RATE_LIMIT] = "x-rate-limit-limit",
        [FETCH_RATE_REMAINING] = "x-rate-limit-remaining",
        [FETCH_RATE_RESET] = "x-rate-limit-reset",
    };
    struct curl_header *header;
    for (size_t i = 0; i < FETCH_HEADERS; i++)
        if (curl_easy_header(self->easy, names[i], 0, CURLH_HEADER, -1, &header) == CURLHE_OK)
            self->headers[i] = h2o_strdup(NULL, header->value, SIZE_MAX).base;
}

bool transfer_judge(struct fetch *self, CURLcode outcome)
{
    long status = 0;
    (void)curl_easy_getinfo(self->easy, CURLINFO_RESPONSE_CODE, &status);
    if (outcome == CURLE_OK) {
        self->status = (int)status;
        take_headers(self);
        return false;
    }
    const char *words = self->limit != NULL          ? self->limit
                        : self->curl_text[0] != '\0' ? self->curl_text
                                                     : curl_easy_strerror(outcome);
    error_set(&self->err, ERROR_UPSTREAM, "%s %s: %s", self->post ? "POST" : "GET", self->host,
              words);
    return outcome == CURLE_OPERATION_TIMEDOUT && status == 0;
}

void transfer_end(struct fetch *self)
{
    curl_easy_cleanup(self->easy);
    self->easy = NULL;
    for (struct curl_slist *line = self->head; line != NULL; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    curl_slist_free_all(self->head);
    self->head = NULL;
}
