/* SPDX-License-Identifier: Apache-2.0 */
/* Speed before and after something was measured: a roofline. A token of decoding reads every weight it touches once
 * and the cache up to its depth, device after device; prefill multiplies. Each time has two parts, and calibration a
 * ratio for each. Evidence: docs/prediction.md. */
#include "speed.h"

#define SAMPLING_S 4e-9          /* of each vocabulary entry and token, on the host */
#define SPREAD_CALIBRATED 1.2
#define SPREAD_PREFILL 1.15      /* more than decoding's: kernels differ more in arithmetic than in reading */
#define EXPERTS_SHARE 0.85       /* of a mixture's weights, where its tensors are not listed */

void speed_place(o3_estimate *ret_estimate, const o3_profile *profile, const o3_model *model, const o3_setting *setting,
                 const o3_calibration *calibration)
{
    ret_estimate->setting = *setting;
    if (profile->gpu_count) /* else the host has everything, and the memory's formulas need not be asked */
        o3_predict_bytes(ret_estimate, profile, model, setting, calibration);
}

/* The devices that hold layers, in their order: the host's come first, the output last. */
static int split(const o3_estimate *e, const o3_profile *profile, const o3_model *model, speed_device *devices)
{
    int count = 0, left = model->layers > 0 ? model->layers + 1 : 1, all = left;
    for (int i = 0; i < e->pool_count; i++) {
        const o3_pool_estimate *pool = &e->pools[i];
        if (pool->layers <= 0 || left <= 0)
            continue;
        if (pool->gpu < 0 || pool->gpu >= profile->gpu_count)
            speed_device_host(&devices[count], profile, model, &e->setting);
        else
            speed_device_gpu(&devices[count], &profile->gpus[pool->gpu], model);
        devices[count].first = all - left;
        devices[count].count = pool->layers < left ? pool->layers : left;
        left -= devices[count++].count;
    }
    if (!count) { /* no placement: the host has everything */
        speed_device_host(&devices[count++], profile, model, &e->setting);
        devices[0].count = left;
    }
    devices[count - 1].output = true; /* it counts as the last layer */
    devices[count - 1].count--;
    return count;
}

/* Share of the routed experts that one token uses. */
static double experts_share(const o3_model *m)
{
    return m->experts > 0 && m->experts_used > 0 ? (double)m->experts_used / m->experts : 1;
}

static double output_bytes(const o3_model *m)
{
    double bytes = m->output_bytes > 0 ? (double)m->output_bytes : (double)m->token_embd_bytes;
    return bytes > 0 ? bytes : 0;
}

/* Bytes of layer i that one token touches. */
static double layer_bytes(const o3_model *m, int i)
{
    const o3_layer *l = &m->layer[i];
    if (l->weight_bytes > 0)
        return (double)l->weight_bytes - (double)l->expert_bytes * (1 - experts_share(m));
    double embedding = m->token_embd_bytes > 0 ? (double)m->token_embd_bytes : 0;
    double all = (double)m->weight_bytes - embedding - (m->output_bytes > 0 ? (double)m->output_bytes : 0);
    double routed = m->experts > 0 ? EXPERTS_SHARE : 0;
    return all > 0 && m->layers > 0 ? all / m->layers * (1 - routed * (1 - experts_share(m))) : 0;
}

/* Weights of the layers alone that one token multiplies with: embedding rows are looked up, and only the last token of
 * a prompt meets the output matrix. */
static double layer_values(const o3_model *m, const speed_device *d)
{
    double all = 0, here = 0;
    for (int i = 0; i < m->layers; i++) {
        double bytes = m->layer[i].weight_bytes > 0 ? (double)m->layer[i].weight_bytes : layer_bytes(m, i);
        all += bytes;
        here += i >= d->first && i < d->first + d->count ? layer_bytes(m, i) : 0;
    }
    double table = fmax(0, m->vocab) * fmax(0, m->embedding);
    double values = (double)m->parameters - table * (m->has_output_tensor ? 2 : 1);
    if (m->parameters < 0 || values <= 0)
        values = all * 1.7; /* 4.7 bits a weight */
    return all > 0 ? values * here / all : 0;
}

static double seen_by(const o3_layer *l, double depth)
{
    return l->window_tokens > 0 && l->window_tokens < depth ? l->window_tokens : depth;
}

/* Multiplications and additions of one query against `seen` positions, all heads. */
static double attention_flop(const o3_model *m, const o3_layer *l, double seen)
{
    double heads = m->heads > l->heads_kv ? m->heads : l->heads_kv;
    return l->heads_kv > 0 ? 2 * heads * (l->key_dim + l->value_dim) * seen : 0;
}

speed_parts speed_decode(const o3_estimate *e, const o3_profile *profile, const o3_model *model, double depth_tokens)
{
    speed_device devices[O3_MEMORIES_MAX + 1];
    speed_parts parts = {.base_s = fmax(0, model->vocab) * SAMPLING_S};
    double value_bytes = (double)e->setting.kv_type->bytes / e->setting.kv_type->values;
    int count = split(e, profile, model, devices);
    for (int k = 0; k < count; k++) {
        const speed_device *d = &devices[k];
        double bytes = d->output ? output_bytes(model) : 0;
        for (int i = d->first; i < d->first + d->count; i++) {
            const o3_layer *l = &model->layer[i];
            double seen = seen_by(l, depth_tokens);
            double read_s = l->heads_kv * (double)(l->key_dim + l->value_dim) * seen * value_bytes / d->read_per_s;
            double work_s = attention_flop(model, l, seen) / d->one_token_per_s;
            bytes += layer_bytes(model, i) + (double)l->state_bytes;
            parts.attention_s += read_s > work_s ? read_s : work_s;
        }
        parts.base_s += bytes / d->read_per_s + (d->count + d->output) * d->layer_s;
    }
    return parts;
}

/* Positions seen by all tokens of a prompt together: causal, so half of the square. */
static double seen_in_all(const o3_layer *l, double tokens)
{
    double window = seen_by(l, tokens);
    return window * (tokens - window / 2);
}

speed_parts speed_prefill(const o3_estimate *e, const o3_profile *profile, const o3_model *model, double tokens)
{
    speed_device devices[O3_MEMORIES_MAX + 1];
    speed_parts parts = {0};
    double batch = (double)predict_batch(&e->setting), most = fmin(batch, tokens), batches = ceil(tokens / batch);
    int count = split(e, profile, model, devices);
    for (int k = 0; k < count; k++) {
        const speed_device *d = &devices[k];
        double bytes = 0, half = d->prior->batch_half_tokens;
        for (int i = d->first; i < d->first + d->count; i++) {
            parts.attention_s += attention_flop(model, &model->layer[i], seen_in_all(&model->layer[i], tokens)) /
                                 d->attention_per_s;
            bytes += layer_bytes(model, i);
        }
        double work_s = 2 * layer_values(model, d) * tokens / d->matrix_per_s * (most + half) / most;
        double read_s = batches * bytes / d->read_per_s; /* each batch reads the weights once, however small it is */
        parts.base_s += (work_s > read_s ? work_s : read_s) + batches * (d->count + d->output) * d->layer_s;
        parts.base_s += d->output ? output_bytes(model) / d->read_per_s : 0;
    }
    return parts;
}

/* A factor either way; the widest of the devices that hold something. */
static double spread_of(const o3_estimate *e, const o3_profile *profile, const o3_model *model,
                        const o3_calibration *calibration)
{
    speed_device devices[O3_MEMORIES_MAX + 1];
    int count = split(e, profile, model, devices);
    double spread = SPREAD_CALIBRATED;
    for (int k = 0; k < count && !calibration->rates; k++)
        spread = fmax(spread, devices[k].known ? devices[k].prior->spread_known : devices[k].prior->spread);
    return spread;
}

static o3_range around(double value, double spread)
{
    return (o3_range){value / spread, value, value * spread};
}

static void speed_at(o3_speed *ret, const o3_estimate *e, const o3_profile *profile, const o3_model *model,
                     double depth_tokens, const o3_calibration *c)
{
    double spread = spread_of(e, profile, model, c), tokens = depth_tokens > 1 ? depth_tokens : 1;
    speed_parts prefill = speed_prefill(e, profile, model, tokens), decode = speed_decode(e, profile, model, tokens);
    double prefill_s = prefill.base_s * c->prefill_ratio + prefill.attention_s * c->prefill_attention_ratio;
    double decode_s = decode.base_s * c->decode_ratio + decode.attention_s * c->decode_kv_ratio;
    double first_s = prefill_s + decode_s, wide = spread * SPREAD_PREFILL;
    *ret = (o3_speed){.num_ctx = e->setting.knobs.num_ctx, .depth_tokens = (int64_t)tokens,
                      .prefill_per_s = around(tokens / prefill_s, wide), .decode_per_s = around(1 / decode_s, spread),
                      .ttft_ms = around(first_s * 1e3, wide)};
}

void predict_rates(o3_estimate *e, const o3_profile *profile, const o3_model *model, const o3_setting *setting,
                   const o3_calibration *calibration)
{
    o3_speed half, full;
    double window = setting->knobs.num_ctx;
    speed_at(&half, e, profile, model, window / 2, calibration);
    speed_at(&full, e, profile, model, window, calibration);
    e->prefill_per_s = full.prefill_per_s;
    e->decode_per_s = half.decode_per_s;
    e->decode_full_per_s = full.decode_per_s;
    e->ttft_full_ms = full.ttft_ms;
}

void o3_predict_speed(o3_speed *ret_speed, const o3_profile *profile, const o3_model *model,
                      const o3_setting *setting, int64_t depth_tokens, const o3_calibration *calibration)
{
    o3_auto(free) o3_estimate *e = o3_alloc(1, sizeof(*e));
    speed_place(e, profile, model, setting, calibration);
    speed_at(ret_speed, e, profile, model, (double)depth_tokens, calibration);
}

void predict_rates_origin(const o3_estimate *e, const o3_profile *profile, const o3_model *model,
                          const o3_calibration *calibration, char *dst, size_t dst_size)
{
    speed_device devices[O3_MEMORIES_MAX + 1];
    int count = split(e, profile, model, devices);
    o3_format(dst, dst_size, "roofline of the ");
    for (int k = 0; k < count; k++) {
        const speed_device *d = &devices[k];
        const char *source = !d->known ? "guessed" : d->cpu ? "measured" : "by its data sheet";
        size_t len = strlen(dst);
        o3_format(dst + len, dst_size - len, "%s%s (%.3g GB/s, %s)", k ? ", " : "", d->prior->name, d->bytes_per_s / 1e9,
                  source);
    }
    size_t len = strlen(dst);
    if (calibration->rates)
        o3_format(dst + len, dst_size - len, ", scaled to %d measured rates", calibration->rates);
    else
        o3_format(dst + len, dst_size - len, " with priors");
}
