/* SPDX-License-Identifier: Apache-2.0 */
/* An /api/show answer, the server's or one made from a file's header, to o3_model. */
#include "model_impl.h"

static bool has_capability(const json_t *show, const char *wanted)
{
    const json_t *list = json_object_get(show, "capabilities");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name && !strcmp(name, wanted))
            return true;
    }
    return false;
}

static o3_status refuse(const char *name, const json_t *show, const o3_engine_model *entry, const model_keys *keys,
                        o3_err *err)
{
    const char *format = json_string_value(json_object_get(json_object_get(show, "details"), "format"));
    const json_t *remote = json_object_get(show, "remote_model");
    size_t len = strlen(name);
    bool cloud = (entry && entry->remote) || (json_is_string(remote) && json_string_length(remote)) ||
                 (len > 6 && (!strcmp(name + len - 6, "-cloud") || !strcmp(name + len - 6, ":cloud")));
    if (cloud)
        return o3_fail(err, O3_E_IMPOSSIBLE, "%s runs in the cloud, not on this machine; there is nothing to measure "
                       "here, name a local model", name);
    if (format && *format && strcmp(format, "gguf"))
        return o3_fail(err, O3_E_IMPOSSIBLE, "%s is a %s model, for which Ollama ignores num_ctx and num_batch; name a "
                       "GGUF model", name, format);
    bool lists = json_array_size(json_object_get(show, "capabilities")) > 0;
    if ((lists && !has_capability(show, "completion")) || (!lists && key_find(keys, "pooling_type")))
        return o3_fail(err, O3_E_IMPOSSIBLE, "%s only makes embeddings; O3 tunes models that generate text, name one "
                       "of those", name);
    if (!*keys->architecture)
        return o3_fail(err, O3_E_IMPOSSIBLE, "the server does not tell the architecture of %s, so its memory cannot be "
                       "predicted; is it older than Ollama 0.1.45?", name);
    if (!strcmp(keys->architecture, "clip"))
        return o3_fail(err, O3_E_IMPOSSIBLE, "%s is the image projector of a model; name the model's own file", name);
    return O3_OK;
}

/* The local path of the weights stands in the Modelfile's FROM line. */
static void take_blob(o3_model *model, const json_t *show)
{
    const char *text = json_string_value(json_object_get(show, "modelfile"));
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        if (!strncmp(line, "FROM /", 6)) {
            O3_FORMAT(model->blob_path, "%.*s", (int)strcspn(line + 5, "\r\n"), line + 5);
            return;
        }
    }
}

static void take_counts(o3_model *model, const model_keys *keys)
{
    static const struct {
        const char *key;
        size_t offset;
        int32_t missing;
    } counts[] = {
        {"block_count", offsetof(o3_model, layers), -1},
        {"embedding_length", offsetof(o3_model, embedding), -1},
        {"attention.head_count", offsetof(o3_model, heads), -1},
        {"feed_forward_length", offsetof(o3_model, ff), -1},
        {"vocab_size", offsetof(o3_model, vocab), -1},
        {"expert_count", offsetof(o3_model, experts), 0},
        {"expert_used_count", offsetof(o3_model, experts_used), 0},
        {"leading_dense_block_count", offsetof(o3_model, dense_lead), 0},
        {"nextn_predict_layers", offsetof(o3_model, draft_layers), 0},
        {"ssm.conv_kernel", offsetof(o3_model, ssm_conv), 0},
        {"ssm.inner_size", offsetof(o3_model, ssm_inner), 0},
        {"ssm.state_size", offsetof(o3_model, ssm_state), 0},
        {"ssm.time_step_rank", offsetof(o3_model, ssm_dt_rank), 0},
        {"ssm.group_count", offsetof(o3_model, ssm_groups), 0},
    };
    for (int i = 0; i < O3_COUNT(counts); i++) {
        int32_t value = key_count(keys, counts[i].key, counts[i].missing);
        memcpy((char *)model + counts[i].offset, &value, sizeof(value));
    }
    if (model->layers > O3_LAYERS_MAX) {
        o3_note(&model->notes, "%d layers are more than this release reads (%d)", model->layers, O3_LAYERS_MAX);
        model->layers = -1;
    }
    if (model->draft_layers > model->layers)
        model->draft_layers = 0;
    if (model->dense_lead > model->layers)
        model->dense_lead = 0;
    /* A shortconv has its own key for the same width. */
    model->ssm_conv = key_count(keys, "shortconv.l_cache", model->ssm_conv);
    model->parameters = key_number(keys, "general.parameter_count", -1);
    model->trained_tokens = key_number(keys, "context_length", -1);
    if (model->trained_tokens <= 0)
        model->trained_tokens = -1;
}

/* What the metadata leaves out or tells less well than the tensors do. */
static void complete(o3_model *model, const model_keys *keys, const architecture *known, const tensor_facts *facts)
{
    if (facts->vocab > 0) /* the embedding's rows are what the engine cuts the vocabulary to */
        model->vocab = facts->vocab;
    if (model->parameters < 0)
        model->parameters = facts->parameters;
    if (facts->ff > 0 && (model->ff < 0 || (known && (known->flags & FF_BY_TENSOR))))
        model->ff = facts->ff;
    if (model->experts <= 0)
        return;
    int32_t expert_ff = key_count(keys, "expert_feed_forward_length", facts->expert_ff);
    if (model->dense_lead > 0)
        model->ff_dense = facts->ff > 0 ? facts->ff : model->ff > 0 ? model->ff : 0;
    model->ff = expert_ff > 0 ? expert_ff : model->ff;
    int64_t by_count = (int64_t)key_count(keys, "expert_shared_count", 0) * (model->ff > 0 ? model->ff : 0);
    int32_t shared_ff = key_count(keys, "expert_shared_feed_forward_length", 0);
    model->experts_shared_ff = facts->shared_ff > 0 ? facts->shared_ff
                               : shared_ff > 0 ? shared_ff
                               : by_count < 1 << 24 ? (int32_t)by_count : 0;
}

static void take_rope(o3_model *model, const model_keys *keys)
{
    const json_t *factor = key_find(keys, "rope.scaling.factor");
    const char *type = key_text(keys, "rope.scaling.type");
    factor = factor ? factor : key_find(keys, "rope.scale_linear");
    model->rope_factor = json_is_number(factor) ? json_number_value(factor) : NAN;
    O3_COPY(model->rope_scaling, strcmp(type, "none") ? type : "");
}

static model_keys keys_of(const json_t *show)
{
    const json_t *info = json_object_get(show, "model_info");
    const char *name = json_string_value(json_object_get(info, "general.architecture"));
    return (model_keys){.info = info, .architecture = name ? name : ""};
}

o3_status o3_model_parse(o3_model *ret_model, const char *name, json_t *show, const o3_engine_model *entry,
                         o3_err *err)
{
    o3_model *model = ret_model;
    model_keys keys = keys_of(show);
    *model = (o3_model){.file_bytes = entry ? entry->size_bytes : -1};
    o3_status status = refuse(name, show, entry, &keys, err);
    if (status)
        return status;
    const architecture *known = architecture_find(keys.architecture);
    const char *quantization = json_string_value(json_object_get(json_object_get(show, "details"), "quantization_level"));
    tensor_facts facts;
    O3_COPY(model->name, name);
    O3_COPY(model->digest, entry ? entry->digest : "");
    O3_COPY(model->architecture, keys.architecture);
    O3_COPY(model->quantization, quantization ? quantization : "");
    take_blob(model, show);
    take_counts(model, &keys);
    take_rope(model, &keys);
    tensors_take(model, json_object_get(show, "tensors"), &facts);
    complete(model, &keys, known, &facts);
    layers_take(model, &keys, known, &facts);
    if (model->weight_bytes < 0)
        model->weight_bytes = model->file_bytes;
    bool own_projector = json_object_size(json_object_get(show, "projector_info")) > 0;
    model->has_vision = has_capability(show, "vision") || own_projector || facts.vision;
    if (own_projector && model->projector_bytes == 0)
        model->projector_bytes = -1;
    /* design.md section 6: small < 3B <= medium < 20B <= large */
    model->size_class = model->parameters >= 20000000000 ? O3_SIZE_LARGE
                        : model->parameters >= 3000000000 ? O3_SIZE_MEDIUM : O3_SIZE_SMALL;
    return O3_OK;
}

bool o3_model_wants_arrays(const json_t *show)
{
    model_keys keys = keys_of(show);
    return layers_want_arrays(&keys, architecture_find(keys.architecture));
}

const char *o3_size_class_name(o3_size_class size_class)
{
    static const char *const names[] = {"small", "medium", "large"};
    return names[size_class];
}
