/* SPDX-License-Identifier: Apache-2.0 */
/* What outlives the runs: documents that can be made again, and predictions beside their measurements. */
#include "store.h"

o3_status o3_store_document_put(o3_store *store, const char *kind, const char *name, const char *json, o3_err *err)
{
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    if (strlen(json) > STORE_DOCUMENT_MAX)
        return o3_fail(err, O3_E_LIMIT, "the %s document of %s has %zu bytes, more than the store takes; this is a bug in "
                       "o3, please report it", kind, name, strlen(json));
    o3_status status = store_prepare(store, &stmt, "INSERT INTO document (kind, name, made_unix_ms, json) VALUES (?1, ?2, "
                                     "?3, ?4) ON CONFLICT (kind, name) DO UPDATE SET made_unix_ms = ?3, json = ?4",
                                     "keep a document", err);
    if (status)
        return status;
    store_bind_text(stmt, 1, kind);
    store_bind_text(stmt, 2, name);
    sqlite3_bind_int64(stmt, 3, o3_unix_ms());
    store_bind_text(stmt, 4, json);
    return store_run(store, stmt, "keep a document", err);
}

o3_status o3_store_document_get(o3_store *store, const char *kind, const char *name, char **ret_json, o3_err *err)
{
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    bool row = false;
    o3_status status = store_prepare(store, &stmt, "SELECT json FROM document WHERE kind = ?1 AND name = ?2",
                                     "read a document", err);
    if (status)
        return status;
    store_bind_text(stmt, 1, kind);
    store_bind_text(stmt, 2, name);
    status = store_next(store, stmt, &row, "read a document", err);
    if (!status)
        *ret_json = row ? o3_strdup((const char *)sqlite3_column_text(stmt, 0)) : NULL;
    return status;
}

o3_status o3_store_forecast_add(o3_store *store, const o3_forecast *forecast, o3_err *err)
{
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    o3_auto(buf) o3_buf sql = O3_BUF(STORE_SQL_MAX);
    o3_buf_str(&sql, "INSERT INTO forecast (");
    store_names(&sql, &store_forecast_table);
    o3_buf_str(&sql, ") VALUES (");
    store_places(&sql, &store_forecast_table, 1);
    o3_buf_str(&sql, ")");
    o3_status status = store_prepare(store, &stmt, o3_buf_text(&sql), "keep a prediction", err);
    if (status)
        return status;
    store_bind(stmt, 1, &store_forecast_table, forecast);
    return store_run(store, stmt, "keep a prediction", err);
}

o3_status o3_store_forecasts(o3_store *store, const char *model,
                             bool (*each)(void *ctx, const o3_forecast *forecast), void *ctx, o3_err *err)
{
    o3_auto(stmt) sqlite3_stmt *stmt = NULL;
    o3_auto(buf) o3_buf sql = O3_BUF(STORE_SQL_MAX);
    o3_buf_str(&sql, "SELECT ");
    store_names(&sql, &store_forecast_table);
    o3_buf_str(&sql, " FROM forecast WHERE ?1 = '' OR model = ?1 ORDER BY seq");
    o3_status status = store_prepare(store, &stmt, o3_buf_text(&sql), "read predictions", err);
    if (status)
        return status;
    store_bind_text(stmt, 1, model ? model : "");
    for (bool row = true, more = true; more;) {
        o3_forecast forecast = {0};
        status = store_next(store, stmt, &row, "read predictions", err);
        if (status || !row)
            return status;
        status = store_read(store, stmt, 0, &store_forecast_table, &forecast, err);
        if (status)
            return status;
        more = each(ctx, &forecast);
    }
    return O3_OK;
}
