/* SPDX-License-Identifier: Apache-2.0
 *
 * A bounded HTTP/2 load: POSTs bodies from a file, one a line, over kept connections with a client
 * certificate, and prints what it saw as one JSON object. libcurl's multi interface keeps `streams`
 * requests in flight on each of `connections` connections.
 *
 *     load --url https://127.0.0.1:9443/tokenreview/x --ca CA --cert C --key K --bodies FILE
 *          --requests N --connections C --streams S [--form]
 *
 * --form: bodies are forms, sent by HTTP/1.1, one at a time on each connection (streams is 1 then).
 */
#include <curl/curl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

struct load {
    const char *url, *ca, *cert, *key;
    bool form;
    char **bodies;
    size_t body_count;
    size_t wanted, started, finished, failed;
    int64_t *latency_us;
    char
        first_answer[4096]; /* of the first request, so that the caller can see what was measured */
    char first_error[256];
};

struct stream {
    CURL *easy;
    struct load *load;
    CURLM *multi;
    int64_t started_us;
    size_t index, received;
};

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct stream *self = ctx;
    struct load *load = self->load;
    for (size_t i = 0; self->index == 0 && i < size * count &&
                       self->received + i + 1 < sizeof(load->first_answer);
         ++i)
        load->first_answer[self->received + i] = bytes[i];
    self->received += size * count;
    return size * count;
}

static bool next(struct stream *self)
{
    struct load *load = self->load;
    if (load->started == load->wanted)
        return false;
    self->index = load->started++;
    self->received = 0;
    curl_easy_setopt(self->easy, CURLOPT_POSTFIELDS, load->bodies[self->index % load->body_count]);
    self->started_us = now_us();
    curl_multi_add_handle(self->multi, self->easy);
    return true;
}

static void set_up(struct stream *self, struct load *load, CURLM *multi, struct curl_slist *headers)
{
    *self = (struct stream){.easy = curl_easy_init(), .load = load, .multi = multi};
    curl_easy_setopt(self->easy, CURLOPT_URL, load->url);
    curl_easy_setopt(self->easy, CURLOPT_CAINFO, load->ca);
    curl_easy_setopt(self->easy, CURLOPT_SSLCERT, load->cert);
    curl_easy_setopt(self->easy, CURLOPT_SSLKEY, load->key);
    curl_easy_setopt(self->easy, CURLOPT_HTTP_VERSION,
                     load->form ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(self->easy, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(self->easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(self->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(self->easy, CURLOPT_WRITEDATA, self);
    curl_easy_setopt(self->easy, CURLOPT_PRIVATE, self);
    curl_easy_setopt(self->easy, CURLOPT_TIMEOUT_MS, 20000L);
    curl_easy_setopt(self->easy, CURLOPT_NOSIGNAL, 1L);
}

static void finish(struct load *load, CURLMsg *message)
{
    struct stream *self;
    long status = 0;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&self);
    curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
    if (message->data.result != CURLE_OK || status != 200) {
        ++load->failed;
        snprintf(load->first_error, sizeof(load->first_error), "HTTP %ld, %s", status,
                 curl_easy_strerror(message->data.result));
    }
    load->latency_us[load->finished++] = now_us() - self->started_us;
    curl_multi_remove_handle(self->multi, self->easy);
    next(self);
}

static void run(struct load *load, struct stream *streams, size_t count, CURLM *multi)
{
    int running = 0, left;
    for (size_t i = 0; i < count; ++i)
        next(&streams[i]);
    while (load->finished < load->wanted) {
        curl_multi_perform(multi, &running);
        for (CURLMsg *m; (m = curl_multi_info_read(multi, &left)) != NULL;)
            if (m->msg == CURLMSG_DONE)
                finish(load, m);
        if (load->finished < load->wanted)
            curl_multi_poll(multi, NULL, 0, 1000, NULL);
    }
}

static void read_bodies(struct load *load, const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t len;
    while (file != NULL && (len = getline(&line, &capacity, file)) > 0) {
        line[len - 1] = '\0';
        load->bodies = realloc(load->bodies, (load->body_count + 1) * sizeof(char *));
        load->bodies[load->body_count++] = strdup(line);
    }
    free(line);
    if (file != NULL)
        fclose(file);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void report(struct load *load, int64_t took_us)
{
    qsort(load->latency_us, load->finished, sizeof(int64_t), by_value);
    printf("{\"requests\":%zu,\"failed\":%zu,\"rate\":%.0f,\"p50_us\":%lld,\"p99_us\":%lld,"
           "\"error\":\"%s\",\"bytes\":%zu}\n",
           load->finished, load->failed, (double)load->finished * 1e6 / (double)took_us,
           (long long)load->latency_us[load->finished / 2],
           (long long)load->latency_us[load->finished * 99 / 100], load->first_error,
           strlen(load->first_answer));
    printf("%s\n", load->first_answer);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"url", 1, NULL, 'u'},     {"ca", 1, NULL, 'a'},          {"cert", 1, NULL, 'c'},
        {"key", 1, NULL, 'k'},     {"bodies", 1, NULL, 'b'},      {"requests", 1, NULL, 'n'},
        {"streams", 1, NULL, 's'}, {"connections", 1, NULL, 'm'}, {"form", 0, NULL, 'f'},
        {NULL, 0, NULL, 0}};
    struct load load = {.wanted = 1000};
    size_t streams = 10, connections = 4;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'u':
            load.url = optarg;
            break;
        case 'a':
            load.ca = optarg;
            break;
        case 'c':
            load.cert = optarg;
            break;
        case 'k':
            load.key = optarg;
            break;
        case 'b':
            read_bodies(&load, optarg);
            break;
        case 'n':
            load.wanted = strtoul(optarg, NULL, 10);
            break;
        case 's':
            streams = strtoul(optarg, NULL, 10);
            break;
        case 'm':
            connections = strtoul(optarg, NULL, 10);
            break;
        case 'f':
            load.form = true;
            break;
        default:
            return 2;
        }
    }
    if (load.url == NULL || load.body_count == 0 || load.wanted == 0)
        return 2;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURLM *multi = curl_multi_init();
    /* PIPEWAIT fills a connection up to this many streams before it opens the next. */
    curl_multi_setopt(multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)streams);
    curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)connections);
    struct curl_slist *headers =
        curl_slist_append(NULL, load.form ? "Content-Type: application/x-www-form-urlencoded"
                                          : "Content-Type: application/json");
    size_t count = streams * connections;
    struct stream *all = calloc(count, sizeof(*all));
    load.latency_us = calloc(load.wanted, sizeof(int64_t));
    for (size_t i = 0; i < count; ++i)
        set_up(&all[i], &load, multi, headers);
    int64_t began = now_us();
    run(&load, all, count, multi);
    report(&load, now_us() - began);
    return load.failed == 0 ? 0 : 1;
}
