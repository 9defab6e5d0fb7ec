/* SPDX-License-Identifier: Apache-2.0 */
/* Speed before anything was measured: a roofline with priors for a CPU. Decode reads the weights and the KV of the
 * depth once a token; prefill does two floating-point operations per weight and token plus attention. The priors are
 * wide on purpose and one measured rate replaces them (o3_calibration). */
#include "predict_impl.h"

/* Priors. Bandwidth that one core of a current x86 server or laptop reads, and where it saturates; arithmetic that
 * quantised kernels sustain per core; fixed cost of a token per layer (barriers, small kernels). */
#define READ_PER_CORE 12e9      /* bytes/s */
#define READ_MAX 45e9           /* bytes/s, two channels of DDR4/5 */
#define FLOPS_PER_CORE 45e9     /* 1/s */
#define LAYER_COST_S 130e-6     /* s per layer and token, decode */
#define KV_READ_FACTOR 3.7      /* attention over the cache runs far below the bandwidth of plain reads */

static double usable(const o3_profile *profile)
{
    return profile->usable_cpus > 0 ? profile->usable_cpus : 1;
}

/* Weights touched for one token: all dense ones, and the used share of the experts. */
static double active_bytes(const o3_model *model)
{
    double bytes = (double)model->weight_bytes;
    if (model->experts > 0 && model->experts_used > 0)
        bytes *= 0.15 + 0.85 * model->experts_used / model->experts;
    return bytes;
}

double predict_decode(const o3_profile *profile, const o3_model *model, double depth_tokens)
{
    double bandwidth = usable(profile) * READ_PER_CORE;
    if (bandwidth > READ_MAX)
        bandwidth = READ_MAX;
    double kv = 0;
    for (int i = 0; i < model->layers; i++) {
        const o3_layer *l = &model->layer[i];
        double seen = l->window_tokens && l->window_tokens < depth_tokens ? l->window_tokens : depth_tokens;
        kv += 2.0 * l->heads_kv * (l->key_dim + l->value_dim) * seen;
    }
    double seconds = (active_bytes(model) + KV_READ_FACTOR * kv) / bandwidth + model->layers * LAYER_COST_S;
    return 1 / seconds;
}

double predict_prefill(const o3_profile *profile, const o3_model *model, double prompt_tokens)
{
    double parameters = model->parameters > 0 ? (double)model->parameters : (double)model->weight_bytes * 1.7;
    if (model->experts > 0 && model->experts_used > 0)
        parameters *= 0.15 + 0.85 * model->experts_used / model->experts;
    double attention = 0; /* QK and PV over half of the prompt on average, 2 FLOP each */
    for (int i = 0; i < model->layers; i++) {
        const o3_layer *l = &model->layer[i];
        double seen = l->window_tokens && l->window_tokens < prompt_tokens / 2 ? l->window_tokens : prompt_tokens / 2;
        attention += 2.0 * model->heads * (l->key_dim + l->value_dim) * seen;
    }
    /* attention kernels reach about half of the matrix kernels' rate */
    double flop = 2 * parameters + 2 * attention;
    return usable(profile) * FLOPS_PER_CORE / flop;
}
