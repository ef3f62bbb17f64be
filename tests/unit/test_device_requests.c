/* SPDX-License-Identifier: Apache-2.0
 *
 * portal/device_requests: who may wait, for how long, how codes are compared, and that an approval is given out once.
 * The clock is a number here. */
#include "device_requests.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/text.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define T0     (1000 * MINUTE)
#define ADA    "00u1ada"
#define LOGIN  "abcdefghijklmnopqrstuv"

static struct device_requests *table;
static struct device_codes codes;
static struct device_request request;
static struct device_approval approval;

static int set_up(void **state)
{
    (void)state;
    table = device_requests_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    device_requests_free(table);
    return 0;
}

static enum device_start start(const char *address, int64_t now_ms)
{
    return device_requests_start(table, "prod", address, now_ms, &codes);
}

static enum device_poll poll_at(int64_t now_ms)
{
    return device_requests_poll(table, iovec_of(codes.device), "prod", now_ms, &approval);
}

static enum device_found approve(const char *uid, const char *code, int64_t now_ms)
{
    return device_requests_decide(table, uid, code, LOGIN, now_ms, &request);
}

static void test_from_start_to_approval(void **state)
{
    (void)state;
    assert_int_equal(start("192.0.2.7", T0), DEVICE_STARTED);
    assert_int_equal(strlen(codes.device), DEVICE_CODE_LEN);
    assert_int_equal(strlen(codes.user), DEVICE_USER_LEN);
    assert_int_equal(strspn(codes.user, "BCDFGHJKLMNPQRSTVWXZ-"), DEVICE_USER_LEN);
    assert_int_equal(poll_at(T0), DEVICE_POLL_PENDING);
    assert_int_equal(device_requests_find(table, ADA, codes.user, T0 + 1, &request), DEVICE_FOUND);
    assert_string_equal(request.cluster, "prod");
    assert_string_equal(request.address, "192.0.2.7");
    assert_int_equal(request.began_ms, T0);
    assert_int_equal(poll_at(T0 + 5 * SECOND), DEVICE_POLL_PENDING); /* looking approves nothing */
    assert_int_equal(approve(ADA, codes.user, T0 + 6 * SECOND), DEVICE_FOUND);
    assert_int_equal(approve(ADA, codes.user, T0 + 6 * SECOND), DEVICE_DECIDED);
    assert_int_equal(poll_at(T0 + 10 * SECOND), DEVICE_POLL_APPROVED);
    assert_string_equal(approval.login_id, LOGIN);
    assert_string_equal(approval.request.address, "192.0.2.7");
    assert_int_equal(poll_at(T0 + 15 * SECOND), DEVICE_POLL_UNKNOWN);
}

static void test_denied(void **state)
{
    (void)state;
    assert_int_equal(start("192.0.2.7", T0), DEVICE_STARTED);
    assert_int_equal(device_requests_decide(table, ADA, codes.user, NULL, T0, &request),
                     DEVICE_FOUND);
    assert_int_equal(approve(ADA, codes.user, T0), DEVICE_DECIDED);
    assert_int_equal(poll_at(T0 + SECOND), DEVICE_POLL_DENIED);
    assert_int_equal(poll_at(T0 + 2 * SECOND), DEVICE_POLL_DENIED); /* an answer may be lost */
}

/* RFC 8628 section 3.5: each poll that comes too soon makes all later ones wait 5 s longer. */
static void test_slow_down(void **state)
{
    (void)state;
    assert_int_equal(start("192.0.2.7", T0), DEVICE_STARTED);
    assert_int_equal(poll_at(T0), DEVICE_POLL_PENDING);
    assert_int_equal(poll_at(T0 + 5 * SECOND - 400),
                     DEVICE_POLL_PENDING); /* a timer that jitters */
    assert_int_equal(poll_at(T0 + 8 * SECOND), DEVICE_POLL_SLOW_DOWN);
    assert_int_equal(poll_at(T0 + 16 * SECOND), DEVICE_POLL_SLOW_DOWN);
    assert_int_equal(poll_at(T0 + 31 * SECOND), DEVICE_POLL_PENDING);
    assert_int_equal(poll_at(T0 + 46 * SECOND), DEVICE_POLL_PENDING);
    assert_int_equal(approve(ADA, codes.user, T0 + 46 * SECOND), DEVICE_FOUND);
    assert_int_equal(poll_at(T0 + 47 * SECOND), DEVICE_POLL_APPROVED);
}

static void test_expiry(void **state)
{
    struct device_codes late;
    const int64_t end = T0 + DEVICE_REQUEST_S * SECOND;
    (void)state;
    assert_int_equal(start("192.0.2.7", T0), DEVICE_STARTED);
    late = codes;
    assert_int_equal(start("192.0.2.7", T0), DEVICE_STARTED);
    assert_int_equal(approve(ADA, codes.user, end - 1), DEVICE_FOUND);
    assert_int_equal(poll_at(end), DEVICE_POLL_EXPIRED); /* approved, but not fetched in time */
    assert_int_equal(device_requests_find(table, ADA, late.user, end, &request), DEVICE_NO_SUCH);
    assert_int_equal(approve(ADA, late.user, end), DEVICE_NO_SUCH);
    codes = late;
    assert_int_equal(poll_at(end), DEVICE_POLL_EXPIRED);
    assert_int_equal(poll_at(end + 60 * MINUTE), DEVICE_POLL_EXPIRED);
}

/* peers 47 */
static void test_other_client(void **state)
{
    (void)state;
    assert_int_equal(start("192.0.2.7", T0), DEVICE_STARTED);
    assert_int_equal(approve(ADA, codes.user, T0), DEVICE_FOUND);
    for (int i = 0; i < 3; i++)
        assert_int_equal(device_requests_poll(table, iovec_of(codes.device), "pro", T0, &approval),
                         DEVICE_POLL_UNKNOWN);
    assert_int_equal(poll_at(T0), DEVICE_POLL_APPROVED); /* it has spoiled nothing */
}

static void test_unknown_device_codes(void **state)
{
    char code[DEVICE_CODE_LEN + 1];
    (void)state;
    assert_int_equal(start("192.0.2.7", T0), DEVICE_STARTED);
    memcpy(code, codes.device, sizeof(code));
    code[7] = code[7] == 'A' ? 'B' : 'A';
    const char *bad[] = {"", "x", code, codes.user};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(device_requests_poll(table, iovec_of(bad[i]), "prod", T0, &approval),
                         DEVICE_POLL_UNKNOWN);
    h2o_iovec_t cut = h2o_iovec_init(codes.device, DEVICE_CODE_LEN - 1);
    assert_int_equal(device_requests_poll(table, cut, "prod", T0, &approval), DEVICE_POLL_UNKNOWN);
}

static void test_user_codes_as_typed(void **state)
{
    static const struct {
        const char *typed, *code; /* NULL: refused */
    } rows[] = {
        {"BCDF-GHJK", "BCDF-GHJK"},
        {"bcdfghjk", "BCDF-GHJK"},
        {" b-c d\tf--GHJK ", "BCDF-GHJK"},
        {"", NULL},
        {"BCDF-GHJ", NULL},
        {"BCDF-GHJKL", NULL},
        {"BCDF-GHJA", NULL},
        {"BCDF-GHJ0", NULL},
        {"BCDF-GHJ\xc3\xa9", NULL},
        {"BCDF_GHJK", NULL},
        {"<script>", NULL},
    };
    char out[DEVICE_USER_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(device_user_code_read(iovec_of(rows[i].typed), out), rows[i].code != NULL);
        if (rows[i].code != NULL)
            assert_string_equal(out, rows[i].code);
    }
    assert_false(device_user_code_read(h2o_iovec_init("BCDF\0GHJK", 9), out));
}

static void test_guessing(void **state)
{
    (void)state;
    assert_int_equal(start("192.0.2.7", T0), DEVICE_STARTED);
    for (int i = 0; i < DEVICE_WRONG_MAX; i++)
        assert_int_equal(approve(ADA, "BBBB-BBBB", T0 + i), DEVICE_NO_SUCH);
    assert_int_equal(approve(ADA, codes.user, T0 + MINUTE), DEVICE_LOCKED);
    assert_int_equal(device_requests_find(table, ADA, codes.user, T0 + MINUTE, &request),
                     DEVICE_LOCKED);
    assert_int_equal(device_requests_find(table, "00u2bob", codes.user, T0 + MINUTE, &request),
                     DEVICE_FOUND);
    assert_int_equal(start("192.0.2.7", T0 + 10 * MINUTE), DEVICE_STARTED);
    assert_int_equal(approve(ADA, codes.user, T0 + 10 * MINUTE), DEVICE_FOUND);
}

static void test_limit_of_an_address(void **state)
{
    char other[32];
    (void)state;
    for (int i = 0; i < DEVICE_REQUESTS_PER_ADDRESS; i++) {
        assert_int_equal(start("192.0.2.7", T0 + i), DEVICE_STARTED);
        snprintf(other, sizeof(other), "2001:db8:0:1::%x", i + 1);
        assert_int_equal(start(other, T0 + i), DEVICE_STARTED);
    }
    struct device_codes last = codes;
    assert_int_equal(start("192.0.2.7", T0 + SECOND), DEVICE_ADDRESS_FULL);
    assert_int_equal(start("2001:db8:0:1:ffff::1", T0 + SECOND), DEVICE_ADDRESS_FULL);
    assert_string_equal(codes.device, last.device); /* nothing was made */
    assert_int_equal(start("192.0.2.8", T0 + SECOND), DEVICE_STARTED);
    assert_int_equal(start("2001:db8:0:2::1", T0 + SECOND), DEVICE_STARTED);
    codes = last; /* what is answered makes room */
    assert_int_equal(approve(ADA, codes.user, T0 + SECOND), DEVICE_FOUND);
    assert_int_equal(start("2001:db8:0:1::1", T0 + SECOND), DEVICE_ADDRESS_FULL);
    codes = last;
    assert_int_equal(poll_at(T0 + SECOND), DEVICE_POLL_APPROVED);
    assert_int_equal(start("2001:db8:0:1::1", T0 + SECOND), DEVICE_STARTED);
    assert_int_equal(start("192.0.2.7", T0 + DEVICE_REQUEST_S * SECOND), DEVICE_STARTED);
    for (int i = 0; i < DEVICE_REQUESTS_PER_ADDRESS; i++)
        assert_int_equal(start("", T0), DEVICE_STARTED);
    assert_int_equal(start("unix", T0), DEVICE_ADDRESS_FULL); /* all who are unknown are one */
}

static void test_full_table(void **state)
{
    char address[32];
    (void)state;
    for (int i = 0; i < DEVICE_REQUESTS_MAX; i++) {
        snprintf(address, sizeof(address), "10.0.%d.%d", i / 200, i % 200);
        assert_int_equal(start(address, T0 + i), DEVICE_STARTED);
    }
    struct device_codes last = codes;
    assert_int_equal(start("192.0.2.7", T0 + MINUTE), DEVICE_TABLE_FULL);
    assert_int_equal(poll_at(T0 + MINUTE), DEVICE_POLL_PENDING);
    /* The first one is over: its place is taken, and no other's. */
    assert_int_equal(start("192.0.2.7", T0 + DEVICE_REQUEST_S * SECOND), DEVICE_STARTED);
    assert_int_equal(start("192.0.2.7", T0 + DEVICE_REQUEST_S * SECOND), DEVICE_TABLE_FULL);
    codes = last;
    assert_int_equal(poll_at(T0 + DEVICE_REQUEST_S * SECOND), DEVICE_POLL_PENDING);
}

static atomic_int approved, started;

static void *race(void *arg)
{
    struct device_codes own;
    struct device_request looked;
    struct device_approval mine;
    const struct device_codes *shared = arg;
    for (int i = 0; i < 200; i++) {
        if (device_requests_start(table, "prod", "192.0.2.9", T0, &own) == DEVICE_STARTED)
            atomic_fetch_add(&started, 1);
        (void)device_requests_find(table, ADA, shared->user, T0, &looked);
        if (device_requests_poll(table, iovec_of(shared->device), "prod", T0, &mine) ==
            DEVICE_POLL_APPROVED)
            atomic_fetch_add(&approved, 1);
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[4];
    (void)state;
    assert_int_equal(start("192.0.2.7", T0), DEVICE_STARTED);
    assert_int_equal(approve(ADA, codes.user, T0), DEVICE_FOUND);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, &codes), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&approved), 1);
    assert_int_equal(atomic_load(&started), DEVICE_REQUESTS_PER_ADDRESS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_from_start_to_approval),
        TEST(test_denied),
        TEST(test_slow_down),
        TEST(test_expiry),
        TEST(test_other_client),
        TEST(test_unknown_device_codes),
        TEST(test_user_codes_as_typed),
        TEST(test_guessing),
        TEST(test_limit_of_an_address),
        TEST(test_full_table),
        TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
