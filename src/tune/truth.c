/* SPDX-License-Identifier: Apache-2.0 */
/* What was predicted beside what was measured, after every visit; and what that teaches the next prediction of this
 * model on this machine. */
#include "tune_impl.h"

#define KIND "calibration"
#define POINTS_MAX 24 /* a ladder of eight rungs and one length of unique prompts, two rates each */

/* The setting of a trial as far as it is known: in force where it was read back, else as asked. */
static o3_setting setting_of(const session *s, const o3_trial *trial)
{
    o3_setting setting = s->setting;
    setting.knobs = trial->asked;
    if (trial->in_force.num_ctx != O3_UNSET)
        setting.knobs.num_ctx = trial->in_force.num_ctx;
    if (trial->in_force.num_batch != O3_UNSET)
        setting.knobs.num_batch = trial->in_force.num_batch;
    return setting;
}

/* A sample that says how fast the machine is when it has nothing else to do. */
static bool calm(const o3_sample *sample)
{
    return sample->outcome == O3_OUTCOME_OK && !sample->disturbed && !sample->warmup && !sample->outlier;
}

/* Median over calm samples from `from` on: of one rung and its repeats, or of all unique prompts. NaN if none. */
static double median_of(const o3_trial *trial, int from, bool fresh, bool decode)
{
    double rates[O3_SAMPLES_MAX];
    int count = 0;
    for (int i = from; i < trial->sample_count; i++) {
        const o3_sample *sample = &trial->samples[i];
        double rate = decode ? sample->decode_per_s : sample->prefill_per_s;
        if (!fresh && i > from && sample->kind != O3_SAMPLE_DECODE)
            break;
        if ((!fresh || sample->kind == O3_SAMPLE_PREFILL) && calm(sample) && rate > 0)
            rates[count++] = rate;
    }
    return count ? stats_median(rates, count) : (double)NAN;
}

static void add_point(o3_rate_point *points, int *count, bool decode, int64_t depth, double seconds)
{
    if (*count < POINTS_MAX && depth > 0 && isfinite(seconds) && seconds > 0)
        points[(*count)++] = (o3_rate_point){.depth_tokens = depth, .seconds = seconds, .decode = decode};
}

/* A ladder gives a text's whole time as the sum of its rungs, until one was disturbed or came from the cache. */
static int points_of(const o3_trial *trial, o3_rate_point *points)
{
    int count = 0;
    double filled_s = 0;
    bool fresh_done = false;
    /* One that failed was at a limit of the machine: its rates are not what a setting that works would reach. */
    if (trial->outcome != O3_OUTCOME_OK && trial->outcome != O3_OUTCOME_CANCELLED && trial->outcome != O3_OUTCOME_SLOW)
        return 0;
    for (int i = 0; i < trial->sample_count; i++) {
        const o3_sample *sample = &trial->samples[i];
        if (sample->kind == O3_SAMPLE_RUNG && sample->outcome == O3_OUTCOME_OK) {
            bool whole = calm(sample) && sample->prefill_per_s > 0 && sample->prompt_eval_ns > 0;
            filled_s += whole ? (double)sample->prompt_eval_ns / 1e9 : (double)NAN;
            add_point(points, &count, false, sample->prompt_tokens, filled_s);
            add_point(points, &count, true, sample->depth_tokens, 1 / median_of(trial, i, false, true));
        } else if (sample->kind == O3_SAMPLE_PREFILL && calm(sample) && !fresh_done) {
            fresh_done = true; /* all have about the same length */
            add_point(points, &count, false, sample->prompt_tokens,
                      (double)sample->prompt_tokens / median_of(trial, i, true, false));
            add_point(points, &count, true, sample->depth_tokens, 1 / median_of(trial, i, true, true));
        }
    }
    return count;
}

/* Rates of knobs that are not used are no news of the machine. */
static bool same_knobs(const session *s, const o3_trial *trial)
{
    o3_knobs pinned = s->setting.knobs;
    pinned.num_ctx = trial->asked.num_ctx;
    pinned.num_batch = trial->asked.num_batch;
    return trial->asked.num_ctx == O3_UNSET || o3_knobs_equal(&pinned, &trial->asked);
}

static void learn(session *s, const o3_trial *trial)
{
    if (!same_knobs(s, trial))
        return;
    o3_rate_point points[POINTS_MAX];
    int count = points_of(trial, points);
    o3_setting setting = setting_of(s, trial);
    if (count && setting.knobs.num_ctx != O3_UNSET)
        o3_calibrate(&s->calibration, s->profile, s->model, &setting, points, count);
}

static o3_status add(const session *s, const o3_setting *setting, const char *quantity, int64_t depth,
                     o3_range predicted, double measured, o3_err *err)
{
    bool rate = depth >= 0;
    o3_forecast f = {.knobs = setting->knobs, .parallel = setting->parallel, .depth_tokens = depth,
                     .predicted = predicted, .measured = measured, .measured_unix_ms = o3_unix_ms(),
                     .learned_from = rate ? s->calibration.rates : s->calibration.loads};
    O3_COPY(f.model, s->model->name);
    O3_COPY(f.model_digest, s->model->digest);
    O3_COPY(f.hardware, s->profile->fingerprint);
    O3_COPY(f.engine_version, s->caps.version);
    O3_COPY(f.quantity, quantity);
    return o3_store_forecast_add(s->world->store, &f, err);
}

static o3_status add_rates(const session *s, const o3_trial *trial, const o3_setting *setting, o3_err *err)
{
    o3_rate_point points[POINTS_MAX];
    int count = points_of(trial, points);
    o3_status status = O3_OK;
    for (int i = 0; i < count && !status; i++) {
        const o3_rate_point *p = &points[i];
        o3_speed speed;
        o3_predict_speed(&speed, s->profile, s->model, setting, p->depth_tokens, &s->calibration);
        status = add(s, setting, p->decode ? "decode_per_s" : "prefill_per_s", p->depth_tokens,
                     p->decode ? speed.decode_per_s : speed.prefill_per_s,
                     (p->decode ? 1 : (double)p->depth_tokens) / p->seconds, err);
    }
    return status;
}

static o3_status add_forecasts(const session *s, const o3_trial *trial, o3_err *err)
{
    o3_estimate e;
    o3_setting setting = setting_of(s, trial);
    int64_t runner_bytes = visit_runner_bytes(s, trial);
    o3_status status = O3_OK;
    if (setting.knobs.num_ctx == O3_UNSET)
        return O3_OK;
    o3_predict(&e, s->profile, s->model, &setting, &s->calibration);
    if (trial->size_bytes > 0)
        status = add(s, &setting, "size_bytes", -1, o3_predict_ps_bytes(&e), (double)trial->size_bytes, err);
    /* Before a window was filled, the runner has not yet touched all that it has reserved. */
    if (!status && runner_bytes > 0 && trial->fills > 0)
        status = add(s, &setting, "runner_bytes", -1, e.total_bytes, (double)runner_bytes, err);
    return status ? status : add_rates(s, trial, &setting, err);
}

/* --- kept between runs ------------------------------------------------------------------------------------------ */

static bool document_name(const o3_profile *profile, const o3_model *model, const char *engine_version, char *dst,
                          size_t size)
{
    o3_format(dst, size, "%s %s %s", profile->fingerprint, model->digest, engine_version);
    return *profile->fingerprint && *model->digest && *engine_version;
}

/* The host's, then each GPU's; null = unknown. */
static json_t *offsets_to_json(const o3_calibration *c)
{
    json_t *json = json_array();
    int count = O3_MEMORIES_MAX;
    while (count > 0 && !c->offset[count - 1].known)
        count--;
    for (int m = 0; m < count; m++)
        json_array_append_new(json, c->offset[m].known ? json_real(c->offset[m].bytes) : json_null());
    return json;
}

/* One number: of a release that knew one offset for all memories. It is of none of them, so that no load was seen. */
static bool offsets_from_json(const json_t *json, o3_calibration *c)
{
    size_t i;
    json_t *value;
    c->loads = json_is_number(json) ? 0 : c->loads;
    if (!json_is_array(json) || json_array_size(json) > O3_MEMORIES_MAX)
        return json_is_number(json);
    json_array_foreach(json, i, value) {
        if (!json_is_number(value) && !json_is_null(value))
            return false;
        c->offset[i] = (o3_offset){json_number_value(value), json_is_number(value)};
    }
    return true;
}

static json_t *calibration_to_json(const o3_calibration *c)
{
    return json_pack("{s:o, s:i, s:f, s:f, s:f, s:f, s:i}", "offset_bytes", offsets_to_json(c), "loads", c->loads,
                     "prefill_ratio", c->prefill_ratio, "prefill_attention_ratio", c->prefill_attention_ratio,
                     "decode_ratio", c->decode_ratio, "decode_kv_ratio", c->decode_kv_ratio, "rates", c->rates);
}

static bool calibration_from_json(json_t *json, o3_calibration *ret)
{
    o3_calibration c = O3_CALIBRATION_NONE;
    json_t *offsets = NULL;
    bool good = json && !json_unpack(json, "{s:o, s:i, s:F, s:F, s:F, s:F, s:i}", "offset_bytes", &offsets, "loads",
                                     &c.loads, "prefill_ratio", &c.prefill_ratio, "prefill_attention_ratio",
                                     &c.prefill_attention_ratio, "decode_ratio", &c.decode_ratio, "decode_kv_ratio",
                                     &c.decode_kv_ratio, "rates", &c.rates);
    good = good && offsets_from_json(offsets, &c) && c.loads >= 0 && c.rates >= 0 && c.prefill_ratio > 0 &&
           c.prefill_attention_ratio > 0 && c.decode_ratio > 0 && c.decode_kv_ratio > 0;
    if (good)
        *ret = c;
    return good;
}

/* What run `run_id` ("" = any) began with: a run that goes on must not begin from what it learned itself, or it would
 * ask for other contexts than the ones it has measured. */
static o3_status read_calibration(o3_store *store, const char *name, const char *run_id, o3_calibration *ret, o3_err *err)
{
    o3_auto(free) char *text = NULL;
    o3_status status = o3_store_document_get(store, KIND, name, &text, err);
    if (status || !text)
        return status;
    json_t *json = json_loads(text, 0, NULL);
    const char *maker = json_string_value(json_object_get(json, "run"));
    bool own = *run_id && maker && !strcmp(maker, run_id);
    calibration_from_json(json_object_get(json, own ? "before" : "now"), ret); /* damaged: as if never learned */
    json_decref(json);
    return O3_OK;
}

o3_status o3_calibration_of(const o3_world *world, const o3_profile *profile, const o3_model *model,
                            const char *engine_version, o3_calibration *ret_calibration, o3_err *err)
{
    char name[256];
    *ret_calibration = O3_CALIBRATION_NONE;
    if (!world->store || !document_name(profile, model, engine_version, name, sizeof(name)))
        return O3_OK;
    return read_calibration(world->store, name, "", ret_calibration, err);
}

o3_status truth_begin(session *s, const char *run_id, o3_err *err)
{
    char name[256];
    o3_status status = O3_OK;
    if (s->world->store && document_name(s->profile, s->model, s->caps.version, name, sizeof(name)))
        status = read_calibration(s->world->store, name, run_id, &s->calibration, err);
    s->began_with = s->calibration;
    return status;
}

o3_status truth_keep(session *s, o3_err *err)
{
    char name[256];
    if (!s->world->store || !document_name(s->profile, s->model, s->caps.version, name, sizeof(name)))
        return O3_OK;
    json_t *json = json_pack("{s:s, s:o*, s:o*}", "run", s->result->run_id, "now", calibration_to_json(&s->calibration),
                             "before", calibration_to_json(&s->began_with));
    o3_auto(free) char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text)
        return o3_fail(err, O3_E_INTERNAL, "what was learned of %s is no number; this is a bug in o3, please report it",
                       s->model->name);
    return o3_store_document_put(s->world->store, KIND, name, text, err);
}

void truth_recall(session *s, const o3_trial *trial)
{
    learn(s, trial);
}

o3_status truth_take(session *s, const o3_trial *trial, o3_err *err)
{
    o3_status status = s->world->store ? add_forecasts(s, trial, err) : O3_OK;
    if (status)
        return status;
    learn(s, trial);
    return truth_keep(s, err);
}
