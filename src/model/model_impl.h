/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of model/: the metadata by key, the table of architectures, and what each part of the parser takes. */
#ifndef O3_MODEL_IMPL_H
#define O3_MODEL_IMPL_H

#include "base/base.h"
#include "o3/model.h"

/* model_info of one answer. Keys are the architecture's ("block_count") or "general.*"; numbers from outside are
 * bounded before anybody computes with them. */
typedef struct model_keys {
    const json_t *info;
    const char *architecture; /* "" unknown */
} model_keys;
const json_t *key_find(const model_keys *keys, const char *key);
bool key_hidden(const model_keys *keys, const char *key); /* an array whose elements the answer leaves out */
int64_t key_number(const model_keys *keys, const char *key, int64_t missing); /* |x| < 10^15 */
int32_t key_count(const model_keys *keys, const char *key, int32_t missing);  /* 0 <= x <= 2^24; of an array the largest */
int32_t key_count_at(const model_keys *keys, const char *key, int layer, int32_t missing); /* a number holds for all */
const char *key_text(const model_keys *keys, const char *key); /* "" */

/* Which layers keep a recurrent state instead of keys and values. */
typedef enum recurrence {
    RECURRENT_NONE,
    RECURRENT_NO_HEADS,       /* those without key/value heads */
    RECURRENT_NO_HEADS_NO_FF, /* those that also have no feed-forward; layers with one have neither state nor KV */
    RECURRENT_INTERVAL,       /* all but every period-th */
    RECURRENT_BESIDE,         /* every layer has both */
    RECURRENT_ALL,            /* no attention at all */
} recurrence;

enum {
    FULL_FIRST = 1 << 0,     /* the full layer leads its period instead of ending it */
    WINDOW_LISTED = 1 << 1,  /* the pattern is an array with one truth a layer */
    WINDOW_ALL = 1 << 2,     /* every attention layer, if there is a window */
    WINDOW_FIXED = 1 << 3,   /* `window` holds whatever the file says, but 0 */
    WINDOW_AT_64 = 1 << 4,   /* only the model of 64 layers has one */
    FUSED_QKV = 1 << 5,
    ONE_SLOT = 1 << 6,       /* Ollama forces one slot */
    MLA = 1 << 7,            /* one compressed head, where the file has key_length_mla */
    MLA_FROM_LORA = 1 << 8,  /* Ollama's own file: the compressed sizes follow from kv_lora_rank */
    FIRST_20_KEEP_KV = 1 << 9,
    SHARED_KV = 1 << 10,     /* the last shared_kv_layers keep none */
    FF_BY_TENSOR = 1 << 11,  /* Ollama's files may carry a wrong feed_forward_length */
    LINEAR_HEADS = 1 << 12,  /* state of linear attention: head width squared for each head */
    MORE_CACHE = 1 << 13,    /* caches besides K and V, counted as an upper estimate */
};

typedef struct architecture {
    const char *names; /* general.architecture, between blanks */
    int period;        /* of the sliding window or of the recurrence; 0 none */
    int32_t window;    /* tokens where the file does not say; 0 none */
    recurrence recurrence;
    o3_mixer mixer;
    unsigned flags;
} architecture;
const architecture *architecture_find(const char *name); /* NULL: not in the table */

/* tensors.c: bytes by layer and part, and what only shapes tell; 0 unknown. */
typedef struct tensor_facts {
    int32_t ff, expert_ff, shared_ff, vocab; /* feed-forward widths: the largest */
    int32_t q_rows, k_rows;                  /* of the widest attn_q and attn_k */
    bool fused_qkv, vision;
    int64_t parameters;                      /* -1 unknown */
} tensor_facts;
void tensors_take(o3_model *model, const json_t *tensors, tensor_facts *ret_facts);
/* layers.c: heads, KV rule and state of each layer. `known` NULL: an upper estimate. */
void layers_take(o3_model *model, const model_keys *keys, const architecture *known, const tensor_facts *facts);
bool layers_want_arrays(const model_keys *keys, const architecture *known);

#endif
