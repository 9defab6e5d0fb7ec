/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes of a load lie. Blocks are numbered from 0, the output matrix is the last; devices take the last ones,
 * the host keeps the first and the token embeddings. Rules of llama.cpp b10488 and of the server around it. */
#include "predict_impl.h"

typedef struct device {
    double free_bytes;
    int begin, end; /* the layers it holds */
} device;

typedef struct placer {
    const o3_profile *profile;
    const o3_model *model;
    const o3_setting *setting;
    batch_shape shape;
    int layers;          /* blocks + 1 */
    double other_bytes;  /* tensors outside of blocks, embeddings and output */
    int begin;           /* the first layer that is not the host's */
    int count;
    device device[O3_GPUS_MAX];
    double before[O3_LAYERS_MAX + 1]; /* bytes of the blocks before this one, without what is computed */
    double full_compute;    /* of a device while the host has no block; NaN = not asked for yet */
    double partial_compute; /* of the first device while it has some; NaN likewise */
} placer;

/* Blocks share what is not listed. */
static double block_weights(const o3_model *m, int i)
{
    if (m->layer[i].weight_bytes > 0)
        return (double)m->layer[i].weight_bytes;
    double listed = fmax(0, (double)m->token_embd_bytes) + fmax(0, (double)m->output_bytes);
    return fmax(0, (double)m->weight_bytes - listed) / m->layers;
}

/* The output matrix as a device needs it: models without one use the embeddings a second time. */
static double output_weights(const o3_model *m)
{
    return m->output_bytes > 0 ? (double)m->output_bytes : fmax(0, (double)m->token_embd_bytes);
}

static void add_layers(const placer *p, memory_place *place, int begin, int end)
{
    for (int i = begin; i < end && i < p->layers - 1; i++) {
        double kv = predict_layer_kv(p->model, p->setting, &p->shape, i);
        place->weights += block_weights(p->model, i);
        place->kv += kv;
        place->window_kv += p->model->layer[i].window_tokens > 0 ? kv : 0;
        place->state += (double)p->model->layer[i].state_bytes * p->setting->parallel;
    }
    place->layers += end - begin;
}

/* A device refuses a tensor that is too large for one of its buffers; only output matrices come that large. */
static bool takes_output(const placer *p, int d)
{
    int64_t most = p->profile->gpus[d].max_tensor_bytes;
    return most < 0 || output_weights(p->model) <= (double)most;
}

/* Of the second device and those after it as if the host had none. */
static double device_compute(placer *p, int d)
{
    double *known = p->begin > 0 && d == 0 ? &p->partial_compute : &p->full_compute;
    if (isnan(*known))
        *known = predict_compute(p->model, p->setting, &p->shape, known == &p->full_compute ? 0 : p->layers - 2);
    return *known;
}

/* Weights outside of the blocks, on the device that has the last layer. */
static double last_weights(const placer *p, int d)
{
    const device *v = &p->device[d];
    return v->end == p->layers && v->begin < v->end ? p->other_bytes + (takes_output(p, d) ? output_weights(p->model) : 0) : 0;
}

static memory_place device_place(placer *p, int d)
{
    const device *v = &p->device[d];
    memory_place place = {.gpu = d};
    add_layers(p, &place, v->begin, v->end);
    place.weights += last_weights(p, d);
    if (v->begin < v->end)
        place.compute = device_compute(p, d);
    return place;
}

/* The last `offloaded` layers in proportion to what is free: on one device if `alone` names it, else on all. */
static void spread(placer *p, int offloaded, int alone)
{
    double all = 0, before = 0;
    for (int d = 0; d < p->count; d++)
        all += alone < 0 || d == alone ? p->device[d].free_bytes : 0;
    int at = p->begin = p->layers - offloaded;
    for (int d = 0; d < p->count; d++) {
        bool used = alone < 0 || d == alone;
        before += used ? p->device[d].free_bytes : 0;
        p->device[d].begin = at;
        at = p->device[d].end = used ? p->begin + (int)ceil(all > 0 ? offloaded * before / all : offloaded) : at;
    }
}

static bool fits(placer *p)
{
    for (int d = 0; d < p->count; d++) {
        const device *v = &p->device[d];
        int end = v->end < p->layers ? v->end : p->layers - 1, begin = v->begin < end ? v->begin : end;
        double room = v->free_bytes - (double)p->setting->fit_target_bytes;
        room -= p->before[end] - p->before[begin] + last_weights(p, d);
        if (v->begin < v->end && (room < 0 || room < device_compute(p, d)))
            return false;
    }
    return true;
}

/* As many layers as leave the target free on each device; one device alone if it takes them all. */
static int fit(placer *p)
{
    for (int d = 0; d < p->count; d++) {
        spread(p, p->layers, d);
        if (fits(p))
            return p->layers;
    }
    for (int n = p->layers; n > 0; n--) {
        spread(p, n, -1);
        if (fits(p))
            return n;
    }
    return 0;
}

static void find_devices(placer *p)
{
    for (int i = 0; i < p->layers - 1; i++) {
        memory_place place = {0};
        add_layers(p, &place, i, i + 1);
        p->before[i + 1] = p->before[i] + place.weights + place.kv + place.state;
    }
    const o3_profile *profile = p->profile;
    p->count = profile->gpu_count;
    for (int d = 0; d < p->count; d++) {
        int pool = profile->gpus[d].pool;
        bool known = pool >= 0 && pool < profile->pool_count && profile->pools[pool].total_bytes > 0;
        const o3_pool *at = known ? &profile->pools[pool] : NULL;
        int64_t used = at && at->used_bytes > at->models_bytes ? at->used_bytes - at->models_bytes : 0;
        p->device[d].free_bytes = at ? (double)(at->total_bytes - used) : 0;
    }
}

/* With pages of the file, the host's buffer is the stretch from its first to its last tensor, whatever lies between. */
static double mapped_stretch(const o3_model *m, int blocks)
{
    int64_t begin = m->token_embd_begin_bytes, end = begin + m->token_embd_bytes;
    if (begin < 0 || m->token_embd_bytes < 0)
        return 0;
    for (int i = 0; i < blocks && i < m->layers; i++) {
        if (!m->layer[i].end_bytes)
            return 0; /* unknown */
        begin = m->layer[i].begin_bytes < begin ? m->layer[i].begin_bytes : begin;
        end = m->layer[i].end_bytes > end ? m->layer[i].end_bytes : end;
    }
    return (double)(end - begin);
}

static memory_place host_place(const placer *p, int blocks)
{
    const o3_model *m = p->model;
    bool own = predict_own_engine(m, p->setting, NULL);
    memory_place place = {.gpu = -1, .output = own ? 0 : 4.0 * fmax(0, m->vocab) * p->setting->parallel};
    add_layers(p, &place, 0, blocks);
    if (blocks == p->layers) {
        /* Ollama's own engine loads the embeddings twice where they are the output matrix too */
        place.weights = fmax(0, (double)m->weight_bytes) + (own && m->output_bytes <= 0 ? output_weights(m) : 0);
        place.compute = predict_compute(m, p->setting, &p->shape, -1);
        return place;
    }
    bool kept = m->output_bytes > 0 && !takes_output(p, p->count - 1);
    place.weights += fmax(0, (double)m->token_embd_bytes) + (kept ? (double)m->output_bytes : 0);
    place.mapped = p->setting->knobs.use_mmap != 0;
    if (place.mapped)
        place.weights = fmax(place.weights, mapped_stretch(m, blocks));
    place.compute = predict_compute_beside(m, p->setting, &p->shape, blocks);
    return place;
}

void predict_layout(memory_layout *ret_layout, const o3_profile *profile, const o3_model *model,
                    const o3_setting *setting)
{
    placer p = {.profile = profile, .model = model, .setting = setting, .shape = predict_shape(model, setting),
                .layers = model->layers + 1, .full_compute = NAN, .partial_compute = NAN};
    int32_t asked = setting->knobs.num_gpu; /* unset and -1: as many as fit */
    p.other_bytes = (double)model->weight_bytes - fmax(0, (double)model->token_embd_bytes) -
                    fmax(0, (double)model->output_bytes);
    for (int i = 0; i < model->layers; i++)
        p.other_bytes = fmax(0, p.other_bytes - block_weights(model, i));
    if (asked != 0)
        find_devices(&p);
    int offloaded = !p.count ? 0 : asked < 0 ? fit(&p) : asked < p.layers ? asked : p.layers;
    if (p.count && asked >= 0) {
        spread(&p, offloaded, 0);
        if (!fits(&p))
            spread(&p, offloaded, -1);
    }
    if (offloaded > 0 && offloaded < p.layers) /* which blocks' caches are copied is known now */
        p.partial_compute = predict_compute(model, setting, &p.shape, p.layers - offloaded);
    *ret_layout = (memory_layout){.count = 1, .spilled_frac = p.count ? 1 - (double)offloaded / p.layers : 0};
    ret_layout->at[0] = host_place(&p, p.layers - offloaded);
    for (int d = 0; d < p.count && offloaded > 0; d++)
        ret_layout->at[ret_layout->count++] = device_place(&p, d);
}

/* What releases before 0.30 say of a model that llama.cpp evaluates: weights and a cache, no more. */
static double older_estimate(const o3_model *m, const o3_setting *setting)
{
    const o3_kv_type *type = setting->kv_type;
    double value = !type->quantized ? (double)type->bytes : !strcmp(type->name, "q4_0") ? 0.5 : 1, kv = 0;
    for (int i = 0; i < m->layers; i++)
        kv += value * m->layer[i].heads_kv * (m->layer[i].key_dim + m->layer[i].value_dim) * setting->knobs.num_ctx *
                  setting->parallel + (double)m->layer[i].state_bytes;
    return fmax(0, (double)m->weight_bytes) - (m->output_bytes > 0 ? fmax(0, (double)m->token_embd_bytes) : 0) + kv;
}

/* Ollama's parser keeps one line for each kind of cache and memory, so that of two caches the later one counts: that of
 * the layers with a window. What an older release reports is its own estimate. */
double predict_ps(const memory_layout *layout, const o3_model *model, const o3_setting *setting)
{
    double host = 0, devices = 0, mapped = 0, in_file = 0;
    bool own = predict_own_engine(model, setting, NULL), whole = layout->count > 1 && layout->spilled_frac <= 0;
    if (setting->era == O3_ERA_A && !own)
        return older_estimate(model, setting);
    for (int i = 0; i < layout->count; i++) {
        const memory_place *at = &layout->at[i];
        double kv = at->window_kv > 0 && !own ? at->window_kv : at->kv;
        *(i ? &devices : &host) += at->weights + kv + at->state + at->compute + at->output;
        mapped += i == 0 && at->mapped ? at->weights : 0;
        in_file += i > 0 || at->mapped ? at->weights : 0;
    }
    double file = model->file_bytes > 0 ? (double)model->file_bytes : (double)model->weight_bytes;
    if (own)
        return host + devices;
    return whole ? devices : host + devices - fmin(mapped, fmax(0, in_file - file));
}
