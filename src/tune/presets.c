/* SPDX-License-Identifier: Apache-2.0 */
/* Presets: chosen by scores from the ladder's curve (or the prediction), then measured with their own knobs. */
#include "tune_impl.h"

#define CANDIDATES_MAX 32
#define DEAR_PROMPT_S 20 /* a prompt that takes longer is sampled */
#define DEAR_PROMPTS 3   /* so often */

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

int presets_prompts(const session *s, int64_t tokens)
{
    return cost_fill_s(s, tokens) > DEAR_PROMPT_S && s->samples > DEAR_PROMPTS ? DEAR_PROMPTS : s->samples;
}

visit_plan visit_preset_plan(const session *s, o3_knobs knobs, int64_t num_ctx, const o3_category *category, bool fill)
{
    visit_plan plan = {.knobs = knobs, .fill = fill, .milder = true};
    bool floor = fill && category && floor_set(s); /* the defaults are what they are */
    plan.fresh_tokens = category ? o3_preset_ttft_tokens(category, num_ctx) : 512;
    if (plan.fresh_tokens > num_ctx / 2)
        plan.fresh_tokens = num_ctx / 2;
    plan.fresh_count = presets_prompts(s, plan.fresh_tokens);
    plan.knobs.num_ctx = category ? (int32_t)num_ctx : knobs.num_ctx;
    O3_FORMAT(plan.purpose, "%s-%lld%s", category ? "preset" : "baseline", (long long)plan.fresh_tokens,
              fill ? "" : "-nofill");
    visit_add_rung(&plan, presets_equal_depth(num_ctx), TUNE_FEW);
    visit_add_rung(&plan, num_ctx / 2, s->samples + TUNE_SPARE);
    if (fill)
        visit_add_rung(&plan, num_ctx - PROBE_DECODE_TOKENS, floor ? s->samples : 1);
    plan.floor = floor ? FLOOR_LENIENT : FLOOR_NOT_ASKED;
    return plan;
}

double presets_rest_s(const session *s, int from)
{
    double total = baseline_rest_s(s);
    for (int i = from; i < s->result->preset_count; i++) {
        const o3_preset *row = &s->result->presets[i];
        const o3_category *category = o3_config_category(s->config, row->name);
        bool seen = false;
        visit_plan plan = visit_preset_plan(s, row->knobs, row->knobs.num_ctx, category, true);
        for (int j = 0; j < s->trial_count; j++)
            seen = seen || (!strcmp(s->trials[j]->purpose, plan.purpose) && o3_knobs_equal(&s->trials[j]->asked, &plan.knobs));
        for (int j = from; j < i; j++)
            seen = seen || o3_knobs_equal(&s->result->presets[j].knobs, &row->knobs);
        total += seen ? 0 : cost_visit_s(s, &plan);
    }
    return total;
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
    rows_take(s, row, trials, trials_for(s, row, visit, trials));
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
    for (int i = 0; i < r->preset_count; i++) { /* by what was measured, not by the curve that chose */
        o3_preset *row = &r->presets[i];
        int64_t num_ctx;
        score(s, o3_config_category(s->config, row->name), r->ceiling.proven_tokens, row->knobs.num_ctx, &row->score, &num_ctx);
    }
    return O3_OK;
}
