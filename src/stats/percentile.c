/* SPDX-License-Identifier: Apache-2.0 */
/* Percentiles by order statistics: no distribution is assumed, so what the samples do not enclose is not said. */
#include <stdlib.h>

#include "stats_impl.h"

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int stats_sort(double *x, int n)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        if (isfinite(x[i]))
            x[count++] = x[i];
    if (count > 1)
        qsort(x, (size_t)count, sizeof *x, ascending);
    return count;
}

/* Smallest k with P(K <= k) >= target; K ~ binomial(n, p). */
static int binomial_quantile(double target, int n, double p)
{
    int low = 0, high = n;
    while (low < high) {
        int k = low + (high - low) / 2;
        if (stats_binomial_cdf(k, n, p) >= target)
            high = k;
        else
            low = k + 1;
    }
    return low;
}

/* Hyndman & Fan 1996, type 8: median-unbiased whatever the distribution. */
static double estimate(const double *sorted, int n, double p)
{
    double at = fmin(fmax(p * (n + 1.0 / 3) + 1.0 / 3, 1), n);
    int below = (int)at;
    return below < n ? sorted[below - 1] + (at - below) * (sorted[below] - sorted[below - 1]) : sorted[n - 1];
}

/* The number of samples below the percentile is binomial(n, p). The low end is the lower-th order statistic with
 * P(K < lower) <= alpha / 2, the high end the upper-th with P(K >= upper) <= alpha / 2; counted from 1. */
stats_interval stats_percentile(const double *sorted, int n, double p, double confidence)
{
    double tail = (1 - confidence) / 2;
    if (n < 1 || !(p > 0 && p < 1) || !(tail > 0 && tail < 0.5))
        return STATS_INTERVAL_NONE;
    int lower = binomial_quantile(tail, n, p); /* P(K <= lower - 1) < tail <= P(K <= lower) */
    int upper = binomial_quantile(1 - tail, n, p) + 1;
    if (lower < 1 || upper > n)
        return STATS_INTERVAL_NONE;
    return (stats_interval){sorted[lower - 1], estimate(sorted, n, p), sorted[upper - 1]};
}

double stats_percentile_highest(int n, double confidence)
{
    double highest = n > 0 ? pow((1 - confidence) / 2, 1.0 / n) : NAN;
    return highest >= 0.5 ? highest : NAN;
}
