/* SPDX-License-Identifier: Apache-2.0
 *
 * The stores: one contract for all, then SQLite's own duties on real files: one process at a time, kill -9,
 * full disks, and files that are damaged, foreign or newer (peers 65). */
#include "support_store.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- the contract ---- */

static void keeps_the_contract(void **state)
{
    struct store_fixture *self = *state;
    put(self, STORE_LOGIN, "a", "one", 0);
    assert_int_equal(self->waiter.arrived, 0); /* never answered before it returns */
    expect(self, STORE_DONE, 1);
    put(self, STORE_LOGIN, "a", "again", 0);
    expect(self, STORE_CONFLICT, 0);
    put(self, STORE_LOGIN, "a", "two", 1);
    expect(self, STORE_DONE, 2);
    put(self, STORE_LOGIN, "a", "stale", 1);
    expect(self, STORE_CONFLICT, 0);
    put(self, STORE_LOGIN, "b", "not there", 1);
    expect(self, STORE_CONFLICT, 0);
    put(self, STORE_GRANT, "a", "", 0); /* another kind */
    expect(self, STORE_DONE, 1);
    assert_string_equal(contents(self), "login a 2 two\ngrant a 1 \n");
    store_delete(self->store, STORE_LOGIN, "a", self->waiter.loop, on_answer, self);
    assert_int_equal(self->waiter.arrived, 0);
    expect(self, STORE_DONE, 0);
    store_delete(self->store, STORE_LOGIN, "a", self->waiter.loop, on_answer, self);
    expect(self, STORE_DONE, 0);
    put(self, STORE_LOGIN, "a", "resurrected", 2); /* what was deleted stays deleted */
    expect(self, STORE_CONFLICT, 0);
    assert_string_equal(contents(self), "grant a 1 \n");
    self->store->ops->watch(self->store, NULL, NULL); /* nobody else changes it */
}

/* A conflict is one's own; the order is that of the asking. */
static void answers_each_in_a_crowd(void **state)
{
    struct store_fixture *self = *state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3000; i++) {
            char id[16];
            snprintf(id, sizeof(id), "%d", i);
            put(self, STORE_GRANT, id, "x", 0); /* conflicts from the second round on */
            put(self, STORE_LOGIN, id, "x", 0); /* always new */
            put(self, STORE_LOGIN, id, "y", 1); /* of the one before */
            store_delete(self->store, STORE_LOGIN, id, self->waiter.loop, on_answer, self);
        }
        await(&self->waiter, 12000);
        assert_int_equal(self->conflicts, round == 0 ? 0 : 3000);
        assert_int_equal(self->failures, 0);
        self->conflicts = 0;
    }
    assert_int_equal(store_count(self->store), 3000);
}

static void kinds_have_names(void **state)
{
    enum store_kind kind;
    (void)state;
    assert_string_equal(store_kind_name(STORE_LOGIN), "login");
    assert_true(store_kind_parse("grant", &kind) && kind == STORE_GRANT);
    assert_false(store_kind_parse("grants", &kind));
}

/* ---- files ---- */

static void survives_a_restart(void **state)
{
    struct store_fixture *self = *state;
    put(self, STORE_LOGIN, "a", "one", 0);
    put(self, STORE_LOGIN, "a", "two", 1);
    await(&self->waiter, 2);
    close_store(self);
    assert_int_not_equal(access(beside(self, "-wal"), F_OK), 0); /* all is in the one file */
    open_store(self);
    assert_string_equal(contents(self), "login a 2 two\n");
    put(self, STORE_LOGIN, "a", "three", 2);
    expect(self, STORE_DONE, 3);
}

/* What is queued when the store is closed is written. */
static void closing_writes_what_waits(void **state)
{
    struct store_fixture *self = *state;
    char id[16];
    for (int i = 0; i < 5000; i++) {
        snprintf(id, sizeof(id), "%d", i);
        put(self, STORE_GRANT, id, "x", 0);
    }
    close_store(self);
    await(&self->waiter, 5000);
    open_store(self);
    assert_int_equal(store_count(self->store), 5000);
}

static void is_nobody_elses_to_read(void **state)
{
    struct store_fixture *self = *state;
    struct stat st;
    close_store(self);
    unlink(self->path);
    mode_t before = umask(0);
    open_store(self);
    put(self, STORE_LOGIN, "a", "one", 0);
    expect(self, STORE_DONE, 1);
    umask(before);
    assert_int_equal(stat(self->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(beside(self, "-wal"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

/* ---- one process ---- */

/* Runs what in a process of its own; its result is the exit code. */
static int in_child(int (*what)(void *arg), void *arg)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(what(arg));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int try_to_open(void *arg)
{
    struct store *store;
    struct error err = {0};
    struct store_fixture *self = arg;
    if (store_sqlite_open(self->path, &store, &err))
        return 0;
    return strstr(err.text, "is open in another process") != NULL &&
                   strstr(err.text, self->path) != NULL
               ? 1
               : 2;
}

static int try_to_check(void *arg)
{
    return store_sqlite_check(((struct store_fixture *)arg)->path, NULL) ? 0 : 1;
}

static void one_process_at_a_time(void **state)
{
    struct store_fixture *self = *state;
    struct error err = {0};
    struct store *second;
    assert_int_equal(in_child(try_to_open, self), 1);
    put(self, STORE_LOGIN, "a", "one", 0);
    expect(self, STORE_DONE, 1);
    assert_int_equal(in_child(try_to_open, self), 1);
    assert_int_equal(in_child(try_to_check, self),
                     0); /* `check` beside a running Postern is fine */
    /* in the same process neither, and looking at the file does not drop its lock */
    assert_false(store_sqlite_open(self->path, &second, &err));
    assert_true(store_sqlite_check(self->path, &err));
    assert_int_equal(in_child(try_to_open, self), 1);
    close_store(self);
    assert_int_equal(in_child(try_to_open, self), 0);
    open_store(self);
    assert_string_equal(contents(self), "login a 1 one\n");
}

/* ---- kill -9 ---- */

struct crash_writer { /* in the child */
    struct store_fixture fixture;
    int out;
    unsigned next;
};

struct crash_op {
    struct crash_writer *writer;
    char id[16];
    bool is_delete;
};

static void start_op(struct crash_writer *writer, unsigned number);

/* Tells the parent only what the store has acknowledged. */
static void on_crash_answer(void *ctx, enum store_outcome outcome, uint64_t version,
                            const struct error *err)
{
    struct crash_op *op = ctx;
    char line[24];
    (void)version, (void)err;
    if (outcome != STORE_DONE)
        _exit(3);
    int len = snprintf(line, sizeof(line), "%c%s\n", op->is_delete ? '-' : '+', op->id);
    if (write(op->writer->out, line, (size_t)len) != len)
        _exit(4);
    if (!op->is_delete && atol_of(op->id) % 3 == 0) { /* some are deleted again */
        op->is_delete = true;
        store_delete(op->writer->fixture.store, STORE_LOGIN, op->id,
                     op->writer->fixture.waiter.loop, on_crash_answer, op);
        return;
    }
    start_op(op->writer, op->writer->next++);
    free(op);
}

static void start_op(struct crash_writer *writer, unsigned number)
{
    struct crash_op *op = malloc(sizeof(*op));
    *op = (struct crash_op){.writer = writer};
    snprintf(op->id, sizeof(op->id), "%u", number);
    struct store_record record = {
        .kind = STORE_LOGIN, .id = op->id, .data = h2o_iovec_init(writer->fixture.path, 60)};
    store_put(writer->fixture.store, &record, 0, writer->fixture.waiter.loop, on_crash_answer, op);
}

static void write_until_killed(struct store_fixture *parent, int out, unsigned first)
{
    struct crash_writer writer = {.fixture = {.is_sqlite = true}, .out = out, .next = first};
    memcpy(writer.fixture.path, parent->path, sizeof(parent->path));
    writer.fixture.waiter.loop = loop_new();
    if (!store_sqlite_open(writer.fixture.path, &writer.fixture.store, NULL))
        _exit(2);
    for (int i = 0; i < 8; i++)
        start_op(&writer, writer.next++);
    loop_run(writer.fixture.waiter.loop);
    _exit(5);
}

struct ledger { /* what was acknowledged: '+', then '-' */
    char state[200000];
    unsigned last;
};

static void note_line(struct ledger *ledger, const char *line)
{
    unsigned id = (unsigned)atol_of(line + 1);
    assert_true(id < sizeof(ledger->state));
    ledger->state[id] = line[0];
    if (id > ledger->last)
        ledger->last = id;
}

/* Reads count lines, kills, reads what was still told. */
static void read_and_kill(struct ledger *ledger, int in, pid_t child, unsigned count)
{
    char line[24];
    FILE *lines = fdopen(in, "r");
    for (unsigned i = 0; fgets(line, sizeof(line), lines) != NULL; i++) {
        if (strchr(line, '\n') != NULL)
            note_line(ledger, line);
        if (i == count)
            assert_int_equal(kill(child, SIGKILL), 0);
    }
    fclose(lines);
}

static void check_record(void *ctx, const struct store_record *record)
{
    struct ledger *ledger = ctx;
    unsigned id = (unsigned)atol_of(record->id);
    assert_int_equal(record->data.len, 60);
    assert_int_not_equal(ledger->state[id], '-');
    ledger->state[id] = ledger->state[id] == '+' ? 'k' : '?'; /* '?': not acknowledged in time */
}

static void acknowledged_outlives_kill_9(void **state)
{
    struct store_fixture *self = *state;
    struct ledger *ledger = calloc(1, sizeof(*ledger));
    close_store(self);
    for (unsigned round = 0; round < 10; round++) {
        int pipes[2], status;
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0) {
            close(pipes[0]);
            write_until_killed(self, pipes[1], ledger->last + 100);
        }
        close(pipes[1]);
        read_and_kill(ledger, pipes[0], child, 1 + round * 37);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        open_store(self);
        for (unsigned i = 0; i <= ledger->last; i++)
            if (ledger->state[i] == 'k')
                ledger->state[i] = '+';
        assert_true(store_load(self->store, check_record, ledger, NULL));
        for (unsigned i = 0; i <= ledger->last; i++)
            if (i % 3 != 0) /* of the others a delete may have come through untold */
                assert_int_not_equal(ledger->state[i], '+'); /* told, and not there */
        close_store(self);
    }
    free(ledger);
    open_store(self);
}

/* ---- a disk that is full ---- */

static void a_full_disk_fails_and_recovers(void **state)
{
    struct store_fixture *self = *state;
    struct rlimit limit, before;
    char *big = calloc(1, 200000);
    memset(big, 'x', 199999);
    put(self, STORE_LOGIN, "a", "one", 0);
    expect(self, STORE_DONE, 1);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    limit = before;
    limit.rlim_cur = 100000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    put(self, STORE_LOGIN, "b", big, 0);
    await(&self->waiter, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(self->outcome, STORE_FAILED);
    assert_int_equal(self->error.kind, ERROR_UPSTREAM);
    assert_non_null(strstr(self->error.text, self->path));
    assert_null(strcasestr(self->error.text, "insert")); /* no SQL */
    self->failures = 0;
    put(self, STORE_LOGIN, "b", big, 0); /* nothing of it was written */
    expect(self, STORE_DONE, 1);
    put(self, STORE_LOGIN, "a", "two", 1);
    expect(self, STORE_DONE, 2);
    free(big);
}

/* The rest of a flood is refused, everybody is answered. */
static void a_flood_is_bounded(void **state)
{
    struct store_fixture *self = *state;
    char *big = calloc(1, 1024 * 1024);
    char id[16];
    memset(big, 'x', 1024 * 1024 - 1);
    for (int i = 0; i < 150; i++) {
        snprintf(id, sizeof(id), "%d", i);
        put(self, STORE_GRANT, id, big, 0);
    }
    await(&self->waiter, 150);
    assert_int_equal(store_count(self->store), 150 - self->failures);
    assert_true(self->failures > 0);
    assert_non_null(strstr(self->error.text, "too many writes"));
    free(big);
}

/* ---- files that are refused ---- */

static void write_file(const char *path, const char *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static size_t read_file(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t len = fread(out, 1, size, file);
    assert_true(len < size);
    fclose(file);
    return len;
}

/* Refused by open and by check, with a text that names the file, and left as it is. */
static void assert_refused(struct store_fixture *self, const char *says)
{
    static char before[1 << 20], after[1 << 20];
    struct error err = {0};
    struct store *store;
    size_t len = read_file(self->path, before, sizeof(before));
    for (int i = 0; i < 2; i++) {
        bool good = i == 0 ? store_sqlite_open(self->path, &store, &err)
                           : store_sqlite_check(self->path, &err);
        assert_false(good);
        if (strstr(err.text, says) == NULL || strstr(err.text, self->path) == NULL)
            fail_msg("says: %s", err.text);
        assert_int_equal(read_file(self->path, after, sizeof(after)), len);
        assert_memory_equal(before, after, len);
    }
}

static void bad_files_are_refused(void **state)
{
    static const struct {
        size_t at, len; /* what of the good file is overwritten; len 0: cut there */
        const char *bytes, *says;
    } rows[] = {
        {0, 0, "", "damaged or no SQLite database"},
        {50, 0, "", "damaged or no SQLite database"},
        {0, 1, "s", "damaged or no SQLite database"},
        {15, 1, "x", "damaged or no SQLite database"},
        {68, 4, "\0\0\0", "another program's"},
        {68, 4, "abc", "another program's"},
        {60, 4, "\0\0\0\2", "newer Postern (schema 2"},
        {60, 4, "\0\0\0", "unknown schema 0"},
        {16, 2, "\0\1", "damaged"},               /* a page size that can't be */
        {100, 40, NULL, "damaged"},               /* the first page's tree */
        {4096, 0, "", "damaged"},                 /* only the first page is left */
        {4096 + 5, 3, "\xff\xff\xff", "damaged"}, /* inside the table */
    };
    struct store_fixture *self = *state;
    static char good[1 << 20], bad[1 << 20];
    char junk[64], id[16];
    memset(junk, 0x5a, sizeof(junk));
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof(id), "%d", i);
        put(self, STORE_GRANT, id, "some data that fills more than one page", 0);
    }
    await(&self->waiter, 100);
    close_store(self);
    size_t len = read_file(self->path, good, sizeof(good));
    assert_true(len > 8192);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memcpy(bad, good, len);
        memcpy(bad + rows[i].at, rows[i].bytes == NULL ? junk : rows[i].bytes, rows[i].len);
        write_file(self->path, bad, rows[i].len == 0 ? rows[i].at : len);
        assert_refused(self, rows[i].says);
    }
    write_file(self->path, "hello\n", 6);
    assert_refused(self, "no SQLite database");
    write_file(self->path, good, len); /* and the good one is good still */
    assert_true(store_sqlite_check(self->path, NULL));
    open_store(self);
    assert_int_equal(store_count(self->store), 100);
}

static int write_and_vanish(void *arg)
{
    struct store_fixture child = {.is_sqlite = true};
    memcpy(child.path, ((struct store_fixture *)arg)->path, sizeof(child.path));
    child.waiter.loop = loop_new();
    if (!store_sqlite_open(child.path, &child.store, NULL))
        return 1;
    put(&child, STORE_LOGIN, "a", "one", 0);
    child.waiter.wanted = 1;
    loop_run(child.waiter.loop);
    return child.outcome == STORE_DONE ? 0 : 2;
}

/* A refusal does not even take in the log that lies beside the file. */
static void damage_beside_a_log_is_left(void **state)
{
    struct store_fixture *self = *state;
    static char bytes[1 << 20];
    close_store(self);
    assert_int_equal(in_child(write_and_vanish, self), 0);
    assert_int_equal(access(beside(self, "-wal"), F_OK), 0);
    size_t len = read_file(self->path, bytes, sizeof(bytes));
    memset(bytes + 100, 0x5a, 40);
    write_file(self->path, bytes, len);
    assert_refused(self, "damaged");
    assert_int_equal(access(beside(self, "-wal"), F_OK), 0);
    unlink(self->path);
    unlink(beside(self, "-wal"));
    open_store(self);
}

static void change_database(struct store_fixture *self, const char *sql)
{
    sqlite3 *db;
    close_store(self);
    assert_int_equal(sqlite3_open(self->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void odd_contents_are_refused(void **state)
{
    struct store_fixture *self = *state;
    struct error err = {0};
    size_t count = 0;
    change_database(self, "INSERT INTO records VALUES ('device', 'x', 1, 'y')");
    open_store(self);
    assert_false(store_load(self->store, count_record, &count, &err));
    assert_non_null(strstr(err.text, "unknown kind (\"device\")"));
    change_database(self, "DROP TABLE records");
    assert_refused(self, "no table of records");
    unlink(self->path);
    open_store(self);
}

/* Records that can be read, but are no table: every statement that writes fails before the first sign-in needs it. */
static void a_view_of_records_is_refused(void **state)
{
    struct store_fixture *self = *state;
    struct error err = {0};
    struct store *store;
    change_database(self, "ALTER TABLE records RENAME TO others;"
                          "CREATE VIEW records AS SELECT * FROM others");
    assert_false(store_sqlite_open(self->path, &store, &err));
    assert_non_null(strstr(err.text, self->path));
    unlink(self->path);
    open_store(self);
}

static void odd_paths_are_refused(void **state)
{
    struct store_fixture *self = *state;
    struct error err = {0};
    struct store *store;
    char path[PATH_MAX + 10];
    assert_false(store_sqlite_open(self->folder, &store, &err));
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_false(store_sqlite_check(self->folder, &err));
    snprintf(path, sizeof(path), "%s/missing/postern.db", self->folder);
    assert_false(store_sqlite_open(path, &store, &err));
    assert_non_null(strstr(err.text, path));
    assert_false(store_sqlite_check(path, &err));
    assert_non_null(strstr(err.text, path));
    snprintf(path, sizeof(path), "%s/new %%41?x=y#z.db", self->folder); /* no URI tricks */
    assert_true(store_sqlite_check(path, &err));
    assert_int_not_equal(access(path, F_OK), 0); /* check makes nothing */
    assert_true(store_sqlite_open(path, &store, &err));
    store_free(store);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_false(store_sqlite_open(path, &store, &err));
}

#define MEMORY(name) cmocka_unit_test_setup_teardown(name, memory_setup, store_teardown)
#define SQLITE(name) cmocka_unit_test_setup_teardown(name, sqlite_setup, store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_have_names),
        MEMORY(keeps_the_contract),
        SQLITE(keeps_the_contract),
        MEMORY(answers_each_in_a_crowd),
        SQLITE(answers_each_in_a_crowd),
        SQLITE(survives_a_restart),
        SQLITE(closing_writes_what_waits),
        SQLITE(is_nobody_elses_to_read),
        SQLITE(one_process_at_a_time),
        SQLITE(acknowledged_outlives_kill_9),
        SQLITE(a_full_disk_fails_and_recovers),
        SQLITE(a_flood_is_bounded),
        SQLITE(bad_files_are_refused),
        SQLITE(damage_beside_a_log_is_left),
        SQLITE(odd_contents_are_refused),
        SQLITE(a_view_of_records_is_refused),
        SQLITE(odd_paths_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
