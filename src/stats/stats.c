/* SPDX-License-Identifier: Apache-2.0 */
#include "stats_impl.h"

int stats_finite(const double *x, int n, double *ret_values)
{
    int count = 0;
    for (int i = 0; i < n && i < STATS_MAX; i++)
        if (isfinite(x[i]))
            ret_values[count++] = x[i];
    return count;
}

/* Welford 1962: mean and the sum of squared deviations in one pass without cancellation. */
int stats_moments(const double *x, int n, double *ret_mean, double *ret_squares)
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
    stats_moments(x, n, &mean, &squares);
    return mean;
}

double stats_sd(const double *x, int n)
{
    double mean, squares;
    int count = stats_moments(x, n, &mean, &squares);
    return count < 2 ? NAN : sqrt(squares / (count - 1));
}

/* Insertion sort: n <= STATS_MAX, and mostly 5. */
double stats_median_in_place(double *x, int n)
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
    int count = stats_finite(x, n, values);
    return stats_median_in_place(values, count);
}

double stats_mad(const double *x, int n)
{
    double values[STATS_MAX], deviations[STATS_MAX];
    int count = stats_finite(x, n, values);
    double centre = stats_median_in_place(values, count);
    for (int i = 0; i < count; i++)
        deviations[i] = fabs(values[i] - centre);
    return stats_median_in_place(deviations, count);
}

o3_measure stats_measure(const double *x, int n, int64_t depth_tokens, bool remove_outliers)
{
    bool keep[STATS_MAX];
    double kept[STATS_MAX] = {0}, squares, beyond = 0;
    int looked = n < STATS_MAX ? n : STATS_MAX, count = 0;
    o3_measure measure = O3_MEASURE_NONE;
    measure.depth_tokens = depth_tokens;
    measure.removed = looked > 0 ? stats_outliers(x, looked, remove_outliers ? STATS_OUTLIER_SHARE : 0, keep) : 0;
    for (int i = 0; i < looked; i++)
        if (keep[i])
            kept[count++] = x[i];
    measure.n = stats_moments(kept, count, &measure.mean, &squares);
    if (count < 2)
        return measure;
    double centre = stats_median(x, looked), limit = stats_outlier_limit(x, looked, centre);
    for (int i = 0; i < looked; i++)
        if (!keep[i] && isfinite(x[i]))
            beyond += pow(centre + copysign(limit, x[i] - centre) - measure.mean, 2);
    double se = sqrt((squares + beyond) / (count - 1) / count);
    stats_interval about = stats_interval_about(measure.mean, se, count - 1, STATS_CONFIDENCE);
    measure.low = about.low;
    measure.high = about.high;
    if (fabs(measure.mean) > 0)
        measure.cv = sqrt(squares / (count - 1)) / fabs(measure.mean);
    return measure;
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
