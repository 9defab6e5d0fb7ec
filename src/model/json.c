/* SPDX-License-Identifier: Apache-2.0 */
/* o3_model as JSON and back: every field by one table, equal layers counted. What is read back may have been written by
 * anybody, so each number is held against its bounds. */
#include "base/base.h"
#include "o3/model.h"

/* Raise it whenever a field or what the parser makes of a model changes: older documents are then read anew. */
#define DOCUMENT_VERSION 1
#define BYTES_MAX INT64_C(1000000000000000000)
#define COUNT_MAX (1 << 28)

typedef struct field {
    const char *name;
    size_t offset;
    size_t size; /* 1 truth, 4 or 8 number, above that a text */
    int64_t most; /* of a number; -1 (unknown) is the least and null in JSON */
} field;

#define ROW(type, member, largest) {#member, offsetof(type, member), sizeof(((type *)0)->member), (largest)}
static const field fields[] = {
    ROW(o3_model, name, 0),           ROW(o3_model, digest, 0),       ROW(o3_model, architecture, 0),
    ROW(o3_model, quantization, 0),   ROW(o3_model, blob_path, 0),    ROW(o3_model, rope_scaling, 0),
    ROW(o3_model, file_bytes, BYTES_MAX), ROW(o3_model, parameters, BYTES_MAX),
    ROW(o3_model, size_class, O3_SIZE_LARGE), ROW(o3_model, trained_tokens, BYTES_MAX),
    ROW(o3_model, layers, O3_LAYERS_MAX), ROW(o3_model, embedding, COUNT_MAX), ROW(o3_model, heads, COUNT_MAX),
    ROW(o3_model, heads_kv, COUNT_MAX), ROW(o3_model, ff, COUNT_MAX), ROW(o3_model, vocab, COUNT_MAX),
    ROW(o3_model, experts, COUNT_MAX), ROW(o3_model, experts_used, COUNT_MAX), ROW(o3_model, head_dim, COUNT_MAX),
    ROW(o3_model, experts_shared_ff, COUNT_MAX), ROW(o3_model, dense_lead, O3_LAYERS_MAX),
    ROW(o3_model, ff_dense, COUNT_MAX), ROW(o3_model, draft_layers, O3_LAYERS_MAX), ROW(o3_model, mixer, O3_MIXER_OTHER),
    ROW(o3_model, mla_kv_lora, COUNT_MAX), ROW(o3_model, mla_q_lora, COUNT_MAX), ROW(o3_model, mla_rope, COUNT_MAX),
    ROW(o3_model, mla_key, COUNT_MAX), ROW(o3_model, mla_value, COUNT_MAX), ROW(o3_model, ssm_conv, COUNT_MAX), ROW(o3_model, ssm_inner, COUNT_MAX),
    ROW(o3_model, ssm_state, COUNT_MAX), ROW(o3_model, ssm_dt_rank, COUNT_MAX), ROW(o3_model, ssm_groups, COUNT_MAX),
    ROW(o3_model, weight_bytes, BYTES_MAX), ROW(o3_model, token_embd_bytes, BYTES_MAX),
    ROW(o3_model, token_embd_begin_bytes, BYTES_MAX),
    ROW(o3_model, output_bytes, BYTES_MAX), ROW(o3_model, projector_bytes, BYTES_MAX),
    ROW(o3_model, largest_tensor_bytes, BYTES_MAX),
    ROW(o3_model, has_output_tensor, 0), ROW(o3_model, has_vision, 0), ROW(o3_model, fused_qkv, 0),
    ROW(o3_model, one_slot, 0), ROW(o3_model, kv_exact, 0),
};
static const field layer_fields[] = {
    ROW(o3_layer, weight_bytes, BYTES_MAX), ROW(o3_layer, expert_bytes, BYTES_MAX),
    ROW(o3_layer, begin_bytes, BYTES_MAX),  ROW(o3_layer, end_bytes, BYTES_MAX),
    ROW(o3_layer, state_bytes, BYTES_MAX),  ROW(o3_layer, heads_kv, COUNT_MAX),
    ROW(o3_layer, key_dim, COUNT_MAX),      ROW(o3_layer, value_dim, COUNT_MAX),
    ROW(o3_layer, window_tokens, COUNT_MAX),
};
#undef ROW

static json_t *field_json(const void *object, const field *f)
{
    const char *at = (const char *)object + f->offset;
    int64_t wide;
    int32_t narrow;
    switch (f->size) {
    case 1:
        return json_boolean(*at);
    case sizeof(narrow):
        memcpy(&narrow, at, sizeof(narrow));
        return narrow < 0 ? json_null() : json_integer(narrow);
    case sizeof(wide):
        memcpy(&wide, at, sizeof(wide));
        return wide < 0 ? json_null() : json_integer(wide);
    }
    json_t *text = json_string(at);
    return text ? text : json_null();
}

static bool field_read(void *object, const field *f, const json_t *json)
{
    char *at = (char *)object + f->offset;
    if (f->size == 1) {
        *at = (char)json_is_true(json);
        return json_is_boolean(json);
    }
    if (f->size != sizeof(int32_t) && f->size != sizeof(int64_t)) {
        o3_copy(at, f->size, json_is_string(json) ? json_string_value(json) : "");
        return json_is_string(json) || json_is_null(json);
    }
    int64_t wide = json_is_integer(json) ? json_integer_value(json) : -1;
    int32_t narrow = (int32_t)wide;
    if ((!json_is_integer(json) && !json_is_null(json)) || (json_is_integer(json) && wide < 0) || wide > f->most)
        return false;
    memcpy(at, f->size == sizeof(narrow) ? (void *)&narrow : (void *)&wide, f->size);
    return true;
}

/* [[count, weight_bytes, ...], ...] */
static json_t *layers_json(const o3_model *model)
{
    json_t *runs = json_array();
    for (int i = 0, count; i < model->layers; i += count) {
        for (count = 1; i + count < model->layers; count++)
            if (memcmp(&model->layer[i], &model->layer[i + count], sizeof(model->layer[i])))
                break;
        json_t *run = json_array();
        json_array_append_new(run, json_integer(count));
        for (int f = 0; f < O3_COUNT(layer_fields); f++)
            json_array_append_new(run, field_json(&model->layer[i], &layer_fields[f]));
        json_array_append_new(runs, run);
    }
    return runs;
}

static bool layers_read(o3_model *model, const json_t *runs)
{
    int layers = 0;
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *run = json_array_get(runs, i);
        o3_layer layer = {0};
        int64_t count = json_integer_value(json_array_get(run, 0));
        if (count < 1 || count > O3_LAYERS_MAX - layers)
            return false;
        for (int f = 0; f < O3_COUNT(layer_fields); f++)
            if (!field_read(&layer, &layer_fields[f], json_array_get(run, (size_t)f + 1)))
                return false;
        for (; count > 0; count--)
            model->layer[layers++] = layer;
    }
    return json_is_array(runs) && layers == (model->layers > 0 ? model->layers : 0);
}

json_t *o3_model_to_json(const o3_model *model)
{
    json_t *json = json_object(), *notes = json_array();
    json_object_set_new(json, "version", json_integer(DOCUMENT_VERSION));
    for (int i = 0; i < O3_COUNT(fields); i++)
        json_object_set_new(json, fields[i].name, field_json(model, &fields[i]));
    json_t *factor = json_real(model->rope_factor);
    json_object_set_new(json, "rope_factor", factor ? factor : json_null());
    json_object_set_new(json, "layer", layers_json(model));
    for (int i = 0; i < model->notes.count; i++)
        json_array_append_new(notes, json_string(model->notes.text[i]));
    json_object_set_new(json, "notes", notes);
    return json;
}

o3_status o3_model_from_json(o3_model *ret_model, const json_t *json, o3_err *err)
{
    const json_t *version = json_object_get(json, "version"), *factor = json_object_get(json, "rope_factor");
    o3_auto(free) o3_model *model = o3_alloc(1, sizeof(*model));
    if (!json_is_integer(version) || json_integer_value(version) != DOCUMENT_VERSION)
        return o3_fail(err, O3_E_PROTOCOL, "the stored model was written by another release of O3; read the model again");
    for (int i = 0; i < O3_COUNT(fields); i++)
        if (!field_read(model, &fields[i], json_object_get(json, fields[i].name)))
            return o3_fail(err, O3_E_PROTOCOL, "the stored model's %s is damaged; read the model again", fields[i].name);
    if (!layers_read(model, json_object_get(json, "layer")))
        return o3_fail(err, O3_E_PROTOCOL, "the stored model's layers are damaged; read the model again");
    model->rope_factor = json_is_number(factor) ? json_number_value(factor) : NAN;
    const json_t *notes = json_object_get(json, "notes");
    for (size_t i = 0; i < json_array_size(notes); i++)
        if (json_is_string(json_array_get(notes, i)))
            o3_note(&model->notes, "%s", json_string_value(json_array_get(notes, i)));
    *ret_model = *model;
    return O3_OK;
}
