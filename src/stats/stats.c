/* SPDX-License-Identifier: Apache-2.0 */
#include "stats.h"

#define CONFIDENCE_P 0.975      /* two-sided 95 % */
#define MAD_TO_SD 1.4826        /* 1 / quantile(0.75) of the normal: Rousseeuw & Croux 1993 */
#define MEAN_AD_TO_SD 1.253314  /* sqrt(pi / 2): the same for the mean absolute deviation */
#define OUTLIER_Z 3.5           /* Iglewicz & Hoaglin 1993, "How to Detect and Handle Outliers" */

/* Copies what can be counted. An infinite rate (a duration of 0) is as missing as NaN. */
static int finite_only(const double *x, int n, double *ret_values)
{
    int count = 0;
    for (int i = 0; i < n && i < STATS_MAX; i++)
        if (isfinite(x[i]))
            ret_values[count++] = x[i];
    return count;
}

/* Welford 1962: mean and the sum of squared deviations in one pass without cancellation. */
static int moments(const double *x, int n, double *ret_mean, double *ret_squares)
{
    int count = 0;
    double mean = 0, squares = 0;
    for (int i = 0; i < n && i < STATS_MAX; i++) {
        if (!isfinite(x[i]))
            continue;
        double delta = x[i] - mean;
        mean += delta / ++count;
        squares += delta * (x[i] - mean);
    }
    *ret_mean = count ? mean : NAN;
    *ret_squares = squares;
    return count;
}

double stats_mean(const double *x, int n)
{
    double mean, squares;
    moments(x, n, &mean, &squares);
    return mean;
}

double stats_sd(const double *x, int n)
{
    double mean, squares;
    int count = moments(x, n, &mean, &squares);
    return count < 2 ? NAN : sqrt(squares / (count - 1));
}

/* Insertion sort: n <= STATS_MAX, and mostly 5. */
static double median_in_place(double *x, int n)
{
    if (n == 0)
        return NAN;
    for (int i = 1; i < n; i++) {
        double value = x[i];
        int at = i;
        for (; at > 0 && x[at - 1] > value; at--)
            x[at] = x[at - 1];
        x[at] = value;
    }
    return n % 2 ? x[n / 2] : x[n / 2 - 1] / 2 + x[n / 2] / 2;
}

double stats_median(const double *x, int n)
{
    double values[STATS_MAX];
    int count = finite_only(x, n, values);
    return median_in_place(values, count);
}

double stats_mad(const double *x, int n)
{
    double values[STATS_MAX], deviations[STATS_MAX];
    int count = finite_only(x, n, values);
    double centre = median_in_place(values, count);
    for (int i = 0; i < count; i++)
        deviations[i] = fabs(values[i] - centre);
    return median_in_place(deviations, count);
}

/* One unit of spread for the outlier rule. With half of the samples equal the MAD is 0 and everything else would look
 * infinitely far: then the mean absolute deviation stands in. 0 = all samples are equal. */
static double robust_sd(const double *x, int n, double centre)
{
    double mad = stats_mad(x, n), sum = 0;
    int count = 0;
    if (mad > 0)
        return MAD_TO_SD * mad;
    for (int i = 0; i < n; i++) {
        if (isfinite(x[i])) {
            sum += fabs(x[i] - centre);
            count++;
        }
    }
    return count ? MEAN_AD_TO_SD * sum / count : 0;
}

int stats_outliers(const double *x, int n, double max_share, bool *keep)
{
    int looked = n < STATS_MAX ? n : STATS_MAX, finite = 0, removed = 0;
    for (int i = 0; i < n; i++) {
        keep[i] = i < looked && isfinite(x[i]);
        finite += keep[i];
    }
    if (finite < 4)
        return 0;
    double centre = stats_median(x, looked), unit = robust_sd(x, looked, centre);
    /* 0.2 x 5 may be a hair below 1. */
    int allowed = max_share > 0 ? (int)floor(fmin(max_share, 1) * finite + 1e-9) : 0;
    while (removed < allowed) {
        int farthest = -1;
        for (int i = 0; i < looked; i++)
            if (keep[i] && fabs(x[i] - centre) > OUTLIER_Z * unit &&
                (farthest < 0 || fabs(x[i] - centre) > fabs(x[farthest] - centre)))
                farthest = i;
        if (farthest < 0)
            break;
        keep[farthest] = false;
        removed++;
    }
    return removed;
}

o3_measure stats_measure(const double *x, int n, int64_t depth_tokens, bool remove_outliers)
{
    bool keep[STATS_MAX];
    double kept[STATS_MAX] = {0}, squares;
    int looked = n < STATS_MAX ? n : STATS_MAX, count = 0;
    o3_measure measure = O3_MEASURE_NONE;
    measure.depth_tokens = depth_tokens;
    measure.removed = looked > 0 ? stats_outliers(x, looked, remove_outliers ? STATS_OUTLIER_SHARE : 0, keep) : 0;
    for (int i = 0; i < looked; i++)
        if (keep[i])
            kept[count++] = x[i];
    measure.n = moments(kept, count, &measure.mean, &squares);
    if (count < 2)
        return measure;
    double sd = sqrt(squares / (count - 1));
    double half = stats_t_quantile(CONFIDENCE_P, count - 1) * sd / sqrt(count);
    measure.low = measure.mean - half;
    measure.high = measure.mean + half;
    if (fabs(measure.mean) > 0)
        measure.cv = sd / fabs(measure.mean);
    return measure;
}

void stats_wilson(int successes, int n, double *ret_low, double *ret_high)
{
    *ret_low = *ret_high = NAN;
    if (n <= 0 || successes < 0 || successes > n)
        return;
    double z = stats_normal_quantile(CONFIDENCE_P), share = (double)successes / n, z2n = z * z / n;
    double centre = (share + z2n / 2) / (1 + z2n);
    double half = z * sqrt((share * (1 - share) + z2n / 4) / n) / (1 + z2n);
    /* At the ends the formula gives 0 and 1 exactly; rounding must not print -1e-17. */
    *ret_low = successes == 0 ? 0 : centre - half;
    *ret_high = successes == n ? 1 : centre + half;
}

void stats_ratio(const double *a, int na, const double *b, int nb, double *ret_low, double *ret_mid, double *ret_high)
{
    double mean_a, mean_b, squares_a, squares_b;
    int count_a = moments(a, na, &mean_a, &squares_a), count_b = moments(b, nb, &mean_b, &squares_b);
    *ret_low = *ret_mid = *ret_high = NAN;
    if (count_a < 2 || count_b < 2 || !(mean_a > 0) || !(mean_b > 0))
        return;
    /* Var(ln mean) = Var(mean) / mean^2 (delta method); degrees of freedom by Welch 1947, Satterthwaite 1946. */
    double var_a = squares_a / (count_a - 1) / count_a / (mean_a * mean_a);
    double var_b = squares_b / (count_b - 1) / count_b / (mean_b * mean_b);
    double variance = var_a + var_b, half = 0;
    if (variance > 0) {
        double df = variance * variance / (var_a * var_a / (count_a - 1) + var_b * var_b / (count_b - 1));
        half = stats_t_quantile(CONFIDENCE_P, df) * sqrt(variance);
    }
    *ret_mid = mean_a / mean_b;
    *ret_low = *ret_mid * exp(-half);
    *ret_high = *ret_mid * exp(half);
}

double stats_interpolate(const double *xs, const double *ys, int n, double x)
{
    int before = -1;
    if (isnan(x))
        return NAN;
    for (int i = 0; i < n; i++) {
        if (!isfinite(xs[i]) || !isfinite(ys[i]))
            continue;
        if (xs[i] >= x) {
            if (before < 0 || xs[i] <= x)
                return ys[i];
            double share = (x - xs[before]) / (xs[i] - xs[before]);
            return ys[before] + share * (ys[i] - ys[before]);
        }
        before = i;
    }
    return before < 0 ? NAN : ys[before];
}
