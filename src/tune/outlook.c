/* SPDX-License-Identifier: Apache-2.0 */
/* What `o3 predict` answers, put together from predictions: pure, nothing is asked and nothing loaded. */
#include "tune_impl.h"

#define ROW_FIRST 2048
#define ROWS_GRID 40 /* two an octave: far past any trained context */

static o3_estimate estimate_at(const o3_outlook *o, const o3_setting *setting, const o3_calibration *calibration)
{
    o3_estimate e;
    o3_predict(&e, o->profile, o->model, setting, calibration);
    return e;
}

/* Memory grows with the window, and nothing but its training bounds a ceiling that no pool limits. */
static bool fits(const o3_outlook *o, int64_t num_ctx)
{
    return o->ceiling_tokens < 0 || num_ctx <= o->ceiling_tokens || (o->ceiling_tokens > 0 && o->limiting < 0);
}

static void add_row(o3_outlook *o, const o3_setting *setting, int64_t num_ctx, const o3_calibration *calibration)
{
    if (o->row_count == O3_OUTLOOK_ROWS_MAX || num_ctx <= 0)
        return;
    int at = o->row_count;
    while (at > 0 && o->rows[at - 1].num_ctx >= num_ctx)
        at--;
    if (at < o->row_count && o->rows[at].num_ctx == num_ctx)
        return;
    memmove(&o->rows[at + 1], &o->rows[at], (size_t)(o->row_count - at) * sizeof(o->rows[0]));
    o->row_count++;
    o3_setting s = o3_setting_at(setting, num_ctx);
    o3_estimate e = estimate_at(o, &s, calibration);
    o3_outlook_row *row = &o->rows[at];
    *row = (o3_outlook_row){.num_ctx = num_ctx, .total_bytes = e.total_bytes, .spilled_frac = e.spilled_frac,
                            .fits = fits(o, num_ctx)};
    o3_predict_speed(&row->half, o->profile, o->model, &s, num_ctx / 2, calibration);
    o3_predict_speed(&row->full, o->profile, o->model, &s, num_ctx, calibration);
}

/* Two an octave up to the ceiling and to what was asked, both included. Where no limit is known, the trained context
 * ends the table. */
static void add_rows(o3_outlook *o, const o3_setting *setting, const o3_calibration *calibration)
{
    int64_t asked = setting->knobs.num_ctx, end = o->ceiling_tokens;
    if (end < 0)
        end = o->model->trained_tokens > 0 ? o->model->trained_tokens : asked;
    int64_t last = asked > end ? asked : end;
    for (int i = 0; i < ROWS_GRID; i++) {
        int64_t num_ctx = (int64_t)(i % 2 ? ROW_FIRST + ROW_FIRST / 2 : ROW_FIRST) << (i / 2);
        if (num_ctx < last)
            add_row(o, setting, num_ctx, calibration);
    }
    add_row(o, setting, end, calibration);
    add_row(o, setting, asked, calibration);
}

/* What the layers that the devices cannot take cost: the same setting with all of them on the devices. */
static o3_range on_device_rate(const o3_outlook *o, const o3_setting *setting, const o3_calibration *calibration)
{
    o3_setting all = *setting;
    all.knobs.num_gpu = o->model->layers + 1;
    if (!(o->estimate.spilled_frac > 0) || o->model->layers <= 0)
        return (o3_range){NAN, NAN, NAN};
    return estimate_at(o, &all, calibration).decode_per_s;
}

static void take_notes(o3_notes *notes, const o3_notes *from)
{
    for (int i = 0; i < from->count; i++)
        o3_note(notes, "%s", from->text[i]);
}

static bool any_loaded(const o3_profile *profile)
{
    bool any = false;
    for (int i = 0; i < profile->pool_count; i++)
        any = any || profile->pools[i].models_bytes > 0;
    return any;
}

/* -1 where no pool is known. */
static int64_t ceiling(const o3_profile *profile, const o3_model *model, const o3_setting *setting, bool at_rest,
                       const o3_calibration *calibration, int *ret_limiting)
{
    *ret_limiting = -1;
    return profile->pool_count ? o3_predict_ceiling(profile, model, setting, at_rest, calibration, ret_limiting) : -1;
}

/* An APU's memory is divided by settings of the machine. What another division would bring is a prediction for the same
 * machine with other sizes: GTT up to what may be used of the RAM, or, where the engine has the carve-out alone, twice of
 * that, at the RAM's cost. */
static bool divided_anew(o3_profile *p, const o3_gpu *gpu, char *dst, size_t dst_size)
{
    o3_pool *ram = &p->pools[0], *pool = &p->pools[gpu->pool];
    char now[32], then[32];
    int64_t pages = ram->safe_bytes / 4096;
    if (!gpu->integrated || gpu->own_bytes < 0 || gpu->pool <= 0 || ram->safe_bytes < 0 || ram->total_bytes < 0)
        return false;
    o3_fmt_bytes(now, sizeof(now), (double)(gpu->unified ? gpu->shared_bytes : gpu->own_bytes));
    if (gpu->unified && gpu->shared_bytes >= 0 && gpu->shared_bytes < pages * 4096) {
        pool->total_bytes = gpu->own_bytes + pages * 4096;
        o3_fmt_bytes(then, sizeof(then), (double)pages * 4096);
        o3_format(dst, dst_size, "its driver may map %s of the RAM (GTT); with %s (kernel parameter ttm.pages_limit=%lld)",
                  now, then, (long long)pages);
    } else if (!gpu->unified && gpu->own_bytes < ram->total_bytes) {
        int64_t left = ram->total_bytes - gpu->own_bytes;
        ram->safe_bytes -= (int64_t)(ram->limit_frac * (double)gpu->own_bytes);
        ram->total_bytes = left;
        pool->total_bytes = 2 * gpu->own_bytes;
        o3_fmt_bytes(then, sizeof(then), (double)pool->total_bytes);
        o3_format(dst, dst_size, "the BIOS keeps %s of the RAM for it; with %s", now, then);
    } else {
        return false;
    }
    pool->safe_bytes = (int64_t)(pool->limit_frac * (double)pool->total_bytes);
    return true;
}

static void advise_apu(o3_outlook *o, const o3_setting *setting, const o3_calibration *calibration)
{
    char what[O3_TEXT_MAX];
    int limiting;
    o3_auto(free) o3_profile *other = o3_alloc(1, sizeof(*other));
    for (int i = 0; i < o->profile->gpu_count; i++) {
        const o3_gpu *gpu = &o->profile->gpus[i];
        *other = *o->profile;
        if (!divided_anew(other, gpu, what, sizeof(what)))
            continue;
        int64_t tokens = ceiling(other, o->model, setting, false, calibration, &limiting);
        if (tokens > o->ceiling_tokens)
            o3_note(&o->notes, "GPU %s: %s the largest safe num_ctx is predicted to be %lld in place of %lld", gpu->name,
                    what, (long long)tokens, (long long)o->ceiling_tokens);
    }
}

/* A floor is held against full windows; rows ascend, and so does what they take. */
static void note_floor(o3_outlook *o, const o3_config *config)
{
    double min_decode = config->objectives.min_decode_per_s, max_ttft = config->objectives.max_ttft_s;
    int64_t keeps = 0;
    if (!(min_decode > 0 || max_ttft > 0))
        return;
    for (int i = 0; i < o->row_count; i++) {
        const o3_speed *full = &o->rows[i].full;
        if (o->rows[i].fits && !(full->decode_per_s.mid < min_decode) &&
            !(full->ttft_ms.mid > 1000 * max_ttft))
            keeps = o->rows[i].num_ctx;
    }
    if (keeps)
        o3_note(&o->notes, "the speed floor is predicted to be kept by a full window up to num_ctx %lld of those in the table",
                (long long)keeps);
    else
        o3_note(&o->notes, "no window in the table is predicted to keep the speed floor when it is full");
}

void o3_outlook_make(o3_outlook *ret_outlook, const o3_config *config, const o3_profile *profile, const o3_model *model,
                     const char *engine_version, const o3_setting *setting, const o3_calibration *calibration)
{
    o3_outlook *o = ret_outlook;
    o3_setting at = *setting;
    int other;
    *o = (o3_outlook){.model = model, .profile = profile, .machine = "this machine"};
    O3_COPY(o->engine_version, engine_version);
    if (model->trained_tokens > 0 && at.knobs.num_ctx > model->trained_tokens) {
        o3_note(&o->notes, "num_ctx %d is more than the %lld tokens the model was trained for: Ollama would cut it to "
                "those, so this is the answer for %lld", at.knobs.num_ctx, (long long)model->trained_tokens,
                (long long)model->trained_tokens);
        at = o3_setting_at(&at, model->trained_tokens);
    }
    take_notes(&o->notes, &model->notes);
    take_notes(&o->notes, &profile->notes);
    if (!profile->pool_count)
        o3_note(&o->notes, "no memory limit is known here, so there is no largest safe num_ctx; o3 predict --machine FILE "
                "takes a description of the machine");
    o->estimate = estimate_at(o, &at, calibration);
    if (at.era == O3_ERA_A) /* those releases keep no prompts on the host */
        o->estimate.prompt_cache_bytes_per_token = 0;
    o->size_bytes = o3_predict_ps_bytes(&o->estimate);
    o->ceiling_tokens = ceiling(profile, model, &at, false, calibration, &o->limiting);
    o->ceiling_at_rest_tokens = any_loaded(profile) ? ceiling(profile, model, &at, true, calibration, &other)
                                                    : o->ceiling_tokens;
    advise_apu(o, &at, calibration);
    o->fits = fits(o, at.knobs.num_ctx);
    o->on_device_decode_per_s = on_device_rate(o, &at, calibration);
    o->optimize_s = o3_optimize_seconds(config, profile, model, &at, calibration);
    add_rows(o, &at, calibration);
    note_floor(o, config);
}

void o3_outlook_line_make(o3_outlook_line *ret_line, const o3_profile *profile, const o3_model *model,
                          const char *engine_version, const o3_setting *setting, const o3_calibration *calibration)
{
    o3_outlook_line *l = ret_line;
    o3_estimate e;
    int limiting;
    *l = (o3_outlook_line){.size_bytes = model->file_bytes, .parameters = model->parameters,
                           .trained_tokens = model->trained_tokens};
    O3_COPY(l->name, model->name);
    O3_COPY(l->digest, model->digest);
    l->ceiling_tokens = ceiling(profile, model, setting, false, calibration, &limiting);
    l->ceiling_at_rest_tokens = any_loaded(profile) ? ceiling(profile, model, setting, true, calibration, &limiting)
                                                    : l->ceiling_tokens;
    int64_t window = setting->knobs.num_ctx > 0 ? setting->knobs.num_ctx
                                                : o3_default_window(profile, model, engine_version);
    if (model->trained_tokens > 0 && window > model->trained_tokens)
        window = model->trained_tokens;
    if (l->ceiling_at_rest_tokens > 0 && window > l->ceiling_at_rest_tokens)
        window = l->ceiling_at_rest_tokens;
    o3_setting at = o3_setting_at(setting, window);
    o3_predict(&e, profile, model, &at, calibration);
    l->total_bytes = e.total_bytes;
    l->spilled_frac = e.spilled_frac;
    o3_predict_speed(&l->speed, profile, model, &at, window / 2, calibration);
}

double o3_optimize_seconds(const o3_config *config, const o3_profile *profile, const o3_model *model,
                           const o3_setting *setting, const o3_calibration *calibration)
{
    o3_auto(free) session *s = o3_alloc(1, sizeof(*s));
    o3_auto(free) o3_result *result = o3_alloc(1, sizeof(*result));
    o3_auto(free) o3_request *request = o3_alloc(1, sizeof(*request));
    o3_auto(free) rate_memo *rates = o3_alloc(1, sizeof(*rates));
    int limiting;
    /* The session reads these two and never writes them; it owns them only in a run. */
    *s = (session){.config = config, .request = request, .result = result, .profile = (o3_profile *)profile,
                   .model = (o3_model *)model, .calibration = *calibration, .setting = *setting, .rates = rates,
                   .samples = (int)config->testing.statistical_validation.min_samples_per_config};
    s->setting.knobs = O3_KNOBS_DEFAULT;
    s->setting.knobs.num_batch = TUNE_BATCH;
    int64_t tokens = ceiling(profile, model, &s->setting, false, calibration, &limiting);
    if (tokens <= 0)
        return NAN;
    presets_choose(s, tokens);
    visit_plan ladder = ceiling_ladder(s, s->setting.knobs, tokens);
    return cost_visit_s(s, &ladder) + presets_rest_s(s, 0);
}
