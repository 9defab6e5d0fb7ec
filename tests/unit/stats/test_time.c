/* SPDX-License-Identifier: Apache-2.0 */
/* What happens while samples are taken: warm-up, drift, marks, and when to stop. */
#include "stats_test.h"

static void series(void **state)
{
    (void)state;
    for (int i = 0; i < O3_COUNT(expected_series); i++) {
        const struct expected_series *e = &expected_series[i];
        stats_steady steady = stats_steady_find(e->x, e->n, STATS_WARMUP_ALPHA);
        stats_drift drift = stats_drift_find(NULL, e->x, e->n);
        char what[32];
        O3_FORMAT(what, "series %d", i);
        near_rel(steady.p, e->warmup_p, 1e-7, what);
        assert_int_equal(steady.warmup, e->warmup);
        near_rel(drift.tau, e->tau, 1e-12, what);
        near_rel(drift.p, e->p, 1e-8, what);
        near_rel(drift.change_frac, e->change, 1e-9, what);
        assert_int_equal(drift.n, e->n);
    }
}

static void series_of_little(void **state)
{
    (void)state;
    const double three[] = {1, 9, 9}, holes[] = {NAN, 181, NAN, 268, 262, 271, 266, 259, 270, 265};
    assert_true(isnan(stats_steady_find(three, 3, 0.01).p) && stats_steady_find(three, 3, 0.01).warmup == 0);
    assert_int_equal(stats_steady_find(holes, 10, 0.01).warmup, 2); /* as places of the array */
    assert_true(isnan(stats_drift_find(NULL, three, 2).p) && isnan(stats_drift_find(NULL, three, 2).tau));
    const double up[] = {1, 2, 3, 4, 5}, at[] = {0, 1, 2, 3, 100}, late[] = {0, 1, NAN, 3, 100};
    near_rel(stats_drift_find(NULL, up, 5).change_frac, 4.0 / 3, 1e-12, "slope over the span");
    assert_true(stats_drift_find(at, up, 5).p < 0.017 && stats_drift_find(at, up, 5).n == 5);
    assert_int_equal(stats_drift_find(late, up, 5).n, 4);
    double falling[300];
    for (int i = 0; i < 300; i++)
        falling[i] = 1000 - i;
    stats_drift drift = stats_drift_find(NULL, falling, 300); /* looks at the first STATS_MAX */
    assert_true(drift.n == STATS_MAX && drift.tau <= -1 && drift.p < 1e-12);
    near_rel(drift.change_frac, -255 / 872.5, 1e-9, "more than 64 samples");
}

static void clean_samples_stay(void **state)
{
    (void)state;
    const int sizes[] = {5, 8, 12, 20, 40};
    for (int s = 0; s < O3_COUNT(sizes); s++) {
        int cut = 0, drifting = 0, covered = 0, steady_said = 0;
        o3_rng rng;
        o3_rng_seed(&rng, 31, (uint64_t)s);
        for (int run = 0; run < DRAWS; run++) {
            double x[40];
            for (int i = 0; i < sizes[s]; i++)
                x[i] = 100 + 4 * normal_draw(&rng);
            stats_steady steady = stats_steady_find(x, sizes[s], STATS_WARMUP_ALPHA);
            cut += steady.warmup > 0;
            steady_said += steady.steady;
            drifting += stats_drift_find(NULL, x, sizes[s]).p <= 0.05;
            stats_interval t = stats_t_interval(x + steady.warmup, sizes[s] - steady.warmup, 0.95);
            covered += t.low <= 100 && 100 <= t.high;
        }
        print_message("# clean, n %d: cut %.4f, called steady %.3f\n", sizes[s], (double)cut / DRAWS,
                      (double)steady_said / DRAWS);
        assert_share(cut, 0, 0.01 + 0.004, "clean samples cut");
        assert_share(steady_said, 0.93, 1, "steady");
        assert_share(drifting, 0.01, 0.05 + 0.007, "drift where there is none");
        assert_share(covered, 0.93, 0.97, "interval of the steady part");
    }
}

/* First requests that lose 40, 20, 10 % at 3 % noise: found, and what is left of the bias is small. */
static void warmups_are_found(void **state)
{
    (void)state;
    int found = 0, short_of = 0, steady_said = 0;
    double raw = 0, cleaned = 0, cut = 0;
    o3_rng rng;
    o3_rng_seed(&rng, 32, 0);
    for (int run = 0; run < DRAWS; run++) {
        const double lost[] = {0.4, 0.2, 0.1};
        double x[16];
        for (int i = 0; i < 16; i++)
            x[i] = 100 * (1 - (i < 3 ? lost[i] : 0)) + 3 * normal_draw(&rng);
        stats_steady steady = stats_steady_find(x, 16, STATS_WARMUP_ALPHA);
        found += steady.warmup > 0;
        short_of += steady.warmup < 2; /* a third request that lost 10 % may pass, the second not */
        cut += (double)steady.warmup / DRAWS;
        steady_said += steady.steady;
        raw += (stats_mean(x, 16) - 100) / DRAWS;
        cleaned += (stats_mean(x + steady.warmup, 16 - steady.warmup) - 100) / DRAWS;
    }
    print_message("# warm-up of 3 found %.3f, %.1f cut, bias %.2f %% -> %.2f %%\n", (double)found / DRAWS, cut, raw,
                  cleaned);
    assert_share(found, 0.99, 1, "warm-up found");
    assert_share(short_of, 0, 0.01, "cut too early");
    assert_true(cut >= 2.5 && cut <= 4.5);
    assert_share(steady_said, 0.85, 1, "steady afterwards");
    assert_true(raw < -4 && fabs(cleaned) < 0.5);
}

static void never_steady(void **state)
{
    (void)state;
    int steady_said = 0, drifting = 0;
    o3_rng rng;
    o3_rng_seed(&rng, 33, 0);
    for (int run = 0; run < DRAWS; run++) { /* a machine that grows hot: 20 % over 16 samples, 2 % noise */
        double x[16];
        for (int i = 0; i < 16; i++)
            x[i] = 100 - 20.0 * i / 15 + 2 * normal_draw(&rng);
        steady_said += stats_steady_find(x, 16, STATS_WARMUP_ALPHA).steady;
        drifting += stats_drift_find(NULL, x, 16).p <= 0.05;
    }
    assert_share(steady_said, 0, 0.02, "steady while it falls");
    assert_share(drifting, 0.99, 1, "drift found");
}

static void adaptive_rows(void **state)
{
    (void)state;
    for (int i = 0; i < O3_COUNT(expected_adaptive); i++) {
        const struct expected_adaptive *e = &expected_adaptive[i];
        stats_adaptive s;
        stats_adaptive_start(&s, e->precision ? &stats_rule_measure : &stats_rule_compare);
        for (int k = 0; stats_adaptive_ask(&s) > 0; k++)
            stats_adaptive_tell(&s, e->x[k]);
        char what[32];
        O3_FORMAT(what, "adaptive %d", i);
        assert_int_equal(s.stop, e->stop);
        assert_int_equal(s.n, e->n);
        near_rel(1 + s.interval.low, 1 + e->low, 1e-9, what);
        near_rel(1 + s.interval.high, 1 + e->high, 1e-9, what);
    }
}

static void adaptive_asks(void **state)
{
    (void)state;
    stats_adaptive s;
    int attempts = 0;
    stats_adaptive_start(&s, &stats_rule_measure);
    assert_int_equal(stats_adaptive_ask(&s), 5);
    assert_true(isnan(s.interval.mid));
    stats_adaptive_tell(&s, 10);
    stats_adaptive_tell(&s, NAN);
    assert_int_equal(stats_adaptive_ask(&s), 4);
    for (; stats_adaptive_ask(&s) > 0; attempts++)
        stats_adaptive_tell(&s, NAN); /* nothing but failures ends, too */
    assert_int_equal(attempts, 38);
    assert_int_equal(s.stop, STATS_CAP);
    stats_adaptive_tell(&s, 10); /* after the end nothing changes */
    assert_true(s.n == 1 && s.attempts == 40);
    stats_adaptive_start(&s, &stats_rule_measure);
    while (stats_adaptive_ask(&s) > 0)
        stats_adaptive_tell(&s, 0); /* a mean of 0 with no spread is precise, not endless */
    assert_true(s.stop == STATS_PRECISE && s.n == 5);
    const stats_rule unusable[] = {{.looks = 0, .alpha = 0.05}, {.looks = 2, .at = {5, 5}, .alpha = 0.05},
                                   {.looks = 1, .at = {1}, .alpha = 0.05}, {.looks = 1, .at = {5}, .alpha = 0},
                                   {.looks = STATS_LOOKS_MAX + 1, .at = {2, 3, 4, 5, 6, 7, 8, 9}, .alpha = 0.05}};
    for (int i = 0; i < O3_COUNT(unusable); i++) {
        stats_adaptive_start(&s, &unusable[i]);
        assert_true(stats_adaptive_ask(&s) == 0 && s.stop == STATS_CAP);
    }
}

typedef struct adaptive_runs {
    int wrong, above, below, same, cap, missed;
    double mean_n;
} adaptive_runs;

static adaptive_runs simulate(const stats_rule *rule, double truth, double noise, double (*draw)(o3_rng *),
                              uint64_t seed)
{
    adaptive_runs runs = {0};
    o3_rng rng;
    o3_rng_seed(&rng, 34, seed);
    for (int run = 0; run < DRAWS; run++) {
        stats_adaptive s;
        stats_adaptive_start(&s, rule);
        while (stats_adaptive_ask(&s) > 0)
            stats_adaptive_tell(&s, truth + noise * draw(&rng));
        runs.above += s.stop == STATS_ABOVE;
        runs.below += s.stop == STATS_BELOW;
        runs.same += s.stop == STATS_SAME;
        runs.cap += s.stop == STATS_CAP;
        runs.missed += !(s.interval.low <= truth && truth <= s.interval.high);
        runs.mean_n += (double)s.n / DRAWS;
    }
    return runs;
}

/* Looking four times must not cost the nominal error, whatever the noise and wherever it stops. */
static void adaptive_keeps_the_error(void **state)
{
    (void)state;
    static const struct { const char *name; double (*draw)(o3_rng *); } noises[] = {
        {"normal", normal_draw}, {"t with 3 df", heavy_draw}, {"bursts", burst_draw}};
    const double levels[] = {0.005, 0.02, 0.05, 0.2};
    for (int k = 0; k < O3_COUNT(noises); k++) {
        for (int i = 0; i < O3_COUNT(levels); i++) {
            uint64_t seed = (uint64_t)(10 * k + i);
            adaptive_runs null = simulate(&stats_rule_compare, 0, levels[i], noises[k].draw, seed);
            adaptive_runs edge = simulate(&stats_rule_compare, stats_rule_compare.margin, levels[i], noises[k].draw,
                                          seed);
            print_message("# %s, noise %g %%: false difference %.4f (n %.1f), false tie at the margin %.4f, "
                          "interval missed %.4f\n", noises[k].name, 100 * levels[i],
                          (double)(null.above + null.below) / DRAWS, null.mean_n, (double)edge.same / DRAWS,
                          (double)null.missed / DRAWS);
            assert_share(null.above + null.below, 0, 0.05 + 0.007, "false difference");
            assert_share(edge.same, 0, 0.05 + 0.007, "false tie");
            assert_share(null.missed, 0, 0.05 + 0.007, "interval at the stop");
        }
    }
    adaptive_runs rate = simulate(&stats_rule_measure, 50, 3, normal_draw, 99);
    assert_share(rate.missed, 0, 0.05 + 0.007, "interval of a rate at the stop");
}

static void adaptive_stops_early(void **state)
{
    (void)state;
    adaptive_runs clear = simulate(&stats_rule_compare, log(1.25), 0.03, normal_draw, 50);
    adaptive_runs hopeless = simulate(&stats_rule_compare, 0.02, 0.3, normal_draw, 51);
    adaptive_runs tie = simulate(&stats_rule_compare, 0, 0.008, normal_draw, 52);
    print_message("# 25 %% at 3 %% noise: n %.1f; a tie at 0.8 %% noise: n %.1f; 2 %% at 30 %% noise: n %.1f\n",
                  clear.mean_n, tie.mean_n, hopeless.mean_n);
    assert_share(clear.above, 0.99, 1, "25 % found");
    assert_true(clear.mean_n < 5);
    assert_share(tie.same, 0.95, 1, "tie found");
    assert_true(tie.mean_n < 7);
    assert_share(hopeless.cap, 0.93, 1, "nothing can be decided");
    assert_true(hopeless.mean_n > 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(series),         cmocka_unit_test(series_of_little),
        cmocka_unit_test(clean_samples_stay), cmocka_unit_test(warmups_are_found),
        cmocka_unit_test(never_steady),   cmocka_unit_test(adaptive_rows),  cmocka_unit_test(adaptive_asks),
        cmocka_unit_test(adaptive_keeps_the_error), cmocka_unit_test(adaptive_stops_early),
    };
    return cmocka_run_group_tests_name("stats/time", tests, NULL, NULL);
}
