/* SPDX-License-Identifier: Apache-2.0 */
/* One visit to one set of knobs. It is the unit of resuming: a finished one is never measured twice in a run. */
#include "tune_impl.h"

#define DISTURBED_EXTRA 3 /* repeats beyond the wanted samples before disturbed ones are taken as they are */

/* Is this pool memory that only a GPU has? What a unified one uses is seen in the host's pools as well. */
static bool own_memory_of(const o3_profile *profile, const char *pool)
{
    for (int i = 0; i < profile->gpu_count; i++)
        if (!profile->gpus[i].unified && !strcmp(profile->pools[profile->gpus[i].pool].name, pool))
            return true;
    return false;
}

int64_t visit_runner_bytes(const session *s, const o3_trial *trial)
{
    int64_t host = -1, devices = 0;
    for (int i = 0; i < trial->peaks.count; i++) {
        const o3_peak *peak = &trial->peaks.pools[i];
        if (peak->runner_bytes > 0 && own_memory_of(s->profile, peak->pool))
            devices += peak->runner_bytes;
        else if (peak->runner_bytes > host)
            host = peak->runner_bytes;
    }
    return host < 0 ? -1 : host + devices;
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

static o3_status recall(session *s, const visit_plan *plan, const o3_trial **ret_trial, o3_err *err)
{
    *ret_trial = NULL;
    for (int i = 0; i < s->trial_count; i++)
        if (!strcmp(s->trials[i]->purpose, plan->purpose) && o3_knobs_equal(&s->trials[i]->asked, &plan->knobs) &&
            !only_loaded(plan, s->trials[i]))
            *ret_trial = s->trials[i];
    if (*ret_trial || !s->world->store || !s->result->run_id[0])
        return O3_OK;
    o3_auto(free) o3_trial *trial = o3_alloc(1, sizeof(*trial));
    bool found = false;
    o3_status status = o3_store_trial_find(s->world->store, s->result->run_id, plan->purpose, &plan->knobs, trial,
                                           &found, err);
    /* What the server did to us says nothing of the knobs. */
    static const o3_outcome passing[] = {O3_OUTCOME_SERVER_GONE, O3_OUTCOME_MODEL_GONE, O3_OUTCOME_BUSY};
    for (int i = 0; i < O3_COUNT(passing); i++)
        found = found && trial->outcome != passing[i];
    if (found && !only_loaded(plan, trial)) {
        *ret_trial = remember(s, trial);
        truth_recall(s, trial);
        s->reused++;
    }
    return status;
}

bool visit_known(session *s, const visit_plan *plan)
{
    const o3_trial *trial;
    return recall(s, plan, &trial, NULL) == O3_OK && trial && trial->outcome == O3_OUTCOME_OK;
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

static int count_good(const session *s, const o3_trial *trial, int from, bool decode)
{
    int count = 0;
    for (int i = from; i < trial->sample_count; i++) {
        const o3_sample *sample = &trial->samples[i];
        bool usable = good(sample) || (s->busy_streak >= TUNE_BUSY_STREAK && sample->outcome == O3_OUTCOME_OK);
        count += usable && !isnan(decode ? sample->decode_per_s : sample->prefill_per_s);
    }
    return count;
}

static o3_status take_fresh(session *s, const visit_plan *plan, o3_trial *trial, o3_err *err)
{
    int first = trial->sample_count, most = 2 * plan->fresh_count + DISTURBED_EXTRA;
    for (int i = 0; i <= most && count_good(s, trial, first, false) < plan->fresh_count; i++) {
        if (i > 1 && tune_left_s(s) <= 0) {
            s->partial = true;
            return O3_OK;
        }
        int before = trial->sample_count, loads = trial->loads;
        o3_status status = probe_fresh(&s->probe, trial, plan->fresh_tokens, err);
        if (status || trial->outcome != O3_OUTCOME_OK)
            return status;
        /* The first full-size request after a load is the slowest: kept, marked, not averaged. */
        if ((i == 0 || trial->loads > loads) && trial->sample_count > before)
            trial->samples[trial->sample_count - 1].warmup = true;
    }
    return O3_OK;
}

static o3_status take_decodes(session *s, o3_trial *trial, int from, int wanted, o3_err *err)
{
    int most = wanted + DISTURBED_EXTRA + wanted / 2;
    for (int i = 0; i < most && count_good(s, trial, from, true) < wanted; i++) {
        if (trial->samples[trial->sample_count - 1].disturbed && s->busy_streak < TUNE_BUSY_STREAK)
            o3_wait(s->world->cancel, O3_NS_PER_S); /* bursts pass */
        if (i && tune_left_s(s) <= 0) { /* on a busy machine the repeats alone could take for ever */
            s->partial = true;
            return O3_OK;
        }
        o3_status status = probe_again(&s->probe, trial, err);
        if (status || trial->outcome != O3_OUTCOME_OK)
            return status;
    }
    return O3_OK;
}

static o3_status take_rungs(session *s, const visit_plan *plan, o3_trial *trial, o3_err *err)
{
    for (int i = 0; i < plan->rung_count; i++) {
        bool fill = plan->fill && i == plan->rung_count - 1;
        int64_t depth = plan->rungs[i], ahead = depth - s->probe.text_tokens;
        double price = cost_fill_s(s, depth) - cost_fill_s(s, s->probe.text_tokens);
        if (ahead <= 0)
            continue;
        if (price > (plan->search ? TUNE_AFFORDABLE : 1) * tune_left_s(s) && (i || !plan->search)) {
            s->partial = true;
            trial->outcome = O3_OUTCOME_CANCELLED; /* not a fact about the knobs: a later run tries again */
            O3_FORMAT(trial->reason, "filling to %lld tokens would take about %.0f s, the budget has %.0f s left",
                      (long long)depth, price, tune_left_s(s));
            return O3_OK;
        }
        int from = trial->sample_count;
        o3_status status = probe_grow(&s->probe, trial, depth, fill, err);
        if (!status && trial->outcome == O3_OUTCOME_OK)
            status = take_decodes(s, trial, from, plan->decode_count[i], err);
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
    if (!status && trial->outcome == O3_OUTCOME_SPILLED && s->spill_expected) {
        trial->outcome = O3_OUTCOME_OK;
        trial->reason[0] = '\0';
    }
    if (!status && trial->outcome != O3_OUTCOME_OK && plan->search)
        search_ceiling_loaded(plan->search, trial->outcome, trial->reason, trial->in_force.num_ctx, -1);
    if (status || trial->outcome != O3_OUTCOME_OK)
        return status;
    if (s->probe.monitor) {
        o3_wait(s->world->cancel, 250 * O3_NS_PER_MS); /* two ticks that see the loaded runner */
        monitor_peaks(s->probe.monitor, &trial->peaks);
    }
    if (plan->search && !search_ceiling_loaded(plan->search, O3_OUTCOME_OK, "", trial->in_force.num_ctx,
                                                visit_runner_bytes(s, trial)))
        return O3_OK;
    status = take_rungs(s, plan, trial, err);
    /* Peaks are those of one prompt filling the window, which is what was predicted. The unique prompts that follow
     * grow the server's prompt cache, which is named apart (advise). */
    s->probe.peaks_frozen = true;
    if (!status && trial->outcome == O3_OUTCOME_OK && plan->fresh_count)
        status = take_fresh(s, plan, trial, err);
    s->probe.peaks_frozen = false;
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

o3_status visit_run(session *s, const visit_plan *plan, const o3_trial **ret_trial, o3_err *err)
{
    o3_status status = recall(s, plan, ret_trial, err);
    if (status)
        return status;
    if (*ret_trial) {
        const o3_trial *old = *ret_trial;
        /* What was decided after its load is seen from what it went on to do. */
        if (plan->search)
            search_ceiling_loaded(plan->search, old->sample_count ? O3_OUTCOME_OK : old->outcome, old->reason,
                                  old->in_force.num_ctx, old->sample_count ? -1 : visit_runner_bytes(s, old));
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
        o3_predict(&e, s->profile, s->model, &asked, &s->calibration);
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
    trial->wall_ns = o3_now_ns() - start;
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
