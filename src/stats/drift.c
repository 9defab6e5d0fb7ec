/* SPDX-License-Identifier: Apache-2.0 */
/* Does it go up or down with time: by ranks, so that one bad sample makes no trend. */
#include <stdlib.h>

#include "stats_impl.h"

#define PAIRS_MAX (STATS_KENDALL_EXACT * (STATS_KENDALL_EXACT - 1) / 2)
#define SLOPE_SAMPLES 64
#define SLOPES_MAX (SLOPE_SAMPLES * (SLOPE_SAMPLES - 1) / 2)

static int sign(double x)
{
    return (x > 0) - (x < 0);
}

/* P(|S| >= s) among all orders of n different values. The number of orders by their discordant pairs grows from n - 1
 * to n by a moving sum (Kendall 1975, ch. 5); S = pairs - 2 x discordant. */
static double exact_p(int n, int s)
{
    double share[PAIRS_MAX + 1] = {1}, next[PAIRS_MAX + 1], tail = 0;
    int pairs = 0;
    for (int size = 2; size <= n; size++) {
        double sum = 0;
        pairs += size - 1;
        for (int d = 0; d <= pairs; d++) {
            sum += d <= pairs - size + 1 ? share[d] : 0;
            sum -= d >= size ? share[d - size] : 0;
            next[d] = sum / size;
        }
        for (int d = 0; d <= pairs; d++)
            share[d] = next[d];
    }
    for (int d = 0; 2 * d <= pairs - s; d++)
        tail += share[d];
    return fmin(2 * tail, 1); /* the other tail is the mirror */
}

/* sorted: groups of equal values take their share of the variance away. */
static double normal_p(int n, int s, const double *sorted)
{
    double variance = n * (n - 1.0) * (2 * n + 5);
    for (int i = 0, size; i < n; i += size) {
        for (size = 1; i + size < n && sorted[i + size] <= sorted[i]; size++)
            ;
        variance -= size * (size - 1.0) * (2 * size + 5);
    }
    double z = s > 0 ? (s - 1) / sqrt(variance / 18) : 0;
    return fmin(2 * stats_normal_tail(z), 1);
}

/* Sen 1968: the median of the slopes of all pairs. */
static double sen_slope(const double *at, const double *x, int n)
{
    double slopes[SLOPES_MAX];
    int count = 0, used = n < SLOPE_SAMPLES ? n : SLOPE_SAMPLES;
    for (int i = 0; i < used; i++) {
        for (int j = i + 1; j < used; j++) {
            int from = i * n / used, to = j * n / used;
            if (at[to] > at[from])
                slopes[count++] = (x[to] - x[from]) / (at[to] - at[from]);
        }
    }
    stats_sort(slopes, count);
    return count == 0 ? NAN : count % 2 ? slopes[count / 2] : slopes[count / 2 - 1] / 2 + slopes[count / 2] / 2;
}

stats_drift stats_drift_find(const double *at, const double *x, int n)
{
    double times[STATS_MAX], values[STATS_MAX], sorted[STATS_MAX];
    stats_drift drift = {.tau = NAN, .p = NAN, .change_frac = NAN};
    int count = 0, s = 0, pairs = 0;
    for (int i = 0; i < n && i < STATS_MAX; i++) {
        if (isfinite(x[i]) && (!at || isfinite(at[i]))) {
            times[count] = at ? at[i] : i;
            sorted[count] = values[count] = x[i];
            count++;
        }
    }
    drift.n = count;
    if (count < 3)
        return drift;
    for (int i = 0; i < count; i++) {
        for (int j = i + 1; j < count; j++) {
            s += sign(values[j] - values[i]);
            pairs += sign(values[j] - values[i]) != 0;
        }
    }
    bool ties = pairs < count * (count - 1) / 2;
    double centre = stats_median_in_place(sorted, count);
    drift.tau = pairs ? s / sqrt((double)pairs * (count * (count - 1) / 2.0)) : 0; /* tau-b; times are all different */
    drift.p = ties || count > STATS_KENDALL_EXACT ? normal_p(count, abs(s), sorted) : exact_p(count, abs(s));
    if (fabs(centre) > 0)
        drift.change_frac = sen_slope(times, values, count) * (times[count - 1] - times[0]) / fabs(centre);
    return drift;
}
