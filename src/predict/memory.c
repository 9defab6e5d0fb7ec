/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes. KV, output and compute follow llama.cpp b10488 (the rules and the evidence: docs/prediction.md): KV and output
 * exact for plain and sliding-window attention; compute within 1 % for dense models. One CPU device; flash attention
 * on, f16 cache: the engine's defaults. */
#include "predict_impl.h"

static int64_t pad_grid(int64_t x)
{
    return (x + O3_CTX_GRID - 1) / O3_CTX_GRID * O3_CTX_GRID;
}

/* Cells a sliding-window layer keeps: never more than the context, else window + batch. */
static int64_t window_cells(const o3_layer *layer, int64_t cells, int64_t batch)
{
    int64_t wanted = pad_grid(layer->window_tokens + batch);
    return wanted < cells ? wanted : cells;
}

memory_parts predict_memory(const o3_model *model, const o3_setting *setting)
{
    int64_t num_ctx = setting->knobs.num_ctx, batch = predict_batch(setting), parallel = setting->parallel;
    memory_parts parts = {.weights = (double)model->weight_bytes};
    int64_t total = pad_grid(num_ctx * parallel), cells = pad_grid(total / parallel), swa_cells = 0;
    if (batch > num_ctx * parallel)
        batch = num_ctx * parallel;
    for (int i = 0; i < model->layers; i++) {
        const o3_layer *l = &model->layer[i];
        int64_t kept = l->window_tokens ? window_cells(l, cells, batch) : cells;
        if (l->window_tokens)
            swa_cells = kept;
        parts.kv += (double)(l->heads_kv * (int64_t)(l->key_dim + l->value_dim) * kept * parallel) *
                    (double)setting->kv_type->bytes / (double)setting->kv_type->values;
        parts.state += (double)(l->state_bytes * parallel);
    }
    parts.output = 4.0 * fmax(0, model->vocab) * setting->parallel;
    /* compute = T (4 (3E + ff + R) + 2 (C + Cs)) + 24 T; T tokens of one worst-case batch, E the residual stream and
     * its copies, ff gate + up + product, R a hole left by attention, C the f16 mask */
    double t = (double)((batch + parallel - 1) / parallel * parallel), e = fmax(0, model->embedding), f = fmax(0, model->ff);
    double q = fmax(0, model->heads) * model->layer[0].key_dim, u = fmax(0, model->experts_used);
    double ff = model->experts > 0 ? 3 * u * f + (e > 2 * f ? u * e : 0) : 3 * f;
    double r = q < 2 * e ? q : 2 * e;
    parts.compute = t * (4 * (3 * e + ff + r) + 2 * (double)(cells + swa_cells)) + 24 * t;
    return parts;
}
