/* SPDX-License-Identifier: Apache-2.0 */
/* The stages before anything is loaded: machine, model, what is known, pre-flight, prediction. */
#include <dirent.h>
#include <unistd.h>

#include "o3/report.h"
#include "tune_impl.h"

#define BUSY_TRIES 30 /* looks of 0.4 s: 12 s */

static o3_status read_profile(session *s, o3_err *err)
{
    o3_engine *engine = s->world->engine;
    bool local = o3_engine_is_local(engine);
    o3_status status = O3_OK;
    if (s->world->profile) {
        *s->profile = *s->world->profile;
    } else {
        s->server_pid = local ? o3_process_listening(s->world->root, o3_engine_port(engine)) : -1;
        status = o3_profile_read(s->profile, s->world->root, s->config, s->server_pid, local, err);
        status = status ? status : look_bandwidth(s->world, s->profile, err);
    }
    if (status)
        return status;
    o3_setting_of(&s->setting, s->caps.version, s->profile->engine_env, &s->result->notes);
    s->setting.knobs.num_batch = TUNE_BATCH;
    return O3_OK;
}

o3_status stage_machine(session *s, o3_err *err)
{
    o3_status status = o3_engine_caps_read(s->world->engine, &s->caps, err);
    if (!status)
        status = read_profile(s, err);
    if (status)
        return status;
    O3_COPY(s->result->engine_version, s->caps.version);
    O3_COPY(s->result->engine_host, o3_engine_url(s->world->engine));
    for (int i = 0; i < s->profile->notes.count; i++)
        o3_note(&s->result->notes, "%s", s->profile->notes.text[i]);
    tune_event(s, (o3_event){.kind = O3_EVENT_MACHINE, .profile = s->profile, .caps = &s->caps, .done_frac = NAN,
                             .left_s = NAN});
    return O3_OK;
}

static void on_pull(void *ctx, const char *status, int64_t done_bytes, int64_t total_bytes)
{
    session *s = ctx;
    double frac = total_bytes > 0 && done_bytes >= 0 ? (double)done_bytes / (double)total_bytes : NAN;
    tune_event(s, (o3_event){.kind = O3_EVENT_PULL, .text = status, .done_frac = frac, .left_s = NAN});
}

/* A missing model is fetched when the user said so or says so now. */
static o3_status pull_missing(session *s, o3_status missing, o3_err *err)
{
    const char *name = s->request->model;
    char question[O3_TEXT_MAX];
    O3_FORMAT(question, "%s is not on this server. Pull it now? Its size is not known before, so neither is whether it "
              "will fit", name);
    if (!s->request->pull && !(s->world->confirm && s->world->confirm(s->world->ctx, question)))
        return missing;
    o3_note(&s->result->notes, "no memory verdict before the pull: the size of a model that is not here is not known");
    return o3_engine_pull(s->world->engine, name, s->world->cancel, on_pull, s, err);
}

static o3_status read_model(session *s, o3_err *err)
{
    if (s->world->model) {
        *s->model = *s->world->model;
        return O3_OK;
    }
    o3_auto(free) o3_engine_models *models = o3_alloc(1, sizeof(*models));
    o3_world fresh = *s->world;
    fresh.store = NULL; /* asked for anew: the folder of the weights may have moved, which no digest tells */
    o3_status status = o3_engine_list(fresh.engine, models, err);
    if (status)
        return status;
    const o3_engine_model *entry = o3_survey_model(models, s->request->model);
    return o3_model_of(&fresh, s->request->model, entry, s->model, err);
}

o3_status stage_model(session *s, o3_err *err)
{
    o3_status status = read_model(s, err);
    if (status == O3_E_NOT_FOUND) {
        status = pull_missing(s, status, err);
        status = status ? status : read_model(s, err);
    }
    if (status)
        return status;
    if (s->model->parameters >= 0) { /* the classes' bounds are the configuration's */
        double p = (double)s->model->parameters;
        s->model->size_class = p >= s->config->size_large.min_params    ? O3_SIZE_LARGE
                               : p >= s->config->size_medium.min_params ? O3_SIZE_MEDIUM : O3_SIZE_SMALL;
    }
    O3_COPY(s->result->model, s->model->name);
    O3_COPY(s->result->digest, s->model->digest);
    for (int i = 0; i < s->model->notes.count; i++)
        o3_note(&s->result->notes, "%s", s->model->notes.text[i]);
    if (isnan(s->budget_s))
        s->budget_s = s->request->quick ? 60 : (double[]){600, 900, 1200}[s->model->size_class];
    return O3_OK;
}

static void hash_option(void *ctx, const o3_option *option, const char *path, const char *value, const char *origin)
{
    uint64_t *hash = ctx;
    (void)option;
    (void)origin;
    *hash = o3_hash(path, strlen(path), *hash);
    *hash = o3_hash(value, strlen(value), *hash);
}

/* What was asked, canonically: another text is another run. Every option counts. */
static void request_text(const session *s, char *dst, size_t size)
{
    const o3_request *r = s->request;
    uint64_t hash = s->config->hardware_monitoring.ram_reserve_is_users;
    o3_config_each(s->config, NULL, hash_option, &hash);
    o3_format(dst, size, "samples=%d seed=%llu quick=%d no_proof=%d race=%d preset=%s use_case=%s config=%016llx", s->samples,
              (unsigned long long)r->seed, r->quick, r->no_proof, !r->keep_knobs, r->preset, r->use_case, (unsigned long long)hash);
}

/* What of the server's environment can change a measurement; addresses and house-keeping cannot. */
static void relevant_env(const char *env, char *dst, size_t size)
{
    static const char *const ignored[] = {"OLLAMA_HOST=", "OLLAMA_ORIGINS=", "OLLAMA_MODELS=", "OLLAMA_NOPRUNE=",
                                          "OLLAMA_NO_CLOUD=", "OLLAMA_KEEP_ALIVE=", "OLLAMA_DEBUG="};
    o3_buf kept = O3_BUF(size - 1);
    for (const char *line = env; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        bool skip = false;
        for (int i = 0; i < O3_COUNT(ignored); i++)
            skip = skip || !strncmp(line, ignored[i], strlen(ignored[i]));
        if (!skip)
            o3_buf_printf(&kept, "%.*s\n", (int)strcspn(line, "\n"), line);
    }
    o3_copy(dst, size, o3_buf_text(&kept));
    o3_buf_release(&kept);
}

static void run_key(const session *s, o3_run_key *key)
{
    *key = (o3_run_key){.unknown = !s->model->digest[0] || !s->profile->fingerprint[0]};
    O3_COPY(key->model, s->model->name);
    O3_COPY(key->model_digest, s->model->digest);
    O3_COPY(key->hardware, s->profile->fingerprint);
    O3_COPY(key->engine_version, s->caps.version);
    /* Not readable (another user's server) is a known state of this machine, not an unknown engine. */
    if (s->profile->engine_env_known)
        relevant_env(s->profile->engine_env, key->engine_env, sizeof(key->engine_env));
    else
        O3_COPY(key->engine_env, "(not readable)");
    request_text(s, key->request, sizeof(key->request));
}

static o3_status take_stored(session *s, const char *run_id, bool *ret_known, o3_err *err)
{
    o3_auto(free) char *text = NULL;
    o3_status status = o3_store_result(s->world->store, NULL, run_id, &text, err);
    json_t *json = status ? NULL : json_loads(text, 0, NULL);
    o3_auto(free) o3_result *stored = o3_alloc(1, sizeof(*stored));
    if (json && o3_result_from_json(stored, json, NULL) == O3_OK) {
        *s->result = *stored;
        s->result->known = true;
        *ret_known = true;
    }
    json_decref(json);
    return O3_OK; /* a document that cannot be read is measured again */
}

/* What this run starts from, kept beside what it measures. */
static char *prediction_text(const session *s)
{
    o3_estimate e;
    int64_t ceiling = o3_predict_ceiling(s->profile, s->model, &s->setting, false, &s->calibration, NULL);
    o3_setting at = o3_setting_at(&s->setting, ceiling);
    o3_predict(&e, s->profile, s->model, &at, &s->calibration);
    json_t *json = json_pack("{s:I, s:{s:f, s:f, s:f}, s:{s:f, s:f, s:f}, s:{s:f, s:f, s:f}, s:s}", "ceiling_tokens",
                             (json_int_t)ceiling, "total_bytes", "low", e.total_bytes.low, "mid", e.total_bytes.mid,
                             "high", e.total_bytes.high, "prefill_per_s", "low", e.prefill_per_s.low, "mid",
                             e.prefill_per_s.mid, "high", e.prefill_per_s.high, "decode_per_s", "low",
                             e.decode_per_s.low, "mid", e.decode_per_s.mid, "high", e.decode_per_s.high, "origin",
                             e.origin);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL; /* a rate that is no number has no JSON: no prediction */
    json_decref(json);
    return text;
}

o3_status stage_known(session *s, bool *ret_known, o3_err *err)
{
    o3_store *store = s->world->store;
    o3_run_state state = O3_RUN_OPEN;
    char id[40] = "";
    *ret_known = false;
    if (!store)
        return O3_OK;
    o3_auto(free) o3_run_key *key = o3_alloc(1, sizeof(*key));
    run_key(s, key);
    bool reuse = !s->request->force && s->config->learning.reuse_learned_configs;
    o3_status status = o3_store_run_find(store, key, id, &state, err);
    if (!status && reuse && id[0] && state == O3_RUN_COMPLETE)
        status = take_stored(s, id, ret_known, err);
    if (status || *ret_known)
        return status;
    status = truth_begin(s, state != O3_RUN_COMPLETE ? id : "", err);
    if (status)
        return status;
    if (id[0] && state != O3_RUN_COMPLETE) { /* broken off, a forced one too: goes on */
        O3_COPY(s->result->run_id, id);
        return O3_OK;
    }
    o3_auto(free) char *prediction = prediction_text(s);
    return o3_store_run_begin(store, key, prediction, s->result->run_id, err);
}

/* CPU time of a process in ticks; -1 if gone. */
static int64_t cpu_ticks(int pid)
{
    char path[64], text[1024];
    long long user = 0, system = 0;
    O3_FORMAT(path, "/proc/%d/stat", pid);
    if (pid <= 0 || o3_read_text("/", path, text, sizeof(text)) <= 0)
        return -1;
    const char *p = strrchr(text, ')');
    if (!p || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld", &user, &system) != 2)
        return -1;
    return user + system;
}

/* Someone is being answered if the runner burns CPU, and goes on doing so: a request whose client was killed (a run of
 * ours, say) is given up by the server within seconds. */
static bool runner_busy(session *s)
{
    o3_runner runner;
    if (o3_engine_runner(s->world->engine, s->server_pid, s->model->blob_path, &runner, NULL) || runner.pid < 0)
        return false;
    for (int tries = 0; tries < BUSY_TRIES; tries++) {
        int64_t before = cpu_ticks(runner.pid);
        if (o3_wait(s->world->cancel, 400 * O3_NS_PER_MS))
            return true;
        int64_t after = cpu_ticks(runner.pid);
        if (before < 0 || after < 0 || after - before <= sysconf(_SC_CLK_TCK) / 10)
            return false;
    }
    return true;
}

static o3_status clear_others(session *s, o3_err *err)
{
    for (int i = 0; i < s->others.count; i++) { /* refuse before anything is touched */
        const char *name = s->others.items[i].name;
        bool ours = !strcmp(name, s->model->name);
        if (!ours && !s->request->unload_others)
            return o3_fail(err, O3_E_UNAVAILABLE, "%s is loaded on this server and would share its memory with the "
                           "trials; wait until it is gone or use --unload-others (it is loaded again at the end)", name);
        if (ours && runner_busy(s) && !s->request->unload_others)
            return o3_fail(err, O3_E_UNAVAILABLE, "%s is answering somebody right now; wait, or use --unload-others to "
                           "interrupt them", name);
    }
    s->unloaded = s->others.count > 0;
    o3_status status = O3_OK;
    for (int i = 0; i < s->others.count && !status; i++)
        status = o3_engine_unload(s->world->engine, s->others.items[i].name, 30 * O3_NS_PER_S, err);
    return status;
}

o3_status stage_preflight(session *s, o3_err *err)
{
    char size[32];
    o3_status status = o3_engine_loads_read(s->world->engine, &s->others, err);
    if (!status)
        status = clear_others(s, err);
    if (status)
        return status;
    if (s->others.count) /* the pools' free part changed */
        status = read_profile(s, err);
    if (status)
        return status;
    const o3_model *m = s->model;
    o3_fmt_bytes(size, sizeof(size), (double)m->file_bytes);
    tune_say(s, O3_EVENT_PREFLIGHT, "model local, %s, %s, trained %lld · other models loaded: %s", size, m->architecture,
             (long long)m->trained_tokens, s->others.count ? "unloaded for now" : "none");
    if (!s->profile->engine_env_known && s->profile->engine_local)
        o3_note(&s->result->notes, "the server's environment cannot be read (another user's process): parallel slots and KV "
                "type are taken as default, and a change there is not noticed later (--force measures again)");
    bool cache_off = strstr(s->profile->engine_env, "LLAMA_ARG_CACHE_RAM=0\n") != NULL;
    s->probe.prompt_cache = s->caps.llama_server && !cache_off;
    return O3_OK;
}

/* The seed's two lines: what kind of model this is for this machine, and what follows. */
static void say_analysis(session *s, int64_t ceiling, int limiting)
{
    char size[32], room[32];
    const o3_model *m = s->model;
    const char *bound = limiting < 0 ? "bound by its training" : "memory-bound";
    o3_fmt_bytes(size, sizeof(size), (double)m->file_bytes);
    if (s->profile->pool_count)
        o3_fmt_bytes(room, sizeof(room), (double)o3_pool_room(s->profile, limiting < 0 ? 0 : limiting, false));
    else
        O3_COPY(room, "unknown memory");
    tune_say(s, O3_EVENT_ANALYSIS, "%.3gB parameters, %s, %s model, %s on %s: start at %lld",
             m->parameters > 0 ? (double)m->parameters / 1e9 : NAN, size, o3_size_class_name(m->size_class), bound, room,
             (long long)ceiling);
}

void stage_predict(session *s)
{
    int limiting;
    o3_estimate e;
    s->predicted_ceiling = o3_predict_ceiling(s->profile, s->model, &s->setting, false, &s->calibration, &limiting);
    knobs_pin_batch(s);
    int64_t ceiling = s->predicted_ceiling;
    say_analysis(s, ceiling, limiting);
    if (ceiling <= 0)
        return;
    o3_setting at = o3_setting_at(&s->setting, ceiling);
    o3_predict(&e, s->profile, s->model, &at, &s->calibration);
    /* Deadlines: a machine may be slower than it was when it taught these rates. */
    s->probe.prefill_per_s = fmin(e.prefill_per_s.low, 0.5 * e.prefill_per_s.mid);
    s->probe.decode_per_s = fmin(e.decode_full_per_s.low, 0.3 * e.decode_full_per_s.mid);
    s->probe.cache_bytes_per_token = e.prompt_cache_bytes_per_token;
    presets_choose(s, floor_window(s, &s->curve, ceiling));
    s->result->ceiling.trained_tokens = s->model->trained_tokens;
    tune_event(s, (o3_event){.kind = O3_EVENT_PREDICTED, .estimate = &e, .result = s->result, .model = s->model,
                             .profile = s->profile, .done_frac = NAN, .left_s = NAN});
}

void stage_restore(session *s)
{
    for (int i = 0; i < s->others.count; i++) {
        const char *name = s->others.items[i].name;
        o3_reply reply;
        o3_generate load = {.model = name, .knobs = O3_KNOBS_DEFAULT, .keep_alive = "5m", .deadline_ns = 300 * O3_NS_PER_S};
        if (s->others.items[i].context_length > 0)
            load.knobs.num_ctx = (int32_t)s->others.items[i].context_length;
        if (!o3_engine_generate(s->world->engine, &load, &reply, NULL) && reply.outcome == O3_OUTCOME_OK)
            o3_note(&s->result->notes, "%s was unloaded for the trials and is loaded again", name);
        else
            o3_note(&s->result->notes, "%s was unloaded for the trials and could not be loaded again: %s", name,
                    reply.error);
    }
}
