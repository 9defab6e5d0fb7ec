/* SPDX-License-Identifier: Apache-2.0 */
/* The knobs: a race of short visits at a modest window, before the ceiling is sought, so that everything after it runs
 * with the settings that are handed out. What it costs is bounded by a share of the budget; what it cannot show keeps
 * the default. */
#include "search/race.h"
#include "tune_impl.h"

#define RACE_WINDOW 4096     /* tokens of context: large enough for the largest batch and its prompt */
#define RACE_PROMPT_S 4.0    /* the longest that one prompt may be expected to take */
#define RACE_PROMPT_MIN 128  /* tokens */
#define RACE_PROMPT_MAX 2048
#define RACE_SAMPLES 3       /* a visit, of prefill and of decode, after one that warms up; more where they are cheap */
#define RACE_LONG 512        /* tokens: a prompt from which on more samples are worth more than a longer one */
#define RACE_BUDGET_FRAC 0.2 /* of the budget, for the whole race */
#define RACE_SLOW 2.0        /* times its price that a visit may take, */
#define RACE_OVER 1.25       /* and the race of its share, before it is broken off */
#define BATCH_WORTH 1.25     /* a batch of half the size must bring a window larger by so much */
#define RACE_LEAST (2 + SEARCH_RACE_FRESH) /* visits: the default, one candidate, and the confirmation */

/* What the presets that are asked for want: their weights of throughput against those of response. */
static search_weights weights_of(const session *s)
{
    search_weights sum = {0, 0};
    for (int i = 0; i < s->config->category_count; i++) {
        const o3_category *category = &s->config->categories[i];
        double weights[3];
        char why[O3_TEXT_MAX];
        if (!presets_wanted(s, category->name))
            continue;
        o3_preset_weights(s->config, category, s->request->use_case, weights, why, sizeof(why));
        sum.decode += weights[1];
        sum.prefill += weights[2];
    }
    return sum.decode + sum.prefill > 0 ? sum : (search_weights){1, 0};
}

typedef struct race_plan { /* what each visit does */
    int visits, samples;
    int64_t prompt;
    double price_s, share_s; /* predicted of one, granted to all */
    double began_s, slowest_s; /* of the run's clock; longest visit so far */
} race_plan;

static visit_plan visit_of(const o3_knobs *knobs, int number, const race_plan *each)
{
    visit_plan plan = {.knobs = *knobs, .fresh_tokens = each->prompt,
                       .fresh_count = each->samples, .race = true, .most_s = RACE_SLOW * each->price_s};
    O3_FORMAT(plan.purpose, TUNE_RACE "%d", number);
    return plan;
}

/* Rates of the samples that count, disturbed ones where nothing else is there. */
static int rates_of(const o3_trial *trial, size_t field, double *ret_rates)
{
    int n = 0;
    for (int disturbed = 0; disturbed <= 1 && n == 0; disturbed++)
        for (int i = 0; i < trial->sample_count && n < STATS_MAX; i++) {
            const o3_sample *sample = &trial->samples[i];
            double rate = *(const double *)((const char *)sample + field);
            if (sample->outcome == O3_OUTCOME_OK && !sample->warmup && sample->disturbed <= disturbed && rate > 0)
                ret_rates[n++] = rate;
        }
    return n;
}

static o3_status visit_candidate(session *s, search_race *race, race_plan *each, bool *ret_stop, o3_err *err)
{
    int index = search_race_ask(race);
    double decode[STATS_MAX], prefill[STATS_MAX];
    const o3_trial *trial;
    char knobs[160];
    double now = tune_elapsed_s(s);
    *ret_stop = index < 0 || now - each->began_s + each->slowest_s > RACE_OVER * each->share_s;
    if (*ret_stop)
        return O3_OK;
    visit_plan plan = visit_of(&race->candidates[index].knobs, race->trials + 1, each);
    o3_knobs_text(&plan.knobs, index ? &race->candidates[0].knobs : NULL, knobs, sizeof(knobs));
    tune_say(s, O3_EVENT_PROGRESS, "Knobs: visit %d, %s", race->trials + 1, index ? knobs : "the default");
    o3_status status = visit_run(s, &plan, &trial, err);
    if (!status && trial->outcome != O3_OUTCOME_OK && trial->outcome != O3_OUTCOME_CANCELLED) {
        o3_note(&s->result->notes, "knobs: a visit with %s %s: %s", index ? knobs : "the default", o3_outcome_text(trial->outcome),
                trial->reason);
        if (index == 0) { /* what everything is compared with gets a second chance: an accident says nothing of it */
            O3_FORMAT(plan.purpose, TUNE_RACE "%d-again", race->trials + 1);
            status = visit_run(s, &plan, &trial, err);
        }
    }
    if (status)
        return status;
    each->slowest_s = fmax(each->slowest_s, tune_elapsed_s(s) - now);
    if (trial->outcome == O3_OUTCOME_CANCELLED) { /* the budget: nothing is decided by half a race */
        *ret_stop = true;
        return O3_OK;
    }
    int decodes = rates_of(trial, offsetof(o3_sample, decode_per_s), decode);
    int prefills = rates_of(trial, offsetof(o3_sample, prefill_per_s), prefill);
    search_race_tell(race, trial->outcome, trial->reason, decode, decodes, prefill, prefills);
    return O3_OK;
}

/* A combination is loaded only where it is predicted to be safe. */
static bool combination_fits(void *ctx, const o3_knobs *knobs)
{
    const session *s = ctx;
    o3_setting at = s->setting;
    at.knobs = *knobs;
    return o3_predict_fits(s->profile, s->model, &at, false, &s->calibration);
}

static void take_result(session *s, const search_race *race, int64_t prompt)
{
    search_race_result won;
    o3_race *out = &s->result->race;
    search_race_result_of(race, &won);
    *out = (o3_race){.verdict = won.verdict,
                     .visits = won.trials, .candidates = race->count, .num_ctx = race->candidates[0].knobs.num_ctx,
                     .prompt_tokens = prompt, .gain_low = won.gain.low, .gain = won.gain.mid, .gain_high = won.gain.high,
                     .promised = won.promised, .shrunk = won.shrunk, .knobs = race->candidates[won.best].knobs,
                     .finalist = O3_KNOBS_DEFAULT, .decode_weight = race->weights.decode};
    if (race->finalist >= 0)
        out->finalist = race->candidates[race->finalist].knobs;
    out->knobs.num_ctx = O3_UNSET;
    O3_COPY(out->why, won.why);
    if (won.verdict == O3_RACE_NOT_RUN)
        O3_FORMAT(out->why, "broken off after %d visits: they take longer than predicted, and the rest of the time is needed; "
                  "the default is kept", won.trials);
    s->setting.knobs = out->knobs;
    if (won.verdict == O3_RACE_UNDECIDED)
        o3_note(&s->result->notes, "knobs: the noise of this machine could hide a gain of %.0f %%, so the default is kept; "
                "a quieter machine or more --samples can tell", 100 * SEARCH_RACE_HIDDEN);
}

static void not_run(session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void not_run(session *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(s->result->race.why, sizeof(s->result->race.why), fmt, args);
    va_end(args);
}

static void price(const session *s, const o3_knobs *knobs, race_plan *each)
{
    visit_plan plan = visit_of(knobs, 1, each);
    each->price_s = cost_visit_s(s, &plan);
    each->visits = (int)fmin(SEARCH_RACE_TRIALS, each->share_s / each->price_s);
}

/* What the race may take: the longest prompt that all visits can be had with, for a batch shows in prompts as long as
 * itself only; as many samples as elsewhere while the prompt is long, a few if it must be short. False: too few visits,
 * and the result says why. */
static bool affordable(session *s, const o3_knobs *knobs, int64_t ceiling, race_plan *ret_each)
{
    /* Both proofs of the ceiling come first; where time will not reach that far, faster knobs are what brings it nearer. */
    double left = tune_left_s(s), fill = cost_fill_s(s, ceiling);
    double spare = fill > TUNE_AFFORDABLE * left ? left : fmax(0, left - 2 * fill);
    race_plan each = {.samples = s->samples, .prompt = RACE_PROMPT_MAX,
                      .share_s = fmin(RACE_BUDGET_FRAC * s->budget_s, spare)};
    char one[32], all[32];
    for (;; each.prompt /= 2) {
        each.samples = each.prompt < RACE_LONG && each.samples > RACE_SAMPLES ? RACE_SAMPLES : each.samples;
        price(s, knobs, &each);
        bool fits = each.prompt <= knobs->num_ctx / 2 && cost_fill_s(s, each.prompt) <= RACE_PROMPT_S;
        if (each.prompt == RACE_PROMPT_MIN || (fits && each.visits == SEARCH_RACE_TRIALS))
            break;
    }
    while (each.visits < RACE_LEAST && each.samples > 1) { /* what only large gains show in is better than nothing */
        each.samples--;
        price(s, knobs, &each);
    }
    each.began_s = tune_elapsed_s(s);
    *ret_each = each;
    if (each.visits >= RACE_LEAST)
        return true;
    o3_fmt_duration(one, sizeof(one), each.price_s);
    o3_fmt_duration(all, sizeof(all), each.share_s);
    not_run(s, "not raced: %d visits of about %s each are needed, %s of the budget are for it (--budget)", RACE_LEAST, one,
            all);
    return false;
}

/* Knobs of a row at its own window: a larger batch costs memory, so it is taken only where the window stands with it. The
 * ceiling was proven with the pinned one. */
o3_knobs knobs_for(const session *s, int64_t num_ctx)
{
    o3_setting at = o3_setting_at(&s->setting, num_ctx);
    int32_t pinned = at.knobs.num_batch;
    if (s->batch != O3_UNSET && num_ctx != s->result->ceiling.proven_tokens)
        at.knobs.num_batch = s->batch;
    if (at.knobs.num_batch > pinned && !o3_predict_fits(s->profile, s->model, &at, false, &s->calibration))
        at.knobs.num_batch = pinned;
    at.knobs.num_batch = heat_batch(s, at.knobs.num_batch);
    return at.knobs;
}

static int64_t ceiling_with(const session *s, int32_t num_batch)
{
    o3_setting at = s->setting;
    at.knobs.num_batch = num_batch;
    return o3_predict_ceiling(s->profile, s->model, &at, false, &s->calibration, NULL);
}

static bool fits_with(const session *s, int32_t num_batch, int64_t num_ctx)
{
    o3_setting at = o3_setting_at(&s->setting, num_ctx);
    at.knobs.num_batch = num_batch;
    return o3_predict_fits(s->profile, s->model, &at, false, &s->calibration);
}

static bool kept_by_request(const session *s)
{
    return s->request->keep_knobs || !s->config->ai_guidance.autonomous_tuning;
}

void knobs_pin_batch(session *s)
{
    int32_t usual = s->setting.knobs.num_batch;
    int64_t with_usual = s->predicted_ceiling;
    /* Where the time ends first, a smaller batch only makes it slower. */
    if (kept_by_request(s) || (with_usual > 0 && cost_fill_least_s(s, with_usual) > TUNE_AFFORDABLE * tune_left_s(s)))
        return;
    for (int32_t half = usual / 2; half >= TUNE_BATCH_LEAST; half /= 2) {
        int64_t wanted = ((int64_t)(BATCH_WORTH * (double)s->predicted_ceiling) / O3_CTX_GRID + 1) * O3_CTX_GRID;
        if (wanted > s->model->trained_tokens || !fits_with(s, half, wanted))
            continue;
        s->predicted_ceiling = ceiling_with(s, half);
        s->setting.knobs.num_batch = half;
        s->batch = usual;
    }
    if (s->setting.knobs.num_batch != usual)
        o3_note(&s->result->notes, "num_batch %d for the largest window: its buffers leave memory for a num_ctx of %lld, with "
                "%d it would be %lld; prompts are evaluated somewhat slower", s->setting.knobs.num_batch,
                (long long)s->predicted_ceiling, usual, (long long)with_usual);
}

/* The ceiling comes first for max_context: a winning batch that costs windows is left to the shorter ones. */
static void keep_ceiling(session *s, int32_t pinned)
{
    s->batch = s->setting.knobs.num_batch;
    if (s->batch > pinned && s->predicted_ceiling > 0 && !fits_with(s, s->batch, s->predicted_ceiling))
        s->setting.knobs.num_batch = pinned;
}

o3_status stage_knobs(session *s, o3_err *err)
{
    o3_auto(free) search_race *race = o3_alloc(1, sizeof(*race));
    o3_auto(free) search_candidate *candidates = o3_alloc(SEARCH_CANDIDATES_MAX, sizeof(*candidates));
    search_weights weights = weights_of(s);
    int64_t ceiling = s->predicted_ceiling;
    int32_t pinned = s->setting.knobs.num_batch;
    o3_setting setting = s->setting;
    race_plan each;
    bool keep = kept_by_request(s);
    setting.knobs = knobs_for(s, ceiling < RACE_WINDOW ? ceiling : RACE_WINDOW);
    if (keep || ceiling < 2 * RACE_PROMPT_MIN) {
        not_run(s, keep ? "not raced: --keep-knobs or ai_guidance.autonomous_tuning: false" : "not raced: no window to race in is predicted to fit");
        return O3_OK;
    }
    int count = search_knobs_candidates(candidates, SEARCH_CANDIDATES_MAX, s->config, s->profile, s->model, &setting,
                                        &s->calibration, NULL, weights, &s->result->notes);
    if (count < 2)
        not_run(s, "not raced: there is nothing to choose from");
    if (count < 2 || !affordable(s, &setting.knobs, ceiling, &each))
        return O3_OK;
    search_race_start(race, candidates, count, each.visits, weights);
    race->fits = combination_fits;
    race->ctx = s;
    tune_say(s, O3_EVENT_STAGE, "Knobs");
    o3_status status = O3_OK;
    for (bool stop = false; !status && !stop;)
        status = visit_candidate(s, race, &each, &stop, err);
    take_result(s, race, each.prompt);
    if (status)
        return status;
    for (int i = 0; i < s->trial_count; i++)
        truth_recall(s, s->trials[i]); /* rates by the knobs that are used from here on */
    keep_ceiling(s, pinned);
    tune_say(s, O3_EVENT_NOTE, "%s", s->result->race.why);
    return O3_OK;
}
