/* SPDX-License-Identifier: Apache-2.0 */
/* The estimate: parts by memory, their sums with intervals, rates with theirs, and the largest context that is safe. */
#include "speed.h"

#define MIB 1048576.0
/* Two loads of the same knobs differ by that: on the host by what heap and stacks take (measured); a device hands memory
 * out in pages of 2 MiB, and of what grows with the window cache and compute buffer are rounded up, each by itself. */
#define READING_ERROR_HOST (1.5 * MIB)
#define READING_ERROR_DEVICE (4 * MIB)

/* Margins on the compute buffer, low and high. The replay gives the engine's own number for graphs that were checked
 * (docs/prediction.md); a backend may reorder the graph, and weights that are copied to it are counted on average. */
#define COMPUTE_HOST 0.005
#define COMPUTE_DEVICE 0.08
#define COMPUTE_PARTIAL 0.20
#define UNKNOWN_GRAPH 0.30
#define UNKNOWN_CACHE 0.10 /* of everything, where the cache's rule is an upper estimate */

/* What a process takes besides its buffers, in MiB: on the host code, heap and stacks (anonymous memory of CPU builds);
 * on devices the driver's context and the libraries' pools. */
static const o3_range overhead_host = {15, 30, 60};
static const o3_range overhead_device[] = {
    [O3_GPU_OTHER] = {50, 300, 1000}, [O3_GPU_NVIDIA] = {70, 400, 750}, [O3_GPU_AMD] = {100, 400, 1500},
    [O3_GPU_INTEL] = {100, 300, 1000}, [O3_GPU_APPLE] = {0, 100, 900},  [O3_GPU_SOFTWARE] = {0, 0, 16},
};

static void add(o3_range *sum, const o3_range *more)
{
    sum->low += more->low;
    sum->mid += more->mid;
    sum->high += more->high;
}

static void add_exactly(o3_range *sum, double value)
{
    add(sum, &(o3_range){value, value, value});
}

static o3_range compute_range(const memory_place *place, const o3_model *model, bool partial)
{
    double margin = place->gpu < 0 ? COMPUTE_HOST : partial ? COMPUTE_PARTIAL : COMPUTE_DEVICE;
    double above = model->kv_exact && predict_graph_known(model) ? margin : UNKNOWN_GRAPH;
    return (o3_range){place->compute * (1 - margin), place->compute, place->compute * (1 + above)};
}

/* The pool with the least room among those that these bytes come from; -1 if no pool is known. */
static int tightest(const o3_profile *profile, int gpu, bool at_rest, int64_t *ret_room)
{
    int best = -1;
    *ret_room = INT64_MAX;
    for (int i = 0; i < profile->pool_count; i++) {
        if (gpu >= 0 ? profile->gpus[gpu].pool != i : o3_pool_is_device(profile, i))
            continue;
        int64_t room = o3_pool_room(profile, i, at_rest);
        if (room < *ret_room || best < 0) {
            *ret_room = room;
            best = i;
        }
    }
    return best;
}

int o3_memory_of(const o3_profile *profile, int gpu)
{
    return gpu >= 0 && o3_pool_is_device(profile, profile->gpus[gpu].pool) ? gpu + 1 : 0;
}

double o3_reading_error_bytes(int memory)
{
    return memory ? READING_ERROR_DEVICE : READING_ERROR_HOST;
}

/* The slope is exact with num_batch pinned: one load fixes the offset. Memories that are read as one have one offset,
 * and it is counted with the first. */
static void correct(o3_range *total, double formula, const o3_calibration *calibration, int memory, bool first)
{
    double sum = formula + (first ? calibration->offset[memory].bytes : 0);
    double error = first ? o3_reading_error_bytes(memory) : 0;
    *total = (o3_range){sum - error, sum, sum + error};
}

static void take_place(o3_estimate *e, const o3_profile *profile, const o3_model *model, const memory_place *at,
                       const o3_calibration *calibration)
{
    o3_pool_estimate *pool = &e->pools[e->pool_count++];
    const o3_gpu *gpu = at->gpu >= 0 ? &profile->gpus[at->gpu] : NULL;
    o3_range overhead = gpu ? overhead_device[gpu->vendor] : overhead_host, compute = compute_range(at, model, e->spilled_frac > 0);
    overhead = (o3_range){overhead.low * MIB, overhead.mid * MIB, overhead.high * MIB};
    if (gpu && !at->layers)
        overhead = (o3_range){0, 0, overhead.high}; /* a context may be there without a layer */
    double exact = at->weights + at->kv + at->state + at->output;
    *pool = (o3_pool_estimate){.gpu = at->gpu, .layers = at->layers, .weights_bytes = at->weights, .kv_bytes = at->kv,
                               .state_bytes = at->state, .compute_bytes = at->compute, .output_bytes = at->output,
                               .overhead_bytes = overhead, .total_bytes = {exact, exact, exact}};
    pool->pool = tightest(profile, at->gpu, false, &pool->room_bytes);
    O3_COPY(pool->name, pool->pool >= 0 ? profile->pools[pool->pool].name : gpu ? gpu->name : "ram");
    add(&pool->total_bytes, &compute);
    add(&pool->total_bytes, &overhead);
    if (!model->kv_exact)
        pool->total_bytes.high *= 1 + UNKNOWN_CACHE;
    int memory = o3_memory_of(profile, at->gpu);
    if (calibration->offset[memory].known)
        correct(&pool->total_bytes, exact + at->compute, calibration, memory, memory > 0 || !gpu);
    add_exactly(&e->weights_bytes, at->weights);
    add_exactly(&e->kv_bytes, at->kv);
    add_exactly(&e->state_bytes, at->state);
    add_exactly(&e->output_bytes, at->output);
    add(&e->compute_bytes, &compute);
    add(&e->overhead_bytes, &overhead);
    add(&e->total_bytes, &pool->total_bytes);
}

static void move_excess(o3_range *from, o3_range *to, double most)
{
    o3_range kept = {fmin(from->low, most), fmin(from->mid, most), fmin(from->high, most)};
    add(to, &(o3_range){from->low - kept.low, from->mid - kept.mid, from->high - kept.high});
    *from = kept;
}

/* The automatic placement measures what lies on a device, overhead included, and leaves its target free: what would be too
 * much for that lies on the host. */
static void keep_target(o3_estimate *e, const o3_profile *profile)
{
    for (int i = 1; i < e->pool_count; i++) {
        o3_pool_estimate *p = &e->pools[i];
        if (p->pool < 0 || !o3_pool_is_device(profile, p->pool) || p->room_bytes == INT64_MAX || !p->layers)
            continue;
        const o3_pool *pool = &profile->pools[p->pool];
        double most = (double)(p->room_bytes + pool->total_bytes - pool->safe_bytes - e->setting.fit_target_bytes);
        move_excess(&p->total_bytes, &e->pools[0].total_bytes, fmax(0, most));
    }
}

/* The part of an estimate that says whether it fits: bytes by memory, without rates. */
static void predict_bytes(o3_estimate *e, memory_layout *layout, const o3_profile *profile, const o3_model *model,
                          const o3_setting *setting, const o3_calibration *calibration)
{
    predict_layout(layout, profile, model, setting);
    *e = (o3_estimate){.setting = *setting, .spilled_frac = layout->spilled_frac};
    for (int i = 0; i < layout->count; i++)
        take_place(e, profile, model, &layout->at[i], calibration);
    if (setting->knobs.num_gpu < 0)
        keep_target(e, profile);
    double window = setting->knobs.num_ctx;
    e->prompt_cache_bytes_per_token = window > 0 ? (int64_t)(e->kv_bytes.mid / setting->parallel / window) : 0;
}

void o3_predict_bytes(o3_estimate *ret_estimate, const o3_profile *profile, const o3_model *model,
                      const o3_setting *setting, const o3_calibration *calibration)
{
    memory_layout layout;
    predict_bytes(ret_estimate, &layout, profile, model, setting, calibration);
}

void o3_predict(o3_estimate *ret_estimate, const o3_profile *profile, const o3_model *model,
                const o3_setting *setting, const o3_calibration *calibration)
{
    o3_estimate *e = ret_estimate;
    memory_layout layout;
    char speed[192];
    predict_bytes(e, &layout, profile, model, setting, calibration);
    double ps = predict_ps(&layout, model, setting), spare = e->compute_bytes.high - e->compute_bytes.mid;
    e->ps_bytes = (o3_range){ps * 0.995 - (e->compute_bytes.mid - e->compute_bytes.low), ps, ps * 1.005 + spare};
    predict_rates(e, profile, model, setting, calibration);
    predict_rates_origin(e, profile, model, calibration, speed, sizeof(speed));
    O3_FORMAT(e->origin, "memory: %s, compute by replay of %s%s; speed: %s",
              model->kv_exact ? "exact KV" : "upper estimate of KV",
              predict_graph_known(model) ? "the engine's graph" : "a graph of the usual shape",
              calibration->loads > 0 ? ", offset from a real load" : "", speed);
}

o3_range o3_predict_ps_bytes(const o3_estimate *estimate)
{
    return estimate->ps_bytes;
}

int64_t o3_pool_room(const o3_profile *profile, int pool, bool at_rest)
{
    const o3_pool *p = &profile->pools[pool];
    if (p->safe_bytes < 0)
        return INT64_MAX; /* an unknown pool limits nothing; the profile's notes say that it is unknown */
    int64_t used = p->used_bytes > 0 ? p->used_bytes : 0, models = at_rest ? p->models_bytes : 0;
    return p->safe_bytes - (models < used ? used - models : 0);
}

/* By how many bytes the fullest pool would be above its safe size (negative: below), and *ret_over, a pool that is; -1
 * if none. What lies on a GPU that shares the host's memory counts in both. */
static double excess_of(const o3_profile *profile, const o3_model *model, const o3_setting *setting, bool at_rest,
                        const o3_calibration *calibration, int *ret_over)
{
    double host = 0, most = -INFINITY;
    o3_estimate e;
    o3_predict_bytes(&e, profile, model, setting, calibration);
    *ret_over = -1;
    for (int i = e.pool_count - 1; i >= 0; i--) {
        const o3_pool_estimate *p = &e.pools[i];
        int64_t room;
        double high = p->total_bytes.high + (p->gpu < 0 ? host : 0);
        int pool = tightest(profile, p->gpu, at_rest, &room);
        host += p->gpu >= 0 && profile->gpus[p->gpu].unified ? high : 0;
        if (pool < 0)
            continue;
        most = fmax(most, high - (double)room);
        if (*ret_over < 0 && high > (double)room)
            *ret_over = pool;
    }
    return most;
}

/* Where the next window is tried, in steps. On the host memory is close to linear in the window, so a line through the
 * ends of the bracket usually hits the step, and the one after it proves it; where it bends, each fourth try halves the
 * bracket. Where the engine moves blocks between memories, a larger window may take less of one, and only halving is left. */
static int64_t next_try(int64_t low, int64_t high, double below, double above, int tries, bool moves)
{
    if (!tries && !moves)
        return high - 1;
    double line = moves || (tries && tries % 4 == 0) ? 0.5 : isnan(below) ? 0 : below / (below - above);
    int64_t next = low + (int64_t)(line * (double)(high - low));
    return next <= low ? low + 1 : next >= high ? high - 1 : next;
}

bool o3_predict_fits(const o3_profile *profile, const o3_model *model, const o3_setting *setting, bool at_rest,
                     const o3_calibration *calibration)
{
    int over;
    excess_of(profile, model, setting, at_rest, calibration, &over);
    return over < 0;
}

int64_t o3_predict_ceiling(const o3_profile *profile, const o3_model *model, const o3_setting *setting, bool at_rest,
                           const o3_calibration *calibration, int *ret_limiting)
{
    int64_t trained = model->trained_tokens > 0 ? model->trained_tokens : 131072; /* bounded by model */
    int64_t low = 0, high = trained / O3_CTX_GRID + 1; /* in steps: low fits, high does not */
    double below = NAN, above = NAN; /* the excess there, where it is known */
    bool moves = profile->gpu_count > 0 && setting->knobs.num_gpu != 0;
    int limiting = -1;
    for (int tries = 0; high - low > 1; tries++) {
        int over;
        int64_t middle = next_try(low, high, below, above, tries, moves);
        o3_setting at = o3_setting_at(setting, middle * O3_CTX_GRID);
        double excess = excess_of(profile, model, &at, at_rest, calibration, &over);
        if (over < 0) {
            low = middle;
            below = excess;
        } else {
            high = middle;
            above = excess;
            limiting = over;
        }
    }
    if (ret_limiting)
        *ret_limiting = limiting;
    return low * O3_CTX_GRID;
}
