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
    int32_t num_batch;         /* that it was proven with; O3_UNSET if none was */
    int64_t allocated_tokens;  /* largest num_ctx that loaded as asked; 0 if none */
    int64_t trained_tokens;    /* -1 if unknown */
    int64_t filled_tokens;     /* prompt tokens evaluated in the deepest proof; 0 if none */
    int32_t proofs;            /* full fills with different texts */
    int64_t next_num_ctx;      /* the next grid step; -1 if unknown */
    o3_step_reason next_kind;
    char next_reason[O3_TEXT_MAX];
    int32_t iterations, loads, fills;
    double used_frac;          /* of the fullest pool: highest use while it was proven / its safe size; NaN unknown */
    char used_pool[64];        /* its name; "" unknown */
    /* With the proven window full: decode (median; of several proofs the slowest), and what evaluating a prompt that fills
     * it took from its first token on, the load left out. The prompt grew rung by rung, and where a model evaluates parts
     * of it again at each rung (sliding windows) that is more than one sent whole takes. NaN unknown. */
    double full_decode_per_s, full_ttft_s;
} o3_ceiling;

/* The speed floor that was asked for: a full window that is slower than it is not stable. NaN: none. */
typedef struct o3_floor {
    double min_decode_per_s, max_ttft_s;
} o3_floor;

/* The race for knobs (num_thread, num_batch, num_gpu, use_mmap), in short visits at one window. */
typedef enum o3_race_verdict {
    O3_RACE_NOT_RUN,   /* `why` says why */
    O3_RACE_DEFAULT,   /* nothing was shown to be better than the default */
    O3_RACE_UNDECIDED, /* the noise could hide a gain worth having; the default is kept */
    O3_RACE_WINNER,
    O3_RACE_FALLBACK,  /* the default itself fails: the best of what works */
} o3_race_verdict;
const char *o3_race_verdict_name(o3_race_verdict verdict);

typedef struct o3_race {
    o3_race_verdict verdict;
    o3_knobs knobs;                    /* that the presets build on; num_ctx unset */
    o3_knobs finalist;                 /* what looked best before the fresh loads; all unset without one */
    double decode_weight;              /* w of the score decode^w x prefill^(1-w); NaN not run */
    double gain_low, gain, gain_high;  /* score of the finalist / the default's, fresh loads alone, 95 %; NaN without */
    double promised, shrunk;           /* the same as it looked when it was chosen, and less its luck; NaN without */
    int64_t num_ctx, prompt_tokens;    /* it was run with; -1 not run */
    int32_t visits, candidates;
    char why[O3_TEXT_MAX];
} o3_race;

typedef struct o3_cost {
    double wall_s, lower_bound_s; /* NaN if not known */
    int32_t loads, fills, requests;
} o3_cost;

/* What a setting of the whole server brings, tried on a private one (--own-server). The first row is the server as it is
 * set now; the others are compared with it, visit by visit in turns. Quality is not checked. */
#define O3_SERVERS_MAX 16
typedef struct o3_server_row {
    char name[32];             /* "as-is", "kv-q8_0" ... */
    char env[128];             /* what to set, "K=V" separated by blanks; "" for the first */
    bool measured;
    int64_t predicted_tokens;  /* its largest safe window by prediction; -1 unknown */
    int64_t window_tokens;     /* as filled once with it; -1 not sought or not found */
    int64_t compared_num_ctx;  /* window in which the rates were taken; -1 none */
    int32_t turns;             /* visits behind each rate */
    o3_measure decode_per_s, prefill_per_s; /* n counts visits, one a load */
    o3_range decode_ratio, prefill_ratio;   /* against the first row, 95 %; NaN */
    char in_force[160];        /* where the setting was seen at work; "" nowhere */
    char note[O3_TEXT_MAX];    /* why it was left out or what went wrong; "" */
    double wall_s;
} o3_server_row;
extern const o3_server_row o3_server_row_none;

typedef struct o3_result {
    char model[O3_NAME_MAX], digest[80];
    char engine_version[32], engine_host[O3_NAME_MAX];
    char run_id[40];          /* the store's; "" if not stored */
    char finished_at[32];     /* UTC, ISO 8601; "" while running */
    bool complete;            /* false: best so far (budget, interrupt, quick) */
    bool known;               /* answered from the store */
    char weights[O3_TEXT_MAX]; /* which weights ruled */
    o3_ceiling ceiling;
    o3_floor floor;
    int preset_count;
    o3_preset presets[O3_PRESETS_MAX];
    o3_race race;
    o3_preset baseline;       /* Ollama's defaults; measured == false if it was not measured */
    int server_count;         /* 0: not asked for */
    o3_server_row servers[O3_SERVERS_MAX];
    bool servers_complete;    /* nothing was left out for lack of time */
    o3_cost cost;
    o3_notes notes;
} o3_result;

extern const o3_preset o3_preset_none; /* nothing known: every member missing */
/* NULL if there is none of that name. */
const o3_preset *o3_result_preset(const o3_result *result, const char *name);

#endif
