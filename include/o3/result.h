/* SPDX-License-Identifier: Apache-2.0 */
/* The result: what `optimize` hands out. A ceiling with its evidence, presets, the baseline, costs, notes. */
#ifndef O3_RESULT_H
#define O3_RESULT_H

#include "trial.h"

/* A rate or a time with its spread. All NaN and n = 0 when nothing was measured. */
typedef struct o3_measure {
    double mean, low, high; /* 95 % interval of a measurement; 90 % interval of a prediction */
    double cv;              /* coefficient of variation of the kept samples; NaN below 2 */
    int n;                  /* kept samples; 0 = predicted */
    int removed;            /* outliers removed by the rule of stats.h, listed with the raw samples */
    int64_t depth_tokens;   /* the depth (decode) or prompt length (prefill, TTFT) it was taken at; -1 unknown */
    bool disturbed;         /* something else used the CPU during every sample: stands, but compares with nothing */
} o3_measure;
#define O3_MEASURE_NONE ((o3_measure){.mean = NAN, .low = NAN, .high = NAN, .cv = NAN, .depth_tokens = -1})

typedef struct o3_score {
    double total;                                           /* 0..1; NaN if not scored */
    double context, throughput, response;                   /* the parts, 0..1 */
    double w_context, w_throughput, w_response;             /* normalised weights that ruled */
} o3_score;

#define O3_PRESETS_MAX 16
typedef struct o3_preset {
    char name[64];
    char description[O3_TEXT_MAX];
    bool measured; /* false: predicted only */
    bool proven;   /* its whole window was filled and evaluated */
    o3_knobs knobs;
    o3_measure decode_per_s;       /* at half of its window */
    o3_measure decode_equal_per_s; /* at the depth that all rows of this run share; n counts visits, not samples */
    o3_measure prefill_per_s;
    o3_measure ttft_ms;            /* depth_tokens = length of the prompt it was taken with */
    o3_peaks peaks;
    o3_score score;
    double success_frac, success_low, success_high; /* share of good samples and its Wilson interval */
    char verdict[O3_TEXT_MAX];     /* against the configured TTFT and throughput targets; "" if none */
} o3_preset;

typedef enum o3_step_reason {
    O3_STEP_NONE,
    O3_STEP_TRAINED,   /* the model was trained no further */
    O3_STEP_PREDICTED, /* predicted over a limit */
    O3_STEP_MEASURED,  /* a trial at that size failed */
    O3_STEP_BUDGET,    /* not tried: time */
} o3_step_reason;
const char *o3_step_reason_name(o3_step_reason reason);

typedef struct o3_ceiling {
    int64_t proven_tokens;     /* num_ctx whose window was filled as proof demands; 0 if none */
    int64_t allocated_tokens;  /* largest num_ctx that loaded as asked; 0 if none */
    int64_t trained_tokens;    /* -1 if unknown */
    int64_t filled_tokens;     /* prompt tokens evaluated in the deepest proof; 0 if none */
    int32_t proofs;            /* full fills with different texts */
    int64_t next_num_ctx;      /* the next grid step; -1 if unknown */
    o3_step_reason next_kind;
    char next_reason[O3_TEXT_MAX];
    int32_t iterations, loads, fills;
} o3_ceiling;

typedef struct o3_cost {
    double wall_s, lower_bound_s; /* NaN if not known */
    int32_t loads, fills, requests;
} o3_cost;

typedef struct o3_result {
    char model[O3_NAME_MAX], digest[80];
    char engine_version[32], engine_host[O3_NAME_MAX];
    char run_id[40];          /* the store's; "" if not stored */
    char finished_at[32];     /* UTC, ISO 8601; "" while running */
    bool complete;            /* false: best so far (budget, interrupt, quick) */
    bool known;               /* answered from the store */
    char weights[O3_TEXT_MAX]; /* which weights ruled */
    o3_ceiling ceiling;
    int preset_count;
    o3_preset presets[O3_PRESETS_MAX];
    o3_preset baseline;       /* Ollama's defaults; measured == false if it was not measured */
    o3_cost cost;
    o3_notes notes;
} o3_result;

extern const o3_preset o3_preset_none; /* nothing known: every member missing */
/* NULL if there is none of that name. */
const o3_preset *o3_result_preset(const o3_result *result, const char *name);

#endif
