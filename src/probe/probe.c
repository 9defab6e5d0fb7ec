/* SPDX-License-Identifier: Apache-2.0 */
/* Loading, and what follows from how it went. The requests are in request.c. */
#include "probe_impl.h"

static const int64_t unload_timeout_ns = 60 * O3_NS_PER_S;

void probe_judge(o3_trial *trial, o3_outcome outcome, const char *fmt, ...)
{
    va_list args;
    trial->outcome = outcome;
    va_start(args, fmt);
    vsnprintf(trial->reason, sizeof(trial->reason), fmt, args);
    va_end(args);
}

o3_status probe_unload(probe *p, o3_err *err)
{
    p->text_chars = 0;
    p->text_tokens = 0;
    p->window_tokens = 0;
    p->last_decode_per_s = NAN;
    if (p->monitor)
        monitor_watch(p->monitor, p->server_pid, -1);
    return o3_engine_unload(p->engine, p->model->name, unload_timeout_ns, err);
}

/* A stop: the connection is closed already, so the runner is freeing; ask for the unload at once, then let the sensors
 * watch again. */
o3_status probe_stopped(probe *p, o3_trial *trial, o3_err *err)
{
    char reading[O3_TEXT_MAX] = "";
    o3_cancel_reason why = o3_cancel_get(p->cancel);
    if (why == O3_CANCEL_USER) {
        probe_judge(trial, O3_OUTCOME_CANCELLED, "interrupted");
        if (probe_unload(p, NULL))
            return o3_fail(err, O3_E_CANCELLED, "interrupted; the server did not confirm the unload");
        return o3_fail(err, O3_E_CANCELLED, "interrupted");
    }
    o3_monitor_stop stop = p->monitor ? monitor_stop_reason(p->monitor, reading, sizeof(reading)) : O3_STOP_NONE;
    if (stop == O3_STOP_SERVER_GONE) { /* the server's death, not a limit */
        probe_judge(trial, O3_OUTCOME_SERVER_GONE, "%s", reading);
        o3_cancel_clear(p->cancel, why);
        return probe_fatal(p, trial, err);
    }
    if (why == O3_CANCEL_BUDGET && stop == O3_STOP_NONE)
        probe_judge(trial, O3_OUTCOME_CANCELLED, "the time was up in the middle of a request");
    else
        probe_judge(trial, stop == O3_STOP_TEMPERATURE ? O3_OUTCOME_TOO_HOT : O3_OUTCOME_OVER_LIMIT, "stopped by us: %s",
                    reading[0] ? reading : "the sensors gave no reading any more");
    o3_status status = probe_unload(p, err);
    if (p->monitor)
        monitor_peaks(p->monitor, &trial->peaks);
    o3_cancel_clear(p->cancel, why);
    if (p->monitor)
        monitor_rearm(p->monitor);
    return status;
}

/* What ends the whole run, whatever the trial was. */
o3_status probe_fatal(probe *p, const o3_trial *trial, o3_err *err)
{
    if (trial->outcome == O3_OUTCOME_MODEL_GONE)
        return o3_fail(err, O3_E_NOT_FOUND, "%s is no longer on the server (deleted meanwhile?); what was measured is "
                       "kept", p->model->name);
    if (trial->outcome != O3_OUTCOME_SERVER_GONE)
        return O3_OK;
    return o3_fail(err, O3_E_UNAVAILABLE, "the server at %s went away in the middle of a request (%s); what was measured "
                   "is kept, start it again and repeat the command", o3_engine_url(p->engine),
                   trial->reason[0] ? trial->reason : "connection closed");
}

static const o3_engine_loaded *find(const o3_engine_loads *loads, const o3_model *model)
{
    for (int i = 0; i < loads->count; i++)
        if (!strcmp(loads->items[i].digest, model->digest) || !strcmp(loads->items[i].name, model->name))
            return &loads->items[i];
    return NULL;
}

/* A knob that the runner's command line does not show cannot be held against it. */
static void check_knobs(o3_trial *trial, const o3_knobs *asked, const o3_knobs *got)
{
    for (const o3_knob_field *f = o3_knob_fields; f->name; f++) {
        int32_t want = o3_knob_get(asked, f), have = o3_knob_get(got, f);
        if (strcmp(f->name, "num_ctx") && want != O3_UNSET && have != O3_UNSET && want != have)
            probe_judge(trial, O3_OUTCOME_ERROR, "asked for %s %d, the runner has %d", f->name, want, have);
    }
}

/* A load that was accepted may still not be what was asked. */
static void check_effect(probe *p, o3_trial *trial, const o3_engine_loaded *loaded)
{
    const o3_knobs *asked = &trial->asked, *got = &p->runner.in_force;
    int64_t ctx = loaded->context_length;
    trial->size_bytes = loaded->size_bytes;
    trial->size_vram_bytes = loaded->size_vram_bytes;
    trial->in_force = *got;
    if (ctx > 0)
        trial->in_force.num_ctx = (int32_t)ctx;
    p->window_tokens = trial->in_force.num_ctx != O3_UNSET ? trial->in_force.num_ctx : asked->num_ctx;
    if (asked->num_ctx != O3_UNSET && ctx > 0 && ctx != asked->num_ctx)
        probe_judge(trial, O3_OUTCOME_CLAMPED, "asked for %d tokens of context, the server gives a smaller window of %lld", asked->num_ctx,
                    (long long)ctx);
    else if (got->num_ctx != O3_UNSET && ctx > 0 && (got->num_ctx + 255) / 256 < ctx / 256)
        probe_judge(trial, O3_OUTCOME_CLAMPED, "/api/ps says %lld tokens of context, the runner's command line %d",
                    (long long)ctx, got->num_ctx);
    else if (loaded->size_vram_bytes > 0 && loaded->size_vram_bytes < loaded->size_bytes)
        probe_judge(trial, O3_OUTCOME_SPILLED, "%.0f %% of the model lies outside the device%s",
                    100.0 * (double)(loaded->size_bytes - loaded->size_vram_bytes) / (double)loaded->size_bytes,
                    got->num_gpu == 0 ? ": no layer is on it, only work space" : "");
    else
        check_knobs(trial, asked, got);
}

static o3_status read_back(probe *p, o3_trial *trial, o3_err *err)
{
    o3_engine_loads loads;
    o3_status status = o3_engine_loads_read(p->engine, &loads, err);
    if (status)
        return status;
    const o3_engine_loaded *loaded = find(&loads, p->model);
    if (!loaded) {
        probe_judge(trial, O3_OUTCOME_ERROR, "the server says it loaded %s, but /api/ps does not list it", p->model->name);
        return O3_OK;
    }
    status = o3_engine_runner(p->engine, p->server_pid, p->model->blob_path, &p->runner, err);
    if (status)
        return status;
    if (p->monitor)
        monitor_watch(p->monitor, p->server_pid, p->runner.pid);
    check_effect(p, trial, loaded);
    return O3_OK;
}

bool probe_oom_killed(probe *p, o3_outcome outcome)
{
    o3_window window = {0};
    if (!p->monitor || (outcome != O3_OUTCOME_CRASH && outcome != O3_OUTCOME_ERROR))
        return false;
    monitor_since_mark(p->monitor, &window);
    return window.oom_kills > 0; /* the kernel's count tells what "unexpected EOF" does not */
}

/* One request that loads, and what came of it. *ret_loaded: the server said yes, and that was looked at. */
static o3_status load(probe *p, o3_trial *trial, bool *ret_loaded, o3_err *err)
{
    o3_status status;
    o3_reply reply;
    o3_generate request = {.model = p->model->name, .knobs = trial->asked, .keep_alive = "30m", .cancel = p->cancel,
                           .on_wait = p->on_wait, .ctx = p->ctx,
                           .deadline_ns = probe_deadline_ns(p, trial->asked.num_ctx, trial->asked.num_batch, 0, 0)};
    if (p->monitor)
        monitor_mark(p->monitor);
    trial->outcome = O3_OUTCOME_OK;
    trial->reason[0] = '\0';
    trial->requests++;
    for (int tries = 0;; tries++) {
        status = o3_engine_generate(p->engine, &request, &reply, err);
        if (status)
            return status;
        if (reply.outcome != O3_OUTCOME_BUSY || tries == 5)
            break;
        if (o3_wait(p->cancel, O3_NS_PER_S << tries)) /* its queue is full: back off */
            return probe_stopped(p, trial, err);
    }
    if (reply.outcome == O3_OUTCOME_CANCELLED)
        return probe_stopped(p, trial, err);
    if (reply.outcome == O3_OUTCOME_BUSY)
        return o3_fail(err, O3_E_UNAVAILABLE, "%s stayed busy (%s); try again when its other clients are done",
                       o3_engine_url(p->engine), reply.error);
    if (reply.outcome != O3_OUTCOME_OK) {
        if (probe_oom_killed(p, reply.outcome))
            reply.outcome = O3_OUTCOME_OOM_LOAD;
        probe_judge(trial, reply.outcome, "%s: %s", o3_outcome_text(reply.outcome), reply.error);
        status = probe_fatal(p, trial, err);
        return status ? status : probe_unload(p, err);
    }
    p->load_ns = reply.wall_ns;
    *ret_loaded = true;
    return read_back(p, trial, err);
}

o3_status probe_load(probe *p, o3_trial *trial, o3_err *err)
{
    o3_status status = probe_unload(p, err);
    if (status)
        return status;
    o3_cancel_clear(p->cancel, O3_CANCEL_SAFETY); /* what the last runner did on its way out is over; what is not is seen */
    if (p->monitor)
        monitor_rearm(p->monitor);
    if (p->monitor && trial->loads == 0) /* peaks are the trial's, whatever it reloads */
        monitor_peaks_reset(p->monitor);
    trial->loads++;
    bool loaded = false;
    status = load(p, trial, &loaded, err);
    /* Another client's settings may have come in between: only what stays so is the server's answer. */
    if (!status && loaded && (trial->outcome == O3_OUTCOME_CLAMPED || trial->outcome == O3_OUTCOME_ERROR))
        status = load(p, trial, &loaded, err);
    return status;
}
