/* SPDX-License-Identifier: Apache-2.0 */
/* What things cost in time: before they are done by prediction, afterwards by what this run measured. */
#include "tune_impl.h"

#define LOAD_S 0.5 /* of a page-cached small model; the fills dwarf it */

/* Rates by prediction at a full window of `tokens`. The same few are asked for again and again, and a prediction is not
 * cheap, so they are kept as long as the calibration stands. */
static rate_entry rates_at(const session *s, int64_t tokens)
{
    rate_memo *memo = s->rates;
    o3_speed at_end;
    o3_setting at = o3_setting_at(&s->setting, tokens);
    if (!s->spill_expected && s->profile->gpu_count > 0 && at.knobs.num_gpu < 0)
        at.knobs.num_gpu = s->model->layers + 1; /* no window that spills is looked for, so none is priced */
    if (memo && memcmp(&memo->calibration, &s->calibration, sizeof(memo->calibration)))
        *memo = (rate_memo){.calibration = s->calibration};
    for (int i = 0; memo && i < memo->count && i < TUNE_RATES_MAX; i++)
        if (memo->items[i].tokens == tokens)
            return memo->items[i];
    o3_predict_speed(&at_end, s->profile, s->model, &at, tokens, &s->calibration);
    rate_entry entry = {tokens, at_end.prefill_per_s.mid, at_end.prefill_per_s.high, at_end.decode_per_s.mid};
    if (memo)
        memo->items[memo->count++ % TUNE_RATES_MAX] = entry;
    return entry;
}

static double prior_fill_s(const session *s, int64_t tokens)
{
    return (double)tokens / rates_at(s, tokens).prefill_per_s;
}

double cost_fill_by_s(const session *s, const curve *c, int64_t tokens)
{
    if (tokens <= 0)
        return 0;
    if (c->count == 0)
        return prior_fill_s(s, tokens);
    double deepest = c->depth[c->count - 1];
    if ((double)tokens <= deepest)
        return (double)tokens < c->depth[0] ? c->fill_s[0] * (double)tokens / c->depth[0]
                                            : stats_interpolate(c->depth, c->fill_s, c->count, (double)tokens);
    /* Beyond what was seen: the prediction's shape, scaled to the deepest measurement. No token is cheaper than those
     * before it, whatever the prediction says of the placement at another window. */
    double shape = prior_fill_s(s, tokens) / prior_fill_s(s, (int64_t)deepest);
    return c->fill_s[c->count - 1] * fmax(shape, (double)tokens / deepest);
}

double cost_fill_s(const session *s, int64_t tokens)
{
    return cost_fill_by_s(s, &s->curve, tokens);
}

double cost_token_by_s(const session *s, const curve *c, int64_t depth_tokens)
{
    double token_s[TUNE_CURVE_MAX], first = c->depth[0], last = c->count ? c->depth[c->count - 1] : NAN;
    for (int i = 0; i < c->count; i++)
        token_s[i] = 1 / c->decode_per_s[i];
    double depth = (double)depth_tokens, known = c->count ? fmin(fmax(depth, first), last) : NAN;
    double shape = known == depth ? 1 : rates_at(s, (int64_t)known).decode_per_s / rates_at(s, depth_tokens).decode_per_s;
    return c->count ? shape * stats_interpolate(c->depth, token_s, c->count, depth) : 1 / rates_at(s, depth_tokens).decode_per_s;
}

double cost_fill_least_s(const session *s, int64_t tokens)
{
    return s->curve.count || tokens <= 0 ? cost_fill_s(s, tokens)
                                         : (double)tokens / rates_at(s, tokens).prefill_best_per_s;
}

double cost_decode_s(const session *s, int64_t depth_tokens, int samples)
{
    double rate = s->curve.count ? stats_interpolate(s->curve.depth, s->curve.decode_per_s, s->curve.count,
                                                     (double)depth_tokens)
                                 : rates_at(s, depth_tokens).decode_per_s;
    return samples * PROBE_DECODE_TOKENS / rate;
}

/* Unique prompts and what is decoded behind each. */
static double cost_prompts_s(const session *s, int64_t tokens, int count)
{
    return count * (cost_fill_s(s, tokens) + cost_decode_s(s, tokens, 1));
}

double cost_visit_s(const session *s, const visit_plan *plan)
{
    double total = LOAD_S, deepest = 0;
    for (int i = 0; i < plan->rung_count; i++) {
        total += cost_decode_s(s, plan->rungs[i], plan->decode_count[i]);
        deepest = (double)plan->rungs[i];
    }
    total += cost_fill_s(s, (int64_t)deepest);
    if (plan->fresh_count) /* one more where it is the first after a load, which does not count */
        total += cost_prompts_s(s, plan->fresh_tokens, plan->fresh_count + !plan->rung_count);
    return total;
}

static void curve_add(curve *c, double depth, double decode_per_s, double fill_s)
{
    if (c->count == TUNE_CURVE_MAX || (c->count && depth <= c->depth[c->count - 1]))
        return;
    c->depth[c->count] = depth;
    c->decode_per_s[c->count] = decode_per_s;
    c->fill_s[c->count++] = fill_s;
}

/* Median decode rate at the depth of rung i: the rung's own and the repeats behind it. */
static double decode_at(const o3_trial *trial, int rung)
{
    double rates[O3_SAMPLES_MAX];
    int count = 0;
    for (int i = rung; i < trial->sample_count; i++) {
        if (i > rung && trial->samples[i].kind != O3_SAMPLE_DECODE)
            break;
        if (!isnan(trial->samples[i].decode_per_s) && !trial->samples[i].disturbed)
            rates[count++] = trial->samples[i].decode_per_s;
    }
    return count ? stats_median(rates, count) : trial->samples[rung].decode_per_s;
}

/* Decode only gets slower with depth: neighbours that say otherwise are noise and share their mean (the
 * pool-adjacent-violators algorithm, Ayer et al. 1955). */
static void make_monotone(curve *c)
{
    int size[TUNE_CURVE_MAX], blocks = 0;
    double mean[TUNE_CURVE_MAX];
    for (int i = 0; i < c->count; i++) {
        mean[blocks] = c->decode_per_s[i];
        size[blocks++] = 1;
        while (blocks > 1 && mean[blocks - 1] > mean[blocks - 2]) {
            int both = size[blocks - 1] + size[blocks - 2];
            mean[blocks - 2] = (mean[blocks - 1] * size[blocks - 1] + mean[blocks - 2] * size[blocks - 2]) / both;
            size[blocks-- - 2] = both;
        }
    }
    for (int b = 0, i = 0; b < blocks; b++)
        for (int k = 0; k < size[b]; k++)
            c->decode_per_s[i++] = mean[b];
}

curve cost_curve(const o3_trial *trial)
{
    curve fresh = {0};
    double fill_s = 0;
    for (int i = 0; i < trial->sample_count; i++) {
        const o3_sample *sample = &trial->samples[i];
        if (sample->kind != O3_SAMPLE_RUNG || sample->outcome != O3_OUTCOME_OK || sample->prompt_eval_ns < 0)
            continue;
        if (isnan(sample->prefill_per_s)) /* answered from the cache after a retry: its price is unknown, so is what follows */
            break;
        fill_s += (double)sample->prompt_eval_ns / 1e9;
        double decode = decode_at(trial, i);
        if (!isnan(decode))
            curve_add(&fresh, (double)sample->prompt_tokens, decode, fill_s);
    }
    make_monotone(&fresh);
    return fresh;
}

void cost_learn(session *s, const o3_trial *trial)
{
    curve fresh = cost_curve(trial);
    if (fresh.count && (!s->curve.count || fresh.depth[fresh.count - 1] >= s->curve.depth[s->curve.count - 1]))
        s->curve = fresh;
    if (!s->curve.count)
        return;
    double depth = s->curve.depth[s->curve.count - 1];
    s->probe.prefill_per_s = 0.5 * depth / s->curve.fill_s[s->curve.count - 1];
    s->probe.decode_per_s = 0.3 * s->curve.decode_per_s[s->curve.count - 1];
}

/* docs/decisions/0007: for each preset and the default one load, one fill to its measured depth, five decode samples and
 * the prompts that its TTFT is measured with, plus the second proof fill; rows with the same settings cost once. */
static double lower_bound(const session *s)
{
    const o3_result *r = s->result;
    double total = 0;
    for (int i = 0; i <= r->preset_count; i++) {
        const o3_preset *row = i < r->preset_count ? &r->presets[i] : &r->baseline;
        bool seen = !row->measured;
        for (int j = 0; j < i && !seen; j++)
            seen = r->presets[j].measured && o3_knobs_hold(&r->presets[j].knobs, &row->knobs);
        if (seen || row->decode_per_s.depth_tokens <= 0)
            continue;
        int64_t depth = row->proven && row->knobs.num_ctx > 0 ? row->knobs.num_ctx : row->decode_per_s.depth_tokens;
        total += LOAD_S + cost_fill_s(s, depth) + cost_decode_s(s, row->decode_per_s.depth_tokens, 5);
        if (row->ttft_ms.n)
            total += cost_prompts_s(s, row->ttft_ms.depth_tokens, presets_prompts(s, row->ttft_ms.depth_tokens));
    }
    if (r->ceiling.proofs > 1)
        total += cost_fill_s(s, r->ceiling.proven_tokens);
    return s->curve.count && total > 0 ? total : NAN;
}

void cost_finish(session *s)
{
    o3_cost *cost = &s->result->cost;
    double wall = 0;
    *cost = (o3_cost){0};
    for (int i = 0; i < s->trial_count; i++) {
        cost->loads += s->trials[i]->loads;
        cost->fills += s->trials[i]->fills;
        cost->requests += s->trials[i]->requests;
        wall += (double)s->trials[i]->wall_ns / 1e9;
    }
    /* A resumed run cost what its finished trials cost; what was broken off is not counted. */
    cost->wall_s = s->reused ? wall : tune_elapsed_s(s);
    cost->lower_bound_s = lower_bound(s);
}
