/* SPDX-License-Identifier: Apache-2.0 */
/* The race on simulated machines: how near the best of all combinations, how often luck wins, what it costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "search/race.h"

#define RACES 3000

typedef struct world {
    double gain[3][4];   /* ln of what value 1..3 of threads, batch, mmap does; [][0] the default's 0 */
    double noise, load;  /* share: of a sample, between loads */
    double drift;        /* ln per visit */
    bool heavy_tails;
    int threads;         /* values of num_thread; 0 = 3 */
    int visits, breaks;  /* breaks: index of a candidate that cannot be loaded; -1 none */
    o3_rng rng;
} world;

typedef struct outcome {
    int within, winners, undecided, trials_most;
    double trials;
} outcome;


static int values(const world *w, int axis)
{
    return axis == 0 ? (w->threads ? w->threads : 3) : axis == 1 ? 2 : 1;
}

static double between(o3_rng *rng, double low, double high)
{
    return low + (high - low) * o3_rng_unit(rng);
}

static double normal(o3_rng *rng)
{
    return stats_normal_quantile(between(rng, 1e-12, 1 - 1e-12));
}

/* Student's t with 3 degrees of freedom, scaled to a standard deviation of 1. */
static double error_of(world *w)
{
    if (!w->heavy_tails)
        return normal(&w->rng);
    double chi = 0, z = normal(&w->rng);
    for (int i = 0; i < 3; i++)
        chi += pow(normal(&w->rng), 2);
    return z / sqrt(chi / 3) / sqrt(3);
}

static double truth(const world *w, const o3_knobs *knobs)
{
    int threads = knobs->num_thread == O3_UNSET ? 0 : knobs->num_thread;
    int batch = knobs->num_batch == O3_UNSET ? 0 : knobs->num_batch / 256, mmap = knobs->use_mmap == O3_UNSET ? 0 : 1;
    return w->gain[0][threads] + w->gain[1][batch] + w->gain[2][mmap];
}

static int candidates_of(world *w, search_candidate *rows, double prior_error)
{
    int count = 0;
    o3_knobs base = O3_KNOBS_DEFAULT;
    base.num_ctx = 4096;
    rows[count++] = (search_candidate){.knobs = base, .prior_ratio = 1, .cost_s = NAN};
    for (int axis = 0; axis < 3; axis++)
        for (int value = 1; value <= values(w, axis); value++) {
            search_candidate c = {.knobs = base, .cost_s = NAN};
            *(axis == 0 ? &c.knobs.num_thread : axis == 1 ? &c.knobs.num_batch : &c.knobs.use_mmap) =
                axis == 0 ? value : axis == 1 ? 256 * value : 0;
            c.prior_ratio = isnan(prior_error) ? NAN : exp(w->gain[axis][value] + prior_error * normal(&w->rng));
            rows[count++] = c;
        }
    return count;
}

static void visit(world *w, search_race *r, int at, int samples)
{
    double decode[8], prefill[8], level = truth(w, &r->candidates[at].knobs) + w->load * normal(&w->rng) +
                                          w->drift * w->visits++;
    for (int i = 0; i < samples; i++) {
        decode[i] = 50 * exp(level) * fmax(0.02, 1 + w->noise * error_of(w));
        prefill[i] = 700 * exp(level) * fmax(0.02, 1 + w->noise * error_of(w));
    }
    if (at == w->breaks)
        search_race_tell(r, O3_OUTCOME_OOM_LOAD, "out of memory", NULL, 0, NULL, 0);
    else
        search_race_tell(r, O3_OUTCOME_OK, "", decode, samples, prefill, samples - 2);
}

static search_race_result race(world *w, search_race *r, double prior_error, search_weights weights)
{
    search_candidate rows[SEARCH_CANDIDATES_MAX];
    search_race_result result;
    search_race_start(r, rows, candidates_of(w, rows, prior_error), SEARCH_RACE_TRIALS, weights);
    for (int at; (at = search_race_ask(r)) >= 0;)
        visit(w, r, at, 5);
    search_race_result_of(r, &result);
    return result;
}

static outcome many(world shape, bool helps, double prior_error, search_weights weights)
{
    outcome out = {0};
    for (int i = 0; i < RACES; i++) {
        world w = shape;
        double best = 0;
        static search_race r;
        w.breaks = -1;
        o3_rng_seed(&w.rng, (uint64_t)i, helps);
        for (int axis = 0; axis < 3 && helps; axis++) {
            static const double low[] = {-0.5, -0.15, -0.05}, high[] = {0.3, 0.2, 0.05};
            double most = 0;
            for (int value = 1; value <= values(&w, axis); value++) {
                w.gain[axis][value] = between(&w.rng, low[axis], high[axis]);
                most = fmax(most, w.gain[axis][value]);
            }
            best += most; /* of all combinations, also those nobody listed */
        }
        search_race_result result = race(&w, &r, prior_error, weights);
        out.within += exp(truth(&w, &r.candidates[result.best].knobs) - best) >= 0.97;
        out.winners += result.verdict == O3_RACE_WINNER;
        out.undecided += result.verdict == O3_RACE_UNDECIDED;
        out.trials += (double)result.trials / RACES;
        out.trials_most = result.trials > out.trials_most ? result.trials : out.trials_most;
    }
    print_message("# noise %.0f %%%s%s: within 3 %% of the best %.1f %%, winners %.1f %%, undecided %.1f %%, "
                  "%.1f trials\n", 100 * shape.noise, shape.heavy_tails ? ", heavy tails" : "",
                  helps ? "" : ", nothing helps", 100.0 * out.within / RACES, 100.0 * out.winners / RACES,
                  100.0 * out.undecided / RACES, out.trials);
    assert_in_range(out.trials_most, 2, SEARCH_RACE_TRIALS);
    return out;
}

static const search_weights even = {0.5, 0.5}, decode_only = {1, 0};

static void near_the_best(void **state)
{
    (void)state;
    for (double noise = 0.01; noise < 0.031; noise += 0.01) {
        world w = {.noise = noise, .load = 0.003};
        assert_true(many(w, true, 0.1, even).within >= 0.95 * RACES);
        assert_true(many(w, true, 0.1, decode_only).within >= 0.95 * RACES);
    }
}

static void without_a_prior(void **state)
{
    (void)state;
    world w = {.noise = 0.02, .load = 0.003, .threads = 2}; /* as many values as there are trials to explore them */
    assert_true(many(w, true, NAN, even).within >= 0.95 * RACES);
}

/* When nothing helps, luck wins at most as often as was said; also where noise is large, tails are heavy, loads differ
 * among themselves or the machine gets slower all the time. */
static void no_false_winners(void **state)
{
    (void)state;
    static const world shapes[] = {
        {.noise = 0.01, .load = 0.003}, {.noise = 0.03, .load = 0.003},   {.noise = 0.2, .load = 0.003},
        {.noise = 0.03, .load = 0.03},  {.noise = 0.03, .drift = -0.005}, {.noise = 0.2, .heavy_tails = true},
        {.noise = 0.2, .load = 0.05, .heavy_tails = true},
    };
    for (int i = 0; i < O3_COUNT(shapes); i++)
        assert_true(many(shapes[i], false, 0.1, even).winners <= 0.05 * RACES);
}

/* Noise in which nothing can be told: that is said, and the default stays. */
static void noise_is_said(void **state)
{
    (void)state;
    outcome out = many((world){.noise = 0.2, .load = 0.02}, false, NAN, even);
    assert_true(out.undecided > 0.3 * RACES);
    out = many((world){.noise = 0.005}, false, NAN, even);
    assert_true(out.undecided < 0.05 * RACES);
}

static void the_default_comes_first_and_a_loser_is_dropped(void **state)
{
    (void)state;
    static search_race r;
    search_candidate rows[SEARCH_CANDIDATES_MAX];
    world w = {.noise = 0.002, .gain = {{0, -0.5, 0.1, -0.4}, {0, -0.1, -0.1}, {0, -0.1}}, .breaks = -1};
    o3_rng_seed(&w.rng, 1, 0);
    search_race_start(&r, rows, candidates_of(&w, rows, 0.001), SEARCH_RACE_TRIALS, even);
    int seen[SEARCH_CANDIDATES_MAX] = {0}, first = search_race_ask(&r);
    assert_int_equal(first, 0);
    assert_int_equal(search_race_ask(&r), 0); /* asking again without an answer changes nothing */
    for (int at = first; at >= 0; at = search_race_ask(&r)) {
        seen[at]++;
        visit(&w, &r, at, 5);
    }
    assert_int_equal(seen[2], 4); /* looked at once, confirmed three times */
    assert_int_equal(r.candidates[2].knobs.num_thread, 2);
    assert_true(seen[1] + seen[3] <= 2);
    search_race_result result;
    search_race_result_of(&r, &result);
    assert_int_equal(result.verdict, O3_RACE_WINNER);
    assert_int_equal(result.best, 2);
    assert_true(result.gain.low > 1.08 && result.gain.high < 1.13); /* exp(0.1) */
    assert_non_null(strstr(result.why, "taken"));
}

/* Two against two show a gain of half; what that saves goes to the other values. */
static void a_large_gain_leaves_visits_to_explore(void **state)
{
    (void)state;
    static search_race r;
    world w = {.noise = 0.005, .gain = {{0, 0.4, 0.35, -0.4}, {0, -0.1, 0.05}, {0, -0.1}}, .breaks = -1};
    o3_rng_seed(&w.rng, 1, 0);
    search_race_result result = race(&w, &r, 0.001, even);
    assert_int_equal(result.verdict, O3_RACE_WINNER);
    assert_int_equal(r.candidates[result.best].fresh_visits + r.candidates[0].fresh_visits, SEARCH_RACE_FRESH_MIN);
    for (int i = 0; i < r.count; i++)
        assert_true(r.candidates[i].visits > 0 || i == result.best); /* nothing was left out */
    assert_int_equal(r.candidates[result.best].knobs.num_thread, 1);
    assert_int_equal(r.candidates[result.best].knobs.num_batch, 512);
}

static void what_cannot_be_loaded_is_no_winner(void **state)
{
    (void)state;
    static search_race r;
    world w = {.noise = 0.01, .gain = {{0, 0.3, 0, 0}, {0, 0.2, 0}, {0}}, .breaks = 1};
    search_race_result result = race(&w, &r, 0.001, even);
    assert_int_equal(r.candidates[1].standing, SEARCH_STANDING_FAILED);
    assert_non_null(strstr(r.candidates[1].reason, "out of memory"));
    assert_int_equal(result.verdict, O3_RACE_WINNER);
    assert_int_equal(r.candidates[result.best].knobs.num_batch, 256);
    assert_int_equal(r.candidates[result.best].knobs.num_thread, O3_UNSET);

    w.breaks = 0; /* the default itself */
    w.visits = 0;
    result = race(&w, &r, 0.001, even);
    assert_int_equal(result.verdict, O3_RACE_FALLBACK);
    assert_int_equal(r.candidates[result.best].knobs.num_thread, 1);
    assert_non_null(strstr(result.why, "out of memory"));
}

static bool never(void *ctx, const o3_knobs *knobs)
{
    (void)ctx;
    (void)knobs;
    return false;
}

/* The best value of each knob together; where they may not be loaded together, the best one alone. */
static void combinations(void **state)
{
    (void)state;
    for (int allowed = 0; allowed < 2; allowed++) {
        static search_race r;
        search_candidate rows[SEARCH_CANDIDATES_MAX];
        world w = {.noise = 0.01, .gain = {{0, 0.1, 0, 0}, {0, 0.2, 0}, {0}}, .breaks = -1};
        o3_rng_seed(&w.rng, 4, 0);
        search_race_start(&r, rows, candidates_of(&w, rows, NAN), SEARCH_RACE_TRIALS, even);
        r.fits = allowed ? NULL : never;
        for (int at; (at = search_race_ask(&r)) >= 0;)
            visit(&w, &r, at, 5);
        search_race_result result;
        search_race_result_of(&r, &result);
        assert_int_equal(result.verdict, O3_RACE_WINNER);
        assert_int_equal(r.candidates[result.best].knobs.num_batch, 256);
        assert_int_equal(r.candidates[result.best].knobs.num_thread, allowed ? 1 : O3_UNSET);
    }
}

/* Rates that are zero, negative, infinite or absent are missing; a visit of nothing else says so. */
static void impossible_rates(void **state)
{
    (void)state;
    static search_race r;
    world w = {.breaks = -1};
    search_candidate rows[SEARCH_CANDIDATES_MAX];
    search_race_start(&r, rows, candidates_of(&w, rows, NAN), SEARCH_RACE_TRIALS, even);
    double bad[] = {0, -3, NAN, INFINITY}, good[] = {50, 51, 0, 49, NAN};
    assert_int_equal(search_race_ask(&r), 0);
    search_race_tell(&r, O3_OUTCOME_OK, "", good, 5, good, 5);
    assert_int_equal(r.candidates[0].standing, SEARCH_STANDING_RUNNING);
    int at = search_race_ask(&r);
    search_race_tell(&r, O3_OUTCOME_OK, "", bad, 4, good, 5);
    assert_int_equal(r.candidates[at].standing, SEARCH_STANDING_FAILED);
    search_race_result result;
    search_race_result_of(&r, &result);
    assert_int_equal(result.verdict, O3_RACE_NOT_RUN);
    assert_int_equal(result.best, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_the_best), cmocka_unit_test(without_a_prior), cmocka_unit_test(no_false_winners),
        cmocka_unit_test(noise_is_said), cmocka_unit_test(the_default_comes_first_and_a_loser_is_dropped),
        cmocka_unit_test(a_large_gain_leaves_visits_to_explore),
        cmocka_unit_test(what_cannot_be_loaded_is_no_winner), cmocka_unit_test(combinations),
        cmocka_unit_test(impossible_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
