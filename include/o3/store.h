/* SPDX-License-Identifier: Apache-2.0 */
/* store: remembers. SQLite at $XDG_DATA_HOME/o3/o3.db (WAL, numbered migrations). A run keeps its fingerprint and
 * request as parts; trials and every sample are committed as they end, so that a kill loses nothing. It knows the
 * result structs and SQL, and nothing of servers or searches. */
#ifndef O3_STORE_H
#define O3_STORE_H

#include "result.h"

typedef struct o3_store o3_store;

/* What makes two runs comparable. "" = known to be absent; a part that is unknown never equals another unknown:
 * set `unknown` and the run is never found again. */
typedef struct o3_run_key {
    char model[O3_NAME_MAX], model_digest[80];
    char hardware[80];       /* profile fingerprint */
    char engine_version[32], engine_env[2048];
    char request[1024];      /* canonical text of what was asked: samples, seed, weights, proof, quick ... */
    bool unknown;
} o3_run_key;

typedef enum o3_run_state { O3_RUN_OPEN, O3_RUN_COMPLETE, O3_RUN_PARTIAL } o3_run_state;
typedef struct o3_run_row {
    char id[40];
    char model[O3_NAME_MAX], model_digest[80], engine_version[32];
    int64_t started_unix_ms, ended_unix_ms; /* ended -1 while open */
    o3_run_state state;
    int trials;
    int64_t proven_tokens; /* ceiling.proven_tokens of the result document; -1 if none */
} o3_run_row;

/* path NULL or "" = the default place ($XDG_DATA_HOME/o3/o3.db, else ~/.local/share/o3/o3.db; O3_E_IO if neither is
 * set); directories are made (0700). A newer or damaged database is moved aside (o3.db.aside-YYYYMMDD-HHMMSS, UTC, with
 * its -wal and -shm) and said in `notes`; it is never deleted. O3_E_IO (read-only, full, another program's database)
 * names path and cause. Several processes may have it open; one store belongs to one thread, and not across fork. */
O3_NODISCARD o3_status o3_store_open(o3_store **ret_store, const char *path, o3_notes *notes, o3_err *err);
void o3_store_close(o3_store *store);
const char *o3_store_path(const o3_store *store);

/* Newest run with this key, in any state: one left by a killed process is O3_RUN_OPEN. ret_id "" if there is none. */
O3_NODISCARD o3_status o3_store_run_find(o3_store *store, const o3_run_key *key, char ret_id[40],
                                         o3_run_state *ret_state, o3_err *err);
O3_NODISCARD o3_status o3_store_run_begin(o3_store *store, const o3_run_key *key, const char *prediction_json,
                                          char ret_id[40], o3_err *err);
/* state COMPLETE or PARTIAL (interrupt, budget). May be called again by a run that was resumed; result_json NULL keeps
 * the document it had. */
O3_NODISCARD o3_status o3_store_run_end(o3_store *store, const char *run_id, o3_run_state state,
                                        const char *result_json, o3_err *err);

/* Trials: begin writes the row (and sets id, and started_unix_ms if it is 0), sample appends (committed at once; more
 * than O3_SAMPLES_MAX is O3_E_LIMIT), end writes outcome, peaks, cost in one transaction. End also takes
 * trial->samples[i] as the i-th stored sample: its marks (disturbed, warmup, outlier) are updated, one that was not
 * stored yet is added. End may be called again, after another visit. */
O3_NODISCARD o3_status o3_store_trial_begin(o3_store *store, const char *run_id, o3_trial *trial, o3_err *err);
O3_NODISCARD o3_status o3_store_sample(o3_store *store, const o3_trial *trial, const o3_sample *sample, o3_err *err);
O3_NODISCARD o3_status o3_store_trial_end(o3_store *store, const o3_trial *trial, o3_err *err);
/* A finished trial (outcome neither NONE nor CANCELLED) of this run with this purpose and these knobs, newest
 * first. *ret_found false if there is none. */
O3_NODISCARD o3_status o3_store_trial_find(o3_store *store, const char *run_id, const char *purpose,
                                           const o3_knobs *knobs, o3_trial *ret_trial, bool *ret_found, o3_err *err);

/* The result document (JSON text, malloc'ed: caller frees) of the run that ended last with one, of a model (NULL or ""
 * = any), or of one run id (NULL or "" = none given; it rules over the model). O3_E_NOT_FOUND with what to do next. */
O3_NODISCARD o3_status o3_store_result(o3_store *store, const char *model, const char *run_id, char **ret_json,
                                       o3_err *err);
/* Newest first; model NULL or "" = all. */
O3_NODISCARD o3_status o3_store_runs(o3_store *store, const char *model, o3_run_row *rows, int rows_max,
                                     int *ret_count, o3_err *err);
/* Trials of a run in order; `each` returns false to stop, and may write. The trial is valid during the call. */
O3_NODISCARD o3_status o3_store_trials(o3_store *store, const char *run_id,
                                       bool (*each)(void *ctx, const o3_trial *trial), void *ctx, o3_err *err);

/* What can be made again, kept by kind ("model", "bandwidth") and name (a digest, a fingerprint). put replaces; get
 * sets *ret_json NULL if there is none (malloc'ed otherwise: the caller frees). */
O3_NODISCARD o3_status o3_store_document_put(o3_store *store, const char *kind, const char *name, const char *json,
                                             o3_err *err);
O3_NODISCARD o3_status o3_store_document_get(o3_store *store, const char *kind, const char *name, char **ret_json,
                                             o3_err *err);

/* One prediction, made before its measurement, beside it. */
typedef struct o3_forecast {
    char model[O3_NAME_MAX], model_digest[80], hardware[80], engine_version[32];
    char quantity[24];       /* "size_bytes" (/api/ps), "runner_bytes" (its peak), "prefill_per_s", "decode_per_s" */
    o3_knobs knobs;
    int32_t parallel;
    int64_t depth_tokens;    /* of a rate; -1 of bytes */
    o3_range predicted;      /* 90 % prediction interval */
    double measured;
    int32_t learned_from;    /* measured points behind the prediction; 0 = formulas and priors alone */
    int64_t measured_unix_ms;
} o3_forecast;
O3_NODISCARD o3_status o3_store_forecast_add(o3_store *store, const o3_forecast *forecast, o3_err *err);
/* Oldest first; model NULL or "" = all; `each` returns false to stop. */
O3_NODISCARD o3_status o3_store_forecasts(o3_store *store, const char *model,
                                          bool (*each)(void *ctx, const o3_forecast *forecast), void *ctx, o3_err *err);

#endif
