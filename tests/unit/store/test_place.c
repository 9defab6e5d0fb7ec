/* SPDX-License-Identifier: Apache-2.0 */
/* The store with a bad file, a bad place, a full disk: nothing is lost, and each sentence says what to do next. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "store_fixture.h"

#define SKIP_STATUS 77
#define NOBODY 65534

/* A database with one run of so many samples, closed; its size. */
static int64_t make_database(const char *path, int samples)
{
    o3_store *store = open_store(path, NULL);
    o3_auto(free) o3_trial *trial = o3_alloc(1, sizeof(*trial));
    o3_run_key key = {.model = "kept"};
    o3_err err = {0};
    char id[40];
    struct stat st;
    ok(o3_store_run_begin(store, &key, NULL, id, &err), &err);
    ok(o3_store_trial_begin(store, id, trial, &err), &err);
    for (int i = 0; i < samples; i++)
        ok(o3_store_sample(store, trial, &(o3_sample){.text_seed = (uint64_t)i}, &err), &err);
    o3_store_close(store);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* Opens; if a file was moved aside, it still has all its bytes and a note says so. Returns runs found. */
static int64_t reopen(const char *path, int64_t size, int want_aside)
{
    o3_notes notes = {0};
    char aside[600];
    struct stat st;
    o3_store *store = open_store(path, &notes);
    int64_t runs = count_rows(store, "run");
    if (find_aside(path, aside) != want_aside || notes.count != want_aside)
        fail_msg("%d moved aside, %d notes, expected %d, of %lld bytes", count_aside(path), notes.count, want_aside,
                 (long long)size);
    if (want_aside) {
        assert_non_null(strstr(notes.text[0], aside));
        assert_int_equal(stat(aside, &st), 0);
        assert_int_equal(st.st_size, size);
        assert_int_equal(runs, 0);
        unlink(aside);
    }
    o3_store_close(store);
    return runs;
}

static void damaged(void **state)
{
    fixture *f = *state;
    char garbage[3000];
    memset(garbage, 0xa5, sizeof(garbage));
    for (int at = 0; at < 3; at++) { /* the header, inside of the first page, a page in the middle */
        int64_t size = make_database(f->path, 60);
        int fd = open(f->path, O_WRONLY | O_CLOEXEC);
        const off_t places[] = {0, 200, size / 4096 / 2 * 4096};
        assert_int_equal(pwrite(fd, garbage, sizeof(garbage), places[at]), sizeof(garbage));
        close(fd);
        reopen(f->path, size, 1);
        assert_int_equal(reopen(f->path, 0, 0), 0);
        unlink(f->path);
    }
    write_file(f->path, garbage, sizeof(garbage));
    reopen(f->path, sizeof(garbage), 1);
}

static void truncated(void **state)
{
    fixture *f = *state;
    int64_t size = make_database(f->path, 60);
    const int64_t lengths[] = {2, 15, 16, 99, 100, 511, 512, 1024, 4095, 4096, 4097, 8192, size / 2,
                               size - 4096, size - 1};
    for (int i = 0; i < O3_COUNT(lengths); i++) {
        unlink(f->path);
        assert_true(make_database(f->path, 60) == size);
        assert_int_equal(truncate(f->path, lengths[i]), 0);
        reopen(f->path, lengths[i], 1);
    }
}

static void empty_and_missing(void **state)
{
    fixture *f = *state;
    struct stat st;
    make_database(f->path, 1);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    *strrchr(f->path, '/') = '\0';
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    f->path[strlen(f->path)] = '/';
    for (size_t len = 0; len < 2; len++) { /* to SQLite a single byte is empty too: it writes one on some systems */
        write_file(f->path, "x", len);
        assert_int_equal(reopen(f->path, 0, 0), 0);
    }
    unlink(f->path);
    assert_int_equal(reopen(f->path, 0, 0), 0);
}

/* Any byte may be wrong: it opens, or says why not, and never crashes or loses the file. */
static void flipped_bytes(void **state)
{
    fixture *f = *state;
    int64_t size = make_database(f->path, 40);
    o3_auto(free) unsigned char *good = o3_alloc((size_t)size, 1), *bad = o3_alloc((size_t)size, 1);
    int fd = open(f->path, O_RDONLY | O_CLOEXEC), opened = 0;
    assert_int_equal(read(fd, good, (size_t)size), size);
    close(fd);
    o3_rng rng;
    o3_rng_seed(&rng, 11, 0);
    for (int round = 0; round < 150; round++) {
        memcpy(bad, good, (size_t)size);
        for (uint32_t i = o3_rng_below(&rng, 8) + 1; i > 0; i--) /* half of them in the first 200 bytes */
            bad[o3_rng_below(&rng, round % 2 ? 200 : (uint32_t)size)] = (unsigned char)o3_rng_u64(&rng);
        write_file(f->path, bad, (size_t)size);
        o3_store *store = NULL;
        o3_notes notes = {0};
        o3_err err = {0};
        o3_run_row row;
        char aside[600];
        int count;
        o3_status status = o3_store_open(&store, f->path, &notes, &err);
        if (status == O3_OK) {
            opened++;
            status = o3_store_runs(store, NULL, &row, 1, &count, &err);
        }
        if (status != O3_OK && (status != O3_E_IO || !strstr(err.message, f->path)))
            fail_msg("round %d: %s: %s", round, o3_status_text(status), err.message);
        o3_store_close(store);
        if (find_aside(f->path, aside)) {
            assert_int_equal(notes.count, 1);
            unlink(aside);
        }
    }
    assert_true(opened > 100);
}

/* A newer one keeps its -wal beside it, and opens under its new name with all that was in it. */
static void newer(void **state)
{
    fixture *f = *state;
    char aside[600], wal[700];
    o3_notes notes = {0};
    o3_err err = {0};
    make_database(f->path, 3);
    o3_store *old = open_store(f->path, NULL);
    sqlite3_db_config(old->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    ok(store_exec(old, "PRAGMA user_version=9999; INSERT INTO sample SELECT trial_id, 50, kind, outcome, text_seed,"
                       " 1, 1, 1, 1, 1, 1, 1, 1, 1, NULL, NULL, 1, NULL, NULL, 0, 0, 0, 0 FROM sample WHERE number = 0",
                  "test", &err), &err);
    o3_store_close(old);
    o3_store *fresh = open_store(f->path, &notes);
    assert_true(count_rows(fresh, "run") == 0 && notes.count == 1);
    assert_non_null(strstr(notes.text[0], "newer o3"));
    o3_store_close(fresh);
    assert_int_equal(find_aside(f->path, aside), 1);
    O3_FORMAT(wal, "%s-wal", aside);
    assert_int_equal(access(wal, F_OK), 0);
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(aside, &db), SQLITE_OK);
    o3_store kept = {.db = db, .path = aside};
    assert_int_equal(count_rows(&kept, "sample"), 4);
    sqlite3_close(db);
}

/* Two in the same second keep two names. */
static void aside_twice(void **state)
{
    fixture *f = *state;
    o3_store_close(open_store(f->path, NULL));
    for (int i = 0; i < 4; i++) {
        write_file(f->path, "no database, and not short", 26);
        o3_store_close(open_store(f->path, NULL));
    }
    assert_int_equal(count_aside(f->path), 4);
}

static void refuse(const char *path, o3_status want, const char *named, const char *cause)
{
    o3_store *store = NULL;
    o3_err err = {0};
    o3_notes notes = {0};
    assert_int_equal(o3_store_open(&store, path, &notes, &err), want);
    assert_null(store);
    assert_int_equal(notes.count, 0);
    if (!strstr(err.message, named) || !strstr(err.message, cause))
        fail_msg("'%s' does not name '%s' and '%s'", err.message, named, cause);
}

static void other_programs(void **state)
{
    fixture *f = *state;
    char path[600];
    static const char *const kinds[] = {"CREATE TABLE photos (id)", "PRAGMA application_id=7; CREATE TABLE run (id)"};
    for (int i = 0; i < O3_COUNT(kinds); i++) {
        sqlite3 *db = NULL;
        O3_FORMAT(path, "%s/other%d.db", f->dir, i);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, kinds[i], NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        refuse(path, O3_E_IO, path, "another program");
        assert_int_equal(count_aside(path), 0);
    }
}

static void bad_places(void **state)
{
    fixture *f = *state;
    char path[600];
    refuse(f->dir, O3_E_IO, f->dir, "a directory");
    O3_FORMAT(path, "%s/file", f->dir);
    write_file(path, "x", 1);
    O3_FORMAT(path, "%s/file/o3/o3.db", f->dir);
    refuse(path, O3_E_IO, "/file/o3", "Not a directory");
    refuse("/proc/o3-none/o3.db", O3_E_IO, "/proc/o3-none", "No such file");
    O3_FORMAT(path, "%s/pipe", f->dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    refuse(path, O3_E_IO, path, "no regular file"); /* and does not wait for a writer */
    O3_FORMAT(path, "%s/dangling", f->dir);
    assert_int_equal(symlink("/nowhere/at/all", path), 0);
    refuse(path, O3_E_IO, path, "No such file");
    char *longest = o3_alloc(5000, 1);
    memset(longest, '/', 4999);
    refuse(longest, O3_E_LIMIT, "longer", "XDG_DATA_HOME");
    free(longest);
}

/* What it says of a file and of a directory without the right to write; as somebody else where root runs the tests. */
static int read_only_child(const fixture *f)
{
    char dir[600], file_says[sizeof(((o3_err *)0)->message)];
    o3_store *store = NULL;
    o3_err err = {0};
    O3_FORMAT(dir, "%s/data/o3", f->dir);
    if (geteuid() == 0 && (chown(f->dir, NOBODY, NOBODY) || chown(dir, NOBODY, NOBODY) ||
                           chown(f->path, NOBODY, NOBODY) || setgid(NOBODY) || setuid(NOBODY)))
        return SKIP_STATUS;
    if (chmod(f->path, 0400) || o3_store_open(&store, f->path, NULL, &err) != O3_E_IO)
        return 1;
    O3_COPY(file_says, err.message);
    if (chmod(f->path, 0600) || chmod(dir, 0500) || o3_store_open(&store, f->path, NULL, &err) != O3_E_IO)
        return 2;
    fprintf(stderr, "%s\n%s\n", file_says, err.message);
    if (!strstr(file_says, f->path) || !strstr(err.message, dir))
        return 3;
    if (!strstr(file_says, "Permission denied; make it writable") || !strstr(err.message, "Permission denied"))
        return 4;
    return chmod(dir, 0700) || o3_store_open(&store, f->path, NULL, &err) || count_rows(store, "run") != 1;
}

static void in_child(int (*play)(const fixture *f), const fixture *f, const char *why_not)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(play(f));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIP_STATUS) {
        print_message("# skipped: %s\n", why_not);
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void read_only(void **state)
{
    const fixture *f = *state;
    make_database(f->path, 1);
    char data[600];
    O3_FORMAT(data, "%s/data", f->dir);
    assert_int_equal(chmod(data, 0755), 0);
    in_child(read_only_child, f, "root writes everywhere and may become nobody else here");
}

static void default_place(void **state)
{
    fixture *f = *state;
    char want[600], *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    const struct { const char *data, *home, *want; } rows[] = {
        {f->dir, "/nowhere", "/o3/o3.db"},
        {"relative", f->dir, "/.local/share/o3/o3.db"}, /* the specification says: ignore it */
        {"", f->dir, "/.local/share/o3/o3.db"},
        {NULL, f->dir, "/.local/share/o3/o3.db"},
        {NULL, NULL, NULL},
        {"", "", NULL},
    };
    data = data ? o3_strdup(data) : NULL;
    home = home ? o3_strdup(home) : NULL;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        rows[i].data ? setenv("XDG_DATA_HOME", rows[i].data, 1) : unsetenv("XDG_DATA_HOME");
        rows[i].home ? setenv("HOME", rows[i].home, 1) : unsetenv("HOME");
        if (!rows[i].want) {
            refuse(i % 2 ? "" : NULL, O3_E_IO, "XDG_DATA_HOME", "HOME");
            continue;
        }
        o3_store *store = open_store(i % 2 ? "" : NULL, NULL);
        O3_FORMAT(want, "%s%s", f->dir, rows[i].want);
        assert_string_equal(o3_store_path(store), want);
        o3_store_close(store);
    }
    data ? setenv("XDG_DATA_HOME", data, 1) : unsetenv("XDG_DATA_HOME");
    home ? setenv("HOME", home, 1) : unsetenv("HOME");
    free(data);
    free(home);
}

/* Writes until it fails; what was accepted before is there afterwards, and the store goes on when there is room. */
static int fill_up(o3_store *store, o3_trial *trial, char id[40], o3_err *err)
{
    o3_run_key key = {.model = "full"};
    int written = 0;
    o3_status status = o3_store_run_begin(store, &key, NULL, id, err);
    while (status == O3_OK && written < 100000) {
        trial->id = 0;
        status = o3_store_trial_begin(store, id, trial, err);
        for (int i = 0; i < O3_SAMPLES_MAX && status == O3_OK; i++) {
            status = o3_store_sample(store, trial, &(o3_sample){.text_seed = (uint64_t)i}, err);
            written += status == O3_OK;
        }
        if (status == O3_OK)
            status = o3_store_trial_end(store, trial, err);
    }
    return written;
}

static void no_more_pages(void **state)
{
    fixture *f = *state;
    o3_auto(free) o3_trial *trial = o3_alloc(1, sizeof(*trial));
    o3_store *store = open_store(f->path, NULL);
    o3_err err = {0};
    char id[40];
    ok(store_exec(store, "PRAGMA max_page_count=30", "limit", &err), &err);
    int written = fill_up(store, trial, id, &err);
    assert_true(written > 50 && written < 100000);
    assert_int_equal(err.status, O3_E_IO);
    assert_non_null(strstr(err.message, f->path));
    assert_non_null(strstr(err.message, "disk is full"));
    assert_non_null(strstr(err.message, "free some space"));
    assert_int_equal(count_rows(store, "sample"), written);
    o3_status ended = o3_store_trial_end(store, trial, &err); /* a transaction: whole or not at all */
    assert_true(ended == O3_OK || ended == O3_E_IO);
    ok(store_exec(store, "PRAGMA max_page_count=1000", "limit", &err), &err);
    ok(o3_store_run_end(store, id, O3_RUN_PARTIAL, "{}", &err), &err);
    o3_store_close(store);
    assert_int_equal(reopen(f->path, 0, 0), 1);
}

/* In a mount namespace of its own, so that nothing is left behind. */
static int full_tmpfs_child(const fixture *f)
{
    char path[600], id[40];
    o3_err err = {0};
    o3_store *store = NULL;
    o3_auto(free) o3_trial *trial = o3_alloc(1, sizeof(*trial));
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("o3-test", f->dir, "tmpfs", 0, "size=1m"))
        return SKIP_STATUS;
    O3_FORMAT(path, "%s/o3.db", f->dir);
    if (o3_store_open(&store, path, NULL, &err))
        return 1;
    int written = fill_up(store, trial, id, &err);
    if (written < 50 || written == 100000 || err.status != O3_E_IO || !strstr(err.message, path))
        return 2;
    fprintf(stderr, "%s\n", err.message);
    o3_store_close(store);
    store = NULL;
    if (o3_store_open(&store, path, NULL, &err) || count_rows(store, "sample") != written)
        return 3;
    o3_store_close(store);
    return 0;
}

static void full_disk(void **state)
{
    in_child(full_tmpfs_child, *state, "no right to mount a small tmpfs (no_more_pages stands in)");
}

/* A second store of the same process on the same file must not drop the locks of the first (POSIX locks do that when
 * any descriptor of the file is closed). */
static void twice_in_one_process(void **state)
{
    fixture *f = *state;
    o3_store *one = open_store(f->path, NULL);
    o3_err err = {0};
    ok(store_exec(one, "BEGIN IMMEDIATE", "lock", &err), &err);
    o3_store_close(NULL);
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *db = NULL;
        sqlite3_open(f->path, &db);
        _exit(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_BUSY ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    ok(store_exec(one, "COMMIT", "lock", &err), &err);
    o3_store *two = open_store(f->path, NULL);
    ok(store_exec(two, "BEGIN IMMEDIATE", "lock", &err), &err);
    sqlite3_busy_timeout(one->db, 50);
    assert_int_equal(store_exec(one, "BEGIN IMMEDIATE", "write", &err), O3_E_IO);
    assert_non_null(strstr(err.message, "another process holds it"));
    ok(store_exec(two, "COMMIT", "lock", &err), &err);
    o3_store_close(two);
    o3_store_close(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_make, fixture_remove)
        TEST(damaged), TEST(truncated), TEST(empty_and_missing), TEST(flipped_bytes), TEST(newer), TEST(aside_twice),
        TEST(other_programs), TEST(bad_places), TEST(read_only), TEST(default_place), TEST(no_more_pages),
        TEST(full_disk), TEST(twice_in_one_process),
    };
    return cmocka_run_group_tests_name("store-place", tests, NULL, NULL);
}
