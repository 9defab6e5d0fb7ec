/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of predict/. */
#ifndef O3_PREDICT_IMPL_H
#define O3_PREDICT_IMPL_H

#include "base/base.h"
#include "o3/predict.h"

typedef struct memory_parts {
    double weights, kv, state, compute, output; /* bytes */
} memory_parts;
memory_parts predict_memory(const o3_model *model, const o3_setting *setting);
int64_t predict_batch(const o3_setting *setting); /* num_batch, or what Ollama would choose */

/* Priors of speed on this CPU before anything was measured: tokens per second. */
double predict_decode(const o3_profile *profile, const o3_model *model, double depth_tokens);
double predict_prefill(const o3_profile *profile, const o3_model *model, double prompt_tokens);

#endif
