/* SPDX-License-Identifier: Apache-2.0 */
/* The ceiling: the search says where, a ladder fill says whether. */
#include "tune_impl.h"

#define NOT_FILLED "the window could not be filled"

/* A quarter, half, three quarters, the whole of the window; samples where rows are compared. The first rung is at least
 * a whole batch, or the compute buffer would never be written to its end and the proof would miss those bytes. */
visit_plan ceiling_ladder(const session *s, o3_knobs knobs, int64_t num_ctx)
{
    visit_plan plan = {.knobs = knobs, .fill = true, .milder = true, .floor = floor_set(s) ? FLOOR_KEPT : FLOOR_NOT_ASKED};
    const struct { int64_t depth; int decodes; } rungs[] = {
        {presets_equal_depth(num_ctx), TUNE_FEW}, {num_ctx / 4, TUNE_FEW}, {num_ctx / 2, s->samples + TUNE_SPARE},
        {num_ctx * 3 / 4, TUNE_FEW},
    };
    O3_FORMAT(plan.purpose, "%sproof-1", s->prefix);
    plan.knobs.num_ctx = (int32_t)num_ctx;
    for (int i = 0; i < O3_COUNT(rungs); i++)
        if (rungs[i].depth >= TUNE_BATCH)
            visit_add_rung(&plan, rungs[i].depth, rungs[i].decodes);
    visit_add_rung(&plan, num_ctx - PROBE_DECODE_TOKENS, s->samples);
    return plan;
}

/* Largest step of the grid below `num_ctx` whose fill fits the time that is left; 0 = none. Once rates are known, with all
 * that its visit does: one that is broken off for want of time proves nothing. */
static int64_t affordable(const session *s, int64_t num_ctx)
{
    int64_t low = 0, high = num_ctx / O3_CTX_GRID - 1;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        visit_plan plan = ceiling_ladder(s, s->setting.knobs, middle * O3_CTX_GRID);
        double price = s->curve.count ? cost_visit_s(s, &plan) : cost_fill_least_s(s, middle * O3_CTX_GRID);
        if (price <= TUNE_AFFORDABLE * tune_left_s(s))
            low = middle;
        else
            high = middle - 1;
    }
    return low * O3_CTX_GRID;
}

/* Outcomes that say nothing of the context: repeated once before they count. Thrashing is among them, because a busy
 * neighbour's memory looks the same; but where the last window that failed did so twice, this one is believed. */
static bool worth_repeating(const session *s, const search_ceiling *search, const o3_trial *trial)
{
    o3_outcome outcome = trial->outcome;
    return (outcome == O3_OUTCOME_SLOW && floor_doubtful(s, trial)) ||
           outcome == O3_OUTCOME_REPEAT_ABORT || outcome == O3_OUTCOME_BUSY || outcome == O3_OUTCOME_ERROR ||
           (outcome == O3_OUTCOME_THRASHING && search->last_failure != O3_OUTCOME_THRASHING);
}

/* Where there is a floor: how fast the visit was. */
static void tell_pace(const session *s, search_ceiling *search, const o3_trial *trial)
{
    curve c = cost_curve(trial);
    bool slow = trial->outcome == O3_OUTCOME_SLOW;
    if (c.count && floor_set(s) && (slow || trial->outcome == O3_OUTCOME_OK))
        search_ceiling_paced(search, slow, floor_window(s, &c, slow ? search->asked : search->trained));
}

/* One iteration; *ret_done when the search is. */
static o3_status iterate(session *s, search_ceiling *search, bool *ret_done, o3_err *err)
{
    int64_t num_ctx = search_ceiling_ask(search);
    const o3_trial *trial;
    *ret_done = num_ctx == 0;
    if (*ret_done)
        return O3_OK;
    if (cost_fill_least_s(s, num_ctx) > TUNE_AFFORDABLE * tune_left_s(s)) {
        char left[32], cost[32], reason[O3_TEXT_MAX];
        o3_fmt_duration(left, sizeof(left), fmax(0, tune_left_s(s)));
        o3_fmt_duration(cost, sizeof(cost), cost_fill_least_s(s, num_ctx));
        O3_FORMAT(reason, "not tried: filling %lld tokens would take about %s, %s of the budget are left",
                  (long long)num_ctx, cost, left);
        search_ceiling_budget(search, affordable(s, num_ctx), reason);
        s->partial = s->partial || !(cost_fill_least_s(s, num_ctx) > s->config->objectives.max_ttft_s); /* out anyway */
        return O3_OK;
    }
    visit_plan plan = ceiling_ladder(s, search->setting.knobs, num_ctx);
    search_reading read;
    plan.search = search;
    s->spill_expected = search->spill_expected;
    tune_expect(s, &plan, 0);
    tune_say(s, O3_EVENT_PROGRESS, "Ceiling: filling %lld tokens", (long long)num_ctx);
    o3_status status = visit_run(s, &plan, &trial, err);
    if (!status && trial->sample_count && worth_repeating(s, search, trial)) {
        O3_FORMAT(plan.purpose, "%sproof-1-again", s->prefix);
        status = visit_run(s, &plan, &trial, err);
    }
    if (status)
        return status;
    search_ceiling_batch(search, trial->asked.num_batch); /* heat may have halved it */
    cost_learn(s, trial);
    search->calibration.rates = s->calibration.rates;
    if (trial->outcome == O3_OUTCOME_OK && trial->sample_count == 0)
        return O3_OK; /* loaded only: the search moves on */
    if (trial->outcome == O3_OUTCOME_OK && !visit_filled(trial, num_ctx))
        search_ceiling_filled(search, O3_OUTCOME_TRUNCATED, NOT_FILLED, NULL);
    else if (trial->outcome == O3_OUTCOME_CANCELLED) /* the budget; what the ladder reached is known to fit it */
        search_ceiling_budget(search, affordable(s, num_ctx), trial->reason);
    else if (trial->sample_count) {
        tell_pace(s, search, trial);
        if (trial->outcome != O3_OUTCOME_OK && trial->outcome != O3_OUTCOME_SLOW)
            search_ceiling_reached(search, trial->depth_tokens);
        search_ceiling_filled(search, trial->outcome, trial->reason, visit_read(s, trial, &read));
    }
    if (trial->outcome == O3_OUTCOME_OK)
        s->result->ceiling.filled_tokens = trial->depth_tokens;
    return O3_OK;
}

/* How full the fullest pool was while the ceiling was proven. */
static void take_use(session *s)
{
    o3_ceiling *c = &s->result->ceiling;
    for (int t = 0; t < s->trial_count; t++) {
        const o3_trial *trial = s->trials[t];
        int peaks = visit_filled(trial, c->proven_tokens) ? trial->peaks.count : 0;
        for (int i = 0; i < peaks; i++) {
            const o3_peak *peak = &trial->peaks.pools[i];
            for (int p = 0; p < s->profile->pool_count; p++) {
                const o3_pool *pool = &s->profile->pools[p];
                double used = pool->safe_bytes > 0 && peak->bytes >= 0 && !strcmp(pool->name, peak->pool)
                              ? (double)peak->bytes / (double)pool->safe_bytes : (double)NAN;
                if (used > c->used_frac || (isnan(c->used_frac) && !isnan(used))) {
                    c->used_frac = used;
                    O3_COPY(c->used_pool, pool->name);
                }
            }
        }
    }
}

static void say_ceiling(session *s)
{
    const o3_ceiling *c = &s->result->ceiling;
    tune_say(s, O3_EVENT_NOTE, "%lld proven: %lld tokens evaluated %s, %d load%s, %d fill%s · next step: %s",
             (long long)c->proven_tokens, (long long)c->filled_tokens, c->proofs > 1 ? "twice" : "once", c->loads,
             c->loads == 1 ? "" : "s", c->fills, c->fills == 1 ? "" : "s", c->next_reason);
}

/* Of the knobs' account, not the ceiling's. */
static bool of_race(const o3_trial *trial)
{
    return !strncmp(trial->purpose, TUNE_RACE, strlen(TUNE_RACE));
}

static void take_result(session *s, const search_ceiling *search)
{
    o3_ceiling *c = &s->result->ceiling;
    int64_t filled_tokens = c->filled_tokens;
    search_ceiling_result(search, c);
    c->filled_tokens = search->proven ? filled_tokens : 0;
    c->num_batch = search->proven ? search->setting.knobs.num_batch : O3_UNSET;
    c->loads = c->fills = 0;
    for (int i = 0; i < s->trial_count; i++) {
        c->loads += of_race(s->trials[i]) ? 0 : s->trials[i]->loads;
        c->fills += s->trials[i]->fills;
    }
    c->proofs = search->proven ? 1 : 0;
}

/* The second proof is the visit that also measures the preset: a fresh load, another text, the final knobs. */
static o3_status prove_again(session *s, search_ceiling *search, bool *ret_again, o3_err *err)
{
    o3_ceiling *c = &s->result->ceiling;
    *ret_again = false;
    if (s->request->no_proof || cost_fill_s(s, c->proven_tokens) > s->budget_s / 3) {
        o3_note(&s->result->notes, s->request->no_proof ? "one full fill only (--no-proof)"
                : "one full fill only: a second would cost more than a third of the budget");
        s->partial = s->partial || !s->request->no_proof; /* a larger budget goes on from here */
        return O3_OK;
    }
    presets_choose(s, c->proven_tokens);
    const o3_category *category = o3_config_category(s->config, "max_context");
    const o3_trial *trial;
    visit_plan plan = visit_preset_plan(s, search->setting.knobs, c->proven_tokens, category, true);
    tune_expect(s, NULL, 0);
    tune_say(s, O3_EVENT_PROGRESS, "Ceiling: proving %lld again on a fresh load", (long long)c->proven_tokens);
    o3_status status = visit_run(s, &plan, &trial, err);
    if (status)
        return status;
    search_ceiling_batch(search, trial->asked.num_batch);
    if (trial->outcome == O3_OUTCOME_CANCELLED) { /* budget */
        o3_note(&s->result->notes, "one full fill only: %s", trial->reason);
        s->partial = true;
        return O3_OK;
    }
    search_reading read;
    search->asked = c->proven_tokens;
    /* The fill comes first in the visit: what fails behind it is not the window's fault. */
    if (trial->outcome == O3_OUTCOME_SLOW || !visit_filled(trial, c->proven_tokens)) {
        bool short_of = trial->outcome == O3_OUTCOME_OK;
        tell_pace(s, search, trial);
        search_ceiling_filled(search, short_of ? O3_OUTCOME_TRUNCATED : trial->outcome, short_of ? NOT_FILLED : trial->reason,
                              visit_read(s, trial, &read));
        *ret_again = true;
        return O3_OK;
    }
    c->proofs = 2;
    c->loads += trial->loads;
    c->fills += trial->fills;
    if (trial->depth_tokens < c->filled_tokens)
        c->filled_tokens = trial->depth_tokens;
    return O3_OK;
}

static const char *strategy_name(const o3_config *config)
{
    const char *name = config->search_strategy.context_discovery;
    return !config->ai_guidance.predictive_optimization && !strcmp(name, "predictive") ? "binary_search" : name;
}

o3_status stage_ceiling(session *s, o3_err *err)
{
    search_ceiling search;
    tune_say(s, O3_EVENT_STAGE, "Ceiling");
    search_options options = search_options_of(s->config, s->request->seed);
    search_ceiling_start(&search, search_strategy_find(strategy_name(s->config)), s->profile, s->model,
                         &s->setting, &options, &s->calibration);
    s->spill_expected = search.spill_expected;
    if (s->spill_expected)
        o3_note(&s->result->notes, "part of the model lies outside the devices at every window: they cannot take all of it");
    for (bool again = true; again;) {
        bool done = false;
        o3_status status = O3_OK;
        while (!status && !done) {
            int64_t asked = search.asked;
            int visits = s->visits;
            status = iterate(s, &search, &done, err);
            done = done || (search.asked == asked && s->visits == visits); /* nothing new came of asking again */
        }
        take_result(s, &search);
        memcpy(s->calibration.offset, search.calibration.offset, sizeof(s->calibration.offset));
        s->calibration.loads = search.calibration.loads;
        if (status)
            return status;
        if (search.proven == 0)
            return O3_OK;
        status = prove_again(s, &search, &again, err);
        if (status)
            return status;
    }
    take_use(s);
    floor_take(s);
    say_ceiling(s);
    return O3_OK;
}

/* Where nothing is proven the presets stay predicted, but only with windows that loaded as asked, below all that failed. */
void ceiling_keep_predicted(session *s)
{
    int64_t most = s->result->ceiling.allocated_tokens;
    bool failed = false;
    for (int i = 0; i < s->trial_count; i++) {
        const o3_trial *trial = s->trials[i];
        search_effect effect = search_effect_of(trial->outcome);
        /* Heat was answered by a smaller batch, an error behind a good sample by another try. */
        bool passed = trial->outcome == O3_OUTCOME_TOO_HOT || (trial->outcome == O3_OUTCOME_ERROR && trial->sample_count);
        if (effect == SEARCH_FITS || effect == SEARCH_NOTHING || passed || of_race(trial))
            continue;
        failed = true;
        if (trial->asked.num_ctx <= most)
            most = trial->asked.num_ctx - O3_CTX_GRID;
    }
    if (failed)
        presets_choose(s, most);
}

/* --quick: one load, rungs that double while the minute lasts; nothing is proven by a part of the window. */
o3_status stage_quick(session *s, o3_err *err)
{
    int64_t num_ctx = s->predicted_ceiling;
    visit_plan plan = {.purpose = "quick", .knobs = o3_setting_at(&s->setting, num_ctx).knobs, .milder = true};
    const o3_trial *trial;
    if (num_ctx <= 0)
        return O3_OK;
    for (int64_t depth = 512; depth <= num_ctx / 2 && plan.rung_count < 8; depth *= 2)
        visit_add_rung(&plan, depth, 3);
    tune_say(s, O3_EVENT_STAGE, "Quick look");
    o3_status status = visit_run(s, &plan, &trial, err);
    if (status)
        return status;
    cost_learn(s, trial);
    o3_ceiling *c = &s->result->ceiling;
    c->iterations = 1;
    c->loads = trial->loads;
    c->next_kind = O3_STEP_BUDGET;
    c->next_num_ctx = num_ctx;
    O3_COPY(c->next_reason, "not filled: --quick proves nothing, a full run does");
    bool loaded = trial->outcome == O3_OUTCOME_OK || trial->sample_count ||
                  (trial->outcome == O3_OUTCOME_CANCELLED && trial->size_bytes >= 0);
    c->allocated_tokens = loaded ? num_ctx : 0;
    if (!loaded)
        o3_note(&s->result->notes, "the load at %lld %s: %s", (long long)num_ctx, o3_outcome_text(trial->outcome),
                trial->reason);
    int64_t keeps = floor_window(s, &s->curve, num_ctx);
    if (keeps == 0)
        o3_note(&s->result->notes, "no window is expected to keep the speed floor; a full run looks for one");
    else if (keeps < num_ctx)
        o3_note(&s->result->notes, "the speed floor is expected to be kept by windows of up to %lld tokens", (long long)keeps);
    presets_choose(s, keeps);
    return O3_OK;
}
