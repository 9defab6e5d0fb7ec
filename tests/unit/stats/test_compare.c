/* SPDX-License-Identifier: Apache-2.0 */
/* Differences, multiplicity, the decision for or against the default, the winner's curse. */
#include "stats_test.h"

static void check_comparison(const stats_comparison *c, const double want[5], const char *what)
{
    near_rel(c->low, want[0], 1e-9, what);
    near_rel(c->mid, want[1], 1e-9, what);
    near_rel(c->high, want[2], 1e-9, what);
    near_rel(c->p, want[3], 1e-7, what);
    near_rel(stats_equivalence_p(c, 0.03), want[4], 1e-7, what);
}

static void differences(void **state)
{
    (void)state;
    for (int i = 0; i < O3_COUNT(expected_groups); i++) {
        const struct expected_groups *e = &expected_groups[i];
        for (int k = 0; k < 4; k++) {
            stats_scale scale = k < 2 ? STATS_DIFFERENCE : STATS_RATIO;
            stats_comparison c = k % 2 ? stats_paired(e->a, e->b, e->n, scale, 0.9)
                                       : stats_welch(e->a, e->n, e->b, e->n, scale, 0.9);
            char what[64];
            O3_FORMAT(what, "groups %d, row %d", i, k);
            check_comparison(&c, e->c[k], what);
        }
    }
}

static void differences_of_little(void **state)
{
    (void)state;
    const double one[] = {4, NAN}, two[] = {4, 6}, zero[] = {0, -3, 5, 6}, same[] = {7, 7, 7}, eight[] = {8, 8, 8};
    stats_comparison c = stats_welch(one, 2, two, 2, STATS_DIFFERENCE, 0.95);
    assert_true(isnan(c.mid) && isnan(c.p) && isnan(c.low) && isnan(stats_equivalence_p(&c, 1)));
    c = stats_paired(one, two, 2, STATS_DIFFERENCE, 0.95);
    assert_true(isnan(c.p));
    c = stats_welch(zero, 4, two, 2, STATS_RATIO, 0.95); /* what has no logarithm is missing */
    near_rel(c.mid, sqrt(30) / sqrt(24), 1e-12, "ratio of the positive ones");
    c = stats_welch(same, 3, same, 3, STATS_RATIO, 0.95);
    assert_true(c.p >= 1 && c.low == 1 && c.high == 1 && stats_equivalence_p(&c, 0.01) <= 0);
    c = stats_welch(eight, 3, same, 3, STATS_DIFFERENCE, 0.95);
    assert_true(c.p <= 0 && c.mid == 1 && stats_equivalence_p(&c, 0.5) >= 1);
    c = stats_welch(same, -1, same, 3, STATS_DIFFERENCE, 0.95);
    assert_true(isnan(c.p));
}

static void holm(void **state)
{
    (void)state;
    double adjusted[STATS_COMPARISONS_MAX + 2];
    for (int i = 0; i < O3_COUNT(expected_holm); i++) {
        const struct expected_holm *e = &expected_holm[i];
        stats_holm(e->p, e->m, adjusted);
        for (int k = 0; k < e->m; k++)
            near_rel(adjusted[k], e->adjusted[k], 1e-12, "holm");
    }
    double in_place[] = {0.01, NAN, 0.03, 0.005};
    stats_holm(in_place, 4, in_place);
    near_rel(in_place[0], 0.02, 1e-12, "missing does not count");
    near_rel(in_place[2], 0.03, 1e-12, "in place");
    near_rel(in_place[3], 0.015, 1e-12, "in place");
    assert_true(isnan(in_place[1]));
    double many[STATS_COMPARISONS_MAX + 2] = {0};
    stats_holm(many, O3_COUNT(many), adjusted);
    assert_true(adjusted[0] <= 0 && isnan(adjusted[STATS_COMPARISONS_MAX]));
}

static void power(void **state)
{
    (void)state;
    for (int i = 0; i < O3_COUNT(expected_power); i++) /* the exact power uses the noncentral t */
        near_rel(stats_detectable_frac(expected_power[i].cv, expected_power[i].n, 0.05, 0.8),
                 expected_power[i].difference, 0.02, "detectable");
    assert_true(isnan(stats_detectable_frac(0.1, 1, 0.05, 0.8)) && isnan(stats_detectable_frac(NAN, 5, 0.05, 0.8)));
    assert_int_equal(stats_repeats_needed(0.044, 0.05, 0.05, 0.8), 14);
    assert_int_equal(stats_repeats_needed(0.5, 0.01, 0.05, 0.8), -1);
}

static void fill(o3_rng *rng, double *x, int n, double mean, double noise, double (*draw)(o3_rng *))
{
    for (int i = 0; i < n; i++)
        x[i] = mean * exp(noise * draw(rng));
}

static stats_comparison candidate(o3_rng *rng, const double *control, int n, double ratio, double noise,
                                  double (*draw)(o3_rng *))
{
    double x[20];
    fill(rng, x, n, 50 * ratio, noise, draw);
    return stats_welch(x, n, control, n, STATS_RATIO, STATS_CONFIDENCE);
}

/* Eleven candidates that are no better share one default: a false winner in at most one run of twenty, at any noise. */
static void nothing_helps(void **state)
{
    (void)state;
    static const struct { const char *name; double (*draw)(o3_rng *); int n; double noise; } cases[] = {
        {"normal", normal_draw, 3, 0.03},   {"normal", normal_draw, 5, 0.03}, {"normal", normal_draw, 5, 0.2},
        {"normal", normal_draw, 12, 0.01},  {"normal", normal_draw, 12, 0.2}, {"t with 3 df", heavy_draw, 5, 0.2},
        {"bursts", burst_draw, 5, 0.2},     {"exponential", skewed_draw, 5, 0.2}};
    for (int i = 0; i < O3_COUNT(cases); i++) {
        int false_winners = 0, false_claims = 0, n = cases[i].n;
        o3_rng rng;
        o3_rng_seed(&rng, 11, (uint64_t)i);
        for (int run = 0; run < DRAWS; run++) {
            double control[20];
            stats_comparison c[11];
            stats_verdict verdicts[11];
            bool claimed = false;
            fill(&rng, control, n, 50, cases[i].noise, cases[i].draw);
            for (int k = 0; k < O3_COUNT(c); k++)
                c[k] = candidate(&rng, control, n, 1, cases[i].noise, cases[i].draw);
            false_winners += stats_choose(c, O3_COUNT(c), STATS_ALPHA, STATS_MARGIN, verdicts) >= 0;
            for (int k = 0; k < O3_COUNT(c); k++)
                claimed |= verdicts[k] == STATS_BETTER || verdicts[k] == STATS_WORSE;
            false_claims += claimed;
        }
        print_message("# %s, n %d, noise %g %%: false winner %.4f, any false claim %.4f\n", cases[i].name, n,
                      100 * cases[i].noise, (double)false_winners / DRAWS, (double)false_claims / DRAWS);
        assert_share(false_winners, 0, 0.05 + 0.007, "false winner");
        assert_share(false_claims, 0, 0.05 + 0.007, "familywise error of Holm");
    }
}

/* Holm must hold with some candidates truly different, too: only claims about the others are errors. */
static void some_help(void **state)
{
    (void)state;
    int errors = 0, best = 0;
    o3_rng rng;
    o3_rng_seed(&rng, 12, 0);
    for (int run = 0; run < DRAWS; run++) {
        const double ratios[] = {1, 1.15, 1, 1.3, 1, 0.8};
        double control[20];
        stats_comparison c[6];
        stats_verdict verdicts[6];
        fill(&rng, control, 6, 50, 0.03, normal_draw);
        for (int k = 0; k < 6; k++)
            c[k] = candidate(&rng, control, 6, ratios[k], 0.03, normal_draw);
        best += stats_choose(c, 6, STATS_ALPHA, STATS_MARGIN, verdicts) == 3;
        errors += (verdicts[0] | verdicts[2] | verdicts[4]) & STATS_BETTER ? 1 : 0;
    }
    assert_share(best, 0.99, 1, "the best is found");
    assert_share(errors, 0, 0.05 + 0.007, "one that is no better called better");
}

/* Two candidates that differ by the margin exactly must not be called a tie more often than alpha. */
static void ties(void **state)
{
    (void)state;
    int at_margin = 0, at_none = 0, small_but_sure = 0;
    o3_rng rng;
    o3_rng_seed(&rng, 13, 0);
    for (int run = 0; run < DRAWS; run++) {
        double control[20];
        stats_verdict verdict;
        fill(&rng, control, 12, 50, 0.02, normal_draw);
        stats_comparison c = candidate(&rng, control, 12, 1.03, 0.02, normal_draw);
        stats_choose(&c, 1, STATS_ALPHA, STATS_MARGIN, &verdict);
        at_margin += verdict == STATS_TIE;
        c = candidate(&rng, control, 12, 1, 0.02, normal_draw);
        stats_choose(&c, 1, STATS_ALPHA, STATS_MARGIN, &verdict);
        at_none += verdict == STATS_TIE;
        fill(&rng, control, 12, 50, 0.002, normal_draw);
        c = candidate(&rng, control, 12, 1.01, 0.002, normal_draw);
        small_but_sure += stats_choose(&c, 1, STATS_ALPHA, STATS_MARGIN, NULL) == -1 && c.p < 0.001;
    }
    assert_share(at_margin, 0.03, 0.05 + 0.007, "tie at the margin");
    assert_share(at_none, 0.85, 1, "tie where there is no difference");
    assert_share(small_but_sure, 0.99, 1, "a sure 1 % keeps the default");
    assert_string_equal(stats_verdict_name(STATS_TIE), "tie");
    assert_string_equal(stats_verdict_name(STATS_UNDECIDED), "undecided");
}

/* At 20 % noise and three samples nothing can be decided, and that is the answer. */
static void too_noisy(void **state)
{
    (void)state;
    int undecided = 0;
    o3_rng rng;
    o3_rng_seed(&rng, 14, 0);
    for (int run = 0; run < DRAWS; run++) {
        double control[20];
        stats_verdict verdict;
        fill(&rng, control, 3, 50, 0.2, normal_draw);
        stats_comparison c = candidate(&rng, control, 3, 1.1, 0.2, normal_draw);
        undecided += stats_choose(&c, 1, STATS_ALPHA, STATS_MARGIN, &verdict) == -1 && verdict == STATS_UNDECIDED;
    }
    assert_share(undecided, 0.9, 1, "undecided");
}

static void winner_formula(void **state)
{
    (void)state;
    for (int i = 0; i < O3_COUNT(expected_races); i++) {
        const struct expected_race *e = &expected_races[i];
        stats_winner w = stats_winner_select(e->estimate, e->se, e->k);
        assert_int_equal(w.best, e->best);
        near_rel(w.shrunk, e->shrunk, 1e-9, "shrunk");
        near_rel(w.curse + 1, w.selected - w.shrunk + 1, 1e-12, "curse");
    }
    const double none[] = {NAN, NAN}, one[] = {NAN, 3}, se[] = {0.1, 0.1}, no_se[] = {NAN, NAN};
    assert_int_equal(stats_winner_select(none, se, 2).best, -1);
    assert_true(isnan(stats_winner_select(none, se, 2).shrunk));
    stats_winner w = stats_winner_select(one, se, 2);
    assert_true(w.best == 1 && w.shrunk == 3 && w.curse <= 0); /* nothing was chosen from */
    w = stats_winner_select(one, no_se, 2);
    assert_true(w.best == 1 && w.shrunk == 3);
}

/* By counting the ways to deal them (scipy.stats.permutation_test, permutation_type="independent", alternative="greater"). */
static void permutations(void **state)
{
    (void)state;
    const double a[] = {4, 5, 6, 7}, b[] = {0, 1, 2, 3}, mixed[] = {0, 5, 6, 7}, ties[] = {3, 3, 3, 3}, hole[] = {NAN, 1, 2, 3};
    const double burst[] = {2.5, 40, 50, 60};
    near_rel(stats_permutation_p(a, 3, b, 3), 1.0 / 20, 1e-12, "3 over 3");
    near_rel(stats_permutation_p(a, 4, b, 4), 1.0 / 70, 1e-12, "4 over 4");
    near_rel(stats_permutation_p(mixed, 4, b, 4), 6.0 / 70, 1e-12, "one at the bottom");
    near_rel(stats_permutation_p(burst, 4, b, 4), 2.0 / 70, 1e-12, "one disturbed: only 3 in its place is higher");
    near_rel(stats_permutation_p(b, 4, a, 4), 1, 1e-12, "below all");
    near_rel(stats_permutation_p(ties, 4, ties, 4), 1, 1e-12, "all alike");
    assert_true(isnan(stats_permutation_p(hole, 4, a, 4)) && isnan(stats_permutation_p(a, 0, b, 4)));
}

typedef struct curse_sums {
    double selected, shrunk, fresh, selected_squares, shrunk_squares;
    int confirmed, repeats;
} curse_sums;

/* Twelve candidates whose true effects have this spread are measured five times against the default, the best is
 * measured afresh. Sums are of estimate - truth, in logs. */
static curse_sums race(double spread, double noise, uint64_t seed)
{
    curse_sums sums = {0};
    o3_rng rng;
    o3_rng_seed(&rng, 15, seed);
    for (int run = 0; run < DRAWS; run++) {
        double estimate[12], se[12], truth[12], control[20];
        for (int k = 0; k < 12; k++) {
            truth[k] = spread * normal_draw(&rng);
            fill(&rng, control, 5, 50, noise, normal_draw);
            stats_comparison c = candidate(&rng, control, 5, exp(truth[k]), noise, normal_draw);
            estimate[k] = log(c.mid);
            se[k] = c.se;
        }
        stats_winner w = stats_winner_select(estimate, se, 12);
        fill(&rng, control, 5, 50, noise, normal_draw);
        stats_comparison fresh = candidate(&rng, control, 5, exp(truth[w.best]), noise, normal_draw);
        stats_confirmation c = stats_winner_confirm(&w, &fresh);
        near_rel(c.drop + 1, w.selected - c.fresh + 1, 1e-12, "drop");
        sums.selected += (w.selected - truth[w.best]) / DRAWS;
        sums.shrunk += (w.shrunk - truth[w.best]) / DRAWS;
        sums.fresh += (c.fresh - truth[w.best]) / DRAWS;
        sums.selected_squares += pow(w.selected - truth[w.best], 2) / DRAWS;
        sums.shrunk_squares += pow(w.shrunk - truth[w.best], 2) / DRAWS;
        sums.confirmed += stats_choose(&fresh, 1, STATS_ALPHA, 0, NULL) == 0;
        sums.repeats += c.repeats;
    }
    return sums;
}

static void winners_curse(void **state)
{
    (void)state;
    const double noise = 0.05, unit = noise * sqrt(2.0 / 5); /* standard error of one estimate */
    const double spreads[] = {0, unit, 3 * unit};
    for (int i = 0; i < O3_COUNT(spreads); i++) {
        curse_sums s = race(spreads[i], noise, (uint64_t)i);
        print_message("# spread %.1f se: selected %+.2f, shrunk %+.2f, fresh %+.2f se from the truth; rms %.2f, %.2f; "
                      "confirmed %.3f, repeats %.3f\n", spreads[i] / unit, s.selected / unit, s.shrunk / unit,
                      s.fresh / unit, sqrt(s.selected_squares) / unit, sqrt(s.shrunk_squares) / unit,
                      (double)s.confirmed / DRAWS, (double)s.repeats / DRAWS);
        assert_true(fabs(s.fresh) < 0.06 * unit);          /* what counts has no bias */
        assert_true(s.selected > (i < 2 ? 0.5 : 0.1) * unit); /* the curse is there */
        assert_true(fabs(s.shrunk) < 0.5 * s.selected);    /* and more than half of it is taken off */
        assert_true(s.shrunk_squares < s.selected_squares);
        assert_share(s.repeats, 0.93, 1, "a true winner repeats");
    }
    assert_share(race(0, 0.2, 3).confirmed, 0, 0.025 + 0.007, "false winner confirmed");
    assert_share(race(0.3, 0.05, 4).confirmed, 0.9, 1, "true winner confirmed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences),   cmocka_unit_test(differences_of_little), cmocka_unit_test(holm),
        cmocka_unit_test(power),         cmocka_unit_test(nothing_helps),         cmocka_unit_test(some_help),
        cmocka_unit_test(ties),          cmocka_unit_test(too_noisy),             cmocka_unit_test(winner_formula),
        cmocka_unit_test(permutations), cmocka_unit_test(winners_curse),
    };
    return cmocka_run_group_tests_name("stats/compare", tests, NULL, NULL);
}
