/* SPDX-License-Identifier: Apache-2.0 */
/* optimize, from the first look to the stored answer. The order of the stages is here and nowhere else. */
#include "o3/report.h"
#include "tune_impl.h"

#define SAMPLES_MOST 25 /* a ladder and its repeats stay within O3_SAMPLES_MAX */
#define OVERRUN 1.1     /* times the budget that a request may reach which was priced to end within it */
#define STALLED_S 1.5 /* without a reading: the sampler's own 1 s and half a second of a busy machine */

/* Committed before the next request is sent; what cannot be kept is not measured on. */
static o3_status on_sample(void *ctx, o3_trial *trial, o3_sample *sample, o3_err *err)
{
    session *s = ctx;
    o3_status status = s->world->store ? o3_store_sample(s->world->store, trial, sample, err) : O3_OK;
    if (sample->disturbed)
        s->busy_streak++;
    else if (!isnan(sample->foreign_cpu_frac)) /* too short a sample tells nothing */
        s->busy_streak = 0;
    tune_event(s, (o3_event){.kind = O3_EVENT_SAMPLE, .trial = trial, .sample = sample, .done_frac = NAN, .left_s = NAN});
    tune_progress(s);
    return status;
}

/* A sampler that hangs in a kernel read cannot say so itself: a stalled sensor is unsafe. */
static void on_wait(void *ctx)
{
    session *s = ctx;
    if (s->probe.monitor && monitor_age_s(s->monitor) > STALLED_S) {
        s->probe.monitor = NULL; /* it holds its lock: asking it anything would hang us too */
        s->blind = true;
        o3_cancel_set(s->world->cancel, O3_CANCEL_SAFETY);
    }
    /* Nothing is known of a device that nobody saw but that one request there takes minutes. */
    if (tune_elapsed_s(s) > (s->request->quick ? 1 : OVERRUN) * s->budget_s) {
        s->partial = true;
        o3_cancel_set(s->world->cancel, O3_CANCEL_BUDGET);
    }
    tune_progress(s);
}

session *session_new(const o3_world *given, const o3_request *request, o3_result *result, o3_profile *profile)
{
    session *s = o3_alloc(1, sizeof(*s));
    o3_world *world = &s->own_world;
    *result = (o3_result){.cost = {.wall_s = NAN, .lower_bound_s = NAN}, .ceiling = {.num_batch = O3_UNSET, .trained_tokens = -1,
                          .next_num_ctx = -1, .used_frac = NAN, .full_decode_per_s = NAN, .full_ttft_s = NAN},
                          .floor = {given->config->objectives.min_decode_per_s, given->config->objectives.max_ttft_s}};
    result->baseline = o3_preset_none;
    result->race = (o3_race){.knobs = O3_KNOBS_DEFAULT, .finalist = O3_KNOBS_DEFAULT, .decode_weight = NAN, .gain_low = NAN, .gain = NAN, .gain_high = NAN, .promised = NAN,
                             .shrunk = NAN, .num_ctx = -1, .prompt_tokens = -1};
    O3_COPY(result->model, request->model);
    *s = (session){.own_world = *given, .world = world, .request = request, .config = given->config, .result = result, .server_pid = -1,
                   .calibration = O3_CALIBRATION_NONE, .started_ns = o3_now_ns(), .budget_s = request->budget_s,
                   .expected_s = NAN, .batch = O3_UNSET, .cool_batch = O3_UNSET, .prefix = ""};
    if (!given->config->learning.store_results)
        world->store = NULL;
    if (!world->cancel) /* the safety stop needs one, whether the caller has one or not */
        world->cancel = s->own_cancel = o3_cancel_new();
    s->samples = request->samples > 0 ? request->samples
                                      : (int)given->config->testing.statistical_validation.min_samples_per_config;
    if (s->samples > SAMPLES_MOST) {
        o3_note(&result->notes, "%d samples of each rate are as many as a trial keeps; %d were asked for", SAMPLES_MOST,
                s->samples);
        s->samples = SAMPLES_MOST;
    }
    s->profile = profile ? profile : o3_alloc(1, sizeof(*profile));
    s->model = o3_alloc(1, sizeof(*s->model));
    s->rates = o3_alloc(1, sizeof(*s->rates));
    s->probe = (probe){.engine = world->engine, .caps = &s->caps, .model = s->model, .config = world->config,
                       .profile = s->profile, .cancel = s->own_world.cancel, .chars_per_token = 4.0, .on_sample = on_sample,
                       .on_wait = on_wait, .ctx = s, .last_decode_per_s = NAN, .server_pid = -1};
    return s;
}

void session_free(session *s, bool own_profile)
{
    if (!s->blind && s->monitor != s->world->monitor) /* a sampler stuck in the kernel cannot be joined */
        monitor_stop(s->monitor);
    for (int i = 0; i < s->trial_count; i++)
        free(s->trials[i]);
    if (own_profile)
        free(s->profile);
    free(s->model);
    free(s->rates);
    o3_cancel_free(s->own_cancel);
    free(s);
}

o3_status start_monitor(session *s, o3_err *err)
{
    const o3_config *c = s->config;
    s->probe.server_pid = s->server_pid;
    if (!s->profile->engine_local) /* our sensors say nothing about another host */
        return O3_OK;
    o3_monitor_options options = {
        .root = s->world->root,
        .interval_ms = (int)c->hardware_monitoring.peak_detection.sampling_interval_ms,
        .memory_psi_frac = 0.05,
        .stale_s = 1.0,
        .max_temperature_c = c->hardware_monitoring.safety_thresholds.max_temperature_c,
    };
    o3_status status = O3_OK;
    if (s->world->monitor)
        s->monitor = s->world->monitor;
    else
        status = monitor_start(&s->monitor, s->profile, &options, s->world->cancel, err);
    s->probe.monitor = s->monitor;
    if (!status)
        monitor_watch(s->monitor, s->server_pid, -1);
    return status;
}

static void advise(session *s)
{
    o3_result *r = s->result;
    char per_token[32];
    o3_fmt_bytes(per_token, sizeof(per_token), (double)s->probe.cache_bytes_per_token * 1000);
    if (s->monitor)
        monitor_notes(s->monitor, &r->notes);
    if (s->probe.prompt_cache)
        o3_note(&r->notes, "each new prompt stays in the server's prompt cache: about %s of RAM per 1000 tokens, up to "
                "8 GiB a runner; set LLAMA_ARG_CACHE_RAM (MiB, 0 = off) for the server where memory is short", per_token);
    if (s->caps.truncate_flag && !s->caps.refusal_counts)
        o3_note(&r->notes, "this release names no token counts when it refuses a prompt; lengths were estimated from "
                "%.2f characters a token, as evaluated prompts gave", s->probe.chars_per_token);
}

static o3_status measure_all(session *s, o3_err *err)
{
    o3_status status = s->request->quick ? O3_OK : stage_knobs(s, err);
    if (!status)
        status = s->request->quick ? stage_quick(s, err) : stage_ceiling(s, err);
    if (status || s->request->quick)
        return status;
    if (s->result->ceiling.proven_tokens <= 0)
        return O3_OK;
    status = stage_presets(s, err);
    if (!status)
        status = stage_baseline(s, err);
    return status ? status : stage_compare(s, err);
}

static o3_status nothing_proven(session *s, o3_err *err)
{
    const o3_ceiling *c = &s->result->ceiling;
    const o3_trial *last = s->trial_count ? s->trials[s->trial_count - 1] : NULL;
    if (c->next_kind == O3_STEP_MEASURED && floor_nothing(s, err))
        return O3_E_UNSAFE;
    if (c->next_kind == O3_STEP_BUDGET || s->partial)
        return O3_OK; /* best so far: the presets stay predicted, and the notes say why */
    if (last && last->outcome != O3_OUTCOME_OVER_LIMIT && last->outcome != O3_OUTCOME_TOO_HOT && last->outcome != O3_OUTCOME_OK)
        return o3_fail(err, O3_E_ENGINE, "no context of %s could be proven: the last trial %s (%s)", s->model->name,
                       o3_outcome_text(last->outcome), last->reason);
    return o3_fail(err, O3_E_UNSAFE, "no context of %s stays within the limits here: %s", s->model->name,
                   last && last->reason[0] ? last->reason : c->next_reason);
}

static o3_status store_end(session *s, o3_run_state state, o3_err *err)
{
    o3_iso_utc(o3_unix_ms(), s->result->finished_at);
    if (!s->world->store || !s->result->run_id[0])
        return O3_OK;
    json_t *json = o3_result_to_json(s->result, s->profile);
    o3_auto(free) char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return o3_store_run_end(s->world->store, s->result->run_id, state, text ? text : "{}", err);
}

static o3_status measure_run(session *s, o3_err *err)
{
    stage_predict(s);
    o3_status status = start_monitor(s, err);
    if (!status)
        status = measure_all(s, err);
    if (s->trial_count && status != O3_E_UNAVAILABLE) { /* the model was loaded by us */
        o3_status unloaded = probe_unload(&s->probe, status ? NULL : err);
        status = status ? status : unloaded;
    }
    advise(s);
    cost_finish(s);
    bool proven = s->result->ceiling.proven_tokens > 0;
    if (!proven)
        ceiling_keep_predicted(s);
    if (!status && !proven && !s->request->quick)
        status = nothing_proven(s, err);
    if (!status)
        status = truth_keep(s, err);
    s->result->complete = !status && proven && !s->partial;
    bool done = s->result->complete || (!status && s->request->quick && s->result->ceiling.allocated_tokens > 0);
    o3_status stored = store_end(s, done ? O3_RUN_COMPLETE : O3_RUN_PARTIAL, status ? NULL : err);
    return status ? status : stored;
}

static o3_status run(session *s, o3_err *err)
{
    bool known = false;
    o3_status status = stage_machine(s, err);
    if (!status)
        status = stage_model(s, err);
    if (!status)
        status = stage_known(s, &known, err);
    bool servers = s->request->own_server && !(known && s->result->servers_complete);
    if (!status && servers)
        status = own_server_try(s, err);
    if (status || (known && !servers))
        return status;
    status = stage_preflight(s, err);
    if (!status && !known)
        status = measure_run(s, err);
    if (!status && servers) {
        status = stage_own_server(s, err); /* what it measured is kept, however it ended */
        o3_status stored = store_end(s, s->result->complete ? O3_RUN_COMPLETE : O3_RUN_PARTIAL, status ? NULL : err);
        status = status ? status : stored;
    }
    return status;
}

o3_status o3_optimize(const o3_world *world, const o3_request *request, o3_result *ret_result,
                      o3_profile *ret_profile, o3_err *err)
{
    session *s = session_new(world, request, ret_result, ret_profile);
    o3_status status = run(s, err);
    if (s->unloaded)
        stage_restore(s);
    if (status == O3_E_CANCELLED)
        o3_note(&ret_result->notes, "stopped; %d trials kept; the same command goes on from there", s->trial_count);
    session_free(s, !ret_profile);
    return status;
}
