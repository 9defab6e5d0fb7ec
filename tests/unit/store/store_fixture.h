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

/* Every field differs from its neighbours and from 0; what may be missing is missing in odd samples. */
static inline o3_sample sample_of(int i)
{
    bool odd = i % 2;
    return (o3_sample){
        .kind = (o3_sample_kind)(i % 3), .outcome = (o3_outcome)(i % (O3_OUTCOME_ERROR + 1)),
        .text_seed = UINT64_MAX - (uint64_t)i, .sent_tokens = odd ? -1 : 1000 + i, .prompt_tokens = odd ? -1 : 0,
        .added_tokens = odd ? -1 : 3000 + i, .eval_tokens = odd ? -1 : INT64_C(4000000000000) + i,
        .prompt_eval_ns = odd ? -1 : 5000 + i, .eval_ns = odd ? -1 : 6000 + i, .load_ns = odd ? -1 : 7000 + i,
        .ttft_ns = odd ? -1 : 8000 + i, .wall_ns = odd ? -1 : 9000 + i, .prefill_per_s = odd ? NAN : 1e3 / 3 + i,
        .decode_per_s = odd ? NAN : 1.0 / 3 + i, .depth_tokens = odd ? -1 : 10000 + i,
        .foreign_cpu_frac = odd ? NAN : 0.1 * i, .psi_memory_frac = odd ? NAN : 0, .disturbed = i % 5 == 0, .throttled = i % 10 == 0,
        .warmup = i == 0, .outlier = i % 7 == 0,
    };
}

static inline void fill_trial(o3_trial *trial, int samples)
{
    *trial = (o3_trial){
        .purpose = "proof-1", .asked = {8192, -1, O3_UNSET, 12, 0}, .in_force = {4096, 512, 0, O3_UNSET, 1},
        .size_bytes = INT64_C(9000000000), .size_vram_bytes = -1, .predicted_bytes = 0, .outcome = O3_OUTCOME_CLAMPED,
        .reason = "asked 8192, got \"4096\" – it's /api/ps: ünder", .started_unix_ms = 1760000000123,
        .wall_ns = 123456789012, .loads = 2, .fills = 0, .requests = 9, .depth_tokens = -1,
        .peaks = {.count = 3, .temperature_c = NAN, .cpu_frac = 0.875,
                  .pools = {{"vram:NVIDIA \"X\"", 1, 2}, {"ram:/sys/fs/cgroup/a b", -1, -1}, {"ünified", 0, -1}}},
        .sample_count = samples,
    };
    for (int i = 0; i < samples; i++)
        trial->samples[i] = sample_of(i);
}

static inline void same_double(double a, double b)
{
    assert_true((isnan(a) && isnan(b)) || (a >= b && a <= b));
}

static inline void same_sample(const o3_sample *a, const o3_sample *b)
{
    o3_sample x = *a, y = *b;
    same_double(a->prefill_per_s, b->prefill_per_s);
    same_double(a->decode_per_s, b->decode_per_s);
    same_double(a->foreign_cpu_frac, b->foreign_cpu_frac);
    same_double(a->psi_memory_frac, b->psi_memory_frac);
    x.prefill_per_s = y.prefill_per_s = x.decode_per_s = y.decode_per_s = 0;
    x.foreign_cpu_frac = y.foreign_cpu_frac = x.psi_memory_frac = y.psi_memory_frac = 0;
    assert_memory_equal(&x, &y, offsetof(o3_sample, outlier) + sizeof(x.outlier));
}

static inline void same_trial(const o3_trial *a, const o3_trial *b)
{
    assert_string_equal(a->purpose, b->purpose);
    assert_true(o3_knobs_equal(&a->asked, &b->asked) && o3_knobs_equal(&a->in_force, &b->in_force));
    assert_true(a->size_bytes == b->size_bytes && a->size_vram_bytes == b->size_vram_bytes);
    assert_true(a->predicted_bytes == b->predicted_bytes && a->outcome == b->outcome);
    assert_string_equal(a->reason, b->reason);
    assert_true(a->started_unix_ms == b->started_unix_ms && a->wall_ns == b->wall_ns);
    assert_true(a->loads == b->loads && a->fills == b->fills && a->requests == b->requests);
    assert_true(a->depth_tokens == b->depth_tokens && a->peaks.count == b->peaks.count);
    same_double(a->peaks.temperature_c, b->peaks.temperature_c);
    same_double(a->peaks.cpu_frac, b->peaks.cpu_frac);
    for (int i = 0; i < a->peaks.count; i++) {
        assert_string_equal(a->peaks.pools[i].pool, b->peaks.pools[i].pool);
        assert_true(a->peaks.pools[i].bytes == b->peaks.pools[i].bytes);
        assert_true(a->peaks.pools[i].runner_bytes == b->peaks.pools[i].runner_bytes);
    }
    assert_int_equal(a->sample_count, b->sample_count);
    for (int i = 0; i < a->sample_count; i++)
        same_sample(&a->samples[i], &b->samples[i]);
}

#endif
