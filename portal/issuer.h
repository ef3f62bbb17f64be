/* SPDX-License-Identifier: Apache-2.0
 *
 * What the endpoints of our OIDC issuer share: the discovery document, who asks, error answers as RFC 6749 has them,
 * and the judgement of a session's person as the webhook would give it. */
#pragma once

#include <h2o.h>

#include "cache/sessions.h"
#include "http/web.h"
#include "state.h"

#define ISSUER_SCOPE "openid profile email groups offline_access"

/* ---- what came of a token request: its metric and its audit ---- */
enum issuer_result {
    ISSUER_OK,
    ISSUER_BAD_REQUEST,
    ISSUER_BAD_CLIENT,
    ISSUER_BAD_GRANT,     /* a token or code that is unknown, another client's, ended or spent */
    ISSUER_SESSION_ENDED, /* the session was there, and is over */
    ISSUER_REUSED,        /* the session ended just now, as a spent token or code came back */
    ISSUER_NOT_ALLOWED,   /* allowed_groups, or a refused username */
    ISSUER_TOO_MANY_GROUPS,
    ISSUER_UNSURE,   /* Okta can't be asked, and what is known is too old */
    ISSUER_FAILED,   /* our own fault */
    ISSUER_PENDING,  /* a device's request: nobody has approved it yet */
    ISSUER_DENIED,   /* somebody has denied it */
    ISSUER_EXPIRED,  /* nobody has in time */
    ISSUER_TOO_MANY, /* no room for one more request of a device */
    ISSUER_RESULTS,
};
enum issuer_grant { ISSUER_REFRESH, ISSUER_CODE, ISSUER_DEVICE, ISSUER_OTHER, ISSUER_GRANTS };

struct issuer_tally; /* counters, and the one line a second; shared by all threads */
struct issuer_tally *issuer_tally_new(struct metrics *metrics); /* freed with free() */

/* ---- a request to an endpoint, from its client to its person; in the request's pool ---- */
struct issuer_request {
    struct portal *portal;
    h2o_req_t *req;
    struct web_form form;
    const struct config_cluster *client; /* known once issuer_begin was true */
    enum issuer_grant kind;              /* of a token request */
    struct session_grant grant;          /* once it is known; id "" before */
    const char *refresh_token, *nonce;   /* of a token request, once they are known */
    const struct identity *identity;     /* once it is known */
    struct identity_wait *wait;
    void (*judged)(struct issuer_request *self, enum issuer_result result);
};
struct issuer_request *issuer_request_new(struct portal *portal, h2o_req_t *req);
/* Reads the form and the client; false: the error is answered (400 or 401) and tallied. */
MUST_CHECK bool issuer_begin(struct issuer_request *self);
/* Once grant and client are known: what Okta says of its person, then judged runs once, now or later, with OK,
 * SESSION_ENDED, NOT_ALLOWED or UNSURE. */
void issuer_judge(struct issuer_request *self,
                  void (*judged)(struct issuer_request *self, enum issuer_result result));

void issuer_count(const struct issuer_request *self, enum issuer_result result);

/* ---- answers ---- */
struct issuer_error {
    int status;
    const char *error; /* RFC 6749 section 5.2 */
    const char
        *description; /* ASCII without quotes and backslashes: kubectl shows it to the person */
};
void issuer_send_error(h2o_req_t *req, const struct issuer_error *error);
/* The error that goes with a result of issuer_judge. */
void issuer_refuse(struct issuer_request *self, enum issuer_result result);
/* The same with a text of the endpoint's own; counted and audited. */
void issuer_refuse_with(struct issuer_request *self, enum issuer_result result,
                        const struct issuer_error *error);

/* ---- token requests ---- */
#define ISSUER_DEVICE_GRANT "urn:ietf:params:oauth:grant-type:device_code"

/* Once there is a session, with its refresh token: judges its person, and answers with a token or ends it. */
void issuer_give(struct issuer_request *self);
/* grant_type=ISSUER_DEVICE_GRANT (device_authorization.c). */
void issuer_poll_device(struct issuer_request *self);

/* ---- discovery ---- */
/* <issuer_path>/.well-known/openid-configuration, or RFC 8414's form of it. */
bool issuer_is_discovery(const struct config *config, h2o_iovec_t path);
void issuer_write_discovery(const struct config *config, struct json_writer *out);
