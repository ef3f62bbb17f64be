/* SPDX-License-Identifier: Apache-2.0
 *
 * One fetch, between the thread's housekeeping (fetch.c) and what is asked of curl for it
 * (fetch_transfer.c). */
#pragma once

#include <curl/curl.h>
#include <stdatomic.h>

#include "base/secret.h"
#include "http/fetch.h"

enum fetch_header {
    FETCH_CONTENT_TYPE,
    FETCH_DATE,
    FETCH_WWW_AUTHENTICATE,
    FETCH_CACHE_CONTROL,
    FETCH_RATE_LIMIT,
    FETCH_RATE_REMAINING,
    FETCH_RATE_RESET,
    FETCH_HEADERS, /* how many there are */
};

struct fetch {
    struct loop_call call; /* carries it home */
    h2o_linklist_t link;   /* in the inbox, its lane's queue, or the transfers */
    struct fetcher *fetcher;
    struct loop *loop;     /* the asking one */
    fetch_cb cb;           /* NULL once cancelled; only the asking loop looks */
    void *ctx;             /* of cb */
    atomic_bool cancelled; /* what the fetch thread is told of that */

    enum fetch_lane lane;
    bool post;                   /* else a GET */
    bool direct;                 /* without the proxy */
    char *url;                   /* NULL where it was refused */
    char *host;                  /* for messages, with its port where the URL has one */
    char *content_type;          /* NULL: none */
    char *ca_file;               /* NULL: the system's roots */
    struct secret authorization; /* the header's value; empty: none */
    struct secret body;          /* to send */
    size_t max_body;             /* of the answer */
    int64_t deadline_ms;         /* monotonic */

    CURL *easy;                      /* while it is a transfer */
    struct curl_slist *head;         /* lines to send; wiped */
    size_t head_bytes;               /* received so far */
    const char *limit;               /* says which one was exceeded, else NULL */
    char curl_text[CURL_ERROR_SIZE]; /* curl's own words for a failure */

    struct error err; /* ERROR_NONE: there is a whole answer */
    int status;
    char *answer;                 /* its body, NUL-terminated, wiped; NULL: empty */
    size_t answer_len;            /* without the NUL */
    size_t answer_capacity;       /* without the NUL */
    char *headers[FETCH_HEADERS]; /* NULL: absent */
};

struct transfer_rules {
    const char *ca_pem; /* the roots to trust; NULL: as the fetch says */
    const char *proxy;  /* "": none; NULL: as the environment says */
    long life_s;        /* an older connection is not used again */
    bool fresh;         /* not to use any connection again */
};

/* Makes self->easy, ready to be added to a multi handle; false when curl refuses something. */
MUST_CHECK bool transfer_begin(struct fetch *self, const struct transfer_rules *rules,
                               int64_t now_ms);
/* Takes what there is to know from a finished one: the answer, or self->err. True when it timed out without a
 * single byte of an answer. */
bool transfer_judge(struct fetch *self, CURLcode outcome);
/* Frees self->easy, which must be in no multi handle, and wipes what was sent. */
void transfer_end(struct fetch *self);
