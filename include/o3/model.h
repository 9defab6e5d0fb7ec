/* SPDX-License-Identifier: Apache-2.0 */
/* model: turns an /api/show answer into the numbers that prediction needs. Pure: JSON in, plain struct out.
 * It knows metadata keys and tensor names; it asks nobody and guesses nothing without saying so in notes. */
#ifndef O3_MODEL_H
#define O3_MODEL_H

#include "engine.h"

typedef enum o3_size_class { O3_SIZE_SMALL, O3_SIZE_MEDIUM, O3_SIZE_LARGE } o3_size_class;

#define O3_LAYERS_MAX 1024
typedef struct o3_layer {
    int64_t weight_bytes;  /* -1 unknown */
    int32_t heads_kv;      /* 0 = keeps no KV */
    int32_t key_dim, value_dim;
    int32_t window_tokens; /* 0 = full attention */
} o3_layer;

typedef struct o3_model {
    char name[O3_NAME_MAX], digest[80], architecture[64], quantization[32], blob_path[512];
    int64_t file_bytes;          /* -1 unknown */
    int64_t parameters;          /* -1 unknown */
    o3_size_class size_class;
    int64_t trained_tokens;      /* -1 unknown */
    int32_t layers, embedding, heads, heads_kv, ff, vocab, experts, experts_used; /* -1 unknown */
    int64_t weight_bytes;        /* all tensors; -1 unknown */
    int64_t token_embd_bytes;    /* -1 unknown */
    bool has_output_tensor, has_vision;
    bool kv_exact;               /* false: kv rule is an upper estimate (unknown architecture) */
    int32_t state_bytes_per_slot; /* recurrent state; 0 none */
    o3_layer layer[O3_LAYERS_MAX];
    o3_notes notes;
} o3_model;

/* O3_E_IMPOSSIBLE for what cannot be optimised (embedding-only, cloud, safetensors), in one sentence.
 * `entry` is the model's row of the list (digest, size) and may be NULL. */
O3_NODISCARD o3_status o3_model_parse(o3_model *ret_model, const char *name, json_t *show,
                                      const o3_engine_model *entry, o3_err *err);
/* Bytes per value block of a GGUF tensor type name ("Q4_K"): elements and bytes. False if unknown. */
bool o3_tensor_type(const char *type, int32_t *ret_elements, int32_t *ret_bytes);
const char *o3_size_class_name(o3_size_class size_class); /* "small", "medium", "large" */

#endif
