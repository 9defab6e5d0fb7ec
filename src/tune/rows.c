/* SPDX-License-Identifier: Apache-2.0 */
/* A row's numbers, from the samples of the trials that measured it. */
#include "tune_impl.h"

/* Collects what `value` gives of the samples near a depth (within an eighth), disturbed ones only if nothing else is
 * there. */
typedef struct pick {
    const char *name;
    o3_sample_kind kind;
    bool any_kind;
    size_t field;    /* of the double in o3_sample; ttft is converted */
    bool ttft;
    int64_t depth;   /* wanted; 0 = any */
} pick;

static int collect(const o3_trial *const *trials, int count, const pick *p, bool disturbed, double *ret_x,
                   const o3_sample **ret_samples)
{
    int n = 0;
    for (int t = 0; t < count; t++) {
        for (int i = 0; i < trials[t]->sample_count && n < STATS_MAX; i++) {
            const o3_sample *sample = &trials[t]->samples[i];
            int64_t depth = p->kind == O3_SAMPLE_PREFILL && !p->any_kind ? sample->prompt_tokens : sample->depth_tokens;
            double value = p->ttft ? (sample->ttft_ns > 0 ? (double)sample->ttft_ns / 1e6 : NAN)
                                   : *(const double *)((const char *)sample + p->field);
            bool near = !p->depth || llabs((long long)(depth - p->depth)) * 8 <= p->depth;
            if (sample->outcome == O3_OUTCOME_OK && !sample->warmup && (disturbed || !sample->disturbed) &&
                (p->any_kind || sample->kind == p->kind) && near && !isnan(value)) {
                ret_samples[n] = sample;
                ret_x[n++] = value;
            }
        }
    }
    return n;
}

/* What a mean leaves out is marked where it was measured, so that `history` and the store list it. The samples are this
 * session's own copies; they are const only to those who read them. */
static void list_outliers(const double *x, int n, const o3_sample *const *samples)
{
    bool keep[STATS_MAX];
    stats_outliers(x, n, STATS_OUTLIER_SHARE, keep);
    for (int i = 0; i < n; i++)
        if (!keep[i])
            ((o3_sample *)samples[i])->outlier = true;
}

static o3_measure measure(session *s, const o3_preset *row, const o3_trial *const *trials, int count, const pick *p)
{
    double x[STATS_MAX];
    const o3_sample *samples[STATS_MAX];
    int n = collect(trials, count, p, false, x, samples);
    bool disturbed = n == 0 && (n = collect(trials, count, p, true, x, samples)) > 0;
    if (n == 0)
        return O3_MEASURE_NONE;
    bool throttled = false;
    for (int i = 0; i < n && disturbed; i++)
        throttled = throttled || samples[i]->throttled;
    if (disturbed)
        o3_note(&s->result->notes, "%s: %s during every sample of %s at %lld tokens; compare nothing with it", row->name,
                throttled ? "a GPU was throttled (heat) or the machine busy with something else"
                          : "the machine was busy with something else", p->name, (long long)p->depth);
    o3_measure m = stats_measure(x, n, p->depth, s->config->quality_assurance.remove_outliers);
    m.disturbed = disturbed;
    if (m.removed)
        list_outliers(x, n, samples);
    if (n < s->samples && n < 3)
        o3_note(&s->result->notes, "%s: %d sample%s of %s instead of %d", row->name, n, n == 1 ? "" : "s", p->name, s->samples);
    stats_drift drift = stats_drift_find(NULL, x, n);
    if (count == 1 && drift.p < STATS_ALPHA / 5 && fabs(drift.change_frac) > STATS_MARGIN)
        o3_note(&s->result->notes, "%s: %s drifted by %+.0f %% while it was measured (heat, or something else on the machine)",
                row->name, p->name, 100 * drift.change_frac);
    double tolerance = s->config->testing.statistical_validation.variance_tolerance;
    if (m.cv > tolerance)
        o3_note(&s->result->notes, "%s: samples spread by %.0f %%, over the tolerance of %.0f %%", row->name, m.cv * 100,
                tolerance * 100);
    return m;
}

static void take_success(session *s, o3_preset *row, const o3_trial *const *trials, int count)
{
    int all = 0, ok = 0;
    for (int t = 0; t < count; t++)
        for (int i = 0; i < trials[t]->sample_count; i++, all++)
            ok += trials[t]->samples[i].outcome == O3_OUTCOME_OK;
    row->success_frac = all ? (double)ok / all : NAN;
    stats_wilson(ok, all, &row->success_low, &row->success_high);
    double wanted_share = s->config->testing.statistical_validation.confidence_threshold;
    if (row->success_frac < wanted_share) {
        row->proven = false;
        o3_note(&s->result->notes, "%s: only %.0f %% of its requests succeeded (%.0f %% are asked for)", row->name,
                row->success_frac * 100, wanted_share * 100);
    }
}

/* Highest reading per pool over the trials. */
static void merge_peaks(o3_peaks *dst, const o3_peaks *src)
{
    for (int i = 0; i < src->count; i++) {
        int at = 0;
        while (at < dst->count && strcmp(dst->pools[at].pool, src->pools[i].pool))
            at++;
        if (at == dst->count && dst->count < O3_POOLS_MAX)
            dst->pools[dst->count++] = src->pools[i];
        else if (at < dst->count && src->pools[i].bytes > dst->pools[at].bytes)
            dst->pools[at] = src->pools[i];
    }
    dst->temperature_c = fmax(dst->temperature_c, src->temperature_c);
    dst->cpu_frac = fmax(dst->cpu_frac, src->cpu_frac);
}

static const o3_target *target_of(const session *s, bool ttft)
{
    switch (s->model->size_class) {
    case O3_SIZE_LARGE:
        return ttft ? &s->config->ttft_targets.large : &s->config->throughput_targets.large;
    case O3_SIZE_MEDIUM:
        return ttft ? &s->config->ttft_targets.medium : &s->config->throughput_targets.medium;
    case O3_SIZE_SMALL:
        break;
    }
    return ttft ? &s->config->ttft_targets.small : &s->config->throughput_targets.small;
}

/* The configured targets give a verdict; they lower nothing. TTFT is held against them only at 512 tokens. */
static void judge(const session *s, o3_preset *row)
{
    const o3_target *rate = target_of(s, false), *ttft = target_of(s, true);
    size_t len;
    if (row->decode_per_s.n == 0)
        return;
    O3_FORMAT(row->verdict, "decode %s the target of %g tok/s",
              row->decode_per_s.mean >= rate->target ? "reaches" : row->decode_per_s.mean >= rate->min ? "is below"
              : "is far below", rate->target);
    len = strlen(row->verdict);
    if (row->ttft_ms.n && row->ttft_ms.depth_tokens == 512)
        o3_format(row->verdict + len, sizeof(row->verdict) - len, "; TTFT at 512 tokens %s the target of %g ms",
                  row->ttft_ms.mean <= ttft->target ? "reaches" : row->ttft_ms.mean <= ttft->max ? "is above"
                  : "is far above", ttft->target);
}

void rows_take(session *s, o3_preset *row, const o3_trial *const *trials, int count)
{
    int64_t window = row->knobs.num_ctx, prompt = row->ttft_ms.depth_tokens;
    if (window == O3_UNSET)
        window = trials[0]->in_force.num_ctx;
    pick decode = {.name = "decode", .any_kind = true, .field = offsetof(o3_sample, decode_per_s), .depth = window / 2};
    pick prefill = {.name = "prefill", .kind = O3_SAMPLE_PREFILL, .field = offsetof(o3_sample, prefill_per_s), .depth = prompt};
    pick ttft = {.name = "TTFT", .kind = O3_SAMPLE_PREFILL, .ttft = true, .depth = prompt};
    row->measured = true;
    row->decode_per_s = measure(s, row, trials, count, &decode);
    row->prefill_per_s = measure(s, row, trials, count, &prefill);
    row->ttft_ms = measure(s, row, trials, count, &ttft);
    row->peaks = (o3_peaks){.temperature_c = NAN, .cpu_frac = NAN};
    for (int i = 0; i < count; i++) {
        merge_peaks(&row->peaks, &trials[i]->peaks);
        row->proven = row->proven || (trials[i]->outcome == O3_OUTCOME_OK && visit_filled(trials[i], window));
    }
    take_success(s, row, trials, count);
    judge(s, row);
    for (int i = 0; i < count && s->world->store; i++) { /* the marks belong to the stored samples too */
        o3_err err;
        if (o3_store_trial_end(s->world->store, trials[i], &err))
            o3_note(&s->result->notes, "the outliers' marks were not stored: %s", err.message);
    }
}

int rows_trials_of(const session *s, const o3_knobs *asked, const o3_trial **ret_trials)
{
    int count = 0;
    for (int i = 0; i < s->trial_count; i++)
        if (o3_knobs_equal(&s->trials[i]->asked, asked) && s->trials[i]->outcome == O3_OUTCOME_OK)
            ret_trials[count++] = s->trials[i];
    return count;
}

/* Decode at the shared depth with the *visit* as the unit: samples of one load lie closer together than loads minutes
 * apart do, so an interval of pooled samples would claim differences that are none. */
void rows_take_equal(session *s, o3_preset *row, const o3_knobs *asked)
{
    const o3_trial *trials[TUNE_TRIALS_MAX];
    const o3_sample *samples[STATS_MAX];
    double means[TUNE_TRIALS_MAX], x[STATS_MAX];
    int count = rows_trials_of(s, asked, trials), visits = 0, quiet = 0;
    pick decode = {.any_kind = true, .field = offsetof(o3_sample, decode_per_s),
                   .depth = presets_equal_depth(row->knobs.num_ctx)};
    for (int i = 0; i < count; i++) {
        int n = collect(&trials[i], 1, &decode, false, x, samples);
        quiet += n > 0;
        if (n == 0)
            n = collect(&trials[i], 1, &decode, true, x, samples);
        if (n > 0)
            means[visits++] = stats_median(x, n);
    }
    row->decode_equal_per_s = stats_measure(means, visits, decode.depth, false);
    row->decode_equal_per_s.disturbed = quiet < visits;
}
