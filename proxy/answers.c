/* SPDX-License-Identifier: Apache-2.0
 *
 * See answers.h. */
#include "answers.h"

#include "http/web.h"

static const char *reason_of(int code)
{
    switch (code) {
    case 400:
        return "BadRequest";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 503:
        return "ServiceUnavailable";
    case 504:
        return "Timeout";
    default:
        return "InternalError";
    }
}

void answer_status(h2o_req_t *req, int code, const char *message)
{
    struct json_writer *out = json_writer_new(&req->pool);
    const char *reason = reason_of(code);
    json_begin_object(out);
    json_key(out, "kind");
    json_put_string(out, "Status");
    json_key(out, "apiVersion");
    json_put_string(out, "v1");
    json_key(out, "metadata");
    json_begin_object(out);
    json_end_object(out);
    json_key(out, "status");
    json_put_string(out, "Failure");
    json_key(out, "message");
    json_put_string(out, message != NULL ? message : reason);
    json_key(out, "reason");
    json_put_string(out, reason);
    json_key(out, "code");
    json_put_int(out, code);
    json_end_object(out);
    web_send_json(req, code, out);
}
