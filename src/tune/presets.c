/* SPDX-License-Identifier: Apache-2.0 */
/* Presets: chosen by scores from the ladder's curve (or the prediction), then measured with their own knobs. */
#include "tune_impl.h"

#define CANDIDATES_MAX 32

int64_t presets_equal_depth(int64_t num_ctx)
{
    int64_t quarter = num_ctx / 4;
    return quarter < TUNE_EQUAL_DEPTH ? quarter : TUNE_EQUAL_DEPTH;
}

bool presets_wanted(const session *s, const char *name)
{
    return !s->request->preset[0] || !strcmp(s->request->preset, name);
}

static o3_measure predicted(double mid, double spread, int64_t depth)
{
    o3_measure m = O3_MEASURE_NONE;
    m.mean = mid;
    m.low = mid / spread;
    m.high = mid * spread;
    m.depth_tokens = depth;
    return m;
}

static double decode_rate(const session *s, int64_t depth)
{
    return PROBE_DECODE_TOKENS / cost_decode_s(s, depth, 1);
}

/* What is known of a context: the ladder's curve, or the row that measured it. */
static o3_candidate candidate(const session *s, const o3_category *category, int64_t num_ctx)
{
    int64_t prompt = o3_preset_ttft_tokens(category, num_ctx);
    o3_candidate c = {.num_ctx = num_ctx, .decode_half_per_s = decode_rate(s, num_ctx / 2),
                      .ttft_ms = cost_fill_s(s, prompt) * 1e3};
    for (int i = 0; i < s->result->preset_count; i++) {
        const o3_preset *row = &s->result->presets[i];
        if (row->measured && row->knobs.num_ctx == num_ctx) {
            c.decode_half_per_s = row->decode_per_s.mean;
            if (row->ttft_ms.depth_tokens == prompt)
                c.ttft_ms = row->ttft_ms.mean;
        }
    }
    return c;
}

/* Scores a category over all contexts: of `num_ctx`, or of the winner if that is 0. Returns the index, -1 = none. */
static int score(session *s, const o3_category *category, int64_t ceiling, int64_t num_ctx, o3_score *ret_score,
                 int64_t *ret_ctx)
{
    int64_t contexts[CANDIDATES_MAX];
    o3_candidate candidates[CANDIDATES_MAX];
    o3_score scores[CANDIDATES_MAX];
    double weights[3];
    char why[O3_TEXT_MAX];
    int count = o3_preset_candidates(ceiling, contexts, CANDIDATES_MAX), best = -1;
    for (int i = 0; i < count; i++) {
        candidates[i] = candidate(s, category, contexts[i]);
        if (contexts[i] == num_ctx)
            best = i;
    }
    o3_preset_weights(s->config, category, s->request->use_case, weights, why, sizeof(why));
    o3_preset_score(category, weights, ceiling, candidates, count, scores);
    if (num_ctx == 0)
        best = o3_preset_best(scores, candidates, count);
    if (best < 0)
        return -1;
    *ret_score = scores[best];
    *ret_ctx = contexts[best];
    if (why[0] && !strstr(s->result->weights, why)) {
        size_t len = strlen(s->result->weights);
        o3_format(s->result->weights + len, sizeof(s->result->weights) - len, "%s%s", len ? "; " : "", why);
    }
    return best;
}

void presets_choose(session *s, int64_t ceiling_tokens)
{
    o3_result *r = s->result;
    double spread = s->calibration.rates ? 1.2 : 2;
    r->preset_count = 0;
    r->weights[0] = '\0';
    for (int i = 0; i < s->config->category_count; i++) {
        const o3_category *category = &s->config->categories[i];
        o3_score won;
        int64_t num_ctx;
        if (!presets_wanted(s, category->name) || score(s, category, ceiling_tokens, 0, &won, &num_ctx) < 0)
            continue;
        o3_preset *row = &r->presets[r->preset_count++];
        int64_t prompt = o3_preset_ttft_tokens(category, num_ctx);
        *row = o3_preset_none;
        O3_COPY(row->name, category->name);
        row->score = won;
        O3_COPY(row->description, category->description);
        row->knobs = knobs_for(s, num_ctx);
        row->decode_per_s = predicted(decode_rate(s, num_ctx / 2), spread, num_ctx / 2);
        row->prefill_per_s = predicted((double)prompt / cost_fill_s(s, prompt), spread, prompt);
        row->ttft_ms = predicted(cost_fill_s(s, prompt) * 1e3, spread, prompt);
    }
}

visit_plan visit_preset_plan(const session *s, o3_knobs knobs, int64_t num_ctx, const o3_category *category, bool fill)
{
    visit_plan plan = {.knobs = knobs, .fresh_count = s->samples + TUNE_SPARE, .fill = fill, .milder = true};
    bool floor = fill && category && floor_set(s); /* the defaults are what they are */
    plan.fresh_tokens = category ? o3_preset_ttft_tokens(category, num_ctx) : 512;
    if (plan.fresh_tokens > num_ctx / 2)
        plan.fresh_tokens = num_ctx / 2;
    if (cost_fill_s(s, plan.fresh_tokens) > 20 && plan.fresh_count > 3)
        plan.fresh_count = 3;
    plan.knobs.num_ctx = category ? (int32_t)num_ctx : knobs.num_ctx;
    O3_FORMAT(plan.purpose, "%s-%lld%s", category ? "preset" : "baseline", (long long)plan.fresh_tokens,
              fill ? "" : "-nofill");
    visit_add_rung(&plan, presets_equal_depth(num_ctx), s->samples);
    visit_add_rung(&plan, num_ctx / 2, s->samples + TUNE_SPARE);
    if (fill)
        visit_add_rung(&plan, num_ctx - PROBE_DECODE_TOKENS, floor ? s->samples : 1);
    plan.floor = floor ? FLOOR_LENIENT : FLOOR_NOT_ASKED;
    return plan;
}

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
    if (row->success_frac < wanted_share)
        row->proven = false;
    if (row->success_frac < wanted_share)
        o3_note(&s->result->notes, "%s: only %.0f %% of its requests succeeded (%.0f %% are asked for)", row->name,
                row->success_frac * 100, wanted_share * 100);
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

void presets_take(session *s, o3_preset *row, const o3_trial *const *trials, int count)
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

/* Trials of this run that measured these knobs with a fresh-prompt length that fits the row. */
static int trials_for(const session *s, const o3_preset *row, const o3_trial *visit, const o3_trial **ret_trials)
{
    int count = 0;
    ret_trials[count++] = visit;
    for (int i = 0; i < s->trial_count; i++)
        if (s->trials[i] != visit && !strcmp(s->trials[i]->purpose, "proof-1") &&
            o3_knobs_equal(&s->trials[i]->asked, &row->knobs) && s->trials[i]->outcome == O3_OUTCOME_OK)
            ret_trials[count++] = s->trials[i];
    return count;
}

static int64_t default_window(const session *s)
{
    return o3_default_window(s->profile, s->model, s->caps.version);
}

static visit_plan baseline_plan(const session *s)
{
    int64_t window = default_window(s);
    return visit_preset_plan(s, O3_KNOBS_DEFAULT, window, NULL, true);
}

double presets_rest_s(const session *s, int from)
{
    visit_plan plan = baseline_plan(s);
    double total = cost_visit_s(s, &plan);
    visit_plan compare = {.knobs = O3_KNOBS_DEFAULT};
    visit_add_rung(&compare, TUNE_EQUAL_DEPTH, s->samples);
    total += 2 * (s->result->preset_count + 1) * cost_visit_s(s, &compare);
    for (int i = from; i < s->result->preset_count; i++) {
        const o3_preset *row = &s->result->presets[i];
        const o3_category *category = o3_config_category(s->config, row->name);
        bool seen = false;
        plan = visit_preset_plan(s, row->knobs, row->knobs.num_ctx, category, true);
        for (int j = 0; j < s->trial_count; j++)
            seen = seen || (!strcmp(s->trials[j]->purpose, plan.purpose) && o3_knobs_equal(&s->trials[j]->asked, &plan.knobs));
        for (int j = from; j < i; j++)
            seen = seen || o3_knobs_equal(&s->result->presets[j].knobs, &row->knobs);
        total += seen ? 0 : cost_visit_s(s, &plan);
    }
    return total;
}

/* *ret_slow: it does not keep the speed floor, so it is none to hand out. */
static o3_status measure_row(session *s, o3_preset *row, const o3_category *category, bool *ret_slow, o3_err *err)
{
    const o3_trial *visit, *trials[TUNE_TRIALS_MAX];
    int64_t num_ctx = row->knobs.num_ctx;
    bool fill = !(s->request->no_proof && num_ctx == s->result->ceiling.proven_tokens);
    visit_plan plan = visit_preset_plan(s, row->knobs, num_ctx, category, fill);
    /* What is known is not left out for lack of time, whatever the clock of a resumed run says. */
    if (fill && cost_fill_s(s, num_ctx) > 0.5 * tune_left_s(s) && !visit_known(s, &plan)) {
        plan = visit_preset_plan(s, row->knobs, num_ctx, category, false);
        s->partial = true;
    }
    tune_expect(s, NULL, (int)(row - s->result->presets));
    tune_say(s, O3_EVENT_PROGRESS, "Presets: measuring %s at %lld tokens", row->name, (long long)num_ctx);
    o3_status status = visit_run(s, &plan, &visit, err);
    if (status)
        return status;
    *ret_slow = visit->outcome == O3_OUTCOME_SLOW;
    if (visit->outcome != O3_OUTCOME_OK) {
        s->partial = s->partial || !*ret_slow;
        o3_note(&s->result->notes, "%s was not measured at %lld tokens: it %s (%s)", row->name, (long long)num_ctx,
                o3_outcome_text(visit->outcome), visit->reason);
        return O3_OK;
    }
    row->knobs.num_batch = visit->asked.num_batch; /* less than was chosen, after heat */
    heat_say(s, row);
    presets_take(s, row, trials, trials_for(s, row, visit, trials));
    if (num_ctx != s->result->ceiling.proven_tokens && floor_doubtful(s, visit)) /* the ceiling itself kept it once */
        row->proven = false;
    return O3_OK;
}

o3_status stage_presets(session *s, o3_err *err)
{
    tune_say(s, O3_EVENT_STAGE, "Presets");
    o3_result *r = s->result;
    presets_choose(s, r->ceiling.proven_tokens);
    for (int i = 0; i < r->preset_count; i++) {
        o3_preset *row = &r->presets[i];
        bool slow = false;
        o3_status status = measure_row(s, row, o3_config_category(s->config, row->name), &slow, err);
        if (status)
            return status;
        if (slow) {
            r->preset_count--;
            memmove(row, row + 1, (size_t)(r->preset_count - i--) * sizeof(*row));
        }
    }
    return O3_OK;
}

/* Ollama's own defaults on this server: nothing is sent but the model's name. */
o3_status stage_baseline(session *s, o3_err *err)
{
    o3_preset *row = &s->result->baseline;
    const o3_trial *trial;
    const o3_ceiling *c = &s->result->ceiling;
    *row = o3_preset_none;
    O3_COPY(row->name, "ollama_default");
    O3_COPY(row->description, "what this server does when nothing is set");
    row->knobs.num_ctx = (int32_t)default_window(s); /* its window is known, whatever there is time for */
    if (c->proven_tokens < default_window(s)) {
        o3_note(&s->result->notes, "Ollama's defaults were not measured: their %lld tokens are past what is proven here (%lld)",
                (long long)default_window(s), (long long)c->proven_tokens);
        return O3_OK;
    }
    tune_say(s, O3_EVENT_PROGRESS, "Baseline: Ollama's defaults");
    visit_plan plan = baseline_plan(s);
    tune_expect(s, &plan, -1);
    o3_status status = visit_run(s, &plan, &trial, err);
    if (status)
        return status;
    if (trial->outcome != O3_OUTCOME_OK) {
        s->partial = s->partial || trial->outcome == O3_OUTCOME_CANCELLED;
        o3_note(&s->result->notes, "Ollama's defaults could not be measured: the trial %s (%s)",
                o3_outcome_text(trial->outcome), trial->reason);
        return O3_OK;
    }
    row->ttft_ms.depth_tokens = plan.fresh_tokens;
    presets_take(s, row, &trial, 1);
    row->knobs = trial->in_force; /* shown: what the defaults came to */
    return O3_OK;
}

/* Every trial of this run that asked for these knobs. */
static int trials_of(const session *s, const o3_knobs *asked, const o3_trial **ret_trials)
{
    int count = 0;
    for (int i = 0; i < s->trial_count; i++)
        if (o3_knobs_equal(&s->trials[i]->asked, asked) && s->trials[i]->outcome == O3_OUTCOME_OK)
            ret_trials[count++] = s->trials[i];
    return count;
}

/* Decode at the shared depth with the *visit* as the unit: samples of one load lie closer together than loads minutes
 * apart do, so an interval of pooled samples would claim differences that are none. */
static void take_equal(session *s, o3_preset *row, const o3_knobs *asked)
{
    const o3_trial *trials[TUNE_TRIALS_MAX];
    const o3_sample *samples[STATS_MAX];
    double means[TUNE_TRIALS_MAX], x[STATS_MAX];
    int count = trials_of(s, asked, trials), visits = 0, quiet = 0;
    int64_t window = row->knobs.num_ctx > 0 ? row->knobs.num_ctx : default_window(s);
    pick decode = {.any_kind = true, .field = offsetof(o3_sample, decode_per_s), .depth = presets_equal_depth(window)};
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

/* Two more short visits to every distinct row and to the defaults, in turns, so that drift hits all of them alike. */
o3_status stage_compare(session *s, o3_err *err)
{
    o3_result *r = s->result;
    for (int round = 2; round <= 3; round++) {
        for (int i = 0; i <= r->preset_count; i++) {
            bool baseline = i == r->preset_count;
            const o3_preset *row = baseline ? &r->baseline : &r->presets[i];
            const o3_trial *trial;
            visit_plan plan = {.knobs = baseline ? O3_KNOBS_DEFAULT : row->knobs};
            O3_FORMAT(plan.purpose, "compare-%d", round);
            visit_add_rung(&plan, presets_equal_depth(row->knobs.num_ctx), s->samples);
            if (!row->measured)
                continue;
            if (cost_visit_s(s, &plan) > tune_left_s(s) && !visit_known(s, &plan)) {
                s->partial = true;
                continue;
            }
            tune_say(s, O3_EVENT_PROGRESS, "Comparing: %s, round %d of 3", baseline ? "Ollama's defaults" : row->name, round);
            o3_status status = visit_run(s, &plan, &trial, err);
            if (status)
                return status;
            if (trial->outcome != O3_OUTCOME_OK && trial->outcome != O3_OUTCOME_CANCELLED) {
                o3_preset *failed = baseline ? &r->baseline : &r->presets[i];
                failed->proven = false; /* a fresh load of what was proven failed: that is the news */
                o3_note(&r->notes, "%s: loaded once more it %s (%s)", failed->name, o3_outcome_text(trial->outcome),
                        trial->reason);
            }
        }
    }
    for (int i = 0; i < r->preset_count; i++) {
        o3_preset *row = &r->presets[i];
        int64_t num_ctx;
        if (row->measured)
            take_equal(s, row, &row->knobs);
        /* The scores shown are those of what was measured, not of the curve that chose. */
        score(s, o3_config_category(s->config, row->name), r->ceiling.proven_tokens, row->knobs.num_ctx, &row->score,
              &num_ctx);
    }
    if (r->baseline.measured)
        take_equal(s, &r->baseline, &O3_KNOBS_DEFAULT);
    return O3_OK;
}
