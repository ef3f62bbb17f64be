/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes, answers and the access log, through a real h2o server and a plain HTTP/1.1 client. */
#include "http/web.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "test_server.h"

static struct test_server server;

/* ---- the server ---- */

static int on_plain(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    struct text out;
    h2o_iovec_t path = web_path(req), query = web_query(req);
    text_init(&out, &req->pool);
    text_add_format(&out, "%s path=%.*s rest=%.*s query=%s%.*s loop=%d peer=%d", (const char *)ctx,
                    (int)path.len, path.base, (int)rest.len, rest.len != 0 ? rest.base : "",
                    query.base == NULL ? "none" : "", (int)query.len,
                    query.len != 0 ? query.base : "", web_loop(req) == server.loop,
                    web_peer(req) != NULL);
    web_send(req, 200, "text/plain", text_iovec(&out));
    return 0;
}

static int on_problem(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)ctx, (void)rest;
    web_problem(req, 403, "No", "Because \"x\".");
    return 0;
}

static int on_bad_text(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)ctx, (void)rest;
    web_problem(req, 502, "Bad", "\xff\xfe");
    return 0;
}

static int on_json(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)ctx;
    struct json_writer *out = json_writer_new(&req->pool);
    json_begin_object(out);
    json_key(out, "value");
    json_put_iovec(out, iovec_equal(rest, "bad") ? iovec_of("\xff") : rest);
    json_end_object(out);
    web_send_json(req, 201, out);
    return 0;
}

static int on_redirect(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)ctx, (void)rest;
    h2o_iovec_t to = web_header(req, "x-to");
    const char *location = text_dup_iovec(&req->pool, to);
    web_set_cookie(req, "__Host-s", iovec_of("v"), -1);
    web_redirect(req, iovec_equal(to, "break") ? "/a\r\nset-cookie: b=c" : location);
    return 0;
}

static int on_cached(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)ctx, (void)rest;
    web_cache(req, "max-age=60");
    web_cache(req, "public, max-age=61");
    web_add_header(req, "X-Extra", "1");
    web_send(req, 200, "text/css", iovec_of("a{}"));
    return 0;
}

static int on_empty(void *ctx, h2o_req_t *req, h2o_iovec_t rest)
{
    (void)ctx, (void)rest;
    web_send(req, 204, NULL, (h2o_iovec_t){NULL, 0});
    return 0;
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    static char ctx[] = "ctx";
    static const struct web_route routes[] = {
        {"GET", "/", on_plain},
        {"GET", "/page", on_plain},
        {"POST", "/page", on_plain},
        {"POST", "/only-post", on_plain},
        {"GET", "/tokens/*", on_plain},
        {"GET", "/problem", on_problem},
        {"GET", "/bad-text", on_bad_text},
        {"GET", "/json/*", on_json},
        {"GET", "/redirect", on_redirect},
        {"GET", "/cached", on_cached},
        {"GET", "/empty", on_empty},
        {NULL, NULL, NULL},
    };
    (void)handler;
    return web_dispatch(routes, ctx, req);
}

/* ---- the client ---- */

struct answer {
    int status;
    char text[16384]; /* all of it */
    char *body;       /* in text */
};

static int connect_to_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(server.port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Sends the request's first line and headers (lines ended by \r\n) and reads until the server closes. */
static void ask(struct answer *out, const char *request, const char *headers)
{
    char bytes[4096];
    size_t len = 0;
    ssize_t n;
    int fd = connect_to_server();
    int wanted =
        snprintf(bytes, sizeof(bytes), "%s HTTP/1.1\r\nhost: t\r\nconnection: close\r\n%s\r\n",
                 request, headers);
    assert_int_equal(write(fd, bytes, (size_t)wanted), wanted);
    while ((n = read(fd, out->text + len, sizeof(out->text) - 1 - len)) > 0)
        len += (size_t)n;
    close(fd);
    out->text[len] = '\0';
    if (strlen(out->text) < 12)
        fail_msg("%s: no answer", request);
    out->status = (int)strtol(out->text + 9, NULL, 10);
    out->body = strstr(out->text, "\r\n\r\n");
    assert_non_null(out->body);
    out->body[2] = '\0'; /* so that text is the head */
    out->body += 4;
}

static void assert_has(const struct answer *answer, const char *line)
{
    if (strcasestr(answer->text, line) == NULL)
        fail_msg("\"%s\" is missing in:\n%s", line, answer->text);
}

static void assert_has_not(const struct answer *answer, const char *line)
{
    if (strcasestr(answer->text, line) != NULL)
        fail_msg("\"%s\" is in:\n%s", line, answer->text);
}

/* What every answer of ours carries. */
static void assert_common_headers(const struct answer *answer)
{
    assert_has(answer, "\r\nx-content-type-options: nosniff");
    assert_has(answer, "\r\nx-request-id: ");
    const char *id = strcasestr(answer->text, "x-request-id: ") + 14;
    assert_int_equal(strspn(id, "0123456789abcdef"), 16);
}

/* ---- tests ---- */

static void test_routes(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *body; /* a part of it */
    } cases[] = {
        {"GET /", 200, "ctx path=/ rest= query=none loop=1 peer=0"},
        {"GET /?", 200, "path=/ rest= query= "},
        {"GET /page?a=%62&c", 200, "path=/page rest= query=a=%62&c "},
        {"POST /page", 200, "path=/page"},
        {"GET /tokens/prod-eu", 200, "path=/tokens/prod-eu rest=prod-eu query=none"},
        {"GET /tokens/prod%2deu", 200, "rest=prod-eu "},
        {"GET /x/../page", 200, "path=/page"},
        {"GET /tokens/", 404, "\"Not found\""},
        {"GET /tokens", 404, "\"Not found\""},
        {"GET /tokens/a/b", 404, "\"Not found\""},
        {"GET /tokens/a%2fb", 404, "\"Not found\""},
        {"GET /tokens/a%00", 404, "\"Not found\""},
        {"GET /tokens/a%0ab", 404, "\"Not found\""},
        {"GET /tokens/../../page2", 404, "\"Not found\""},
        {"GET //page", 404, "\"Not found\""},
        {"GET /page/", 404, "\"Not found\""},
        {"GET /Page", 404, "\"Not found\""},
        {"GET /pag", 404, "\"Not found\""},
    };
    struct answer answer;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ask(&answer, cases[i].request, "");
        if (answer.status != cases[i].status || strstr(answer.body, cases[i].body) == NULL)
            fail_msg("%s: %d %s", cases[i].request, answer.status, answer.body);
        assert_common_headers(&answer);
        assert_has(&answer, "\r\ncache-control: no-store"); /* peers 42 */
    }
}

static void test_methods(void **state)
{
    struct answer answer;
    (void)state;
    ask(&answer, "DELETE /page", "");
    assert_int_equal(answer.status, 405);
    assert_has(&answer, "\r\nallow: GET, HEAD, POST");
    ask(&answer, "GET /only-post", "");
    assert_int_equal(answer.status, 405);
    assert_has(&answer, "\r\nallow: POST");
    ask(&answer, "PUT /nowhere", "");
    assert_int_equal(answer.status, 405);
    assert_has(&answer, "\r\nallow: GET, HEAD, POST");
    ask(&answer, "HEAD /nowhere", "");
    assert_int_equal(answer.status, 404);
}

static void test_head_has_the_length_and_no_body(void **state)
{
    struct answer answer;
    (void)state;
    ask(&answer, "HEAD /cached", "");
    assert_int_equal(answer.status, 200);
    assert_has(&answer, "\r\ncontent-length: 3");
    assert_string_equal(answer.body, "");
}

static void test_cache_and_other_headers(void **state)
{
    struct answer answer;
    (void)state;
    ask(&answer, "GET /cached", "");
    assert_common_headers(&answer);
    assert_has(&answer, "\r\ncache-control: public, max-age=61");
    assert_has_not(&answer, "max-age=60");
    assert_has_not(&answer, "no-store");
    assert_has(&answer, "\r\ncontent-type: text/css");
    assert_has(&answer, "\r\nx-extra: 1");
    assert_string_equal(answer.body, "a{}");
    ask(&answer, "GET /empty", "");
    assert_int_equal(answer.status, 204);
    assert_has_not(&answer, "content-length");
}

static void test_problem(void **state)
{
    struct answer answer;
    char expected[256];
    (void)state;
    ask(&answer, "GET /problem", "");
    assert_int_equal(answer.status, 403);
    assert_has(&answer, "HTTP/1.1 403 Forbidden\r\n");
    assert_has(&answer, "\r\ncontent-type: application/problem+json");
    snprintf(expected, sizeof(expected),
             "{\"title\":\"No\",\"status\":403,\"detail\":\"Because "
             "\\\"x\\\".\",\"request_id\":\"%.16s\"}",
             strcasestr(answer.text, "x-request-id: ") + 14);
    assert_string_equal(answer.body, expected);
    ask(&answer, "GET /bad-text", "");
    assert_int_equal(answer.status, 502);
    assert_string_equal(answer.body, "{\"title\":\"Error\"}");
}

static void test_json(void **state)
{
    struct answer answer;
    (void)state;
    ask(&answer, "GET /json/a", "");
    assert_int_equal(answer.status, 201);
    assert_has(&answer, "\r\ncontent-type: application/json\r\n");
    assert_string_equal(answer.body, "{\"value\":\"a\"}");
    ask(&answer, "GET /json/bad", ""); /* a writer that failed */
    assert_int_equal(answer.status, 500);
    assert_has(&answer, "\r\ncontent-type: application/problem+json");
}

static void test_redirect(void **state)
{
    struct answer answer;
    (void)state;
    ask(&answer, "GET /redirect", "x-to: https://okta.example/authorize?a=b&c=%20\r\n");
    assert_int_equal(answer.status, 303);
    assert_has(&answer, "\r\nlocation: https://okta.example/authorize?a=b&c=%20\r\n");
    assert_has(&answer, "\r\nset-cookie: __Host-s=v; Path=/");
    assert_has(&answer, "\r\ncontent-length: 0");
    /* peers 54: no line break gets into a header, and nobody can end the process with one */
    ask(&answer, "GET /redirect", "x-to: break\r\n");
    assert_int_equal(answer.status, 500);
    assert_has_not(&answer, "location:");
    assert_has_not(&answer, "b=c");
    ask(&answer, "GET /redirect", "x-to: /a b\r\n");
    assert_int_equal(answer.status, 500);
    ask(&answer, "GET /redirect", "");
    assert_int_equal(answer.status, 500);
}

/* ---- access lines ---- */

/* The next line that the server logs, which comes when it gives the request back. */
static void read_line(FILE *lines, char *out, int size)
{
    if (fgets(out, size, lines) == NULL)
        fail_msg("no line was logged");
}

static void assert_line(const char *line, const char *part)
{
    if (strstr(line, part) == NULL)
        fail_msg("%s is missing in %s", part, line);
}

static void test_access_lines(void **state)
{
    char line[2048], long_request[1200];
    int fds[2];
    struct answer answer;
    (void)state;
    assert_int_equal(pipe(fds), 0);
    log_start(fds[1], LOG_DEBUG);
    FILE *lines = fdopen(fds[0], "r");

    ask(&answer, "GET /page?code=planted", "");
    read_line(lines, line, sizeof(line));
    assert_line(line, "\"message\":\"access\",\"listener\":\"test\",\"method\":\"GET\"");
    assert_line(line, "\"path\":\"/page\",\"status\":200,\"bytes\":");
    assert_line(line, "\"duration_ms\":");
    assert_line(line, "\"address\":\"127.0.0.1\"");
    char id[40];
    snprintf(id, sizeof(id), "\"request_id\":\"%.16s\"",
             strcasestr(answer.text, "x-request-id: ") + 14);
    assert_line(line, id);
    assert_null(strstr(line, "planted"));

    ask(&answer, "GET /tokens/a%0a?x", "");
    read_line(lines, line, sizeof(line));
    assert_line(line, "\"path\":\"/tokens/a%0a\",\"status\":404");

    snprintf(long_request, sizeof(long_request), "GET /%01000d?code=planted", 0);
    ask(&answer, long_request, "");
    read_line(lines, line, sizeof(line));
    assert_line(line, "\"status\":404");
    assert_true(strlen(line) < 900);
    assert_null(strstr(line, "planted"));
    log_stop();
    fclose(lines);
    close(fds[1]);
}

static void test_status_of_errors(void **state)
{
    (void)state;
    assert_int_equal(web_status_of(ERROR_REJECTED), 403);
    assert_int_equal(web_status_of(ERROR_BAD_INPUT), 400);
    assert_int_equal(web_status_of(ERROR_UPSTREAM), 502);
    assert_int_equal(web_status_of(ERROR_INTERNAL), 500);
    assert_int_equal(web_status_of(ERROR_NONE), 500);
}

static int set_up(void **state)
{
    (void)state;
    server.on_req = on_request;
    test_server_start(&server);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_head_has_the_length_and_no_body),
        cmocka_unit_test(test_cache_and_other_headers),
        cmocka_unit_test(test_problem),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_redirect),
        cmocka_unit_test(test_access_lines),
        cmocka_unit_test(test_status_of_errors),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
