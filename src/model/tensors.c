/* SPDX-License-Identifier: Apache-2.0 */
/* The list of tensors: bytes by layer and part, and the few sizes that only their shapes tell. Shapes are in ggml's
 * order: values of a row first, then rows, then experts. */
#include "model_impl.h"

#define BYTES_MAX INT64_C(1000000000000000) /* of all tensors together: a petabyte is no model */

static double elements_of(const json_t *shape)
{
    double elements = 1;
    for (size_t i = 0; i < json_array_size(shape); i++) {
        const json_t *dimension = json_array_get(shape, i);
        elements *= json_is_number(dimension) ? json_number_value(dimension) : NAN;
    }
    return json_is_array(shape) ? elements : NAN;
}

static int64_t bytes_of(const json_t *tensor, double elements)
{
    const char *type = json_string_value(json_object_get(tensor, "type"));
    int32_t per_block, block_bytes;
    if (!type || !o3_tensor_type(type, &per_block, &block_bytes))
        return -1;
    return elements >= 0 && elements < (double)BYTES_MAX ? (int64_t)(elements / per_block) * block_bytes : -1;
}

static int32_t dimension(const json_t *tensor, size_t i)
{
    double x = json_number_value(json_array_get(json_object_get(tensor, "shape"), i));
    return x > 0 && x < 1 << 28 ? (int32_t)x : 0;
}

/* Vision and audio towers in the same file; the text engine does not load them with the layers. */
static bool is_projector(const char *name)
{
    static const char *const prefixes[] = {"v.", "mm.", "a.", "model.vision_tower."};
    for (int i = 0; i < O3_COUNT(prefixes); i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
            return true;
    return false;
}

static void widest(int32_t *largest, int32_t x)
{
    *largest = x > *largest ? x : *largest;
}

/* Tensors of a layer whose shape tells something: by the name behind "blk.N.". */
static void take_shape(tensor_facts *facts, const char *part, const json_t *tensor)
{
    const struct {
        const char *part;
        size_t dimension;
        int32_t *largest;
    } shapes[] = {
        {"ffn_down.weight", 0, &facts->ff},           {"ffn_down_exps.weight", 0, &facts->expert_ff},
        {"ffn_down_shexp.weight", 0, &facts->shared_ff}, {"attn_q.weight", 1, &facts->q_rows},
        {"attn_k.weight", 1, &facts->k_rows},
    };
    for (int i = 0; i < O3_COUNT(shapes); i++)
        if (!strcmp(part, shapes[i].part))
            widest(shapes[i].largest, dimension(tensor, shapes[i].dimension));
}

/* The routed experts: stacked in one tensor, or (old Mixtral files) "ffn_up.3.weight" each. */
static bool is_expert(const char *part)
{
    int expert, len = 0;
    return strstr(part, "_exps.") || (sscanf(part, "ffn_%*[a-z].%d.%n", &expert, &len) == 1 && len > 0);
}

static void take_layer_tensor(o3_model *model, tensor_facts *facts, const char *name, const json_t *tensor,
                              int64_t begin, int64_t bytes)
{
    int layer = -1, len = 0;
    if (sscanf(name, "blk.%d.%n", &layer, &len) != 1 || len == 0 || layer < 0 || layer >= model->layers)
        return;
    const char *part = name + len;
    o3_layer *l = &model->layer[layer];
    if (!l->weight_bytes)
        l->begin_bytes = begin;
    l->end_bytes = begin + bytes;
    l->weight_bytes += bytes;
    if (is_expert(part))
        l->expert_bytes += bytes;
    take_shape(facts, part, tensor);
    facts->fused_qkv = facts->fused_qkv || !strcmp(part, "attn_qkv.weight");
}

static void take_tensor(o3_model *model, tensor_facts *facts, const char *name, const json_t *tensor, int64_t bytes)
{
    if (is_projector(name)) {
        model->projector_bytes += bytes;
        facts->vision = facts->vision || name[0] != 'a';
        return;
    }
    if (!strncmp(name, "mtp.", 4))
        o3_note(&model->notes, "it has tensors that only draft tokens ahead (mtp.*): they are counted with the weights, "
                "the buffers of a second context that drafts with them are not");
    int64_t begin = model->weight_bytes;
    model->weight_bytes += bytes;
    if (bytes > model->largest_tensor_bytes)
        model->largest_tensor_bytes = bytes;
    if (!strcmp(name, "token_embd.weight")) {
        model->token_embd_bytes = bytes;
        model->token_embd_begin_bytes = begin;
        facts->vocab = dimension(tensor, 1);
    } else if (!strcmp(name, "output.weight")) {
        model->output_bytes = bytes;
        model->has_output_tensor = true;
    } else {
        take_layer_tensor(model, facts, name, tensor, begin, bytes);
    }
}

void tensors_take(o3_model *model, const json_t *tensors, tensor_facts *ret_facts)
{
    double parameters = 0;
    *ret_facts = (tensor_facts){.parameters = -1};
    model->weight_bytes = model->token_embd_bytes = model->output_bytes = model->largest_tensor_bytes = -1;
    model->token_embd_begin_bytes = -1;
    if (!json_array_size(tensors))
        return;
    model->weight_bytes = model->output_bytes = model->largest_tensor_bytes = 0;
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        const json_t *tensor = json_array_get(tensors, i);
        const char *name = json_string_value(json_object_get(tensor, "name"));
        double elements = elements_of(json_object_get(tensor, "shape"));
        int64_t bytes = bytes_of(tensor, elements);
        if (!name || bytes < 0 || bytes > BYTES_MAX - model->weight_bytes - model->projector_bytes) {
            o3_note(&model->notes, "tensor %s has a type or a size this release does not know; weights are taken from "
                    "the file size", name ? name : "without a name");
            model->weight_bytes = model->largest_tensor_bytes = model->output_bytes = -1;
            for (int l = 0; l < model->layers; l++)
                model->layer[l].weight_bytes = model->layer[l].expert_bytes = model->layer[l].end_bytes = 0;
            return;
        }
        parameters += elements;
        take_tensor(model, ret_facts, name, tensor, bytes);
    }
    ret_facts->parameters = (int64_t)parameters;
}
