/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

/* Fails to compile when the field's type is not `c_type`. */
#define FIELD(owner, column, field, kind, c_type)                                                     \
    {.name = (column), .type = (kind), .size = sizeof(((owner *)0)->field),                           \
     .offset = offsetof(owner, field) * sizeof(char[_Generic(&((owner *)0)->field, __typeof__(c_type) *: 1)])}

#define KNOBS(prefix, field)                                                                          \
    FIELD(o3_trial, prefix "_num_ctx", field.num_ctx, STORE_KNOB, int32_t),                           \
    FIELD(o3_trial, prefix "_num_batch", field.num_batch, STORE_KNOB, int32_t),                       \
    FIELD(o3_trial, prefix "_num_gpu", field.num_gpu, STORE_KNOB, int32_t),                           \
    FIELD(o3_trial, prefix "_num_thread", field.num_thread, STORE_KNOB, int32_t),                     \
    FIELD(o3_trial, prefix "_use_mmap", field.use_mmap, STORE_KNOB, int32_t)

static const store_column trial_columns[] = {
    FIELD(o3_trial, "purpose", purpose, STORE_TEXT, char[O3_PURPOSE_MAX]),
    KNOBS("asked", asked),
    KNOBS("in_force", in_force),
    FIELD(o3_trial, "size_bytes", size_bytes, STORE_I64, int64_t),
    FIELD(o3_trial, "size_vram_bytes", size_vram_bytes, STORE_I64, int64_t),
    FIELD(o3_trial, "predicted_bytes", predicted_bytes, STORE_I64, int64_t),
    FIELD(o3_trial, "outcome", outcome, STORE_OUTCOME, o3_outcome),
    FIELD(o3_trial, "reason", reason, STORE_TEXT, char[O3_TEXT_MAX]),
    FIELD(o3_trial, "started_unix_ms", started_unix_ms, STORE_I64, int64_t),
    FIELD(o3_trial, "wall_ns", wall_ns, STORE_I64, int64_t),
    FIELD(o3_trial, "loads", loads, STORE_I32, int32_t),
    FIELD(o3_trial, "fills", fills, STORE_I32, int32_t),
    FIELD(o3_trial, "requests", requests, STORE_I32, int32_t),
    FIELD(o3_trial, "depth_tokens", depth_tokens, STORE_I64, int64_t),
    FIELD(o3_trial, "peak_temperature_c", peaks.temperature_c, STORE_REAL, double),
    FIELD(o3_trial, "peak_cpu_frac", peaks.cpu_frac, STORE_REAL, double),
};

static const store_column sample_columns[] = {
    FIELD(o3_sample, "kind", kind, STORE_SAMPLE_KIND, o3_sample_kind),
    FIELD(o3_sample, "outcome", outcome, STORE_OUTCOME, o3_outcome),
    FIELD(o3_sample, "text_seed", text_seed, STORE_SEED, uint64_t),
    FIELD(o3_sample, "sent_tokens", sent_tokens, STORE_I64, int64_t),
    FIELD(o3_sample, "prompt_tokens", prompt_tokens, STORE_I64, int64_t),
    FIELD(o3_sample, "added_tokens", added_tokens, STORE_I64, int64_t),
    FIELD(o3_sample, "eval_tokens", eval_tokens, STORE_I64, int64_t),
    FIELD(o3_sample, "prompt_eval_ns", prompt_eval_ns, STORE_I64, int64_t),
    FIELD(o3_sample, "eval_ns", eval_ns, STORE_I64, int64_t),
    FIELD(o3_sample, "load_ns", load_ns, STORE_I64, int64_t),
    FIELD(o3_sample, "ttft_ns", ttft_ns, STORE_I64, int64_t),
    FIELD(o3_sample, "wall_ns", wall_ns, STORE_I64, int64_t),
    FIELD(o3_sample, "prefill_tokens_per_s", prefill_per_s, STORE_REAL, double),
    FIELD(o3_sample, "decode_tokens_per_s", decode_per_s, STORE_REAL, double),
    FIELD(o3_sample, "depth_tokens", depth_tokens, STORE_I64, int64_t),
    FIELD(o3_sample, "foreign_cpu_frac", foreign_cpu_frac, STORE_REAL, double),
    FIELD(o3_sample, "psi_memory_frac", psi_memory_frac, STORE_REAL, double),
    FIELD(o3_sample, "disturbed", disturbed, STORE_BOOL, bool),
    FIELD(o3_sample, "warmup", warmup, STORE_BOOL, bool),
    FIELD(o3_sample, "outlier", outlier, STORE_BOOL, bool),
    FIELD(o3_sample, "throttled", throttled, STORE_BOOL, bool),
};

static const store_column peak_columns[] = {
    FIELD(o3_peak, "pool", pool, STORE_TEXT, char[64]),
    FIELD(o3_peak, "bytes", bytes, STORE_I64, int64_t),
    FIELD(o3_peak, "runner_bytes", runner_bytes, STORE_I64, int64_t),
};

static const store_column forecast_columns[] = {
    FIELD(o3_forecast, "model", model, STORE_TEXT, char[O3_NAME_MAX]),
    FIELD(o3_forecast, "model_digest", model_digest, STORE_TEXT, char[80]),
    FIELD(o3_forecast, "hardware", hardware, STORE_TEXT, char[80]),
    FIELD(o3_forecast, "engine_version", engine_version, STORE_TEXT, char[32]),
    FIELD(o3_forecast, "quantity", quantity, STORE_TEXT, char[24]),
    FIELD(o3_forecast, "num_ctx", knobs.num_ctx, STORE_KNOB, int32_t),
    FIELD(o3_forecast, "num_batch", knobs.num_batch, STORE_KNOB, int32_t),
    FIELD(o3_forecast, "num_gpu", knobs.num_gpu, STORE_KNOB, int32_t),
    FIELD(o3_forecast, "num_thread", knobs.num_thread, STORE_KNOB, int32_t),
    FIELD(o3_forecast, "use_mmap", knobs.use_mmap, STORE_KNOB, int32_t),
    FIELD(o3_forecast, "parallel", parallel, STORE_I32, int32_t),
    FIELD(o3_forecast, "depth_tokens", depth_tokens, STORE_I64, int64_t),
    FIELD(o3_forecast, "low", predicted.low, STORE_REAL, double),
    FIELD(o3_forecast, "mid", predicted.mid, STORE_REAL, double),
    FIELD(o3_forecast, "high", predicted.high, STORE_REAL, double),
    FIELD(o3_forecast, "measured", measured, STORE_REAL, double),
    FIELD(o3_forecast, "learned_from", learned_from, STORE_I32, int32_t),
    FIELD(o3_forecast, "measured_unix_ms", measured_unix_ms, STORE_I64, int64_t),
};

const store_table store_trial_table = {.name = "trial", .columns = trial_columns, .count = O3_COUNT(trial_columns)};
const store_table store_sample_table = {.name = "sample", .columns = sample_columns, .count = O3_COUNT(sample_columns)};
const store_table store_forecast_table = {.name = "forecast", .columns = forecast_columns,
                                          .count = O3_COUNT(forecast_columns)};
const store_table store_peak_table = {.name = "peak", .columns = peak_columns, .count = O3_COUNT(peak_columns)};

void store_names(o3_buf *sql, const store_table *table)
{
    for (int i = 0; i < table->count; i++)
        o3_buf_printf(sql, "%s%s", i ? ", " : "", table->columns[i].name);
}

void store_places(o3_buf *sql, const store_table *table, int first)
{
    for (int i = 0; i < table->count; i++)
        o3_buf_printf(sql, "%s?%d", i ? ", " : "", first + i);
}

void store_assignments(o3_buf *sql, const store_table *table, int first)
{
    for (int i = 0; i < table->count; i++)
        o3_buf_printf(sql, "%s%s = ?%d", i ? ", " : "", table->columns[i].name, first + i);
}

void store_bind_text(sqlite3_stmt *stmt, int at, const char *text)
{
    sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC);
}

static void bind_integer(sqlite3_stmt *stmt, int at, int64_t value, int64_t missing)
{
    if (value == missing)
        sqlite3_bind_null(stmt, at);
    else
        sqlite3_bind_int64(stmt, at, value);
}

static void bind_field(sqlite3_stmt *stmt, int at, store_type type, const void *field)
{
    switch (type) {
    case STORE_TEXT:
        store_bind_text(stmt, at, field);
        break;
    case STORE_I64:
        bind_integer(stmt, at, *(const int64_t *)field, -1);
        break;
    case STORE_I32:
        bind_integer(stmt, at, *(const int32_t *)field, -1);
        break;
    case STORE_KNOB:
        bind_integer(stmt, at, *(const int32_t *)field, O3_UNSET);
        break;
    case STORE_SEED:
        sqlite3_bind_int64(stmt, at, (int64_t)*(const uint64_t *)field);
        break;
    case STORE_REAL:
        sqlite3_bind_double(stmt, at, *(const double *)field); /* SQLite makes NULL of NaN */
        break;
    case STORE_BOOL:
        sqlite3_bind_int(stmt, at, *(const bool *)field);
        break;
    case STORE_OUTCOME:
        store_bind_text(stmt, at, o3_outcome_name(*(const o3_outcome *)field));
        break;
    case STORE_SAMPLE_KIND:
        store_bind_text(stmt, at, o3_sample_kind_name(*(const o3_sample_kind *)field));
        break;
    }
}

void store_bind(sqlite3_stmt *stmt, int first, const store_table *table, const void *object)
{
    for (int i = 0; i < table->count; i++)
        bind_field(stmt, first + i, table->columns[i].type, (const char *)object + table->columns[i].offset);
}

int64_t store_i64(sqlite3_stmt *stmt, int column, int64_t missing)
{
    return sqlite3_column_type(stmt, column) == SQLITE_NULL ? missing : sqlite3_column_int64(stmt, column);
}

void store_text(sqlite3_stmt *stmt, int column, char *dst, size_t dst_size)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    o3_copy(dst, dst_size, text ? text : "");
}

static bool read_field(sqlite3_stmt *stmt, int at, const store_column *column, void *field)
{
    const char *name;
    switch (column->type) {
    case STORE_TEXT:
        store_text(stmt, at, field, column->size);
        return true;
    case STORE_I64:
        *(int64_t *)field = store_i64(stmt, at, -1);
        return true;
    case STORE_I32:
        *(int32_t *)field = (int32_t)store_i64(stmt, at, -1);
        return true;
    case STORE_KNOB:
        *(int32_t *)field = (int32_t)store_i64(stmt, at, O3_UNSET);
        return true;
    case STORE_SEED:
        *(uint64_t *)field = (uint64_t)sqlite3_column_int64(stmt, at);
        return true;
    case STORE_REAL:
        *(double *)field = sqlite3_column_type(stmt, at) == SQLITE_NULL ? NAN : sqlite3_column_double(stmt, at);
        return true;
    case STORE_BOOL:
        *(bool *)field = sqlite3_column_int(stmt, at) != 0;
        return true;
    case STORE_OUTCOME:
        name = (const char *)sqlite3_column_text(stmt, at);
        return name && o3_outcome_parse(name, field);
    case STORE_SAMPLE_KIND:
        name = (const char *)sqlite3_column_text(stmt, at);
        return name && o3_sample_kind_parse(name, field);
    }
    return false;
}

o3_status store_read(o3_store *store, sqlite3_stmt *stmt, int first, const store_table *table, void *object,
                     o3_err *err)
{
    for (int i = 0; i < table->count; i++) {
        const store_column *column = &table->columns[i];
        char value[64];
        if (read_field(stmt, first + i, column, (char *)object + column->offset))
            continue;
        STORE_TEXT_OF(stmt, first + i, value);
        return o3_fail(err, O3_E_IO, "%s holds a %s whose %s is '%s', which this o3 does not know: use a newer o3",
                       store->path, table->name, column->name, value);
    }
    return O3_OK;
}
