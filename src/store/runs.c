/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

static const char *const states[] = {
    [O3_RUN_OPEN] = "open",
    [O3_RUN_COMPLETE] = "complete",
    [O3_RUN_PARTIAL] = "partial",
};

/* The parts that make two runs comparable, in the order in which they are bound. */
#define KEY_COLUMNS "model, model_digest, hardware, engine_version, engine_env, request"
#define KEY_EQUAL                                                                              \
    "model = ?1 AND model_digest = ?2 AND hardware = ?3 AND engine_version = ?4 AND engine_env = ?5 AND request = ?6"
#define KEY_PARTS 6

static void bind_key(sqlite3_stmt *stmt, const o3_run_key *key)
{
    const char *const parts[KEY_PARTS] = {key->model,          key->model_digest, key->hardware,
                                          key->engine_version, key->engine_env,   key->request};
    for (int i = 0; i < KEY_PARTS; i++)
        store_bind_text(stmt, i + 1, parts[i]);
}

static o3_status read_state(o3_store *store, sqlite3_stmt *stmt, int column, o3_run_state *ret_state, o3_err *err)
{
    char name[32];
    STORE_TEXT_OF(stmt, column, name);
    for (int i = 0; i < O3_COUNT(states); i++) {
        if (!strcmp(states[i], name)) {
            *ret_state = (o3_run_state)i;
            return O3_OK;
        }
    }
    return o3_fail(err, O3_E_IO, "%s holds a run in the state '%s', which this o3 does not know: use a newer o3",
                   store->path, name);
}

o3_status o3_store_run_find(o3_store *store, const o3_run_key *key, char ret_id[40], o3_run_state *ret_state,
                            o3_err *err)
{
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    o3_run_state state = O3_RUN_OPEN;
    bool row = false;
    o3_status status = store_prepare(store, &stmt, "SELECT id, state FROM run WHERE key_unknown = 0 AND " KEY_EQUAL
                                     " ORDER BY seq DESC LIMIT 1", "find a run", err);
    if (status != O3_OK)
        return status;
    bind_key(stmt, key);
    if (!key->unknown)
        status = store_next(store, stmt, &row, "find a run", err);
    if (status == O3_OK && row)
        status = read_state(store, stmt, 1, &state, err);
    if (status != O3_OK)
        return status;
    o3_copy(ret_id, 40, row ? (const char *)sqlite3_column_text(stmt, 0) : "");
    *ret_state = state;
    return O3_OK;
}

static o3_status check_document(const char *json, o3_err *err)
{
    if (json && strnlen(json, STORE_DOCUMENT_MAX + 1) > STORE_DOCUMENT_MAX)
        return o3_fail(err, O3_E_LIMIT, "a document of more than %d bytes is not stored", STORE_DOCUMENT_MAX);
    return O3_OK;
}

o3_status o3_store_run_begin(o3_store *store, const o3_run_key *key, const char *prediction_json, char ret_id[40],
                             o3_err *err)
{
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    unsigned char random[16];
    char id[40] = "";
    o3_status status = check_document(prediction_json, err);
    if (status == O3_OK)
        status = store_prepare(store, &stmt, "INSERT INTO run (" KEY_COLUMNS ", key_unknown, id, state, "
                               "started_unix_ms, prediction_json) "
                               "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)", "begin a run", err);
    if (status != O3_OK)
        return status;
    /* 128 random bits: runs of many machines can meet in one database. */
    sqlite3_randomness(sizeof(random), random);
    for (size_t i = 0; i < sizeof(random); i++)
        o3_format(id + 2 * i, sizeof(id) - 2 * i, "%02x", random[i]);
    bind_key(stmt, key);
    sqlite3_bind_int(stmt, KEY_PARTS + 1, key->unknown);
    store_bind_text(stmt, KEY_PARTS + 2, id);
    store_bind_text(stmt, KEY_PARTS + 3, states[O3_RUN_OPEN]);
    sqlite3_bind_int64(stmt, KEY_PARTS + 4, o3_unix_ms());
    store_bind_text(stmt, KEY_PARTS + 5, prediction_json);
    status = store_run(store, stmt, "begin a run", err);
    if (status == O3_OK)
        o3_copy(ret_id, 40, id);
    return status;
}

o3_status o3_store_run_end(o3_store *store, const char *run_id, o3_run_state state, const char *result_json,
                           o3_err *err)
{
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    if (state != O3_RUN_COMPLETE && state != O3_RUN_PARTIAL)
        return o3_fail(err, O3_E_INTERNAL, "the run %s cannot end in the state %d", run_id, (int)state);
    o3_status status = check_document(result_json, err);
    /* A resumed run that ends without a document keeps the one it had. */
    if (status == O3_OK)
        status = store_prepare(store, &stmt, "UPDATE run SET state = ?2, ended_unix_ms = ?3, "
                               "result_json = COALESCE(?4, result_json) WHERE id = ?1", "end a run", err);
    if (status != O3_OK)
        return status;
    store_bind_text(stmt, 1, run_id);
    store_bind_text(stmt, 2, states[state]);
    sqlite3_bind_int64(stmt, 3, o3_unix_ms());
    store_bind_text(stmt, 4, result_json);
    status = store_run(store, stmt, "end a run", err);
    if (status == O3_OK && sqlite3_changes(store->db) == 0)
        status = o3_fail(err, O3_E_NOT_FOUND, "no run '%s' in %s: 'o3 history' lists them", run_id, store->path);
    return status;
}

static o3_status no_result(o3_store *store, const char *model, const char *run_id, bool known, o3_err *err)
{
    if (known)
        return o3_fail(err, O3_E_NOT_FOUND, "the run %s of '%s' ended without a result: run 'o3 optimize %s' to go on",
                       run_id, model, model);
    if (run_id)
        return o3_fail(err, O3_E_NOT_FOUND, "no run '%s' in %s: 'o3 history' lists them", run_id, store->path);
    if (model[0])
        return o3_fail(err, O3_E_NOT_FOUND, "no result for '%s' in %s: run 'o3 optimize %s' first", model, store->path,
                       model);
    return o3_fail(err, O3_E_NOT_FOUND, "no result in %s yet: run 'o3 optimize MODEL' first", store->path);
}

o3_status o3_store_result(o3_store *store, const char *model, const char *run_id, char **ret_json, o3_err *err)
{
    static const char by_run[] = "SELECT result_json, model FROM run WHERE id = ?1";
    static const char by_model[] = "SELECT result_json, model FROM run WHERE (?1 = '' OR model = ?1) AND "
                                   "result_json IS NOT NULL AND ended_unix_ms IS NOT NULL "
                                   /* what was proven outranks a later look or an interrupted try */
                                   "ORDER BY CASE WHEN json_valid(result_json) THEN "
                                   "coalesce(json_extract(result_json, '$.complete'), 0) ELSE 0 END DESC, "
                                   "ended_unix_ms DESC, seq DESC LIMIT 1";
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    char name[O3_NAME_MAX];
    bool row = false;
    const char *wanted_run = run_id && run_id[0] ? run_id : NULL, *wanted_model = model ? model : "";
    o3_status status = store_prepare(store, &stmt, wanted_run ? by_run : by_model, "find a result", err);
    if (status != O3_OK)
        return status;
    store_bind_text(stmt, 1, wanted_run ? wanted_run : wanted_model);
    status = store_next(store, stmt, &row, "find a result", err);
    if (status != O3_OK)
        return status;
    const char *json = row ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    O3_COPY(name, wanted_model);
    if (row)
        STORE_TEXT_OF(stmt, 1, name);
    if (!json)
        return no_result(store, name, wanted_run, row, err);
    *ret_json = o3_strdup(json);
    return O3_OK;
}

static o3_status read_run(o3_store *store, sqlite3_stmt *stmt, o3_run_row *row, o3_err *err)
{
    *row = (o3_run_row){.trials = sqlite3_column_int(stmt, 7), .proven_tokens = -1};
    STORE_TEXT_OF(stmt, 0, row->id);
    STORE_TEXT_OF(stmt, 1, row->model);
    STORE_TEXT_OF(stmt, 2, row->model_digest);
    STORE_TEXT_OF(stmt, 3, row->engine_version);
    row->started_unix_ms = store_i64(stmt, 4, -1);
    row->ended_unix_ms = store_i64(stmt, 5, -1);
    if (sqlite3_column_type(stmt, 8) == SQLITE_INTEGER)
        row->proven_tokens = sqlite3_column_int64(stmt, 8);
    return read_state(store, stmt, 6, &row->state, err);
}

o3_status o3_store_runs(o3_store *store, const char *model, o3_run_row *rows, int rows_max, int *ret_count,
                        o3_err *err)
{
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    bool row = true;
    int count = 0;
    o3_status status = store_prepare(store, &stmt,
        "SELECT id, model, model_digest, engine_version, started_unix_ms, ended_unix_ms, state,"
        " (SELECT COUNT(*) FROM trial WHERE trial.run_id = run.id),"
        " CASE WHEN json_valid(result_json) THEN json_extract(result_json, '$.ceiling.proven_tokens') END"
        " FROM run WHERE ?1 = '' OR model = ?1 ORDER BY seq DESC", "list the runs", err);
    if (status != O3_OK)
        return status;
    store_bind_text(stmt, 1, model ? model : "");
    while (status == O3_OK && row && count < rows_max) {
        status = store_next(store, stmt, &row, "list the runs", err);
        if (status == O3_OK && row)
            status = read_run(store, stmt, &rows[count++], err);
    }
    if (status == O3_OK)
        *ret_count = count;
    return status;
}
