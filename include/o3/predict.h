/* SPDX-License-Identifier: Apache-2.0 */
/* predict: how many bytes a model needs at a context, and about how fast it will be, before anything is loaded.
 * Pure: profile, model and calibration in, estimate out. KV is exact for the attention rules in model.h; the
 * compute buffer follows llama.cpp b10488's graph allocator; speed is a roofline with priors. */
#ifndef O3_PREDICT_H
#define O3_PREDICT_H

#include "hardware.h"
#include "model.h"

/* What real loads taught: offset = measured size minus formula at the same knobs, rates relative to priors. */
typedef struct o3_calibration {
    double offset_bytes; /* 0 until a load was seen */
    int loads;           /* loads behind it */
    double prefill_ratio, decode_ratio; /* measured / prior; 1 until measured */
    int rates;           /* measured rates behind them */
} o3_calibration;
#define O3_CALIBRATION_NONE ((o3_calibration){0, 0, 1, 1, 0})

typedef struct o3_estimate {
    o3_knobs knobs;
    o3_range weights_bytes, kv_bytes, state_bytes, compute_bytes, output_bytes, overhead_bytes, total_bytes;
    int64_t prompt_cache_bytes_per_token; /* what each new prompt adds to the host prompt cache */
    o3_range prefill_per_s;               /* mean over a full window */
    o3_range decode_per_s;                /* at half of the window */
    o3_range decode_full_per_s;           /* at the full window */
    o3_range ttft_full_ms;                /* a prompt that fills the window */
    char origin[O3_TEXT_MAX];             /* where the constants came from */
} o3_estimate;

/* knobs->num_ctx must be set; an unset num_batch counts as 512. parallel >= 1. */
void o3_predict(o3_estimate *ret_estimate, const o3_profile *profile, const o3_model *model, const o3_knobs *knobs,
                int parallel, const o3_calibration *calibration);

#define O3_CTX_GRID 256
/* Largest num_ctx on the grid (<= trained) whose predicted high total fits every pool's safe size next to
 * `other_bytes` already used there; 0 if not even one step fits. Sets *ret_limiting to the pool's index or -1. */
int64_t o3_predict_ceiling(const o3_profile *profile, const o3_model *model, const o3_knobs *knobs, int parallel,
                           const o3_calibration *calibration, int *ret_limiting);
/* Room below the safe size of pool i for our runner's bytes. */
int64_t o3_pool_room(const o3_profile *profile, int pool);

#endif
