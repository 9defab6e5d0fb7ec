/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of its own for each test of the store. Included after cmocka.h. */
#ifndef O3_TEST_STORE_FIXTURE_H
#define O3_TEST_STORE_FIXTURE_H

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"

typedef struct fixture {
    char dir[256];
    char path[512]; /* dir/data/o3/o3.db: its directories do not exist yet */
} fixture;

static inline void ok(o3_status status, const o3_err *err)
{
    if (status != O3_OK)
        fail_msg("%s: %s", o3_status_text(status), err->message);
}

static inline int fixture_make(void **state)
{
    fixture *f = o3_alloc(1, sizeof(*f));
    const char *tmp = getenv("TMPDIR");
    O3_FORMAT(f->dir, "%s/o3-test-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(f->dir))
        return -1;
    O3_FORMAT(f->path, "%s/data/o3/o3.db", f->dir);
    *state = f;
    return 0;
}

static inline int fixture_remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline int fixture_remove(void **state)
{
    fixture *f = *state;
    int failed = nftw(f->dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return failed;
}

static inline o3_store *open_store(const char *path, o3_notes *notes)
{
    o3_store *store = NULL;
    o3_err err = {0};
    ok(o3_store_open(&store, path, notes, &err), &err);
    assert_non_null(store);
    return store;
}

static inline int64_t count_rows(o3_store *store, const char *table)
{
    char sql[64];
    o3_err err = {0};
    bool row = false;
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    O3_FORMAT(sql, "SELECT COUNT(*) FROM %s", table);
    ok(store_prepare(store, &stmt, sql, "count", &err), &err);
    ok(store_next(store, stmt, &row, "count", &err), &err);
    return sqlite3_column_int64(stmt, 0);
}

static inline void write_file(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

/* Databases moved aside, their -wal and -shm not counted; the first one's name in ret_name if not NULL. */
static inline int find_aside(const char *path, char ret_name[600])
{
    char pattern[600];
    glob_t found;
    int count = 0;
    O3_FORMAT(pattern, "%s.aside-*", path);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            if (strstr(found.gl_pathv[i], "-wal") || strstr(found.gl_pathv[i], "-shm"))
                continue;
            if (ret_name && !count)
                o3_copy(ret_name, 600, found.gl_pathv[i]);
            count++;
        }
        globfree(&found);
    }
    return count;
}

static inline int count_aside(const char *path)
{
    return find_aside(path, NULL);
}

#endif
