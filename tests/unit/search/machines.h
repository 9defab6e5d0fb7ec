/* SPDX-License-Identifier: Apache-2.0 */
/* Machines that are formulas with errors the prediction does not know, for the searches to be tried on. */
#ifndef TEST_SEARCH_MACHINES_H
#define TEST_SEARCH_MACHINES_H

#include "base/base.h"
#include "o3/config.h"
#include "search/search.h"

#define MIB 1048576.0
#define GIB 1073741824.0

/* What a population of machines is drawn from. */
typedef struct population {
    double lie;           /* the formula's parts are wrong by up to this share; 0: by what good ones are */
    double reading_mib;   /* error of a reading of memory, uniform either way */
    double holes, cliffs; /* share of machines with a stretch that fails alone / an end that memory does not explain */
    double spills;        /* share with a GPU's spill below what memory allows */
} population;

typedef struct machine {
    o3_model *model;
    o3_profile *profile;
    o3_setting setting;
    double weights, kv, compute; /* factors of truth against formula */
    double offset_bytes, growth_bytes, reading_bytes;
    int64_t hole_from, hole_to, cliff, spill; /* 0 none */
    o3_rng rng;
} machine;

static inline double between(o3_rng *rng, double low, double high)
{
    return low + (high - low) * o3_rng_unit(rng);
}

static inline o3_estimate machine_formula(const machine *m, int64_t num_ctx)
{
    o3_estimate e;
    o3_calibration none = O3_CALIBRATION_NONE;
    o3_setting at = o3_setting_at(&m->setting, num_ctx);
    o3_predict(&e, m->profile, m->model, &at, &none);
    return e;
}

static inline double machine_bytes(const machine *m, int64_t num_ctx, bool filled)
{
    o3_estimate e = machine_formula(m, num_ctx);
    return m->weights * e.weights_bytes.mid + m->kv * e.kv_bytes.mid + e.output_bytes.mid + m->offset_bytes +
           (filled ? m->compute * e.compute_bytes.mid + m->growth_bytes : 0);
}

static inline double machine_room(const machine *m)
{
    return (double)o3_pool_room(m->profile, 0, false);
}

/* What has nothing to do with memory. */
static inline o3_outcome machine_quirk(const machine *m, int64_t num_ctx)
{
    if (m->hole_from && num_ctx >= m->hole_from && num_ctx < m->hole_to)
        return O3_OUTCOME_CRASH;
    if (m->cliff && num_ctx > m->cliff)
        return O3_OUTCOME_OOM_LOAD;
    if (m->spill && num_ctx > m->spill)
        return O3_OUTCOME_SPILLED;
    return O3_OUTCOME_OK;
}

static inline o3_outcome machine_load(const machine *m, int64_t num_ctx)
{
    o3_outcome quirk = machine_quirk(m, num_ctx);
    if (quirk != O3_OUTCOME_OK)
        return quirk;
    return machine_bytes(m, num_ctx, false) > machine_room(m) ? O3_OUTCOME_OVER_LIMIT : O3_OUTCOME_OK;
}

static inline bool machine_fits(const machine *m, int64_t num_ctx)
{
    return machine_load(m, num_ctx) == O3_OUTCOME_OK && machine_bytes(m, num_ctx, true) <= machine_room(m);
}

/* What is really the largest: from the top, because it need not be monotone. */
static inline int64_t machine_truth(const machine *m)
{
    int64_t low = 0, high = m->model->trained_tokens / O3_CTX_GRID;
    while (low < high) { /* memory alone is monotone */
        int64_t middle = (low + high + 1) / 2;
        if (machine_bytes(m, middle * O3_CTX_GRID, true) <= machine_room(m))
            low = middle;
        else
            high = middle - 1;
    }
    while (low > 0 && machine_quirk(m, low * O3_CTX_GRID) != O3_OUTCOME_OK)
        low--;
    return low * O3_CTX_GRID;
}

static inline void machine_free(machine *m)
{
    free(m->model);
    free(m->profile);
}

/* From 0.1B to 200B, windows from 8k to 256k, pools in which it is the training or the memory that ends them. */
static inline machine machine_draw(const population *p, uint64_t seed)
{
    static const int64_t trained[] = {8192, 32768, 40960, 131072, 262144};
    static const int kv_heads[] = {1, 2, 4, 8, 8, 8};
    machine m = {.model = o3_alloc(1, sizeof(o3_model)), .profile = o3_alloc(1, sizeof(o3_profile))};
    o3_rng *rng = &m.rng;
    o3_rng_seed(rng, seed, 5);
    o3_model *l = m.model;
    double parameters = 1e8 * pow(2000, o3_rng_unit(rng));
    int layers = 16 + (int)(8 * log2(parameters / 1e8)) + (int)o3_rng_below(rng, 8);
    int embedding = (int)(sqrt(parameters / layers / 12) / 64 + 1) * 64, heads = kv_heads[o3_rng_below(rng, 6)];
    *l = (o3_model){.layers = layers, .embedding = embedding, .heads = embedding / 128 + 1, .heads_kv = heads,
                    .ff = embedding * 3, .vocab = 32000 + (int)o3_rng_below(rng, 220000),
                    .weight_bytes = (int64_t)(parameters * between(rng, 0.55, 1.1)), .parameters = (int64_t)parameters,
                    .trained_tokens = trained[o3_rng_below(rng, 5)], .kv_exact = true};
    for (int i = 0; i < layers; i++)
        l->layer[i] = (o3_layer){.heads_kv = heads, .key_dim = 128, .value_dim = 128};
    m.setting = (o3_setting){.knobs = {O3_UNSET, 512, O3_UNSET, O3_UNSET, O3_UNSET}, .parallel = 1,
                             .kv_type = &o3_kv_types[0], .flash_attention = true, .era = O3_ERA_C};
    m.profile->usable_cpus = 8;
    m.profile->pool_count = 1;
    m.profile->pools[0] = (o3_pool){.name = "ram", .safe_bytes = INT64_MAX / 2};
    o3_estimate whole = machine_formula(&m, l->trained_tokens);
    double least = (double)l->weight_bytes + 400 * MIB, most = whole.total_bytes.high * 1.2;
    double safe = least + (most - least) * between(rng, 0.02, 1.0);
    m.profile->pools[0].safe_bytes = (int64_t)safe;
    m.profile->pools[0].total_bytes = (int64_t)(safe / 0.85);
    m.weights = 1 + between(rng, -1, 1) * (p->lie > 0 ? p->lie : 0.0005);
    m.kv = 1 + between(rng, -1, 1) * (p->lie > 0 ? p->lie : 0.003);
    m.compute = 1 + between(rng, -1, 1) * (p->lie > 0 ? p->lie : 0.01);
    m.offset_bytes = between(rng, 15, 55) * MIB;
    m.growth_bytes = between(rng, 0, 1) * MIB;
    m.reading_bytes = p->reading_mib * MIB;
    int64_t end = machine_truth(&m);
    if (o3_rng_unit(rng) < p->holes && end > 4 * O3_CTX_GRID) { /* anywhere, the end itself not excepted */
        m.hole_from = (int64_t)((double)end * between(rng, 0.5, 1)) / O3_CTX_GRID * O3_CTX_GRID;
        m.hole_to = m.hole_from + O3_CTX_GRID * (1 + o3_rng_below(rng, 6));
    }
    if (o3_rng_unit(rng) < p->cliffs)
        m.cliff = (int64_t)((double)end * between(rng, 0.3, 1));
    if (o3_rng_unit(rng) < p->spills)
        m.spill = (int64_t)((double)end * between(rng, 0.5, 1));
    return m;
}

typedef struct played {
    int64_t proven, truth;
    int loads, fills, iterations; /* the second proof is not among them; failed fills are */
    bool above_safe, unfinished;
    o3_ceiling ceiling;
} played;

static inline search_reading machine_read(machine *m, double bytes)
{
    search_reading read;
    for (int i = 0; i < O3_MEMORIES_MAX; i++)
        read.bytes[i] = NAN;
    read.bytes[0] = bytes + between(&m->rng, -1, 1) * m->reading_bytes;
    return read;
}

/* A fill that passes the limit is stopped there, as the monitor would. */
static inline played machine_play(machine *m, const search_strategy *strategy, const search_options *options)
{
    played out = {.truth = machine_truth(m)};
    search_ceiling s;
    o3_calibration none = O3_CALIBRATION_NONE;
    search_ceiling_start(&s, strategy, m->profile, m->model, &m->setting, options, &none);
    for (int64_t num_ctx; (num_ctx = search_ceiling_ask(&s)) > 0;) {
        if (++out.loads > 2000) {
            out.unfinished = true;
            break;
        }
        o3_outcome outcome = machine_load(m, num_ctx);
        double bytes = machine_bytes(m, num_ctx, false);
        search_reading read = machine_read(m, bytes);
        if (!search_ceiling_loaded(&s, outcome, "it failed", num_ctx, outcome == O3_OUTCOME_OK ? &read : NULL))
            continue;
        out.fills++;
        bytes = machine_bytes(m, num_ctx, true);
        bool over = bytes > machine_room(m);
        read = machine_read(m, over ? machine_room(m) : bytes);
        search_ceiling_filled(&s, over ? O3_OUTCOME_OVER_LIMIT : O3_OUTCOME_OK, over ? "over the limit" : "", &read);
    }
    search_ceiling_result(&s, &out.ceiling);
    out.proven = s.proven;
    out.iterations = s.iterations;
    out.above_safe = s.proven && !machine_fits(m, s.proven);
    return out;
}

#endif
