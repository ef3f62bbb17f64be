/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions in one SQLite file. The file's first 100 bytes are judged before SQLite may touch it: what is no
 * database, another program's, or a newer Postern's stays as it is. Then it is opened for this process alone
 * and checked whole; a log (-wal) that kill -9 left behind is taken in as usual. One thread writes: it takes
 * all that waits into one transaction and answers when that is on the disk. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store.h"
#include "store_job.h"

#define APPLICATION_ID     0x706f7374 /* "post" */
#define SCHEMA             1
#define BATCH_MAX          1024
#define QUEUE_MAX          65536
#define QUEUE_MAX_BYTES    ((size_t)64 << 20)
#define OPEN_ATTEMPTS      10 /* a process that is just ending gets this long to let go */
#define OPEN_ATTEMPT_MS    100
#define HEADER_SIZE        100
#define HEADER_MAGIC       "SQLite format 3"
#define HEADER_SCHEMA      60 /* user_version, big-endian */
#define HEADER_APPLICATION 68

enum statement { BEGIN, COMMIT, ROLLBACK, INSERT, UPDATE, DELETE, STATEMENTS };

static const char *const statements_sql[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [INSERT] = "INSERT INTO records (kind, id, version, data) VALUES (?1, ?2, 1, ?3) "
               "ON CONFLICT DO NOTHING",
    [UPDATE] = "UPDATE records SET version = version + 1, data = ?3 "
               "WHERE kind = ?1 AND id = ?2 AND version = ?4",
    [DELETE] = "DELETE FROM records WHERE kind = ?1 AND id = ?2",
};

static const char select_sql[] = "SELECT kind, id, version, data FROM records";

struct store_sqlite {
    struct store store;
    char *path;
    sqlite3 *db;                          /* the writer's, but for load at the start */
    sqlite3_stmt *statements[STATEMENTS]; /* the writer's */
    pthread_t writer;
    pthread_mutex_t mutex; /* covers the following */
    pthread_cond_t arrived;
    struct store_job *first, **tail;
    size_t queued, queued_bytes;
    bool closing;
};

static struct store_sqlite *self_of(struct store *store)
{
    return H2O_STRUCT_FROM_MEMBER(struct store_sqlite, store, store);
}

/* What SQLite and the system say; never the statement. */
static bool set_failure(struct error *err, sqlite3 *db, const char *path)
{
    int code = db == NULL ? SQLITE_NOMEM : sqlite3_extended_errcode(db);
    int system = db == NULL ? 0 : sqlite3_system_errno(db);
    if ((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB)
        return error_set(err, ERROR_UPSTREAM, "%s is damaged (%s); it was left as it is", path,
                         sqlite3_errstr(code));
    errno = system;
    return system == 0 ? error_set(err, ERROR_UPSTREAM, "%s: %s", path, sqlite3_errstr(code))
                       : error_set(err, ERROR_UPSTREAM, "%s: %s (%m)", path, sqlite3_errstr(code));
}

/* ---- judging a file before it is opened ---- */

/* Through SQLite's own file layer: a plain close() would drop the locks that this process may hold on it. */
static int read_header(const char *path, uint8_t header[HEADER_SIZE])
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    sqlite3_filename name = sqlite3_create_filename(path, "", "", 0, NULL);
    sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);
    assert(name != NULL && file != NULL);
    int flags = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READONLY;
    int code = vfs->xOpen(vfs, name, file, flags, &flags);
    if (code == SQLITE_OK)
        code = file->pMethods->xRead(file, header, HEADER_SIZE, 0);
    if (file->pMethods != NULL)
        file->pMethods->xClose(file);
    free(file);
    sqlite3_free_filename(name);
    return code;
}

static uint32_t header_number(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static bool judge_header(const char *path, struct error *err)
{
    uint8_t header[HEADER_SIZE] = {0};
    int code = read_header(path, header);
    if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ)
        return error_set(err, ERROR_UPSTREAM, "%s: can't be read: %s", path, sqlite3_errstr(code));
    if (code != SQLITE_OK || memcmp(header, HEADER_MAGIC, sizeof(HEADER_MAGIC)) != 0)
        return error_set(err, ERROR_UPSTREAM,
                         "%s is damaged or no SQLite database; it was left as it is", path);
    if (header_number(header + HEADER_APPLICATION) != APPLICATION_ID)
        return error_set(err, ERROR_UPSTREAM,
                         "%s is another program's database; it was left as it is", path);
    uint32_t schema = header_number(header + HEADER_SCHEMA);
    if (schema > SCHEMA)
        return error_set(err, ERROR_UPSTREAM,
                         "%s was written by a newer Postern (schema %u, this one knows %d); it was "
                         "left as it is",
                         path, schema, SCHEMA);
    if (schema != SCHEMA)
        return error_set(err, ERROR_UPSTREAM, "%s has the unknown schema %u; it was left as it is",
                         path, schema);
    return true;
}

static bool judge_file(const char *path, const struct stat *st, struct error *err)
{
    if (!S_ISREG(st->st_mode))
        return error_set(err, ERROR_UPSTREAM, "%s is not a regular file", path);
    if (access(path, R_OK | W_OK) != 0)
        return error_set(err, ERROR_UPSTREAM, "%s: %m", path);
    return judge_header(path, err);
}

static bool judge_folder(const char *path, struct error *err)
{
    char *copy = strdup(path);
    assert(copy != NULL);
    const char *folder = dirname(copy);
    bool good = access(folder, W_OK | X_OK) == 0 ||
                error_set(err, ERROR_UPSTREAM, "%s: can't be made in %s: %m", path, folder);
    free(copy);
    return good;
}

/* ---- making a file: whole under another name, then put in its place, so that no crash leaves half a
 * database there ---- */

static bool execute(sqlite3 *db, const char *sql, const char *path, struct error *err)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    return set_failure(err, db, path);
}

static bool write_schema(const char *path, struct error *err)
{
    sqlite3 *db = NULL;
    char sql[400];
    snprintf(sql, sizeof(sql),
             "PRAGMA synchronous = FULL;"
             "BEGIN;"
             "CREATE TABLE records (kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,"
             " data BLOB NOT NULL, PRIMARY KEY (kind, id));"
             "PRAGMA application_id = %d;"
             "PRAGMA user_version = %d;"
             "COMMIT;"
             "PRAGMA journal_mode = WAL;",
             APPLICATION_ID, SCHEMA);
    bool good = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK
                    ? execute(db, sql, path, err)
                    : set_failure(err, db, path);
    if (sqlite3_close(db) != SQLITE_OK && good)
        good = error_set(err, ERROR_INTERNAL, "%s: can't be closed", path);
    return good;
}

static bool sync_folder(const char *path, struct error *err)
{
    char *copy = strdup(path);
    assert(copy != NULL);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (!good)
        error_set(err, ERROR_UPSTREAM, "%s: its folder can't be synced: %m", path);
    if (fd >= 0)
        close(fd);
    return good;
}

static bool fill_new_file(const char *path, const char *temporary, int fd, struct error *err)
{
    bool good = fchmod(fd, 0600) == 0 || error_set(err, ERROR_UPSTREAM, "%s: %m", temporary);
    close(fd); /* before SQLite opens it: later it would drop SQLite's locks */
    if (!good || !write_schema(temporary, err))
        return false;
    if (link(temporary, path) != 0 && errno != EEXIST) /* another process may be as far */
        return error_set(err, ERROR_UPSTREAM, "%s: can't be made: %m", path);
    return true;
}

static bool make_file(const char *path, struct error *err)
{
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
        return error_set(err, ERROR_BAD_INPUT, "%s: the path is too long", path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return error_set(err, ERROR_UPSTREAM, "%s: can't be made: %m", path);
    bool good = fill_new_file(path, temporary, fd, err);
    unlink(temporary);
    return good && sync_folder(path, err);
}

static bool find_or_make(const char *path, struct error *err)
{
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (!there && errno != ENOENT)
        return error_set(err, ERROR_UPSTREAM, "%s: %m", path);
    if (!there && !make_file(path, err))
        return false;
    if (!there && stat(path, &st) != 0)
        return error_set(err, ERROR_UPSTREAM, "%s: %m", path);
    return judge_file(path, &st, err);
}

/* ---- opening ---- */

static bool check_whole(sqlite3 *db, const char *path, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &statement, NULL) != SQLITE_OK)
        return set_failure(err, db, path);
    bool good = sqlite3_step(statement) == SQLITE_ROW;
    if (!good)
        set_failure(err, db, path);
    else if (strcmp((const char *)sqlite3_column_text(statement, 0), "ok") != 0)
        good = error_set(err, ERROR_UPSTREAM,
                         "%s is damaged (quick_check fails); it was left as it is", path);
    sqlite3_finalize(statement);
    return good;
}

static bool check_table(sqlite3 *db, const char *path, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, select_sql, -1, &statement, NULL);
    sqlite3_finalize(statement);
    return code == SQLITE_OK ||
           error_set(err, ERROR_UPSTREAM,
                     "%s is damaged (it has no table of records); it was left as it is", path);
}

/* Locks the file for this connection. The first read does it; nothing is written. */
static int lock_file(sqlite3 *db)
{
    int code = SQLITE_BUSY;
    for (int i = 0; i < OPEN_ATTEMPTS && (code & 0xff) == SQLITE_BUSY; i++) {
        if (i > 0)
            usleep(OPEN_ATTEMPT_MS * 1000);
        code = sqlite3_exec(db, "PRAGMA user_version", NULL, NULL, NULL);
    }
    return code;
}

static bool open_locked(const char *path, sqlite3 *db, bool *busy, struct error *err)
{
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL); /* a refusal writes nothing */
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (!execute(db,
                 "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF; "
                 "PRAGMA cell_size_check = ON",
                 path, err))
        return false;
    *busy = (lock_file(db) & 0xff) == SQLITE_BUSY;
    if (*busy)
        return error_set(err, ERROR_UPSTREAM, "%s is open in another process", path);
    if (sqlite3_errcode(db) != SQLITE_OK && sqlite3_errcode(db) != SQLITE_DONE)
        return set_failure(err, db, path);
    if (sqlite3_db_readonly(db, "main") != 0)
        return error_set(err, ERROR_UPSTREAM, "%s can't be written", path);
    return check_whole(db, path, err) && check_table(db, path, err);
}

static bool open_database(const char *path, sqlite3 **out, bool *busy, struct error *err)
{
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_PRIVATECACHE;
    bool good = sqlite3_open_v2(path, &db, flags, NULL) == SQLITE_OK
                    ? open_locked(path, db, busy, err)
                    : set_failure(err, db, path);
    if (good)
        *out = db;
    else
        sqlite3_close(db);
    return good;
}

/* ---- writing: on the writer's thread ---- */

static int run_statement(struct store_sqlite *self, enum statement which)
{
    sqlite3_stmt *statement = self->statements[which];
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int apply(struct store_sqlite *self, struct store_job *job)
{
    enum statement which = job->is_delete ? DELETE : job->expected == 0 ? INSERT : UPDATE;
    sqlite3_stmt *statement = self->statements[which];
    sqlite3_bind_text(statement, 1, store_kind_name(job->kind), -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, job->id, -1, SQLITE_STATIC);
    if (!job->is_delete)
        sqlite3_bind_blob(statement, 3, job->data.base, (int)job->data.len, SQLITE_STATIC);
    if (which == UPDATE)
        sqlite3_bind_int64(statement, 4, (sqlite3_int64)job->expected);
    int code = run_statement(self, which);
    sqlite3_clear_bindings(statement);
    if (code != SQLITE_OK)
        return code;
    bool changed = sqlite3_changes(self->db) > 0;
    job->outcome = job->is_delete || changed ? STORE_DONE : STORE_CONFLICT;
    job->version = !job->is_delete && changed ? job->expected + 1 : 0;
    return SQLITE_OK;
}

/* All of the batch or nothing of it. */
static bool commit_batch(struct store_sqlite *self, struct store_job *batch, struct error *err)
{
    int code = run_statement(self, BEGIN);
    for (struct store_job *job = batch; job != NULL && code == SQLITE_OK; job = job->next)
        code = apply(self, job);
    if (code == SQLITE_OK)
        code = run_statement(self, COMMIT);
    if (code == SQLITE_OK)
        return true;
    set_failure(err, self->db, self->path);
    if (sqlite3_get_autocommit(self->db) == 0)
        run_statement(self, ROLLBACK);
    return false;
}

static void write_batch(struct store_sqlite *self, struct store_job *batch)
{
    struct error err = {0};
    bool good = commit_batch(self, batch, &err);
    while (batch != NULL) {
        struct store_job *job = batch;
        batch = job->next;
        if (good)
            store_job_answer(job, job->outcome, job->version);
        else
            store_job_fail(job, &err);
    }
}

/* With the mutex. */
static struct store_job *take_batch(struct store_sqlite *self)
{
    struct store_job *batch = self->first, **end = &self->first;
    for (size_t i = 0; i < BATCH_MAX && *end != NULL; i++) {
        self->queued--;
        self->queued_bytes -= (*end)->data.len;
        end = &(*end)->next;
    }
    self->first = *end;
    if (self->first == NULL)
        self->tail = &self->first;
    *end = NULL;
    return batch;
}

static void *writer_thread(void *arg)
{
    struct store_sqlite *self = arg;
    pthread_mutex_lock(&self->mutex);
    while (!self->closing || self->first != NULL) {
        if (self->first == NULL) {
            pthread_cond_wait(&self->arrived, &self->mutex);
            continue;
        }
        struct store_job *batch = take_batch(self);
        pthread_mutex_unlock(&self->mutex);
        write_batch(self, batch);
        pthread_mutex_lock(&self->mutex);
    }
    pthread_mutex_unlock(&self->mutex);
    return NULL;
}

static void enqueue(struct store_sqlite *self, struct store_job *job)
{
    pthread_mutex_lock(&self->mutex);
    assert(!self->closing);
    bool room = self->queued < QUEUE_MAX && self->queued_bytes + job->data.len <= QUEUE_MAX_BYTES;
    if (room) {
        *self->tail = job;
        self->tail = &job->next;
        self->queued++;
        self->queued_bytes += job->data.len;
        pthread_cond_signal(&self->arrived);
    }
    pthread_mutex_unlock(&self->mutex);
    if (!room) {
        struct error err;
        error_set(&err, ERROR_INTERNAL, "too many writes wait for the disk");
        store_job_fail(job, &err);
    }
}

/* ---- the store's operations ---- */

static void put(struct store *store, const struct store_record *record, uint64_t expected,
                struct loop *loop, store_cb cb, void *ctx)
{
    enqueue(self_of(store), store_job_put(record, expected, loop, cb, ctx));
}

static void del(struct store *store, enum store_kind kind, const char *id, struct loop *loop,
                store_cb cb, void *ctx)
{
    enqueue(self_of(store), store_job_delete(kind, id, loop, cb, ctx));
}

static void watch(struct store *store,
                  void (*changed)(void *ctx, const struct store_record *record), void *ctx)
{
    (void)store, (void)changed, (void)ctx; /* the file is this process's alone */
}

static bool read_row(sqlite3_stmt *statement, const char *path, struct store_record *out,
                     struct error *err)
{
    const char *kind = (const char *)sqlite3_column_text(statement, 0);
    const void *data = sqlite3_column_blob(statement, 3);
    union {
        const void *borrowed;
        char *base;
    } bytes = {.borrowed = data == NULL ? "" : data}; /* h2o_iovec_t has no const */
    out->id = (const char *)sqlite3_column_text(statement, 1);
    out->version = (uint64_t)sqlite3_column_int64(statement, 2);
    out->data = h2o_iovec_init(bytes.base, (size_t)sqlite3_column_bytes(statement, 3));
    if (kind == NULL || out->id == NULL || !store_kind_parse(kind, &out->kind))
        return error_set(err, ERROR_UPSTREAM, "%s has a record of an unknown kind (\"%.20s\")",
                         path, kind == NULL ? "" : kind);
    return true;
}

static bool load(struct store *store, void (*each)(void *ctx, const struct store_record *record),
                 void *ctx, struct error *err)
{
    struct store_sqlite *self = self_of(store);
    sqlite3_stmt *statement = NULL;
    struct store_record record = {0};
    bool good = true;
    int code = sqlite3_prepare_v2(self->db, select_sql, -1, &statement, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW)
            break;
        good = read_row(statement, self->path, &record, err);
        if (!good)
            break;
        each(ctx, &record);
    }
    if (good && code != SQLITE_DONE)
        good = set_failure(err, self->db, self->path);
    sqlite3_finalize(statement);
    return good;
}

static void dispose(struct store_sqlite *self)
{
    for (size_t i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(self->statements[i]);
    sqlite3_close(self->db);
    pthread_cond_destroy(&self->arrived);
    pthread_mutex_destroy(&self->mutex);
    free(self->path);
    free(self);
}

static void free_sqlite(struct store *store)
{
    struct store_sqlite *self = self_of(store);
    pthread_mutex_lock(&self->mutex);
    self->closing = true;
    pthread_cond_signal(&self->arrived);
    pthread_mutex_unlock(&self->mutex);
    pthread_join(self->writer, NULL);
    sqlite3_wal_checkpoint_v2(self->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_db_config(self->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    dispose(self);
}

/* ---- start ---- */

/* From here on the file is known to be ours and whole. */
static bool prepare(struct store_sqlite *self, struct error *err)
{
    if (!execute(self->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", self->path, err))
        return false;
    for (size_t i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(self->db, statements_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &self->statements[i], NULL) != SQLITE_OK)
            return set_failure(err, self->db, self->path);
    return true;
}

/* Signals are the main thread's. */
static bool start_writer(struct store_sqlite *self, struct error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&self->writer, NULL, writer_thread, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failed;
    return failed == 0 || error_set(err, ERROR_INTERNAL, "the store's thread can't be started: %m");
}

bool store_sqlite_open(const char *path, struct store **out, struct error *err)
{
    static const struct store_ops ops = {.name = "sqlite",
                                         .load = load,
                                         .put = put,
                                         .del = del,
                                         .watch = watch,
                                         .free = free_sqlite};
    sqlite3 *db;
    bool busy = false;
    if (!find_or_make(path, err) || !open_database(path, &db, &busy, err))
        return false;
    struct store_sqlite *self = h2o_mem_alloc(sizeof(*self));
    *self = (struct store_sqlite){.store.ops = &ops, .path = strdup(path), .db = db};
    assert(self->path != NULL);
    self->tail = &self->first;
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->arrived, NULL);
    if (!prepare(self, err) || !start_writer(self, err)) {
        dispose(self);
        return false;
    }
    *out = &self->store;
    return true;
}

bool store_sqlite_check(const char *path, struct error *err)
{
    struct stat st;
    sqlite3 *db;
    bool busy = false;
    if (stat(path, &st) != 0)
        return errno == ENOENT ? judge_folder(path, err)
                               : error_set(err, ERROR_UPSTREAM, "%s: %m", path);
    if (!judge_file(path, &st, err))
        return false;
    if (!open_database(path, &db, &busy, err))
        return busy; /* a Postern that runs has checked it */
    sqlite3_close(db);
    return true;
}
