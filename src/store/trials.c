/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

/* Texts are made of the column tables; every value is bound. */
static o3_status prepare_buf(o3_store *store, sqlite3_stmt **ret_stmt, o3_buf *sql, const char *doing, o3_err *err)
{
    return store_prepare(store, ret_stmt, o3_buf_text(sql), doing, err);
}

/* INSERT INTO table (<fixed>, columns) VALUES (?1, ... ) with `fixed_count` values before the table's columns. */
static void insert_sql(o3_buf *sql, const store_table *table, const char *fixed, int fixed_count)
{
    o3_buf_printf(sql, "INSERT INTO %s (%s, ", table->name, fixed);
    store_names(sql, table);
    o3_buf_str(sql, ") VALUES (");
    for (int i = 1; i <= fixed_count; i++)
        o3_buf_printf(sql, "?%d, ", i);
    store_places(sql, table, fixed_count + 1);
    o3_buf_str(sql, ")");
}

o3_status o3_store_trial_begin(o3_store *store, const char *run_id, o3_trial *trial, o3_err *err)
{
    o3_auto(buf) o3_buf sql = O3_BUF(STORE_SQL_MAX);
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    insert_sql(&sql, &store_trial_table, "run_id", 1);
    o3_status status = prepare_buf(store, &stmt, &sql, "begin a trial", err);
    if (status != O3_OK)
        return status;
    if (trial->started_unix_ms <= 0)
        trial->started_unix_ms = o3_unix_ms();
    store_bind_text(stmt, 1, run_id);
    store_bind(stmt, 2, &store_trial_table, trial);
    status = store_run(store, stmt, "begin a trial", err);
    if (status == O3_OK)
        trial->id = sqlite3_last_insert_rowid(store->db);
    return status;
}

static o3_status count_samples(o3_store *store, int64_t trial_id, int64_t *ret_count, o3_err *err)
{
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    bool row = false;
    o3_status status = store_prepare(store, &stmt, "SELECT COUNT(*) FROM sample WHERE trial_id = ?1", "read samples",
                                     err);
    if (status != O3_OK)
        return status;
    sqlite3_bind_int64(stmt, 1, trial_id);
    status = store_next(store, stmt, &row, "read samples", err);
    if (status == O3_OK)
        *ret_count = sqlite3_column_int64(stmt, 0);
    return status;
}

/* One statement outside of a transaction is one commit. */
o3_status o3_store_sample(o3_store *store, const o3_trial *trial, const o3_sample *sample, o3_err *err)
{
    o3_auto(buf) o3_buf sql = O3_BUF(STORE_SQL_MAX);
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    int64_t count = 0;
    o3_status status = count_samples(store, trial->id, &count, err);
    if (status == O3_OK && count >= O3_SAMPLES_MAX)
        return o3_fail(err, O3_E_LIMIT, "a trial keeps at most %d samples", O3_SAMPLES_MAX);
    insert_sql(&sql, &store_sample_table, "trial_id, number", 2);
    if (status == O3_OK)
        status = prepare_buf(store, &stmt, &sql, "write a sample", err);
    if (status != O3_OK)
        return status;
    sqlite3_bind_int64(stmt, 1, trial->id);
    sqlite3_bind_int64(stmt, 2, count);
    store_bind(stmt, 3, &store_sample_table, sample);
    return store_run(store, stmt, "write a sample", err);
}

/* Binds and runs for each element: ?1 = trial, ?2 = number, then the table's columns. */
static o3_status write_each(o3_store *store, o3_buf *sql, const store_table *table, int64_t trial_id,
                            const void *elements, size_t element_size, int count, o3_err *err)
{
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    o3_status status = prepare_buf(store, &stmt, sql, "end a trial", err);
    for (int i = 0; i < count && status == O3_OK; i++) {
        sqlite3_bind_int64(stmt, 1, trial_id);
        sqlite3_bind_int(stmt, 2, i);
        store_bind(stmt, 3, table, (const char *)elements + (size_t)i * element_size);
        status = store_run(store, stmt, "end a trial", err);
        sqlite3_reset(stmt);
    }
    return status;
}

static o3_status update_trial(o3_store *store, const o3_trial *trial, o3_err *err)
{
    o3_auto(buf) o3_buf sql = O3_BUF(STORE_SQL_MAX);
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    o3_buf_str(&sql, "UPDATE trial SET ");
    store_assignments(&sql, &store_trial_table, 2);
    o3_buf_str(&sql, " WHERE id = ?1");
    o3_status status = prepare_buf(store, &stmt, &sql, "end a trial", err);
    if (status != O3_OK)
        return status;
    sqlite3_bind_int64(stmt, 1, trial->id);
    store_bind(stmt, 2, &store_trial_table, trial);
    status = store_run(store, stmt, "end a trial", err);
    if (status == O3_OK && sqlite3_changes(store->db) == 0)
        status = o3_fail(err, O3_E_INTERNAL, "the trial %lld was never begun in %s", (long long)trial->id, store->path);
    return status;
}

/* Marks (outlier, disturbed) are known only at the end: samples already stored get them by their order, and a sample
 * that was not stored yet is added. */
static o3_status write_parts(o3_store *store, const o3_trial *trial, o3_err *err)
{
    o3_auto(buf) o3_buf peaks = O3_BUF(STORE_SQL_MAX);
    o3_auto(buf) o3_buf samples = O3_BUF(STORE_SQL_MAX);
    insert_sql(&peaks, &store_peak_table, "trial_id, number", 2);
    o3_buf_str(&peaks, " ON CONFLICT (trial_id, number) DO UPDATE SET pool = excluded.pool, bytes = excluded.bytes, "
                       "runner_bytes = excluded.runner_bytes");
    insert_sql(&samples, &store_sample_table, "trial_id, number", 2);
    o3_buf_str(&samples, " ON CONFLICT (trial_id, number) DO UPDATE SET disturbed = excluded.disturbed, "
                         "warmup = excluded.warmup, outlier = excluded.outlier");
    o3_status status = write_each(store, &peaks, &store_peak_table, trial->id, trial->peaks.pools,
                                  sizeof(trial->peaks.pools[0]), trial->peaks.count, err);
    if (status == O3_OK)
        status = write_each(store, &samples, &store_sample_table, trial->id, trial->samples,
                            sizeof(trial->samples[0]), trial->sample_count, err);
    return status;
}

o3_status o3_store_trial_end(o3_store *store, const o3_trial *trial, o3_err *err)
{
    o3_status status = store_exec(store, "BEGIN IMMEDIATE", "end a trial", err);
    if (status == O3_OK)
        status = update_trial(store, trial, err);
    if (status == O3_OK)
        status = write_parts(store, trial, err);
    if (status == O3_OK)
        status = store_exec(store, "COMMIT", "end a trial", err);
    store_rollback(store);
    return status;
}

/* Rows of a part of a trial, in order, at most `max`: *ret_count of them. */
static o3_status read_each(o3_store *store, const store_table *table, int64_t trial_id, void *elements,
                           size_t element_size, int max, int *ret_count, o3_err *err)
{
    o3_auto(buf) o3_buf sql = O3_BUF(STORE_SQL_MAX);
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    bool row = true;
    o3_buf_str(&sql, "SELECT ");
    store_names(&sql, table);
    o3_buf_printf(&sql, " FROM %s WHERE trial_id = ?1 ORDER BY number LIMIT %d", table->name, max);
    o3_status status = prepare_buf(store, &stmt, &sql, "read a trial", err);
    if (status != O3_OK)
        return status;
    sqlite3_bind_int64(stmt, 1, trial_id);
    for (*ret_count = 0; status == O3_OK;) {
        status = store_next(store, stmt, &row, "read a trial", err);
        if (status != O3_OK || !row)
            break;
        status = store_read(store, stmt, 0, table, (char *)elements + (size_t)*ret_count * element_size, err);
        (*ret_count)++;
    }
    return status;
}

/* From the row that stmt stands on: id, then the trial's columns. */
static o3_status read_trial(o3_store *store, sqlite3_stmt *stmt, o3_trial *trial, o3_err *err)
{
    *trial = (o3_trial){.id = sqlite3_column_int64(stmt, 0)};
    o3_status status = store_read(store, stmt, 1, &store_trial_table, trial, err);
    if (status == O3_OK)
        status = read_each(store, &store_sample_table, trial->id, trial->samples, sizeof(trial->samples[0]),
                           O3_SAMPLES_MAX, &trial->sample_count, err);
    if (status == O3_OK)
        status = read_each(store, &store_peak_table, trial->id, trial->peaks.pools, sizeof(trial->peaks.pools[0]),
                           O3_POOLS_MAX, &trial->peaks.count, err);
    return status;
}

static void select_sql(o3_buf *sql, const char *where)
{
    o3_buf_str(sql, "SELECT id, ");
    store_names(sql, &store_trial_table);
    o3_buf_printf(sql, " FROM trial WHERE run_id = ?1 AND %s LIMIT 1", where);
}

o3_status o3_store_trial_find(o3_store *store, const char *run_id, const char *purpose, const o3_knobs *knobs,
                              o3_trial *ret_trial, bool *ret_found, o3_err *err)
{
    o3_auto(buf) o3_buf where = O3_BUF(STORE_SQL_MAX);
    o3_auto(buf) o3_buf sql = O3_BUF(STORE_SQL_MAX);
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    bool row = false;
    o3_buf_printf(&where, "purpose = ?2 AND outcome NOT IN ('%s', '%s')", o3_outcome_name(O3_OUTCOME_NONE),
                  o3_outcome_name(O3_OUTCOME_CANCELLED));
    int at = 3;
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++) /* IS: NULL equals NULL */
        o3_buf_printf(&where, " AND asked_%s IS ?%d", field->name, at++);
    o3_buf_str(&where, " ORDER BY id DESC");
    select_sql(&sql, o3_buf_text(&where));
    o3_status status = prepare_buf(store, &stmt, &sql, "find a trial", err);
    if (status != O3_OK)
        return status;
    store_bind_text(stmt, 1, run_id);
    store_bind_text(stmt, 2, purpose);
    at = 3;
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++, at++)
        if (o3_knob_get(knobs, field) != O3_UNSET)
            sqlite3_bind_int(stmt, at, o3_knob_get(knobs, field));
    status = store_next(store, stmt, &row, "find a trial", err);
    o3_auto(free) o3_trial *trial = o3_alloc(1, sizeof(*trial));
    if (status == O3_OK && row)
        status = read_trial(store, stmt, trial, err);
    if (status != O3_OK)
        return status;
    if (row)
        *ret_trial = *trial;
    *ret_found = row;
    return O3_OK;
}

/* A statement for each trial, none kept open across the call: `each` may write, and a write inside an old read would
 * fail at once when another process had written in between. */
o3_status o3_store_trials(o3_store *store, const char *run_id, bool (*each)(void *ctx, const o3_trial *trial),
                          void *ctx, o3_err *err)
{
    o3_auto(buf) o3_buf sql = O3_BUF(STORE_SQL_MAX);
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    o3_auto(free) o3_trial *trial = o3_alloc(1, sizeof(*trial));
    int64_t after = 0;
    select_sql(&sql, "id > ?2 ORDER BY id");
    o3_status status = prepare_buf(store, &stmt, &sql, "read the trials", err);
    for (bool row = true; status == O3_OK;) {
        store_bind_text(stmt, 1, run_id);
        sqlite3_bind_int64(stmt, 2, after);
        status = store_next(store, stmt, &row, "read the trials", err);
        if (status == O3_OK && row)
            status = read_trial(store, stmt, trial, err);
        sqlite3_reset(stmt);
        after = trial->id;
        if (status != O3_OK || !row || !each(ctx, trial))
            break;
    }
    return status;
}
