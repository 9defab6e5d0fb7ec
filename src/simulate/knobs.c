/* SPDX-License-Identifier: Apache-2.0 */
/* What the knobs do to speed on a simulated machine: threads that saturate memory early or fight over cores, batches
 * that keep the arithmetic units busy, weights that are mapped or read. In some pairs the server starts with a wrong
 * number of threads, in some nothing that can be set is better than what it does by itself. */
#include "simulate_impl.h"

#define HELPLESS 0.4       /* share of the pairs in which the default is the best there is */
#define WRONG_THREADS 0.3  /* of the others: started with LLAMA_ARG_THREADS that do not fit the machine */
#define BATCH_PINNED 512.0

static double drawn(o3_rng *rng, double low, double high)
{
    return low + (high - low) * o3_rng_unit(rng);
}

void sim_knobs_draw(sim_truth *t, o3_rng *rng)
{
    sim_knobs *k = &t->knobs;
    double usable = t->profile->usable_cpus;
    *k = (sim_knobs){.helpless = o3_rng_unit(rng) < HELPLESS, .threads = usable, .saturated = usable, .crowd = drawn(rng, 0.02, 0.3),
                     .batch_half = 0, .mapped = 1};
    bool wrong = o3_rng_unit(rng) < WRONG_THREADS;
    double threads = o3_rng_unit(rng) < 0.6 ? 2 * usable : fmax(1, floor(usable / 2)), saturated = drawn(rng, 0.3, 1.2) * usable;
    double half = exp(drawn(rng, log(4), log(300))), mapped = fmin(drawn(rng, 0.98, 1.06), drawn(rng, 0.98, 1.06));
    if (k->helpless)
        return;
    k->threads = wrong ? threads : usable;
    k->saturated = fmin(usable, fmax(1, saturated));
    k->batch_half = half;
    k->mapped = mapped;
}

/* What the server's environment shows of it. */
void sim_knobs_tell(const sim_truth *t, o3_profile *profile)
{
    if (t->knobs.threads != profile->usable_cpus)
        O3_FORMAT(profile->engine_env, "LLAMA_ARG_THREADS=%.0f\n", t->knobs.threads);
}

/* Of n threads, in units of one core's work. */
static double threads_speed(const sim_knobs *k, double usable, double n, bool decode)
{
    double useful = fmin(n, decode ? k->saturated : usable), beyond = fmax(0, n - usable) / usable;
    double idle = decode ? fmax(0, fmin(n, usable) - k->saturated) / usable : 0;
    return useful * (1 - k->crowd * 0.5 * idle) / (1 + beyond * (1 + 4 * k->crowd));
}

static double batch_speed(const sim_knobs *k, double batch)
{
    return batch / (batch + k->batch_half);
}

double sim_knobs_speed(const sim_truth *t, const o3_knobs *knobs, double tokens)
{
    bool decode = tokens <= 1;
    const sim_knobs *k = &t->knobs;
    double usable = t->profile->usable_cpus, threads = knobs->num_thread > 0 ? knobs->num_thread : k->threads;
    bool on_host = t->profile->gpu_count == 0 || t->spills_always;
    double speed = knobs->use_mmap == (t->profile->gpu_count == 0) ? k->mapped : 1; /* what the default is not */
    if (on_host)
        speed *= threads_speed(k, usable, threads, decode) / threads_speed(k, usable, usable, decode);
    if (!decode)
        speed *= batch_speed(k, fmin(tokens, knobs->num_batch > 0 ? knobs->num_batch : BATCH_PINNED)) / batch_speed(k, BATCH_PINNED);
    return speed;
}

/* What the race compares, at the prompt it was run with and without any noise. */
static double score(const sim_truth *t, const o3_race *race, const o3_knobs *knobs)
{
    double depth = (double)race->prompt_tokens;
    double decode = sim_knobs_speed(t, knobs, 1) / sim_decode_s(t, depth);
    double prefill = sim_knobs_speed(t, knobs, depth) * depth / sim_prefill_s(t, 0, depth);
    return pow(decode, race->decode_weight) * pow(prefill, 1 - race->decode_weight);
}

static double score_at(const sim_truth *t, const o3_race *race, o3_knobs knobs)
{
    knobs.num_ctx = (int32_t)race->num_ctx;
    return score(t, race, &knobs);
}

/* The best of every combination that is safe at the race's window. */
static double best_score(const sim_truth *t, const o3_race *race)
{
    static const int32_t batches[] = {64, 128, 256, 512, 1024, 2048}, maps[] = {O3_UNSET, 0, 1};
    double best = 0, usable = t->profile->usable_cpus;
    for (int b = 0; b < O3_COUNT(batches); b++) {
        o3_knobs at = {.num_ctx = (int32_t)race->num_ctx, .num_batch = batches[b], .num_gpu = O3_UNSET,
                       .num_thread = O3_UNSET, .use_mmap = O3_UNSET};
        if (batches[b] > (int32_t)BATCH_PINNED && !sim_truth_safe(t, &at))
            continue;
        for (int m = 0; m < O3_COUNT(maps); m++)
            for (int32_t threads = 0; threads <= (int32_t)usable; threads++) {
                at.use_mmap = maps[m];
                at.num_thread = threads ? threads : O3_UNSET;
                best = fmax(best, score(t, race, &at));
            }
    }
    return best;
}

void sim_knobs_judge(const sim_truth *t, const o3_race *race, sim_run *run)
{
    o3_knobs start = O3_KNOBS_DEFAULT;
    run->knob_regret = run->knob_visits = NAN;
    run->raced = race->verdict != O3_RACE_NOT_RUN;
    if (!run->raced)
        return;
    double unset = score_at(t, race, start), chosen = score_at(t, race, race->knobs);
    run->knob_regret = fmax(0, 1 - chosen / best_score(t, race));
    run->knob_visits = race->visits;
    run->helpless = t->knobs.helpless;
    run->false_winner = race->verdict == O3_RACE_WINNER && chosen <= unset;
    run->gain_known = isfinite(race->gain_low) && isfinite(race->gain_high);
    double gain = score_at(t, race, race->finalist) / unset;
    run->gain_covered = run->gain_known && gain >= race->gain_low && gain <= race->gain_high;
}
