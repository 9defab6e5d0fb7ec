/* SPDX-License-Identifier: Apache-2.0 */
/* --own-server: what is set for a whole server, tried on a private one of the same binary and model store. Each row has a
 * server and a session of its own, one at a time; its visits are the run's, in the store under its name. Windows are
 * sought as ever; rates are taken in turns, there and back (A B C C B A), so that drift hits all rows alike. */
#include "own_impl.h"

/* The talk of a session on a private server: whose it is instead of its headings and conclusions. */
static void pass_on(void *ctx, const o3_event *event)
{
    const own *o = ctx;
    char text[O3_TEXT_MAX];
    o3_event named = *event;
    const char *colon = event->text ? strstr(event->text, ": ") : NULL;
    if (event->kind == O3_EVENT_STAGE || event->kind == O3_EVENT_NOTE)
        return;
    if (event->kind == O3_EVENT_PROGRESS && event->text) {
        O3_FORMAT(text, "Servers: %s, %s", o->s->result->servers[o->row].name, colon ? colon + 2 : event->text);
        named.text = text;
    }
    tune_event(o->s, named);
}

/* The store: as the server's environment names it, else where the model's file lies in it. */
static void find_store(const session *s, char *dst, size_t size)
{
    static const char name[] = "OLLAMA_MODELS=";
    *dst = '\0';
    for (const char *p = s->profile->engine_env; *p; p += strcspn(p, "\n"), p += *p == '\n')
        if (!strncmp(p, name, sizeof(name) - 1))
            o3_format(dst, size, "%.*s", (int)strcspn(p + sizeof(name) - 1, "\n"), p + sizeof(name) - 1);
    const char *blobs = strstr(s->model->blob_path, "/blobs/");
    if (!*dst && blobs)
        o3_format(dst, size, "%.*s", (int)(blobs - s->model->blob_path), s->model->blob_path);
}

/* A process of another name serves through a wrapper; the binary on PATH stands in. */
static const char *binary_of(const session *s)
{
    const char *name = strrchr(s->profile->engine_exe, '/');
    return name && !strncmp(name + 1, "ollama", 6) ? s->profile->engine_exe : NULL;
}

static o3_status start(const session *s, const char *env, o3_private **ret_server, o3_err *err)
{
    char store[O3_TEXT_MAX * 2], settings[256];
    find_store(s, store, sizeof(store));
    O3_FORMAT(settings, "%s", env);
    for (char *c = settings; *c; c++)
        *c = *c == ' ' ? '\n' : *c;
    o3_private_options options = {.exe = binary_of(s), .like_pid = s->server_pid, .models = store, .settings = settings,
                                  .cancel = s->world->cancel};
    if (s->profile->cgroup_count)
        options.cgroup_dir = s->profile->cgroups[0].dir;
    if (*store && !strncmp(s->model->blob_path, store, strlen(store)))
        options.model_file = s->model->blob_path;
    return o3_private_start(ret_server, &options, err);
}

static bool limited(const o3_profile *profile)
{
    for (int i = 0; i < profile->cgroup_count; i++)
        if (profile->cgroups[i].limit_bytes > 0)
            return true;
    return false;
}

/* Does it serve the same model, and as the same release? */
static o3_status check_same(session *s, o3_private *server, o3_err *err)
{
    o3_auto(free) o3_engine_models *models = o3_alloc(1, sizeof(*models));
    o3_engine_caps caps;
    o3_engine *engine = o3_private_engine(server);
    o3_status status = o3_engine_caps_read(engine, &caps, err);
    if (!status)
        status = o3_engine_list(engine, models, err);
    if (status)
        return status;
    const o3_engine_model *there = o3_survey_model(models, s->model->name);
    if (!there || (s->model->digest[0] && strcmp(there->digest, s->model->digest)))
        return o3_fail(err, O3_E_NOT_FOUND, "a private server on the same model store has no %s of that digest; where the "
                       "server's OLLAMA_MODELS cannot be read, run o3 as the user that Ollama runs as", s->model->name);
    if (strcmp(caps.version, s->caps.version))
        o3_note(&s->result->notes, "the private server is Ollama %s, the one that serves %s: what it gains may differ",
                caps.version, s->caps.version);
    if (limited(s->profile) && !o3_private_joined(server))
        o3_note(&s->result->notes, "the private server runs in o3's memory cgroup, not in the server's %.200s (not permitted): "
                "its limits differ, and so may its windows", s->profile->cgroups[0].name);
    if (!s->profile->engine_env_known)
        o3_note(&s->result->notes, "the server's environment cannot be read: the private one has Ollama's defaults instead");
    return O3_OK;
}

o3_status own_server_try(session *s, o3_err *err)
{
    o3_private *server = NULL;
    if (s->request->quick)
        return o3_fail(err, O3_E_USAGE, "--own-server measures and --quick does not; leave one of them out");
    if (!s->profile->engine_local || s->world->monitor)
        return o3_fail(err, O3_E_IMPOSSIBLE, "--own-server starts a server on this machine, and %s is elsewhere; run o3 "
                       "there", o3_engine_url(s->world->engine));
    o3_status status = start(s, "", &server, err);
    if (status)
        return o3_fail_in(err, status, "--own-server");
    status = check_same(s, server, err);
    o3_private_stop(server);
    return status;
}

/* ---- one row's server and session */
static void close_row(own *o)
{
    if (o->sub) {
        o3_err ignored;
        o3_status status = o->sub->blind ? O3_OK : probe_unload(&o->sub->probe, &ignored);
        (void)status; /* its server ends now, and the model with it */
        session_free(o->sub, true);
    }
    o3_private_stop(o->server);
    o->sub = NULL;
    o->server = NULL;
    o->row = -1;
}

static o3_status check_alone(const session *s, o3_err *err)
{
    o3_auto(free) o3_engine_loads *loads = o3_alloc(1, sizeof(*loads));
    o3_status status = o3_engine_loads_read(s->world->engine, loads, err);
    if (!status && loads->count)
        status = o3_fail(err, O3_E_UNAVAILABLE, "%s was loaded meanwhile by a client of the server and shares its memory; try "
                         "again when nobody uses it", loads->items[0].name);
    return status;
}

/* Deadlines: what is predicted, and a machine may be slower than that. */
static void expect(const own *o, session *sub, int row)
{
    o3_estimate e;
    o3_setting at = o3_setting_at(&o->settings[row], o->s->result->servers[row].predicted_tokens);
    o3_predict(&e, sub->profile, sub->model, &at, &sub->calibration);
    sub->probe.prefill_per_s = fmin(e.prefill_per_s.low, 0.5 * e.prefill_per_s.mid);
    sub->probe.decode_per_s = fmin(e.decode_full_per_s.low, 0.3 * e.decode_full_per_s.mid);
    sub->probe.cache_bytes_per_token = e.prompt_cache_bytes_per_token;
}

static void give_time(own *o)
{
    o->sub->budget_s = tune_elapsed_s(o->sub) + fmin(o->share_s, tune_left_s(o->s));
}

o3_status own_open(own *o, int row, o3_err *err)
{
    session *s = o->s;
    if (o->row == row) {
        give_time(o);
        return O3_OK;
    }
    close_row(o);
    o3_status status = check_alone(s, err);
    int64_t begin = o3_now_ns();
    if (!status)
        status = start(s, s->result->servers[row].env, &o->server, err);
    if (status)
        return status;
    o->start_s = (double)(o3_now_ns() - begin) / 1e9;
    o3_world world = *s->world;
    world.engine = o3_private_engine(o->server);
    world.on_event = pass_on;
    world.confirm = NULL;
    world.ctx = o;
    session *sub = session_new(&world, &o->request, o->scratch, NULL);
    o->sub = sub;
    o->row = row;
    O3_FORMAT(o->prefix, "own-%s-", s->result->servers[row].name);
    sub->prefix = o->prefix;
    sub->server_pid = o3_private_pid(o->server);
    sub->caps = s->caps;
    *sub->model = *s->model;
    sub->calibration = sub->began_with = s->calibration;
    sub->samples = 1; /* of a window only that it was filled counts; the turns ask for as many as ever */
    give_time(o);
    sub->spill_expected = s->spill_expected;
    O3_COPY(sub->result->run_id, s->result->run_id);
    status = o3_profile_read(sub->profile, world.root, world.config, sub->server_pid, true, err);
    sub->profile->bandwidth = s->profile->bandwidth;
    sub->setting = o->settings[row];
    sub->cool_batch = s->cool_batch;
    sub->probe.prompt_cache = s->probe.prompt_cache && !strstr(sub->profile->engine_env, "LLAMA_ARG_CACHE_RAM=0\n");
    expect(o, sub, row);
    return status ? status : start_monitor(sub, err);
}

/* ---- is the setting at work? */
static bool runner_has(int pid, const char *line)
{
    o3_auto(free) char *text = o3_alloc(1, 262144);
    char path[64];
    O3_FORMAT(path, "/proc/%d/environ", pid);
    int64_t len = pid > 0 ? o3_read_text("/", path, text, 262144) : -1;
    for (const char *p = text; len > 0 && p < text + len; p += strlen(p) + 1)
        if (!strcmp(p, line))
            return true;
    return false;
}

/* What contradicts the row; "" if nothing does. Fills row->in_force with what was seen of it. */
static void check_effect(own *o, o3_server_row *row, char *dst, size_t size)
{
    const o3_setting *wanted = &o->settings[o->row];
    const o3_runner *runner = &o->sub->probe.runner;
    o3_log_facts log;
    o3_private_log(o->server, &log);
    const char *kv = *runner->kv_type ? runner->kv_type : log.kv_type, *flash = *log.flash ? log.flash : runner->flash_attn;
    int slots = runner->parallel > 0 ? runner->parallel : log.slots;
    bool off = !strcmp(flash, "off") || !strcmp(flash, "disabled");
    bool about_kv = strstr(row->env, "KV_CACHE") != NULL, about_flash = strstr(row->env, "FLASH") != NULL;
    *dst = '\0';
    row->in_force[0] = '\0';
    if (*kv && strcmp(kv, wanted->kv_type->name) && about_kv)
        o3_format(dst, size, "the runner keeps its KV cache as %s", kv);
    else if (*flash && off == wanted->flash_attention && about_flash)
        o3_format(dst, size, "flash attention is %s in the runner", flash);
    else if (slots > 0 && slots != wanted->parallel)
        o3_format(dst, size, "the runner has %d slot%s", slots, slots == 1 ? "" : "s");
    else if (strstr(row->env, "CACHE_RAM=0") && log.prompt_cache_bytes > 0)
        o3_copy(dst, size, "the runner keeps old prompts");
    else if (*kv || *flash || slots > 0)
        O3_FORMAT(row->in_force, "KV %s, flash attention %s, %d slot%s%s", *kv ? kv : "f16", *flash ? flash : "unknown",
                  slots > 0 ? slots : 1, slots > 1 ? "s" : "", log.prompt_cache_bytes ? "" : ", no prompt cache");
    if (!*dst && !about_kv && !about_flash && *row->env && !strstr(row->env, "PARALLEL") && !runner_has(runner->pid, row->env))
        row->in_force[0] = '\0'; /* what only its environment shows */
}

/* After the first visit of a row: one whose setting is not at work must not pass for it, in a later run neither. */
o3_status own_believe(own *o, const o3_trial *trial, o3_err *err)
{
    char wrong[O3_TEXT_MAX];
    o3_server_row *row = &o->s->result->servers[o->row];
    if (!o->sub->visits || o->sub->probe.runner.pid <= 0 || *row->in_force)
        return O3_OK;
    check_effect(o, row, wrong, sizeof(wrong));
    if (!*wrong)
        return O3_OK;
    O3_FORMAT(row->note, "%s has no effect here: %.200s", row->env, wrong);
    o3_trial *mine = (o3_trial *)trial; /* of sub's own copies */
    mine->outcome = O3_OUTCOME_ERROR;
    O3_COPY(mine->reason, row->note);
    return o->s->world->store ? o3_store_trial_end(o->s->world->store, mine, err) : O3_OK;
}

/* What a row's failure is: its own (noted, the others go on) or the run's. */
o3_status own_failed(own *o, int index, o3_status status, const char *message, o3_err *err)
{
    char end[O3_TEXT_MAX] = "";
    o3_server_row *row = &o->s->result->servers[index];
    if (o->server)
        o3_private_end(o->server, end, sizeof(end));
    O3_FORMAT(row->note, "%.360s", *end ? end : message);
    bool blind = o->sub && o->sub->blind;
    close_row(o);
    if (status == O3_E_CANCELLED || status == O3_E_IO || status == O3_E_INTERNAL || blind)
        return o3_fail(err, status, "%s", message);
    return index ? O3_OK : o3_fail(err, status, "--own-server: %s", row->note);
}

/* ---- windows */
static o3_status seek_window(own *o, int index, o3_err *err)
{
    o3_server_row *row = &o->s->result->servers[index];
    o3_status status = own_open(o, index, err);
    if (!status)
        status = stage_ceiling(o->sub, err);
    if (status)
        return status;
    const session *sub = o->sub;
    const o3_ceiling *c = &sub->result->ceiling;
    const o3_trial *last = sub->trial_count ? sub->trials[sub->trial_count - 1] : NULL;
    if (last)
        status = own_believe(o, last, err);
    o->out_of_time = o->out_of_time || sub->partial;
    if (status || row->note[0])
        return status;
    if (c->proven_tokens > 0) {
        row->window_tokens = c->proven_tokens;
        if (c->next_kind == O3_STEP_BUDGET)
            O3_FORMAT(row->note, "a larger window may be possible; %.300s", c->next_reason);
        tune_say(o->s, O3_EVENT_NOTE, "%s%s%s: a window of %lld tokens was filled (predicted %lld)", row->name,
                 *row->env ? ", " : "", row->env, (long long)row->window_tokens, (long long)row->predicted_tokens);
    } else
        O3_FORMAT(row->note, "no window could be filled: %.300s", last && *last->reason ? last->reason : c->next_reason);
    return O3_OK;
}

/* ---- the stage */
/* Priced before it starts, best first: what there is no time for is left out, and said. */
static void leave_out(own *o)
{
    session *s = o->s;
    double total = 0;
    o->num_ctx = s->result->servers[0].predicted_tokens;
    visit_plan turn = own_turn_plan(o, presets_equal_depth(o->num_ctx), "", 0);
    for (int i = 0; i < s->result->server_count; i++) {
        o3_server_row *row = &s->result->servers[i];
        char price[32], left[32];
        if (row->note[0])
            continue;
        bool window = i && row->predicted_tokens > s->result->servers[0].predicted_tokens;
        visit_plan ladder = ceiling_ladder(s, s->setting.knobs, row->predicted_tokens);
        double own_s = OWN_TURNS * (cost_visit_s(s, &turn) + o->start_s) + (window ? o->start_s + cost_visit_s(s, &ladder) : 0);
        if (i && total + own_s > tune_left_s(s)) {
            o3_fmt_duration(price, sizeof(price), own_s);
            o3_fmt_duration(left, sizeof(left), fmax(0, tune_left_s(s) - total));
            O3_FORMAT(row->note, "left out: it would take about %s, and %s of the budget are left", price, left);
            o->out_of_time = true;
            continue;
        }
        total += own_s;
    }
    s->expected_s = tune_elapsed_s(s) + total;
}

/* Rows from `from` on whose window is sought. */
static int windows_left(const own *o, int from)
{
    const o3_server_row *rows = o->s->result->servers;
    int count = 0;
    for (int i = from; i < o->s->result->server_count; i++)
        count += !rows[i].note[0] && (i == 0 || rows[i].predicted_tokens > rows[0].predicted_tokens);
    return count;
}

static o3_status measure_rows(own *o, o3_err *err)
{
    o3_result *r = o->s->result;
    for (int i = 0; i < r->server_count; i++) {
        o3_err why = {0};
        int64_t begin = o3_now_ns();
        bool more = i == 0 || r->servers[i].predicted_tokens > r->servers[0].predicted_tokens;
        o->share_s = tune_left_s(o->s) / (1 + windows_left(o, i));
        o3_status status = more && !r->servers[i].note[0] ? seek_window(o, i, &why) : O3_OK;
        r->servers[i].wall_s += (double)(o3_now_ns() - begin) / 1e9;
        if (status)
            status = own_failed(o, i, status, why.message, err);
        if (status)
            return status;
        if (i == 0)
            leave_out(o); /* with what the first one taught of the time */
    }
    o->share_s = INFINITY;
    return own_take_turns(o, err);
}

o3_status stage_own_server(session *s, o3_err *err)
{
    o3_auto(free) own *o = o3_alloc(1, sizeof(*o));
    o3_auto(free) o3_result *scratch = o3_alloc(1, sizeof(*scratch));
    o3_status status = O3_OK;
    if (s->result->ceiling.proven_tokens <= 0) {
        o3_note(&s->result->notes, "the server's settings were not tried: no window of the server as it is was proven, so there "
                "is nothing to compare with; a larger --budget goes on from here");
        return O3_OK;
    }
    *o = (own){.s = s, .request = *s->request, .scratch = scratch, .row = -1, .start_s = 1};
    o->request.no_proof = true;
    o->request.keep_knobs = true;
    if (isnan(s->request->budget_s)) /* as much again as the run itself may take by default */
        s->budget_s += tune_elapsed_s(s);
    if (s->result->known)
        status = truth_begin(s, s->result->run_id, err);
    if (status)
        return status;
    if (s->result->preset_count) { /* what the race of knobs gave, also where the answer was known */
        s->setting.knobs = s->result->presets[0].knobs;
        s->setting.knobs.num_ctx = O3_UNSET;
    }
    if (s->monitor != s->world->monitor) /* each private server is watched by its own session */
        monitor_stop(s->monitor);
    s->monitor = s->probe.monitor = NULL;
    s->result->servers_complete = false;
    tune_say(s, O3_EVENT_STAGE, "Servers");
    own_rows_make(s, o->settings);
    status = measure_rows(o, err);
    own_take_rates(o); /* however it ended */
    close_row(o);
    s->result->servers_complete = !status && !o->out_of_time;
    return status;
}
