/* SPDX-License-Identifier: Apache-2.0 */
/* One visit to one set of knobs. It is the unit of resuming: a finished one is never measured twice in a run. */
#include "tune_impl.h"

#define PRECISE 0.05      /* a rate is measured until its interval is its mean +- this share, or twice as many samples */
#define RELOADS_MOST 2    /* times that a visit which another client spoilt is made again */
#define DISTURBED_EXTRA 3 /* repeats beyond the wanted samples before disturbed ones are taken as they are */

static int memory_seen_in(const o3_profile *profile, const char *pool)
{
    for (int g = 0; g < profile->gpu_count; g++)
        if (o3_memory_of(profile, g) && !strcmp(profile->pools[profile->gpus[g].pool].name, pool))
            return o3_memory_of(profile, g);
    return 0;
}

const search_reading *visit_read(const session *s, const o3_trial *trial, search_reading *ret)
{
    for (int m = 0; m < O3_MEMORIES_MAX; m++)
        ret->bytes[m] = NAN;
    for (int i = 0; i < trial->peaks.count; i++) { /* the host's pools all see the same process */
        const o3_peak *peak = &trial->peaks.pools[i];
        double *bytes = &ret->bytes[memory_seen_in(s->profile, peak->pool)];
        if (peak->runner_bytes > 0)
            *bytes = fmax(*bytes, (double)peak->runner_bytes);
    }
    return ret;
}

int64_t visit_runner_bytes(const session *s, const o3_trial *trial)
{
    search_reading read;
    double sum = visit_read(s, trial, &read)->bytes[0];
    for (int m = 1; m < O3_MEMORIES_MAX; m++)
        sum += isnan(read.bytes[m]) ? 0 : read.bytes[m];
    return isnan(sum) ? -1 : (int64_t)sum;
}

static const o3_trial *remember(session *s, const o3_trial *trial)
{
    o3_trial *kept = o3_alloc(1, sizeof(*kept));
    *kept = *trial;
    if (s->trial_count == TUNE_TRIALS_MAX) { /* far more than a run of all categories takes: the oldest goes */
        free(s->trials[0]);
        memmove(s->trials, s->trials + 1, (TUNE_TRIALS_MAX - 1) * sizeof(s->trials[0]));
        s->trial_count--;
    }
    s->trials[s->trial_count++] = kept;
    return kept;
}

/* A load that the search went on from, where it now wants the fill. */
static bool only_loaded(const visit_plan *plan, const o3_trial *trial)
{
    return plan->search && plan->search->must_fill && trial->outcome == O3_OUTCOME_OK && !trial->sample_count;
}

/* What the server or its other clients did to us says nothing of the knobs. */
static bool passing(o3_outcome outcome)
{
    return outcome == O3_OUTCOME_SERVER_GONE || outcome == O3_OUTCOME_MODEL_GONE || outcome == O3_OUTCOME_BUSY ||
           outcome == O3_OUTCOME_RELOADED;
}

static o3_status recall(session *s, const visit_plan *plan, const o3_trial **ret_trial, o3_err *err)
{
    *ret_trial = NULL;
    for (int i = 0; i < s->trial_count; i++)
        if (!strcmp(s->trials[i]->purpose, plan->purpose) && o3_knobs_equal(&s->trials[i]->asked, &plan->knobs) &&
            !only_loaded(plan, s->trials[i]) && s->trials[i]->outcome != O3_OUTCOME_RELOADED)
            *ret_trial = s->trials[i];
    if (*ret_trial || !s->world->store || !s->result->run_id[0])
        return O3_OK;
    o3_auto(free) o3_trial *trial = o3_alloc(1, sizeof(*trial));
    bool found = false;
    o3_status status = o3_store_trial_find(s->world->store, s->result->run_id, plan->purpose, &plan->knobs, trial,
                                           &found, err);
    if (found && !passing(trial->outcome) && !only_loaded(plan, trial)) {
        *ret_trial = remember(s, trial);
        truth_recall(s, trial);
        s->reused++;
    }
    return status;
}

static visit_plan as_mild(const session *s, const visit_plan *plan)
{
    visit_plan mild = *plan;
    if (plan->milder)
        mild.knobs.num_batch = heat_batch(s, plan->knobs.num_batch);
    return mild;
}

bool visit_known(session *s, const visit_plan *plan)
{
    const o3_trial *trial;
    visit_plan mild = as_mild(s, plan);
    return recall(s, &mild, &trial, NULL) == O3_OK && trial && trial->outcome == O3_OUTCOME_OK;
}

void visit_add_rung(visit_plan *plan, int64_t depth, int decodes)
{
    int at = plan->rung_count;
    if (at && depth <= plan->rungs[at - 1] + plan->rungs[at - 1] / 8) {
        if (decodes > plan->decode_count[at - 1])
            plan->decode_count[at - 1] = decodes;
        return;
    }
    plan->rungs[at] = depth;
    plan->decode_count[at] = decodes;
    plan->rung_count++;
}

bool visit_filled(const o3_trial *trial, int64_t num_ctx)
{
    /* A window counts as filled when prompt and answer leave less than 1 % (or 64 tokens) of it. */
    int64_t spare = num_ctx / 100 > 64 ? num_ctx / 100 : 64;
    return trial->fills > 0 && trial->depth_tokens + PROBE_DECODE_TOKENS >= num_ctx - spare;
}

/* A sample that a rate may be taken from. */
static bool good(const o3_sample *sample)
{
    return sample->outcome == O3_OUTCOME_OK && !sample->disturbed && !sample->warmup;
}

/* Where the machine is busy for good, disturbed ones are taken as they are. */
static bool usable(const session *s, const o3_sample *sample)
{
    return good(sample) || (s->busy_streak >= TUNE_BUSY_STREAK && sample->outcome == O3_OUTCOME_OK);
}

static int count_decodes(const session *s, const o3_trial *trial, int from)
{
    int count = 0;
    for (int i = from; i < trial->sample_count; i++)
        count += usable(s, &trial->samples[i]) && !isnan(trial->samples[i].decode_per_s);
    return count;
}

/* Of the unique prompts, those that the rule of outliers will not leave out. */
static int count_prompts(const session *s, const o3_trial *trial, int from)
{
    double rates[O3_SAMPLES_MAX];
    bool keep[O3_SAMPLES_MAX];
    int n = 0;
    for (int i = from; i < trial->sample_count; i++)
        if (usable(s, &trial->samples[i]) && !isnan(trial->samples[i].prefill_per_s))
            rates[n++] = trial->samples[i].prefill_per_s;
    return n - stats_outliers(rates, n, STATS_OUTLIER_SHARE, keep);
}

static o3_status take_fresh(session *s, const visit_plan *plan, o3_trial *trial, o3_err *err)
{
    int first = trial->sample_count, most = 2 * plan->fresh_count + DISTURBED_EXTRA;
    double began_s = tune_elapsed_s(s);
    for (int i = 0; i <= most && count_prompts(s, trial, first) < plan->fresh_count; i++) {
        if (cost_fill_s(s, plan->fresh_tokens) > tune_left_s(s)) {
            s->partial = true;
            return O3_OK;
        }
        if (i > 1 && plan->most_s > 0 && tune_elapsed_s(s) - began_s > plan->most_s)
            return O3_OK;
        int before = trial->sample_count, loads = trial->loads;
        o3_status status = probe_fresh(&s->probe, trial, plan->fresh_tokens, err);
        if (status || trial->outcome != O3_OUTCOME_OK)
            return status;
        /* The first full-size request after a load is the slowest: kept, marked, not averaged. A ladder has been it. */
        if (((i == 0 && !plan->rung_count) || trial->loads > loads) && trial->sample_count > before)
            trial->samples[trial->sample_count - 1].warmup = true;
    }
    return O3_OK;
}

/* As many as were asked for, and where a full set was, more until its mean is known to PRECISE. */
static bool enough_decodes(const session *s, const o3_trial *trial, int from, int wanted)
{
    const stats_rule rule = {.looks = 3, .at = {wanted, wanted + wanted / 2, 2 * wanted}, .alpha = STATS_ALPHA,
                             .precision_frac = PRECISE, .reference = NAN, .margin = NAN};
    stats_adaptive repeats;
    if (wanted < s->samples || wanted < 3)
        return count_decodes(s, trial, from) >= wanted;
    stats_adaptive_start(&repeats, &rule);
    for (int i = from; i < trial->sample_count; i++) {
        const o3_sample *sample = &trial->samples[i];
        if (usable(s, sample) && !isnan(sample->decode_per_s) && stats_adaptive_ask(&repeats) > 0)
            stats_adaptive_tell(&repeats, sample->decode_per_s);
    }
    return stats_adaptive_ask(&repeats) == 0;
}

/* What came before the steady state is marked, listed, and counts for nothing. */
static void mark_warmup(o3_trial *trial, int from)
{
    double rates[O3_SAMPLES_MAX];
    int n = 0;
    for (int i = from; i < trial->sample_count; i++)
        rates[n++] = good(&trial->samples[i]) ? trial->samples[i].decode_per_s : (double)NAN;
    stats_steady steady = stats_steady_find(rates, n, STATS_WARMUP_ALPHA);
    for (int i = 0; i < steady.warmup; i++)
        trial->samples[from + i].warmup = true;
}

/* Stops where no more than `reserve_s` is left of the budget. */
static o3_status take_decodes(session *s, o3_trial *trial, int from, int wanted, double reserve_s, o3_err *err)
{
    int most = 2 * wanted + DISTURBED_EXTRA;
    for (int i = 0; i < most && !enough_decodes(s, trial, from, wanted); i++) {
        if (i && tune_left_s(s) <= reserve_s) { /* on a busy machine the repeats alone could take for ever */
            s->partial = true;
            return O3_OK;
        }
        o3_status status = probe_again(&s->probe, trial, err);
        if (status || trial->outcome != O3_OUTCOME_OK)
            return status;
    }
    mark_warmup(trial, from + 1); /* the rung's own sample is also one of prefill */
    return O3_OK;
}

/* A rung below the last leaves time for the rest; the last one has nothing behind it that is worth more. Where what is
 * left to the end of the window is known to be beyond the budget, a smaller one is sought while there is time for it. */
static bool too_dear(const session *s, const visit_plan *plan, int rung, double price_s)
{
    int last = plan->rung_count - 1;
    double left_s = tune_left_s(s), rest_s = cost_fill_s(s, plan->rungs[last]) - cost_fill_s(s, s->probe.text_tokens);
    if (!plan->search)
        return price_s > TUNE_LAST * left_s;
    return rung > 0 && (price_s > (rung < last ? TUNE_AFFORDABLE : TUNE_LAST) * left_s || rest_s > left_s);
}

static o3_status take_rungs(session *s, const visit_plan *plan, o3_trial *trial, o3_err *err)
{
    for (int i = 0; i < plan->rung_count; i++) {
        bool fill = plan->fill && i == plan->rung_count - 1;
        int64_t depth = plan->rungs[i], ahead = depth - s->probe.text_tokens;
        double price = cost_fill_s(s, depth) - cost_fill_s(s, s->probe.text_tokens);
        if (ahead <= 0)
            continue;
        if (too_dear(s, plan, i, price)) {
            s->partial = true;
            trial->outcome = O3_OUTCOME_CANCELLED; /* not a fact about the knobs: a later run tries again */
            O3_FORMAT(trial->reason, "filling to %lld tokens would take about %.0f s, the budget has %.0f s left",
                      (long long)depth, price, fmax(0, tune_left_s(s)));
            return O3_OK;
        }
        int from = trial->sample_count;
        o3_status status = probe_grow(&s->probe, trial, depth, fill, err);
        if (!status && trial->outcome == O3_OUTCOME_OK)
            status = take_decodes(s, trial, from, plan->decode_count[i],
                                  plan->fill && !fill ? tune_left_s(s) / 2 : 0, err); /* the fill is what proves */
        if (!status && trial->outcome == O3_OUTCOME_OK)
            floor_check(s, trial, plan->floor, i == plan->rung_count - 1);
        if (status || trial->outcome != O3_OUTCOME_OK)
            return status;
        if (plan->search) /* the next rung is priced by what this one took */
            cost_learn(s, trial);
    }
    return O3_OK;
}

static o3_status measure(session *s, const visit_plan *plan, o3_trial *trial, o3_err *err)
{
    /* Own texts for each visit, the same when it is repeated. */
    s->probe.seed = o3_hash(plan->purpose, strlen(plan->purpose),
                            s->request->seed * 31 + (uint64_t)(uint32_t)plan->knobs.num_ctx);
    s->probe.texts = 0;
    if (tune_left_s(s) <= 0) {
        s->partial = true;
        trial->outcome = O3_OUTCOME_CANCELLED;
        O3_FORMAT(trial->reason, "the budget of %.0f s is used up", s->budget_s);
        return O3_OK;
    }
    o3_status status = probe_load(&s->probe, trial, err);
    if (!status && trial->outcome == O3_OUTCOME_SPILLED && (s->spill_expected || plan->race)) {
        trial->outcome = O3_OUTCOME_OK;
        trial->reason[0] = '\0';
    }
    if (!status && trial->outcome != O3_OUTCOME_OK && plan->search && trial->outcome != O3_OUTCOME_TOO_HOT)
        search_ceiling_loaded(plan->search, trial->outcome, trial->reason, trial->in_force.num_ctx, NULL);
    if (status || trial->outcome != O3_OUTCOME_OK)
        return status;
    if (s->probe.monitor && !plan->race) { /* a race's first sample counts for nothing, and nobody asks for its peaks */
        o3_wait(s->world->cancel, 250 * O3_NS_PER_MS); /* two ticks that see the loaded runner, and its neighbours */
        monitor_peaks(s->probe.monitor, &trial->peaks);
    }
    search_reading read;
    if (plan->search && !search_ceiling_loaded(plan->search, O3_OUTCOME_OK, "", trial->in_force.num_ctx,
                                                visit_read(s, trial, &read)))
        return O3_OK;
    status = take_rungs(s, plan, trial, err);
    /* Peaks are those of one prompt filling the window, which is what was predicted. The unique prompts that follow
     * grow the server's prompt cache, which is named apart (advise). */
    s->probe.peaks_frozen = true;
    if (!status && trial->outcome == O3_OUTCOME_OK && plan->fresh_count)
        status = take_fresh(s, plan, trial, err);
    s->probe.peaks_frozen = false;
    o3_cancel_clear(s->world->cancel, O3_CANCEL_BUDGET); /* what ended before it was noticed counts */
    /* A limit reached in the very last moment must not pass for a success. */
    if (!status && trial->outcome == O3_OUTCOME_OK && o3_cancel_get(s->world->cancel) != O3_CANCEL_NONE)
        status = probe_stopped(&s->probe, trial, err);
    return status;
}

static o3_status finish(session *s, o3_trial *trial, o3_status status, o3_err *err)
{
    if (status && trial->outcome == O3_OUTCOME_OK) /* broken off from outside: not a finished trial */
        trial->outcome = O3_OUTCOME_NONE;
    o3_status stored = s->world->store ? o3_store_trial_end(s->world->store, trial, status ? NULL : err) : O3_OK;
    tune_event(s, (o3_event){.kind = O3_EVENT_TRIAL, .trial = trial, .done_frac = NAN, .left_s = NAN});
    return status ? status : stored;
}

static o3_status visit_once(session *s, const visit_plan *plan, const o3_trial **ret_trial, o3_err *err)
{
    o3_status status = recall(s, plan, ret_trial, err);
    if (status)
        return status;
    if (*ret_trial) {
        const o3_trial *old = *ret_trial;
        search_reading read;
        heat_recall(s, old);
        /* What was decided after its load is seen from what it went on to do. */
        if (plan->search && (old->sample_count || old->outcome != O3_OUTCOME_TOO_HOT))
            search_ceiling_loaded(plan->search, old->sample_count ? O3_OUTCOME_OK : old->outcome, old->reason,
                                  old->in_force.num_ctx, old->sample_count ? NULL : visit_read(s, old, &read));
        return O3_OK;
    }
    o3_auto(free) o3_trial *trial = o3_alloc(1, sizeof(*trial));
    *trial = (o3_trial){.asked = plan->knobs, .in_force = O3_KNOBS_DEFAULT, .size_bytes = -1, .size_vram_bytes = -1,
                        .predicted_bytes = -1, .started_unix_ms = o3_unix_ms()};
    O3_COPY(trial->purpose, plan->purpose);
    if (plan->knobs.num_ctx != O3_UNSET) {
        o3_estimate e;
        o3_setting asked = s->setting;
        asked.knobs = plan->knobs;
        o3_predict_bytes(&e, s->profile, s->model, &asked, &s->calibration);
        trial->predicted_bytes = (int64_t)(e.weights_bytes.mid + e.kv_bytes.mid + e.state_bytes.mid +
                                           e.compute_bytes.mid + e.output_bytes.mid);
    }
    if (s->world->store)
        status = o3_store_trial_begin(s->world->store, s->result->run_id, trial, err);
    if (status)
        return status;
    int64_t start = o3_now_ns();
    s->visits++;
    status = measure(s, plan, trial, err);
    o3_cancel_clear(s->world->cancel, O3_CANCEL_BUDGET);
    trial->wall_ns = o3_now_ns() - start;
    if (!status && trial->outcome == O3_OUTCOME_TOO_HOT)
        status = heat_pause(s, trial, err);
    status = finish(s, trial, status, err);
    if (!status && s->blind)
        status = o3_fail(err, O3_E_UNSAFE, "the sensors stopped answering; %s was unloaded, nothing more is measured "
                         "without them", s->model->name);
    if (!status)
        status = truth_take(s, trial, err);
    if (!status)
        *ret_trial = remember(s, trial);
    return status;
}

/* Another client loaded the model under it: what that gave is not used. */
static o3_status visit_undisturbed(session *s, const visit_plan *plan, const o3_trial **ret_trial, o3_err *err)
{
    char knobs[160];
    for (int tries = 0;; tries++) {
        o3_status status = visit_once(s, plan, ret_trial, err);
        if (status || (*ret_trial)->outcome != O3_OUTCOME_RELOADED)
            return status;
        const o3_trial *trial = *ret_trial;
        if (tries == RELOADS_MOST)
            return o3_fail(err, O3_E_UNAVAILABLE, "%s was loaded anew under %d visits in a row: another client uses it with "
                           "other settings, so nothing can be measured; what was is kept, repeat the command when the client "
                           "is done", s->model->name, tries + 1);
        o3_knobs_text(&trial->asked, NULL, knobs, sizeof(knobs));
        o3_note(&s->result->notes, "%s, %s: %.250s; what it gave is not used, the visit was made again", trial->purpose,
                *knobs ? knobs : "nothing set", trial->reason);
    }
}

/* A visit that was too hot is made again, milder; for the search only the last one counts. */
o3_status visit_run(session *s, const visit_plan *plan, const o3_trial **ret_trial, o3_err *err)
{
    visit_plan mild = as_mild(s, plan);
    o3_status status = visit_undisturbed(s, &mild, ret_trial, err);
    while (!status && (*ret_trial)->outcome == O3_OUTCOME_TOO_HOT && heat_milder(s, *ret_trial, &mild))
        status = visit_undisturbed(s, &mild, ret_trial, err);
    const o3_trial *last = *ret_trial;
    if (!status && plan->search && last->outcome == O3_OUTCOME_TOO_HOT && !last->sample_count)
        search_ceiling_loaded(plan->search, last->outcome, last->reason, last->in_force.num_ctx, NULL);
    return status;
}
