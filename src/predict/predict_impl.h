/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of predict/. */
#ifndef O3_PREDICT_IMPL_H
#define O3_PREDICT_IMPL_H

#include "base/base.h"
#include "o3/predict.h"

/* What lies in one memory, in bytes. */
typedef struct memory_place {
    int gpu;             /* of profile.gpus; -1 = the host */
    int layers;          /* of the model's layers + 1 (output) */
    bool mapped;         /* the weights are pages of the file */
    double weights, state, compute, output;
    double kv, window_kv; /* all of it; of it the layers with a window */
} memory_place;

typedef struct memory_layout {
    int count;
    memory_place at[O3_MEMORIES_MAX]; /* the host first */
    double spilled_frac;
} memory_layout;
/* Where the bytes lie: all on the host without GPUs. */
void predict_layout(memory_layout *ret_layout, const o3_profile *profile, const o3_model *model,
                    const o3_setting *setting);
/* What /api/ps will call the size of this load. */
double predict_ps(const memory_layout *layout, const o3_model *model, const o3_setting *setting);

/* What a batch is computed on. */
typedef struct batch_shape {
    double tokens;              /* of all slots together */
    double streams;             /* caches of a layer: one a slot, or one for all */
    double cells, window_cells; /* tokens a cache holds; window_cells 0 = no layer with a window */
} batch_shape;
batch_shape predict_shape(const o3_model *model, const o3_setting *setting);
int64_t predict_batch(const o3_setting *setting); /* num_batch, or what Ollama would choose */
/* Does this release evaluate the model with Ollama's own engine? *ret_flash (may be NULL): with flash attention unless
 * it is told otherwise. */
bool predict_own_engine(const o3_model *model, const o3_setting *setting, bool *ret_flash);
const o3_layer *predict_attention_layer(const o3_model *model); /* the first one with a KV cache; NULL */
/* Side of the matrix that turns keys before they are quantised; 0 = none. */
double predict_rotation(const o3_model *model, const o3_setting *setting);
double predict_layer_kv(const o3_model *model, const o3_setting *setting, const batch_shape *shape, int layer);
/* Was its graph compared with the engine's own listing? */
bool predict_graph_known(const o3_model *model);
/* Bytes of the compute buffer: on the host alone (host_blocks -1), or on a device while the weights and caches of the
 * first host_blocks blocks lie on the host, and are copied as a batch needs them. */
double predict_compute(const o3_model *model, const o3_setting *setting, const batch_shape *shape, int host_blocks);
/* The same with every block replayed: slow, and what predict_compute must equal. */
double predict_compute_whole(const o3_model *model, const o3_setting *setting, const batch_shape *shape, int host_blocks);
/* Bytes of the host's buffer beside a device: what a batch brings in. */
double predict_compute_beside(const o3_model *model, const o3_setting *setting, const batch_shape *shape, int host_blocks);

#endif
