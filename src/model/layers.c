/* SPDX-License-Identifier: Apache-2.0 */
/* What each layer keeps of a token, and of a slot: heads, widths, window and recurrent state. */
#include "model_impl.h"

/* What holds for the whole model and decides about each layer. */
typedef struct layer_rules {
    const model_keys *keys;
    const architecture *known; /* never NULL here: the unknown one is full attention */
    int32_t heads_kv;      /* the largest */
    int32_t window, period;
    int32_t kv_layers;     /* the layers behind them use the KV of earlier ones */
    int32_t key, value, key_swa, value_swa;
    int64_t state_bytes;   /* of a recurrent layer */
    bool heads_hidden;     /* heads by layer are not in this answer */
    bool unclear;          /* nor is which layers are recurrent: each counts as both */
} layer_rules;

static const architecture unknown = {.names = ""};

/* f32, one slot: the convolution's last inputs and the state proper. Doubles, because the counts come from outside. */
static int64_t state_bytes(const o3_model *model, const model_keys *keys, const architecture *known, int32_t key_width)
{
    double e = fmax(0, model->embedding), heads = fmax(0, model->heads), conv = fmax(1, model->ssm_conv) - 1;
    double wkv = key_count(keys, "wkv.head_size", 0), kda = key_count(keys, "kda.head_dim", 0);
    double l_cache = key_count(keys, "shortconv.l_cache", 0), values;
    if (wkv > 0)
        values = e * (key_count(keys, "token_shift_count", 2) + wkv);
    else if (l_cache > 0)
        values = e * (l_cache - 1);
    else if (kda > 0)
        values = heads * kda * (3 * (model->ssm_conv > 0 ? conv : 3) + kda);
    else if (known->flags & LINEAR_HEADS)
        values = heads * key_width * key_width;
    else
        values = conv * (model->ssm_inner + 2.0 * model->ssm_groups * model->ssm_state) +
                 (double)model->ssm_state * model->ssm_inner;
    return (int64_t)fmin(4 * values, 1e15);
}

static void take_window(layer_rules *r, const o3_model *model)
{
    unsigned flags = r->known->flags;
    int32_t told = key_count(r->keys, "attention.sliding_window", -1);
    bool fixed = (flags & WINDOW_FIXED) && told != 0;
    r->window = fixed || told < 0 ? r->known->window : told;
    if ((flags & WINDOW_AT_64) && model->layers - model->draft_layers != 64)
        r->window = 0;
    r->period = r->known->recurrence == RECURRENT_INTERVAL ? 0 : r->known->period;
    const json_t *pattern = key_find(r->keys, "attention.sliding_window_pattern");
    if (json_is_integer(pattern) && (r->period || (flags & WINDOW_LISTED)))
        r->period = key_count(r->keys, "attention.sliding_window_pattern", r->period);
}

static bool sees_window(const layer_rules *r, int layer)
{
    if (r->window <= 0)
        return false;
    if (r->known->flags & WINDOW_ALL)
        return true;
    if (r->period > 0)
        return r->known->flags & FULL_FIRST ? layer % r->period != 0 : layer % r->period < r->period - 1;
    return (r->known->flags & WINDOW_LISTED) &&
           key_count_at(r->keys, "attention.sliding_window_pattern", layer, 0) > 0;
}

static bool is_recurrent(const layer_rules *r, int layer, int32_t heads_kv)
{
    switch (r->known->recurrence) {
    case RECURRENT_NONE:
        return r->known == &unknown && r->state_bytes > 0;
    case RECURRENT_NO_HEADS:
        return r->unclear || heads_kv == 0;
    case RECURRENT_NO_HEADS_NO_FF:
        return r->unclear || (heads_kv == 0 && key_count_at(r->keys, "feed_forward_length", layer, 0) == 0);
    case RECURRENT_INTERVAL:
        if (json_is_array(key_find(r->keys, "attention.recurrent_layers")))
            return key_count_at(r->keys, "attention.recurrent_layers", layer, 0) > 0;
        int32_t interval = key_count(r->keys, "full_attention_interval", r->known->period);
        return r->unclear || (interval > 0 && (layer + 1) % interval != 0);
    case RECURRENT_BESIDE:
    case RECURRENT_ALL:
        return true;
    }
    return false;
}

static void take_layer(const layer_rules *r, int layer, bool draft, o3_layer *ret_layer)
{
    /* A list that ends early leaves the largest for the rest. Ollama's own qwen3.5 files have 0 where the interval says
     * recurrent, so that the interval decides and the largest holds. */
    bool by_interval = r->known->recurrence == RECURRENT_INTERVAL;
    int32_t heads_kv = r->known == &unknown || by_interval || (r->known->flags & MLA_FROM_LORA)
                           ? r->heads_kv
                           : key_count_at(r->keys, "attention.head_count_kv", layer, r->heads_kv);
    bool recurrent = !draft && is_recurrent(r, layer, heads_kv);
    bool both = r->known == &unknown || r->known->recurrence == RECURRENT_BESIDE || r->unclear;
    bool none = (recurrent && !both) || layer >= r->kv_layers || r->known->recurrence == RECURRENT_ALL;
    bool window = !draft && sees_window(r, layer);
    ret_layer->heads_kv = none ? 0 : heads_kv;
    ret_layer->state_bytes = recurrent ? r->state_bytes : 0;
    ret_layer->window_tokens = window && !none ? r->window : 0;
    ret_layer->key_dim = window ? r->key_swa : r->key;
    ret_layer->value_dim = window ? r->value_swa : r->value;
}

/* Widths of the cached heads. MLA caches one head of kv_lora_rank + rope values, of which the first kv_lora_rank are
 * the values again. */
static void take_widths(layer_rules *r, o3_model *model)
{
    int32_t first = key_count_at(r->keys, "attention.head_count", 0, 0);
    int32_t plain = first > 0 && model->embedding > 0 ? model->embedding / first : -1;
    r->key = key_count(r->keys, "attention.key_length", plain);
    r->value = key_count(r->keys, "attention.value_length", plain);
    bool from_lora = (r->known->flags & MLA_FROM_LORA) && r->key > 0;
    int32_t mla_key = from_lora ? r->key : key_count(r->keys, "attention.key_length_mla", 0);
    int32_t mla_value = from_lora ? r->key : key_count(r->keys, "attention.value_length_mla", 0);
    if ((r->known->flags & MLA) && mla_key > 0 && mla_value > 0) {
        model->mla_kv_lora = key_count(r->keys, "attention.kv_lora_rank", 0);
        model->mla_rope = key_count(r->keys, "rope.dimension_count", 0);
        model->mla_q_lora = key_count(r->keys, "attention.q_lora_rank", 0);
        model->mla_key = mla_key;
        model->mla_value = mla_value;
    } else if (model->mixer == O3_MIXER_MLA) { /* a file from before the compressed cache: plain attention */
        model->mixer = O3_MIXER_NONE;
    }
    if (from_lora) {
        r->heads_kv = 1;
        r->key = model->mla_kv_lora + model->mla_rope;
        r->value = model->mla_kv_lora;
    }
    model->head_dim = r->key;
    r->key = r->key < 0 ? 0 : r->key;
    if (r->known->flags & MORE_CACHE) /* the indexer's keys, in a cache of their own */
        r->key += key_count(r->keys, "attention.indexer.key_length", 0);
    r->value = r->value < 0 ? 0 : r->value;
    r->key_swa = key_count(r->keys, "attention.key_length_swa", r->key);
    r->value_swa = key_count(r->keys, "attention.value_length_swa", r->value);
    bool pattern_hidden = r->period <= 0 && key_hidden(r->keys, "attention.sliding_window_pattern");
    if (r->known == &unknown || pattern_hidden) { /* which layer has which width is not known */
        r->key = r->key_swa > r->key ? r->key_swa : r->key;
        r->value = r->value_swa > r->value ? r->value_swa : r->value;
    }
}

/* Is the layers' kind left out: recurrent or not, window or not? */
static bool kinds_hidden(const model_keys *keys, const architecture *known)
{
    /* Where the architecture fixes a period, the engine does not read the array. */
    bool listed = known == &unknown || (known->flags & WINDOW_LISTED);
    return (listed && key_hidden(keys, "attention.sliding_window_pattern")) ||
           (known->recurrence == RECURRENT_NO_HEADS_NO_FF && key_hidden(keys, "feed_forward_length")) ||
           (known->recurrence == RECURRENT_INTERVAL && key_hidden(keys, "attention.recurrent_layers"));
}

bool layers_want_arrays(const model_keys *keys, const architecture *known)
{
    return key_hidden(keys, "attention.head_count") || key_hidden(keys, "attention.head_count_kv") ||
           key_hidden(keys, "feed_forward_length") || kinds_hidden(keys, known ? known : &unknown);
}

/* Says what the numbers are not. */
static void judge(o3_model *model, const layer_rules *r)
{
    bool attention = r->known->recurrence != RECURRENT_ALL, kinds = kinds_hidden(r->keys, r->known);
    bool sized = model->layers > 0 && (!attention || (r->heads_kv > 0 && model->head_dim > 0));
    model->kv_exact = sized && r->known != &unknown && !r->heads_hidden && !kinds && !(r->known->flags & MORE_CACHE);
    if (!sized)
        o3_note(&model->notes, "the server does not tell layers, heads or width of this model; KV is known only after "
                "the first load");
    if (r->heads_hidden)
        o3_note(&model->notes, "key/value heads differ by layer, which this answer leaves out; KV is an upper estimate");
    if (kinds)
        o3_note(&model->notes, "which layers have a window or a recurrent state is left out of this answer; memory is "
                "an upper estimate");
    if (r->known == &unknown)
        o3_note(&model->notes, "architecture %s is not in the table of known ones; memory is an upper estimate until "
                "the first load", model->architecture);
    if (r->known->flags & MORE_CACHE)
        o3_note(&model->notes, "%s keeps an indexer cache besides K and V; KV is an upper estimate",
                model->architecture);
    if (model->draft_layers > 0)
        o3_note(&model->notes, "the last %d of the layers only draft tokens ahead: their weights and cache are counted, "
                "the buffers of a second context that drafts with them are not", model->draft_layers);
}

void layers_take(o3_model *model, const model_keys *keys, const architecture *known, const tensor_facts *facts)
{
    layer_rules r = {.keys = keys, .known = known ? known : &unknown};
    model->mixer = r.known->mixer;
    model->fused_qkv = (r.known->flags & FUSED_QKV) || (facts->fused_qkv && r.known->mixer != O3_MIXER_DELTA_NET);
    model->one_slot = r.known->flags & ONE_SLOT;
    r.heads_hidden = key_hidden(keys, "attention.head_count_kv");
    r.unclear = (r.heads_hidden && r.known->recurrence != RECURRENT_INTERVAL) || kinds_hidden(keys, r.known);
    take_window(&r, model);
    take_widths(&r, model);
    /* The tensors bound what the arrays would tell. */
    if (model->heads < 0 && r.key > 0 && facts->q_rows > 0)
        model->heads = facts->q_rows / r.key;
    int32_t narrow = r.key_swa < r.key ? r.key_swa : r.key;
    if (r.heads_hidden)
        r.heads_kv = narrow > 0 && facts->k_rows > 0 ? (facts->k_rows + narrow - 1) / narrow : model->heads;
    else if (!(r.known->flags & MLA_FROM_LORA))
        r.heads_kv = key_count(keys, "attention.head_count_kv", model->heads);
    model->heads_kv = r.heads_kv;
    r.heads_kv = r.heads_kv > 0 ? r.heads_kv : 0;
    r.state_bytes = state_bytes(model, keys, r.known, r.key);
    if (r.known == &unknown && r.state_bytes > 0)
        model->mixer = O3_MIXER_OTHER;
    r.kv_layers = r.known->flags & FIRST_20_KEEP_KV ? 20
                  : r.known->flags & SHARED_KV ? model->layers - key_count(keys, "attention.shared_kv_layers", 0)
                                               : model->layers;
    for (int i = 0; i < model->layers; i++)
        take_layer(&r, i, i >= model->layers - model->draft_layers, &model->layer[i]);
    judge(model, &r);
}
