/* SPDX-License-Identifier: Apache-2.0 */
/* The estimate: parts, their sum with its interval, rates with theirs, and the largest context that is safe. */
#include "predict_impl.h"

/* What the runner takes besides its buffers (code, heap, thread stacks); anonymous memory seen on CPU builds. */
#define OVERHEAD_LOW (15.0 * 1048576)
#define OVERHEAD_MID (30.0 * 1048576)
#define OVERHEAD_HIGH (60.0 * 1048576)
#define READING_ERROR (1.5 * 1048576)  /* of a runner's memory between two loads of the same knobs */
#define SPEED_PRIOR_SPREAD 2.0       /* a prior may be wrong by this factor either way */
#define SPEED_MEASURED_SPREAD 1.2    /* after one measured rate */

static o3_range exactly(double value)
{
    return (o3_range){value, value, value};
}

static o3_range around(double value, double spread)
{
    return (o3_range){value / spread, value, value * spread};
}

static o3_range total_of(const memory_parts *p, const o3_model *model, const o3_calibration *calibration,
                         o3_range overhead)
{
    double sum = p->weights + p->kv + p->state + p->output + p->compute;
    if (calibration->loads > 0) /* the formula's slope is exact with num_batch pinned: one load fixes the offset */
        return (o3_range){sum + calibration->offset_bytes - READING_ERROR, sum + calibration->offset_bytes,
                          sum + calibration->offset_bytes + READING_ERROR};
    double margin = !model->kv_exact ? 1.10 : model->experts > 0 ? 1.04 : 1.005;
    return (o3_range){sum + overhead.low, sum + overhead.mid, sum * margin + overhead.high};
}

void o3_predict(o3_estimate *ret_estimate, const o3_profile *profile, const o3_model *model,
                const o3_setting *setting, const o3_calibration *calibration)
{
    o3_estimate *e = ret_estimate;
    memory_parts p = predict_memory(model, setting);
    double spread = calibration->rates > 0 ? SPEED_MEASURED_SPREAD : SPEED_PRIOR_SPREAD;
    double full = setting->knobs.num_ctx, prefill = predict_prefill(profile, model, full) / calibration->prefill_ratio;
    *e = (o3_estimate){.setting = *setting};
    e->weights_bytes = exactly(p.weights);
    e->kv_bytes = exactly(p.kv);
    e->state_bytes = exactly(p.state);
    e->output_bytes = exactly(p.output);
    e->compute_bytes = (o3_range){p.compute * 0.995, p.compute, p.compute * (model->kv_exact ? 1.005 : 1.3)};
    e->overhead_bytes = (o3_range){OVERHEAD_LOW, OVERHEAD_MID, OVERHEAD_HIGH};
    e->total_bytes = total_of(&p, model, calibration, e->overhead_bytes);
    e->prompt_cache_bytes_per_token = full > 0 ? (int64_t)(p.kv / setting->parallel / full) : 0;
    e->prefill_per_s = around(prefill, spread);
    e->decode_per_s = around(predict_decode(profile, model, full / 2) / calibration->decode_ratio, spread);
    e->decode_full_per_s = around(predict_decode(profile, model, full) / calibration->decode_ratio, spread);
    e->ttft_full_ms = (o3_range){full / e->prefill_per_s.high * 1e3, full / prefill * 1e3,
                                 full / e->prefill_per_s.low * 1e3};
    O3_FORMAT(e->origin, "memory: %s%s; speed: %s", model->kv_exact ? "exact KV, formula of b10488" : "upper estimate",
              calibration->loads > 0 ? ", offset from a real load" : "",
              calibration->rates > 0 ? "scaled to measured rates" : "priors");
}

int64_t o3_pool_room(const o3_profile *profile, int pool, bool at_rest)
{
    const o3_pool *p = &profile->pools[pool];
    if (p->safe_bytes < 0)
        return INT64_MAX; /* an unknown pool limits nothing; the profile's notes say that it is unknown */
    int64_t used = p->used_bytes > 0 ? p->used_bytes : 0, models = at_rest ? p->models_bytes : 0;
    return p->safe_bytes - (models < used ? used - models : 0);
}

/* The pool with the least room; -1 without pools. */
static int tightest(const o3_profile *profile, bool at_rest, int64_t *ret_room)
{
    int best = -1;
    *ret_room = INT64_MAX;
    for (int i = 0; i < profile->pool_count; i++) {
        int64_t room = o3_pool_room(profile, i, at_rest);
        if (room < *ret_room) {
            *ret_room = room;
            best = i;
        }
    }
    return best;
}

int64_t o3_predict_ceiling(const o3_profile *profile, const o3_model *model, const o3_setting *setting, bool at_rest,
                           const o3_calibration *calibration, int *ret_limiting)
{
    int64_t room, trained = model->trained_tokens > 0 ? model->trained_tokens : 131072; /* bounded by model */
    int limiting = tightest(profile, at_rest, &room);
    int64_t low = 0, high = trained / O3_CTX_GRID; /* in grid steps; memory grows with every step */
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        o3_setting at = o3_setting_at(setting, middle * O3_CTX_GRID);
        o3_estimate e;
        o3_predict(&e, profile, model, &at, calibration);
        if (e.total_bytes.high <= (double)room)
            low = middle;
        else
            high = middle - 1;
    }
    if (ret_limiting)
        *ret_limiting = low == trained / O3_CTX_GRID ? -1 : limiting;
    return low * O3_CTX_GRID;
}
