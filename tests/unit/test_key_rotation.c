/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring of signing keys through time, with a clock of the test's own: rotated by age and by hand, taken up by
 * others who share the directory, never at the cost of a token that is still good. */
#include "support_token.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>

#include "token/token.h"

#define MINUTE_MS INT64_C(60000)
#define DAY_MS    (24 * 60 * MINUTE_MS)

static const struct token_key_rules monthly = {.rotate_every_ms = 30 * DAY_MS};
static const struct token_key_rules never = {.rotate_every_ms = 0};

struct fixture {
    h2o_mem_pool_t pool;
    struct scratch scratch;
    struct token_keys *keys;
    struct token_verifier *verifier;
};

static int set_up(void **state)
{
    struct fixture *f = h2o_mem_alloc(sizeof(*f));
    h2o_mem_init_pool(&f->pool);
    scratch_make(&f->scratch);
    f->keys = keys_at(f->scratch.keys);
    f->verifier = token_verifier_new(f->keys, ISSUER, 60, 16);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    token_verifier_free(f->verifier);
    token_keys_free(f->keys);
    chmod(f->scratch.keys, 0700);
    scratch_remove(&f->scratch);
    h2o_mem_clear_pool(&f->pool);
    free(f);
    return 0;
}

/* True when the ring changed. */
static bool tend(struct token_keys *keys, const struct token_key_rules *rules, int64_t now_ms)
{
    bool changed;
    struct error err = {0};
    if (!token_keys_tend(keys, rules, now_ms, &changed, &err))
        fail_msg("%s", err.text);
    return changed;
}

static void rotate(struct token_keys *keys, int64_t now_ms, bool at_once)
{
    struct error err = {0};
    if (!token_keys_rotate(keys, TOKEN_ES256, now_ms, at_once, &err))
        fail_msg("%s", err.text);
}

/* "signs next": the roles in their order */
static const char *roles(h2o_mem_pool_t *pool, const struct token_keys *keys, int64_t now_ms)
{
    struct token_key_info list[TOKEN_KEYS_MOST];
    struct text out;
    text_init(&out, pool);
    text_add_string(&out, "");
    size_t count = token_keys_list(keys, now_ms, list);
    for (size_t i = 0; i < count; i++)
        text_add_format(&out, "%s%s", i > 0 ? " " : "", list[i].role);
    return text_iovec(&out).base;
}

#define assert_roles(f, keys, now_ms, wanted)                                                      \
    assert_string_equal(roles(&(f)->pool, keys, now_ms), wanted)

static h2o_iovec_t issue(struct fixture *f, struct token_keys *keys, int64_t now_ms)
{
    const struct token_claims claims = {.issuer = ISSUER,
                                        .subject = "00u1",
                                        .audience = AUDIENCE,
                                        .session = "session",
                                        .now_ms = now_ms,
                                        .lifetime_s = 3600};
    h2o_iovec_t token;
    assert_true(token_issue(&f->pool, keys, &claims, &token, NULL, NULL));
    return token;
}

static enum token_verdict judge(struct fixture *f, h2o_iovec_t token, int64_t now_ms)
{
    struct token_info info;
    return token_verify(f->verifier, token, AUDIENCE, now_ms / 1000, &info);
}

static size_t published(struct fixture *f, const struct token_keys *keys, int64_t now_ms)
{
    struct json_writer *writer = json_writer_new(&f->pool);
    h2o_iovec_t text;
    struct json *root;
    token_keys_write_jwks(keys, now_ms, writer);
    assert_true(json_writer_end(writer, &text, NULL));
    assert_true(json_parse(&f->pool, text, NULL, &root, NULL));
    return json_member(root, "keys")->count;
}

static size_t files(const struct fixture *f)
{
    size_t count = 0;
    DIR *dir = opendir(f->scratch.keys);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* ---- by age ---- */

static void test_rotates_by_age(void **state)
{
    struct fixture *f = *state;
    int64_t due = NOW_MS + 30 * DAY_MS;
    assert_false(tend(f->keys, &monthly, due - 1));
    assert_roles(f, f->keys, due - 1, "signs");

    assert_true(tend(f->keys, &monthly, due));
    assert_roles(f, f->keys, due, "signs next");
    assert_int_equal(published(f, f->keys, due), 2); /* at once, long before it signs */
    assert_int_equal(files(f), 2);
    assert_false(tend(f->keys, &monthly, due + MINUTE_MS)); /* one is enough */
    assert_int_equal(files(f), 2);

    int64_t takes_over = due + KEY_AHEAD_MS;
    assert_roles(f, f->keys, takes_over - 1, "signs next");
    assert_roles(f, f->keys, takes_over, "verifies signs");
    assert_false(tend(f->keys, &monthly, takes_over + KEY_OVERLAP_MS - 1));
    assert_int_equal(published(f, f->keys, takes_over + KEY_OVERLAP_MS - 1), 2);

    assert_true(tend(f->keys, &monthly, takes_over + KEY_OVERLAP_MS));
    assert_roles(f, f->keys, takes_over + KEY_OVERLAP_MS, "signs");
    assert_int_equal(files(f), 1);
}

/* peers 63: a token that is issued at any time of a rotation is good for all of its life */
static void test_no_token_is_lost(void **state)
{
    struct fixture *f = *state;
    int64_t from = NOW_MS + 30 * DAY_MS - 2 * 60 * MINUTE_MS;
    h2o_iovec_t last_hour[13];
    size_t issued = 0;
    for (int64_t now = from; now < from + 2 * DAY_MS; now += 5 * MINUTE_MS, issued++) {
        tend(f->keys, &monthly, now);
        last_hour[issued % 13] = issue(f, f->keys, now);
        for (size_t i = 0; i < 13 && i <= issued; i += 4)
            assert_int_equal(judge(f, last_hour[(issued - i) % 13], now), TOKEN_GOOD);
    }
    assert_roles(f, f->keys, from + 2 * DAY_MS, "signs");
}

static void test_never_by_itself(void **state)
{
    struct fixture *f = *state;
    assert_false(tend(f->keys, &never, NOW_MS + 4000 * DAY_MS));
    assert_int_equal(files(f), 1);
}

/* A clock that ran ahead for a while leaves a key dated far ahead: that is no plan to wait for. */
static void test_clock_ran_ahead(void **state)
{
    struct fixture *f = *state;
    assert_true(tend(f->keys, &monthly, NOW_MS + 3000 * DAY_MS));
    assert_roles(f, f->keys, NOW_MS, "signs next");
    h2o_iovec_t token = issue(f, f->keys, NOW_MS);
    assert_int_equal(judge(f, token, NOW_MS), TOKEN_GOOD);
    int64_t due = NOW_MS + 30 * DAY_MS;
    assert_true(tend(f->keys, &monthly, due));
    assert_roles(f, f->keys, due + KEY_AHEAD_MS, "verifies signs next");
}

/* ---- by hand ---- */

static void test_rotate(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t before = issue(f, f->keys, NOW_MS);
    rotate(f->keys, NOW_MS, false);
    assert_roles(f, f->keys, NOW_MS, "signs next");
    assert_int_equal(judge(f, before, NOW_MS), TOKEN_GOOD);
    struct error err = {0};
    assert_false(
        token_keys_rotate(f->keys, TOKEN_ES256, NOW_MS, false, &err)); /* one waits already */
    assert_int_equal(err.kind, ERROR_REJECTED);
    assert_non_null(strstr(err.text, "waits"));
    assert_int_equal(files(f), 2);
    rotate(f->keys, NOW_MS + KEY_AHEAD_MS, false);
    assert_roles(f, f->keys, NOW_MS + KEY_AHEAD_MS, "verifies signs next");
}

static void test_rotate_now(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t leaked = issue(f, f->keys, NOW_MS);
    assert_int_equal(judge(f, leaked, NOW_MS), TOKEN_GOOD); /* and remembered */
    rotate(f->keys, NOW_MS, false);
    rotate(f->keys, NOW_MS, true); /* the key that waited may have leaked, too */
    assert_roles(f, f->keys, NOW_MS, "signs");
    assert_int_equal(published(f, f->keys, NOW_MS), 1);
    assert_int_equal(files(f), 1);
    assert_int_equal(judge(f, leaked, NOW_MS), TOKEN_UNKNOWN_KEY);
    assert_int_equal(judge(f, issue(f, f->keys, NOW_MS), NOW_MS), TOKEN_GOOD);
}

static void test_rotate_an_empty_directory(void **state)
{
    struct fixture *f = *state;
    scratch_empty(f->scratch.keys);
    rotate(f->keys, NOW_MS, false);
    assert_roles(f, f->keys, NOW_MS, "signs");
}

/* ---- another algorithm ---- */

static const char *algorithms(h2o_mem_pool_t *pool, const struct token_keys *keys)
{
    struct token_key_info list[TOKEN_KEYS_MOST];
    struct text out;
    text_init(&out, pool);
    size_t count = token_keys_list(keys, NOW_MS, list);
    for (size_t i = 0; i < count; i++)
        text_add_format(&out, "%s%s", i > 0 ? " " : "", token_algorithm_name(list[i].algorithm));
    return text_iovec(&out).base;
}

/* A start with another algorithm: its key signs at once, all tokens stay good. */
static void test_another_algorithm(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t before = issue(f, f->keys, NOW_MS);
    rotate(f->keys, NOW_MS, false); /* this one waits, and will never sign */
    struct token_keys *started = keys_of(f->scratch.keys, TOKEN_RS256);
    int64_t now_ms = NOW_MS + 1;
    assert_string_equal(algorithms(&f->pool, started), "ES256 RS256");
    assert_roles(f, started, now_ms, "verifies signs");
    assert_int_equal(published(f, started, now_ms), 2);
    assert_true(tend(f->keys, &never, now_ms)); /* whoever still runs with the old config */
    assert_string_equal(algorithms(&f->pool, f->keys), "ES256 RS256");
    assert_false(tend(f->keys, &never, now_ms));
    h2o_iovec_t after = issue(f, started, now_ms);
    assert_int_equal(judge(f, before, now_ms), TOKEN_GOOD);
    assert_int_equal(judge(f, after, now_ms), TOKEN_GOOD);
    token_keys_free(started);

    started = keys_of(f->scratch.keys, TOKEN_RS256); /* once is enough */
    assert_string_equal(algorithms(&f->pool, started), "ES256 RS256");
    static const struct token_key_rules rules = {TOKEN_RS256, 30 * DAY_MS};
    assert_true(tend(started, &rules, now_ms + 30 * DAY_MS)); /* the successor is of it, too */
    assert_string_equal(algorithms(&f->pool, started), "RS256 RS256");
    token_keys_free(started);
}

/* Where the clock was set back, the key that signs has its time ahead: that is no reason to lose it. */
static void test_another_algorithm_after_the_clock_went_back(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t before = issue(f, f->keys, NOW_MS - 60 * MINUTE_MS);
    struct token_keys *keys = NULL;
    assert_true(
        token_keys_open(f->scratch.keys, TOKEN_RS256, NOW_MS - 60 * MINUTE_MS, &keys, NULL));
    assert_string_equal(algorithms(&f->pool, keys), "RS256 ES256");
    assert_roles(f, keys, NOW_MS - 60 * MINUTE_MS, "signs next");
    assert_true(tend(f->keys, &never, NOW_MS - 60 * MINUTE_MS));
    assert_int_equal(judge(f, before, NOW_MS - 60 * MINUTE_MS), TOKEN_GOOD);
    token_keys_free(keys);
}

/* ---- several processes, one directory ---- */

static void test_others_see_it(void **state)
{
    struct fixture *f = *state;
    struct token_keys *command = keys_at(f->scratch.keys);
    rotate(command, NOW_MS, false);
    assert_true(tend(f->keys, &monthly, NOW_MS));
    assert_roles(f, f->keys, NOW_MS, "signs next");
    assert_false(tend(f->keys, &monthly, NOW_MS));
    h2o_iovec_t token = issue(f, command, NOW_MS + KEY_AHEAD_MS);
    assert_int_equal(judge(f, token, NOW_MS + KEY_AHEAD_MS), TOKEN_GOOD);
    rotate(command, NOW_MS + KEY_AHEAD_MS, true);
    assert_true(tend(f->keys, &monthly, NOW_MS + KEY_AHEAD_MS));
    assert_int_equal(judge(f, token, NOW_MS + KEY_AHEAD_MS), TOKEN_UNKNOWN_KEY);
    token_keys_free(command);
}

/* peers 63: one winner */
static void test_one_of_many_rotates(void **state)
{
    struct fixture *f = *state;
    struct token_keys *replicas[3];
    int64_t due = NOW_MS + 30 * DAY_MS;
    for (size_t i = 0; i < 3; i++)
        replicas[i] = keys_at(f->scratch.keys);
    for (size_t i = 0; i < 3; i++)
        assert_true(tend(replicas[i], &monthly, due));
    assert_int_equal(files(f), 2);
    for (size_t i = 0; i < 3; i++) {
        assert_roles(f, replicas[i], due, "signs next");
        token_keys_free(replicas[i]);
    }
}

static void test_nobody_waits_for_the_lock(void **state)
{
    struct fixture *f = *state;
    int fd;
    assert_true(key_files_open(f->scratch.keys, false, &fd, NULL));
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_false(tend(f->keys, &monthly, NOW_MS + 30 * DAY_MS));
    close(fd);
    assert_true(tend(f->keys, &monthly, NOW_MS + 30 * DAY_MS));
}

/* ---- what goes wrong ---- */

static void expect_failure(struct fixture *f, int64_t now_ms, const char *why)
{
    bool changed;
    struct error err = {0};
    assert_false(token_keys_tend(f->keys, &monthly, now_ms, &changed, &err));
    assert_false(changed);
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    assert_roles(f, f->keys, NOW_MS, "signs");
    assert_int_equal(judge(f, issue(f, f->keys, NOW_MS), NOW_MS), TOKEN_GOOD);
}

/* peers 65: the last good ring goes on */
static void test_last_good_ring_goes_on(void **state)
{
    struct fixture *f = *state;
    const char *junk = text_format(&f->pool, "%s/postern-000000000000.json", f->scratch.keys);
    int fd = open(junk, O_WRONLY | O_CREAT, 0600);
    close(fd);
    expect_failure(f, NOW_MS, "postern-000000000000.json");
    expect_failure(f, NOW_MS, "postern-000000000000.json");
    assert_int_equal(unlink(junk), 0);
    assert_false(tend(f->keys, &monthly, NOW_MS));

    assert_int_equal(chmod(f->scratch.keys, 0777), 0);
    expect_failure(f, NOW_MS, "chmod");
    assert_int_equal(chmod(f->scratch.keys, 0700), 0);

    const char *away = text_format(&f->pool, "%s/away", f->scratch.parent);
    assert_int_equal(rename(f->scratch.keys, away), 0);
    expect_failure(f, NOW_MS, "is gone");
    assert_int_equal(rename(away, f->scratch.keys), 0);
    assert_false(tend(f->keys, &monthly, NOW_MS));
}

/* Keys from a read-only volume can't be rotated here; whoever fills it does that. */
static void test_read_only_directory(void **state)
{
    struct fixture *f = *state;
    if (geteuid() == 0)
        skip(); /* root may write everywhere */
    assert_int_equal(chmod(f->scratch.keys, 0500), 0);
    expect_failure(f, NOW_MS + 30 * DAY_MS, "can't be written");
}

static void test_emptied_directory(void **state)
{
    struct fixture *f = *state;
    h2o_iovec_t token = issue(f, f->keys, NOW_MS);
    scratch_empty(f->scratch.keys);
    assert_true(tend(f->keys, &monthly, NOW_MS));
    assert_roles(f, f->keys, NOW_MS, "signs");
    assert_int_equal(judge(f, token, NOW_MS), TOKEN_UNKNOWN_KEY);
}

static void test_load_makes_nothing(void **state)
{
    struct fixture *f = *state;
    struct token_keys *keys;
    scratch_empty(f->scratch.keys);
    assert_true(token_keys_load(f->scratch.keys, &keys, NULL));
    assert_roles(f, keys, NOW_MS, "");
    assert_int_equal(published(f, keys, NOW_MS), 0);
    assert_null(token_keys_signer(keys, NOW_MS));
    token_keys_free(keys);
    assert_int_equal(files(f), 0);
}

/* ---- threads ---- */

struct reader {
    struct fixture *f;
    struct token_verifier *verifier;
    h2o_iovec_t token;
    atomic_bool *over;
    size_t refused;
};

#define LATER_S (NOW_S + 12 * 3600) /* all keys have had their turn, and all verify */

static void *read_on(void *arg)
{
    struct reader *self = arg;
    while (!atomic_load(self->over)) {
        struct token_info info;
        const struct token_claims claims = {.issuer = ISSUER,
                                            .subject = "00u1",
                                            .audience = AUDIENCE,
                                            .session = "session",
                                            .now_ms = LATER_S * 1000,
                                            .lifetime_s = 3600};
        h2o_mem_pool_t pool;
        h2o_iovec_t fresh;
        h2o_mem_init_pool(&pool);
        self->refused += token_verify(self->verifier, self->token, AUDIENCE, LATER_S, &info) != 0;
        bool good = token_issue(&pool, self->f->keys, &claims, &fresh, NULL, NULL);
        self->refused +=
            !good || token_verify(self->verifier, fresh, AUDIENCE, LATER_S, &info) != TOKEN_GOOD;
        h2o_mem_clear_pool(&pool);
    }
    return NULL;
}

/* Rotations under readers: no token is refused, no reader is left with a key that is gone. */
static void test_under_readers(void **state)
{
    struct fixture *f = *state;
    atomic_bool over = false;
    struct token_verifier *forgetful = token_verifier_new(f->keys, ISSUER, 60, 0);
    struct reader reader = {f, forgetful, issue(f, f->keys, LATER_S * 1000), &over, 0},
                  other = reader;
    struct token_keys *command = keys_at(f->scratch.keys);
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, read_on, &reader);
    pthread_create(&threads[1], NULL, read_on, &other);
    for (int i = 1; i <= 6; i++) {
        rotate(command, NOW_MS + i * 60 * MINUTE_MS, false);
        assert_true(tend(f->keys, &never, LATER_S * 1000));
    }
    atomic_store(&over, true);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    assert_int_equal(reader.refused + other.refused, 0);
    token_keys_free(command);
    token_verifier_free(forgetful);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_rotates_by_age),
        TEST(test_no_token_is_lost),
        TEST(test_never_by_itself),
        TEST(test_clock_ran_ahead),
        TEST(test_rotate),
        TEST(test_rotate_now),
        TEST(test_rotate_an_empty_directory),
        TEST(test_another_algorithm),
        TEST(test_another_algorithm_after_the_clock_went_back),
        TEST(test_others_see_it),
        TEST(test_one_of_many_rotates),
        TEST(test_nobody_waits_for_the_lock),
        TEST(test_last_good_ring_goes_on),
        TEST(test_read_only_directory),
        TEST(test_emptied_directory),
        TEST(test_load_makes_nothing),
        TEST(test_under_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
