/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a load, part by part: KV and output exactly as the engine allocates them, state from the model, compute by
 * replaying the graph allocator (memory_graph.c). */
#include "predict_impl.h"

/* Architectures that releases of era A evaluate with Ollama's own engine instead of llama.cpp. */
static const struct {
    const char *name;
    bool flash;       /* uses flash attention unless it is switched off */
    int32_t memory;   /* tokens that a window layer remembers; 0 = its window */
} own_engine[] = {
    {"deepseek2", false, 0}, {"gemma3", true, 0},   {"gemma3n", false, 0},   {"gemma4", true, 0},
    {"gpt-oss", true, 4096}, {"gptoss", true, 4096}, {"lfm2", true, 0},       {"lfm2moe", true, 0},
    {"llama4", false, 0},    {"mistral3", true, 0}, {"nemotron_h", true, 0}, {"nemotron_h_moe", true, 0},
    {"olmo3", true, 0},      {"qwen25vl", false, 0}, {"qwen3", true, 0},      {"qwen3moe", true, 0},
    {"qwen35", true, 0},     {"qwen35moe", true, 0}, {"qwen3next", true, 0},  {"qwen3vl", true, 0},
    {"qwen3vlmoe", true, 0}, {"glm4moelite", true, 0},
};

static int own_engine_row(const o3_model *model, const o3_setting *setting)
{
    for (int i = 0; i < O3_COUNT(own_engine) && setting->era == O3_ERA_A; i++)
        if (!strcmp(own_engine[i].name, model->architecture))
            return i;
    return -1;
}

bool predict_own_engine(const o3_model *model, const o3_setting *setting, bool *ret_flash)
{
    int row = own_engine_row(model, setting);
    if (ret_flash)
        *ret_flash = row < 0 || own_engine[row].flash;
    return row >= 0;
}

static int64_t pad_grid(int64_t x)
{
    return (x + O3_CTX_GRID - 1) / O3_CTX_GRID * O3_CTX_GRID;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

const o3_layer *predict_attention_layer(const o3_model *model)
{
    for (int i = 0; i < model->layers; i++)
        if (model->layer[i].heads_kv > 0)
            return &model->layer[i];
    return NULL;
}

/* One cache for all slots; a window layer remembers a little more than its window, and the batch. */
static batch_shape own_engine_shape(const o3_model *model, const o3_setting *setting, int64_t window)
{
    int64_t slots = setting->parallel, ctx = setting->knobs.num_ctx, tokens = least(predict_batch(setting), ctx);
    int64_t memory = own_engine[own_engine_row(model, setting)].memory;
    memory = memory > window ? memory : window + (slots > 1);
    int64_t kept = pad_grid(memory >= ctx ? slots * ctx : slots * memory + tokens);
    return (batch_shape){.tokens = (double)tokens, .streams = 1, .cells = (double)pad_grid(slots * ctx),
                         .window_cells = window ? (double)kept : 0};
}

batch_shape predict_shape(const o3_model *model, const o3_setting *setting)
{
    int64_t slots = setting->parallel, ctx = setting->knobs.num_ctx > 0 ? setting->knobs.num_ctx : 0, window = 0;
    for (int i = 0; i < model->layers; i++)
        if (model->layer[i].heads_kv > 0 && model->layer[i].window_tokens > window)
            window = model->layer[i].window_tokens;
    if (predict_own_engine(model, setting, NULL))
        return own_engine_shape(model, setting, window);
    int64_t streams = setting->kv_unified ? 1 : slots, total = pad_grid(ctx * slots), cells = pad_grid(total / streams);
    int64_t tokens = least(predict_batch(setting), ctx * slots);
    /* a window layer keeps the window and the batch that slides over it, never more than the context */
    int64_t kept = least(cells, pad_grid(window * slots / streams + tokens));
    return (batch_shape){.tokens = (double)((tokens + slots - 1) / slots * slots), .streams = (double)streams,
                         .cells = (double)cells, .window_cells = window ? (double)kept : 0};
}

double predict_rotation(const o3_model *model, const o3_setting *setting)
{
    const o3_layer *l = predict_attention_layer(model);
    if (!setting->kv_type->quantized || setting->era == O3_ERA_A || !l || l->key_dim % 64 || l->value_dim % 64 ||
        model->mixer == O3_MIXER_MLA)
        return 0;
    return l->key_dim & -l->key_dim; /* the largest power of two that divides a head */
}

double predict_layer_kv(const o3_model *model, const o3_setting *setting, const batch_shape *shape, int layer)
{
    const o3_layer *l = &model->layer[layer];
    /* MLA: values are a part of the keys, and current engines keep the keys only */
    int32_t width = l->key_dim + (model->mixer == O3_MIXER_MLA && setting->era != O3_ERA_A ? 0 : l->value_dim);
    double cells = l->window_tokens > 0 ? shape->window_cells : shape->cells;
    return (double)l->heads_kv * width * cells * shape->streams * setting->kv_type->bytes / setting->kv_type->values;
}
