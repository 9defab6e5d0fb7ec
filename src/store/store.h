/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the store: the handle, statements, one sentence for every failure, and the tables that say how a struct's
 * fields lie in columns. Nothing outside src/store includes this, except its tests. */
#ifndef O3_STORE_IMPL_H
#define O3_STORE_IMPL_H

#include <unistd.h>

#include <sqlite3.h>

#include "base/base.h"
#include "o3/store.h"

#define STORE_APPLICATION_ID 0x6f334442 /* "o3DB": tells our file from any other database */
#define STORE_BUSY_MS 10000
#define STORE_DOCUMENT_MAX (16 << 20) /* bytes of one JSON document */
#define STORE_SQL_MAX 8192

struct o3_store {
    sqlite3 *db;
    char *path;
};
O3_AUTO_DEFINE(store, o3_store *, o3_store_close)
O3_AUTO_DEFINE(stmt, sqlite3_stmt *, sqlite3_finalize)
static inline void o3_auto_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* place.c: where the file lies, and what the file system says about it. */
o3_status store_place(const char *path, char **ret_path, o3_err *err); /* makes the directories; caller frees */
o3_status store_check_place(const char *path, o3_err *err);            /* makes an empty file if there is none */
int store_lock(const char *path);                                      /* until closed; -1 where locks do not work */
/* Renames the database with its -wal and -shm beside itself. */
o3_status store_set_aside(const char *path, const char *why, o3_notes *notes, o3_err *err);

/* migrations.c: SQL number i brings user_version from i to i + 1. */
extern const char *const store_migrations[];
extern const int store_migration_count;

/* store.c: statements. `doing` ends "cannot ...": "write a sample". */
o3_status store_failed(o3_store *store, const char *doing, o3_err *err); /* the sentence for the last SQLite error */
o3_status store_prepare(o3_store *store, sqlite3_stmt **ret_stmt, const char *sql, const char *doing, o3_err *err);
o3_status store_exec(o3_store *store, const char *sql, const char *doing, o3_err *err);
o3_status store_run(o3_store *store, sqlite3_stmt *stmt, const char *doing, o3_err *err); /* a statement without rows */
o3_status store_next(o3_store *store, sqlite3_stmt *stmt, bool *ret_row, const char *doing, o3_err *err);
void store_rollback(o3_store *store); /* if a transaction is open */
void store_bind_text(sqlite3_stmt *stmt, int at, const char *text); /* NULL stays NULL; text must outlive the step */
int64_t store_i64(sqlite3_stmt *stmt, int column, int64_t missing);
#define STORE_TEXT_OF(stmt, column, dst) store_text((stmt), (column), (dst), sizeof(dst))
void store_text(sqlite3_stmt *stmt, int column, char *dst, size_t dst_size);

/* columns.c: one row a field; binding, reading and the SQL's lists of names all come from it. */
typedef enum store_type {
    STORE_TEXT,        /* char[size] */
    STORE_I64,         /* -1 is NULL */
    STORE_I32,         /* -1 is NULL */
    STORE_KNOB,        /* O3_UNSET is NULL; -1 is a value */
    STORE_SEED,        /* uint64_t, the same 64 bits as a signed integer */
    STORE_REAL,        /* NaN is NULL */
    STORE_BOOL,        /* 0, 1 */
    STORE_OUTCOME,     /* its name */
    STORE_SAMPLE_KIND, /* its name */
} store_type;
typedef struct store_column {
    const char *name;
    store_type type;
    size_t offset, size;
} store_column;
typedef struct store_table {
    const char *name;
    const store_column *columns;
    int count;
} store_table;
extern const store_table store_trial_table, store_sample_table, store_peak_table, store_forecast_table;

void store_names(o3_buf *sql, const store_table *table);                   /* a, b, c */
void store_places(o3_buf *sql, const store_table *table, int first);       /* ?3, ?4, ?5 */
void store_assignments(o3_buf *sql, const store_table *table, int first);  /* a = ?3, b = ?4 */
void store_bind(sqlite3_stmt *stmt, int first, const store_table *table, const void *object);
/* O3_E_IO where a name is one that this version does not know. */
o3_status store_read(o3_store *store, sqlite3_stmt *stmt, int first, const store_table *table, void *object,
                     o3_err *err);

#endif
