/* SPDX-License-Identifier: Apache-2.0 */
/* The trial: one set of knobs, asked and in force, with the raw samples it gave, how it ended, what it cost.
 * Plain data: made by probe and monitor, kept by store, judged by stats and search. */
#ifndef O3_TRIAL_H
#define O3_TRIAL_H

#include "core.h"

#define O3_UNSET INT32_MIN /* a knob that is not sent; null in JSON */

/* Per-request knobs, Ollama's own names. use_mmap: 0, 1 or O3_UNSET. */
typedef struct o3_knobs {
    int32_t num_ctx, num_batch, num_gpu, num_thread, use_mmap;
} o3_knobs;
#define O3_KNOBS_DEFAULT ((o3_knobs){O3_UNSET, O3_UNSET, O3_UNSET, O3_UNSET, O3_UNSET})
bool o3_knobs_equal(const o3_knobs *a, const o3_knobs *b);
/* Is everything that `asked` sets in force so? What it leaves unset is the server's own choice. */
bool o3_knobs_hold(const o3_knobs *asked, const o3_knobs *in_force);
/* "num_thread 2, use_mmap false": the knobs that are set, of them those that differ from `other` (NULL: all). */
void o3_knobs_text(const o3_knobs *knobs, const o3_knobs *other, char *dst, size_t dst_size);
/* {name, offset of the int32 in o3_knobs}, in the order they are written; ends with name NULL. */
typedef struct o3_knob_field {
    const char *name;
    size_t offset;
    bool boolean;
} o3_knob_field;
extern const o3_knob_field o3_knob_fields[];
int32_t o3_knob_get(const o3_knobs *knobs, const o3_knob_field *field);
void o3_knob_set(o3_knobs *knobs, const o3_knob_field *field, int32_t value);

/* X(code, name, a sentence's end: "the trial ..."). */
#define O3_OUTCOME_MAP(X)                                                          \
    X(O3_OUTCOME_NONE, "unfinished", "did not finish")                             \
    X(O3_OUTCOME_OK, "ok", "went well")                                            \
    X(O3_OUTCOME_SPILLED, "spilled", "left part of the model outside the device")  \
    X(O3_OUTCOME_CLAMPED, "clamped", "was given a smaller context than asked")     \
    X(O3_OUTCOME_TRUNCATED, "truncated", "had its prompt cut")                     \
    X(O3_OUTCOME_THRASHING, "thrashing", "ran while memory was being paged")       \
    X(O3_OUTCOME_SLOW, "slow", "fell below the speed floor")                       \
    X(O3_OUTCOME_OOM_LOAD, "oom-load", "ran out of memory while loading")          \
    X(O3_OUTCOME_OOM_RUN, "oom-run", "ran out of memory while running")            \
    X(O3_OUTCOME_CRASH, "crash", "ended with a crash of the runner")               \
    X(O3_OUTCOME_TIMEOUT, "timeout", "passed its deadline")                        \
    X(O3_OUTCOME_REPEAT_ABORT, "repeat-abort", "was ended by the repeat guard")    \
    X(O3_OUTCOME_BUSY, "busy", "was refused by a busy server")                     \
    X(O3_OUTCOME_OVER_LIMIT, "over-limit", "was stopped by us at a safety limit")  \
    X(O3_OUTCOME_CANCELLED, "cancelled", "was cancelled")                          \
    X(O3_OUTCOME_TOO_LONG, "too-long", "was refused: prompt longer than context")  \
    X(O3_OUTCOME_SERVER_GONE, "server-gone", "lost its server")                    \
    X(O3_OUTCOME_MODEL_GONE, "model-gone", "lost its model")                       \
    X(O3_OUTCOME_RELOADED, "reloaded", "had its model loaded anew under it")       \
    X(O3_OUTCOME_ERROR, "error", "was answered with an error")                     \
    X(O3_OUTCOME_TOO_HOT, "too-hot", "was stopped by us because the machine got too hot")

typedef enum o3_outcome {
#define O3_OUTCOME_ENUM(code, name, text) code,
    O3_OUTCOME_MAP(O3_OUTCOME_ENUM)
#undef O3_OUTCOME_ENUM
} o3_outcome;
const char *o3_outcome_name(o3_outcome outcome);
const char *o3_outcome_text(o3_outcome outcome);
bool o3_outcome_parse(const char *name, o3_outcome *ret_outcome);

typedef enum o3_sample_kind {
    O3_SAMPLE_PREFILL, /* a text unique from its first token: prefill rate and TTFT count */
    O3_SAMPLE_RUNG,    /* a grown prompt: prefill rate of the added tokens counts, TTFT does not */
    O3_SAMPLE_DECODE,  /* the same prompt again: only its decode rate counts */
} o3_sample_kind;
const char *o3_sample_kind_name(o3_sample_kind kind);
bool o3_sample_kind_parse(const char *name, o3_sample_kind *ret_kind);

/* One request. Windows: ttft_ns and wall_ns by the client's monotonic clock, from the moment the request is
 * handed to the socket to the first non-empty token / the last byte; *_eval_ns are the engine's own. */
typedef struct o3_sample {
    o3_sample_kind kind;
    o3_outcome outcome;
    uint64_t text_seed;
    int64_t sent_tokens;   /* tokens we believe the prompt has; -1 when only the engine's count is known */
    int64_t prompt_tokens; /* prompt_eval_count: the whole prompt, cached part included; -1 if absent */
    int64_t added_tokens;  /* prompt_tokens less what an earlier rung had already put in the cache */
    int64_t eval_tokens;   /* eval_count; -1 if absent */
    int64_t prompt_eval_ns, eval_ns, load_ns, ttft_ns, wall_ns; /* -1 if absent */
    double prefill_per_s;  /* added_tokens / prompt_eval_ns; NaN where meaningless */
    double decode_per_s;   /* (eval_tokens - 1) / eval_ns; NaN where meaningless */
    int64_t depth_tokens;  /* prompt_tokens + eval_tokens / 2: where decode_per_s was taken */
    double foreign_cpu_frac; /* share of all usable cores used by others: just before the sample, during it or during its
                                decode, whichever is most (each over 0.3 s at least); NaN if unknown */
    double psi_memory_frac;  /* share of the time in which something waited for memory; NaN if unknown */
    bool disturbed, warmup, outlier; /* marked, listed, never silently dropped */
    bool throttled; /* heat or its own alarm held a GPU's clock back meanwhile: disturbed as well */
} o3_sample;

typedef struct o3_peak {
    char pool[64];
    int64_t bytes; /* highest reading of the pool's unreclaimable use; -1 if never read */
    int64_t runner_bytes; /* of it the runner's: on the host its anonymous and shared memory, on a GPU what lies there;
                             -1 if unknown */
} o3_peak;
typedef struct o3_peaks {
    int count;
    o3_peak pools[O3_POOLS_MAX];
    double temperature_c; /* NaN without a sensor */
    double cpu_frac;      /* highest busy share of all cores over one second */
} o3_peaks;

#define O3_SAMPLES_MAX 256
#define O3_PURPOSE_MAX 48
typedef struct o3_trial {
    int64_t id;                   /* the store's; 0 until stored */
    char purpose[O3_PURPOSE_MAX]; /* "proof-1", "proof-2", "preset", "baseline", "check": part of its identity */
    o3_knobs asked;
    o3_knobs in_force;            /* read back from /api/ps and the runner's command line; O3_UNSET if unknown */
    int64_t size_bytes, size_vram_bytes; /* /api/ps after the load; -1 if unknown */
    int64_t predicted_bytes;      /* what we expected of size_bytes; -1 if nothing */
    o3_outcome outcome;
    char reason[O3_TEXT_MAX];     /* why it is not ok, with the reading that decided; "" if ok */
    int64_t started_unix_ms;
    int64_t wall_ns;
    int32_t loads, fills, requests;
    int64_t depth_tokens;         /* deepest prompt evaluated whole */
    o3_peaks peaks;
    int sample_count;
    o3_sample samples[O3_SAMPLES_MAX];
} o3_trial;

#endif
