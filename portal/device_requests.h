/* SPDX-License-Identifier: Apache-2.0
 *
 * Device authorization requests (RFC 8628): machines without a browser that wait for somebody to approve them. The one
 * state that we keep before a sign-in, so it is bounded, in memory and lost with a restart; the machine then asks anew.
 * Shared by all threads. Times are of the monotonic clock. */
#pragma once

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "cache/sessions.h"

#define DEVICE_REQUESTS_MAX         1000 /* open at once */
#define DEVICE_REQUESTS_PER_ADDRESS 10   /* of these; an IPv6 network of 64 bits is one address */
#define DEVICE_REQUEST_S            600
#define DEVICE_INTERVAL_S           5  /* between two polls; each that comes sooner adds as much */
#define DEVICE_WRONG_MAX            10 /* wrong user codes of a person within DEVICE_WRONG_S */
#define DEVICE_WRONG_S              600

#define DEVICE_CODE_LEN  43 /* base64url of 32 random bytes */
#define DEVICE_USER_LEN  9  /* XXXX-XXXX */
#define DEVICE_USER_SIZE (DEVICE_USER_LEN + 1)

struct device_codes {
    char device[DEVICE_CODE_LEN + 1]; /* the secret; wipe it */
    char user[DEVICE_USER_SIZE];      /* for a person to type in */
};
struct device_request {         /* a copy */
    char cluster[64];           /* whose client asked: its name in the config */
    char address[IP_TEXT_SIZE]; /* from where; "": not known */
    int64_t began_ms;
};

struct device_requests;
struct device_requests *device_requests_new(void);
void device_requests_free(struct device_requests *self);

/* ---- the machine ---- */
enum device_start {
    DEVICE_STARTED,
    DEVICE_ADDRESS_FULL, /* DEVICE_REQUESTS_PER_ADDRESS */
    DEVICE_TABLE_FULL,   /* DEVICE_REQUESTS_MAX */
};
/* out is set for DEVICE_STARTED only; both codes are kept as hashes. */
enum device_start device_requests_start(struct device_requests *self, const char *cluster,
                                        const char *address, int64_t now_ms,
                                        struct device_codes *out);

enum device_poll { /* RFC 8628 section 3.5 */
                   DEVICE_POLL_PENDING,
                   DEVICE_POLL_SLOW_DOWN, /* pending, and the interval has just grown */
                   DEVICE_POLL_APPROVED,  /* this once: the next poll finds UNKNOWN */
                   DEVICE_POLL_DENIED,
                   DEVICE_POLL_EXPIRED, /* as long as its place is not needed; then UNKNOWN */
                   DEVICE_POLL_UNKNOWN, /* never was, was spent, or is of another cluster's client (peers 47) */
};
struct device_approval { /* of DEVICE_POLL_APPROVED */
    char login_id[SESSION_ID_SIZE];
    struct device_request request;
};
enum device_poll device_requests_poll(struct device_requests *self, h2o_iovec_t device_code,
                                      const char *cluster, int64_t now_ms,
                                      struct device_approval *out);

/* ---- the person ---- */
/* What somebody typed, as we show it: case, dashes and white space are of no account. False: no code has that form. */
bool device_user_code_read(h2o_iovec_t typed, char out[DEVICE_USER_SIZE]);

enum device_found {
    DEVICE_FOUND,
    DEVICE_DECIDED, /* it was approved or denied already */
    DEVICE_NO_SUCH, /* counted as a wrong code of uid's */
    DEVICE_LOCKED,  /* too many wrong codes of uid's: not even looked up */
};
/* uid: who asks. Guesses are counted by person and not by sign-in, as signing in anew costs nothing. out is set for FOUND. */
enum device_found device_requests_find(struct device_requests *self, const char *uid,
                                       const char *user_code, int64_t now_ms,
                                       struct device_request *out);
/* The same, and answers it: login_id is the sign-in below which the session will be made; NULL: denied. */
enum device_found device_requests_decide(struct device_requests *self, const char *uid,
                                         const char *user_code, const char *login_id,
                                         int64_t now_ms, struct device_request *out);
