/* SPDX-License-Identifier: Apache-2.0 */
#include "stats_test.h"

static void normal_quantiles(void **state)
{
    (void)state;
    for (int i = 0; i < O3_COUNT(expected_normal); i++) {
        char what[64];
        O3_FORMAT(what, "normal p=%g", expected_normal[i].p);
        near_rel(stats_normal_quantile(expected_normal[i].p), expected_normal[i].z, 1e-12, what);
    }
    assert_true(isnan(stats_normal_quantile(-0.1)));
    assert_true(isnan(stats_normal_quantile(1.1)));
    assert_true(isnan(stats_normal_quantile(NAN)));
}

static void t_quantiles(void **state)
{
    (void)state;
    for (int i = 0; i < O3_COUNT(expected_t); i++) {
        char what[64];
        O3_FORMAT(what, "t p=%.17g df=%g", expected_t[i].p, expected_t[i].df);
        near_rel(stats_t_quantile(expected_t[i].p, expected_t[i].df), expected_t[i].t, 1e-9, what);
    }
    /* Closed forms, free of any library: Cauchy, and df = 2. */
    for (double p = 0.5005; p < 1; p += 0.0005) {
        near_rel(stats_t_quantile(p, 1), 1 / tan(M_PI * (1 - p)), 1e-9, "cauchy");
        near_rel(stats_t_quantile(p, 2), (2 * p - 1) / sqrt(2 * p * (1 - p)), 1e-9, "df 2");
        near_rel(stats_t_quantile(1 - p, 3), -stats_t_quantile(p, 3), 1e-9, "symmetry");
    }
    near_rel(stats_t_quantile(0.49999999, 1), -tan(M_PI * (0.5 - 0.49999999)), 1e-12, "near the centre");
    near_rel(stats_t_quantile(0, 3), -INFINITY, 0, "p 0");
    near_rel(stats_t_quantile(1, 3), INFINITY, 0, "p 1");
    assert_true(isnan(stats_t_quantile(0.9, 0)));
    assert_true(isnan(stats_t_quantile(0.9, NAN)));
    assert_true(isnan(stats_t_quantile(NAN, 3)));
    assert_true(isnan(stats_t_quantile(2, 3)));
}

static void wilson(void **state)
{
    (void)state;
    double low, high;
    for (int i = 0; i < O3_COUNT(expected_wilson); i++) {
        const struct expected_wilson *e = &expected_wilson[i];
        char what[64];
        O3_FORMAT(what, "wilson %d/%d", e->successes, e->n);
        stats_wilson(e->successes, e->n, &low, &high);
        assert_true(low >= 0 && high <= 1 && low < high);
        near_rel(1 + low, 1 + e->low, 1e-10, what);
        near_rel(1 + high, 1 + e->high, 1e-10, what);
    }
    const int bad[][2] = {{0, 0}, {1, 0}, {0, -1}, {-1, 5}, {6, 5}};
    for (int i = 0; i < O3_COUNT(bad); i++) {
        stats_wilson(bad[i][0], bad[i][1], &low, &high);
        assert_true(isnan(low) && isnan(high));
    }
}

static void check_measure(const o3_measure *m, const double want[5], const char *what)
{
    near_rel(m->mean, want[0], 1e-12, what);
    near_rel(m->low, want[2], 1e-10, what);
    near_rel(m->high, want[3], 1e-10, what);
    near_rel(m->cv, want[4], 1e-6, what);
    assert_int_equal(m->depth_tokens, 2048);
}

static void sets(void **state)
{
    (void)state;
    for (int i = 0; i < O3_COUNT(expected_sets); i++) {
        const struct expected_set *e = &expected_sets[i];
        bool keep[33];
        int removed = 0;
        char what[32];
        O3_FORMAT(what, "set %d", i);
        near_rel(stats_mean(e->x, e->n), e->all[0], 1e-12, what);
        near_rel(stats_sd(e->x, e->n), e->all[1], 1e-9, what);
        near_rel(stats_median(e->x, e->n), e->median, 1e-15, what);
        near_rel(stats_mad(e->x, e->n), e->mad, 1e-12, what);
        for (int j = 0; j < e->n; j++)
            removed += !e->keep[j];
        assert_int_equal(stats_outliers(e->x, e->n, 0.2, keep), removed);
        assert_memory_equal(keep, e->keep, (size_t)e->n * sizeof(bool));
        o3_measure all = stats_measure(e->x, e->n, 2048, false), kept = stats_measure(e->x, e->n, 2048, true);
        check_measure(&all, e->all, what);
        check_measure(&kept, e->kept, what);
        assert_int_equal(all.removed, 0);
        assert_int_equal(all.n, e->n);
        assert_int_equal(kept.removed, removed);
        assert_int_equal(kept.n, e->n - removed);
    }
}

static void ratios(void **state)
{
    (void)state;
    double low, mid, high;
    for (int i = 0; i < O3_COUNT(expected_ratios); i++) {
        const struct expected_ratio *e = &expected_ratios[i];
        stats_ratio(e->a, e->na, e->b, e->nb, &low, &mid, &high);
        near_rel(low, e->low, 1e-9, "ratio low");
        near_rel(mid, e->mid, 1e-12, "ratio mid");
        near_rel(high, e->high, 1e-9, "ratio high");
    }
    const double one[] = {1, NAN}, two[] = {1, 2}, negative[] = {-1, -2}, zero[] = {0, 0};
    const struct { const double *a, *b; } missing[] = {{one, two}, {two, one}, {negative, two}, {two, zero}};
    for (int i = 0; i < O3_COUNT(missing); i++) {
        stats_ratio(missing[i].a, 2, missing[i].b, 2, &low, &mid, &high);
        assert_true(isnan(low) && isnan(mid) && isnan(high));
    }
}

static void lines(void **state)
{
    (void)state;
    for (int i = 0; i < O3_COUNT(expected_line); i++)
        near_rel(stats_interpolate(expected_xs, expected_ys, O3_COUNT(expected_xs), expected_line[i].x),
                 expected_line[i].y, 1e-14, "line");
    const double xs[] = {1, 2, 2, 3, 4}, ys[] = {10, 20, 40, NAN, 60};
    near_rel(stats_interpolate(xs, ys, 5, 3), 50, 1e-14, "NaN skipped");
    near_rel(stats_interpolate(xs, ys, 5, 2), 20, 1e-14, "first of equal x");
    assert_true(isnan(stats_interpolate(xs, ys, 0, 1)));
    assert_true(isnan(stats_interpolate(xs, ys + 3, 1, 1)));
    assert_true(isnan(stats_interpolate(xs, ys, 5, NAN)));
}

static void few(void **state)
{
    (void)state;
    const double x[] = {4, 6, 11}, none[] = {NAN, NAN, NAN};
    bool keep[3];
    o3_measure m = stats_measure(x, 0, 7, true);
    assert_true(isnan(m.mean) && isnan(m.low) && isnan(m.high) && isnan(m.cv));
    assert_int_equal(m.n, 0);
    assert_int_equal(m.depth_tokens, 7);
    m = stats_measure(none, 3, -1, true);
    assert_true(isnan(m.mean) && m.n == 0 && m.removed == 0);
    m = stats_measure(x, 1, -1, true);
    assert_true(m.mean == 4 && m.n == 1 && isnan(m.low) && isnan(m.high) && isnan(m.cv));
    m = stats_measure(x, 2, -1, true); /* 5 +- 12.7062 x 1 */
    near_rel(m.high, 5 + stats_t_quantile(0.975, 1), 1e-12, "n 2");
    m = stats_measure(x, 3, -1, true); /* sd = sqrt(13) */
    near_rel(m.low, 7 - 0.95 / sqrt(2 * 0.975 * 0.025) * sqrt(13.0 / 3), 1e-10, "n 3");
    assert_int_equal(stats_outliers(x, 3, 1, keep), 0);
    assert_true(keep[0] && keep[1] && keep[2]);
    assert_true(isnan(stats_mean(x, 0)) && isnan(stats_median(x, 0)) && isnan(stats_mad(x, 0)));
    assert_true(isnan(stats_sd(x, 0)) && isnan(stats_sd(x, 1)));
    assert_true(isnan(stats_mean(none, 3)) && isnan(stats_median(none, 3)) && isnan(stats_sd(none, 3)));
    assert_true(stats_mad(x, 1) <= 0 && stats_median(x, 1) == 4 && stats_median(x, 2) == 5 && stats_median(x, 3) == 6);
}

static void missing(void **state)
{
    (void)state;
    const double x[] = {NAN, 41.5, 42.0, INFINITY, 41.8, NAN, 42.1, 12.0}, clean[] = {41.5, 42.0, 41.8, 42.1, 12.0};
    const double centred[] = {-1, 1, -1, 1};
    bool keep[8];
    assert_true(stats_mean(x, 8) == stats_mean(clean, 5) && stats_sd(x, 8) == stats_sd(clean, 5));
    assert_true(stats_median(x, 8) == 41.8 && stats_mad(x, 8) == stats_mad(clean, 5));
    assert_int_equal(stats_outliers(x, 8, 0.2, keep), 1);
    assert_true(!keep[0] && keep[1] && keep[2] && !keep[3] && keep[4] && !keep[5] && keep[6] && !keep[7]);
    o3_measure a = stats_measure(x, 8, 1, true), b = stats_measure(clean, 5, 1, true);
    assert_true(a.mean == b.mean && a.low == b.low && a.n == 4 && a.removed == 1);
    a = stats_measure(centred, 4, 1, false); /* a share of nothing */
    assert_true(isnan(a.cv) && a.n == 4 && a.high > 0);
}

static void longer_than_the_maximum(void **state)
{
    (void)state;
    double x[STATS_MAX + 44];
    bool keep[STATS_MAX + 44];
    for (int i = 0; i < O3_COUNT(x); i++)
        x[i] = i < STATS_MAX ? i % 2 : 1e6;
    assert_true(stats_mean(x, O3_COUNT(x)) == 0.5 && stats_median(x, O3_COUNT(x)) == 0.5);
    assert_int_equal(stats_outliers(x, O3_COUNT(x), 0.5, keep), 0);
    assert_true(keep[STATS_MAX - 1] && !keep[STATS_MAX]);
    assert_int_equal(stats_measure(x, O3_COUNT(x), 1, true).n, STATS_MAX);
}

static void coverage(void **state)
{
    (void)state;
    const int sizes[] = {2, 3, 5, 8, 12, 20};
    for (int s = 0; s < O3_COUNT(sizes); s++) {
        o3_rng rng;
        int covered = 0, ratio_covered = 0, cleaned_covered = 0;
        o3_rng_seed(&rng, 42, (uint64_t)s);
        for (int draw = 0; draw < DRAWS; draw++) {
            double a[20], b[20], low, mid, high;
            for (int i = 0; i < sizes[s]; i++) {
                a[i] = 40 + 2 * normal_draw(&rng);
                b[i] = 20 + 2 * normal_draw(&rng);
            }
            o3_measure m = stats_measure(a, sizes[s], -1, false);
            covered += m.low <= 40 && 40 <= m.high;
            m = stats_measure(a, sizes[s], -1, true);
            cleaned_covered += m.low <= 40 && 40 <= m.high;
            stats_ratio(a, sizes[s], b, sizes[s], &low, &mid, &high);
            ratio_covered += low <= 2 && 2 <= high;
        }
        assert_share(covered, 0.93, 0.97, "t interval");
        assert_share(cleaned_covered, 0.93, 0.97, "t interval with the outlier rule on clean samples");
        /* The delta method with two samples a side is on the careful side. */
        assert_share(ratio_covered, 0.93, sizes[s] < 5 ? 0.995 : 0.97, "ratio");
    }
}

static void never_more_than_the_share(void **state)
{
    (void)state;
    o3_rng rng;
    o3_rng_seed(&rng, 7, 1);
    int clean_removed = 0, found = 0;
    for (int draw = 0; draw < DRAWS; draw++) {
        double x[40];
        bool keep[40];
        int n = 1 + (int)o3_rng_below(&rng, 40), bad = 0;
        double share = 0.05 * o3_rng_below(&rng, 12);
        for (int i = 0; i < n; i++)
            x[i] = o3_rng_below(&rng, 3) ? normal_draw(&rng) : 1e3 * normal_draw(&rng);
        int removed = stats_outliers(x, n, share, keep);
        for (int i = 0; i < n; i++)
            bad += !keep[i];
        assert_int_equal(bad, removed);
        assert_true(removed <= share * n + 1e-6);
        for (int i = 0; i < 5; i++)
            x[i] = 40 + normal_draw(&rng);
        clean_removed += stats_outliers(x, 5, STATS_OUTLIER_SHARE, keep);
        x[2] = 80;
        found += stats_outliers(x, 5, STATS_OUTLIER_SHARE, keep) && !keep[2];
    }
    /* At n = 5 the rule takes a good sample from one clean set in five (0.207 by NumPy over 40000 draws). */
    assert_share(found, 0.97, 1, "outlier found");
    assert_share(clean_removed, 0.18, 0.24, "removed from clean samples");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_quantiles), cmocka_unit_test(t_quantiles),
        cmocka_unit_test(wilson),           cmocka_unit_test(sets),
        cmocka_unit_test(ratios),           cmocka_unit_test(lines),
        cmocka_unit_test(few),              cmocka_unit_test(missing),
        cmocka_unit_test(longer_than_the_maximum), cmocka_unit_test(coverage),
        cmocka_unit_test(never_more_than_the_share),
    };
    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
