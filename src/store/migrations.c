/* SPDX-License-Identifier: Apache-2.0 */
/* The schema, as numbered steps that are never edited once released: a change is a new step at the end. PostgreSQL
 * takes the same text with BIGINT for INTEGER, DOUBLE PRECISION for REAL and without STRICT. Missing is NULL. */
#include "store.h"

/* seq is the order in which runs began here: wall clocks step back, so "newest" is never asked of them. The parts of
 * a run's identity are '' where they are known to be absent; key_unknown marks a run that must never be found again. */
#define STEP_1                                                                                    \
    "CREATE TABLE run ("                                                                          \
    " seq INTEGER PRIMARY KEY,"                                                                   \
    " id TEXT NOT NULL UNIQUE,"                                                                   \
    " state TEXT NOT NULL CHECK (state IN ('open', 'complete', 'partial')),"                      \
    " started_unix_ms INTEGER NOT NULL,"                                                          \
    " ended_unix_ms INTEGER,"                                                                     \
    " model TEXT NOT NULL,"                                                                       \
    " model_digest TEXT NOT NULL,"                                                                \
    " hardware TEXT NOT NULL,"                                                                    \
    " engine_version TEXT NOT NULL,"                                                              \
    " engine_env TEXT NOT NULL,"                                                                  \
    " request TEXT NOT NULL,"                                                                     \
    " key_unknown INTEGER NOT NULL CHECK (key_unknown IN (0, 1)),"                                \
    " prediction_json TEXT,"                                                                      \
    " result_json TEXT"                                                                           \
    ") STRICT;"                                                                                   \
    "CREATE INDEX run_by_model ON run (model, model_digest);"                                     \
    "CREATE TABLE trial ("                                                                        \
    " id INTEGER PRIMARY KEY,"                                                                    \
    " run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,"                                \
    " purpose TEXT NOT NULL,"                                                                     \
    " asked_num_ctx INTEGER, asked_num_batch INTEGER, asked_num_gpu INTEGER,"                     \
    " asked_num_thread INTEGER, asked_use_mmap INTEGER,"                                          \
    " in_force_num_ctx INTEGER, in_force_num_batch INTEGER, in_force_num_gpu INTEGER,"            \
    " in_force_num_thread INTEGER, in_force_use_mmap INTEGER,"                                    \
    " size_bytes INTEGER, size_vram_bytes INTEGER, predicted_bytes INTEGER,"                      \
    " outcome TEXT NOT NULL,"                                                                     \
    " reason TEXT NOT NULL,"                                                                      \
    " started_unix_ms INTEGER,"                                                                   \
    " wall_ns INTEGER,"                                                                           \
    " loads INTEGER, fills INTEGER, requests INTEGER,"                                            \
    " depth_tokens INTEGER,"                                                                      \
    " peak_temperature_c REAL,"                                                                   \
    " peak_cpu_frac REAL"                                                                         \
    ") STRICT;"                                                                                   \
    "CREATE INDEX trial_by_run ON trial (run_id, purpose);"                                       \
    "CREATE TABLE sample ("                                                                       \
    " trial_id INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,"                         \
    " number INTEGER NOT NULL CHECK (number >= 0),"                                               \
    " kind TEXT NOT NULL,"                                                                        \
    " outcome TEXT NOT NULL,"                                                                     \
    " text_seed INTEGER NOT NULL,"                                                                \
    " sent_tokens INTEGER, prompt_tokens INTEGER, added_tokens INTEGER, eval_tokens INTEGER,"     \
    " prompt_eval_ns INTEGER, eval_ns INTEGER, load_ns INTEGER, ttft_ns INTEGER, wall_ns INTEGER," \
    " prefill_tokens_per_s REAL, decode_tokens_per_s REAL,"                                       \
    " depth_tokens INTEGER,"                                                                      \
    " foreign_cpu_frac REAL, psi_memory_frac REAL,"                                               \
    " disturbed INTEGER NOT NULL CHECK (disturbed IN (0, 1)),"                                    \
    " warmup INTEGER NOT NULL CHECK (warmup IN (0, 1)),"                                          \
    " outlier INTEGER NOT NULL CHECK (outlier IN (0, 1)),"                                        \
    " PRIMARY KEY (trial_id, number)"                                                             \
    ") STRICT;"                                                                                   \
    "CREATE TABLE peak ("                                                                         \
    " trial_id INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,"                         \
    " number INTEGER NOT NULL CHECK (number >= 0),"                                               \
    " pool TEXT NOT NULL,"                                                                        \
    " bytes INTEGER, runner_bytes INTEGER,"                                                       \
    " PRIMARY KEY (trial_id, number)"                                                             \
    ") STRICT;"

/* document: what can be made again, and is only kept because making it takes a while. forecast: what was predicted
 * before a measurement, beside the measurement. */
#define STEP_2                                                                                    \
    "CREATE TABLE document ("                                                                     \
    " kind TEXT NOT NULL,"                                                                        \
    " name TEXT NOT NULL,"                                                                        \
    " made_unix_ms INTEGER NOT NULL,"                                                             \
    " json TEXT NOT NULL,"                                                                        \
    " PRIMARY KEY (kind, name)"                                                                   \
    ") STRICT;"                                                                                   \
    "CREATE TABLE forecast ("                                                                     \
    " seq INTEGER PRIMARY KEY,"                                                                   \
    " model TEXT NOT NULL, model_digest TEXT NOT NULL,"                                           \
    " hardware TEXT NOT NULL, engine_version TEXT NOT NULL,"                                      \
    " quantity TEXT NOT NULL,"                                                                    \
    " num_ctx INTEGER, num_batch INTEGER, num_gpu INTEGER, num_thread INTEGER, use_mmap INTEGER," \
    " parallel INTEGER, depth_tokens INTEGER,"                                                    \
    " low REAL, mid REAL, high REAL, measured REAL,"                                              \
    " learned_from INTEGER,"                                                                      \
    " measured_unix_ms INTEGER"                                                                   \
    ") STRICT;"                                                                                   \
    "CREATE INDEX forecast_by_model ON forecast (model, quantity);"

#define STEP_3 "ALTER TABLE sample ADD COLUMN throttled INTEGER NOT NULL DEFAULT 0 CHECK (throttled IN (0, 1));"

const char *const store_migrations[] = {STEP_1, STEP_2, STEP_3};
const int store_migration_count = O3_COUNT(store_migrations);
