/* SPDX-License-Identifier: Apache-2.0
 *
 * The portal's own state: made at start, read by all threads; what changes (used attempts, devices' requests,
 * counters) locks itself. */
#pragma once

#include "cache/used.h"
#include "device_requests.h"
#include "pages.h"
#include "portal/portal.h"
#include "webhook/issue.h"

#define SESSION_COOKIE "__Host-postern"

enum sign_in_result {
    SIGN_IN_DONE,
    SIGN_IN_UNKNOWN_ATTEMPT, /* not begun in this browser, too old, or used before */
    SIGN_IN_BAD_ANSWER,      /* Okta's answer is malformed, or does not verify */
    SIGN_IN_REFUSED,         /* Okta said no */
    SIGN_IN_OKTA_FAILED,     /* Okta did not do its part */
    SIGN_IN_NOT_ALLOWED,     /* username or groups are not what the config wants */
    SIGN_IN_NOT_SAVED,       /* the store failed */
    SIGN_IN_RESULTS,
};

enum device_event {
    DEVICE_BEGUN,
    DEVICE_WAS_APPROVED,
    DEVICE_WAS_DENIED,
    DEVICE_WRONG_CODE,
    DEVICE_LOCKED_OUT, /* somebody with too many wrong codes tries on */
    DEVICE_EVENTS,
};

struct portal {
    struct portal_parts parts;
    struct page_frame frame;
    struct used_attempts *used;
    struct device_requests *devices;
    bool owns_tables; /* used and devices; else they are an older portal's */
    struct counter *sign_ins[SIGN_IN_RESULTS];
    struct counter *device_events[DEVICE_EVENTS];
    struct issue issue;
    struct issuer_tally *issuer; /* of token requests */
};

/* NULL: the config has none of that name, or audience (which is the client_id, too). */
const struct config_cluster *portal_cluster(const struct portal *portal, h2o_iovec_t name);
const struct config_cluster *portal_client(const struct portal *portal, h2o_iovec_t client_id);
