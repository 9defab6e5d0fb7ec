/* SPDX-License-Identifier: Apache-2.0 */
/* model: turns what a server or a file says of a model into the numbers that prediction needs: an /api/show answer or
 * the header of a GGUF file in, plain struct out. It knows metadata keys, tensor names and the table of
 * architectures; it asks no server, and guesses nothing without saying so in notes. */
#ifndef O3_MODEL_H
#define O3_MODEL_H

#include "engine.h"

typedef enum o3_size_class { O3_SIZE_SMALL, O3_SIZE_MEDIUM, O3_SIZE_LARGE } o3_size_class;

#define O3_LAYERS_MAX 1024
typedef struct o3_layer {
    int64_t weight_bytes;  /* all tensors of the layer; 0 where the tensors are not listed */
    int64_t begin_bytes, end_bytes; /* where they lie among all tensors, in the file's order; both 0 = unknown */
    int64_t expert_bytes;  /* of them the routed experts, of which a token touches experts_used / experts */
    int64_t state_bytes;   /* recurrent state of one slot, f32; 0 = none */
    int32_t heads_kv;      /* 0 = keeps no KV of its own */
    int32_t key_dim, value_dim; /* values a KV head stores for one token (MLA: current engines keep K only) */
    int32_t window_tokens; /* 0 = full attention */
} o3_layer;

/* What mixes tokens besides attention; decides the compute buffer. */
typedef enum o3_mixer { O3_MIXER_NONE, O3_MIXER_MLA, O3_MIXER_MAMBA, O3_MIXER_DELTA_NET, O3_MIXER_SHORTCONV,
                        O3_MIXER_OTHER } o3_mixer;

typedef struct o3_model {
    char name[O3_NAME_MAX], digest[80], architecture[64], quantization[32], blob_path[512];
    int64_t file_bytes;          /* -1 unknown */
    int64_t parameters;          /* -1 unknown */
    o3_size_class size_class;
    int64_t trained_tokens;      /* -1 unknown */
    int32_t layers, embedding, heads, heads_kv, ff, vocab, experts, experts_used; /* -1 unknown; ff: of one expert */
    int32_t head_dim;            /* of a query head (MLA: of the compressed one); -1 unknown */
    int32_t experts_shared_ff;   /* width of the experts every token uses; 0 none */
    int32_t dense_lead;          /* first layers of a model with experts that have none */
    int32_t ff_dense;            /* width of their feed-forward part; 0 = as ff */
    int32_t draft_layers;        /* MTP layers: the last ones of `layers`; 0 none */
    o3_mixer mixer;
    /* MLA (kv_lora_rank, rope dims, key and value length of a head before compression); 0 elsewhere */
    int32_t mla_kv_lora, mla_rope, mla_key, mla_value;
    int32_t mla_q_lora;          /* queries are compressed too; 0 not */
    /* recurrent layers (conv_kernel, inner_size, state_size, time_step_rank, group_count; shortconv: l_cache); 0 elsewhere */
    int32_t ssm_conv, ssm_inner, ssm_state, ssm_dt_rank, ssm_groups;
    char rope_scaling[16];       /* "", "linear", "yarn" ... */
    double rope_factor;          /* NaN where there is none */
    int64_t weight_bytes;        /* all tensors but the projector's; -1 unknown */
    int64_t token_embd_begin_bytes; /* in the file's order; -1 unknown */
    int64_t token_embd_bytes, output_bytes; /* -1 unknown; output_bytes 0 = tied: token_embd is used twice */
    int64_t projector_bytes;     /* vision or audio tower in the same file; 0 none, -1 in a file of its own */
    int64_t largest_tensor_bytes; /* -1 unknown */
    bool has_output_tensor, has_vision;
    bool fused_qkv;              /* one tensor for Q, K and V (phi3) */
    bool one_slot;               /* Ollama forces one slot, whatever OLLAMA_NUM_PARALLEL says */
    bool kv_exact;               /* false: kv rule is an upper estimate (unknown architecture) */
    o3_layer layer[O3_LAYERS_MAX];
    o3_notes notes;
} o3_model;

/* O3_E_IMPOSSIBLE for what cannot be optimised (embedding-only, cloud, safetensors), in one sentence.
 * `entry` is the model's row of the list (digest, size) and may be NULL. */
O3_NODISCARD o3_status o3_model_parse(o3_model *ret_model, const char *name, json_t *show,
                                      const o3_engine_model *entry, o3_err *err);
/* Does this (plain) answer leave out a per-layer array that the memory depends on? Plain /api/show gives every array
 * as null. */
bool o3_model_wants_arrays(const json_t *show);

/* The header of a GGUF file (v2, v3, little-endian), or of all files of a split one, as an /api/show answer: model_info
 * with numeric arrays up to O3_LAYERS_MAX, tensors, details. The caller json_decref()s it. Every length is bounded by
 * the file's size before it is believed. O3_E_NOT_FOUND the file or a part of it, O3_E_IO cannot read, O3_E_PROTOCOL not
 * a sound GGUF; err names what is wrong. */
O3_NODISCARD o3_status o3_gguf_read(const char *path, json_t **ret_show, int64_t *ret_file_bytes, o3_err *err);

/* The struct as JSON and back, for the cache by digest; O3_E_PROTOCOL for a document of another release. */
json_t *o3_model_to_json(const o3_model *model);
O3_NODISCARD o3_status o3_model_from_json(o3_model *ret_model, const json_t *json, o3_err *err);

/* Bytes per value block of a GGUF tensor type name ("Q4_K"): elements and bytes. False if unknown. */
bool o3_tensor_type(const char *type, int32_t *ret_elements, int32_t *ret_bytes);
const char *o3_tensor_type_name(uint32_t ggml_type); /* NULL if unknown */
const char *o3_size_class_name(o3_size_class size_class); /* "small", "medium", "large" */

#endif
