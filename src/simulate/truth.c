/* SPDX-License-Identifier: Apache-2.0 */
/* What is so on a machine with a model: bytes are the formulas plus an error that the predictor does not know, speed is
 * a roofline of its own, and some pairs have a cliff. All of it is drawn from the pair's seed. */
#include "simulate_impl.h"

#define LAYERS_ALL 9999        /* num_gpu: more than any model has */
#define KV_ERROR 0.001         /* of good predictions: cells are padded, slots are rounded */
#define COMPUTE_ERROR 0.006
#define KV_READ_CPU 3.0        /* attention reads the cache that much slower than weights are read */
#define KV_READ_GPU 1.3
#define LAYER_S_CPU 100e-6     /* fixed cost of a layer and token */
#define LAYER_S_GPU 8e-6
#define ATTENTION_FLOPS 2.0    /* attention kernels run that much slower than matrix kernels */
#define REQUEST_S 0.004

/* Uniform in [-size, size]. */
static double around(o3_rng *rng, double size)
{
    return size * (2 * o3_rng_unit(rng) - 1);
}

static bool chance(o3_rng *rng, double share)
{
    return o3_rng_unit(rng) < share;
}

static double between(o3_rng *rng, double low, double high)
{
    return low + (high - low) * o3_rng_unit(rng);
}

/* Box & Muller 1958. */
double sim_normal(o3_rng *rng)
{
    double u = 1 - o3_rng_unit(rng), v = o3_rng_unit(rng);
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static void draw_bytes(sim_truth *t, const o3_simulate_request *request, o3_rng *rng)
{
    double lying = request->lying;
    o3_estimate e;
    o3_setting at = o3_setting_at(&t->setting, O3_CTX_GRID);
    o3_calibration none = O3_CALIBRATION_NONE;
    o3_predict_bytes(&e, t->profile, t->model, &at, &none);
    t->overhead_bytes = between(rng, e.overhead_bytes.low, e.overhead_bytes.high);
    t->fixed_error = around(rng, lying);
    t->kv_error = around(rng, lying > 0 ? lying : KV_ERROR);
    t->kv_power = lying > 0 ? (double[]){0, 0, 0.5, 1}[o3_rng_below(rng, 4)] : 0;
    t->compute_error = lying > 0 ? around(rng, lying) : between(rng, -0.001, COMPUTE_ERROR);
}

static void draw_cliffs(sim_truth *t, o3_rng *rng)
{
    for (int i = 0; i < t->profile->pool_count; i++)
        t->hard_frac[i] = 1;
    for (int i = 0; i < t->profile->gpu_count; i++) { /* an allocation on a device fails, nobody is killed */
        t->hard_is_refusal[t->profile->gpus[i].pool] = true;
        t->hard_frac[t->profile->gpus[i].pool] = chance(rng, 0.2) ? between(rng, 0.85, 1) : 0.98;
    }
    t->thrash_frac = chance(rng, 0.08) ? between(rng, 0.85, 1) : 2;
    t->thrash_depth_frac = between(rng, 0.3, 0.9);
    t->thrash_factor = between(rng, 3, 20);
    t->clamp_tokens = INT64_MAX;
}

/* Needs the ceiling: a hole far above it would never be met. */
static void draw_hole(sim_truth *t, int64_t ceiling, o3_rng *rng)
{
    int64_t steps = ceiling / O3_CTX_GRID;
    bool hole = chance(rng, 0.05), clamp = chance(rng, 0.03);
    if (hole && steps > 16) {
        t->hole_low = (int64_t)((double)steps * between(rng, 0.6, 1)) * O3_CTX_GRID;
        t->hole_high = t->hole_low + (1 + o3_rng_below(rng, 8)) * O3_CTX_GRID;
        t->hole_at_run = chance(rng, 0.5);
    } else if (clamp && steps > 16) {
        t->clamp_tokens = (int64_t)((double)ceiling * between(rng, 0.3, 1.1));
    }
}

static int64_t below_hole(const sim_truth *t, int64_t found)
{
    return found >= t->hole_low && found < t->hole_high ? t->hole_low - O3_CTX_GRID : found;
}

static void draw_speed(sim_truth *t, o3_rng *rng)
{
    const o3_model *m = t->model;
    const sim_machine *c = t->machine;
    bool gpu = c->gpus > 0;
    double bandwidth = (gpu ? c->gpu_bytes_per_s : c->ram_bytes_per_s) * exp(0.25 * sim_normal(rng));
    double flops = (gpu ? c->gpu_flops : c->cpu_flops) * exp(0.35 * sim_normal(rng));
    double active = m->experts > 0 ? 0.15 + 0.85 * m->experts_used / m->experts : 1;
    const o3_layer *l = &m->layer[0];
    for (int i = 0; i < m->layers; i++) {
        t->full_layers += m->layer[i].window_tokens == 0;
        t->window_layers += m->layer[i].window_tokens > 0;
        t->window = fmax(t->window, m->layer[i].window_tokens);
    }
    t->decode_s = active * (double)m->weight_bytes / bandwidth + m->layers * (gpu ? LAYER_S_GPU : LAYER_S_CPU);
    t->decode_layer_s = (gpu ? KV_READ_GPU : KV_READ_CPU) * 2.0 * l->heads_kv * (l->key_dim + l->value_dim) / bandwidth;
    t->prefill_s = 2 * active * (double)m->parameters / flops;
    t->prefill_layer_s = ATTENTION_FLOPS * 2.0 * m->heads * (l->key_dim + l->value_dim) / flops;
    t->load_bytes_per_s = between(rng, 0.8e9, 3e9);
    t->request_s = REQUEST_S;
    t->chars_per_token = between(rng, 3.4, 4.8);
}

static void draw_spill(sim_truth *t, o3_rng *rng)
{
    double slower = between(rng, 3, 20);
    o3_knobs smallest = O3_KNOBS_DEFAULT;
    smallest.num_ctx = O3_CTX_GRID;
    t->spills_always = sim_truth_bytes(t, &smallest).spilled;
    if (!t->spills_always)
        return;
    t->decode_s *= slower;
    t->decode_layer_s *= slower;
    t->prefill_s *= slower;
    t->prefill_layer_s *= slower;
}

static void draw_noise(sim_truth *t, double noise, o3_rng *rng)
{
    t->noise = noise;
    t->load_spread = fmin(0.015, noise);
    t->tail_share = chance(rng, 0.3) ? 0.04 : 0;
    t->drift_per_hour = chance(rng, 0.2) ? between(rng, -0.05, 0.1) : 0;
    t->throttle_after_s = chance(rng, 0.15) ? between(rng, 60, 400) : INFINITY;
    t->throttle_factor = between(rng, 1.05, 1.4);
    t->burst_gap_s = chance(rng, 0.15) ? between(rng, 60, 300) : INFINITY;
    if (noise <= 0) {
        t->drift_per_hour = 0;
        t->throttle_after_s = t->burst_gap_s = INFINITY;
    }
}

void sim_truth_make(sim_truth *ret_truth, const sim_machine *machine, const o3_profile *profile, const o3_model *model,
                    const o3_simulate_request *request, o3_rng *rng)
{
    sim_truth *t = ret_truth;
    o3_notes notes = {0};
    *t = (sim_truth){.machine = machine, .profile = profile, .model = model};
    o3_setting_of(&t->setting, SIM_VERSION, profile->engine_env, &notes);
    draw_bytes(t, request, rng);
    draw_cliffs(t, rng);
    draw_speed(t, rng);
    draw_noise(t, request->noise, rng);
    draw_spill(t, rng);
    o3_knobs pinned = {.num_ctx = O3_UNSET, .num_batch = 512, .num_gpu = O3_UNSET, .num_thread = O3_UNSET,
                       .use_mmap = O3_UNSET};
    t->ceiling_tokens = sim_truth_ceiling(t, &pinned);
    draw_hole(t, t->ceiling_tokens, rng);
    if (t->clamp_tokens < INT64_MAX)
        t->ceiling_tokens = sim_truth_ceiling(t, &pinned);
    t->ceiling_tokens = below_hole(t, t->ceiling_tokens);
    sim_knobs_draw(t, rng);
}

/* Bytes of one memory go to all pools that count them. */
static void put(const sim_truth *t, int gpu, double bytes, double untouched, sim_bytes *b)
{
    const o3_profile *p = t->profile;
    bool device = gpu >= 0, shared = device && p->gpus[gpu].unified;
    for (int i = 0; i < p->pool_count; i++) {
        bool of_gpu = false;
        for (int g = 0; g < p->gpu_count; g++)
            of_gpu = of_gpu || p->gpus[g].pool == i;
        if (device ? i == p->gpus[gpu].pool || (shared && !of_gpu) : !of_gpu) {
            b->pool[i] += bytes;
            b->untouched[i] += untouched;
        }
    }
    b->all += bytes;
    b->device += device ? bytes : 0;
}

static void add_memories(const sim_truth *t, const o3_estimate *e, sim_bytes *b)
{
    double share = (double)e->setting.knobs.num_ctx / (double)t->model->trained_tokens;
    double kv = 1 + t->kv_error * (t->kv_power > 0 ? pow(fmin(share, 1), t->kv_power) : 1);
    for (int i = 0; i < e->pool_count; i++) {
        const o3_pool_estimate *p = &e->pools[i];
        double overhead = p->overhead_bytes.high > 0 ? p->overhead_bytes.high / e->overhead_bytes.high : 0;
        double compute = p->compute_bytes * (1 + t->compute_error);
        double fixed = (p->weights_bytes + p->state_bytes + p->output_bytes) * (1 + t->fixed_error);
        double untouched = p->gpu < 0 ? compute : 0; /* a device gives what is asked for at once */
        put(t, p->gpu, fixed + p->kv_bytes * kv + compute + t->overhead_bytes * overhead, untouched, b);
    }
}

/* The engine measures before it places, so its automatic placement knows the truth: all layers on the devices where they
 * leave its margin free, else the devices are filled up to it and the rest lies on the host. */
static void spill(const sim_truth *t, sim_bytes *b)
{
    const o3_profile *p = t->profile;
    double over = 0;
    for (int g = 0; g < p->gpu_count; g++) {
        int pool = p->gpus[g].pool;
        double room = (double)(p->pools[pool].total_bytes - p->pools[pool].used_bytes - t->setting.fit_target_bytes);
        if (b->pool[pool] <= room)
            continue;
        over += b->pool[pool] - fmax(room, 0);
        b->pool[pool] = fmax(room, 0);
    }
    if (over <= 0)
        return;
    b->spilled = true;
    b->device -= over;
    b->all -= over;
    for (int g = 0; g < p->gpu_count; g++)
        over *= p->gpus[g].unified ? 0 : 1; /* it is counted in RAM already */
    if (over > 0)
        put(t, -1, over, 0, b);
}

sim_bytes sim_truth_bytes(const sim_truth *t, const o3_knobs *knobs)
{
    sim_bytes b = {.spilled = false};
    o3_calibration none = O3_CALIBRATION_NONE;
    o3_estimate e;
    o3_setting at = t->setting;
    bool automatic = t->profile->gpu_count > 0 && knobs->num_gpu == O3_UNSET;
    at.knobs = *knobs;
    if (automatic)
        at.knobs.num_gpu = LAYERS_ALL;
    o3_predict_bytes(&e, t->profile, t->model, &at, &none);
    b.text_bytes_per_token = e.prompt_cache_bytes_per_token;
    add_memories(t, &e, &b);
    if (automatic)
        spill(t, &b);
    else
        b.spilled = t->profile->gpu_count > 0 && e.spilled_frac > 0;
    return b;
}

/* Share of the safe size below which everything works. */
static bool within(const sim_truth *t, const o3_knobs *knobs, bool only_safe)
{
    sim_bytes b = sim_truth_bytes(t, knobs);
    for (int i = 0; i < t->profile->pool_count; i++) {
        const o3_pool *p = &t->profile->pools[i];
        double level = (double)p->used_bytes + b.pool[i], hard = t->hard_frac[i] * (double)p->total_bytes;
        bool pages = !t->hard_is_refusal[i]; /* a device refuses what it does not have */
        double frac = only_safe || !pages ? 1 : fmin(1, t->thrash_frac);
        if (b.pool[i] > 0 && (level > frac * (double)p->safe_bytes || (!only_safe && level > hard)))
            return false;
    }
    return only_safe || !b.spilled || t->spills_always;
}

bool sim_truth_safe(const sim_truth *t, const o3_knobs *knobs)
{
    return within(t, knobs, true);
}

int64_t sim_truth_ceiling(const sim_truth *t, const o3_knobs *knobs)
{
    int64_t end = t->model->trained_tokens < t->clamp_tokens ? t->model->trained_tokens : t->clamp_tokens;
    int64_t low = 0, high = end / O3_CTX_GRID;
    o3_knobs at = *knobs;
    while (low < high) { /* memory grows with every step */
        int64_t middle = (low + high + 1) / 2;
        at.num_ctx = (int32_t)(middle * O3_CTX_GRID);
        if (within(t, &at, false))
            low = middle;
        else
            high = middle - 1;
    }
    return below_hole(t, low * O3_CTX_GRID);
}

double sim_prefill_s(const sim_truth *t, double from, double to)
{
    double seen = t->full_layers * (to * to - from * from) / 2;
    double bend_from = fmin(from, t->window), bend_to = fmin(to, t->window);
    seen += t->window_layers * ((bend_to * bend_to - bend_from * bend_from) / 2 + t->window * (to - bend_to - from + bend_from));
    return t->prefill_s * (to - from) + t->prefill_layer_s * seen;
}

double sim_decode_s(const sim_truth *t, double depth)
{
    return t->decode_s + t->decode_layer_s * (t->full_layers * depth + t->window_layers * fmin(depth, t->window));
}
