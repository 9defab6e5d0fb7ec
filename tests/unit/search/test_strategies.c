/* SPDX-License-Identifier: Apache-2.0 */
/* The strategies on thousands of machines that are formulas with errors: what a ceiling costs and whether it is
 * one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "machines.h"

#define PAIRS 1000

typedef struct tally {
    int loads[PAIRS], fills[PAIRS], iterations[PAIRS]; /* the second proof, one load and one fill, included */
    int pairs, exact, above_safe, empty, unfinished;
} tally;

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int quantile(int *values, int count, double share)
{
    qsort(values, (size_t)count, sizeof(*values), ascending);
    return values[(int)(share * (count - 1))];
}

static void run(const char *strategy, const population *drawn, const search_options *options, int pairs, tally *t)
{
    *t = (tally){.pairs = pairs};
    for (int i = 0; i < pairs; i++) {
        machine m = machine_draw(drawn, (uint64_t)i);
        played p = machine_play(&m, search_strategy_find(strategy), options);
        t->loads[i] = p.loads + (p.proven > 0);
        t->fills[i] = p.fills + (p.proven > 0);
        t->iterations[i] = p.iterations;
        t->exact += p.proven >= p.truth - O3_CTX_GRID;
        t->above_safe += p.above_safe;
        t->empty += p.proven == 0 && p.truth > 0;
        t->unfinished += p.unfinished;
        machine_free(&m);
    }
    print_message("# %s: loads %d, p95 %d; fills %d, p95 %d; iterations p95 %d; exact or one below %.2f %%\n", strategy,
                  quantile(t->loads, pairs, 0.5), quantile(t->loads, pairs, 0.95), quantile(t->fills, pairs, 0.5),
                  quantile(t->fills, pairs, 0.95), quantile(t->iterations, pairs, 0.95), 100.0 * t->exact / pairs);
    assert_int_equal(t->above_safe, 0);
    assert_int_equal(t->unfinished, 0);
}

static const search_options usual = {.max_iterations = 7, .initial_probe = 262144, .factor = 1.3, .seed = 1};

static void good_predictions(void **state)
{
    (void)state;
    static const population drawn[] = {{0}, {.reading_mib = 1}};
    for (int i = 0; i < O3_COUNT(drawn); i++) {
        static tally t;
        run("predictive", &drawn[i], &usual, PAIRS, &t);
        assert_in_range(quantile(t.loads, t.pairs, 0.5), 1, 2);
        assert_in_range(quantile(t.loads, t.pairs, 0.95), 1, 4);
        assert_in_range(quantile(t.fills, t.pairs, 0.95), 1, 3);
        assert_in_range(quantile(t.iterations, t.pairs, 1), 1, 5);
        assert_true(t.exact >= 0.99 * t.pairs);
        assert_int_equal(t.empty, 0);
    }
}

static void lying_predictions(void **state)
{
    (void)state;
    static tally t;
    run("predictive", &(population){.lie = 0.3}, &usual, PAIRS, &t);
    assert_in_range(quantile(t.loads, t.pairs, 0.95), 1, 9);
    assert_in_range(quantile(t.fills, t.pairs, 0.95), 1, 6);
    assert_true(t.exact >= 0.95 * t.pairs);
    assert_true(t.empty <= 0.005 * t.pairs);
}

static void holes(void **state)
{
    (void)state;
    static tally t;
    run("predictive", &(population){.holes = 1}, &usual, PAIRS, &t);
    assert_true(t.exact >= 0.98 * t.pairs);
    assert_int_equal(t.empty, 0);
}

/* An end far below what memory allows costs loads, never more than it may, and few fills. */
static void ends_that_memory_does_not_explain(void **state)
{
    (void)state;
    static const population drawn[] = {{.cliffs = 1}, {.spills = 1}, {.lie = 0.3, .cliffs = 0.3, .holes = 0.3}};
    for (int i = 0; i < O3_COUNT(drawn); i++) {
        static tally t;
        run("predictive", &drawn[i], &usual, 500, &t);
        assert_in_range(quantile(t.loads, t.pairs, 1), 1, usual.max_iterations + 3);
        assert_in_range(quantile(t.fills, t.pairs, 0.95), 1, 6);
        assert_true(t.empty <= 0.02 * t.pairs);
    }
}

/* What predictive is measured against finds what it finds at its own price; exhaustive is the truth. */
static void baselines(void **state)
{
    (void)state;
    search_options blind = usual;
    blind.blind = true;
    static tally predictive, binary, linear, sparse, all;
    population drawn = {0};
    run("predictive", &drawn, &usual, 500, &predictive);
    run("binary_search", &drawn, &blind, 500, &binary);
    run("linear", &drawn, &blind, 500, &linear);
    run("random", &drawn, &blind, 500, &sparse);
    run("exhaustive", &drawn, &blind, 50, &all);
    assert_int_equal(all.exact, 50);
    assert_true(quantile(predictive.loads, 500, 0.5) < quantile(binary.loads, 500, 0.5));
    assert_true(quantile(binary.loads, 500, 0.95) < quantile(linear.loads, 500, 0.95));
    assert_true(predictive.exact > binary.exact && predictive.exact > linear.exact && predictive.exact > sparse.exact);
    assert_in_range(quantile(binary.iterations, 500, 1), 1, usual.max_iterations * 2 + 1);
    assert_int_equal(binary.empty + linear.empty + sparse.empty, 0);
    /* With memory known they go no higher than what is certain to break a limit. */
    run("binary_search", &drawn, &usual, 500, &binary);
    assert_in_range(quantile(binary.loads, 500, 0.95), 1, 9);
}

static machine roomy(int64_t trained)
{
    static const population drawn = {0};
    machine m = machine_draw(&drawn, 3);
    m.model->trained_tokens = trained;
    m.profile->pools[0].safe_bytes = (int64_t)(2000 * GIB);
    m.hole_from = m.cliff = m.spill = 0;
    return m;
}

/* The seed's keys are obeyed: the first probe, the factor, the number of loads. */
static void binary_search_keys(void **state)
{
    (void)state;
    machine m = roomy(262144);
    search_ceiling s;
    o3_calibration none = O3_CALIBRATION_NONE;
    search_options options = {.max_iterations = 4, .initial_probe = 65536, .factor = 1.5, .blind = true};
    search_ceiling_start(&s, search_strategy_find("binary_search"), m.profile, m.model, &m.setting, &options, &none);
    assert_int_equal(search_ceiling_ask(&s), 65536);
    assert_false(search_ceiling_loaded(&s, O3_OUTCOME_OK, "", 65536, NULL));
    assert_int_equal(search_ceiling_ask(&s), 98304);
    assert_false(search_ceiling_loaded(&s, O3_OUTCOME_OOM_LOAD, "out of memory", -1, NULL));
    assert_int_equal(search_ceiling_ask(&s), 81920); /* the middle */
    assert_false(search_ceiling_loaded(&s, O3_OUTCOME_OOM_LOAD, "out of memory", -1, NULL));
    assert_int_equal(search_ceiling_ask(&s), 73728);
    assert_false(search_ceiling_loaded(&s, O3_OUTCOME_OK, "", 73728, NULL));
    assert_int_equal(search_ceiling_ask(&s), 73728); /* four loads: now what loaded is filled */
    assert_true(search_ceiling_loaded(&s, O3_OUTCOME_OK, "", 73728, NULL));
    search_ceiling_filled(&s, O3_OUTCOME_OK, "", NULL);
    assert_int_equal(search_ceiling_ask(&s), 0);
    o3_ceiling ceiling;
    search_ceiling_result(&s, &ceiling);
    assert_int_equal(ceiling.proven_tokens, 73728);
    assert_int_equal(ceiling.iterations, 5);
    assert_int_equal(ceiling.next_num_ctx, 81920);
    machine_free(&m);
}

static void names(void **state)
{
    (void)state;
    for (int i = 0; search_strategy_names[i]; i++)
        assert_string_equal(search_strategy_name(search_strategy_find(search_strategy_names[i])),
                            search_strategy_names[i]);
    assert_null(search_strategy_find("bisect"));
    o3_config config;
    o3_config_defaults(&config);
    assert_non_null(search_strategy_find(config.search_strategy.context_discovery));
    search_options options = search_options_of(&config, 7);
    assert_int_equal(options.initial_probe, config.search_strategy.initial_context_probe);
    assert_int_equal(options.max_iterations, config.search_strategy.max_binary_iterations);
    assert_false(options.blind);
}

/* Where the server spills what should fit, asking for every layer is another point, and the search comes back. */
static void placement(void **state)
{
    (void)state;
    machine m = roomy(8192);
    m.profile->gpu_count = 1;
    m.profile->gpus[0].pool = 0;
    search_options options = usual;
    options.move_placement = true;
    o3_calibration none = O3_CALIBRATION_NONE;
    for (int works = 0; works < 2; works++) {
        search_ceiling s;
        search_ceiling_start(&s, search_strategy_find("predictive"), m.profile, m.model, &m.setting, &options, &none);
        s.spill_expected = false;
        int64_t asked = search_ceiling_ask(&s);
        assert_false(search_ceiling_loaded(&s, O3_OUTCOME_SPILLED, "spilled", asked, NULL));
        assert_int_equal(search_ceiling_ask(&s), asked);
        assert_int_equal(s.setting.knobs.num_gpu, m.model->layers + 1);
        bool fill = search_ceiling_loaded(&s, works ? O3_OUTCOME_OK : O3_OUTCOME_OOM_LOAD, "out of memory", asked, NULL);
        assert_int_equal(fill, works);
        if (works) {
            search_ceiling_filled(&s, O3_OUTCOME_OK, "", NULL);
            assert_int_equal(s.proven, asked);
            assert_int_equal(s.setting.knobs.num_gpu, m.model->layers + 1);
        } else {
            assert_in_range(search_ceiling_ask(&s), 256, asked - 256);
            assert_int_equal(s.setting.knobs.num_gpu, O3_UNSET);
        }
    }
    machine_free(&m);
}

/* Whatever a server answers, a search ends, stays on the grid, and does not offer again what failed. */
static void any_answers_end(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        machine m = roomy(65536);
        search_ceiling s;
        o3_calibration none = O3_CALIBRATION_NONE;
        o3_rng_seed(&m.rng, seed, 9);
        m.profile->pools[0].safe_bytes = m.model->weight_bytes + (int64_t)(between(&m.rng, 0.1, 60) * GIB);
        const char *name = search_strategy_names[seed % 5];
        search_options options = usual;
        options.blind = o3_rng_below(&m.rng, 2);
        search_ceiling_start(&s, search_strategy_find(name), m.profile, m.model, &m.setting, &options, &none);
        int64_t failed[1024], asked;
        int asks = 0, failures = 0;
        while ((asked = search_ceiling_ask(&s)) > 0) {
            assert_in_range(asked, 256, 65536);
            assert_int_equal(asked % 256, 0);
            assert_true(++asks < 600);
            for (int i = 0; i < failures; i++)
                assert_int_not_equal(asked, failed[i]);
            o3_outcome outcome = o3_rng_below(&m.rng, 2) ? O3_OUTCOME_OK : (o3_outcome)(2 + o3_rng_below(&m.rng, 17));
            int64_t given = outcome == O3_OUTCOME_CLAMPED ? (int64_t)o3_rng_below(&m.rng, 70000) : asked;
            search_reading taken = machine_read(&m, between(&m.rng, 0, 80) * GIB);
            const search_reading *read = o3_rng_below(&m.rng, 4) ? &taken : NULL;
            bool fill = search_ceiling_loaded(&s, outcome, "no", given, read);
            if (search_effect_of(outcome) > SEARCH_FITS && search_effect_of(outcome) < SEARCH_NOTHING)
                failed[failures++] = asked;
            else if (outcome == O3_OUTCOME_OK && (fill && o3_rng_below(&m.rng, 2)))
                failed[failures++] = asked;
            bool broke = failures && failed[failures - 1] == asked;
            if (fill)
                search_ceiling_filled(&s, broke ? O3_OUTCOME_OOM_RUN : O3_OUTCOME_OK, "no", read);
            if (o3_rng_below(&m.rng, 20) == 0 && search_ceiling_ask(&s) > 0)
                search_ceiling_budget(&s, s.asked / 2 / 256 * 256, "no time");
        }
        o3_ceiling ceiling;
        search_ceiling_result(&s, &ceiling);
        assert_true(ceiling.proven_tokens <= 65536 && ceiling.iterations <= asks + 600);
        machine_free(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_predictions), cmocka_unit_test(lying_predictions), cmocka_unit_test(holes),
        cmocka_unit_test(ends_that_memory_does_not_explain), cmocka_unit_test(baselines),
        cmocka_unit_test(binary_search_keys), cmocka_unit_test(names), cmocka_unit_test(placement),
        cmocka_unit_test(any_answers_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
