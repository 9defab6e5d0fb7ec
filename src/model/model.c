/* SPDX-License-Identifier: Apache-2.0 */
/* /api/show -> o3_model. Plain show lists every tensor with type and shape, but gives every array as null: so a
 * per-layer array is known here only where the architecture fixes its pattern (table below). */
#include "base/base.h"
#include "o3/model.h"

/* Which layers see only a sliding window: layer i does if i % period < period - 1 (facts: llama.cpp's hard-coded
 * set_swa_pattern calls). Architectures with a window that are not listed count as full attention: an upper bound. */
static const struct {
    const char *architecture;
    int period;
} swa_patterns[] = {
    {"gemma2", 2}, {"gemma3", 6}, {"gpt-oss", 2}, {"gptoss", 2}, {"cohere2", 4}, {"olmo3", 4},
};

/* Architectures whose memory is plain attention KV in every layer. Anything else is an upper estimate and says so. */
static const char *const plain[] = {
    "llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "gemma", "gemma2", "gemma3", "phi2", "phi3", "mistral",
    "mistral3", "starcoder2", "stablelm", "command-r", "cohere2", "olmo", "olmo2", "olmo3", "internlm2", "granite",
    "granitemoe", "gpt-oss", "gptoss", "glm4", "exaone", "smollm3", "falcon", "mixtral", "ernie4_5", "hunyuan-dense",
};

typedef struct reader {
    const json_t *info;
    const char *architecture;
} reader;

static int64_t number(const reader *r, const char *key, int64_t missing)
{
    char path[128];
    if (strchr(key, ':'))
        O3_COPY(path, key + 1); /* ":general.x" is absolute */
    else
        O3_FORMAT(path, "%s.%s", r->architecture, key);
    const json_t *value = json_object_get(r->info, path);
    double x = json_is_number(value) ? json_number_value(value) : NAN;
    return x > -1e15 && x < 1e15 ? (int64_t)x : missing;
}

/* A count from outside, bounded before anything is computed with it. */
static int32_t count(const reader *r, const char *key, int32_t missing)
{
    int64_t value = number(r, key, missing);
    return value < 0 || value > (1 << 24) ? missing : (int32_t)value;
}

static bool present(const reader *r, const char *key)
{
    char path[128];
    O3_FORMAT(path, "%s.%s", r->architecture, key);
    return json_object_get(r->info, path) != NULL;
}

static int64_t tensor_bytes(const json_t *tensor)
{
    const char *type = json_string_value(json_object_get(tensor, "type"));
    const json_t *shape = json_object_get(tensor, "shape");
    int32_t per_block, block_bytes;
    if (!type || !o3_tensor_type(type, &per_block, &block_bytes))
        return -1;
    double elements = 1;
    for (size_t i = 0; i < json_array_size(shape); i++)
        elements *= json_number_value(json_array_get(shape, i));
    return elements >= 0 && elements < 1e15 ? (int64_t)(elements / per_block) * block_bytes : -1;
}

static void take_tensors(o3_model *model, const json_t *tensors)
{
    int64_t total = 0;
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        const json_t *tensor = json_array_get(tensors, i);
        const char *name = json_string_value(json_object_get(tensor, "name"));
        int64_t bytes = tensor_bytes(tensor);
        int layer = -1;
        if (!name || bytes < 0) {
            o3_note(&model->notes, "tensor %s has a type this release does not know; weights are taken from the file "
                    "size", name ? name : "without a name");
            model->weight_bytes = -1;
            return;
        }
        total += bytes;
        if (sscanf(name, "blk.%d.", &layer) == 1 && layer >= 0 && layer < model->layers)
            model->layer[layer].weight_bytes += bytes;
        if (!strcmp(name, "token_embd.weight")) {
            model->token_embd_bytes = bytes;
            const json_t *shape = json_object_get(tensor, "shape");
            int64_t rows = json_integer_value(json_array_get(shape, 1));
            if (model->vocab < 0 && rows > 0 && rows < (1 << 28))
                model->vocab = (int32_t)rows;
        }
        model->has_output_tensor = model->has_output_tensor || !strcmp(name, "output.weight");
    }
    if (json_array_size(tensors))
        model->weight_bytes = total;
}

static int swa_period(const char *architecture)
{
    for (int i = 0; i < O3_COUNT(swa_patterns); i++)
        if (!strcmp(architecture, swa_patterns[i].architecture))
            return swa_patterns[i].period;
    return 0;
}

static void take_attention(o3_model *model, const reader *r)
{
    int32_t head = model->heads > 0 && model->embedding > 0 ? model->embedding / model->heads : 0;
    int32_t key = count(r, "attention.key_length", head), value = count(r, "attention.value_length", head);
    int32_t window = count(r, "attention.sliding_window", 0);
    int period = window > 0 ? swa_period(model->architecture) : 0;
    int32_t explicit_period = count(r, "attention.sliding_window_pattern", 0);
    if (window > 0 && explicit_period > 0)
        period = explicit_period;
    char per_layer[128];
    O3_FORMAT(per_layer, "%s.attention.head_count_kv", r->architecture);
    bool array = json_is_null(json_object_get(r->info, per_layer)) && present(r, "attention.head_count_kv");
    if (array)
        o3_note(&model->notes, "key/value heads differ by layer, which this answer leaves out; KV is an upper estimate");
    model->kv_exact = !array && head > 0 && model->layers > 0 && model->heads_kv >= 0;
    if (head <= 0 || model->layers <= 0)
        o3_note(&model->notes, "the server does not tell layers, heads or width of this model; KV is known only after "
                "the first load");
    for (int i = 0; i < model->layers; i++) {
        o3_layer *l = &model->layer[i];
        l->heads_kv = model->heads_kv >= 0 ? model->heads_kv : model->heads;
        l->key_dim = key;
        l->value_dim = value;
        l->window_tokens = period > 1 && i % period < period - 1 ? window : 0;
    }
    if (window > 0 && period == 0) {
        model->kv_exact = false;
        o3_note(&model->notes, "%s has a sliding window whose layers are not known here; KV is an upper estimate",
                model->architecture);
    }
}

/* What plain attention does not describe. KV stays an upper estimate that the first load corrects. */
static void take_unknowns(o3_model *model, const reader *r)
{
    bool known = false;
    for (int i = 0; i < O3_COUNT(plain); i++)
        known = known || !strcmp(model->architecture, plain[i]);
    static const char *const other[] = {"attention.kv_lora_rank", "ssm.state_size", "full_attention_interval",
                                        "attention.shared_kv_layers", "shortconv.l_cache", "attention.chunk_size"};
    for (int i = 0; i < O3_COUNT(other); i++)
        known = known && !present(r, other[i]);
    if (!known) {
        model->kv_exact = false;
        o3_note(&model->notes, "architecture %s is not in the table of plain attention; memory is an upper estimate "
                "until the first load", model->architecture);
    }
}

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

static o3_status refuse(const char *name, const json_t *show, const o3_engine_model *entry, const reader *r,
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
    if ((lists && !has_capability(show, "completion")) || (!lists && present(r, "pooling_type")))
        return o3_fail(err, O3_E_IMPOSSIBLE, "%s only makes embeddings; O3 tunes models that generate text, name one "
                       "of those", name);
    if (!*r->architecture)
        return o3_fail(err, O3_E_IMPOSSIBLE, "the server does not tell the architecture of %s, so its memory cannot be "
                       "predicted; is it older than Ollama 0.1.45?", name);
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

static void take_counts(o3_model *model, const reader *r)
{
    model->parameters = number(r, ":general.parameter_count", -1);
    model->trained_tokens = count(r, "context_length", -1);
    model->layers = count(r, "block_count", -1);
    model->embedding = count(r, "embedding_length", -1);
    model->heads = count(r, "attention.head_count", -1);
    model->heads_kv = count(r, "attention.head_count_kv", model->heads);
    model->ff = count(r, "feed_forward_length", -1);
    model->vocab = count(r, "vocab_size", -1);
    model->experts = count(r, "expert_count", 0);
    model->experts_used = count(r, "expert_used_count", 0);
    if (model->experts > 0)
        model->ff = count(r, "expert_feed_forward_length", model->ff);
    if (model->layers > O3_LAYERS_MAX) {
        o3_note(&model->notes, "%d layers are more than this release reads (%d)", model->layers, O3_LAYERS_MAX);
        model->layers = -1;
    }
}

o3_status o3_model_parse(o3_model *ret_model, const char *name, json_t *show, const o3_engine_model *entry,
                         o3_err *err)
{
    o3_model *model = ret_model;
    *model = (o3_model){.file_bytes = entry ? entry->size_bytes : -1, .weight_bytes = -1, .token_embd_bytes = -1};
    const json_t *info = json_object_get(show, "model_info"), *details = json_object_get(show, "details");
    const char *architecture = json_string_value(json_object_get(info, "general.architecture"));
    const char *quantization = json_string_value(json_object_get(details, "quantization_level"));
    reader r = {.info = info, .architecture = architecture ? architecture : ""};
    o3_status status = refuse(name, show, entry, &r, err);
    if (status)
        return status;
    O3_COPY(model->name, name);
    O3_COPY(model->digest, entry ? entry->digest : "");
    O3_COPY(model->architecture, r.architecture);
    O3_COPY(model->quantization, quantization ? quantization : "");
    take_blob(model, show);
    take_counts(model, &r);
    take_attention(model, &r);
    take_tensors(model, json_object_get(show, "tensors"));
    take_unknowns(model, &r);
    if (model->weight_bytes < 0)
        model->weight_bytes = model->file_bytes;
    const json_t *projector = json_object_get(show, "projector_info");
    model->has_vision = has_capability(show, "vision") || json_object_size(projector) > 0;
    /* design.md section 6: small < 3B <= medium < 20B <= large */
    model->size_class = model->parameters >= 20000000000 ? O3_SIZE_LARGE
                        : model->parameters >= 3000000000 ? O3_SIZE_MEDIUM : O3_SIZE_SMALL;
    return O3_OK;
}

const char *o3_size_class_name(o3_size_class size_class)
{
    static const char *const names[] = {"small", "medium", "large"};
    return names[size_class];
}
