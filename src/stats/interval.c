/* SPDX-License-Identifier: Apache-2.0 */
/* Intervals of one mean, of any statistic, of a share. */
#include "base/base.h"
#include "stats_impl.h"

stats_interval stats_interval_about(double mid, double se, double df, double confidence)
{
    double half = se > 0 ? stats_t_quantile((1 + confidence) / 2, df) * se : 0;
    return (stats_interval){mid - half, mid, mid + half};
}

stats_interval stats_t_interval(const double *x, int n, double confidence)
{
    double mean, squares;
    int count = stats_moments(x, n, &mean, &squares);
    if (count < 2)
        return STATS_INTERVAL_NONE;
    return stats_interval_about(mean, sqrt(squares / (count - 1) / count), count - 1, confidence);
}

/* Efron 1987, (6.6): the acceleration from leaving out one sample at a time. */
static double acceleration(const double *x, int n, double (*statistic)(const double *x, int n))
{
    double left_out[STATS_MAX], rest[STATS_MAX], mean = 0, squares = 0, cubes = 0;
    for (int i = 0; i < n; i++) {
        memcpy(rest, x, (size_t)n * sizeof(double));
        rest[i] = x[n - 1];
        left_out[i] = statistic(rest, n - 1);
        mean += left_out[i] / n;
    }
    for (int i = 0; i < n; i++) {
        double delta = mean - left_out[i];
        squares += delta * delta;
        cubes += delta * delta * delta;
    }
    return squares > 0 ? cubes / (6 * pow(squares, 1.5)) : 0;
}

/* Where BCa looks in the sorted resamples instead of at the share p. */
static double moved_share(double p, double bias, double accelerated)
{
    double z = bias + stats_normal_quantile(p);
    return stats_normal_tail(-(bias + z / (1 - accelerated * z)));
}

/* Linear between neighbours (type 7 of Hyndman & Fan): among 2000 resamples the type does not matter. */
static double share_of_sorted(const double *sorted, int n, double p)
{
    double at = p * (n - 1);
    int below = (int)at;
    return below + 1 < n ? sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]) : sorted[n - 1];
}

stats_interval stats_bootstrap(const double *x, int n, double confidence, uint64_t seed,
                               double (*statistic)(const double *x, int n))
{
    double values[STATS_MAX], drawn[STATS_MAX], resampled[STATS_RESAMPLES], below = 0;
    int count = stats_finite(x, n, values);
    o3_rng rng;
    if (count < 3)
        return STATS_INTERVAL_NONE;
    o3_rng_seed(&rng, seed, 0);
    double mid = statistic(values, count);
    for (int r = 0; r < STATS_RESAMPLES; r++) {
        for (int i = 0; i < count; i++)
            drawn[i] = values[o3_rng_below(&rng, (uint32_t)count)];
        resampled[r] = statistic(drawn, count);
        below += resampled[r] < mid ? 1 : resampled[r] > mid ? 0 : 0.5;
    }
    stats_sort(resampled, STATS_RESAMPLES);
    /* All on one side: as far off centre as this many resamples can tell. */
    double share = fmin(fmax(below / STATS_RESAMPLES, 0.5 / STATS_RESAMPLES), 1 - 0.5 / STATS_RESAMPLES);
    double bias = stats_normal_quantile(share), accelerated = acceleration(values, count, statistic);
    double low = moved_share((1 - confidence) / 2, bias, accelerated);
    double high = moved_share((1 + confidence) / 2, bias, accelerated);
    return (stats_interval){share_of_sorted(resampled, STATS_RESAMPLES, low), mid,
                            share_of_sorted(resampled, STATS_RESAMPLES, high)};
}

void stats_wilson(int successes, int n, double *ret_low, double *ret_high)
{
    *ret_low = *ret_high = NAN;
    if (n <= 0 || successes < 0 || successes > n)
        return;
    double z = stats_normal_quantile((1 + STATS_CONFIDENCE) / 2), share = (double)successes / n, z2n = z * z / n;
    double centre = (share + z2n / 2) / (1 + z2n);
    double half = z * sqrt((share * (1 - share) + z2n / 4) / n) / (1 + z2n);
    /* At the ends the formula gives 0 and 1 exactly; rounding must not print -1e-17. */
    *ret_low = successes == 0 ? 0 : centre - half;
    *ret_high = successes == n ? 1 : centre + half;
}
