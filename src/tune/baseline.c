/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's own defaults: measured, and compared with. */
#include "tune_impl.h"

#define ROUNDS 3 /* of the comparison; a row's own visit is the first */

static int64_t default_window(const session *s)
{
    return o3_default_window(s->profile, s->model, s->caps.version);
}

static visit_plan baseline_plan(const session *s)
{
    int64_t window = default_window(s);
    return visit_preset_plan(s, O3_KNOBS_DEFAULT, window, NULL, true);
}

/* What Ollama is expected to make of a request that sets nothing but the window. */
static o3_knobs usual_knobs(int32_t num_ctx)
{
    o3_knobs usual = O3_KNOBS_DEFAULT;
    usual.num_ctx = num_ctx;
    usual.num_batch = TUNE_BATCH;
    return usual;
}

/* Are these the settings that the defaults are expected to come to, measured with prompts of this length? */
static bool like_default(const session *s, const o3_preset *row, int64_t prompt)
{
    o3_knobs usual = usual_knobs((int32_t)default_window(s));
    return row->ttft_ms.depth_tokens == prompt && o3_knobs_equal(&row->knobs, &usual);
}

double baseline_rest_s(const session *s)
{
    visit_plan plan = baseline_plan(s), compare = {.knobs = O3_KNOBS_DEFAULT};
    double total = cost_visit_s(s, &plan);
    bool compared = false;
    for (int i = 0; i < s->result->preset_count; i++) {
        const o3_preset *row = &s->result->presets[i];
        o3_knobs usual = usual_knobs(row->knobs.num_ctx);
        compared = compared || !o3_knobs_equal(&row->knobs, &usual);
        if (like_default(s, row, plan.fresh_tokens))
            total = cost_visit_s(s, &(visit_plan){.knobs = O3_KNOBS_DEFAULT});
    }
    visit_add_rung(&compare, TUNE_EQUAL_DEPTH, s->samples);
    return total + (ROUNDS - 1) * (compared ? 2 : 0) * cost_visit_s(s, &compare);
}

/* The last trial of this run that asked for these knobs and went well; NULL if none did. */
static const o3_trial *seen_with(const session *s, const o3_knobs *asked)
{
    const o3_trial *trials[TUNE_TRIALS_MAX];
    int count = rows_trials_of(s, asked, trials);
    return count ? trials[count - 1] : NULL;
}

static bool same_in_force(const o3_trial *a, const o3_trial *b)
{
    return o3_knobs_equal(&a->in_force, &b->in_force) && a->size_bytes == b->size_bytes &&
           a->size_vram_bytes == b->size_vram_bytes;
}

/* Where a load shows that the defaults come to what a row was measured with, its numbers are theirs: a second set would
 * differ by noise only. */
static o3_status take_twin(session *s, o3_preset *baseline, int64_t prompt, bool *ret_taken, o3_err *err)
{
    visit_plan look = {.knobs = O3_KNOBS_DEFAULT, .purpose = "baseline-load"};
    const o3_trial *trial = NULL;
    for (int i = 0; i < s->result->preset_count; i++) {
        const o3_preset *row = &s->result->presets[i];
        const o3_trial *mine = seen_with(s, &row->knobs);
        if (!row->measured || !row->proven || !mine || !like_default(s, row, prompt))
            continue;
        if (mine->in_force.num_batch == O3_UNSET) /* nobody sees what is in force: unknown is not the same as unknown */
            continue;
        o3_status status = visit_run(s, &look, &trial, err);
        if (status)
            return status;
        if (trial->outcome != O3_OUTCOME_OK || !same_in_force(trial, mine))
            continue;
        o3_preset taken = *row;
        O3_COPY(taken.name, baseline->name);
        O3_COPY(taken.description, baseline->description);
        taken.score = baseline->score;
        taken.knobs = trial->in_force; /* num_ctx among them: it is the row's */
        *baseline = taken;
        *ret_taken = true;
        return O3_OK;
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
    bool taken = false;
    tune_expect(s, &plan, -1);
    o3_status status = take_twin(s, row, plan.fresh_tokens, &taken, err);
    status = status || taken ? status : visit_run(s, &plan, &trial, err);
    if (status || taken)
        return status;
    if (trial->outcome != O3_OUTCOME_OK) {
        s->partial = s->partial || trial->outcome == O3_OUTCOME_CANCELLED;
        o3_note(&s->result->notes, "Ollama's defaults could not be measured: the trial %s (%s)",
                o3_outcome_text(trial->outcome), trial->reason);
        return O3_OK;
    }
    row->ttft_ms.depth_tokens = plan.fresh_tokens;
    rows_take(s, row, &trial, 1);
    int32_t window = row->knobs.num_ctx;
    row->knobs = trial->in_force; /* shown: what the defaults came to */
    row->knobs.num_ctx = row->knobs.num_ctx == O3_UNSET ? window : row->knobs.num_ctx;
    return O3_OK;
}

static bool spills(const session *s, const o3_knobs *asked)
{
    const o3_trial *trial = seen_with(s, asked);
    return trial && trial->size_vram_bytes > 0 && trial->size_vram_bytes < trial->size_bytes;
}

/* The row that stands for this one in the comparison: the first of those with the same settings; NULL: none, they are the
 * defaults'. Settings that differ in the window only decode alike at the same depth, as long as none of them spills: there
 * is nothing to show but noise. */
static o3_preset *compared_as(const session *s, o3_preset *row)
{
    const o3_preset *baseline = &s->result->baseline;
    o3_knobs same = row->knobs;
    if (!baseline->measured || !row->measured)
        return NULL;
    if (spills(s, &row->knobs))
        return row;
    same.num_ctx = baseline->knobs.num_ctx;
    if (o3_knobs_hold(&same, &baseline->knobs) && !spills(s, &O3_KNOBS_DEFAULT))
        return NULL;
    for (o3_preset *first = s->result->presets; first < row; first++) {
        same.num_ctx = first->knobs.num_ctx;
        if (first->measured && o3_knobs_equal(&same, &first->knobs) && !spills(s, &first->knobs))
            return first;
    }
    return row;
}

static o3_status compare_visit(session *s, o3_preset *row, const o3_knobs *asked, int round, o3_err *err)
{
    const o3_trial *trial;
    bool baseline = row == &s->result->baseline;
    visit_plan plan = {.knobs = *asked};
    O3_FORMAT(plan.purpose, "compare-%d", round);
    visit_add_rung(&plan, presets_equal_depth(row->knobs.num_ctx), s->samples);
    if (cost_visit_s(s, &plan) > tune_left_s(s) && !visit_known(s, &plan)) {
        s->partial = true;
        return O3_OK;
    }
    tune_say(s, O3_EVENT_PROGRESS, "Comparing: %s, round %d of %d", baseline ? "Ollama's defaults" : row->name, round, ROUNDS);
    o3_status status = visit_run(s, &plan, &trial, err);
    if (!status && trial->outcome != O3_OUTCOME_OK && trial->outcome != O3_OUTCOME_CANCELLED) {
        row->proven = false; /* a fresh load of what was proven failed: that is the news */
        o3_note(&s->result->notes, "%s: loaded once more it %s (%s)", row->name, o3_outcome_text(trial->outcome), trial->reason);
    }
    return status;
}

/* Rows with other settings than the defaults', and the defaults: more short visits in turns, so that drift hits all of
 * them alike. */
o3_status stage_compare(session *s, o3_err *err)
{
    o3_result *r = s->result;
    o3_preset *as[O3_PRESETS_MAX];
    bool any = false;
    for (int i = 0; i < r->preset_count; i++)
        any |= (as[i] = compared_as(s, &r->presets[i])) != NULL;
    for (int round = 2; any && round <= ROUNDS; round++) {
        o3_status status = O3_OK;
        for (int i = 0; i < r->preset_count && !status; i++)
            if (as[i] == &r->presets[i])
                status = compare_visit(s, as[i], &as[i]->knobs, round, err);
        status = status ? status : compare_visit(s, &r->baseline, &O3_KNOBS_DEFAULT, round, err);
        if (status)
            return status;
    }
    if (any)
        rows_take_equal(s, &r->baseline, &O3_KNOBS_DEFAULT);
    for (int i = 0; i < r->preset_count; i++) {
        if (as[i] == &r->presets[i])
            rows_take_equal(s, as[i], &as[i]->knobs);
        if (as[i])
            r->presets[i].decode_equal_per_s = as[i]->decode_equal_per_s;
    }
    return O3_OK;
}
