/* SPDX-License-Identifier: Apache-2.0 */
/* Candidates for the race: few, each for a reason, in an order that depends on nothing but the documents. */
#include "o3/config.h"
#include "search/race.h"
#include "search_impl.h"

#define BATCH_MIN 128
#define VALUES_MAX 8        /* of one knob before the best are taken */
#define PRICED_PROMPT 1024  /* tokens of the visit that cost_s prices, without its load */
#define PRICED_DECODE 320

typedef struct values {
    int count;
    int32_t items[VALUES_MAX];
} values;

static void add(values *v, int64_t value, int32_t not_this)
{
    for (int i = 0; i < v->count; i++)
        if (v->items[i] == value)
            return;
    if (value > 0 && value <= INT32_MAX && value != not_this && v->count < VALUES_MAX)
        v->items[v->count++] = (int32_t)value;
}

/* One thread a physical core is what llama.cpp takes by itself, but it counts those of the machine: an affinity, a
 * quota or slow cores make another count the right one. A thread more than usable cores is never right. */
static values threads(const o3_profile *p, const o3_setting *setting, double spilled_frac)
{
    values v = {0};
    if (p->gpu_count > 0 && spilled_frac <= 0)
        return v; /* the CPUs only feed the devices */
    int64_t usable = p->usable_cpus >= 1 ? (int64_t)p->usable_cpus : p->usable_cpus > 0 ? 1 : 0;
    int64_t physical = p->cores > 0 && p->cores < usable ? p->cores : usable;
    /* Two threads on fast cores, one on slow ones: so many are fast; 0 = all are alike. */
    int64_t fast = p->cores > 0 && p->cpus_online < 2 * p->cores ? p->cpus_online - p->cores : 0;
    /* The server's own choice is one a physical core, unless its environment says otherwise or cannot be read. */
    bool own = setting->knobs.num_thread == O3_UNSET && usable == p->cpus_online && p->engine_env_known &&
               !strstr(p->engine_env, "LLAMA_ARG_THREADS");
    int32_t not_this = own ? (int32_t)p->cores : setting->knobs.num_thread;
    if (usable <= 0)
        return v;
    add(&v, physical, not_this);
    if (fast > 0 && fast <= usable)
        add(&v, fast, not_this);
    add(&v, usable, not_this);
    if (physical > 2) /* one core for whoever else is there */
        add(&v, physical - 1, not_this);
    if (physical >= 8) /* decode is bound by memory, which fewer threads saturate */
        add(&v, physical / 2, not_this);
    return v;
}

/* Geometric steps of scale_up_factor through the class's initial batch, up to max_batch. */
static values batches(const o3_config *config, const o3_model *model, const o3_setting *setting)
{
    values v = {0};
    const o3_size_category *sizes[] = {&config->size_small, &config->size_medium, &config->size_large};
    int64_t initials[] = {config->search_strategy.batch_adaptation.initial_batch_small,
                          config->search_strategy.batch_adaptation.initial_batch_medium,
                          config->search_strategy.batch_adaptation.initial_batch_large};
    int64_t most = sizes[model->size_class]->max_batch;
    double factor = config->search_strategy.batch_adaptation.scale_up_factor;
    if (!config->search_strategy.batch_adaptation.enabled)
        return v;
    if (most <= 0)
        most = config->search_strategy.batch_adaptation.max_batch;
    double first = fmin((double)initials[model->size_class], (double)most);
    for (double at = first; at <= (double)most && v.count < VALUES_MAX / 2; at *= factor)
        add(&v, (int64_t)at, setting->knobs.num_batch);
    for (double at = first / factor; at >= BATCH_MIN && v.count < VALUES_MAX; at /= factor)
        add(&v, (int64_t)at, setting->knobs.num_batch);
    return v;
}

/* What the server does not do by itself: it reads the weights into memory where there is no GPU, else it maps them. */
static values mapping(const o3_profile *p, const o3_setting *setting)
{
    int32_t other = p->gpu_count == 0;
    return (values){.count = setting->knobs.use_mmap != other, .items = {other}};
}

/* Unset is the default's own; all layers; and around the edge where the prediction says that some stay behind. */
static values layers(const o3_profile *p, const o3_model *model, const o3_setting *setting, double spilled_frac)
{
    values v = {0};
    if (p->gpu_count == 0 || model->layers <= 0)
        return v;
    if (spilled_frac <= 0)
        return v; /* the server's own choice is all of them, too */
    int64_t all = model->layers + 1, edge = (int64_t)floor((double)all * (1 - spilled_frac) + 0.5);
    add(&v, all, setting->knobs.num_gpu);
    if (edge < all && edge > 0) {
        add(&v, edge, setting->knobs.num_gpu);
        add(&v, edge + 1, setting->knobs.num_gpu);
        add(&v, edge - 1, setting->knobs.num_gpu);
    }
    return v;
}

static void rate(search_candidate *c, const o3_profile *profile, const o3_model *model, const o3_setting *setting,
                 const o3_calibration *calibration, search_weights w, double *ret_score)
{
    o3_speed at_once;
    o3_setting at = *setting;
    at.knobs = c->knobs;
    o3_predict_speed(&at_once, profile, model, &at, PRICED_PROMPT, calibration);
    double decode = at_once.decode_per_s.mid, prefill = at_once.prefill_per_s.mid, sum = w.decode + w.prefill;
    bool known = decode > 0 && prefill > 0 && isfinite(decode) && isfinite(prefill);
    c->cost_s = known ? PRICED_PROMPT / prefill + PRICED_DECODE / decode : NAN;
    *ret_score = known ? pow(decode, w.decode / sum) * pow(prefill, w.prefill / sum) : NAN;
}

/* Why this one is not offered; false = it is. */
static bool left_out(const search_candidate *c, const char *name, int32_t value, const o3_profile *profile,
                     const o3_model *model, const o3_setting *setting, const o3_calibration *calibration,
                     const search_failures *known, o3_notes *notes)
{
    o3_setting at = *setting;
    at.knobs = c->knobs;
    const search_failure *failure = known ? search_failures_find(known, profile, model, &at) : NULL;
    if (failure)
        o3_note(notes, "%s %d was not tried: what asked for no more memory failed: %s", name, value, failure->reason);
    else if (!o3_predict_fits(profile, model, &at, false, calibration))
        o3_note(notes, "%s %d was not tried: at %d tokens it is predicted over a safe size", name, value,
                at.knobs.num_ctx);
    else
        return false;
    return true;
}

int search_knobs_candidates(search_candidate *ret_candidates, int max, const o3_config *config,
                            const o3_profile *profile, const o3_model *model, const o3_setting *setting,
                            const o3_calibration *calibration, const search_failures *known, search_weights weights,
                            o3_notes *notes)
{
    o3_estimate e;
    o3_predict_bytes(&e, profile, model, setting, calibration);
    const struct { const char *name; values values; int most; } knobs[] = {
        {"num_thread", threads(profile, setting, e.spilled_frac), 3},
        {"num_batch", batches(config, model, setting), 2},
        {"num_gpu", layers(profile, model, setting, e.spilled_frac), 3},
        {"use_mmap", mapping(profile, setting), 1},
    };
    search_candidate rows[O3_COUNT(knobs)][VALUES_MAX];
    int counts[O3_COUNT(knobs)] = {0}, count = 0;
    double base, score;
    ret_candidates[count++] = (search_candidate){.knobs = setting->knobs, .prior_ratio = 1};
    rate(&ret_candidates[0], profile, model, setting, calibration, weights, &base);
    for (int k = 0; k < O3_COUNT(knobs); k++) {
        const o3_knob_field *field = o3_knob_fields;
        while (strcmp(field->name, knobs[k].name))
            field++;
        for (int i = 0; i < knobs[k].values.count; i++) {
            search_candidate c = {.knobs = setting->knobs};
            o3_knob_set(&c.knobs, field, knobs[k].values.items[i]);
            if (left_out(&c, field->name, knobs[k].values.items[i], profile, model, setting, calibration, known, notes))
                continue;
            rate(&c, profile, model, setting, calibration, weights, &score);
            c.prior_ratio = score / base;
            int at = counts[k]++; /* by prior, stable */
            for (; at > 0 && c.prior_ratio > rows[k][at - 1].prior_ratio; at--)
                rows[k][at] = rows[k][at - 1];
            rows[k][at] = c;
        }
    }
    for (int i = 0; i < VALUES_MAX; i++) /* the best of each knob first */
        for (int k = 0; k < O3_COUNT(knobs); k++)
            if (i < counts[k] && i < knobs[k].most && count < max)
                ret_candidates[count++] = rows[k][i];
    return count;
}
