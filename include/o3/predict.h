/* SPDX-License-Identifier: Apache-2.0 */
/* predict: how many bytes a model needs at a setting, where they lie, and about how fast it will be, before anything
 * is loaded. Pure: profile, model, setting and calibration in, estimate out. KV and output are exact for the attention
 * rules in model.h; the compute buffer follows llama.cpp's graph allocator by era; speed is a roofline with priors.
 * Sources and evidence of each formula: docs/prediction.md. */
#ifndef O3_PREDICT_H
#define O3_PREDICT_H

#include "hardware.h"
#include "model.h"

/* Releases whose buffers follow the same rules. */
typedef enum o3_era {
    O3_ERA_A,      /* Ollama before 0.30: its own runner, llama.cpp of December 2025 at the latest */
    O3_ERA_MIDDLE, /* 0.30.0 to 0.30.4: A plus a second input tensor */
    O3_ERA_C,      /* 0.30.5 and later */
} o3_era;
o3_era o3_era_of(const char *engine_version); /* of "0.32.15"; an unknown version counts as current */

/* Types of the KV cache: bytes of one value = bytes / values. Ends with name NULL. */
typedef struct o3_kv_type {
    const char *name; /* as OLLAMA_KV_CACHE_TYPE takes it */
    int32_t bytes, values;
    bool quantized;   /* the V cache then needs flash attention */
} o3_kv_type;
extern const o3_kv_type o3_kv_types[];
const o3_kv_type *o3_kv_type_find(const char *name); /* "" = f16; NULL if there is none */

/* What is asked: knobs of the request and of the server. */
typedef struct o3_setting {
    o3_knobs knobs;            /* num_ctx must be set; num_batch unset counts as what Ollama would choose */
    int parallel;              /* slots, each with a window of num_ctx; >= 1 */
    const o3_kv_type *kv_type; /* of K and V */
    bool flash_attention;
    bool flash_auto;           /* nobody asked for it or against it */
    bool kv_unified;           /* the slots share one cache (LLAMA_ARG_KV_UNIFIED) */
    o3_era era;
    int64_t fit_target_bytes;  /* what the automatic placement leaves free on each device */
    int threads;               /* that the server starts its runner with (LLAMA_ARG_THREADS); 0 = llama.cpp's choice */
} o3_setting;
/* Of a server with this version and environment ("K=V\n" lines; "" = defaults), no knob set. What the environment asks
 * for and cannot be had (a quantised cache without flash attention) is noted. */
void o3_setting_of(o3_setting *ret_setting, const char *engine_version, const char *engine_env, o3_notes *notes);
/* What the model makes of it: families with one slot, types of cache and attention that it cannot use (noted). */
void o3_setting_for(o3_setting *setting, const o3_model *model, o3_notes *notes);
o3_setting o3_setting_at(const o3_setting *setting, int64_t num_ctx); /* the same with another window */

#define O3_MEMORIES_MAX 17 /* the host and the GPUs */
/* Which memory bytes lie in that are placed on this GPU (-1 = the host): 0 the host, 1 + gpu a device with a pool of its
 * own. A GPU that works in the host's pool is read together with it and is the same memory. */
int o3_memory_of(const o3_profile *profile, int gpu);
/* By how much two readings of the same bytes in this memory may differ. */
double o3_reading_error_bytes(int memory);

/* Measured size minus formula at the same setting, in one memory. */
typedef struct o3_offset {
    double bytes;
    bool known; /* false: no load was read of this memory, and the prediction's interval stands */
} o3_offset;

/* What real loads and rates taught: measured against formula. Plain numbers that can be printed and argued with. */
typedef struct o3_calibration {
    o3_offset offset[O3_MEMORIES_MAX]; /* by o3_memory_of */
    int loads;           /* loads behind them */
    double prefill_ratio, prefill_attention_ratio; /* time measured / prior: weights' part, attention's part; 1 */
    double decode_ratio, decode_kv_ratio;          /* the same of decode: weights and layers, KV read; 1 */
    int rates;           /* measured points behind them */
} o3_calibration;
#define O3_CALIBRATION_NONE                                                                                      \
    ((o3_calibration){.prefill_ratio = 1, .prefill_attention_ratio = 1, .decode_ratio = 1, .decode_kv_ratio = 1})

/* A measured point of one trial. */
typedef struct o3_rate_point {
    int64_t depth_tokens;  /* prefill: the text's length, evaluated from its first token on; decode: the position */
    double seconds;        /* prefill: for the whole text; decode: for one token */
    bool decode;
} o3_rate_point;
/* Moves the calibration by measured points at this setting: least squares on the two parts of each time, shrunk
 * towards what it was. One point already moves it. Points that are not finite or not positive are left out. */
void o3_calibrate(o3_calibration *calibration, const o3_profile *profile, const o3_model *model,
                  const o3_setting *setting, const o3_rate_point *points, int count);

/* Bytes in one memory. */
typedef struct o3_pool_estimate {
    char name[64];
    int pool;       /* of profile.pools: the tightest that holds these bytes; -1 unknown */
    int gpu;        /* of profile.gpus; -1 = the host */
    int layers;     /* of the model's layers + 1 (output) that lie here */
    double weights_bytes, kv_bytes, state_bytes, compute_bytes, output_bytes; /* mid of each */
    o3_range overhead_bytes, total_bytes;
    int64_t room_bytes; /* below the safe size, for our runner; INT64_MAX unknown */
} o3_pool_estimate;

typedef struct o3_estimate {
    o3_setting setting;
    int pool_count;
    o3_pool_estimate pools[O3_MEMORIES_MAX]; /* the host first */
    o3_range weights_bytes, kv_bytes, state_bytes, compute_bytes, output_bytes, overhead_bytes, total_bytes;
    o3_range ps_bytes;                    /* what /api/ps will call its size; o3_predict_ps_bytes */
    double spilled_frac;                  /* share of the layers that the devices could not take; 0 without a GPU */
    int64_t prompt_cache_bytes_per_token; /* what each new prompt adds to the host prompt cache */
    o3_range prefill_per_s;               /* mean over a full window */
    o3_range decode_per_s;                /* at half of the window */
    o3_range decode_full_per_s;           /* at the full window */
    o3_range ttft_full_ms;                /* a prompt that fills the window */
    char origin[O3_TEXT_MAX];             /* where the constants came from */
} o3_estimate;

void o3_predict(o3_estimate *ret_estimate, const o3_profile *profile, const o3_model *model,
                const o3_setting *setting, const o3_calibration *calibration);
/* Only where the bytes lie and how many: without ps_bytes, rates and origin, in half of the time. */
void o3_predict_bytes(o3_estimate *ret_estimate, const o3_profile *profile, const o3_model *model,
                      const o3_setting *setting, const o3_calibration *calibration);

/* The size that /api/ps will report. Ollama sums log lines, and not all of what is allocated: docs/prediction.md. */
o3_range o3_predict_ps_bytes(const o3_estimate *estimate);

typedef struct o3_speed {
    int64_t num_ctx, depth_tokens;
    o3_range prefill_per_s; /* mean over a prompt of depth_tokens */
    o3_range decode_per_s;  /* at depth_tokens */
    o3_range ttft_ms;       /* of a prompt of depth_tokens */
} o3_speed;
/* 90 % prediction intervals. */
void o3_predict_speed(o3_speed *ret_speed, const o3_profile *profile, const o3_model *model,
                      const o3_setting *setting, int64_t depth_tokens, const o3_calibration *calibration);

/* Does the setting's predicted high total fit every pool's safe size? As o3_predict_ceiling asks of each window. */
bool o3_predict_fits(const o3_profile *profile, const o3_model *model, const o3_setting *setting, bool at_rest,
                     const o3_calibration *calibration);

#define O3_CTX_GRID 256
/* Largest num_ctx on the grid (<= trained) whose predicted high total fits every pool's safe size next to what is
 * used there; at_rest: next to nothing else. 0 if not even one step fits. Sets *ret_limiting (may be NULL) to the
 * index of the profile's pool that limits, or -1. */
int64_t o3_predict_ceiling(const o3_profile *profile, const o3_model *model, const o3_setting *setting, bool at_rest,
                           const o3_calibration *calibration, int *ret_limiting);
/* Room below the safe size of pool i for our runner's bytes. */
int64_t o3_pool_room(const o3_profile *profile, int pool, bool at_rest);

#endif
