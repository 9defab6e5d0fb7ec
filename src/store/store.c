/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

/* quick_check reads the whole file; above this size it would be felt at every start, and damage is then found by the
 * statement that meets it. */
#define CHECK_MAX_BYTES (32 << 20) /* about 0.2 s, 300000 samples */

typedef enum verdict { SOUND, DAMAGED, NEWER } verdict;

static const struct cause {
    int code;
    o3_status status;
    const char *what, *next;
} causes[] = {
    {SQLITE_FULL, O3_E_IO, "the disk is full", "free some space there and start again, what was committed is kept"},
    {SQLITE_READONLY, O3_E_IO, "it is read-only", "make the file and its directory writable"},
    {SQLITE_PERM, O3_E_IO, "permission denied", "make the file and its directory writable"},
    {SQLITE_CANTOPEN, O3_E_IO, "it cannot be opened", "check that its directory exists and is writable"},
    {SQLITE_BUSY, O3_E_IO, "another process holds it", "wait until that one has ended and start again"},
    {SQLITE_LOCKED, O3_E_IO, "another part of this process holds it", "wait until it has ended"},
    {SQLITE_IOERR, O3_E_IO, "the disk reported an error", "check the disk and its free space"},
    {SQLITE_CORRUPT, O3_E_IO, "it is damaged", "start o3 again, it moves the file aside and begins a new one"},
    {SQLITE_NOTADB, O3_E_IO, "it is no database", "start o3 again, it moves the file aside and begins a new one"},
    {SQLITE_TOOBIG, O3_E_LIMIT, "a text is too long", "this is a bug in o3, please report it"},
};

o3_status store_failed(o3_store *store, const char *doing, o3_err *err)
{
    int code = sqlite3_errcode(store->db) & 0xff, number = sqlite3_system_errno(store->db);
    for (int i = 0; i < O3_COUNT(causes); i++) {
        const struct cause *cause = &causes[i];
        if (cause->code != code)
            continue;
        /* errno is left over from earlier calls unless the operating system was the cause. */
        bool system = number && (code == SQLITE_IOERR || code == SQLITE_CANTOPEN);
        return o3_fail(err, cause->status, "cannot %s in the store %s: %s (%s); %s", doing, store->path, cause->what,
                       system ? strerror(number) : sqlite3_errmsg(store->db), cause->next);
    }
    return o3_fail(err, O3_E_INTERNAL, "cannot %s in the store %s: %s; this is a bug in o3, please report it", doing,
                   store->path, sqlite3_errmsg(store->db));
}

o3_status store_prepare(o3_store *store, sqlite3_stmt **ret_stmt, const char *sql, const char *doing, o3_err *err)
{
    if (sqlite3_prepare_v2(store->db, sql, -1, ret_stmt, NULL) != SQLITE_OK)
        return store_failed(store, doing, err);
    return O3_OK;
}

o3_status store_exec(o3_store *store, const char *sql, const char *doing, o3_err *err)
{
    if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return store_failed(store, doing, err);
    return O3_OK;
}

o3_status store_next(o3_store *store, sqlite3_stmt *stmt, bool *ret_row, const char *doing, o3_err *err)
{
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return store_failed(store, doing, err);
    *ret_row = rc == SQLITE_ROW;
    return O3_OK;
}

o3_status store_run(o3_store *store, sqlite3_stmt *stmt, const char *doing, o3_err *err)
{
    bool row;
    return store_next(store, stmt, &row, doing, err);
}

void store_rollback(o3_store *store)
{
    /* SQLite has already rolled back after a full disk. */
    if (!sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

static o3_status scalar(o3_store *store, const char *sql, int64_t *ret_value, o3_err *err)
{
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    bool row = false;
    o3_status status = store_prepare(store, &stmt, sql, "read", err);
    if (status == O3_OK)
        status = store_next(store, stmt, &row, "read", err);
    if (status == O3_OK)
        *ret_value = row ? sqlite3_column_int64(stmt, 0) : 0;
    return status;
}

/* Of what is no database of ours, only what cannot be anybody else's is moved: a newer version or a damaged file. */
static o3_status judge_version(o3_store *store, verdict *ret_verdict, o3_err *err)
{
    int64_t application = 0, version = 0, tables = 0;
    o3_status status = scalar(store, "PRAGMA application_id", &application, err);
    if (status == O3_OK)
        status = scalar(store, "PRAGMA user_version", &version, err);
    if (status == O3_OK)
        status = scalar(store, "SELECT COUNT(*) FROM sqlite_master", &tables, err);
    if (status != O3_OK)
        return status;
    bool newer = version > store_migration_count;
    if (application != STORE_APPLICATION_ID && (application != 0 || (tables > 0 && !newer)))
        return o3_fail(err, O3_E_IO, "%s is the database of another program: move it away, or choose another place "
                                     "with XDG_DATA_HOME", store->path);
    *ret_verdict = newer ? NEWER : SOUND;
    return O3_OK;
}

/* SQLite reads the missing rest of a last page as zeros and checks no values. Only a -wal can still complete it. */
static o3_status check_size(o3_store *store, int64_t size, verdict *ret_verdict, o3_err *err)
{
    char wal[PATH_MAX];
    struct stat st;
    int64_t page_bytes = 0;
    O3_FORMAT(wal, "%s-wal", store->path);
    o3_status status = scalar(store, "PRAGMA page_size", &page_bytes, err);
    if (status == O3_OK && page_bytes > 0 && size > 1 && size % page_bytes && (stat(wal, &st) || st.st_size == 0))
        *ret_verdict = DAMAGED;
    return status;
}

static o3_status check(o3_store *store, verdict *ret_verdict, o3_err *err)
{
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    struct stat st;
    bool row = false;
    if (stat(store->path, &st))
        return O3_OK;
    o3_status status = check_size(store, st.st_size, ret_verdict, err);
    if (status != O3_OK || *ret_verdict != SOUND || st.st_size > CHECK_MAX_BYTES)
        return status;
    status = store_prepare(store, &stmt, "PRAGMA quick_check(1)", "check", err);
    if (status == O3_OK)
        status = store_next(store, stmt, &row, "check", err);
    if (status == O3_OK && row && strcmp((const char *)sqlite3_column_text(stmt, 0), "ok"))
        *ret_verdict = DAMAGED;
    return status;
}

/* kill -9 loses nothing that was committed: in WAL mode a commit has been written to the -wal file when the statement
 * returns, and the kernel keeps what a killed process wrote. synchronous=NORMAL only leaves out the fsync of each
 * commit, so a power cut may take the last ones, never the file: a fair price for one commit a sample. */
static o3_status set_up(o3_store *store, o3_notes *notes, o3_err *err)
{
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    bool row = false;
    o3_status status = store_prepare(store, &stmt, "PRAGMA journal_mode=WAL", "begin", err);
    if (status == O3_OK)
        status = store_next(store, stmt, &row, "begin", err);
    if (status != O3_OK)
        return status;
    if (row && strcmp((const char *)sqlite3_column_text(stmt, 0), "wal"))
        o3_note(notes, "the store %s lies on a file system without shared memory: it is slower, and one o3 at a time "
                       "should use it", store->path);
    return store_exec(store, "PRAGMA synchronous=NORMAL", "begin", err);
}

static o3_status migrate_one(o3_store *store, bool *ret_done, o3_err *err)
{
    char pragmas[96];
    int64_t version = 0;
    o3_status status = store_exec(store, "BEGIN IMMEDIATE", "begin", err);
    if (status == O3_OK)
        status = scalar(store, "PRAGMA user_version", &version, err); /* inside: another process may have been first */
    *ret_done = version >= store_migration_count;
    if (status == O3_OK && !*ret_done) {
        O3_FORMAT(pragmas, "PRAGMA application_id=%d; PRAGMA user_version=%d", STORE_APPLICATION_ID, (int)version + 1);
        status = store_exec(store, store_migrations[version], "make the tables", err);
        if (status == O3_OK)
            status = store_exec(store, pragmas, "make the tables", err);
    }
    if (status == O3_OK)
        status = store_exec(store, "COMMIT", "make the tables", err);
    store_rollback(store);
    return status;
}

static o3_status configure(o3_store *store, o3_err *err)
{
    static const struct { int option, value; } options[] = {
        {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1}, /* until it is known to be sound: what is moved aside is not touched */
    };
    sqlite3_extended_result_codes(store->db, 1);
    sqlite3_busy_timeout(store->db, STORE_BUSY_MS);
    for (int i = 0; i < O3_COUNT(options); i++)
        if (sqlite3_db_config(store->db, options[i].option, options[i].value, NULL) != SQLITE_OK)
            return store_failed(store, "set an option", err);
    return O3_OK;
}

static o3_status connect_once(o3_store *store, o3_notes *notes, verdict *ret_verdict, o3_err *err)
{
    bool judged = false;
    *ret_verdict = SOUND;
    if (sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
        return store_failed(store, "begin", err);
    o3_status status = configure(store, err);
    if (status == O3_OK)
        status = judge_version(store, ret_verdict, err);
    if (status == O3_OK && *ret_verdict == SOUND)
        status = check(store, ret_verdict, err);
    judged = status == O3_OK;
    if (status == O3_OK && *ret_verdict == SOUND)
        status = set_up(store, notes, err);
    for (bool done = false; status == O3_OK && *ret_verdict == SOUND && !done;)
        status = migrate_one(store, &done, err);
    int code = status == O3_OK ? SQLITE_OK : sqlite3_errcode(store->db) & 0xff;
    /* Until then only constant statements ran: a plain error ("unsupported file format") comes from the file. */
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT || (code == SQLITE_ERROR && !judged))
        *ret_verdict = DAMAGED;
    if (status == O3_OK && *ret_verdict == SOUND)
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return status;
}

o3_status o3_store_open(o3_store **ret_store, const char *path, o3_notes *notes, o3_err *err)
{
    o3_auto(store) o3_store *store = o3_alloc(1, sizeof(*store));
    o3_status status = store_place(path, &store->path, err);
    if (status != O3_OK)
        return status;
    status = store_check_place(store->path, err); /* before the lock: no lock file beside what is refused */
    if (status != O3_OK)
        return status;
    o3_auto(fd) int lock = store_lock(store->path);
    for (int attempt = 0; attempt < 2; attempt++) {
        verdict found = SOUND;
        status = store_check_place(store->path, err);
        if (status == O3_OK)
            status = connect_once(store, notes, &found, err);
        if (found == SOUND)
            break;
        sqlite3_close_v2(O3_TAKE(store->db));
        status = store_set_aside(store->path, found == NEWER ? "was written by a newer o3" : "is damaged", notes, err);
        if (status != O3_OK)
            break;
    }
    if (status == O3_OK && store->db)
        *ret_store = O3_TAKE(store);
    else if (status == O3_OK)
        status = o3_fail(err, O3_E_IO, "the store %s cannot be made anew: check the disk", store->path);
    return status;
}

void o3_store_close(o3_store *store)
{
    if (!store)
        return;
    sqlite3_close_v2(store->db);
    free(store->path);
    free(store);
}

const char *o3_store_path(const o3_store *store)
{
    return store->path;
}
